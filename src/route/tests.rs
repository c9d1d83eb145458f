use super::*;
use crate::tenant::{OnChange, Provider};

mod any_path;

const BASE: &str = "flows.localhost";

/// A target in one word each: row, tenant and path below `node_root`; or the status.
fn told(host: &str, path: &str) -> String {
    match route(host, path, BASE) {
        Ok(Target::Own(own)) => format!("{own:?}"),
        Ok(Target::Context) => "context".to_owned(),
        Ok(Target::TenantHost { username }) => format!("tenant-host {username}"),
        Ok(Target::TenantPage { username }) => format!("tenant-page {username}"),
        Ok(Target::Runtime(target)) => {
            let username = target.username.as_ref().map_or("-", Username::as_str);
            format!("{} {username} {}", target.row.label(), target.below_node_root)
        }
        Err(refusal) => refusal.status().as_str().to_owned(),
    }
}

fn assert_table(host: &str, table: &[(&str, &str)]) {
    for (path, expected) in table {
        assert_eq!(told(host, path), *expected, "{host} {path}");
    }
}

#[test]
fn rows_of_the_bare_host() {
    assert_table(
        "flows.localhost",
        &[
            ("/public/mike/data", "public mike /public/data"),
            ("/public/mike/", "public mike /public/"),
            ("/public/mike/a/b/", "public mike /public/a/b/"),
            ("/public/mike//a", "public mike /public//a"),
            ("/api/data", "api - /data"),
            ("/api/", "api - /"),
            ("/api/public/data", "api - /public/data"),
            ("/api//data", "api - //data"),
            ("/healthz", "Health"),
            ("/readyz", "Ready"),
            ("/", "Home"),
            ("/login", "Login"),
            ("/login/editor", "Login"),
            ("/logout", "Logout"),
            ("/profile/keys", "Profile"),
            ("/assets/style.css", "Assets"),
            ("/loginx", "context"),
            ("/logout/x", "404"),
            ("/Login", "404"),
            ("/api", "404"),
            ("/public", "404"),
            ("/public/", "404"),
            ("/public/mike", "404"),
            ("/public//data", "404"),
            ("/public/Mike/data", "404"),
            ("/public/%6dike/data", "404"),
            ("/public/www/data", "404"),
            ("/API/data", "404"),
            ("/Public/mike/data", "404"),
            ("//api/data", "404"),
            ("//public/mike/data", "404"),
            ("/healthz/", "404"),
            ("/red", "context"),
            ("/other", "context"),
        ],
    );
}

#[test]
fn rows_of_a_tenants_host() {
    assert_table(
        "mike.flows.localhost",
        &[
            ("/api/public/data", "tenant_public mike /public/data"),
            ("/api/public/", "tenant_public mike /public/"),
            ("/api/data", "tenant_api mike /data"),
            ("/api/", "tenant_api mike /"),
            ("/api/public", "tenant_api mike /public"),
            ("/api/Public/data", "tenant_api mike /Public/data"),
            ("/api/%70ublic/data", "tenant_api mike /%70ublic/data"),
            ("/api//public/data", "tenant_api mike //public/data"),
            ("/healthz", "Health"),
            ("/readyz", "Ready"),
            ("/", "tenant-page mike"),
            ("/login/session", "tenant-page mike"),
            ("/logout", "tenant-page mike"),
            ("/login", "tenant-host mike"),
            ("/profile", "tenant-host mike"),
            ("/api", "tenant-host mike"),
            ("/red/comms", "tenant-host mike"),
            // Another tenant's public row is not reached by way of this host.
            ("/public/roberto/data", "tenant-host mike"),
        ],
    );
}

#[test]
fn a_host_names_a_tenant_whatever_its_port_case_or_final_dot() {
    let hosts = [
        "mike.flows.localhost",
        "mike.flows.localhost:8080",
        "mike.flows.localhost:",
        "MIKE.Flows.LocalHost",
        "mike.flows.localhost.",
        "mike.flows.localhost.:443",
    ];
    for host in hosts {
        assert_eq!(told(host, "/api/x"), "tenant_api mike /x", "{host}");
    }
    for label in ["a", "0", "a-b", "nobody", &"x".repeat(63)] {
        let expected = format!("tenant_api {label} /x");
        assert_eq!(told(&format!("{label}.flows.localhost"), "/api/x"), expected);
    }
}

#[test]
fn every_other_host_is_bare() {
    let long = format!("{}.flows.localhost", "x".repeat(64));
    let hosts = [
        "flows.localhost",
        "flows.localhost:8080",
        "FLOWS.localhost.",
        "localhost",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "example.org",
        "flows.localhost.example.org",
        "mike.flows.localhost.example.org",
        "mikeflows.localhost",
        "a.mike.flows.localhost",
        "mike..flows.localhost",
        ".flows.localhost",
        "-mike.flows.localhost",
        "mi_ke.flows.localhost",
        "xn--mke-5na.flows.localhost",
        "www.flows.localhost",
        "api.flows.localhost",
        "admin.flows.localhost",
        &long,
    ];
    for host in hosts {
        assert_eq!(told(host, "/api/x"), "api - /x", "{host}");
    }
}

#[test]
fn a_malformed_host_is_400() {
    let hosts = [
        "",
        ":8080",
        "user@mike.flows.localhost",
        "user:secret@mike.flows.localhost",
        "mike.flows.localhost:80:80",
        "mike.flows.localhost:http",
        "mike.flows.localhost:-1",
        "mike.flows.localhost:123456",
        "mike.flows.localhost/",
        "mike.flows.localhost, other",
        "mike flows.localhost",
        "mike.flows.localhost ",
        "mike%2eflows.localhost",
        "http://mike.flows.localhost",
        "*.flows.localhost",
        "m\u{ef}ke.flows.localhost",
        "::1",
        "[::1",
        "[::1]x",
        "[::1]:x",
        "[fe80::1%25eth0]",
        "[mike]",
        "[]",
    ];
    for host in hosts {
        assert_eq!(told(host, "/api/x"), "400", "{host:?}");
        assert_eq!(told(host, "/healthz"), "400", "{host:?}");
    }
}

#[test]
fn paths_that_could_mean_another_path_are_400_on_every_row() {
    let tricks = [
        ".", "..", "%2e", "%2E%2e", ".%2E", "%2e.", "..;", "..;x", "..;x=y", ".;", "%2e%2e;x",
        "..%3b", ".%2e%3Bx", "a%2fb", "a%2Fb", "%2f", "a%5cb", "%5C", "a\\b", "\\", "%00", "a%00",
        "a%0ab", "%0d", "%1f", "%7f", "\u{7f}", "\u{1}", "a\tb", "a\0b",
    ];
    for trick in tricks {
        for (host, prefix) in
            [(BASE, "/api"), (BASE, "/public/mike"), ("mike.flows.localhost", "/api/public")]
        {
            for path in [
                format!("{prefix}/{trick}"),
                format!("{prefix}/{trick}/"),
                format!("{prefix}/a/{trick}/red"),
                format!("/{trick}{prefix}/a"),
            ] {
                assert_eq!(told(host, &path), "400", "{path:?}");
            }
        }
    }
    for path in ["", "*", "api/x", "http://flows.localhost/api/x"] {
        assert_eq!(told(BASE, path), "400", "{path:?}");
    }
}

#[test]
fn everything_else_stays_byte_for_byte() {
    let rests = [
        "",
        "a//b",
        "a/",
        "//",
        "...",
        "..a",
        "a..",
        ".a",
        "%2e%2ea",
        ";x",
        "a;x=..",
        "a;..",
        "%25",
        "%2572ed",
        "%252e%252e",
        "%",
        "%zz",
        "%e9",
        "%c3%a9",
        "\u{e9}",
        "a+b",
        "a%20b",
        "a:b@c",
        "{a}",
        "a|b",
        "'",
        "\"",
        "~!$&*(),=",
    ];
    for rest in rests {
        assert_eq!(told(BASE, &format!("/api/{rest}")), format!("api - /{rest}"));
        let public = format!("public mike /public/{rest}");
        assert_eq!(told(BASE, &format!("/public/mike/{rest}")), public);
        let tenant = format!("tenant_public mike /public/{rest}");
        assert_eq!(told("mike.flows.localhost", &format!("/api/public/{rest}")), tenant);
    }
}

fn instance(node_root: &str, admin_root: Option<&str>) -> Instance {
    Instance {
        host: "127.0.0.1".into(),
        port: 1880,
        node_root: node_root.into(),
        admin_root: admin_root.map(str::to_owned),
        tls: None,
        on_change: OnChange::Keep,
        provider: Provider::Static,
        nodes: None,
        network: None,
    }
}

/// The path at the runtime, or the status.
fn at_runtime(host: &str, path: &str, instance: &Instance) -> String {
    let target = match route(host, path, BASE) {
        Ok(Target::Runtime(target)) => target,
        other => panic!("{path}: {other:?}"),
    };
    match target.runtime_path(instance) {
        Ok(path) => path,
        Err(refusal) => refusal.status().as_str().to_owned(),
    }
}

#[test]
fn node_root_goes_in_front() {
    let recommended = instance("/api", Some("/red"));
    assert_eq!(at_runtime(BASE, "/public/mike/a?", &recommended), "/api/public/a?");
    assert_eq!(at_runtime(BASE, "/api/a/%25", &recommended), "/api/a/%25");
    assert_eq!(at_runtime(BASE, "/api/red", &recommended), "/api/red");
    let default = instance("", Some("/red"));
    assert_eq!(at_runtime(BASE, "/public/mike/a", &default), "/public/a");
    assert_eq!(at_runtime("mike.flows.localhost", "/api/a", &default), "/a");
    assert_eq!(at_runtime(BASE, "/api/", &default), "/");
}

#[test]
fn the_editor_is_not_reached_by_other_rows() {
    let default = instance("", Some("/red"));
    for path in [
        "/red",
        "/red/",
        "/red/comms",
        "/RED",
        "/rEd/x",
        "//red",
        "///red//x",
        "/%72ed",
        "/%52%45d/x",
    ] {
        assert_eq!(at_runtime(BASE, &format!("/api{path}"), &default), "404", "{path}");
    }
    for path in ["/redd", "/re", "/x/red", "/%2572ed", "/red%20", "/r\u{e9}d"] {
        assert_eq!(at_runtime(BASE, &format!("/api{path}"), &default), path);
    }
    let nested = instance("/api", Some("/api/Admin/editor"));
    assert_eq!(at_runtime(BASE, "/api/admin//EDITOR/x", &nested), "404");
    assert_eq!(at_runtime(BASE, "/api/admin/x", &nested), "/api/admin/x");
    let public = instance("", Some("/public/red"));
    assert_eq!(at_runtime(BASE, "/public/mike/red/x", &public), "404");
    assert_eq!(at_runtime(BASE, "/api/red", &instance("", None)), "/red");
}

/// WHATWG's URL parser, which many runtimes read their request line with, takes what follows two
/// slashes for a host.
#[test]
fn a_runtime_never_sees_a_host_in_its_path() {
    for path in ["/api//evil/red/comms", "/api//x", "/api//"] {
        assert_eq!(at_runtime(BASE, path, &instance("", Some("/red"))), "400", "{path}");
        assert_eq!(at_runtime(BASE, path, &instance("", None)), "400", "{path}");
    }
    assert_eq!(at_runtime(BASE, "/api//x", &instance("/api", Some("/red"))), "/api//x");
}
