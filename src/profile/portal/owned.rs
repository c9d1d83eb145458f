//! The tenant's own APIs on the portal's page: who is subscribed to them, and what is done about it.

use std::collections::HashSet;

use super::{Asked, Outcome, closed, left_of};
use crate::api::{Api, Owner};
use crate::profile::subscribers::Subscriber;
use crate::profile::view::Moment;
use crate::profile::{Arc, Desk};
use crate::publish::portal::SubscriberView;
use crate::publish::subscriptions::Blocked;
use crate::refusal::Refusal;

/// Subscribers of one API on the page; the list as JSON has them all.
const SUBSCRIBERS_SHOWN_MAX: usize = 200;

/// An API of the tenant's own.
pub(super) struct Owned {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) state: &'static str,
    pub(super) subscribers: Vec<Subscribed>,
    pub(super) left_out: usize,
}

/// An application that is subscribed to it.
pub(super) struct Subscribed {
    pub(super) view: SubscriberView,
    pub(super) created: Moment,
    pub(super) blocked: Option<Moment>,
    /// What is left of the plan.
    pub(super) left: Vec<String>,
}

impl Desk {
    /// A tenant's own APIs that applications can be subscribed to.
    pub(super) fn owned(&self, owner: Owner) -> Vec<Owned> {
        let mut apis = self.registry.directory().apis_of(owner);
        apis.retain(|api| super::takes_tokens(api));
        let ids: HashSet<_> = apis.iter().map(|api| api.id).collect();
        // Looked for once for all of them: there may be many applications.
        let has_one = |it: &crate::api::Application| {
            it.subscriptions.iter().any(|subscription| ids.contains(&subscription.api))
        };
        let applications = self.registry.directory().applications(has_one);
        let shown = |api: &Arc<Api>| {
            let subscribed = applications.iter();
            let subscribed = subscribed.filter_map(|it| Some((it, it.subscription_to(api.id)?)));
            let all: Vec<_> = subscribed.collect();
            let row = |(application, it): &(&Arc<_>, &crate::api::application::Subscription)| {
                let now = self.now();
                let view = self.publishing().show_subscriber(application, it);
                Subscribed {
                    left: left_of(&view.plan_use),
                    created: Moment::of(it.created_at, now),
                    blocked: it.blocked_since.map(|since| Moment::of(since, now)),
                    view,
                }
            };
            Owned {
                id: api.id.to_string(),
                name: api.definition.name.clone(),
                path: api.prefix.to_string(),
                state: api.state.as_str(),
                left_out: all.len().saturating_sub(SUBSCRIBERS_SHOWN_MAX),
                subscribers: all.iter().take(SUBSCRIBERS_SHOWN_MAX).map(row).collect(),
            }
        };
        apis.iter().map(shown).collect()
    }
}

impl Asked<'_> {
    fn subscriber(&self) -> Subscriber<'_> {
        let ids = (self.fields.api.as_str(), self.fields.id.as_str());
        Subscriber::new(self.desk, self.identity, self.client, ids)
    }

    pub(super) async fn block(&self, blocked: bool) -> Result<Outcome, Refusal> {
        let changed = self.subscriber().set_blocked(Blocked { blocked }).await?;
        let name = &changed.present.name;
        let text = match blocked {
            true => format!("{name:?} was blocked. {}", closed(changed.ended)),
            false => format!("{name:?} is let through again."),
        };
        Ok(Outcome { text, ..Outcome::default() })
    }

    pub(super) async fn end_subscribers(&self) -> Result<Outcome, Refusal> {
        let ended = self.subscriber().end().await?;
        let text = format!("The subscription was ended. {}", closed(ended));
        Ok(Outcome { text, ..Outcome::default() })
    }
}
