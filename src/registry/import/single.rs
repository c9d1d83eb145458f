//! One tenant as a profiles file would have them, outside of a file.

use serde_json::{Map, Value};

use super::{has_room, text, to_record};
use crate::clock::UnixMillis;
use crate::registry::profiles::Profile;
use crate::registry::record::{InstanceRecord, TenantRecord};
use crate::secret::json_fault;

/// A tenant's settings, and which of their credentials were given along.
#[derive(Clone, Debug)]
pub struct Wanted {
    record: TenantRecord,
    password: bool,
    default_key: bool,
    named_keys: bool,
}

impl Wanted {
    /// Reads and checks a profile. Its password has to be a hash already: whoever asks is in no
    /// position to wait for bcrypt.
    ///
    /// # Errors
    /// Everything that is wrong with it; no word of what it holds.
    pub fn read(
        profile: Map<String, Value>,
        before: Option<&TenantRecord>,
        now: UnixMillis,
    ) -> Result<Self, Vec<String>> {
        let is_given = |name: &str| profile.get(name).is_some_and(|value| !value.is_null());
        let (password, default_key, named_keys) = (
            is_given("password_hash"),
            is_given("api_key") || is_given("api_key_sha256"),
            is_given("keys"),
        );
        let profile: Profile = serde_json::from_value(Value::Object(profile))
            .map_err(|error| vec![json_fault(&error)])?;
        let checked = profile.check_alone()?;
        has_room(&checked).map_err(|what| vec![what])?;
        let record = to_record(checked, before, now).map_err(|error| vec![text(error)])?;
        Ok(Self { record, password, default_key, named_keys })
    }

    /// The plan's name.
    #[must_use]
    pub fn plan(&self) -> Option<&str> {
        self.record.plan.as_deref()
    }

    /// Where the runtime is.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceRecord> {
        self.record.instance.as_ref()
    }

    /// The record for somebody new.
    #[must_use]
    pub fn into_record(self) -> TenantRecord {
        self.record
    }

    /// Puts the settings in the place of those that a record has. Credentials that were not given
    /// stay.
    pub fn replace(&self, record: &mut TenantRecord) {
        let mut next = self.record.clone();
        if !self.password {
            next.password = record.password.take();
        }
        let kept = std::mem::take(&mut record.keys).into_iter().filter(|key| {
            let is_given = if key.name.is_none() { self.default_key } else { self.named_keys };
            !is_given
        });
        next.keys.extend(kept);
        next.keys.sort_by_key(|key| key.name.is_some());
        next.retired = record.retired_beside(&next.keys);
        *record = next;
    }
}
