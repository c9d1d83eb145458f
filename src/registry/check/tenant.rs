//! What is wrong with one tenant's document, seen by itself.

use std::collections::{BTreeSet, HashSet};

use crate::grant::KeyId;
use crate::registry::import::to_profile;
use crate::registry::profiles;
use crate::registry::record::{KeyRecord, TenantRecord, username_index};
use crate::registry::store::Document;
use crate::secret::SecretDigest;

const MEND: &str = "export, put it right in the file, and import it with --replace";
const MEND_KEY: &str = "let the tenant revoke or regenerate the key in their profile";
const MEND_INDEX: &str = "export, and import the export with --replace: it writes the indexes anew";
const MEND_USERNAME: &str = "restore the registry from a backup";
/// Characters of a secret that may be kept.
const HINT_CHARACTERS_MAX: usize = 4;

type Fault = (String, &'static str);

/// Each fault, with what to do about it.
pub(super) fn faults(document: &Document, record: &TenantRecord) -> Vec<Fault> {
    // What an export would write of it, an import must take.
    let profile = profiles::faults(to_profile(record));
    let mut faults: Vec<Fault> = profile.into_iter().map(|what| (what, MEND)).collect();
    check_keys(&record.keys, &mut faults);
    if !record.retired.iter().all(|retired| is_digest(&retired.sha256)) {
        let what =
            "a retired key of its has a digest that is not 64 hexadecimal digits in lower case";
        faults.push((what.to_owned(), MEND));
    }
    check_indexes(document, record, &mut faults);
    faults
}

fn check_keys(keys: &[KeyRecord], faults: &mut Vec<Fault>) {
    let mut ids = HashSet::new();
    for key in keys {
        let id = KeyId::from_hex(&key.id).filter(|id| id.to_string() == key.id);
        let about = match &key.name {
            Some(name) => format!("its key {name:?}"),
            None => "its default key".to_owned(),
        };
        let mut fault = |what: &str| faults.push((format!("{about} {what}"), MEND_KEY));
        match id {
            None => fault("has an id that is not 16 hexadecimal digits in lower case"),
            Some(id) if (id == KeyId::DEFAULT) != key.name.is_none() => {
                fault("must have the id 0 if it has no name, and another if it has one");
            }
            Some(id) if !ids.insert(id) => fault("has the id of another one"),
            Some(_) => {}
        }
        let previous = key.previous.iter().map(|previous| &previous.sha256);
        if !previous.chain([&key.sha256]).all(|sha256| is_digest(sha256)) {
            fault("has a digest that is not 64 hexadecimal digits in lower case");
        }
        if key.hint.as_ref().is_some_and(|hint| hint.chars().count() > HINT_CHARACTERS_MAX) {
            fault("shows more than the last four characters of its secret");
        }
    }
}

fn is_digest(sha256: &str) -> bool {
    SecretDigest::from_hex(sha256).is_some_and(|digest| digest.to_hex() == sha256)
}

/// The indexes themselves are not told: they are digests of keys.
fn check_indexes(document: &Document, record: &TenantRecord, faults: &mut Vec<Fault>) {
    let present: BTreeSet<_> = document.indexes.iter().cloned().collect();
    let wanted: BTreeSet<_> = record.indexes().into_iter().collect();
    let own = username_index(&record.username);
    if !present.contains(&own) {
        faults.push(("it cannot be found by its username".to_owned(), MEND_USERNAME));
    }
    let missing = wanted.difference(&present).filter(|index| **index != own).count();
    if missing > 0 {
        faults.push((format!("it cannot be found by {missing} of its keys"), MEND_INDEX));
    }
    let surplus = present.difference(&wanted).count();
    if surplus > 0 {
        let what = format!("it is found under {surplus} names or keys that are not its own");
        faults.push((what, MEND_INDEX));
    }
}
