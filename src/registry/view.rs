//! A tenant's record as operators may see it: nothing that opens anything, and no digest of it.

use serde_json::{Value, json};

use super::import::to_profile;
use super::record::{KeyRecord, TenantRecord};
use crate::clock::UnixMillis;

/// What a profiles file says of a tenant, without the name and without credentials.
#[must_use]
pub fn settings(record: &TenantRecord) -> Value {
    let mut profile = to_profile(record);
    if let Some(members) = profile.as_object_mut() {
        for credential in ["username", "password_hash", "api_key_sha256", "keys"] {
            members.remove(credential);
        }
    }
    profile
}

/// What the audit log keeps of a tenant: the settings, and which credentials there are.
#[must_use]
pub fn audited(record: &TenantRecord) -> Value {
    let mut view = settings(record);
    view["password"] = json!(record.password.is_some());
    view["keys"] = record.keys.iter().map(key).collect();
    view
}

fn key(key: &KeyRecord) -> Value {
    let moment = |unix_ms: u64| UnixMillis(unix_ms).to_string();
    json!({
        "id": key.id,
        "name": key.name,
        "last_four": key.hint,
        "created": moment(key.created_unix_ms),
        "expires": key.expires_unix_ms.map(moment),
        "scope": key.scope,
        "previous_works_until": key.previous.as_ref().map(|previous| moment(previous.until_unix_ms)),
    })
}

/// The tenant as a profiles file has them, hashes and digests included.
#[must_use]
pub fn profile(record: &TenantRecord) -> Value {
    to_profile(record)
}
