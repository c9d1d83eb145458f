//! What others than the client are told: its tenant, and the log.

use std::fmt;

use super::Refusal;

impl Refusal {
    /// What the tenant may know whose credential or runtime it is about: more than a client, but
    /// nothing of addresses and of flowgate's own troubles, which are for the log.
    #[must_use]
    pub fn for_tenant(&self) -> String {
        match self {
            Self::WrongCredential { .. }
            | Self::NotFound(_)
            | Self::GrantEnded(_)
            | Self::RuntimeFailed { .. } => self.to_string(),
            _ => self.public().into_owned(),
        }
    }
}

/// For the log: what the public text leaves out.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredential => f.write_str("no credential"),
            Self::Consumer(refusal) => f.write_str(refusal.why()),
            Self::OAuth(refusal) => f.write_str(refusal.why()),
            Self::WrongCredential { why, .. }
            | Self::NotFound(why)
            | Self::Overloaded(why)
            | Self::RuntimeTimedOut(why) => f.write_str(why),
            Self::GrantEnded(cause) => write!(f, "grant ended: {}", cause.reason()),
            Self::RuntimeFailed { why, .. }
            | Self::RuntimeDenied(why)
            | Self::RuntimeUnreachable(why)
            | Self::RuntimeCertificate(why)
            | Self::RuntimeBroke(why)
            | Self::RegistryAway(why)
            | Self::UnknownOutcome(why)
            | Self::ReplicaSilent(why) => f.write_str(why),
            other => f.write_str(&other.public()),
        }
    }
}
