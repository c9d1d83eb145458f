//! Ambient credentials: a browser sends Basic by itself, so the page that asks must be one of ours
//! or of the tenant's choice. Tenants' pages are same-site to each other, so cookies' SameSite does
//! not help.

use http::{HeaderMap, Method};

use crate::refusal::Refusal;
use crate::tenant::Tenant;

/// Refuses an ambient credential that a foreign page uses.
///
/// # Errors
/// [`Refusal::ForeignOrigin`].
pub fn check(method: &Method, headers: &HeaderMap, tenant: &Tenant) -> Result<(), Refusal> {
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if headers.get_all("origin").iter().count() > 1 {
        return Err(Refusal::ForeignOrigin);
    }
    if let Some(origin) = value("origin") {
        let host = value("host").unwrap_or_default();
        let own = ["http://", "https://"].iter().any(|scheme| {
            origin
                .strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty() && rest.eq_ignore_ascii_case(host))
        });
        let allowed = tenant.allowed_origins.iter().any(|allowed| allowed == origin);
        return if own || allowed { Ok(()) } else { Err(Refusal::ForeignOrigin) };
    }
    // A link to a page of ours; a form of somebody else's would be a POST.
    let navigation = method == Method::GET
        && value("sec-fetch-mode") == Some("navigate")
        && value("sec-fetch-dest") == Some("document");
    match value("sec-fetch-site") {
        Some("cross-site" | "same-site") if !navigation => Err(Refusal::ForeignOrigin),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
