//! What `deploy/` ships: the Helm chart, and what is written from it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::support::admin::{ok, run, write_secret};
use crate::support::flowgate::program;
use crate::support::node::root;
use crate::support::tls::Authority;
use crate::support::wait_until;

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

/// What the chart has each tenant's runtime made from.
fn runtime_template(values: &str) -> String {
    let output = rendered(&["-s", "templates/runtimes.yaml", "--set", values]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, template) = text.split_once("template.yaml: |\n").unwrap();
    template.split_once("\n---\n").unwrap().0.to_owned()
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
        "runtimes.kubernetes.enabled=true",
        "runtimes.kubernetes.enabled=true,runtimes.kubernetes.storageClass=fast,imagePullSecrets[0].name=x",
    ] {
        if values.contains("kubernetes") {
            let path = folder.path().join("template.yaml");
            std::fs::write(path, runtime_template(values)).unwrap();
        }
        let text = settings(values)
            .replace("/run/secrets", secrets)
            .replace("/etc/flowgate-runtime", secrets);
        let file = folder.path().join("flowgate.toml");
        std::fs::write(&file, &text).unwrap();
        let (code, said, error) = run(program().args(["check", "--config"]).arg(&file));
        assert_eq!(code, 0, "{values}: {said}{error}\n{text}");
    }
}

#[test]
fn a_template_of_an_operators_own_is_told_if_it_is_wrong() {
    let values = "runtimes.kubernetes.enabled=true,runtimes.kubernetes.template=kind: Pod";
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("template.yaml"), runtime_template(values)).unwrap();
    let text = settings(values).replace("/etc/flowgate-runtime", folder.path().to_str().unwrap());
    let lines = text.lines().filter(|line| !line.contains("/run/secrets"));
    std::fs::write(path("flowgate.toml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let (code, _, error) = run(program().args(["check", "--config"]).arg(path("flowgate.toml")));
    assert!(code == 78 && error.contains("has a ? Pod"), "{code}: {error}");
}

/// On a volume of a Secret, files are root's and for the pod's group to read.
#[test]
fn flowgate_takes_the_certificate_with_the_modes_of_the_charts_volume() {
    const SOMEBODY: u32 = 12345;
    let text = rendered(&["-s", "templates/deployment.yaml", "--set", "tlsSecret=t"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("secretName: t, defaultMode: 0440"), "{text}");
    assert!(text.contains("fsGroup: "), "{text}");
    let authority = Authority::new();
    let files = authority.issue("tls", &["flows.example.org"]);
    let folder = tempfile::tempdir().unwrap();
    let volume = |name: &str| folder.path().join(name);
    std::fs::create_dir(volume("tls")).unwrap();
    std::fs::create_dir(volume("registry")).unwrap();
    write_secret(&volume("registry/password"), "geheim");
    let secrets = folder.path().to_str().unwrap();
    let text = settings("tlsSecret=t").replace("/run/secrets", secrets);
    std::fs::write(volume("flowgate.toml"), text).unwrap();
    let check = |mode: u32, owner: Option<u32>| {
        for (from, to) in [(&files.chain, "tls/tls.crt"), (&files.key, "tls/tls.key")] {
            let _ = std::fs::remove_file(volume(to));
            std::fs::copy(from, volume(to)).unwrap();
            std::fs::set_permissions(volume(to), PermissionsExt::from_mode(mode)).unwrap();
            if chown(volume(to), owner, None).is_err() {
                return None;
            }
        }
        let (code, said, error) =
            run(program().args(["check", "--config"]).arg(volume("flowgate.toml")));
        Some((code, format!("{said}{error}")))
    };
    // Another's file as seen from root is as root's is seen from the pod's user. Only root can make one.
    if let Some((code, said)) = check(0o440, Some(SOMEBODY)) {
        assert_eq!(code, 0, "{said}");
        let (code, said) = check(0o444, Some(SOMEBODY)).unwrap();
        assert!(code == 78 && said.contains("chmod 640"), "{said}");
    }
    let (code, said) = check(0o440, None).unwrap();
    assert!(code == 78 && said.contains("chmod 600"), "{said}");
    assert_eq!(check(0o400, None).unwrap().0, 0);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The script by which the chart starts Redis.
fn redis_script() -> String {
    let output = rendered(&["-s", "templates/redis.yaml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, script) = text.split_once("- |\n").unwrap();
    let indent = script.len() - script.trim_start().len();
    let lines = script.lines().take_while(|line| line.len() - line.trim_start().len() >= indent);
    lines.map(|line| format!("{}\n", &line[indent..])).collect()
}

#[test]
fn the_charts_redis_wants_a_password_that_no_process_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let socket = path("socket");
    let script = redis_script()
        .replace("/run/secrets/registry/password", path("password").to_str().unwrap())
        .replace(
            "--dir /data",
            &format!(
                "--dir {} --port 0 --unixsocket {}",
                folder.path().display(),
                socket.display()
            ),
        );
    let mut shell = Command::new("sh");
    shell.args(["-euc", &script]).stdout(Stdio::null());
    // Nothing starts without one.
    assert!(!shell.stderr(Stdio::null()).status().unwrap().success());
    write_secret(&path("password"), "");
    assert!(!shell.status().unwrap().success());

    let password = "ge\"he\\im $HOME 'x'";
    write_secret(&path("password"), &format!("{password}\n"));
    let mut redis = Killed(shell.spawn().unwrap());
    let ask = |arguments: &[&str]| {
        let output = Command::new("redis-cli")
            .arg("-s")
            .arg(&socket)
            .args(arguments)
            .env("REDISCLI_AUTH", "")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    wait_until("Redis answers", || ask(&["ping"]).starts_with("NOAUTH"));
    assert_eq!(ask(&["-a", password, "ping"]), "PONG");
    for name in ["cmdline", "environ"] {
        let shown = std::fs::read(format!("/proc/{}/{name}", redis.0.id())).unwrap();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(!shown.contains("he\\im") && !shown.contains("$HOME"), "{shown}");
    }
    let _ = ask(&["-a", password, "shutdown", "nosave"]);
    // The shell has become Redis: it hears of the pod's end.
    assert!(redis.0.wait().unwrap().success());
}

#[test]
fn a_password_is_made_where_none_is_named() {
    let all = |values: &[&str]| {
        let output = rendered(values);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let made = all(&[]);
    assert!(made.contains("kind: Secret") && made.contains("registry_password_file = "), "{made}");
    // Redis, flowgate, and the Job that makes the registry.
    assert_eq!(made.matches("secretName: flowgate-redis,").count(), 3, "{made}");
    assert_eq!(made.matches("lookup").count(), 0);
    let named = all(&["--set", "registry.passwordSecret=mine"]);
    assert!(!named.contains("kind: Secret"), "{named}");
    assert_eq!(named.matches("secretName: mine,").count(), 3, "{named}");
    let yours = all(&["--set", "registry.url=redis://cache:6379,redis.enabled=false"]);
    assert!(!yours.contains("kind: Secret") && !yours.contains("password"), "{yours}");
    // What is written down for everybody has none.
    let kept = std::fs::read_to_string(root().join("deploy/kustomize/flowgate.yaml")).unwrap();
    assert!(!kept.contains("kind: Secret"));
    assert_eq!(kept.matches("secretName: registry,").count(), 3, "{kept}");
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
