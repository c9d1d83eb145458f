//! Looks for what contradicts itself in a registry: in the store beneath, and by what flowgate
//! expects of its documents. For operators; a server need not stop for it.
//!
//! Keeps 16 bytes for each tenant and 32 for each name and key in memory, with some room.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::audit;
use super::copy::unfinished;
use super::profiles::check_plan;
use super::record::{
    API, APPLICATION, CONSUMER, LASTING, PLAN, REVOCATION, SESSION, SIGNING, TENANT, TenantRecord,
};
use super::sessions::Session;
use super::store::{Document, Kind, Store, StoreError};
use super::walk::Walk;
use crate::api::Owner;
use crate::plan::Plan;
use crate::secret::SecretDigest;
use crate::tenant::TenantId;

mod published;
mod tenant;

const MEND_STORE: &str =
    "copy the registry to an empty one, which writes all of it anew, and check that one";
const UNREADABLE: &str = "restore the registry from a backup";
const FINISH: &str =
    "give the same 'flowgate registry copy' command again; no server starts on it before";
const MEND_PLAN: &str = "import a profiles file that has the plan, with --replace";
const MEND_SESSION: &str = "nothing needs to be done: it opens nothing";
const MEND_SIGNING: &str =
    "no access token is issued or accepted with it: restore it from a backup";
const MEND_REVOCATION: &str =
    "the access token that it revokes is good again: restore it from a backup";
const MEND_OWNER: &str = "remove it by the admin API: it opens nothing";
const MEND_SHARED: &str = "one of the two must get a new key: both lead to the one tenant now";
const MEND_NAME: &str = "restore the registry from a backup: only one of the two can be found";

/// Something that should not be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, as in `tenant mike (…)`.
    pub about: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
}

/// What there was to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Documents looked at.
    pub documents: u64,
    /// Findings.
    pub findings: u64,
}

/// Checks a registry: the store, then the documents by what flowgate expects of them. `found` gets each finding;
/// `tell` hears now and then how many documents have been looked at. None of it holds a secret.
///
/// # Errors
/// The store's: it could not be checked to the end.
pub async fn check(
    store: &Store,
    found: &mut dyn FnMut(Finding),
    tell: &mut dyn FnMut(u64),
) -> Result<Checked, StoreError> {
    let mut done = Checked::default();
    let mut report = |what| {
        done.findings += 1;
        found(Finding { about: "the store".to_owned(), what, advice: MEND_STORE });
    };
    store.check(&mut report).await?;
    let mut check = Check {
        store,
        found,
        done,
        plans: HashSet::new(),
        tenants: HashSet::new(),
        owners: HashMap::new(),
    };
    check.mark().await?;
    for kind in LASTING {
        let mut walk = Walk::new(store, kind);
        loop {
            let page = walk.page().await?;
            if page.is_empty() {
                break;
            }
            for document in &page {
                match kind {
                    PLAN => check.plan(document),
                    TENANT => check.tenant(document).await?,
                    API | CONSUMER | APPLICATION => check.published(kind, document).await?,
                    SIGNING | REVOCATION => check.of_tokens(kind, document),
                    SESSION => check.session(document).await?,
                    _ => check.entry(document),
                }
            }
            check.done.documents += page.len() as u64;
            tell(check.done.documents);
        }
    }
    Ok(check.done)
}

struct Check<'a> {
    store: &'a Store,
    found: &'a mut dyn FnMut(Finding),
    done: Checked,
    plans: HashSet<String>,
    tenants: HashSet<TenantId>,
    /// Who is found under an index, by its [`short`] form.
    owners: HashMap<u128, TenantId>,
}

impl Check<'_> {
    fn find(&mut self, about: &str, what: impl Into<String>, advice: &'static str) {
        self.done.findings += 1;
        (self.found)(Finding { about: about.to_owned(), what: what.into(), advice });
    }

    async fn mark(&mut self) -> Result<(), StoreError> {
        match unfinished(self.store).await {
            Ok(None) => {}
            Ok(Some(source)) => {
                let what = format!("it is an unfinished copy of the registry {source}");
                self.find("the registry", what, FINISH);
            }
            Err(StoreError::Corrupt(what)) => self.find("the registry", what, UNREADABLE),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn plan(&mut self, document: &Document) {
        let about = format!("plan {:?}", document.id);
        self.plans.insert(document.id.clone());
        match serde_json::from_slice::<Plan>(&document.body) {
            Ok(plan) => {
                if let Err(what) = check_plan(&document.id, &plan) {
                    self.find(&about, what, MEND_PLAN);
                }
            }
            Err(error) => self.find(&about, format!("cannot be read: {error}"), UNREADABLE),
        }
        self.has_no_index(&about, document);
    }

    /// An entry of the audit log.
    fn entry(&mut self, document: &Document) {
        let about = format!("audit entry {}", document.id);
        if let Err(error) = serde_json::from_slice::<audit::Entry>(&document.body) {
            self.find(&about, format!("cannot be read: {error}"), UNREADABLE);
        }
        self.has_no_index(&about, document);
    }

    async fn session(&mut self, document: &Document) -> Result<(), StoreError> {
        let about = format!("session {}", document.id);
        let is_digest = |id: &str| SecretDigest::from_hex(id).is_some_and(|it| it.to_hex() == id);
        if !is_digest(&document.id) {
            self.find(&about, "its id is no digest", MEND_SESSION);
        }
        match serde_json::from_slice::<Session>(&document.body) {
            Ok(session) if session.indexes() != document.indexes => {
                self.find(&about, "its indexes are not those of its cookies", MEND_SESSION);
            }
            Ok(session) => match session.tenant() {
                None => self.find(&about, "it names no tenant's id", MEND_SESSION),
                Some(tenant) if self.is_tenant(tenant).await? => {}
                Some(tenant) => {
                    let what = format!("its tenant {tenant} does not exist");
                    self.find(&about, what, MEND_SESSION);
                }
            },
            Err(error) => self.find(&about, format!("cannot be read: {error}"), UNREADABLE),
        }
        Ok(())
    }

    /// Keys that sign access tokens, or a revoked one.
    fn of_tokens(&mut self, kind: Kind, document: &Document) {
        let about = format!("{} {}", kind.0, document.id);
        let (read, advice) = match kind {
            SIGNING => (published::signing(document), MEND_SIGNING),
            _ => (published::revocation(document), MEND_REVOCATION),
        };
        if let Err(what) = read {
            self.find(&about, what, advice);
        }
        self.has_no_index(&about, document);
    }

    /// An API, a consumer or an application.
    async fn published(&mut self, kind: Kind, document: &Document) -> Result<(), StoreError> {
        let about = format!("{} {}", kind.0, document.id);
        let (owner, faults) = match kind {
            API => published::api(document),
            APPLICATION => published::application(document),
            _ => published::consumer(document),
        };
        for (what, advice) in faults {
            self.find(&about, what, advice);
        }
        if let Some(Owner::Tenant(tenant)) = owner
            && !self.is_tenant(tenant).await?
        {
            let what = format!("its tenant {tenant} does not exist");
            self.find(&about, what, MEND_OWNER);
        }
        Ok(())
    }

    fn has_no_index(&mut self, about: &str, document: &Document) {
        if !document.indexes.is_empty() {
            self.find(about, "it has an index, which nothing looks for", UNREADABLE);
        }
    }

    /// Looks again at what was not there when it was its turn: the registry may be in use.
    async fn is_tenant(&self, id: TenantId) -> Result<bool, StoreError> {
        let is_known = self.tenants.contains(&id);
        Ok(is_known || self.store.get(TENANT, &id.to_string()).await?.is_some())
    }

    async fn is_plan(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.plans.contains(name) || self.store.get(PLAN, name).await?.is_some())
    }

    async fn tenant(&mut self, document: &Document) -> Result<(), StoreError> {
        let id = TenantId::from_hex(&document.id).filter(|id| id.to_string() == document.id);
        let Some(id) = id else {
            let about = format!("tenant {:?}", document.id);
            self.find(&about, "its id is not 32 hexadecimal digits in lower case", UNREADABLE);
            return Ok(());
        };
        self.tenants.insert(id);
        let record = match TenantRecord::from_body(&document.body) {
            Ok(record) => record,
            Err(error) => {
                self.find(&format!("tenant {id}"), error.to_string(), UNREADABLE);
                return Ok(());
            }
        };
        let about = format!("tenant {} ({id})", record.username.escape_debug());
        for (what, advice) in tenant::faults(document, &record) {
            self.find(&about, what, advice);
        }
        if let Some(plan) = &record.plan
            && !self.is_plan(plan).await?
        {
            let what = format!("its plan {plan:?} does not exist; it cannot be used");
            self.find(&about, what, MEND_PLAN);
        }
        for index in record.indexes() {
            let owner = *self.owners.entry(short(&index)).or_insert(id);
            if owner != id && self.both_have(&[id, owner], &index).await? {
                let (what, advice) = match index.starts_with("key:") {
                    true => {
                        (format!("it has an API key in common with tenant {owner}"), MEND_SHARED)
                    }
                    false => (format!("it has the name of tenant {owner}"), MEND_NAME),
                };
                self.find(&about, what, advice);
            }
        }
        Ok(())
    }

    /// Whether they have it now: it may have moved from the one to the other meanwhile.
    async fn both_have(&self, tenants: &[TenantId], index: &str) -> Result<bool, StoreError> {
        for id in tenants {
            let document = self.store.get(TENANT, &id.to_string()).await?;
            let record = document.and_then(|it| TenantRecord::from_body(&it.body).ok());
            if !record.is_some_and(|it| it.indexes().iter().any(|own| own == index)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Half of a digest: enough to tell indexes apart, and small.
fn short(index: &str) -> u128 {
    let digest = Sha256::digest(index.as_bytes());
    digest.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests;
