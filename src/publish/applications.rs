//! What owners do with their applications: keys, and subscriptions to anybody's published APIs.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use super::{Changed, Publishing, count_ended, refused, unwritten};
use crate::api::application::{Subscription, is_name};
use crate::api::{Api, Application, Owner, Security, State};
use crate::grant::{ApiId, ApplicationId, Grant, SubscriptionId};
use crate::live::Entry;
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::apis::applications::{
    APPLICATIONS_MAX, APPLICATIONS_PER_TENANT_MAX, SUBSCRIPTIONS_MAX,
};
use crate::registry::apis::record::application::{
    ApplicationRecord, SecretRecord, SubscriptionRecord,
};
use crate::registry::audit::Act;
use crate::registry::away;
use crate::registry::record::PreviousRecord;
use crate::revoke::recheck_tokens;
use crate::secret::{Secret, SecretDigest};

/// How long a replaced secret may go on working.
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// There is none of the owner's.
pub const NO_APPLICATION: Refusal =
    Refusal::Operator(OperatorRefusal::Missing("There is no such application."));
const NO_SUBSCRIPTION: Refusal =
    Refusal::Operator(OperatorRefusal::Missing("The application has no such subscription."));

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

/// What an application is to be able to call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSubscription {
    /// The API's id, or its path as in `/echowebsocket/1.0.0`.
    pub api: String,
    /// One of the API's plans, where it offers any.
    #[serde(default)]
    #[schema(nullable = false)]
    pub plan: Option<String>,
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

    /// Subscribes an application to an API.
    ///
    /// # Errors
    /// No API that could be subscribed to, a plan that it does not offer, a second subscription, a limit,
    /// or the store's.
    pub async fn subscribe(
        self,
        act: &Act,
        before: &Application,
        wanted: NewSubscription,
    ) -> Result<(Arc<Application>, SubscriptionId), Refusal> {
        let api = self.api_to_subscribe(before.owner, &wanted.api).await?;
        let plans = &api.definition.plans;
        let is_offered = match &wanted.plan {
            Some(plan) => plans.contains(plan),
            None => plans.is_empty(),
        };
        if !is_offered {
            let what = match plans.is_empty() {
                true => "The API offers no plans.".to_owned(),
                false => format!("plan must be one of the API's: {}.", plans.join(", ")),
            };
            return Err(Refusal::BadInput(what));
        }
        let id = SubscriptionId(getrandom::u64().map_err(no_randomness)?);
        let fresh = SubscriptionRecord {
            id: id.to_string(),
            api: api.id.to_string(),
            plan: wanted.plan,
            created_unix_ms: self.now().0,
        };
        let directory = self.registry.directory();
        let is_there = |it: &SubscriptionRecord| {
            ApiId::from_hex(&it.api).is_some_and(|id| directory.api(id).is_some())
        };
        let change = |record: &mut ApplicationRecord| {
            // Those to APIs that are gone are of no use to anybody.
            record.subscriptions.retain(is_there);
            if record.subscriptions.iter().any(|it| it.api == fresh.api) {
                return Err(Refusal::Conflicting("The application is subscribed to this API."));
            }
            if record.subscriptions.len() >= SUBSCRIPTIONS_MAX {
                let full = "The application has as many subscriptions as there can be.";
                return Err(Refusal::Conflicting(full));
            }
            record.subscriptions.push(fresh.clone());
            Ok(())
        };
        let (changed, ()) = self.change_application(act, before, change).await?;
        Ok((changed.present, id))
    }

    /// Takes a subscription away; what rests on it ends.
    ///
    /// # Errors
    /// There is no such subscription; or the store's.
    pub async fn unsubscribe(
        self,
        act: &Act,
        before: &Application,
        id: &str,
    ) -> Result<Changed<Application>, Refusal> {
        let change = |record: &mut ApplicationRecord| {
            let count = record.subscriptions.len();
            record.subscriptions.retain(|subscription| subscription.id != id);
            if record.subscriptions.len() == count { Err(NO_SUBSCRIPTION) } else { Ok(()) }
        };
        self.change_application(act, before, change).await.map(|(changed, ())| changed)
    }

    /// Who is subscribed to an API.
    #[must_use]
    pub fn subscribers(self, api: &Api) -> Vec<(Arc<Application>, Subscription)> {
        let is_one = |it: &Application| it.subscription_to(api.id).is_some();
        let found = self.registry.directory().applications(is_one).into_iter();
        let both = |application: Arc<Application>| {
            let subscription = application.subscription_to(api.id)?.clone();
            Some((application, subscription))
        };
        found.filter_map(both).collect()
    }

    /// What can be subscribed to: it is published, and takes access tokens. Owners may try out what they
    /// have not published yet.
    ///
    /// # Errors
    /// There is no such API, as far as strangers know.
    async fn api_to_subscribe(self, owner: Owner, named: &str) -> Result<Arc<Api>, Refusal> {
        const NONE: Refusal =
            Refusal::Conflicting("There is no published API of this id or path to subscribe to.");
        self.registry.know_apis().await.map_err(away)?;
        let directory = self.registry.directory();
        let api = match ApiId::from_hex(named) {
            Some(id) => directory.api(id),
            None => directory.at(named).filter(|api| api.prefix.as_str() == named),
        };
        let api = api.filter(|api| match api.state {
            State::Published => true,
            State::Prototyped => api.owner == owner,
            _ => false,
        });
        let api = api.ok_or(NONE)?;
        match api.definition.security.contains(&Security::Oauth2) {
            true => Ok(api),
            false => Err(Refusal::Conflicting("The API takes no access tokens of applications.")),
        }
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
        count_ended(running)
    }

    async fn change_application<T>(
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

fn no_randomness(_: getrandom::Error) -> Refusal {
    Refusal::Overloaded("the system has no randomness to give")
}
