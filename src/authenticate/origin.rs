//! Ambient credentials: a browser sends Basic by itself, so the page that asks must be one of ours
//! or of the tenant's choice. Tenants' pages are same-site to each other, so cookies' SameSite does
//! not help.

use http::{HeaderMap, Method};

use crate::refusal::Refusal;
use crate::tenant::Tenant;

/// Refuses an ambient credential that a foreign page uses. `over_tls`: the request came to us by TLS.
///
/// # Errors
/// [`Refusal::ForeignOrigin`].
pub fn check(
    method: &Method,
    headers: &HeaderMap,
    tenant: &Tenant,
    over_tls: bool,
) -> Result<(), Refusal> {
    check_for(method, headers, &tenant.allowed_origins, over_tls)
}

/// The same for a session's cookie, on a page that has `allowed` origins beside its own: what changes
/// something, and a handshake, must say where it comes from.
///
/// # Errors
/// [`Refusal::ForeignOrigin`].
pub fn check_session(
    method: &Method,
    headers: &HeaderMap,
    allowed: &[String],
    over_tls: bool,
) -> Result<(), Refusal> {
    let must_say = !method.is_safe() || headers.contains_key("upgrade");
    match headers.contains_key("origin") {
        false if must_say => Err(Refusal::ForeignOrigin),
        _ => check_for(method, headers, allowed, over_tls),
    }
}

fn check_for(
    method: &Method,
    headers: &HeaderMap,
    allowed: &[String],
    over_tls: bool,
) -> Result<(), Refusal> {
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if headers.get_all("origin").iter().count() > 1 {
        return Err(Refusal::ForeignOrigin);
    }
    let host = value("host").unwrap_or_default();
    if let Some(origin) = value("origin") {
        let own = is_own(origin, host, over_tls);
        let allowed = allowed.iter().any(|allowed| allowed == origin);
        return if own || allowed { Ok(()) } else { Err(Refusal::ForeignOrigin) };
    }
    // A link to a page of ours; a form of somebody else's would be a POST.
    let navigation = method == Method::GET
        && value("sec-fetch-mode") == Some("navigate")
        && value("sec-fetch-dest") == Some("document");
    match value("sec-fetch-site") {
        Some("cross-site" | "same-site") if !navigation => Err(Refusal::ForeignOrigin),
        None if is_foreign_without_metadata(value, host, over_tls) => Err(Refusal::ForeignOrigin),
        _ => Ok(()),
    }
}

/// Without TLS browsers say where a request comes from to loopback names only. Then it must open a
/// page, which nobody else can read, or come from a page of this host. What is no browser has no
/// page.
fn is_foreign_without_metadata<'a>(
    value: impl Fn(&str) -> Option<&'a str>,
    host: &str,
    over_tls: bool,
) -> bool {
    let is_browser = value("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"));
    let opens_a_page = value("upgrade-insecure-requests") == Some("1");
    let is_from_here = value("referer").is_some_and(|page| {
        // scheme://host/path
        let end = page.match_indices('/').nth(2).map_or(page.len(), |(at, _)| at);
        is_own(&page[..end], host, over_tls)
    });
    is_browser && !opens_a_page && !is_from_here
}

/// It is this host's origin. Without TLS with us either scheme may be the browser's: TLS may have ended
/// before us.
fn is_own(origin: &str, host: &str, over_tls: bool) -> bool {
    let schemes: &[&str] = if over_tls { &["https://"] } else { &["http://", "https://"] };
    schemes.iter().any(|scheme| {
        origin
            .strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && rest.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests;
