use std::os::unix::fs::PermissionsExt;

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn read(text: &str) -> Result<AdminTokens, String> {
    let environment = Some(Secret::new(text.to_owned()));
    TokenSources { file: None, environment }.read()
}

#[test]
fn tokens_and_digests_are_read() {
    let secret = Secret::new("another-token-0123456789-012345678".to_owned());
    let text =
        format!("# operators\n\nada admin {TOKEN}\n  {}\n", line("robin", Role::Read, &secret));
    let tokens = read(&text).unwrap();
    assert_eq!(tokens.len(), 2);
    let found = |text: &str| {
        let token = tokens.find(&Secret::new(text.to_owned()));
        token.map(|token| (token.name.as_str(), token.role))
    };
    assert_eq!(found(TOKEN), Some(("ada", Role::Admin)));
    assert_eq!(found(secret.expose()), Some(("robin", Role::Read)));
    assert_eq!(found("nobody"), None);
    let line = line("robin", Role::Read, &secret);
    assert!(!line.contains(secret.expose()));
    // A digest does not open what it is the digest of.
    assert_eq!(found(line.rsplit_once(':').unwrap().1), None);
}

#[test]
fn what_is_wrong_is_told_without_the_token() {
    let hex = "g".repeat(64);
    for (text, expected) in [
        (format!("ada {TOKEN}"), "line 1: must be like"),
        (format!("ada admin {TOKEN} more"), "line 1: must be like"),
        (format!("\nada root {TOKEN}"), "line 2: the role must be"),
        ("ada admin short".to_owned(), "line 1: a token must be 32 to 256"),
        (format!("ada admin sha256:{hex}"), "line 1: sha256: must be followed by"),
        (format!("ada read {TOKEN}\nada admin {TOKEN}x"), "line 2: another token has that name"),
        (format!("ada read {TOKEN}\neve admin {TOKEN}"), "line 2: the same token"),
    ] {
        let told = read(&text).unwrap_err();
        assert!(told.contains(expected) && !told.contains(TOKEN) && !told.contains(&hex), "{told}");
    }
    assert!(read("# nobody\n").unwrap().is_empty());
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("ada admin {TOKEN}\n")).unwrap();
    let sources = TokenSources { file: Some(file.path().to_owned()), environment: None };
    for (mode, is_good) in [
        (0o600, true),
        (0o400, true),
        (0o640, true),
        (0o644, false),
        (0o604, false),
        (0o660, false),
        (0o602, false),
    ] {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let read = sources.read();
        assert_eq!(read.is_ok(), is_good, "{mode:o} {read:?}");
        if let Err(told) = read {
            assert!(told.contains("chmod 0600"), "{told}");
        }
    }
    let missing = TokenSources { file: Some("/nowhere/tokens".into()), environment: None };
    assert!(missing.read().unwrap_err().starts_with("/nowhere/tokens: No such file"));
}

#[test]
fn tokens_in_use_are_those_of_the_file() {
    const OTHER: &str = "another-token-0123456789-0123456";
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |text: String| std::fs::write(file.path(), text).unwrap();
    write(format!("ada admin {TOKEN}\n"));
    let sources = TokenSources { file: Some(file.path().to_owned()), environment: None };
    let tokens = TokensInUse::load(sources).unwrap();
    let name_of = |token: &str| tokens.find(&Secret::new(token.to_owned())).map(|it| it.name);
    assert!(tokens.may_change());
    tokens.look();
    assert_eq!((name_of(TOKEN).as_deref(), name_of(OTHER)), (Some("ada"), None));
    write(format!("olga read {OTHER}\n"));
    tokens.look();
    assert_eq!((name_of(TOKEN), name_of(OTHER).as_deref()), (None, Some("olga")));
    // What is wrong with it changes nothing, until it is put right.
    write(format!("ada admin {TOKEN}\nnonsense\n"));
    tokens.look();
    assert_eq!((name_of(TOKEN), name_of(OTHER).as_deref()), (None, Some("olga")));
    let set_mode = |mode| {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o644);
    write(format!("ada admin {TOKEN}\n"));
    tokens.look();
    assert_eq!(name_of(TOKEN), None);
    set_mode(0o600);
    tokens.look();
    assert_eq!((name_of(TOKEN).as_deref(), name_of(OTHER)), (Some("ada"), None));
    write(String::new());
    tokens.look();
    assert!(tokens.is_empty() && name_of(TOKEN).is_none());
}

#[tokio::test]
async fn who_waits_hears_that_a_token_is_gone_or_another() {
    const OTHER: &str = "another-token-0123456789-0123456";
    let before = format!("ada admin {TOKEN}\n");
    for (after, has) in [
        (format!("# the same\n{before}olga read {OTHER}\n"), true),
        ("nonsense\n".to_owned(), true),
        (format!("olga read {OTHER}\n"), false),
        (format!("ada read {TOKEN}\n"), false),
        (format!("ada admin {OTHER}\n"), false),
        (format!("eve admin {TOKEN}\n"), false),
        (String::new(), false),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &before).unwrap();
        let sources = TokenSources { file: Some(file.path().to_owned()), environment: None };
        let tokens = TokensInUse::load(sources).unwrap();
        let token = tokens.find(&Secret::new(TOKEN.to_owned())).unwrap();
        let mut gone = std::pin::pin!(tokens.without(&token));
        let mut is_told = async || {
            tokio::select! { biased; () = &mut gone => true, () = std::future::ready(()) => false }
        };
        assert!(!is_told().await && tokens.has(&token));
        std::fs::write(file.path(), &after).unwrap();
        tokens.reload();
        assert_eq!((is_told().await, tokens.has(&token)), (!has, has), "{after}");
    }
}

#[test]
fn roles_are_in_order() {
    assert!(Role::Read < Role::Operate && Role::Operate < Role::Admin);
    for role in Role::ALL {
        assert_eq!(Role::parse(role.as_str()), Some(role));
    }
    assert_eq!(Role::parse("root"), None);
}
