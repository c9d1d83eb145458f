//! Path rules: not the editor, not another tenant, whatever the path.

use percent_encoding::percent_decode_str;

use crate::path::is_under;
use crate::route::{PATH_BYTES_MAX, RuntimeTarget, Target, route};
use crate::row::Row;
use crate::tenant::{Instance, OnChange, Provider, Username};

const BASE: &str = "flows.localhost";
const NODE_ROOTS: [&str; 4] = ["", "/api", "/flows/v1", "/A%62"];
const ADMIN_ROOTS: [&str; 6] =
    ["/red", "/RED/Ed", "/public/red", "/api/red", "/flows/admin", "/%72"];

/// What a runtime could take a path for, at its most lenient: decoded once, dot segments resolved
/// (with parameters too), backslashes turned, empty segments dropped, without case.
fn lenient(path: &str) -> Vec<Vec<u8>> {
    let mut decoded: Vec<u8> = percent_decode_str(path).collect();
    decoded.make_ascii_lowercase();
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"." => {}
            b".." => {
                segments.pop();
            }
            _ if segment.is_empty() => {}
            _ => segments.push(segment.to_vec()),
        }
    }
    segments
}

fn instance(choice: u8) -> Instance {
    let choice = usize::from(choice);
    Instance {
        host: "127.0.0.1".to_owned(),
        port: 1880,
        node_root: NODE_ROOTS[choice % NODE_ROOTS.len()].to_owned(),
        admin_root: Some(ADMIN_ROOTS[choice / NODE_ROOTS.len() % ADMIN_ROOTS.len()].to_owned()),
        tls: None,
        on_change: OnChange::Keep,
        provider: Provider::Static,
        nodes: None,
        network: None,
    }
}

/// The first byte chooses an instance; a line with the host follows, and the path.
pub fn paths(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let Some((host, path)) = std::str::from_utf8(text).ok().and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let Ok(target) = route(host, path, BASE) else { return };
    assert!(path.starts_with('/') && path.len() <= PATH_BYTES_MAX);
    assert!(!path.contains(['\\', '\0', '\r', '\n']));
    match target {
        Target::Own(_) | Target::Context => {}
        Target::TenantHost { username } | Target::TenantPage { username } => {
            assert_is_host_of(host, &username);
        }
        Target::Runtime(target) => reaches_runtime(host, path, &target, &instance(*choice)),
    }
}

fn assert_is_host_of(host: &str, username: &Username) {
    let host = host.to_ascii_lowercase();
    let rest = host.strip_prefix(username.as_str()).and_then(|rest| rest.strip_prefix('.'));
    let rest = rest.and_then(|rest| rest.strip_prefix(BASE));
    let rest = rest.map(|rest| rest.strip_prefix('.').unwrap_or(rest));
    assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')), "{host}");
}

fn reaches_runtime(host: &str, path: &str, target: &RuntimeTarget, instance: &Instance) {
    match (&target.username, target.row) {
        (Some(username), Row::TenantPublic | Row::TenantApi) => assert_is_host_of(host, username),
        (Some(username), Row::Public) => {
            assert_eq!(path.split('/').nth(2), Some(username.as_str()));
        }
        (None, Row::Api) => {}
        other => panic!("{other:?} for {host} {path}"),
    }
    assert!(path.ends_with(target.below_node_root.trim_start_matches("/public/")));
    let Ok(reached) = target.runtime_path(instance) else { return };
    let admin_root = instance.admin_root.as_deref().unwrap_or_default();
    let (seen, node_root) = (lenient(&reached), lenient(&instance.node_root));
    assert!(!reached.starts_with("//"), "{reached}");
    assert!(!seen.starts_with(&lenient(admin_root)), "{reached} opens the editor");
    assert!(!is_under(&reached, admin_root));
    assert!(reached.starts_with(&instance.node_root) && seen.starts_with(&node_root), "{reached}");
    if target.row.is_public() {
        let public = [node_root, vec![b"public".to_vec()]].concat();
        assert!(seen.starts_with(&public), "{reached} is not public");
    }
}
