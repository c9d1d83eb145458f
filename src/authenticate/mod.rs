//! Credentials to an [`Identity`]: who it is, and on what ground.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::ORIGIN;
use http::request::Parts;

use crate::carriers::Caller;
use crate::client::Client;
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::Grant;
use crate::guessing::Claim;
use crate::passwords::{self, Passwords, Verdict};
use crate::refusal::Refusal;
use crate::registry::record::TenantRecord;
use crate::registry::{Registry, away};
use crate::secret::{Secret, SecretDigest};
use crate::tenant::{Password, Tenant, Username};

pub mod access;
pub mod consumer;
pub mod credentials;
pub mod jwt;
pub mod origin;
mod session;

use credentials::{Named, Presented};
pub use session::Sessions;

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
    /// Where the request came from.
    pub client: IpAddr,
    /// Who calls, on a published API's row.
    pub caller: Option<Arc<Caller>>,
}

/// What credentials are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    /// Where tenants are found.
    pub registry: &'a Registry,
    /// Where passwords are checked.
    pub passwords: &'a Passwords,
}

type Proof = (Arc<Tenant>, Grant);

impl Authority<'_> {
    /// Checks a private row's credentials. `Ok` is the tenant whom all of them prove.
    ///
    /// # Errors
    /// 400 for two identities or malformed headers; 401 for missing and wrong ones; 403 for a
    /// foreign page with an ambient credential; 429 after too many wrong passwords; 503 if passwords
    /// or the registry cannot be asked.
    pub async fn authenticate(
        self,
        request: &Parts,
        client: Client,
        sessions: Sessions<'_>,
    ) -> Result<Identity, Refusal> {
        let presented = Presented::read(&request.headers, request.uri.query())?;
        if let (Some(basic), Some(x_auth)) = (&presented.basic, &presented.x_auth)
            && basic.username != x_auth.username
        {
            return Err(Refusal::TwoIdentities);
        }
        let mut identity = None;
        // The cheap ones first: a wrong key spares the password's work.
        if let Some(named) = &presented.x_auth {
            accept(&mut identity, self.check_named_key(named).await?)?;
        }
        for key in &presented.keys {
            accept(&mut identity, self.check_key(key).await?)?;
        }
        if let Some(named) = &presented.basic {
            accept(&mut identity, self.check_password(named, client.address.ip()).await?)?;
        }
        // The browser adds it by itself: it counts where nothing else was meant.
        if identity.is_none()
            && presented.ticket.is_none()
            && let Some(proof) = self.check_session(request, client, sessions).await?
        {
            accept(&mut identity, proof)?;
        }
        let mut authorization_consumed = presented.basic.is_some();
        if let Some(bearer) = &presented.bearer {
            match self.check_key(bearer).await {
                Ok(proof) => {
                    accept(&mut identity, proof)?;
                    authorization_consumed = true;
                }
                // Beside a credential of ours it may be one for the runtime itself, unless it is a key
                // that does not hold just now.
                Err(Refusal::WrongCredential { .. }) if identity.is_some() => {
                    authorization_consumed |= self.is_bearer_of_ours(&request.headers).await;
                }
                Err(refusal) => return Err(refusal),
            }
        }
        // The last one, since looking at it uses it up.
        if let Some(ticket) = &presented.ticket {
            accept(&mut identity, self.check_ticket(ticket, request).await?)?;
        }
        let (tenant, grant) = identity.ok_or(Refusal::NoCredential)?;
        if presented.basic.is_some() {
            origin::check(&request.method, &request.headers, &tenant, client.over_tls)?;
        }
        Ok(Identity {
            tenant,
            grant,
            authorization_consumed,
            client: client.address.ip(),
            caller: None,
        })
    }

    /// Whether a request's bearer token is an API key of anybody's, or an application's access token: it is for nobody else's eyes, even
    /// where none is asked for. If the registry cannot be asked, it is taken for one.
    pub async fn is_bearer_of_ours(self, headers: &HeaderMap) -> bool {
        for bearer in credentials::bearers(headers) {
            if access::is_access_token(bearer.expose()) {
                return true;
            }
            if !matches!(self.registry.by_key(SecretDigest::of(&bearer)).await, Ok(None)) {
                return true;
            }
        }
        false
    }

    fn now(self) -> UnixMillis {
        self.registry.wall().now()
    }

    async fn find(self, username: &str) -> Result<Option<Arc<Tenant>>, Refusal> {
        match Username::parse(username) {
            Ok(username) => self.registry.by_username(&username).await.map_err(away),
            Err(_) => Ok(None),
        }
    }

    async fn check_named_key(self, named: &Named) -> Result<Proof, Refusal> {
        let digest = SecretDigest::of(&named.secret);
        let tenant = self.find(&named.username).await?;
        let tenant = tenant.ok_or_else(|| wrong("X-Auth-User names no tenant", None))?;
        grant_of_key(tenant, digest, self.now())
    }

    async fn check_key(self, key: &Secret) -> Result<Proof, Refusal> {
        let digest = SecretDigest::of(key);
        let tenant = self.registry.by_key(digest).await.map_err(away)?;
        let tenant = tenant.ok_or_else(|| wrong("unknown API key", None))?;
        grant_of_key(tenant, digest, self.now())
    }

    async fn check_password(self, named: &Named, client: IpAddr) -> Result<Proof, Refusal> {
        let claim = Claim { name: &named.username, client };
        let known = Username::parse(&named.username).ok();
        let known = known.and_then(|username| self.registry.known(&username));
        let stored = known.as_ref().and_then(|tenant| tenant.password.as_ref());
        // Before the registry is asked: guessers must not keep it busy with names.
        if let Some(wait) = self.passwords.wait(stored, &named.secret, claim) {
            return Err(Refusal::attempts(wait));
        }
        let tenant = match known {
            Some(tenant) => Some(tenant),
            None => self.find(&named.username).await?,
        };
        let opens = tenant.as_deref().ok_or("unknown tenant");
        let opens = opens.and_then(|tenant| password_that_opens(tenant, self.now()));
        // Without one the same work is done for nothing. A disabled tenant's is not even tried: it
        // would be remembered, and its second refusal come sooner than a wrong one's.
        let stored = opens.as_ref().ok().map(|(stored, _)| stored);
        let verdict = self.passwords.verify(stored, &named.secret, claim).await;
        match (verdict, opens, tenant) {
            (Verdict::Busy, ..) => {
                Err(Refusal::Overloaded("too many passwords wait to be checked"))
            }
            (Verdict::Later(wait), ..) => Err(Refusal::attempts(wait)),
            (Verdict::Right, Ok((stored, grant)), Some(tenant)) => {
                if passwords::is_outdated(stored.hash()) {
                    self.rehash(&tenant, &stored, named, client).await;
                }
                Ok((tenant, grant))
            }
            // Whoever had it checked has it hashed anew if need be: once is enough for all.
            (Verdict::Remembered, Ok((_, grant)), Some(tenant)) => Ok((tenant, grant)),
            (_, Err(why), tenant) => Err(wrong(why, tenant.as_deref())),
            (_, Ok(_), tenant) => Err(wrong("wrong password", tenant.as_deref())),
        }
    }

    /// Hashes a right password anew, since its hash was made with another cost. What rests on the
    /// password goes on. If it cannot be done now, the next check will.
    async fn rehash(self, tenant: &Tenant, stored: &Password, named: &Named, client: IpAddr) {
        let Ok(hash) = self.passwords.hash(&named.secret, client).await else { return };
        let change = |record: &mut TenantRecord| match &mut record.password {
            Some(record) if *record.hash == **stored.hash() => {
                record.hash.clone_from(&hash);
                Ok(())
            }
            _ => Err(()),
        };
        let _ = self.registry.change(tenant.id, change).await;
    }

    /// Checks what a login form says. The fingerprint is the password's.
    ///
    /// # Errors
    /// As [`Authority::authenticate`].
    pub async fn log_in(
        self,
        username: String,
        password: Secret,
        client: Client,
    ) -> Result<(Arc<Tenant>, u64), Refusal> {
        let named = Named { username, secret: password };
        let (tenant, grant) = self.check_password(&named, client.address.ip()).await?;
        match grant {
            Grant::Password { fingerprint } => Ok((tenant, fingerprint)),
            _ => Err(Refusal::PasswordOnly),
        }
    }

    async fn check_ticket(self, secret: &Secret, request: &Parts) -> Result<Proof, Refusal> {
        let ticket = self.registry.take_ticket(secret).await.map_err(away)?;
        let ticket = ticket.ok_or_else(|| wrong("unknown, used or expired ticket", None))?;
        if ticket.grant.api().is_some() {
            return Err(wrong("the ticket is for a published API", None));
        }
        let tenant = match ticket.tenant() {
            Some(id) => self.registry.by_id(id).await.map_err(away)?,
            None => None,
        };
        let tenant = tenant.ok_or_else(|| wrong("the ticket's tenant is gone", None))?;
        let mut origins = request.headers.get_all(ORIGIN).iter();
        let origin = origins.next().map(|origin| origin.to_str().unwrap_or("?"));
        if ticket.path != request.uri.path() {
            return Err(wrong("the ticket is for another path", Some(&tenant)));
        }
        if ticket.origin.as_deref() != origin || origins.next().is_some() {
            return Err(wrong("the ticket is for another origin", Some(&tenant)));
        }
        allow(tenant, ticket.grant, self.now())
    }
}

/// Takes one more proof; all must be of the same tenant.
fn accept(identity: &mut Option<Proof>, proof: Proof) -> Result<(), Refusal> {
    match identity {
        Some((known, _)) if known.id != proof.0.id => Err(Refusal::TwoIdentities),
        Some(_) => Ok(()),
        None => {
            *identity = Some(proof);
            Ok(())
        }
    }
}

fn wrong(why: &'static str, tenant: Option<&Tenant>) -> Refusal {
    let claimed = tenant.map(|tenant| tenant.username.clone());
    Refusal::WrongCredential { why, since: None, claimed }
}

/// The index may be behind; the tenant's own record decides.
fn grant_of_key(
    tenant: Arc<Tenant>,
    digest: SecretDigest,
    now: UnixMillis,
) -> Result<Proof, Refusal> {
    let claimed = Some(tenant.username.clone());
    let Some(key) = tenant.keys.iter().find(|key| key.digests().any(|known| known == digest))
    else {
        let retired = tenant.retired.iter().find(|retired| retired.digest == digest);
        let (why, since) = match retired {
            Some(retired) => (retired.cause().reason(), Some(retired.at)),
            None => ("wrong API key", None),
        };
        return Err(Refusal::WrongCredential { why, since, claimed });
    };
    let ended = key.previous.filter(|previous| previous.digest == digest);
    let since = ended.map_or(key.expires_at, |previous| Some(previous.until));
    let grant = Grant::Key { id: key.id, secret: digest.fingerprint() };
    match tenant.allows(&grant, now) {
        Ok(()) => Ok((tenant, grant)),
        Err(cause) => {
            let since = since.filter(|_| cause != Cause::TenantDisabled);
            Err(Refusal::WrongCredential { why: cause.reason(), since, claimed })
        }
    }
}

/// The password that is to be checked and what it grants, or why none would open the account.
fn password_that_opens(
    tenant: &Tenant,
    now: UnixMillis,
) -> Result<(Password, Grant), &'static str> {
    let stored = tenant.password.clone().ok_or("the tenant has no password")?;
    let grant = Grant::Password { fingerprint: stored.fingerprint() };
    tenant.allows(&grant, now).map_err(Cause::reason)?;
    Ok((stored, grant))
}

fn allow(tenant: Arc<Tenant>, grant: Grant, now: UnixMillis) -> Result<Proof, Refusal> {
    match tenant.allows(&grant, now) {
        Ok(()) => Ok((tenant, grant)),
        Err(cause) => Err(wrong(cause.reason(), Some(&tenant))),
    }
}

#[cfg(test)]
mod tests;
