//! A browser's session as a credential.

use std::sync::Arc;

use http::request::Parts;

use super::{Authority, Proof, origin};
use crate::client::Client;
use crate::cookies::{self, Jar};
use crate::grant::Grant;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::sessions::Place;
use crate::tenant::{Tenant, Username};

/// Where a session's cookie counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions<'a> {
    /// Nowhere: other people's pages are on this row.
    Ignored,
    /// On flowgate's own pages.
    OnBareHost,
    /// On the host of this tenant, for a session of theirs.
    OnTenantHost(&'a Username),
    /// The same, for their editor: no other origin may use it there.
    InEditor(&'a Username),
}

impl Authority<'_> {
    /// The session of a request: whose, and the grant; `None` without one that holds.
    ///
    /// # Errors
    /// [`Refusal::ForeignOrigin`] if the page that asks must not use it. The registry is away.
    pub async fn check_session(
        self,
        request: &Parts,
        client: Client,
        sessions: Sessions<'_>,
    ) -> Result<Option<Proof>, Refusal> {
        let (place, owner) = match sessions {
            Sessions::Ignored => return Ok(None),
            Sessions::OnBareHost => (Place::BareHost, None),
            Sessions::OnTenantHost(owner) | Sessions::InEditor(owner) => {
                (Place::TenantHost, Some(owner))
            }
        };
        let (method, headers, over_tls) = (&request.method, &request.headers, client.over_tls);
        if place == Place::BareHost && !cookies::is_safe_bare_host(headers, over_tls) {
            return Ok(None);
        }
        for secret in cookies::read(headers, Jar::Session, over_tls) {
            let limits = self.registry.session_limits();
            let found = self.registry.use_session(&secret, place, limits).await.map_err(away)?;
            let Some((id, session)) = found else { continue };
            let tenant = match session.tenant() {
                Some(id) => self.registry.by_id(id).await.map_err(away)?,
                None => None,
            };
            let grant = session.grant(id, limits);
            let Some(tenant) = tenant.filter(|tenant| self.holds(tenant, owner, &grant)) else {
                continue;
            };
            let allowed = match sessions {
                Sessions::OnTenantHost(_) => &tenant.allowed_origins[..],
                _ => &[],
            };
            origin::check_session(method, headers, allowed, over_tls)?;
            return Ok(Some((tenant, grant)));
        }
        Ok(None)
    }

    fn holds(self, tenant: &Arc<Tenant>, owner: Option<&Username>, grant: &Grant) -> bool {
        owner.is_none_or(|owner| *owner == tenant.username)
            && tenant.allows(grant, self.now()).is_ok()
    }
}
