//! Tenants to check: a registry for flowgate, maps of the same keys for the rivals. Each file is made
//! when it is first wanted, and kept for the run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::fault::{During, Result, fault};

/// Every tenant's password.
pub const PASSWORD: &str = "password-of-every-bench-tenant";
/// The cost that flowgate gives a password itself.
const BCRYPT_COST: u32 = 12;
/// Tenants of a site that checks nobody.
const FEW: usize = 10;
/// Tenants with a login at the rivals. HAProxy tries each hash when it starts.
const LOGINS: usize = 2;

/// The `index`th tenant's name.
pub fn username(index: usize) -> String {
    format!("t{index}")
}

/// The `index`th tenant's key.
pub fn key(index: usize) -> String {
    format!("bench-key-{index:08}-0123456789abcdef")
}

/// A number of tenants, all with the same runtime.
pub struct Tenants {
    folder: PathBuf,
    /// How many there are.
    pub count: usize,
    runtime: SocketAddr,
    /// The hash of [`PASSWORD`].
    pub hash: String,
}

impl Tenants {
    /// Tenants whose files go into a folder of their own.
    pub fn new(folder: PathBuf, count: usize, runtime: SocketAddr) -> Result<Self> {
        std::fs::create_dir_all(&folder).during("a folder for tenants")?;
        let hash = bcrypt::hash(PASSWORD, BCRYPT_COST).during("hashing")?;
        Ok(Self { folder, count, runtime, hash })
    }

    /// The same for another number of tenants, in another folder.
    pub fn of_count(&self, folder: PathBuf, count: usize) -> Result<Self> {
        std::fs::create_dir_all(&folder).during("a folder for tenants")?;
        Ok(Self { folder, count, runtime: self.runtime, hash: self.hash.clone() })
    }

    /// The names of those who have a login at the rivals.
    pub fn first_names(&self) -> impl Iterator<Item = String> {
        (0..LOGINS.min(self.count)).map(username)
    }

    /// All of them as a profiles file for flowgate.
    pub fn profiles(&self) -> Result<PathBuf> {
        self.profiles_of("profiles.json", self.count)
    }

    /// A profiles file of a few.
    pub fn few_profiles(&self) -> Result<PathBuf> {
        self.profiles_of("few.json", FEW)
    }

    fn profiles_of(&self, name: &str, count: usize) -> Result<PathBuf> {
        let address = format!("http://{}", self.runtime);
        let instance = json!({ "address": address, "node_root": "/api", "admin_root": null });
        self.file(name, |out| {
            write!(out, "{{\"tenants\":[")?;
            for index in 0..count {
                let tenant = json!({
                    "username": username(index),
                    "password_hash": self.hash,
                    "api_key": key(index),
                    "instance": instance,
                });
                writeln!(out, "{}{tenant}", if index == 0 { "" } else { "," })?;
            }
            writeln!(out, "]}}")
        })
    }

    /// Whether the registry was made already.
    pub fn has_registry(&self) -> bool {
        self.folder.join("registry.redb").exists()
    }

    /// The registry with all of them, imported by flowgate itself.
    pub fn registry(&self, flowgate: &Path) -> Result<PathBuf> {
        let registry = self.folder.join("registry.redb");
        if registry.exists() {
            return Ok(registry);
        }
        let profiles = self.profiles()?;
        let imported = Command::new(flowgate)
            .arg("import")
            .arg(profiles)
            .args(["--registry", &format!("file:{}", registry.display())])
            .stdin(Stdio::null())
            .output()
            .during("flowgate import")?;
        match imported.status.success() {
            true => Ok(registry),
            false => {
                fault(format!("flowgate import: {}", String::from_utf8_lossy(&imported.stderr)))
            }
        }
    }

    /// A map of keys for nginx.
    pub fn nginx_keys(&self) -> Result<PathBuf> {
        self.lines("nginx-keys.map", self.count, |index| {
            format!("{} {};", key(index), username(index))
        })
    }

    /// A map of keys for HAProxy.
    pub fn haproxy_keys(&self) -> Result<PathBuf> {
        self.lines("haproxy-keys.map", self.count, |index| {
            format!("{} {}", key(index), username(index))
        })
    }

    /// A map of logins, as a Basic header has them, for HAProxy.
    pub fn haproxy_logins(&self) -> Result<PathBuf> {
        self.lines("haproxy-logins.map", LOGINS.min(self.count), |index| {
            let login = BASE64_STANDARD.encode(format!("{}:{PASSWORD}", username(index)));
            format!("{login} {}", username(index))
        })
    }

    /// Passwords for nginx.
    pub fn htpasswd(&self) -> Result<PathBuf> {
        self.lines("htpasswd", LOGINS.min(self.count), |index| {
            format!("{}:{}", username(index), self.hash)
        })
    }

    fn lines(&self, name: &str, count: usize, line: impl Fn(usize) -> String) -> Result<PathBuf> {
        self.file(name, |out| (0..count).try_for_each(|index| writeln!(out, "{}", line(index))))
    }

    fn file(
        &self,
        name: &str,
        fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<PathBuf> {
        let path = self.folder.join(name);
        if !path.exists() {
            let mut out = BufWriter::new(File::create(&path).during(name)?);
            fill(&mut out).and_then(|()| out.flush()).during(name)?;
        }
        Ok(path)
    }
}
