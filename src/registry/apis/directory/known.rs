//! What a directory knows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::KINDS;
use crate::api::context::Contexts;
use crate::api::signing::KeyRing;
use crate::api::{Api, Application, Consumer, Owner, Security};
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::{ApiId, ApplicationId, ConsumerId, Grant, KeyId, SubscriptionId};
use crate::plan::Plan;
use crate::registry::apis::keeping::Record;
use crate::registry::apis::record::application::{
    ApplicationRecord, RevocationRecord, SigningRecord,
};
use crate::registry::apis::record::{ApiRecord, ConsumerRecord};
use crate::registry::documents::read_plan;
use crate::registry::record::{API, APPLICATION, CONSUMER, PLAN, SIGNING, TENANT, TenantRecord};
use crate::registry::store::{Document, Kind, Store, StoreError};
use crate::registry::walk::Walk;
use crate::secret::SecretDigest;
use crate::tenant::TenantId;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) is_loaded: bool,
    /// Raised when nothing is to be believed any more.
    pub(super) generation: u64,
    pub(super) contexts: Contexts,
    pub(super) apis: HashMap<ApiId, Arc<Api>>,
    pub(super) consumers: HashMap<ConsumerId, Arc<Consumer>>,
    pub(super) names: HashMap<(Owner, String), ConsumerId>,
    pub(super) keys: HashMap<(Owner, SecretDigest), ConsumerId>,
    pub(super) claims: HashMap<(Owner, String), ConsumerId>,
    pub(super) applications: HashMap<ApplicationId, Arc<Application>>,
    pub(super) subscriptions: HashMap<SubscriptionId, ApplicationId>,
    /// The tenants who have applications, and whether those may call anything.
    pub(super) owners: HashMap<TenantId, OwnerOf>,
    pub(super) ring: Arc<KeyRing>,
    /// Whose token it is, and until when it matters.
    pub(super) revoked: HashMap<u64, (ApplicationId, UnixMillis)>,
    pub(super) revoked_of: HashMap<ApplicationId, usize>,
    pub(super) plans: HashMap<String, Arc<Plan>>,
}

/// A tenant who has applications.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnerOf {
    pub(super) applications: HashSet<ApplicationId>,
    /// Not one who is disabled or gone.
    pub(super) is_open: bool,
}

impl Known {
    /// All that is stored.
    pub(super) async fn read(store: &Store) -> Result<Self, StoreError> {
        let mut known = Self::default();
        for kind in KINDS {
            let mut walk = Walk::new(store, kind);
            loop {
                let page = walk.page().await?;
                if page.is_empty() {
                    break;
                }
                page.iter().for_each(|document| known.take_in(kind, document));
            }
        }
        let owners: Vec<TenantId> = known.owners.keys().copied().collect();
        for id in owners {
            let document = store.get(TENANT, &id.to_string()).await?;
            known.take_in_owner(id, document.as_ref());
        }
        Ok(known)
    }

    pub(super) fn consumer(&self, id: ConsumerId) -> Option<Arc<Consumer>> {
        self.consumers.get(&id).cloned()
    }

    pub(super) fn allows(&self, api: ApiId, grant: &Grant, now: UnixMillis) -> Result<(), Cause> {
        let api = self.apis.get(&api).ok_or(Cause::ApiUnpublished)?;
        api.allows(now)?;
        match grant {
            Grant::Consumer { consumer, credential, secret, until, .. } => {
                self.allows_consumer(api, *consumer, (*credential, *secret))?;
                if now >= *until { Err(Cause::TokenExpired) } else { Ok(()) }
            }
            Grant::Token { subscription, secret, key, jti, until, .. } => {
                if now >= *until {
                    return Err(Cause::TokenExpired);
                }
                let is_of_key = self.ring.key(*key, now).is_some();
                if !is_of_key || self.revoked.contains_key(jti) {
                    return Err(Cause::TokenRevoked);
                }
                self.allows_application(api, *subscription, *secret, now)
            }
            // Who came in without a credential would need one now.
            _ if api.is_open() => Ok(()),
            _ => Err(Cause::ConsumerRevoked),
        }
    }

    fn allows_consumer(
        &self,
        api: &Api,
        consumer: ConsumerId,
        (credential, secret): (KeyId, u64),
    ) -> Result<(), Cause> {
        let consumer = self.consumers.get(&consumer).filter(|known| known.owner == api.owner);
        let consumer = consumer.ok_or(Cause::ConsumerRevoked)?;
        let credential = consumer.credential(credential).ok_or(Cause::ConsumerRevoked)?;
        let is_asked_for = api.definition.security.contains(&credential.kind());
        match credential.fingerprint() == secret && is_asked_for {
            true => Ok(()),
            false => Err(Cause::ConsumerRevoked),
        }
    }

    fn allows_application(
        &self,
        api: &Api,
        subscription: SubscriptionId,
        secret: u64,
        now: UnixMillis,
    ) -> Result<(), Cause> {
        let application = self.subscriptions.get(&subscription);
        let application = application.and_then(|id| self.applications.get(id));
        let application = application.ok_or(Cause::SubscriptionEnded)?;
        let subscription = application.subscription(subscription).filter(|it| it.api == api.id);
        let subscription = subscription.ok_or(Cause::SubscriptionEnded)?;
        if !api.definition.security.contains(&Security::Oauth2) {
            return Err(Cause::SubscriptionEnded);
        }
        if subscription.blocked_since.is_some() {
            return Err(Cause::SubscriptionBlocked);
        }
        if !self.is_open(application.owner) {
            return Err(Cause::TenantDisabled);
        }
        match application.secret.as_ref().is_some_and(|own| own.holds(secret, now)) {
            true => Ok(()),
            false => Err(Cause::SecretRegenerated),
        }
    }

    /// Whether an owner's applications may call anything.
    pub(super) fn is_open(&self, owner: Owner) -> bool {
        match owner {
            Owner::Operator => true,
            Owner::Tenant(id) => self.owners.get(&id).is_some_and(|owner| owner.is_open),
        }
    }

    /// What cannot be read is as if it were not there, and does not take the others along.
    pub(super) fn take_in(&mut self, kind: Kind, document: &Document) {
        let taken = match kind {
            API => api(document).map(|api| self.insert_api(api)),
            CONSUMER => consumer(document).map(|consumer| self.insert_consumer(consumer)),
            APPLICATION => application(document).map(|it| self.insert_application(it)),
            SIGNING => SigningRecord::from_body(&document.body)
                .and_then(|record| record.to_ring())
                .map(|ring| self.ring = Arc::new(ring)),
            PLAN => read_plan(document).map(|plan| {
                self.plans.insert(document.id.clone(), Arc::new(plan));
            }),
            _ => RevocationRecord::read(&document.id, &document.body)
                .map(|(jti, application, until)| self.insert_revocation(jti, application, until))
                .inspect_err(|_| self.insert_unreadable_revocation(&document.id)),
        };
        if let Err(error) = taken {
            tracing::error!(%error, "a document of the registry cannot be used");
        }
    }

    /// What a tenant's document says of the applications that they have.
    pub(super) fn take_in_owner(&mut self, id: TenantId, document: Option<&Document>) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let record = document.and_then(|it| TenantRecord::from_body(&it.body).ok());
        owner.is_open = record.is_some_and(|record| !record.disabled);
    }

    fn insert_api(&mut self, api: Api) {
        self.contexts.insert(api.prefix.clone(), api.id, api.owner);
        self.apis.insert(api.id, Arc::new(api));
    }

    fn insert_consumer(&mut self, consumer: Consumer) {
        let (owner, id) = (consumer.owner, consumer.id);
        self.names.insert((owner, consumer.username.clone()), id);
        self.keys.extend(consumer.digests().map(|digest| ((owner, digest), id)));
        self.claims.extend(consumer.claims().map(|key| ((owner, key.to_owned()), id)));
        self.consumers.insert(id, Arc::new(consumer));
    }

    fn insert_application(&mut self, application: Application) {
        let id = application.id;
        self.subscriptions.extend(application.subscriptions.iter().map(|it| (it.id, id)));
        if let Owner::Tenant(owner) = application.owner {
            self.owners.entry(owner).or_default().applications.insert(id);
        }
        self.applications.insert(id, Arc::new(application));
    }

    fn insert_revocation(&mut self, jti: u64, application: ApplicationId, until: UnixMillis) {
        if self.revoked.insert(jti, (application, until)).is_none() {
            *self.revoked_of.entry(application).or_default() += 1;
        }
    }

    /// Whose token it was and until when is not known; that it was revoked is.
    fn insert_unreadable_revocation(&mut self, id: &str) {
        if let Some(KeyId(jti)) = KeyId::from_hex(id) {
            self.insert_revocation(jti, ApplicationId(0), UnixMillis::NEVER);
        }
    }

    pub(super) fn forget(&mut self, kind: Kind, id: &str) {
        match kind {
            API => {
                let api = ApiId::from_hex(id).and_then(|id| self.apis.remove(&id));
                if let Some(api) = api {
                    self.contexts.remove(&api.prefix, api.id);
                }
            }
            CONSUMER => self.forget_consumer(id),
            APPLICATION => self.forget_application(id),
            SIGNING => self.ring = Arc::default(),
            PLAN => drop(self.plans.remove(id)),
            _ => self.forget_revocation(id),
        }
    }

    fn forget_consumer(&mut self, id: &str) {
        let Some(id) = ConsumerId::from_hex(id) else { return };
        let Some(consumer) = self.consumers.remove(&id) else { return };
        // A name or key may be another's by now, whose notice came first.
        let (owner, is_own) = (consumer.owner, |known: &ConsumerId| *known == id);
        let name = (owner, consumer.username.clone());
        if self.names.get(&name).is_some_and(is_own) {
            self.names.remove(&name);
        }
        for digest in consumer.digests() {
            if self.keys.get(&(owner, digest)).is_some_and(is_own) {
                self.keys.remove(&(owner, digest));
            }
        }
        for claim in consumer.claims() {
            let claim = (owner, claim.to_owned());
            if self.claims.get(&claim).is_some_and(is_own) {
                self.claims.remove(&claim);
            }
        }
    }

    fn forget_application(&mut self, id: &str) {
        let Some(id) = ApplicationId::from_hex(id) else { return };
        let Some(application) = self.applications.remove(&id) else { return };
        for subscription in &application.subscriptions {
            self.subscriptions.remove(&subscription.id);
        }
        if let Owner::Tenant(owner) = application.owner
            && let Some(own) = self.owners.get_mut(&owner)
        {
            // Who has no other is looked at anew should they make one again.
            own.applications.remove(&id);
            if own.applications.is_empty() {
                self.owners.remove(&owner);
            }
        }
    }

    fn forget_revocation(&mut self, id: &str) {
        let Some(KeyId(jti)) = KeyId::from_hex(id) else { return };
        let Some((application, _)) = self.revoked.remove(&jti) else { return };
        if let Some(count) = self.revoked_of.get_mut(&application) {
            *count -= 1;
            if *count == 0 {
                self.revoked_of.remove(&application);
            }
        }
    }
}

/// The tenant whose application a document is.
pub(super) fn owner_of(document: &Document) -> Option<TenantId> {
    match application(document).ok()?.owner {
        Owner::Tenant(id) => Some(id),
        Owner::Operator => None,
    }
}

fn api(document: &Document) -> Result<Api, StoreError> {
    let id = ApiId::from_hex(&document.id);
    let id = id.ok_or_else(|| StoreError::Corrupt(format!("{:?} is no API's id", document.id)))?;
    ApiRecord::from_body(&document.body)?.to_api(id, document.revision)
}

fn consumer(document: &Document) -> Result<Consumer, StoreError> {
    let id = ConsumerId::from_hex(&document.id);
    let id =
        id.ok_or_else(|| StoreError::Corrupt(format!("{:?} is no consumer's id", document.id)))?;
    ConsumerRecord::from_body(&document.body)?.to_consumer(id, document.revision)
}

fn application(document: &Document) -> Result<Application, StoreError> {
    let id = ApplicationId::from_hex(&document.id);
    let id =
        id.ok_or_else(|| StoreError::Corrupt(format!("{:?} is no application's id", document.id)))?;
    ApplicationRecord::from_body(&document.body)?.to_application(id, document.revision)
}
