//! Credentials to an [`Identity`]: who it is, and on what ground.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;

use crate::close::Cause;
use crate::grant::Grant;
use crate::passwords::{Passwords, Verdict};
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::{Password, Tenant, Username};

pub mod credentials;
pub mod origin;

use credentials::{Named, Presented};

/// A tenant, and the ground on which the request is theirs. Only this module makes one for a private
/// row.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The account as it was when the credential was checked.
    pub tenant: Arc<Tenant>,
    /// What the request rests on.
    pub grant: Grant,
    /// The Authorization header was used up.
    pub authorization_consumed: bool,
}

/// Checks a private row's credentials. `Ok` is the tenant whom all of them prove.
///
/// # Errors
/// 400 for two identities or malformed headers; 401 for missing and wrong ones; 403 for a foreign
/// page with an ambient credential; 503 if passwords cannot be checked now.
pub async fn authenticate(
    registry: &Registry,
    passwords: &Passwords,
    request: &Parts,
    client: IpAddr,
) -> Result<Identity, Refusal> {
    let presented = Presented::read(&request.headers, request.uri.query())?;
    if presented.is_empty() {
        return Err(Refusal::NoCredential);
    }
    let names = [&presented.basic, &presented.x_auth];
    if let [Some(basic), Some(x_auth)] = names
        && basic.username != x_auth.username
    {
        return Err(Refusal::TwoIdentities);
    }
    let mut identity = None;
    // The cheap ones first: a wrong key spares the password's work.
    if let Some(named) = &presented.x_auth {
        accept(&mut identity, check_named_key(registry, named)?)?;
    }
    if let Some(key) = &presented.api_key {
        accept(&mut identity, check_key(registry, key)?)?;
    }
    if let Some(named) = &presented.basic {
        accept(&mut identity, check_password(registry, passwords, named, client).await?)?;
    }
    let mut identity = identity.ok_or_else(|| wrong("tokens and tickets are not issued", None))?;
    identity.authorization_consumed = presented.basic.is_some();
    if identity.authorization_consumed {
        origin::check(&request.method, &request.headers, &identity.tenant)?;
    }
    Ok(identity)
}

/// Takes one more proof; all must be of the same tenant.
fn accept(identity: &mut Option<Identity>, proof: Proof) -> Result<(), Refusal> {
    let (tenant, grant) = proof;
    match identity {
        Some(known) if known.tenant.id != tenant.id => Err(Refusal::TwoIdentities),
        Some(_) => Ok(()),
        None => {
            *identity = Some(Identity { tenant, grant, authorization_consumed: false });
            Ok(())
        }
    }
}

type Proof = (Arc<Tenant>, Grant);

fn wrong(why: &'static str, tenant: Option<&Tenant>) -> Refusal {
    Refusal::WrongCredential { why, claimed: tenant.map(|tenant| tenant.username.clone()) }
}

fn find(registry: &Registry, username: &str) -> Option<Arc<Tenant>> {
    registry.by_username(&Username::parse(username).ok()?)
}

fn check_named_key(registry: &Registry, named: &Named) -> Result<Proof, Refusal> {
    let digest = SecretDigest::of(&named.secret);
    let tenant = find(registry, &named.username);
    grant_of_key(tenant.ok_or_else(|| wrong("X-Auth-User names no tenant", None))?, digest)
}

fn check_key(registry: &Registry, key: &Secret) -> Result<Proof, Refusal> {
    let digest = SecretDigest::of(key);
    grant_of_key(registry.by_key(&digest).ok_or_else(|| wrong("unknown API key", None))?, digest)
}

/// The index may be behind; the tenant's own record decides.
fn grant_of_key(tenant: Arc<Tenant>, digest: SecretDigest) -> Result<Proof, Refusal> {
    match tenant.keys.iter().find(|key| key.digest == digest) {
        Some(key) => allow(Arc::clone(&tenant), Grant::Key { id: key.id }),
        None => Err(wrong("wrong API key", Some(&tenant))),
    }
}

async fn check_password(
    registry: &Registry,
    passwords: &Passwords,
    named: &Named,
    client: IpAddr,
) -> Result<Proof, Refusal> {
    let tenant = find(registry, &named.username);
    let opens = tenant.as_deref().ok_or("unknown tenant").and_then(password_that_opens);
    // Without one the same work is done for nothing. A disabled tenant's is not even tried: it would
    // be remembered, and its second refusal come sooner than a wrong one's.
    let stored = opens.as_ref().ok().map(|(stored, _)| stored);
    let verdict = passwords.verify(stored, &named.secret, client).await;
    match (verdict, opens, tenant) {
        (Verdict::Busy, ..) => Err(Refusal::Overloaded("too many passwords wait to be checked")),
        (Verdict::Right, Ok((_, grant)), Some(tenant)) => Ok((tenant, grant)),
        (_, Err(why), tenant) => Err(wrong(why, tenant.as_deref())),
        (_, Ok(_), tenant) => Err(wrong("wrong password", tenant.as_deref())),
    }
}

/// The password that is to be checked and what it grants, or why none would open the account.
fn password_that_opens(tenant: &Tenant) -> Result<(Password, Grant), &'static str> {
    let stored = tenant.password.clone().ok_or("the tenant has no password")?;
    let grant = Grant::Password { fingerprint: stored.fingerprint() };
    tenant.allows(&grant).map_err(Cause::reason)?;
    Ok((stored, grant))
}

fn allow(tenant: Arc<Tenant>, grant: Grant) -> Result<Proof, Refusal> {
    match tenant.allows(&grant) {
        Ok(()) => Ok((tenant, grant)),
        Err(cause) => Err(wrong(cause.reason(), Some(&tenant))),
    }
}

#[cfg(test)]
mod tests;
