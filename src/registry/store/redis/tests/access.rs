//! Passwords and users.

use crate::secret::Secret;

use super::*;

/// Why a URL cannot be opened: one line without the password.
async fn refusal(url: &str, password: Option<&str>) -> String {
    let password = password.map(|password| Secret::new(password.to_owned()));
    let options = Options { password, ..testing::options() };
    let error = Store::open_with(url, &options).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let line = error.to_string();
    assert!(!line.contains("s3cret") && line.lines().count() == 1, "{line}");
    assert!(line.contains("127.0.0.1"), "{line}");
    line
}

#[tokio::test]
async fn a_password_is_asked_for_and_checked() {
    let server = Server::start(&["--requirepass", "right-s3cret"]);
    let at = |userinfo: &str| format!("redis://{userinfo}127.0.0.1:{}", server.port);
    let line = refusal(&at(""), None).await;
    assert!(line.contains("Redis wants a password"), "{line}");
    for line in [
        refusal(&at(":wrong-s3cret@"), None).await,
        refusal(&at("nobody:right-s3cret@"), None).await,
        refusal(&at(""), Some("wrong-s3cret")).await,
        refusal(&at(":wrong-s3cret@"), Some("right-s3cret")).await,
    ] {
        assert!(line.contains("refuses the user name or the password"), "{line}");
    }
    let store = open(&at(":right-s3cret@")).await;
    let password = Some(Secret::new("right-s3cret".to_owned()));
    let options = Options { password, ..testing::options() };
    let same = Store::open_with(&at(""), &options).await.unwrap();
    assert_eq!(same.id(), store.id());
    let free = Server::start(&[]);
    let line = refusal(&free.url(), Some("right-s3cret")).await;
    assert!(line.contains("a password is given, but Redis has none"), "{line}");
}

/// The rule that `docs/redis.md` shows.
fn documented_rule() -> Vec<String> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rule = page.lines().find(|line| line.starts_with("ACL SETUSER flowgate")).unwrap();
    rule.split(' ').map(str::to_owned).collect()
}

/// Everything that a store does, once.
async fn do_everything(store: &Store) {
    let long = Duration::from_secs(60);
    let revision = store.write(vec![put("1", "text"), put("2", "text")]).await.unwrap()[1];
    let gone = Write { change: Change::Remove, ..put("2", "") };
    assert_eq!(store.write(vec![gone]).await, Ok(vec![revision + 1]));
    assert_eq!(body(store, "1").await.unwrap(), "text");
    assert!(store.find(TENANT, "name:1").await.unwrap().is_some());
    assert_eq!(store.list(TENANT, None, 10).await.unwrap().len(), 1);
    assert_eq!(store.feed(revision, 10).await.unwrap().notices.len(), 1);
    store.put_expiring("k", b"v", long).await.unwrap();
    assert_eq!(store.get_expiring("k").await, Ok(Some(b"v".to_vec())));
    assert_eq!(store.take_expiring("k").await, Ok(Some(b"v".to_vec())));
    store.put_expiring("k", b"v", long).await.unwrap();
    store.count("k", long).await.unwrap();
    store.count("k", long).await.unwrap();
    store.acquire("k", "me", long).await.unwrap().unwrap();
    store.release("k", "me").await.unwrap();
    store.acquire("k", "me", long).await.unwrap().unwrap();
    let minute = crate::clock::Wall::system().unix_ms() / 60_000;
    let (name, field) = ("a:b".to_owned(), "n".to_owned());
    let merge = crate::registry::store::Merge::Add(1);
    let update = crate::registry::store::SeriesUpdate { name, minute, field, merge };
    store.merge(vec![update]).await.unwrap();
    assert_eq!(store.series("a:b", 0, u64::MAX).await.unwrap().len(), 1);
    store.adopt().await.unwrap();
    is_in_order(store).await;
}

#[tokio::test]
async fn the_documented_user_may_do_everything_that_is_needed() {
    let server = Server::start(&[]);
    let rule = documented_rule();
    let rule: Vec<_> = rule.iter().map(String::as_str).collect();
    server.command(&rule);
    server.command(&["ACL", "SETUSER", "flowgate", ">s3cret"]);
    let at = |prefix: &str| format!("redis://flowgate:s3cret@127.0.0.1:{}{prefix}", server.port);
    let store = open(&at("")).await;
    do_everything(&store).await;
    let line = refusal(&at("?prefix=other:"), None).await;
    assert!(line.contains("may not do what the registry needs"), "{line}");
    // Each of them is needed. Reading ones are missed by whoever reads.
    for command in ["hset", "xadd", "pexpire", "zrem", "evalsha", "time", "xread", "wait"] {
        server.command(&["ACL", "SETUSER", "flowgate", &format!("-{command}")]);
        let line = refusal(&at("?wait_replicas=1"), None).await;
        let says = line.contains("may not") || line.contains(&command.to_uppercase());
        assert!(says, "{command}: {line}");
        server.command(&["ACL", "SETUSER", "flowgate", &format!("+{command}")]);
    }
    do_everything(&open(&at("")).await).await;
}

#[tokio::test]
async fn a_socket_and_a_database_are_as_good() {
    let server = Server::start(&["--requirepass", "right"]);
    let at = |query: &str| format!("{}?{query}", server.socket_url());
    let password = Some(Secret::new("right".to_owned()));
    let options = Options { password, ..testing::options() };
    let first = Store::open_with(&at("db=3&prefix=a:"), &options).await.unwrap();
    do_everything(&first).await;
    let tcp = format!("redis://:right@127.0.0.1:{}/3?prefix=a:", server.port);
    assert_eq!(open(&tcp).await.id(), first.id());
    let other = Store::open_with(&at("db=4&prefix=a:&user=default"), &options).await.unwrap();
    assert_ne!(other.id(), first.id());
}

#[tokio::test]
async fn what_a_server_repeats_of_a_command_is_not_told() {
    let server = Server::start(&["--rename-command", "AUTH", ""]);
    let line = refusal(&format!("redis://me:s3cret@127.0.0.1:{}", server.port), None).await;
    assert!(line.contains("unknown command"), "{line}");
}
