use super::*;

fn parsed(url: &str) -> Address {
    Address::parse(url).unwrap()
}

fn server_of(url: &str) -> (String, bool) {
    match parsed(url).place {
        Place::Server { server, is_tls } => (server.to_string(), is_tls),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_url_names_a_server() {
    assert_eq!(server_of("redis://redis.example"), ("redis.example:6379".to_owned(), false));
    assert_eq!(server_of("rediss://redis.example:7000/3"), ("redis.example:7000".to_owned(), true));
    assert_eq!(server_of("redis://[::1]:7000"), ("[::1]:7000".to_owned(), false));
    assert_eq!(server_of("redis://u:p@[::1]"), ("[::1]:6379".to_owned(), false));
    let address = parsed("redis://mike:s%40crat@h/7?prefix=other:&wait_replicas=2");
    assert_eq!(address.user.as_deref(), Some("mike"));
    assert_eq!(address.password.unwrap().expose(), "s@crat");
    assert_eq!((address.db, address.prefix.as_str(), address.wait_replicas), (7, "other:", 2));
    let address = parsed("redis://:secret@h");
    assert_eq!((address.user, address.password.unwrap().expose()), (None, "secret"));
    let address = parsed("redis://mike@h");
    assert!(address.user.as_deref() == Some("mike") && address.password.is_none());
    assert_eq!((address.prefix.as_str(), address.wait_replicas), ("flowgate:", 0));
}

#[test]
fn a_url_names_a_socket() {
    for url in ["unix:/run/redis.sock?db=2&user=mike", "unix:///run/redis.sock?user=mike&db=2"] {
        let address = parsed(url);
        assert!(matches!(address.place, Place::Socket(path) if path == *"/run/redis.sock"));
        assert_eq!((address.db, address.user.as_deref()), (2, Some("mike")));
    }
}

#[test]
fn a_url_names_sentinels() {
    let url = "redis+sentinel://u:p@a,b:7000,[::1]/main?tls=true&sentinel_user=s&db=4";
    let address = parsed(url);
    let Place::Sentinels { sentinels, master, is_tls, user } = address.place else {
        panic!("{:?}", address.place)
    };
    let sentinels: Vec<_> = sentinels.iter().map(ToString::to_string).collect();
    assert_eq!(sentinels, ["a:26379", "b:7000", "[::1]:26379"]);
    assert_eq!((master.as_str(), is_tls, user.as_deref()), ("main", true, Some("s")));
    assert_eq!((address.db, address.wait_replicas), (4, 1));
    assert_eq!(parsed("redis+sentinel://a/m?wait_replicas=0").wait_replicas, 0);
}

#[test]
fn what_is_no_url_is_refused_without_its_password() {
    for url in [
        "redis:",
        "redis:h",
        "redis://",
        "redis://u:s3cret@",
        "redis://u:s3cret@h:port",
        "redis://u:s3cret@h:70000",
        "redis://u:s3cret@h/db",
        "redis://u:s3cret@h?no_such=1",
        "redis://h?password=s3cret",
        "unix:/redis.sock?db=0&Pass=s3cret",
        "redis:u:s3cret@h",
        "redis:/u:s3cret@h",
        "redis://u:s3cret@h?prefix=",
        "redis://u:s3cret@h?prefix=a&prefix=b",
        "redis://u:s3cret@h?wait_replicas=99",
        "redis://u:s3 cret@h",
        "redis://u:%ffs3cret@h",
        "redis://u:s3cret/with/slashes@h",
        "redis://u:s3cret?with?marks@h",
        "redis://u:s3cret@with@ats@h/x",
        "rediss://u:s3cret@h?tls=true",
        "redis://u:s3cret@h,other",
        "redis+sentinel://u:s3cret@h",
        "redis+sentinel://u:s3cret@h/m?tls=maybe",
        "redis+sentinel://u:s3cret@h,/m",
        "unix:relative.sock",
        "unix:",
        "http://u:s3cret@h",
    ] {
        let what = Address::parse(url).unwrap_err();
        assert!(!what.contains("cret"), "{url}: {what}");
        assert_eq!(what.lines().count(), 1, "{what}");
    }
}

#[test]
fn passwords_are_not_shown() {
    for (url, shown) in [
        ("redis://mike:secret@h:1/2?prefix=x", "redis://mike:***@h:1/2?prefix=x"),
        ("redis+sentinel://:se@ret@a,b/m", "redis+sentinel://:***@a,b/m"),
        ("redis://mike@h", "redis://mike@h"),
        ("redis://h:1", "redis://h:1"),
        ("redis:u:secret@h", "redis:u:***@h"),
        ("redis://h/0?db=1&password=secret&user=u", "redis://h/0?db=1&password=***&user=u"),
        ("unix:/a@b?db=1", "unix:/a@b?db=1"),
        ("file:/a@b:c", "file:/a@b:c"),
        ("memory:", "memory:"),
    ] {
        assert_eq!(redacted(url), shown);
    }
    let address = parsed("redis://mike:secret@h");
    assert_eq!(address.to_string(), "redis://mike:***@h");
    assert!(!format!("{address:?}").contains("secret"));
}
