//! The tenants, with all credentials that they have or had, and what is known of each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::dice::Dice;
use crate::facts::Fact;

/// Dead credentials of a tenant that are tried again and again; older ones are forgotten.
const DEAD_KEPT: usize = 40;

/// A credential, dead or alive.
pub struct Credential {
    /// The secret.
    pub secret: String,
    /// The key's id; the default key has none.
    pub id: Option<String>,
    alive: Mutex<Fact>,
}

impl Credential {
    /// One that is alive.
    pub fn alive(secret: String, id: Option<String>) -> Arc<Self> {
        Self::with(secret, id, Fact::always(true))
    }

    /// One of which this is known.
    pub fn with(secret: String, id: Option<String>, alive: Fact) -> Arc<Self> {
        Arc::new(Self { secret, id, alive: Mutex::new(alive) })
    }

    /// Whether it is alive.
    pub fn fact(&self) -> MutexGuard<'_, Fact> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the registry has of it.
    pub fn digest(&self) -> String {
        Sha256::digest(&self.secret).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Which registry a tenant is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Redis, which several replicas share.
    Shared,
    /// A file, which one process has.
    File,
}

/// A tenant.
pub struct Tenant {
    /// The username.
    pub name: String,
    /// Where they live.
    pub home: Home,
    /// Which runtime is theirs.
    pub runtime: usize,
    /// Whether somebody makes and removes them while the others stay.
    pub comes_and_goes: bool,
    /// Whether they may come in: there, and not disabled.
    enabled: Mutex<Fact>,
    credentials: Mutex<Vec<Arc<Credential>>>,
}

impl Tenant {
    /// One who is there with a default key, or one who is not there yet.
    pub fn new(name: String, home: Home, runtime: usize, comes_and_goes: bool) -> Self {
        let credentials = match comes_and_goes {
            true => Vec::new(),
            false => vec![Credential::alive(first_key(&name), None)],
        };
        Self {
            name,
            home,
            runtime,
            comes_and_goes,
            enabled: Mutex::new(Fact::always(!comes_and_goes)),
            credentials: Mutex::new(credentials),
        }
    }

    /// Whether they may come in.
    pub fn enabled(&self) -> MutexGuard<'_, Fact> {
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Credential>>> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new credential; very old dead ones are forgotten.
    pub fn add(&self, credential: Arc<Credential>) {
        let mut list = self.list();
        if list.len() >= DEAD_KEPT {
            let oldest = list.iter().position(|one| one.fact().settled() == Some(false));
            oldest.map(|at| list.remove(at));
        }
        list.push(credential);
    }

    /// All credentials that are known, dead ones too.
    pub fn credentials(&self) -> Vec<Arc<Credential>> {
        self.list().clone()
    }

    /// Those that are alive for certain.
    pub fn living(&self) -> Vec<Arc<Credential>> {
        let is_alive = |one: &&Arc<Credential>| one.fact().settled() == Some(true);
        self.list().iter().filter(is_alive).cloned().collect()
    }

    /// The default key, if that is alive for certain.
    pub fn default_key(&self) -> Option<Arc<Credential>> {
        self.living().into_iter().find(|one| one.id.is_none())
    }

    /// The named keys that are alive for certain.
    pub fn named_keys(&self) -> Vec<Arc<Credential>> {
        self.living().into_iter().filter(|one| one.id.is_some()).collect()
    }

    /// The newest of those that are alive for certain or in whatever state, for who wants to come in.
    pub fn to_come_in(&self, dice: &mut Dice) -> Option<Arc<Credential>> {
        let living = self.living();
        dice.pick(&living).cloned().or_else(|| self.list().last().cloned())
    }

    /// Whether some moment between `sent` and `got` allows that this opened the door for somebody who
    /// may be behind by `window`.
    pub fn may_open(
        &self,
        credential: &Credential,
        sent: Instant,
        got: Instant,
        window: std::time::Duration,
    ) -> bool {
        credential.fact().may_be(true, sent, got, window)
            && self.enabled().may_be(true, sent, got, window)
    }

    /// The same for a closed door.
    pub fn may_stay_shut(
        &self,
        credential: &Credential,
        sent: Instant,
        got: Instant,
        window: std::time::Duration,
    ) -> bool {
        credential.fact().may_be(false, sent, got, window)
            || self.enabled().may_be(false, sent, got, window)
    }

    /// The settings that an operator gives them.
    pub fn settings(&self, runtime_address: &str) -> Value {
        json!({
            "instance": {
                "address": format!("http://{runtime_address}"),
                "node_root": "/api",
                "admin_root": null,
            },
        })
    }

    /// The same for a profiles file.
    pub fn profile(&self, runtime_address: &str) -> Value {
        let mut profile = self.settings(runtime_address);
        profile["username"] = json!(self.name);
        profile["api_key"] = json!(first_key(&self.name));
        profile
    }
}

/// A tenant's first default key.
pub fn first_key(name: &str) -> String {
    format!("chaos-first-key-of-{name}-0123456789")
}
