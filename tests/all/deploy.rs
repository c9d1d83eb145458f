//! What `deploy/` ships: the Helm chart, and what is written from it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::admin::{ok, run, write_secret};
use crate::support::flowgate::program;
use crate::support::node::root;

/// Where Helm is installed; `scripts/test` sees to it.
fn helm() -> Command {
    let beside = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python");
    let folder = std::env::var_os("FLOWGATE_PYTHON_DIR").map_or_else(beside, PathBuf::from);
    let program = folder.join("bin/helm");
    assert!(program.exists(), "Helm is not in {folder:?}: run scripts/test");
    Command::new(program)
}

/// The chart with these values, or a part of it.
fn rendered(arguments: &[&str]) -> Output {
    let chart = root().join("deploy/helm/flowgate");
    helm().args(["template", "flowgate"]).arg(chart).args(arguments).output().unwrap()
}

/// The settings that the chart writes.
fn settings(values: &str) -> String {
    let output = rendered(&["-s", "templates/configuration.yaml", "--set", values]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, settings) = text.split_once("flowgate.toml: |\n").unwrap();
    settings.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn the_chart_is_without_fault() {
    let chart = root().join("deploy/helm/flowgate");
    let output = helm().args(["lint", "--strict"]).arg(chart).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn flowgate_takes_the_settings_that_the_chart_writes() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().to_str().unwrap();
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let token = "ada admin a-token-that-is-long-enough-0123456789\n";
    for (name, text) in
        [("registry/password", "geheim"), ("sealing/key", key), ("admin/tokens", token)]
    {
        let path = folder.path().join(name);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        write_secret(&path, text);
    }
    for values in [
        "replicas=2",
        "registry.url=rediss://flow@cache.example.org:6380/2?prefix=x:,redis.enabled=false",
        "registry.url=redis+sentinel://a:26379\\,b:26379/master,redis.enabled=false",
        "registry.passwordSecret=r,secrets.adminTokens=a,secrets.sealingKey=s,serviceMonitor.enabled=true",
        "settings.connections_max=50000,settings.http2=false,settings.ping_after=20s",
        "settings.trusted_proxies={10.0.0.0/8,192.0.2.1/32}",
    ] {
        let text = settings(values).replace("/run/secrets", secrets);
        let file = folder.path().join("flowgate.toml");
        std::fs::write(&file, &text).unwrap();
        let (code, said, error) = run(program().args(["check", "--config"]).arg(&file));
        assert_eq!(code, 0, "{values}: {said}{error}\n{text}");
    }
}

#[test]
fn wrong_values_are_refused() {
    for (values, what) in [
        ("replicas=0", "replicas: Must"),
        ("replica=3", "property replica is not allowed"),
        ("baseDomain=flows", "baseDomain: Does not"),
        ("registry.url=redis://user:geheim@cache", "registry.url: Does not"),
        ("registry.url=http://cache", "registry.url: Does not"),
        ("redis.enabled=false", "registry.url is needed"),
        ("settings.listen=127.0.0.1:1", "settings: "),
        ("secrets.adminTokens=A_B", "secrets.adminTokens: Does not"),
        ("networkPolicy.runtimes.privateNetworks={10.0.0.0/8}", "privateNetworks.0 does not match"),
        ("image.pullPolicy=Sometimes", "image.pullPolicy: "),
    ] {
        let output = rendered(&["--set", values]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{values} was taken");
        assert!(error.contains(what), "{values}: {error}");
    }
}

#[test]
fn the_manifests_are_those_of_the_chart() {
    let mut script = Command::new(root().join("scripts/kustomize"));
    let written = ok(script.args(["-o", "-"]));
    let kept = std::fs::read_to_string(root().join("deploy/kustomize/flowgate.yaml")).unwrap();
    assert!(written == kept, "deploy/kustomize/flowgate.yaml is old: run scripts/kustomize");
}

#[test]
fn the_compose_files_profiles_are_those_of_the_quickstart() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let example = read("profiles.example.json")
        .replace("http://127.0.0.1:1881", "http://mike:1880")
        .replace("http://127.0.0.1:1882", "http://roberto:1880");
    assert_eq!(read("deploy/compose/profiles.json"), example);
    let profiles = root().join("deploy/compose/profiles.json");
    ok(program().args(["check", "--import"]).arg(profiles));
}
