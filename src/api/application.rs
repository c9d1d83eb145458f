//! Applications: programs that call published APIs with access tokens of their own.

use super::Owner;
use crate::clock::UnixMillis;
use crate::grant::{ApiId, ApplicationId, SubscriptionId};
use crate::secret::SecretDigest;
use crate::tenant::PreviousSecret;

const NAME_BYTES_MAX: usize = 64;

/// Whether a text can be an application's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@ ".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.trim() == text && text.bytes().all(allowed)
}

/// What an application proves itself with where tokens are issued.
#[derive(Clone, Debug)]
pub struct ApplicationSecret {
    /// What is kept of it.
    pub digest: SecretDigest,
    /// Its last four characters.
    pub hint: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// The one before, while both work.
    pub previous: Option<PreviousSecret>,
}

impl ApplicationSecret {
    /// Whether this secret works now.
    #[must_use]
    pub fn is(&self, digest: SecretDigest, now: UnixMillis) -> bool {
        let previous = self.previous.filter(|previous| now < previous.until);
        self.digest == digest || previous.is_some_and(|previous| previous.digest == digest)
    }

    /// Whether the secret with this fingerprint works now.
    #[must_use]
    pub fn holds(&self, fingerprint: u64, now: UnixMillis) -> bool {
        let previous = self.previous.filter(|previous| now < previous.until);
        self.digest.fingerprint() == fingerprint
            || previous.is_some_and(|previous| previous.digest.fingerprint() == fingerprint)
    }
}

/// That an application may call an API.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Random and permanent.
    pub id: SubscriptionId,
    /// The API.
    pub api: ApiId,
    /// With which of the API's plans, where it offers any.
    pub plan: Option<String>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Since when the API's owner lets nothing through by it.
    pub blocked_since: Option<UnixMillis>,
    /// An operator does so, and they alone let it through again.
    pub blocked_by_operator: bool,
    /// The API's owner or an operator has chosen the plan, and the application's owner has to keep it.
    pub plan_by_publisher: bool,
}

/// An application, as requests meet it.
#[derive(Clone, Debug)]
pub struct Application {
    /// Random and permanent: the consumer key.
    pub id: ApplicationId,
    /// Changes with every change.
    pub revision: u64,
    /// Whose it is.
    pub owner: Owner,
    /// For people; unique among the owner's.
    pub name: String,
    /// `None` before keys were generated.
    pub secret: Option<ApplicationSecret>,
    /// What it may call.
    pub subscriptions: Vec<Subscription>,
}

impl Application {
    /// Its subscription with this id.
    #[must_use]
    pub fn subscription(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.id == id)
    }

    /// Its subscription to this API.
    #[must_use]
    pub fn subscription_to(&self, api: ApiId) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.api == api)
    }
}
