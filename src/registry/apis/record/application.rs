//! Applications, signing keys and revoked access tokens as they are stored.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Owner;
use crate::api::application::{self, Application, ApplicationSecret, Subscription};
use crate::api::signing::{self, KeyRing, SigningKey, Use};
use crate::clock::UnixMillis;
use crate::grant::{ApiId, ApplicationId, SubscriptionId};
use crate::registry::apis::keeping::Record;
use crate::registry::record::{APPLICATION, PreviousRecord, SIGNING};
use crate::registry::store::{Kind, StoreError};
use crate::secret::SecretDigest;
use crate::tenant::PreviousSecret;

/// What is stored of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationRecord {
    /// `operator`, or a tenant's id.
    pub owner: String,
    /// See [`Application::name`].
    pub name: String,
    /// Once keys were generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRecord>,
    /// What it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<SubscriptionRecord>,
    /// When it was made.
    pub created_unix_ms: u64,
}

/// What is stored of an application's secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRecord {
    /// Its SHA-256 digest in hexadecimal digits.
    pub sha256: String,
    /// Its last four characters.
    pub hint: String,
    /// When it was made.
    pub created_unix_ms: u64,
    /// The one before, while both work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousRecord>,
}

/// What is stored of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionRecord {
    /// 16 hexadecimal digits.
    pub id: String,
    /// The API's id.
    pub api: String,
    /// The plan's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// When it was made.
    pub created_unix_ms: u64,
    /// Since when it is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_unix_ms: Option<u64>,
    /// Whether it was an operator who blocked it, so that the API's owner cannot let it through again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked_by_operator: bool,
    /// Whether the API's owner or an operator chose the plan, so that the application's owner cannot
    /// choose another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan_by_publisher: bool,
}

impl Record for ApplicationRecord {
    const KIND: Kind = APPLICATION;

    fn indexes(&self) -> Vec<String> {
        vec![format!("application:{}/{}", self.owner, self.name)]
    }

    fn audited(&self) -> Value {
        json!({
            "owner": self.owner,
            "name": self.name,
            "secret": self.secret.as_ref().map(|secret| &secret.hint),
            "subscriptions": self.subscriptions,
        })
    }
}

impl ApplicationRecord {
    /// The application that a document holds.
    ///
    /// # Errors
    /// A field that cannot be what was once written.
    pub fn to_application(
        &self,
        id: ApplicationId,
        revision: u64,
    ) -> Result<Application, StoreError> {
        let corrupt = |what: &str| StoreError::Corrupt(format!("application {id}: bad {what}"));
        let owner = Owner::parse(&self.owner).ok_or_else(|| corrupt("owner"))?;
        if !application::is_name(&self.name) {
            return Err(corrupt("name"));
        }
        let secret = self.secret.as_ref();
        let secret =
            secret.map(|it| it.to_secret().ok_or_else(|| corrupt("secret"))).transpose()?;
        let subscriptions = self.subscriptions.iter();
        let subscriptions =
            subscriptions.map(|it| it.to_subscription().ok_or_else(|| corrupt("subscription")));
        Ok(Application {
            id,
            revision,
            owner,
            name: self.name.clone(),
            secret,
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
        })
    }
}

impl SecretRecord {
    fn to_secret(&self) -> Option<ApplicationSecret> {
        let previous = match &self.previous {
            Some(previous) => Some(PreviousSecret {
                digest: SecretDigest::from_hex(&previous.sha256)?,
                until: UnixMillis(previous.until_unix_ms),
            }),
            None => None,
        };
        Some(ApplicationSecret {
            digest: SecretDigest::from_hex(&self.sha256)?,
            hint: self.hint.clone(),
            created_at: UnixMillis(self.created_unix_ms),
            previous,
        })
    }
}

impl SubscriptionRecord {
    fn to_subscription(&self) -> Option<Subscription> {
        Some(Subscription {
            id: SubscriptionId::from_hex(&self.id)?,
            api: ApiId::from_hex(&self.api)?,
            plan: self.plan.clone(),
            created_at: UnixMillis(self.created_unix_ms),
            blocked_since: self.blocked_unix_ms.map(UnixMillis),
            blocked_by_operator: self.blocked_by_operator,
            plan_by_publisher: self.plan_by_publisher,
        })
    }
}

/// What is stored of the keys that sign access tokens: all of them in one document, so that a rotation
/// is one write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningRecord {
    /// In the order in which they were made.
    pub keys: Vec<SigningKeyRecord>,
}

/// What is stored of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyRecord {
    /// As tokens name it.
    pub kid: String,
    /// What for.
    #[serde(rename = "use")]
    pub used: Use,
    /// The public half, in base64url.
    pub public: String,
    /// The private half, sealed.
    pub sealed: String,
    /// When it was made.
    pub created_unix_ms: u64,
    /// Since when it signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_unix_ms: Option<u64>,
    /// When the last of its tokens is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
}

impl Record for SigningRecord {
    const KIND: Kind = SIGNING;

    fn indexes(&self) -> Vec<String> {
        Vec::new()
    }

    fn audited(&self) -> Value {
        let told = |key: &SigningKeyRecord| json!({ "kid": key.kid, "use": key.used });
        json!({ "keys": self.keys.iter().map(told).collect::<Vec<_>>() })
    }
}

impl SigningRecord {
    /// The keys that a document holds.
    ///
    /// # Errors
    /// A field that cannot be what was once written.
    pub fn to_ring(&self) -> Result<KeyRing, StoreError> {
        let corrupt = || StoreError::Corrupt("signing keys: bad key".to_owned());
        let keys = self.keys.iter().map(|key| key.to_key().ok_or_else(corrupt));
        Ok(KeyRing { keys: keys.collect::<Result<_, _>>()? })
    }
}

impl SigningKeyRecord {
    fn to_key(&self) -> Option<SigningKey> {
        let public = BASE64_URL_SAFE_NO_PAD.decode(&self.public).ok()?;
        Some(SigningKey {
            id: signing::id_of(&self.kid)?,
            used: self.used,
            public: public.try_into().ok()?,
            sealed: self.sealed.clone(),
            created_at: UnixMillis(self.created_unix_ms),
            current_since: self.current_unix_ms.map(UnixMillis),
            until: self.until_unix_ms.map(UnixMillis),
        })
    }
}

/// What is stored of a revoked access token. Its id is the token's `jti`. What a later version writes
/// beside this is of no matter: the token is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationRecord {
    /// Whose token it is.
    pub application: String,
    /// When the token is over by itself, and this of no use any more.
    pub until_unix_ms: u64,
}

impl RevocationRecord {
    /// Reads the stored form: the token, the application, and until when.
    ///
    /// # Errors
    /// It is none.
    pub fn read(id: &str, body: &[u8]) -> Result<(u64, ApplicationId, UnixMillis), StoreError> {
        let corrupt = |what: String| StoreError::Corrupt(format!("revocation {id:?}: {what}"));
        let record: Self =
            serde_json::from_slice(body).map_err(|error| corrupt(error.to_string()))?;
        let jti = crate::grant::KeyId::from_hex(id).ok_or_else(|| corrupt("bad id".to_owned()))?;
        let application = ApplicationId::from_hex(&record.application);
        let application = application.ok_or_else(|| corrupt("bad application".to_owned()))?;
        Ok((jti.0, application, UnixMillis(record.until_unix_ms)))
    }
}
