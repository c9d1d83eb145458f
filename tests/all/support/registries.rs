//! Registries, and the commands for them.

use std::path::PathBuf;
use std::process::Command;

use flowgate::registry::store::{Change, Expected, Kind, Store, Write};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::flowgate::program;

/// Runs a program; returns exit code, standard output and standard error.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// `flowgate registry …`
pub fn registry(arguments: &[&str]) -> (i32, String, String) {
    run(program().arg("registry").args(arguments))
}

/// Registries in a folder.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn url(&self, name: &str) -> String {
        format!("file:{}", self.path(name).display())
    }

    /// A registry in a file, with what is in these profiles.
    pub fn filled(&self, name: &str, profiles: &Value) -> String {
        let url = self.url(name);
        self.import(&url, profiles);
        url
    }

    /// Imports these profiles into a registry.
    pub fn import(&self, url: &str, profiles: &Value) {
        let file = self.path("profiles.json");
        std::fs::write(&file, profiles.to_string()).unwrap();
        let (code, out, error) = run(program().arg("import").arg(&file).args(["--registry", url]));
        assert_eq!(code, 0, "{out}{error}");
    }
}

/// Profiles of so many tenants.
pub fn many(tenants: usize) -> Value {
    let hash = bcrypt::hash("same", 4).unwrap();
    let tenant = |number: usize| {
        json!({
            "username": format!("tenant-{number}"),
            "password_hash": hash,
            "api_key": format!("key-of-tenant-number-{number}"),
            "instance": { "address": "http://127.0.0.1:9", "admin_root": null },
        })
    };
    let tenants: Vec<Value> = (0..tenants).map(tenant).collect();
    json!({ "tenants": tenants })
}

pub fn export(url: &str) -> (i32, String, String) {
    run(program().args(["export", "-", "--registry", url]))
}

pub fn copy(from: &str, to: &str) -> (i32, String, String) {
    registry(&["copy", "--from", from, "--to", to])
}

pub fn check(url: &str) -> (i32, String, String) {
    registry(&["check", "--registry", url])
}

/// Writes a document as no command would.
pub fn write(url: &str, kind: &'static str, id: &str, body: &Value) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(url).await.unwrap();
        store.write(vec![put(kind, id, body)]).await.unwrap();
    });
}

/// The write that puts a document without indexes.
pub fn put(kind: &'static str, id: &str, body: &Value) -> Write {
    let change = Change::Put { indexes: Vec::new(), body: body.to_string().into_bytes() };
    Write { kind: Kind(kind), id: id.to_owned(), expected: Expected::Any, change }
}
