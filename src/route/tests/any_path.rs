//! Whatever the path: not the editor, not another tenant.

use proptest::prelude::*;

use super::*;

/// What a runtime could take a path for, at its most lenient: decoded once, dot segments resolved
/// (with parameters too), backslashes turned, empty segments dropped, without case.
fn lenient(path: &str) -> Vec<String> {
    let decoded =
        percent_decode(path.as_bytes()).decode_utf8_lossy().to_lowercase().replace('\\', "/");
    let mut segments = Vec::new();
    for segment in decoded.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ if segment.is_empty() => {}
            _ => segments.push(segment.to_owned()),
        }
    }
    segments
}

fn hostile_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "//", "\\", "%2f", "%5c", ".", "..", "%2e", "%2E.", ";", "%3b", "red", "RED",
        "%72ed", "r%65d", "%2572ed", "admin", "Ed", "api", "public", "mike", "roberto", "%00", "%",
        "x", "\u{e9}", "?", "@", ":",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_instance() -> impl Strategy<Value = Instance> {
    let node_root = prop::sample::select(vec!["", "/api", "/flows/v1"]);
    let admin_root = prop::sample::select(vec![
        "/red",
        "/RED",
        "/red/ed",
        "/public/red",
        "/api/red",
        "/flows/admin",
    ]);
    (node_root, admin_root)
        .prop_map(|(node_root, admin_root)| instance(node_root, Some(admin_root)))
}

fn any_host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![BASE, "mike.flows.localhost", "roberto.flows.localhost:80"])
}

fn any_row() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "/api/", "/api", "/public/mike/", "/public/", "/api/public/"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn no_path_leads_under_admin_root(
        host in any_host(),
        row in any_row(),
        rest in hostile_path(),
        instance in any_instance(),
    ) {
        let Ok(Target::Runtime(target)) = route(host, &format!("{row}{rest}"), BASE) else {
            return Ok(());
        };
        let Ok(path) = target.runtime_path(&instance) else { return Ok(()) };
        let admin_root = lenient(instance.admin_root.as_deref().unwrap_or_default());
        prop_assert!(!path.starts_with("//"), "{path}");
        let seen = lenient(&path);
        prop_assert!(!seen.starts_with(&admin_root), "{path}");
        prop_assert!(path.starts_with(&instance.node_root));
        prop_assert!(seen.starts_with(&lenient(&instance.node_root)), "{path}");
    }

    #[test]
    fn no_path_leads_to_another_tenant(host in any_host(), row in any_row(), rest in hostile_path()) {
        let path = format!("{row}{rest}");
        let Ok(target) = route(host, &path, BASE) else { return Ok(()) };
        let (username, row) = match target {
            Target::Runtime(target) => (target.username, Some(target.row)),
            Target::TenantHost { username } | Target::TenantPage { username } => {
                (Some(username), None)
            }
            Target::Own(_) | Target::Context => return Ok(()),
        };
        let name = username.as_ref().map(Username::as_str);
        match host.split_once(".flows") {
            Some((label, _)) => prop_assert_eq!(name, Some(label)),
            None if row == Some(Row::Api) => prop_assert_eq!(name, None),
            None => prop_assert_eq!(name, path.split('/').nth(2)),
        }
    }

    #[test]
    fn a_public_row_stays_public(host in any_host(), row in any_row(), rest in hostile_path()) {
        let Ok(Target::Runtime(target)) = route(host, &format!("{row}{rest}"), BASE) else {
            return Ok(());
        };
        let Ok(path) = target.runtime_path(&instance("/api", Some("/red"))) else { return Ok(()) };
        if target.row.is_public() {
            prop_assert!(lenient(&path).starts_with(&["api".to_owned(), "public".to_owned()]));
            prop_assert!(path.starts_with("/api/public/"));
        }
    }

    #[test]
    fn any_text_is_answered(host in ".*", path in ".*") {
        let _ = route(&host, &path, BASE);
    }
}
