use std::time::Duration;

use super::*;
use crate::secret::Secret;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const MS: Duration = Duration::from_millis(1);

fn digest(secret: &str) -> SecretDigest {
    SecretDigest::of(&Secret::new(secret.to_owned()))
}

fn key(id: u64, secret: &str) -> ApiKey {
    ApiKey {
        id: KeyId(id),
        name: None,
        digest: digest(secret),
        hint: None,
        created_at: NOW,
        expires_at: None,
        scope: Vec::new(),
        previous: None,
    }
}

fn with_key(key: ApiKey) -> Tenant {
    Tenant { keys: vec![key], ..sample("mike") }
}

fn grant(id: u64, secret: &str) -> Grant {
    Grant::Key { id: KeyId(id), secret: digest(secret).fingerprint() }
}

#[test]
fn usernames_are_dns_labels() {
    for good in ["m", "mike", "a-b", "0", &"x".repeat(63)] {
        assert_eq!(Username::parse(good).map(|name| name.to_string()), Ok(good.to_owned()));
    }
    let long = "x".repeat(64);
    for bad in ["", "Mike", "mi_ke", "-m", "m-", "mi.ke", "mïke", "m ", "xn--mke-5na", &long] {
        assert_eq!(Username::parse(bad), Err(UsernameError::Malformed), "{bad}");
    }
    assert_eq!(Username::parse("www"), Err(UsernameError::Reserved));
}

#[test]
fn ids_are_read_as_they_are_written() {
    for id in [0, 7, u128::MAX] {
        assert_eq!(TenantId::from_hex(&TenantId(id).to_string()), Some(TenantId(id)));
    }
    for bad in ["", "7", &"g".repeat(32), &"0".repeat(33), &format!("+{}", "0".repeat(31))] {
        assert_eq!(TenantId::from_hex(bad), None, "{bad}");
    }
}

#[test]
fn a_password_grant_ends_with_the_password() {
    let password = |fingerprint| Some(Password::from_hash("hash", fingerprint));
    let holds = |password: Option<Password>| {
        let tenant = Tenant { password, ..sample("mike") };
        tenant.allows(&Grant::Password { fingerprint: 5 }, NOW)
    };
    assert_eq!(holds(password(5)), Ok(()));
    assert_eq!(holds(password(6)), Err(Cause::PasswordChanged));
    assert_eq!(holds(None), Err(Cause::PasswordChanged));
}

#[test]
fn a_key_grant_rests_on_that_key_and_that_secret() {
    let tenant = Tenant { keys: vec![key(0, "default"), key(7, "named")], ..sample("mike") };
    assert_eq!(tenant.allows(&grant(0, "default"), NOW), Ok(()));
    assert_eq!(tenant.allows(&grant(7, "named"), NOW), Ok(()));
    assert_eq!(tenant.allows(&grant(7, "before"), NOW), Err(Cause::KeyRegenerated));
    assert_eq!(tenant.allows(&grant(7, "default"), NOW), Err(Cause::KeyRegenerated));
    assert_eq!(tenant.allows(&grant(8, "named"), NOW), Err(Cause::KeyRevoked));
}

#[test]
fn a_key_ends_at_the_very_moment() {
    let tenant = with_key(ApiKey { expires_at: Some(NOW), ..key(7, "named") });
    assert_eq!(tenant.allows(&grant(7, "named"), NOW.minus(MS)), Ok(()));
    assert_eq!(tenant.allows(&grant(7, "named"), NOW), Err(Cause::KeyExpired));
    assert_eq!(tenant.allows(&grant(7, "named"), NOW.plus(MS)), Err(Cause::KeyExpired));
}

#[test]
fn a_rotated_secret_works_until_its_overlap_is_over() {
    let previous = PreviousSecret { digest: digest("old"), until: NOW };
    let tenant = with_key(ApiKey { previous: Some(previous), ..key(7, "new") });
    assert_eq!(tenant.allows(&grant(7, "old"), NOW.minus(MS)), Ok(()));
    assert_eq!(tenant.allows(&grant(7, "old"), NOW), Err(Cause::KeyRegenerated));
    assert_eq!(tenant.allows(&grant(7, "old"), NOW.plus(MS)), Err(Cause::KeyRegenerated));
    for now in [NOW.minus(MS), NOW, NOW.plus(MS)] {
        assert_eq!(tenant.allows(&grant(7, "new"), now), Ok(()));
    }
    assert_eq!(tenant.keys[0].digests().collect::<Vec<_>>(), [digest("new"), digest("old")]);

    let expired = with_key(ApiKey { expires_at: Some(NOW.minus(MS)), ..tenant.keys[0].clone() });
    assert_eq!(expired.allows(&grant(7, "old"), NOW.minus(MS)), Err(Cause::KeyExpired));
}

#[test]
fn a_disabled_tenant_is_granted_nothing() {
    let password = Some(Password::from_hash("hash", 5));
    let mut tenant = Tenant { password, ..with_key(key(7, "named")) };
    let grants = [Grant::Anonymous, Grant::Password { fingerprint: 5 }, grant(7, "named")];
    assert!(grants.iter().all(|grant| tenant.allows(grant, NOW).is_ok()));
    tenant.disabled = true;
    for grant in grants {
        assert_eq!(tenant.allows(&grant, NOW), Err(Cause::TenantDisabled), "{grant:?}");
    }
}

#[test]
fn a_scope_opens_its_paths_and_all_below() {
    let opens = |scope: &[&str], path: &str| {
        let scope = scope.iter().map(|path| (*path).to_owned()).collect();
        ApiKey { scope, ..key(7, "named") }.opens(path)
    };
    for path in ["/thing", "/thing/", "/thing/x", "/THING", "//thing", "/thing//x", "/%74hing"] {
        assert!(opens(&["/thing"], path), "{path}");
        assert!(opens(&["/other", "/Thing/"], path), "{path}");
        assert!(opens(&[], path), "{path}");
    }
    for path in ["/", "", "/thin", "/things", "/thing2/x", "/x/thing", "/thing;x", "/thing%2fx"] {
        assert!(!opens(&["/thing"], path), "{path}");
    }
    assert!(opens(&["/a/b"], "/a/b/c") && !opens(&["/a/b"], "/a") && !opens(&["/a/b"], "/a/c"));
    assert!(opens(&["/"], "/anything"), "the root is all");
}

#[test]
fn nothing_of_a_tenant_prints_a_secret() {
    let hash = "$2b$04$hush-hush";
    let password = Some(Password::from_hash(hash, 5));
    let tenant = Tenant { password, ..with_key(key(7, "hush-hush")) };
    let printed = format!("{tenant:?}");
    assert!(!printed.contains("hush"), "{printed}");
    assert!(!printed.contains(&digest("hush-hush").to_hex()), "{printed}");
}
