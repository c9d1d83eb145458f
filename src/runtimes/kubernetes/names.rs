//! What a runtime's objects are called, and the labels and annotations by which they are known.

use std::fmt;

use crate::tenant::TenantId;

/// Whose runtime it is: the tenant's id.
pub(super) const TENANT: &str = "flowgate.example/tenant";
/// For people who look.
pub(super) const USERNAME: &str = "flowgate.example/username";
/// Which flowgate's it is.
pub(super) const GROUP: &str = "flowgate.example/group";
/// The order that was carried out last: see [`Mark`].
pub(super) const ORDER: &str = "flowgate.example/order";
/// The end of what it wrote when it was put to sleep, in base64: its pod, and with it the log, is gone.
pub(super) const LAST_WORDS: &str = "flowgate.example/last-words";
/// Since when nobody has this tenant any more, in seconds since 1970.
pub(super) const GONE_SINCE: &str = "flowgate.example/gone-since";

/// Of a runtime's StatefulSet and Service: the id is all of it, so that no two are the same and nobody who
/// gets a username that was somebody's before gets their volume. With the suffixes that the StatefulSet's
/// controller gives to pods and revisions it is a label of a host name still.
pub(super) fn name(tenant: TenantId) -> String {
    format!("fg-{tenant}")
}

/// Of its pod.
pub(super) fn pod_name(tenant: TenantId) -> String {
    format!("fg-{tenant}-0")
}

/// An order that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Of the lease under which it was given.
    pub(super) fence: u64,
    /// Another one for each order: whoever undoes one undoes no other.
    pub(super) nonce: u64,
}

impl Mark {
    /// # Errors
    /// The system gives no randomness.
    pub(super) fn new(fence: u64) -> Result<Self, getrandom::Error> {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce)?;
        Ok(Self { fence, nonce: u64::from_ne_bytes(nonce) })
    }

    /// Reads what `Display` writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (fence, nonce) = text.split_once('-')?;
        Some(Self { fence: fence.parse().ok()?, nonce: u64::from_str_radix(nonce, 16).ok()? })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.fence, self.nonce)
    }
}

/// A member's name as a JSON Pointer has it (RFC 6901).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
