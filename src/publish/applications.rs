//! What owners do with their applications: they sign them up, give them keys, and remove them.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use super::{Changed, Publishing, count_ended, refused, unwritten};
use crate::api::application::is_name;
use crate::api::{Application, Owner};
use crate::grant::{ApplicationId, Grant};
use crate::live::Entry;
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::apis::applications::{APPLICATIONS_MAX, APPLICATIONS_PER_TENANT_MAX};
use crate::registry::apis::record::application::{ApplicationRecord, SecretRecord};
use crate::registry::audit::Act;
use crate::registry::away;
use crate::registry::record::PreviousRecord;
use crate::revoke::{follow_subscriptions_of, recheck_tokens};
use crate::secret::{Secret, SecretDigest};

/// How long a replaced secret may go on working.
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// There is none of the owner's.
pub const NO_APPLICATION: Refusal =
    Refusal::Operator(OperatorRefusal::Missing("There is no such application."));

/// An application that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApplication {
    /// Letters, digits, spaces, `-`, `_`, `.` and `@`; unique among the owner's.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
}

/// How keys are generated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApplicationKeys)]
pub struct NewKeys {
    /// For how long the secret before works on, and with it the tokens that were issued for it.
    #[serde(default)]
    #[schema(maximum = 2_592_000)]
    pub overlap_seconds: u64,
}

impl Publishing<'_> {
    /// An application of the owner's; of anybody's for `None`.
    ///
    /// # Errors
    /// There is none; or the registry cannot be asked.
    pub async fn application(
        self,
        owner: Option<Owner>,
        id: &str,
    ) -> Result<Arc<Application>, Refusal> {
        self.registry.know_apis().await.map_err(away)?;
        let id = ApplicationId::from_hex(id);
        let application = id.and_then(|id| self.registry.directory().application(id));
        let is_theirs = |it: &Arc<Application>| owner.is_none_or(|owner| owner == it.owner);
        application.filter(is_theirs).ok_or(NO_APPLICATION)
    }

    /// Creates an application, without keys.
    ///
    /// # Errors
    /// A name that cannot be one or that another has, a limit, or the store's.
    pub async fn add_application(
        self,
        act: &Act,
        owner: Owner,
        NewApplication { name }: NewApplication,
    ) -> Result<Arc<Application>, Refusal> {
        if !is_name(&name) {
            let what = "name must be 1 to 64 letters, digits, spaces, '-', '_', '.' and '@'.";
            return Err(Refusal::BadInput(what.to_owned()));
        }
        self.registry.know_apis().await.map_err(away)?;
        let directory = self.registry.directory();
        let is_full = match owner {
            Owner::Operator => false,
            Owner::Tenant(id) => directory.applications_of(id).len() >= APPLICATIONS_PER_TENANT_MAX,
        };
        if is_full || directory.count_applications() >= APPLICATIONS_MAX {
            return Err(Refusal::Conflicting("There are as many applications as there can be."));
        }
        let record = ApplicationRecord {
            owner: owner.to_string(),
            name,
            secret: None,
            subscriptions: Vec::new(),
            created_unix_ms: self.now().0,
        };
        let made = self.registry.create_application(act, &record).await.map_err(unwritten)?;
        tracing::info!(application = %made.id, by = act.who, "application created");
        Ok(made)
    }

    /// Removes an application. Returns how much that has ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_application(
        self,
        act: &Act,
        before: &Application,
    ) -> Result<usize, Refusal> {
        let running = self.running_of(before);
        let removed = self.registry.remove_application(act, before.id).await;
        removed.map_err(|error| refused(error, NO_APPLICATION))?;
        let ended = self.end_of(before, &running);
        tracing::info!(application = %before.id, ended, by = act.who, "application removed");
        Ok(ended)
    }

    /// Gives an application a secret in the place of any it has, which works on for the overlap. Returns
    /// the secret: it is told now and never again.
    ///
    /// # Errors
    /// The overlap is too long; or the store's.
    pub async fn generate_keys(
        self,
        act: &Act,
        before: &Application,
        NewKeys { overlap_seconds }: NewKeys,
    ) -> Result<(Changed<Application>, Secret), Refusal> {
        let overlap = Duration::from_secs(overlap_seconds);
        if overlap > OVERLAP_MAX {
            return Err(Refusal::BadInput("overlap_seconds must be at most 30 days.".to_owned()));
        }
        let secret = Secret::generate_application_secret().map_err(no_randomness)?;
        let sha256 = SecretDigest::of(&secret).to_hex();
        let now = self.now();
        let change = |record: &mut ApplicationRecord| {
            let old = record.secret.take().filter(|_| !overlap.is_zero());
            let until_unix_ms = now.plus(overlap).0;
            record.secret = Some(SecretRecord {
                sha256: sha256.clone(),
                hint: secret.hint(),
                created_unix_ms: now.0,
                previous: old.map(|old| PreviousRecord { sha256: old.sha256, until_unix_ms }),
            });
            Ok(())
        };
        let (changed, ()) = self.change_application(act, before, change).await?;
        Ok((changed, secret))
    }

    fn running_of(self, application: &Application) -> Vec<Arc<Entry>> {
        let apis = application.subscriptions.iter();
        let apis = apis.filter_map(|it| self.registry.directory().api(it.api));
        let accounts: std::collections::HashSet<_> = apis.map(|api| api.account_id()).collect();
        let is_theirs = |grant: &Grant| {
            matches!(grant, Grant::Token { subscription, .. }
                if application.subscription(*subscription).is_some())
        };
        accounts.into_iter().flat_map(|account| self.running(account, is_theirs)).collect()
    }

    fn end_of(self, before: &Application, running: &[Arc<Entry>]) -> usize {
        let apis = before.subscriptions.iter().map(|subscription| subscription.api);
        recheck_tokens(self.live, self.registry, apis);
        follow_subscriptions_of(self.live, self.registry, before.id);
        count_ended(running)
    }

    pub(super) async fn change_application<T>(
        self,
        act: &Act,
        before: &Application,
        mut change: impl FnMut(&mut ApplicationRecord) -> Result<T, Refusal>,
    ) -> Result<(Changed<Application>, T), Refusal> {
        let running = self.running_of(before);
        let change = |record: &mut ApplicationRecord, _: u64| change(record);
        let changed = self.registry.change_application(act, before.id, change).await;
        let (present, answer) = changed.map_err(|error| refused(error, NO_APPLICATION))?;
        let ended = self.end_of(before, &running);
        tracing::info!(
            application = %before.id,
            ended,
            what = act.verb,
            by = act.who,
            "application changed"
        );
        Ok((Changed { present, ended }, answer))
    }
}

pub(super) fn no_randomness(_: getrandom::Error) -> Refusal {
    Refusal::Overloaded("the system has no randomness to give")
}
