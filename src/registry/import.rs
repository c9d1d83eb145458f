//! Profiles files into the registry and out of it. Both work tenant by tenant, so that their number
//! does not matter.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use tokio::runtime::Handle;

use super::audit::Act;
use super::profiles::instance;
use super::profiles::{Checked, Good, NamedKey, ProfilesError, check, each};
use super::record::{KeyRecord, PLAN, PasswordRecord, TENANT, TenantRecord, username_index};
use super::store::limits::BODY_BYTES_MAX;
use super::store::{Change, Document, Expected, Store, StoreError, Write};
use super::{put, record};
use crate::clock::{MOMENT_MAX, UnixMillis, Wall};
use crate::grant::KeyId;
use crate::passwords;
use crate::plan::Plan;
use crate::tenant::TenantId;

pub mod single;

/// Documents written at once; each time is a commit to disk.
const DOCUMENTS_PER_WRITE: usize = 500;
/// A store takes some more at once.
const BYTES_PER_WRITE: usize = 8 * 1024 * 1024;
const DOCUMENTS_PER_PAGE: usize = 500;

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Tenants that were not there before.
    pub created: usize,
    /// Tenants that were there and are now as in the file.
    pub replaced: usize,
    /// Tenants that were there and stayed as they were.
    pub left_alone: usize,
    /// Plans that were written.
    pub plans: usize,
}

/// Imports a file: first all of it is checked, then it is written. What is there already stays as it
/// is, unless `replace` is set; what is written goes with `act` for the audit log. `progress` is told how many tenants of how many are done.
///
/// Blocks; not for async code.
///
/// # Errors
/// Everything that is wrong with the file; or the store's error, after which another import goes on
/// where this one ended.
pub fn import(
    store: &Store,
    wall: &Wall,
    handle: &Handle,
    mut file: impl Read + Seek,
    replace: bool,
    act: Option<&Act>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Imported, ProfilesError> {
    let broken = |error: &dyn std::fmt::Display| ProfilesError(vec![error.to_string()]);
    let knows_plan = |name: &str| matches!(handle.block_on(store.get(PLAN, name)), Ok(Some(_)));
    let contents = check(&mut file, knows_plan, |profile| {
        has_room(profile)?;
        has_no_rival(store, handle, profile)
    })?;
    file.rewind().map_err(|error| broken(&error))?;
    let mut import = Import {
        store,
        wall,
        handle,
        replace,
        act,
        writes: Vec::new(),
        bytes: 0,
        done: Imported::default(),
    };
    let mut tenants = 0;
    each(&mut file, |good| {
        match good {
            Good::Plan(name, plan) => import.plan(name, &plan)?,
            Good::Tenant(profile) => {
                import.tenant(*profile)?;
                tenants += 1;
                progress(tenants, contents.tenants);
            }
        }
        Ok(())
    })?;
    import.flush().map_err(|error| broken(&error))?;
    Ok(import.done)
}

/// What is stored of the tenant is no more than a store takes.
fn has_room(profile: &Checked) -> Result<(), String> {
    /// Of what every tenant has, and every key, with the members' names.
    const TENANT_BYTES: usize = 2048;
    const KEY_BYTES: usize = 512;
    let texts: Vec<_> = profile.named_keys.iter().map(|key| (&key.name, &key.scope)).collect();
    let texts = (texts, &profile.instance, &profile.allowed_origins, &profile.plan);
    let texts = serde_json::to_vec(&texts).map_err(text)?;
    let keys_bytes = KEY_BYTES * (profile.named_keys.len() + 1);
    match texts.len() + keys_bytes + TENANT_BYTES <= BODY_BYTES_MAX {
        true => Ok(()),
        false => Err("is more than can be stored of one tenant".to_owned()),
    }
}

/// No other tenant of the registry has one of the profile's keys.
fn has_no_rival(store: &Store, handle: &Handle, profile: &Checked) -> Result<(), String> {
    let own = username_index(profile.username.as_str());
    let named = profile.named_keys.iter().map(|key| key.digest);
    for digest in named.chain(profile.key) {
        let owner = handle.block_on(store.find(TENANT, &record::key_index(digest)));
        let owner = owner.map_err(|error| error.to_string())?;
        if owner.is_some_and(|owner| !owner.indexes.contains(&own)) {
            return Err("api_key belongs to another tenant of the registry".to_owned());
        }
    }
    Ok(())
}

struct Import<'a> {
    store: &'a Store,
    wall: &'a Wall,
    handle: &'a Handle,
    replace: bool,
    act: Option<&'a Act>,
    writes: Vec<Write>,
    bytes: usize,
    done: Imported,
}

impl Import<'_> {
    fn plan(&mut self, name: String, plan: &Plan) -> Result<(), String> {
        let existing = self.handle.block_on(self.store.get(PLAN, &name)).map_err(text)?;
        let body = serde_json::to_vec(plan).map_err(text)?;
        let expected = match existing {
            Some(existing) if !self.replace || existing.body == body => return Ok(()),
            Some(existing) => Expected::Revision(existing.revision),
            None => Expected::Absent,
        };
        self.done.plans += 1;
        let change = Change::Put { indexes: Vec::new(), body };
        self.write(Write { kind: PLAN, id: name, expected, change })
    }

    fn tenant(&mut self, profile: Checked) -> Result<(), String> {
        let index = username_index(profile.username.as_str());
        let existing = self.handle.block_on(self.store.find(TENANT, &index)).map_err(text)?;
        match existing {
            Some(_) if !self.replace => {
                self.done.left_alone += 1;
                Ok(())
            }
            Some(existing) => self.replace(profile, &existing),
            None => {
                let id = TenantId::random().map_err(text)?;
                let record = to_record(profile, None, self.wall.now())?;
                self.done.created += 1;
                self.write(put(id, Expected::Absent, &record).map_err(text)?)
            }
        }
    }

    fn replace(&mut self, profile: Checked, existing: &Document) -> Result<(), String> {
        let before = TenantRecord::from_body(&existing.body).map_err(text)?;
        let record = to_record(profile, Some(&before), self.wall.now())?;
        // Indexes that are not the record's are mended by writing it again.
        if record == before && existing.indexes == record.indexes() {
            self.done.left_alone += 1;
            return Ok(());
        }
        self.done.replaced += 1;
        let id = record::tenant_id(existing).map_err(text)?;
        self.write(put(id, Expected::Revision(existing.revision), &record).map_err(text)?)
    }

    fn write(&mut self, write: Write) -> Result<(), String> {
        if let Change::Put { body, .. } = &write.change {
            self.bytes += body.len();
        }
        self.writes.push(write);
        if self.writes.len() >= DOCUMENTS_PER_WRITE || self.bytes >= BYTES_PER_WRITE {
            self.flush().map_err(text)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        let mut writes = std::mem::take(&mut self.writes);
        if writes.is_empty() {
            return Ok(());
        }
        if let Some(act) = self.act {
            let what = json!({ "documents": writes.len() });
            writes.push(act.write(self.wall.now(), None, Some(what))?);
        }
        self.handle.block_on(self.store.write(writes)).map(|_| ())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The record for a profile. What is the same as before keeps its identity, so that nothing that
/// rests on it ends.
fn to_record(
    profile: Checked,
    before: Option<&TenantRecord>,
    now: UnixMillis,
) -> Result<TenantRecord, String> {
    let known = |sha256: &str, name: Option<&str>| {
        let keys = before.into_iter().flat_map(|before| &before.keys);
        keys.clone().find(|key| key.sha256 == sha256 && key.name.as_deref() == name).cloned()
    };
    let mut keys = Vec::new();
    if let Some(digest) = profile.key {
        let sha256 = digest.to_hex();
        let fresh = || KeyRecord {
            id: KeyId::DEFAULT.to_string(),
            name: None,
            sha256: sha256.clone(),
            hint: profile.key_hint.clone(),
            created_unix_ms: now.0,
            expires_unix_ms: None,
            scope: Vec::new(),
            previous: None,
        };
        keys.push(known(&sha256, None).unwrap_or_else(fresh));
    }
    for NamedKey { name, digest, created_at, expires_at, scope } in profile.named_keys {
        let sha256 = digest.to_hex();
        let existing = known(&sha256, Some(&name));
        let id = match &existing {
            Some(existing) => existing.id.clone(),
            None => KeyId::named(getrandom::u64().map_err(text)?).to_string(),
        };
        keys.push(KeyRecord {
            id,
            hint: existing.as_ref().and_then(|existing| existing.hint.clone()),
            created_unix_ms: created_at.map_or_else(
                || existing.as_ref().map_or(now.0, |existing| existing.created_unix_ms),
                |created_at| created_at.0,
            ),
            previous: existing.and_then(|existing| existing.previous),
            name: Some(name),
            sha256,
            expires_unix_ms: expires_at.map(|expires_at| expires_at.0),
            scope,
        });
    }
    Ok(TenantRecord {
        username: profile.username.to_string(),
        password: password(profile.password, profile.password_hash, before)?,
        retired: before.map(|before| before.retired_beside(&keys)).unwrap_or_default(),
        keys,
        plan: profile.plan,
        instance: profile.instance,
        allowed_origins: profile.allowed_origins,
        disabled: profile.disabled,
    })
}

fn password(
    password: Option<crate::secret::Secret>,
    hash: Option<String>,
    before: Option<&TenantRecord>,
) -> Result<Option<PasswordRecord>, String> {
    let existing = before.and_then(|before| before.password.clone());
    let hash = match (password, hash) {
        (Some(password), _) => match &existing {
            Some(existing) if passwords::is_right(&password, &existing.hash) => {
                existing.hash.clone()
            }
            _ => passwords::hash(&password)?,
        },
        (None, Some(hash)) => hash,
        (None, None) => return Ok(None),
    };
    match existing {
        Some(existing) if existing.hash == hash => Ok(Some(existing)),
        _ => Ok(Some(PasswordRecord { hash, fingerprint: getrandom::u64().map_err(text)? })),
    }
}

/// Writes the registry's plans and tenants as a profiles file, without a secret in it that is not
/// hashed. Returns the number of tenants.
///
/// Blocks; not for async code.
///
/// # Errors
/// The store's, or the writer's.
pub fn export(
    store: &Store,
    handle: &Handle,
    out: &mut dyn std::io::Write,
) -> Result<usize, String> {
    let mut plans = BTreeMap::new();
    for_each(store, handle, record::PLAN, |document| {
        let plan: Plan = serde_json::from_slice(&document.body).map_err(text)?;
        plans.insert(document.id, plan);
        Ok(())
    })?;
    let plans = serde_json::to_string_pretty(&plans).map_err(text)?;
    write!(out, "{{\n\"plans\": {plans},\n\"tenants\": [").map_err(text)?;
    let mut tenants = 0;
    for_each(store, handle, TENANT, |document| {
        let record = TenantRecord::from_body(&document.body).map_err(text)?;
        let separator = if tenants == 0 { "" } else { "," };
        tenants += 1;
        write!(out, "{separator}\n{}", to_profile(&record)).map_err(text)
    })?;
    out.write_all(b"\n]\n}\n").and_then(|()| out.flush()).map_err(text)?;
    Ok(tenants)
}

fn for_each(
    store: &Store,
    handle: &Handle,
    kind: super::store::Kind,
    mut take: impl FnMut(Document) -> Result<(), String>,
) -> Result<(), String> {
    let mut after: Option<String> = None;
    loop {
        let page = handle.block_on(store.list(kind, after.as_deref(), DOCUMENTS_PER_PAGE));
        let page = page.map_err(text)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for document in page {
            take(document)?;
        }
    }
}

/// The profile that an import would make this record of.
pub(super) fn to_profile(record: &TenantRecord) -> serde_json::Value {
    let mut profile = json!({
        "username": record.username,
        "instance": record.instance.as_ref().map(instance::to_profile),
    });
    let named = record.keys.iter().filter_map(|key| {
        let mut profile = json!({
            "name": key.name.as_ref()?,
            "sha256": key.sha256,
            "created": moment(key.created_unix_ms),
        });
        if let Some(expires) = key.expires_unix_ms {
            profile["expires"] = json!(moment(expires));
        }
        if !key.scope.is_empty() {
            profile["scope"] = json!(key.scope);
        }
        Some(profile)
    });
    let named: Vec<_> = named.collect();
    let default = record.keys.iter().find(|key| key.name.is_none());
    let members = [
        ("password_hash", record.password.as_ref().map(|password| json!(password.hash))),
        ("api_key_sha256", default.map(|key| json!(key.sha256))),
        ("keys", (!named.is_empty()).then(|| json!(named))),
        ("plan", record.plan.as_ref().map(|plan| json!(plan))),
        (
            "allowed_origins",
            (!record.allowed_origins.is_empty()).then(|| json!(record.allowed_origins)),
        ),
        ("disabled", record.disabled.then_some(json!(true))),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            profile[name] = value;
        }
    }
    profile
}

/// To the millisecond if need be, so that whoever imports it finds nothing changed.
fn moment(unix_ms: u64) -> String {
    match unix_ms % 1000 {
        0 => UnixMillis(unix_ms).to_string(),
        _ => {
            let since = Duration::from_millis(unix_ms.min(MOMENT_MAX.0));
            humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
        }
    }
}

#[cfg(test)]
mod tests;
