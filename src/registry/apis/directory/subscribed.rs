//! What limits the calls that rest on a subscription.

use std::sync::Arc;

use super::Directory;
use super::known::Known;
use crate::api::application::Subscription;
use crate::grant::{ApiId, ApplicationId, SubscriptionId};
use crate::plan::Plan;

/// A subscription with its plan.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// Whose it is.
    pub application: ApplicationId,
    /// What may be called.
    pub api: ApiId,
    /// The plan's name, where the subscription has one.
    pub plan_name: Option<String>,
    /// The plan; without limits where the subscription has none.
    pub plan: Arc<Plan>,
}

impl Directory {
    /// The subscription with this id. `None` if there is none, or if nothing is known of its plan: then
    /// nobody may call by it.
    #[must_use]
    pub fn subscribed(&self, id: SubscriptionId) -> Option<Subscribed> {
        let known = self.read();
        let application = known.applications.get(known.subscriptions.get(&id)?)?;
        known.with_plan(application.id, application.subscription(id)?)
    }

    /// The same for an application's subscription to an API.
    #[must_use]
    pub fn subscribed_to(&self, application: ApplicationId, api: ApiId) -> Option<Subscribed> {
        let known = self.read();
        let subscription = known.applications.get(&application)?.subscription_to(api)?;
        known.with_plan(application, subscription)
    }

    /// The plan of that name.
    #[must_use]
    pub fn plan(&self, name: &str) -> Option<Arc<Plan>> {
        self.read().plans.get(name).cloned()
    }
}

impl Known {
    fn with_plan(
        &self,
        application: ApplicationId,
        subscription: &Subscription,
    ) -> Option<Subscribed> {
        let plan = match &subscription.plan {
            Some(name) => Arc::clone(self.plans.get(name)?),
            None => Arc::default(),
        };
        let (api, plan_name) = (subscription.api, subscription.plan.clone());
        Some(Subscribed { application, api, plan_name, plan })
    }
}
