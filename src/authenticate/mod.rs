//! Credentials to an [`Identity`]: who it is, and on what ground.

use std::sync::Arc;

use http::request::Parts;

use crate::grant::Grant;
use crate::passwords::{Passwords, Verdict};
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::{Tenant, Username};

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
        accept(&mut identity, check_password(registry, passwords, named).await?)?;
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
) -> Result<Proof, Refusal> {
    let tenant = find(registry, &named.username);
    let password = tenant.as_ref().and_then(|tenant| tenant.password.clone());
    // Without a tenant the same work is done for nothing.
    let verdict = passwords.verify(password.as_ref(), &named.secret).await;
    match (verdict, tenant, password) {
        (Verdict::Busy, ..) => Err(Refusal::Overloaded("too many passwords wait to be checked")),
        (Verdict::Right, Some(tenant), Some(password)) => {
            allow(tenant, Grant::Password { fingerprint: password.fingerprint() })
        }
        (_, None, _) => Err(wrong("unknown tenant", None)),
        (_, tenant, None) => Err(wrong("the tenant has no password", tenant.as_deref())),
        (_, tenant, _) => Err(wrong("wrong password", tenant.as_deref())),
    }
}

fn allow(tenant: Arc<Tenant>, grant: Grant) -> Result<Proof, Refusal> {
    match tenant.allows(&grant) {
        Ok(()) => Ok((tenant, grant)),
        Err(cause) => Err(wrong(cause.reason(), Some(&tenant))),
    }
}
