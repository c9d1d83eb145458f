//! Hand-overs: how a session comes from the bare host to its tenant's own host, where it has another
//! cookie. A code is good once, for a short time, and in the browser that asked for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Registry;
use super::store::StoreError;
use crate::grant::SessionId;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::TenantId;

/// How long a code is good.
const CODE_TTL: Duration = Duration::from_secs(30);

/// What a code stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// 32 hexadecimal digits.
    tenant: String,
    /// The session.
    pub session: SessionId,
    /// The digest of what the browser that asked for it keeps in a cookie on the tenant's host.
    pub state: String,
    /// Where it goes on, on the tenant's host: path and query.
    pub to: String,
}

impl Handover {
    /// A hand-over to a tenant's host.
    #[must_use]
    pub fn new(tenant: TenantId, session: SessionId, state: String, to: String) -> Self {
        Self { tenant: tenant.to_string(), session, state, to }
    }

    /// Whose host it is for.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        TenantId::from_hex(&self.tenant)
    }
}

impl Registry {
    /// Issues a code. Only its digest is stored.
    ///
    /// # Errors
    /// The store's, or no randomness.
    pub async fn issue_handover(&self, handover: &Handover) -> Result<Secret, StoreError> {
        let code = Secret::generate_ticket().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let body = serde_json::to_vec(handover).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        self.store().put_expiring(&entry(&code), &body, CODE_TTL).await?;
        Ok(code)
    }

    /// Takes a code, which is gone then.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_handover(&self, code: &Secret) -> Result<Option<Handover>, StoreError> {
        let Some(body) = self.store().take_expiring(&entry(code)).await? else { return Ok(None) };
        serde_json::from_slice(&body).map(Some).map_err(|e| StoreError::Corrupt(e.to_string()))
    }
}

fn entry(code: &Secret) -> String {
    format!("handover:{}", SecretDigest::of(code).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing;

    #[tokio::test]
    async fn a_code_is_good_once() {
        let registry = testing::registry().await;
        let session = SessionId(SecretDigest::of(&Secret::new("x".into())));
        let handover = Handover::new(TenantId(7), session, "state".into(), "/red/".into());
        let code = registry.issue_handover(&handover).await.unwrap();
        let other = Secret::new("fgt_other".into());
        assert_eq!(registry.take_handover(&other).await.unwrap(), None);
        let taken = registry.take_handover(&code).await.unwrap().unwrap();
        assert_eq!((&taken, taken.tenant()), (&handover, Some(TenantId(7))));
        assert_eq!(registry.take_handover(&code).await.unwrap(), None);
        // A ticket is no code, and the other way round.
        let code = registry.issue_handover(&handover).await.unwrap();
        assert_eq!(registry.take_ticket(&code).await.unwrap(), None);
    }
}
