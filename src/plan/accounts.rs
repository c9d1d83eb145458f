//! What one connection draws on.

use super::{Account, Cost, Shortage};
use crate::clock::Millis;

/// The one or two accounts that a connection draws on: its tenant's, and that of whoever subscribed to
/// what they publish.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accounts<'a> {
    /// The tenant's.
    pub tenant: Option<&'a Account>,
    /// The subscriber's.
    pub subscriber: Option<&'a Account>,
}

impl<'a> Accounts<'a> {
    /// Takes the cost out of both, or out of none.
    ///
    /// # Errors
    /// One of them has too little left.
    pub fn take(self, cost: Cost, now: Millis) -> Result<(), Shortage> {
        if let Some(tenant) = self.tenant {
            tenant.take(cost, now)?;
        }
        let Some(subscriber) = self.subscriber else { return Ok(()) };
        subscriber.take(cost, now).inspect_err(|_| {
            if let Some(tenant) = self.tenant {
                tenant.give_back(cost);
            }
        })
    }

    /// Takes what many costs come to out of both, or out of none; see [`Account::take_many`].
    #[must_use]
    pub fn take_many(self, cost: Cost, now: Millis) -> bool {
        let gives = |account: Option<&Account>| account.is_none_or(|it| it.take_many(cost, now));
        if !gives(self.tenant) {
            return false;
        }
        let is_given = gives(self.subscriber);
        if let (false, Some(tenant)) = (is_given, self.tenant) {
            tenant.give_back(cost);
        }
        is_given
    }

    /// Those of them whose plan limits messages or bytes at this moment, to be asked for many.
    #[must_use]
    pub fn for_messages(self) -> Self {
        let is_limited = |account: &&Account| account.limits_messages();
        Self {
            tenant: self.tenant.filter(is_limited),
            subscriber: self.subscriber.filter(is_limited),
        }
    }

    /// Whether there is no limit to be asked.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.tenant.is_none() && self.subscriber.is_none()
    }

    /// Both, as far as they are there.
    pub fn each(self) -> impl Iterator<Item = &'a Account> {
        self.tenant.into_iter().chain(self.subscriber)
    }
}
