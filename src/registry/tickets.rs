//! Tickets: a right that is good once, for a short time, for one path and one page's origin. For
//! browsers, which cannot send a credential with a WebSocket handshake.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Registry;
use super::store::StoreError;
use crate::grant::Grant;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::TenantId;

/// How long a ticket is good.
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// The longest origin: a host name has 253 characters at most, but those of pages are far shorter.
pub const ORIGIN_BYTES_MAX: usize = 256;
/// What is said of a longer one.
pub const BAD_ORIGIN: &str = "The origin must have at most 256 bytes.";

/// Whether a ticket may be for pages of this origin.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    text.len() <= ORIGIN_BYTES_MAX
}

/// What a ticket stands for. It inherits the grant of whoever asked for it, and ends with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// 32 hexadecimal digits.
    tenant: String,
    /// The path of the request that it may be used for, as the client sends it.
    pub path: String,
    /// The `Origin` of that request; `None` for one without.
    pub origin: Option<String>,
    /// What it rests on.
    pub grant: Grant,
}

impl Ticket {
    /// A ticket for a tenant's runtime.
    #[must_use]
    pub fn new(tenant: TenantId, path: String, origin: Option<String>, grant: Grant) -> Self {
        Self { tenant: tenant.to_string(), path, origin, grant }
    }

    /// What whoever asked for it is told: its secret, this once, and what it is good for.
    #[must_use]
    pub fn told(&self, secret: &Secret) -> Value {
        json!({
            "ticket": secret.expose(),
            "path": self.path,
            "origin": self.origin,
            "expires_in_seconds": TICKET_TTL.as_secs(),
        })
    }

    /// Whose runtime it opens.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        TenantId::from_hex(&self.tenant)
    }
}

impl Registry {
    /// Issues a ticket. Only its digest is stored.
    ///
    /// # Errors
    /// The store's, or no randomness.
    pub async fn issue_ticket(&self, ticket: &Ticket) -> Result<Secret, StoreError> {
        let secret =
            Secret::generate_ticket().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let body = serde_json::to_vec(ticket).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        self.store().put_expiring(&entry(&secret), &body, TICKET_TTL).await?;
        Ok(secret)
    }

    /// Takes a ticket, which is gone then.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_ticket(&self, secret: &Secret) -> Result<Option<Ticket>, StoreError> {
        let Some(body) = self.store().take_expiring(&entry(secret)).await? else { return Ok(None) };
        serde_json::from_slice(&body).map(Some).map_err(|e| StoreError::Corrupt(e.to_string()))
    }
}

fn entry(secret: &Secret) -> String {
    format!("ticket:{}", SecretDigest::of(secret).to_hex())
}

#[cfg(test)]
mod tests;
