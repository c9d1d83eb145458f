use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A certificate for these names, and its key, in a folder.
fn write(folder: &TempDir, file: &str, names: &[&str]) -> CertificateFiles {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let chain = folder.path().join(format!("{file}.pem"));
    let key = folder.path().join(format!("{file}.key"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    allow(&key, 0o600);
    CertificateFiles { chain, key }
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn wall() -> Wall {
    Wall::stopped_at(1_790_000_000_000)
}

fn fault_of(files: &CertificateFiles) -> String {
    Certificates::load(vec![files.clone()], wall()).unwrap_err().to_string()
}

/// The first alternative name of what is presented to whoever asks for `name`.
fn presented(certificates: &Certificates, name: &str) -> String {
    let table = certificates.table();
    let key = table.find(name).unwrap_or(&table.first);
    let leaf = EndEntityCert::try_from(&key.cert[0]).unwrap();
    leaf.valid_dns_names().next().unwrap().to_owned()
}

#[test]
fn a_pair_is_two_files_or_one() {
    let pair = |text: &str| text.parse::<CertificateFiles>();
    let both = pair("/a/chain.pem:/a/key.pem").unwrap();
    assert_eq!((both.chain, both.key), ("/a/chain.pem".into(), "/a/key.pem".into()));
    assert_eq!(pair("one.pem").unwrap().key, Path::new("one.pem"));
    for bad in ["", ":", "a:", ":b", "a:b:c"] {
        assert!(pair(bad).is_err(), "{bad}");
    }
}

#[test]
fn exact_names_come_before_wildcards_and_the_first_is_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![
        write(&folder, "first", &["first.test"]),
        write(&folder, "wild", &["wild.first.test", "*.flows.test"]),
        write(&folder, "exact", &["exact.first.test", "mike.flows.test"]),
        write(&folder, "late", &["late.first.test", "Mike.flows.test", "flows.test"]),
    ];
    let certificates = Certificates::load(files, wall()).unwrap();
    for (name, expected) in [
        ("first.test", "first.test"),
        ("mike.flows.test", "exact.first.test"),
        ("MIKE.Flows.test", "exact.first.test"),
        ("roberto.flows.test", "wild.first.test"),
        ("flows.test", "late.first.test"),
        ("a.b.flows.test", "first.test"),
        ("test", "first.test"),
        ("elsewhere.example", "first.test"),
        ("*.flows.test", "wild.first.test"),
    ] {
        assert_eq!(presented(&certificates, name), expected, "{name}");
    }
}

#[test]
fn what_cannot_be_used_is_told_without_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let good = write(&folder, "good", &["good.test"]);
    let other = write(&folder, "other", &["other.test"]);
    let absent = CertificateFiles { chain: folder.path().join("absent"), ..good.clone() };
    assert!(fault_of(&absent).contains("absent: No such file"));
    let swapped = CertificateFiles { key: other.key.clone(), ..good.clone() };
    let fault = fault_of(&swapped);
    assert!(fault.contains("other.key: not the certificate's key"), "{fault}");
    let no_key = CertificateFiles { key: good.chain.clone(), ..good.clone() };
    allow(&good.chain, 0o600);
    assert!(fault_of(&no_key).contains("has no private key in PEM"));
    let no_chain = CertificateFiles { chain: good.key.clone(), ..good.clone() };
    assert!(fault_of(&no_chain).contains("has no certificate in it"));
    let secret = "c2VjcmV0IG9mIHRoZSBrZXk=";
    std::fs::write(&other.key, format!("-----BEGIN PRIVATE KEY-----\n{secret}\n")).unwrap();
    assert!(
        !fault_of(&CertificateFiles { key: other.key.clone(), ..good.clone() }).contains(secret)
    );
    std::fs::write(&other.chain, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    assert!(fault_of(&other).contains("is of no use"), "{}", fault_of(&other));
    std::fs::write(&other.chain, vec![b'x'; 2 << 20]).unwrap();
    assert!(fault_of(&other).contains("over 1 MiB"));
    for mode in [0o640, 0o604, 0o660, 0o610, 0o601, 0o777] {
        allow(&good.key, mode);
        let fault = fault_of(&good);
        assert!(
            fault.contains(&format!("mode {mode:03o}")) && fault.contains("chmod 600"),
            "{fault}"
        );
    }
    allow(&good.key, 0o400);
    assert!(Certificates::load(vec![good], wall()).is_ok());
}

#[test]
fn a_group_may_read_a_key_that_is_somebody_elses_file() {
    const OWN: u32 = 65532;
    for (owner, mode, is_taken) in [
        (OWN, 0o600, true),
        (OWN, 0o400, true),
        (OWN, 0o440, false),
        (0, 0o400, true),
        (0, 0o440, true),
        (0, 0o640, true),
        (0, 0o460, false),
        (0, 0o444, false),
        (0, 0o602, false),
    ] {
        let (forbidden, _) = forbidden_mode(owner, OWN);
        assert_eq!(mode & forbidden == 0, is_taken, "{owner} {mode:o}");
    }
}

#[test]
fn one_file_may_hold_both() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(&folder, "two", &["both.test"]);
    let both = folder.path().join("both.pem");
    let texts = [&files.chain, &files.key].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&both, texts.concat()).unwrap();
    let pair: CertificateFiles = both.to_str().unwrap().parse().unwrap();
    allow(&both, 0o644);
    assert!(fault_of(&pair).contains("others may read"));
    allow(&both, 0o600);
    let certificates = Certificates::load(vec![pair], wall()).unwrap();
    assert_eq!(presented(&certificates, "both.test"), "both.test");
}

#[test]
fn files_are_read_again_when_they_change_and_bad_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(&folder, "it", &["old.test"]);
    let certificates = Certificates::load(vec![files.clone()], wall()).unwrap();
    let before = certificates.table();
    certificates.look();
    assert!(Arc::ptr_eq(&before, &certificates.table()), "read without a change");
    // Half a renewal: the certificate is new, the key is still the old one.
    let next = write(&folder, "next", &["new.test"]);
    std::fs::rename(&next.chain, &files.chain).unwrap();
    certificates.look();
    assert_eq!(presented(&certificates, "old.test"), "old.test");
    std::fs::rename(&next.key, &files.key).unwrap();
    certificates.look();
    assert_eq!(presented(&certificates, "new.test"), "new.test");
    for bad in ["", "no PEM"] {
        std::fs::write(&files.chain, bad).unwrap();
        certificates.look();
        certificates.reload();
        assert_eq!(presented(&certificates, "new.test"), "new.test");
    }
    std::fs::remove_file(&files.chain).unwrap();
    certificates.look();
    assert_eq!(presented(&certificates, "new.test"), "new.test");
}

#[test]
fn the_days_of_a_certificate_are_found() {
    let day = |year, month, day| rcgen::date_time_ymd(year, month, day);
    for (from, until) in [
        (day(2020, 1, 1), day(2021, 6, 30)),
        (day(1975, 1, 1), day(4096, 1, 1)),
        (day(2049, 12, 31), day(2050, 1, 1)),
    ] {
        let mut parameters = rcgen::CertificateParams::new(vec!["days.test".to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (from, until);
        let key = rcgen::KeyPair::generate().unwrap();
        let der = parameters.self_signed(&key).unwrap().der().clone();
        let found = validity(&EndEntityCert::try_from(&der).unwrap()).unwrap();
        let expected = [from, until].map(|day| UnixMillis(day.unix_timestamp() as u64 * 1000));
        assert_eq!([found.0, found.1], expected);
    }
}
