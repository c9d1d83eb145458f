//! Profiles files: plans and tenants as JSON, checked as a whole before anything is used.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::grant::KeyId;
use crate::passwords;
use crate::path::is_under;
use crate::plan::Plan;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::{ApiKey, Instance, Password, Tenant, TenantId, Username};

/// An API key of one's own choice must not be guessable.
const API_KEY_BYTES_MIN: usize = 16;
const API_KEY_BYTES_MAX: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    plans: BTreeMap<String, Plan>,
    tenants: Vec<Profile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    username: String,
    password: Option<Secret>,
    password_hash: Option<String>,
    api_key: Option<Secret>,
    api_key_sha256: Option<String>,
    plan: Option<String>,
    instance: InstanceProfile,
    #[serde(default)]
    allowed_origins: Vec<String>,
    #[serde(default)]
    disabled: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceProfile {
    address: String,
    #[serde(default)]
    node_root: String,
    /// `null` has to be said: an editor that nobody thought of would be open to all.
    #[serde(deserialize_with = "Option::deserialize")]
    admin_root: Option<String>,
}

/// Everything that is wrong with a profiles file, one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct ProfilesError(pub Vec<String>);

impl fmt::Display for ProfilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Reads a profiles file. Plaintext passwords are hashed, which takes a quarter of a second each.
///
/// # Errors
/// Every fault found, with tenant and field.
pub fn read(json: &str) -> Result<Vec<Tenant>, ProfilesError> {
    let (plans, profiles) = check(json)?;
    let tenants = profiles.into_iter().map(|profile| finish(profile, &plans));
    tenants.collect::<Result<_, _>>().map_err(|fault| ProfilesError(vec![fault]))
}

/// Checks a profiles file without hashing anything; returns the number of tenants.
///
/// # Errors
/// Every fault found, with tenant and field.
pub fn check_only(json: &str) -> Result<usize, ProfilesError> {
    check(json).map(|(_, profiles)| profiles.len())
}

type Plans = BTreeMap<String, Arc<Plan>>;

/// A profile whose every field was found good.
struct Checked {
    username: Username,
    password: Option<Secret>,
    password_hash: Option<String>,
    key: Option<SecretDigest>,
    plan: Option<String>,
    instance: Instance,
    allowed_origins: Vec<String>,
    disabled: bool,
}

fn check(json: &str) -> Result<(Plans, Vec<Checked>), ProfilesError> {
    let file: File =
        serde_json::from_str(json).map_err(|error| ProfilesError(vec![error.to_string()]))?;
    let mut faults = Vec::new();
    for (name, plan) in &file.plans {
        if let Err(fault) = plan.check() {
            faults.push(format!("plan {name:?}: {fault}"));
        }
    }
    let mut seen = Seen::default();
    let mut checked = Vec::with_capacity(file.tenants.len());
    for (place, profile) in file.tenants.into_iter().enumerate() {
        let who = format!("tenant {} ({:?})", place + 1, profile.username);
        let mut fault = |field: &str, what: &str| faults.push(format!("{who}: {field} {what}"));
        if let Some(plan) = &profile.plan
            && !file.plans.contains_key(plan)
        {
            fault("plan", &format!("{plan:?} is not among the file's plans"));
        }
        checked.extend(profile.check(&mut seen, &mut fault));
    }
    if !faults.is_empty() {
        return Err(ProfilesError(faults));
    }
    let plans = file.plans.into_iter().map(|(name, plan)| (name, Arc::new(plan))).collect();
    Ok((plans, checked))
}

#[derive(Default)]
struct Seen {
    usernames: HashSet<Username>,
    keys: HashSet<SecretDigest>,
}

impl Profile {
    fn check(self, seen: &mut Seen, fault: &mut dyn FnMut(&str, &str)) -> Option<Checked> {
        let username = match Username::parse(&self.username) {
            Ok(username) => Some(username),
            Err(why) => {
                fault("username", &why.to_string());
                None
            }
        };
        if let Some(username) = &username
            && !seen.usernames.insert(username.clone())
        {
            fault("username", "is there twice");
        }
        check_password(&self, fault);
        let key = check_key(&self, fault);
        if let Some(key) = key
            && !seen.keys.insert(key)
        {
            fault("api_key", "belongs to another tenant of the file already");
        }
        for origin in &self.allowed_origins {
            let host =
                ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' '])) {
                fault("allowed_origins", "must be origins like \"https://example.org\"");
            }
        }
        let instance = self.instance.check(fault)?;
        Some(Checked {
            username: username?,
            password: self.password,
            password_hash: self.password_hash,
            key,
            plan: self.plan,
            instance,
            allowed_origins: self.allowed_origins,
            disabled: self.disabled,
        })
    }
}

fn check_password(profile: &Profile, fault: &mut dyn FnMut(&str, &str)) {
    match (&profile.password, &profile.password_hash) {
        (Some(_), Some(_)) => fault("password", "and password_hash exclude each other"),
        (Some(password), None) => {
            if let Err(what) = passwords::check(password) {
                fault("password", what);
            }
        }
        (None, Some(hash)) => {
            if let Err(what) = passwords::check_hash(hash) {
                fault("password_hash", what);
            }
        }
        (None, None) => {}
    }
}

fn check_key(profile: &Profile, fault: &mut dyn FnMut(&str, &str)) -> Option<SecretDigest> {
    match (&profile.api_key, &profile.api_key_sha256) {
        (Some(_), Some(_)) => fault("api_key", "and api_key_sha256 exclude each other"),
        (Some(key), None) => {
            let text = key.expose();
            let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
            if (API_KEY_BYTES_MIN..=API_KEY_BYTES_MAX).contains(&text.len()) && is_visible {
                return Some(SecretDigest::of(key));
            }
            fault("api_key", "must be 16 to 256 visible ASCII characters");
        }
        (None, Some(hex)) => {
            let digest = SecretDigest::from_hex(hex);
            if digest.is_none() {
                fault("api_key_sha256", "must be 64 hexadecimal digits");
            }
            return digest;
        }
        (None, None) => {}
    }
    None
}

impl InstanceProfile {
    fn check(&self, fault: &mut dyn FnMut(&str, &str)) -> Option<Instance> {
        let mut is_root = |field: &str, root: &str| {
            let is_good = root.starts_with('/')
                && !root.ends_with('/')
                && root.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\;".contains(&byte))
                && !root.split('/').skip(1).any(|segment| matches!(segment, "" | "." | ".."));
            if !is_good {
                fault(field, "must be a plain path like \"/red\", without a slash at its end");
            }
            is_good
        };
        let mut is_good =
            self.node_root.is_empty() || is_root("instance.node_root", &self.node_root);
        if let Some(admin_root) = &self.admin_root {
            if admin_root == "/" || admin_root.is_empty() || is_under(&self.node_root, admin_root) {
                fault("instance.admin_root", ADMIN_ROOT_ADVICE);
                is_good = false;
            } else {
                is_good &= is_root("instance.admin_root", admin_root);
            }
        }
        let address = parse_address(&self.address);
        if let Err(what) = address {
            fault("instance.address", what);
        }
        let (host, port) = address.ok().filter(|_| is_good)?;
        Some(Instance {
            host,
            port,
            node_root: self.node_root.clone(),
            admin_root: self.admin_root.clone(),
        })
    }
}

const ADMIN_ROOT_ADVICE: &str = "must not be, or contain, node_root: the flows' paths would open the editor; \
     in the runtime's settings.js set e.g. httpAdminRoot: \"/red\" and httpNodeRoot: \"/api\"";

/// Host and port. The text itself is not repeated in the fault: it may hold a password.
fn parse_address(address: &str) -> Result<(String, u16), &'static str> {
    const HTTP_PORT: u16 = 80;
    const BAD: &str = "must be like \"http://127.0.0.1:1880\", without a path";
    let uri: http::Uri = address.parse().map_err(|_| BAD)?;
    let authority = uri.authority().ok_or(BAD)?;
    if uri.scheme_str() == Some("https") {
        return Err("must begin with http://: runtimes are not dialled with TLS");
    }
    let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
    if uri.scheme_str() != Some("http") || has_path || authority.as_str().contains('@') {
        return Err(BAD);
    }
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => HTTP_PORT,
        // `Authority::port` is silent about a number that is none, and so would be the port 80.
        Some(rest) if rest.bytes().skip(1).all(|byte| byte.is_ascii_digit()) => {
            rest[1..].parse().unwrap_or(0)
        }
        _ => 0,
    };
    if port == 0 {
        return Err("must have a port from 1 to 65535");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    match host.is_empty() {
        false => Ok((host, port)),
        true => Err(BAD),
    }
}

fn finish(profile: Checked, plans: &Plans) -> Result<Tenant, String> {
    let fault = |what: &str| format!("tenant {:?}: {what}", profile.username.as_str());
    let hash = match (&profile.password, profile.password_hash) {
        (Some(password), _) => {
            Some(passwords::hash(password).map_err(|what| fault(&format!("password {what}")))?)
        }
        (None, hash) => hash,
    };
    let random = || getrandom::u64().map_err(|_| fault("the system gives no randomness"));
    let id = TenantId(u128::from(random()?) << 64 | u128::from(random()?));
    let keys = match profile.key {
        Some(digest) => vec![ApiKey { id: KeyId(random()?), digest }],
        None => Vec::new(),
    };
    let no_limits = || Arc::new(Plan { connections: None, message_bytes: None, messages: None });
    let plan = profile.plan.as_ref().and_then(|name| plans.get(name).cloned());
    Ok(Tenant {
        id,
        revision: 1,
        username: profile.username,
        password: hash.as_deref().map(Password::from_hash),
        keys,
        plan: plan.unwrap_or_else(no_limits),
        instance: profile.instance,
        allowed_origins: profile.allowed_origins,
        disabled: profile.disabled,
    })
}

#[cfg(test)]
mod tests;
