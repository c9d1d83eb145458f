use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use tempfile::NamedTempFile;

use super::*;

fn flags(given: &[(&'static str, &[&str])]) -> BTreeMap<&'static str, Vec<String>> {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    given.iter().map(|(name, values)| (*name, texts(values))).collect()
}

fn environment(given: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let owned: Vec<_> =
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    owned.into_iter()
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// With flags only.
fn flagged(given: &[(&'static str, &[&str])]) -> Result<Settings, String> {
    load(flags(given), environment(&[]), None).map_err(|error| error.0)
}

/// With one flag.
fn set(name: &'static str, value: &str) -> Result<Settings, String> {
    flagged(&[(name, &[value])])
}

fn from_environment(given: &[(&str, &str)]) -> Result<Settings, String> {
    load(BTreeMap::new(), environment(given), None).map_err(|error| error.0)
}

/// With a file; its name is shown as FILE.
fn from_file(text: &str) -> Result<Settings, String> {
    let file = file(text);
    let path = file.path().to_owned();
    let shown = path.display().to_string();
    let settings = load(BTreeMap::new(), environment(&[]), Some(path));
    settings.map_err(|error| error.0.replace(&shown, "FILE"))
}

#[test]
fn the_defaults_are_good() {
    let settings = flagged(&[]).unwrap();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(settings.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(settings.admin_listen, "127.0.0.1:9180".parse().unwrap());
    assert_eq!((settings.import, settings.base_domain.as_str()), (None, "flows.localhost"));
    assert_eq!((settings.workers, settings.relay_threads), (cores, cores));
    assert_eq!(settings.accept.header_timeout, Duration::from_secs(10));
    assert_eq!(settings.accept.header_bytes_max, settings.connect.header_bytes_max);
    assert_eq!(settings.patience.ping_after, Some(Duration::from_secs(30)));
    assert_eq!(settings.drain.delay, Duration::ZERO);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = file("base_domain = \"file.org\"\nworkers = 3\nrelay_threads = 4\nlog = \"warn\"");
    let settings = load(
        flags(&[("base_domain", &["flag.org"])]),
        environment(&[("FLOWGATE_BASE_DOMAIN", "environment.org"), ("FLOWGATE_WORKERS", "5")]),
        Some(file.path().to_owned()),
    )
    .unwrap();
    assert_eq!(settings.base_domain, "flag.org");
    assert_eq!((settings.workers, settings.relay_threads), (5, 4));
    assert_eq!(settings.drain.timeout, Duration::from_secs(30), "the default is left");
}

#[test]
fn a_file_is_named_by_a_flag_or_else_by_the_environment() {
    let (one, two) = (file("workers = 1"), file("workers = 2"));
    let named = two.path().to_str().unwrap();
    let in_environment = [("FLOWGATE_CONFIG", named)];
    assert_eq!(from_environment(&in_environment).unwrap().workers, 2);
    let both = load(BTreeMap::new(), environment(&in_environment), Some(one.path().to_owned()));
    assert_eq!(both.unwrap().workers, 1);
    let missing = from_environment(&[("FLOWGATE_CONFIG", "no/such/file")]).unwrap_err();
    assert!(missing.starts_with("no/such/file: "), "{missing}");
}

#[test]
fn what_is_no_setting_is_told_with_its_source() {
    let told = from_environment(&[("FLOWGATE_BASE_DOMIAN", "x")]).unwrap_err();
    assert_eq!(told, "environment: FLOWGATE_BASE_DOMIAN is no setting");
    assert_eq!(from_file("base_domian = 1").unwrap_err(), "FILE: base_domian is no setting");
    assert_eq!(from_file("base-domain = \"x\"").unwrap_err(), "FILE: base-domain is no setting");
    assert_eq!(
        from_file("[listen]\na = 1").unwrap_err(),
        "FILE: listen has a value of the wrong kind"
    );
    let broken = from_file("workers = 1\nworkers 2").unwrap_err();
    assert!(broken.starts_with("FILE: line 2: "), "{broken}");
    let twice = from_file("workers = 1\nworkers = 2").unwrap_err();
    assert!(twice.starts_with("FILE: line 2: "), "{twice}");
}

#[test]
fn other_programs_variables_are_left_alone() {
    let settings = from_environment(&[
        ("PATH", "/bin"),
        ("BASE_DOMAIN", "other.org"),
        ("FLOWGATE", "x"),
        ("flowgate_workers", "7"),
        ("XFLOWGATE_WORKERS", "7"),
    ]);
    assert_eq!(settings.unwrap().base_domain, "flows.localhost");
}

#[test]
fn what_kubernetes_says_of_services_is_no_setting_of_ours() {
    for service in ["FLOWGATE", "FLOWGATE_ADMIN", "FLOWGATE_LISTEN"] {
        for rest in [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT",
            "PORT_8080_TCP",
            "PORT_8080_TCP_PROTO",
            "PORT_8080_TCP_PORT",
            "PORT_8080_TCP_ADDR",
        ] {
            let variable = format!("{service}_{rest}");
            assert!(from_environment(&[(&variable, "tcp://10.0.0.1:80")]).is_ok(), "{variable}");
        }
    }
    for unknown in ["FLOWGATE_PORTS", "FLOWGATE_SERVICE", "FLOWGATE_HOST"] {
        assert!(from_environment(&[(unknown, "x")]).is_err(), "{unknown}");
    }
}

#[test]
fn a_bad_value_is_told_with_its_source() {
    assert_eq!(
        set("workers", "many").unwrap_err(),
        "--workers: \"many\": invalid digit found in string"
    );
    let told = from_environment(&[("FLOWGATE_HEADER_TIMEOUT", "5")]).unwrap_err();
    assert!(told.starts_with("FLOWGATE_HEADER_TIMEOUT: \"5\": "), "{told}");
    let told = from_file("listen = [\"127.0.0.1:1\", \"here\"]").unwrap_err();
    assert!(told.starts_with("FILE: listen: \"here\": "), "{told}");
    assert_eq!(
        set("header_bytes_max", "1").unwrap_err(),
        "--header-bytes-max: 1 is not from 8192 to 1048576"
    );
    let told = set("connect_timeout", "0s").unwrap_err();
    assert_eq!(told, "--connect-timeout: must be more than zero");
    assert!(set("metrics_open", "yes").unwrap_err().starts_with("--metrics-open: \"yes\": "));
    assert!(from_file("metrics_open = true").unwrap().metrics_open);
    for kind in ["workers = 1.5", "workers = true", "workers = [1]", "base_domain = 1979-05-27"] {
        assert!(from_file(kind).unwrap_err().ends_with("has a value of the wrong kind"), "{kind}");
    }
}

#[test]
fn lists_come_as_flags_with_commas_or_as_arrays() {
    let two = ["127.0.0.1:1", "[::1]:2"].map(|address| address.parse::<SocketAddr>().unwrap());
    assert_eq!(flagged(&[("listen", &["127.0.0.1:1", "[::1]:2"])]).unwrap().listen, two);
    let with_commas = [("FLOWGATE_LISTEN", "127.0.0.1:1, [::1]:2")];
    assert_eq!(from_environment(&with_commas).unwrap().listen, two);
    assert_eq!(from_file("listen = [\"127.0.0.1:1\", \"[::1]:2\"]").unwrap().listen, two);
    assert_eq!(from_file("listen = \"127.0.0.1:1\"").unwrap().listen, two[..1]);
    assert_eq!(
        from_file("listen = []").unwrap_err(),
        "listen, tls_listen: at least one address is needed"
    );
    assert!(from_environment(&[("FLOWGATE_LISTEN", "127.0.0.1:1,")]).is_err());
    let unset = from_environment(&[("FLOWGATE_LISTEN", ""), ("FLOWGATE_IMPORT", "")]).unwrap();
    assert_eq!((unset.listen.len(), unset.import), (1, None));
}

#[test]
fn numbers_are_bounded() {
    for (name, min, max) in [
        ("header_bytes_max", 8192, 1_i64 << 20),
        ("headers_max", 20, 1000),
        ("url_bytes_max", 2048, 65_534),
        ("keep_alive_requests_max", 0, 4_294_967_295),
        ("connections_max", 1, 10_000_000),
        ("workers", 0, 1024),
        ("relay_threads", 0, 1024),
    ] {
        for good in [min, max] {
            assert!(set(name, &good.to_string()).is_ok(), "{name} {good}");
        }
        for bad in [min - 1, max + 1] {
            assert!(set(name, &bad.to_string()).is_err(), "{name} {bad}");
        }
        for bad in ["", " 1", "1k", "0x1", "99999999999999999999999"] {
            assert!(set(name, bad).is_err(), "{name} {bad:?}");
        }
    }
}

#[test]
fn spans_are_bounded_and_have_units() {
    let may_be_zero = [
        "ping_after",
        "ping_runtime_after",
        "tcp_keepalive",
        "connection_lifetime_max",
        "drain_delay",
        "drain_timeout",
    ];
    for name in KEYS.iter().filter(|key| key.value == "SPAN").map(|key| key.name) {
        let (shortest, longest, longer) = match name {
            "tcp_keepalive" => ("1s", "9h", "9h 1s"),
            "connection_lifetime_max" => ("500ms", "30days", "30days 1ms"),
            _ => ("500ms", "1day", "24h 1ms"),
        };
        for good in [shortest, "30s", "2m", "1h 30m", longest] {
            assert!(set(name, good).is_ok(), "{name} {good}");
        }
        for bad in ["", "5", "s", "-1s", longer, "1year", "5 parsecs"] {
            assert!(set(name, bad).is_err(), "{name} {bad:?}");
        }
        assert_eq!(set(name, "0s").is_ok(), may_be_zero.contains(&name), "{name}");
    }
    assert_eq!(set("ping_after", "0s").unwrap().patience.ping_after, None);
    let settings = set("drain_timeout", "1m 30s").unwrap();
    assert_eq!(settings.drain.timeout, Duration::from_secs(90));
}

#[test]
fn domains_are_names_in_lower_case() {
    for (good, settled) in [
        ("localhost", "localhost"),
        ("Flows.Example.ORG", "flows.example.org"),
        ("a-b.c0", "a-b.c0"),
    ] {
        assert_eq!(set("base_domain", good).unwrap().base_domain, settled);
    }
    let label = "x".repeat(63);
    let longest = format!("{label}.{label}.{}", "x".repeat(61));
    assert_eq!(longest.len(), 189, "with the longest username it is still a name of 253 bytes");
    assert!(set("base_domain", &longest).is_ok());
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a:80",
        "a/b",
        "a_b",
        "a b",
        "*.a",
        "\u{e9}.org",
        &format!("{longest}x"),
        &format!("{label}x.org"),
    ] {
        assert!(set("base_domain", bad).is_err(), "{bad:?}");
    }
}

/// A value for each key that differs from its default.
fn another<'a>(key: &Key, secret_file: &'a str) -> &'a str {
    match (key.name, key.value) {
        ("registry_password_file" | "registry_key_file" | "sealing_key_file", _) => secret_file,
        ("listen" | "tls_listen" | "admin_listen", _) => "127.0.0.1:7",
        ("log", _) => "warn,flowgate::relay=debug",
        ("log_format", _) => "json",
        ("process_ports", _) => "30000-30999",
        ("process_users", _) => "300000-300999",
        (_, "WORD" | "FOLDER" | "TEXT" | "NAME") => "something",
        (_, "CERT:KEY") => "chain.pem:key.pem",
        ("http2", _) => "false",
        (_, "BOOL") => "true",
        (_, "LABEL") => "some/label=thing",
        (_, "NETWORK") => "192.0.2.0/24",
        ("headers_max", _) => "117",
        ("buffer_memory_max_bytes", _) => "2000000",
        (_, "N") => "17",
        (_, "BYTES") => "9000",
        (_, "SPAN") => "17s",
        (_, "FILE") => "other.json",
        (_, "URL") => "memory:",
        (_, "ISSUER") => "https://flows.example.org",
        (_, "DOMAIN" | "HOST") => "other.org",
        (name, _) => panic!("{name} needs a value here"),
    }
}

#[test]
fn every_key_is_documented_and_can_be_set_everywhere() {
    // Where each value comes from is told apart; that is what it is for.
    let told = |settings: Result<Settings, String>| {
        format!("{:?}", Settings { effective: Vec::new(), ..settings.unwrap() })
    };
    let default = told(flagged(&[]));
    let secret_file = tempfile::NamedTempFile::new().unwrap();
    let secret_file = secret_file.path().to_str().unwrap();
    for key in KEYS {
        assert!(!key.help.is_empty() && !key.help.ends_with('.'), "{}", key.name);
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(key.name.bytes().all(is_good));
        let value = another(key, secret_file);
        let flag = told(set(key.name, value));
        assert_ne!(flag, default, "{} changes nothing", key.name);
        let variable = format!("{ENVIRONMENT_PREFIX}{}", key.name.to_ascii_uppercase());
        let environment = from_environment(&[(&variable, value)]);
        assert_eq!(told(environment), flag, "{variable}");
        let file = from_file(&format!("{} = {value:?}", key.name));
        assert_eq!(told(file), flag, "{}", key.name);
    }
}

#[test]
fn every_key_has_one_name() {
    let names: std::collections::HashSet<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names.len(), KEYS.len());
    assert!(!names.contains("config"), "it names the file");
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    let path = file.path().to_str().unwrap();
    let settings = set("registry_password_file", path).unwrap();
    assert_eq!(settings.registry_access.password.unwrap().expose(), "s3cret");
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = set("registry_password_file", path).unwrap_err();
    assert!(refused.contains(path) && refused.contains("chmod o="), "{refused}");
    assert!(!refused.contains("s3cret"));
}

#[test]
fn a_configuration_with_a_password_is_not_for_others() {
    let load_with = |text: &str, mode| {
        let file = file(text);
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        load(BTreeMap::new(), environment(&[]), Some(file.path().to_owned())).map(drop)
    };
    let with_password = "registry = \"redis://me:s3cret@host\"";
    assert_eq!(load_with(with_password, 0o640), Ok(()));
    let refused = load_with(with_password, 0o644).unwrap_err().0;
    assert!(refused.contains("chmod o=") && !refused.contains("s3cret"), "{refused}");
    for without in ["registry = \"redis://me@host\"", "registry = \"memory:\"", ""] {
        assert_eq!(load_with(without, 0o644), Ok(()));
    }
}

#[test]
fn a_url_with_a_password_is_never_repeated() {
    for url in ["redis://me:s3cret@", "redis://me:s3cret@host/x", "rediss://me:s3cret@host?y=1"] {
        let refused = set("registry", url).unwrap_err();
        assert!(!refused.contains("s3cret"), "{refused}");
    }
}
