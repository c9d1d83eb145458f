//! Profiles files: plans and tenants as JSON. Read as a stream, so that a file may be large.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::passwords;
use crate::plan::Plan;
use crate::registry::record::InstanceRecord;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::Username;

pub mod instance;
pub mod keys;
mod stream;

pub use instance::{ADMIN_ROOT_ADVICE, InstanceProfile};
use keys::KeyProfile;
pub use keys::NamedKey;
use stream::Item;

/// An API key of one's own choice must not be guessable.
const API_KEY_BYTES_MIN: usize = 16;
const API_KEY_BYTES_MAX: usize = 256;
const PLAN_NAME_BYTES_MAX: usize = 64;
const ORIGINS_MAX: usize = 100;
const ORIGIN_BYTES_MAX: usize = 255;
/// Faults told of one file; who made one mistake a thousand times need not read it as often.
const FAULTS_MAX: usize = 100;

/// A tenant as the file has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name; where the path has it already, it need not be here.
    #[schema(required = false)]
    username: String,
    /// In plain text; it is hashed.
    #[schema(value_type = Option<String>)]
    password: Option<Secret>,
    /// Instead: its bcrypt hash.
    password_hash: Option<String>,
    /// The default API key in plain text: 16 to 256 visible ASCII characters.
    #[schema(value_type = Option<String>)]
    api_key: Option<Secret>,
    /// Instead: its SHA-256 digest in hexadecimal digits.
    api_key_sha256: Option<String>,
    /// Named API keys.
    #[serde(default)]
    keys: Vec<KeyProfile>,
    /// The plan's name; without one there are no limits.
    plan: Option<String>,
    /// The runtime; `null` has to be said, for a tenant without one.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    instance: Option<InstanceProfile>,
    /// Origins, beside flowgate's own, whose pages may use the password.
    #[serde(default)]
    allowed_origins: Vec<String>,
    /// Disabled tenants are answered as if they did not exist.
    #[serde(default)]
    disabled: bool,
}

/// Everything that is wrong with a profiles file, one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct ProfilesError(pub Vec<String>);

impl fmt::Display for ProfilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// A profile whose every field was found good.
#[derive(Debug)]
pub struct Checked {
    /// The name.
    pub username: Username,
    /// A password that is still to be hashed.
    pub password: Option<Secret>,
    /// A hash that was checked.
    pub password_hash: Option<String>,
    /// The default API key.
    pub key: Option<SecretDigest>,
    /// The last characters of that key, if the file has the key itself.
    pub key_hint: Option<String>,
    /// The named keys, without ids.
    pub named_keys: Vec<NamedKey>,
    /// The plan's name.
    pub plan: Option<String>,
    /// The runtime, if there is one.
    pub instance: Option<InstanceRecord>,
    /// See [`crate::tenant::Tenant::allowed_origins`].
    pub allowed_origins: Vec<String>,
    /// See [`crate::tenant::Tenant::disabled`].
    pub disabled: bool,
}

/// What a good file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Plans.
    pub plans: usize,
    /// Tenants.
    pub tenants: usize,
}

/// Reads a whole file and finds all that is wrong with it. `knows_plan` tells of plans that exist
/// elsewhere; `look` may have something against a tenant that is good in itself.
///
/// # Errors
/// The faults, each with line, tenant and field; at most 100.
pub fn check(
    file: impl Read,
    knows_plan: impl Fn(&str) -> bool,
    mut look: impl FnMut(&Checked) -> Result<(), String>,
) -> Result<Contents, ProfilesError> {
    let mut faults = Faults::default();
    let mut seen = Seen::default();
    let mut contents = Contents::default();
    let read = stream::each(BufReader::new(file), |line, item| match item {
        Item::Plan(name, plan) => {
            contents.plans += 1;
            faults.add(line, &format!("plan {name:?}"), check_plan(&name, &plan));
            seen.plans.insert(name);
        }
        Item::Tenant(profile) => {
            contents.tenants += 1;
            let who = format!("tenant {} ({:?})", contents.tenants, profile.username);
            if let Some(plan) = &profile.plan
                && !seen.wanted_plans.contains_key(plan)
            {
                seen.wanted_plans.insert(plan.clone(), (line, who.clone()));
            }
            let mut fault = |field: &str, what: &str| {
                faults.add(line, &who, Err(format!("{field} {what}")));
            };
            if let Some(checked) = profile.check(Some(&mut seen), &mut fault) {
                faults.add(line, &who, look(&checked));
            }
        }
    });
    if let Err(error) = read {
        faults.lines.push(error);
    }
    let mut wanted_plans: Vec<_> = seen.wanted_plans.into_iter().collect();
    wanted_plans.sort_by_key(|(_, (line, _))| *line);
    for (plan, (line, who)) in wanted_plans {
        if !seen.plans.contains(&plan) && !knows_plan(&plan) {
            faults.add(line, &who, Err(format!("plan {plan:?} is not among the plans")));
        }
    }
    match faults.lines.is_empty() {
        true => Ok(contents),
        false => Err(ProfilesError(faults.lines)),
    }
}

/// Goes through a file that [`check`] found good.
///
/// # Errors
/// It has changed since and is not good any more, or `take` failed.
pub fn each(
    file: impl Read,
    mut take: impl FnMut(Good) -> Result<(), String>,
) -> Result<(), ProfilesError> {
    let mut failure = None;
    let read = stream::each(BufReader::new(file), |_, item| {
        if failure.is_some() {
            return;
        }
        let good = match item {
            Item::Plan(name, plan) => Some(Good::Plan(name, plan)),
            Item::Tenant(profile) => {
                profile.check(None, &mut |_, _| {}).map(|checked| Good::Tenant(Box::new(checked)))
            }
        };
        let taken =
            good.ok_or_else(|| "the file was changed meanwhile".to_owned()).and_then(&mut take);
        failure = taken.err();
    });
    match read.err().or(failure) {
        Some(error) => Err(ProfilesError(vec![error])),
        None => Ok(()),
    }
}

/// What an import would have against a tenant's profile.
#[must_use]
pub fn faults(profile: serde_json::Value) -> Vec<String> {
    let mut faults = Vec::new();
    match serde_json::from_value::<Profile>(profile) {
        Ok(profile) => {
            profile.check(None, &mut |field, what| faults.push(format!("{field} {what}")));
        }
        Err(error) => faults.push(error.to_string()),
    }
    faults
}

/// What [`each`] finds.
#[derive(Debug)]
pub enum Good {
    /// A plan and its name.
    Plan(String, Box<Plan>),
    /// A tenant.
    Tenant(Box<Checked>),
}

#[derive(Default)]
struct Faults {
    lines: Vec<String>,
}

impl Faults {
    fn add(&mut self, line: usize, who: &str, what: Result<(), String>) {
        let Err(what) = what else { return };
        match self.lines.len() {
            ..FAULTS_MAX => self.lines.push(format!("line {line}: {who}: {what}")),
            FAULTS_MAX => self.lines.push("there is more".to_owned()),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Seen {
    usernames: HashSet<Username>,
    keys: HashSet<SecretDigest>,
    plans: HashSet<String>,
    /// Where each plan is asked for first.
    wanted_plans: HashMap<String, (usize, String)>,
}

/// Says whether a plan can have this name and these numbers.
///
/// # Errors
/// What is wrong.
pub fn check_plan(name: &str, plan: &Plan) -> Result<(), String> {
    let is_visible = name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_empty() || name.len() > PLAN_NAME_BYTES_MAX || !is_visible {
        return Err("its name must be 1 to 64 visible ASCII characters".to_owned());
    }
    plan.check().map_err(str::to_owned)
}

impl Profile {
    /// Checks a profile that is in no file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn check_alone(self) -> Result<Checked, Vec<String>> {
        let mut faults = Vec::new();
        let mut seen = Seen::default();
        let checked = self.check(Some(&mut seen), &mut |field, what| {
            if faults.len() < FAULTS_MAX {
                faults.push(format!("{field} {what}."));
            }
        });
        checked.ok_or(faults)
    }

    fn check(self, seen: Option<&mut Seen>, fault: &mut dyn FnMut(&str, &str)) -> Option<Checked> {
        let faults = Cell::new(0);
        let mut fault = |field: &str, what: &str| {
            faults.set(faults.get() + 1);
            fault(field, what);
        };
        let username =
            Username::parse(&self.username).map_err(|why| fault("username", &why.to_string())).ok();
        check_password(&self, &mut fault);
        let key = check_key(&self, &mut fault);
        let named_keys: Vec<NamedKey> =
            self.keys.iter().filter_map(|key| key.check(&mut fault)).collect();
        keys::check_all(&self.keys, &mut fault);
        if let Some(seen) = seen {
            if username.clone().is_some_and(|username| !seen.usernames.insert(username)) {
                fault("username", "is there twice");
            }
            let named = named_keys.iter().map(|named| named.digest);
            if named.chain(key).any(|key| !seen.keys.insert(key)) {
                fault("api_key", "is in the file already");
            }
        }
        check_origins(&self.allowed_origins, &mut fault);
        let instance = self.instance.as_ref().and_then(|instance| instance.check(&mut fault));
        if faults.get() > 0 {
            return None;
        }
        Some(Checked {
            username: username?,
            password: self.password,
            password_hash: self.password_hash,
            key,
            key_hint: self.api_key.as_ref().map(Secret::hint),
            named_keys,
            plan: self.plan,
            instance,
            allowed_origins: self.allowed_origins,
            disabled: self.disabled,
        })
    }
}

fn check_origins(origins: &[String], fault: &mut dyn FnMut(&str, &str)) {
    if origins.len() > ORIGINS_MAX {
        fault("allowed_origins", "must be at most 100");
    }
    for origin in origins {
        let host = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
        let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '*', ' ']);
        if origin.len() > ORIGIN_BYTES_MAX || !host.is_some_and(is_host) {
            fault("allowed_origins", "must be origins like \"https://example.org\"");
        }
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

#[cfg(test)]
mod tests;
