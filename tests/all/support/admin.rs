//! The operators' side of a flowgate under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::flowgate::{Flowgate, ask, program};

pub const READ: &str = "read-token-0123456789-0123456789";
pub const OPERATE: &str = "operate-token-0123456789-01234567";
pub const ADMIN: &str = "admin-token-0123456789-0123456789";

/// Writes a file that nobody else can read.
pub fn write_secret(file: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, content).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A file of tokens that nobody else can read.
pub fn tokens_file(folder: &Path) -> PathBuf {
    let file = folder.join("tokens");
    let lines = format!("robin read {READ}\nolga operate {OPERATE}\nada admin {ADMIN}\n");
    write_secret(&file, &format!("# operators\n{lines}"));
    file
}

/// A flowgate with these profiles, whose operators have tokens, and the folder of their file.
pub fn start(profiles: &Value) -> (Flowgate, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    (Flowgate::start(profiles, &["--admin-tokens-file", tokens.to_str().unwrap()]), folder)
}

/// Asks the admin API; returns status, head and JSON.
pub fn call(
    flowgate: &Flowgate,
    token: &str,
    line: &str,
    headers: &str,
    body: &Value,
) -> (u16, String, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = ask(
        flowgate.admin,
        &format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).expect(&answer))
}

/// A command that asks this server as an operator with the role `admin`.
pub fn command(flowgate: &Flowgate, arguments: &[&str]) -> Command {
    let mut command = program();
    command
        .args(arguments)
        .env("FLOWGATE_ADMIN_URL", format!("http://{}", flowgate.admin))
        .env("FLOWGATE_ADMIN_TOKEN", ADMIN);
    command
}

/// Runs it: exit code, standard output, standard error.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Runs it; it has to succeed, and prints.
pub fn ok(command: &mut Command) -> String {
    let (code, out, error) = run(command);
    assert_eq!(code, 0, "{out}{error}");
    out
}

/// The same, printing JSON.
pub fn json(flowgate: &Flowgate, arguments: &[&str]) -> Value {
    let out = ok(command(flowgate, arguments).arg("--json"));
    serde_json::from_str(&out).expect(&out)
}
