//! Subscriptions of applications to published APIs: made and ended by either side, under one of the API's
//! plans, and blocked by the API's owner.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;

use super::applications::no_randomness;
use super::{Changed, Publishing, check_block};
use crate::api::application::Subscription;
use crate::api::{Api, Application, Owner, Security, State};
use crate::grant::{ApiId, SubscriptionId};
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::apis::applications::SUBSCRIPTIONS_MAX;
use crate::registry::apis::record::application::{ApplicationRecord, SubscriptionRecord};
use crate::registry::audit::{Act, By};
use crate::registry::away;
use crate::registry::record::API;

const BLOCKED_BY_OPERATOR: &str = "An operator has blocked this subscription.";
const NO_SUBSCRIPTION: Refusal =
    Refusal::Operator(OperatorRefusal::Missing("The application has no such subscription."));

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

/// Under which plan an application is to call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionPlan {
    /// One of the API's plans; none where it offers none.
    #[serde(default)]
    #[schema(nullable = false)]
    pub plan: Option<String>,
}

/// Whether a subscription is to let nothing through.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SubscriptionBlocked)]
pub struct Blocked {
    /// Nothing begins, and what rests on it ends.
    pub blocked: bool,
}

/// Who ends a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The application's owner.
    Caller,
    /// The API's owner, or an operator.
    Publisher,
}

impl Publishing<'_> {
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
        check_plan(&api, wanted.plan.as_deref())?;
        let id = SubscriptionId(getrandom::u64().map_err(no_randomness)?);
        let fresh = SubscriptionRecord {
            id: id.to_string(),
            api: api.id.to_string(),
            plan: wanted.plan,
            created_unix_ms: self.now().0,
            blocked_unix_ms: None,
            blocked_by_operator: false,
            plan_by_publisher: false,
        };
        let gone = self.gone_of(before).await?;
        let change = |record: &mut ApplicationRecord| {
            // Those to APIs that are gone are of no use to anybody.
            record.subscriptions.retain(|it| !gone.contains(&it.api));
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
    /// There is no such subscription; the application's owner may not end one that is blocked, or whose
    /// plan another has chosen, to make another one; an operator has blocked it; or the store's.
    pub async fn unsubscribe(
        self,
        act: &Act,
        before: &Application,
        id: &str,
        side: Side,
    ) -> Result<Changed<Application>, Refusal> {
        const BLOCKED: Refusal = Refusal::Conflicting(
            "The API's owner has blocked the subscription, and they alone can end it.",
        );
        const CHOSEN: Refusal = Refusal::Conflicting(
            "The API's owner has chosen the subscription's plan, and they alone can end it.",
        );
        let change = |record: &mut ApplicationRecord| {
            let known = subscription(record, id)?;
            check_block(act, known.blocked_by_operator, BLOCKED_BY_OPERATOR)?;
            match side {
                Side::Caller if known.blocked_unix_ms.is_some() => return Err(BLOCKED),
                Side::Caller if known.plan_by_publisher && act.by != By::Operator => {
                    return Err(CHOSEN);
                }
                _ => record.subscriptions.retain(|subscription| subscription.id != id),
            }
            Ok(())
        };
        self.change_application(act, before, change).await.map(|(changed, ())| changed)
    }

    /// Gives a subscription another of the API's plans, also for what runs. What the API's owner or an
    /// operator has chosen, the application's owner keeps.
    ///
    /// # Errors
    /// There is no such subscription, or no such plan among the API's; it is not theirs to choose; or the
    /// store's.
    pub async fn set_plan(
        self,
        act: &Act,
        before: &Application,
        id: &str,
        wanted: SubscriptionPlan,
        side: Side,
    ) -> Result<Changed<Application>, Refusal> {
        const CHOSEN: Refusal = Refusal::Conflicting(
            "The API's owner has chosen the subscription's plan, and they alone can change it.",
        );
        let known = SubscriptionId::from_hex(id).and_then(|id| before.subscription(id));
        let api = known.and_then(|known| self.registry.directory().api(known.api));
        check_plan(&*api.ok_or(NO_SUBSCRIPTION)?, wanted.plan.as_deref())?;
        let is_callers = side == Side::Caller && act.by != By::Operator;
        let change = |record: &mut ApplicationRecord| {
            let known = subscription(record, id)?;
            check_block(act, known.blocked_by_operator, BLOCKED_BY_OPERATOR)?;
            if is_callers && known.plan_by_publisher {
                return Err(CHOSEN);
            }
            known.plan.clone_from(&wanted.plan);
            known.plan_by_publisher = !is_callers;
            Ok(())
        };
        self.change_application(act, before, change).await.map(|(changed, ())| changed)
    }

    /// Blocks a subscription, and ends what rests on it; or lets it through again.
    ///
    /// # Errors
    /// There is no such subscription; an operator has blocked it; or the store's.
    pub async fn set_blocked(
        self,
        act: &Act,
        before: &Application,
        id: &str,
        Blocked { blocked }: Blocked,
    ) -> Result<Changed<Application>, Refusal> {
        let now = self.now();
        let change = |record: &mut ApplicationRecord| {
            let known = subscription(record, id)?;
            check_block(act, known.blocked_by_operator, BLOCKED_BY_OPERATOR)?;
            known.blocked_unix_ms = blocked.then(|| known.blocked_unix_ms.unwrap_or(now.0));
            known.blocked_by_operator = blocked && act.by == By::Operator;
            Ok(())
        };
        self.change_application(act, before, change).await.map(|(changed, ())| changed)
    }

    /// The application that has this subscription to an API.
    ///
    /// # Errors
    /// The API has no such subscription.
    pub fn subscriber(self, api: &Api, id: &str) -> Result<Arc<Application>, Refusal> {
        const NONE: Refusal =
            Refusal::Operator(OperatorRefusal::Missing("The API has no such subscription."));
        let id = SubscriptionId::from_hex(id);
        let known = id.and_then(|id| self.registry.directory().application_subscribed(id));
        let is_one = |it: &Arc<Application>| it.subscription_to(api.id).map(|it| it.id) == id;
        known.filter(is_one).ok_or(NONE)
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

    /// The APIs of an application's subscriptions that there are no more. The store has to say so: one
    /// whose document is unreadable here is not in the directory, either.
    ///
    /// # Errors
    /// The store's.
    async fn gone_of(self, application: &Application) -> Result<Vec<String>, Refusal> {
        let mut gone = Vec::new();
        for subscription in &application.subscriptions {
            let id = subscription.api.to_string();
            if self.registry.directory().api(subscription.api).is_none()
                && self.registry.store().get(API, &id).await.map_err(away)?.is_none()
            {
                gone.push(id);
            }
        }
        Ok(gone)
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
}

fn subscription<'a>(
    record: &'a mut ApplicationRecord,
    id: &str,
) -> Result<&'a mut SubscriptionRecord, Refusal> {
    record.subscriptions.iter_mut().find(|known| known.id == id).ok_or(NO_SUBSCRIPTION)
}

fn check_plan(api: &Api, wanted: Option<&str>) -> Result<(), Refusal> {
    let plans = &api.definition.plans;
    let is_offered = match wanted {
        Some(wanted) => plans.iter().any(|plan| plan == wanted),
        None => plans.is_empty(),
    };
    if is_offered {
        return Ok(());
    }
    Err(Refusal::BadInput(match plans.is_empty() {
        true => "The API offers no plans.".to_owned(),
        false => format!("plan must be one of the API's: {}.", plans.join(", ")),
    }))
}

#[cfg(test)]
mod tests;
