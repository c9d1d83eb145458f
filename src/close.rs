//! Why flowgate ends a live connection, and what both sides are told.
//!
//! The codes and reason texts are part of the wire behaviour: stable and documented in
//! `docs/wire.md`. A side that ends the connection itself is relayed verbatim and needs none of this.

/// What a peer did against RFC 6455; each is closed with 1002.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Violation {
    /// A client's frame without a mask, or a runtime's with one (section 5.1).
    Mask = 1,
    /// A reserved bit that no negotiated extension uses (section 5.2).
    ReservedBit,
    /// An opcode the protocol does not define (section 5.2).
    Opcode,
    /// A control frame longer than 125 bytes (section 5.5).
    ControlLength,
    /// A control frame in fragments (section 5.5).
    ControlFragment,
    /// A continuation without a message, or a new message inside one (section 5.4).
    Continuation,
    /// A 64-bit length with its most significant bit set (section 5.2).
    Length,
}

/// Why flowgate ends a connection. Stored as one byte in the live entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// flowgate is shutting down.
    Drain,
    /// A peer broke the protocol.
    Protocol(Violation),
    /// A message grew over the plan's wire size.
    MessageTooBig,
    /// A frame was begun and then left unfinished.
    FrameStalled,
    /// The API key that the connection rests on was replaced.
    KeyRegenerated,
    /// That key's time ran out.
    KeyExpired,
    /// That key was revoked.
    KeyRevoked,
    /// The password that the connection rests on was changed.
    PasswordChanged,
    /// The session that it rests on was ended: logged out.
    SessionEnded,
    /// That session's time ran out.
    SessionExpired,
    /// The tenant was disabled or removed.
    TenantDisabled,
    /// The tenant closed it from their profile.
    ClosedByOwner,
    /// An operator closed it.
    ClosedByOperator,
    /// The client takes no bytes.
    ClientStalled,
    /// The client answers no ping.
    ClientSilent,
    /// The runtime restarts or has a new address.
    RuntimeMoved,
    /// The runtime's socket ended without a Close frame.
    RuntimeGone,
    /// The runtime takes no bytes.
    RuntimeStalled,
    /// The runtime answers no ping.
    RuntimeSilent,
    /// The connection has lived as long as any may.
    LifetimeOver,
    /// The plan's message budget is used up, and the plan says to close.
    BudgetExhausted,
    /// The published API is blocked.
    ApiBlocked,
    /// It is retired, and the notice is over.
    ApiRetired,
    /// It was removed, or is published no more.
    ApiUnpublished,
    /// The consumer or their credential was removed or replaced, or the API takes it no more.
    ConsumerRevoked,
    /// The time of the consumer's token ran out.
    TokenExpired,
    /// The application's access token, or the key that signed it, was revoked.
    TokenRevoked,
    /// The application's subscription was removed, or the API takes no access tokens any more.
    SubscriptionEnded,
    /// The application's secret for which the token was issued was replaced.
    SecretRegenerated,
    /// The published API's owner has blocked the application's subscription.
    SubscriptionBlocked,
}

/// The plain causes in the order of their byte; violations follow from [`FIRST_VIOLATION`]. Replicas
/// of different versions tell each other these bytes: new causes go to the end.
const PLAIN: [Cause; 29] = [
    Cause::Drain,
    Cause::MessageTooBig,
    Cause::FrameStalled,
    Cause::KeyRegenerated,
    Cause::KeyExpired,
    Cause::PasswordChanged,
    Cause::TenantDisabled,
    Cause::ClosedByOwner,
    Cause::ClosedByOperator,
    Cause::ClientStalled,
    Cause::ClientSilent,
    Cause::RuntimeMoved,
    Cause::RuntimeGone,
    Cause::RuntimeStalled,
    Cause::BudgetExhausted,
    Cause::KeyRevoked,
    Cause::SessionEnded,
    Cause::SessionExpired,
    Cause::RuntimeSilent,
    Cause::LifetimeOver,
    Cause::ApiBlocked,
    Cause::ApiRetired,
    Cause::ApiUnpublished,
    Cause::ConsumerRevoked,
    Cause::TokenExpired,
    Cause::TokenRevoked,
    Cause::SubscriptionEnded,
    Cause::SecretRegenerated,
    Cause::SubscriptionBlocked,
];
const VIOLATIONS: [Violation; 7] = [
    Violation::Mask,
    Violation::ReservedBit,
    Violation::Opcode,
    Violation::ControlLength,
    Violation::ControlFragment,
    Violation::Continuation,
    Violation::Length,
];
const FIRST_VIOLATION: u8 = 100;

impl Cause {
    /// Every cause there is, for tables and tests.
    pub fn all() -> impl Iterator<Item = Self> {
        PLAIN.into_iter().chain(VIOLATIONS.into_iter().map(Self::Protocol))
    }

    /// The close code (RFC 6455 section 7.4; 1012 and 1014 from the IANA registry; 4008 our own).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Drain | Self::LifetimeOver => 1001,
            Self::Protocol(_) | Self::FrameStalled => 1002,
            Self::MessageTooBig => 1009,
            Self::KeyRegenerated
            | Self::KeyExpired
            | Self::KeyRevoked
            | Self::PasswordChanged
            | Self::SessionEnded
            | Self::SessionExpired
            | Self::TenantDisabled
            | Self::ClosedByOwner
            | Self::ClosedByOperator
            | Self::ApiBlocked
            | Self::ApiRetired
            | Self::ApiUnpublished
            | Self::ConsumerRevoked
            | Self::TokenExpired
            | Self::TokenRevoked
            | Self::SubscriptionEnded
            | Self::SecretRegenerated
            | Self::SubscriptionBlocked
            | Self::ClientStalled
            | Self::ClientSilent => 1008,
            Self::RuntimeMoved => 1012,
            Self::RuntimeGone | Self::RuntimeStalled | Self::RuntimeSilent => 1014,
            Self::BudgetExhausted => 4008,
        }
    }

    /// The reason text in the Close frame; at most 123 bytes (RFC 6455 section 5.5).
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Drain => "flowgate is shutting down",
            Self::MessageTooBig => "message over the plan's size",
            Self::FrameStalled => "frame left unfinished",
            Self::KeyRegenerated => "API key regenerated",
            Self::KeyExpired => "API key expired",
            Self::KeyRevoked => "API key revoked",
            Self::PasswordChanged => "password changed",
            Self::SessionEnded => "logged out",
            Self::SessionExpired => "session expired",
            Self::TenantDisabled => "tenant disabled",
            Self::ClosedByOwner => "closed by the tenant",
            Self::ClosedByOperator => "closed by an operator",
            Self::ClientStalled => "client stopped reading",
            Self::ClientSilent => "client answered no ping",
            Self::RuntimeMoved => "runtime restarts or moved",
            Self::RuntimeGone => "runtime vanished",
            Self::RuntimeStalled => "runtime stopped reading",
            Self::RuntimeSilent => "runtime answered no ping",
            Self::LifetimeOver => "connection is too old: connect again",
            Self::BudgetExhausted => "plan's message budget exhausted",
            Self::ApiBlocked => "API blocked",
            Self::ApiRetired => "API retired",
            Self::ApiUnpublished => "API not published any more",
            Self::ConsumerRevoked => "consumer's credential revoked",
            Self::TokenExpired => "token expired",
            Self::TokenRevoked => "token revoked",
            Self::SubscriptionEnded => "subscription ended",
            Self::SecretRegenerated => "consumer secret regenerated",
            Self::SubscriptionBlocked => "subscription blocked",
            Self::Protocol(Violation::Mask) => "protocol: wrong masking",
            Self::Protocol(Violation::ReservedBit) => "protocol: reserved bit set",
            Self::Protocol(Violation::Opcode) => "protocol: unknown opcode",
            Self::Protocol(Violation::ControlLength) => "protocol: control frame too long",
            Self::Protocol(Violation::ControlFragment) => "protocol: fragmented control frame",
            Self::Protocol(Violation::Continuation) => "protocol: wrong continuation",
            Self::Protocol(Violation::Length) => "protocol: impossible length",
        }
    }

    /// This cause as a nonzero byte, for an atomic; [`Cause::from_byte`] reads it back.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        let place = match self {
            Self::Protocol(violation) => return FIRST_VIOLATION + violation as u8,
            plain => PLAIN.iter().position(|cause| *cause == plain),
        };
        // A test walks `Cause::all`, so a cause that is missing from `PLAIN` cannot be released.
        u8::try_from(place.unwrap_or_default()).unwrap_or_default() + 1
    }

    /// The cause that `byte` stands for; `None` for zero, which means "not closing".
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte.checked_sub(FIRST_VIOLATION + 1) {
            Some(place) => VIOLATIONS.get(usize::from(place)).copied().map(Self::Protocol),
            None => PLAIN.get(usize::from(byte.checked_sub(1)?)).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_survives_its_byte_and_fits_a_close_frame() {
        let mut seen = std::collections::HashSet::new();
        for cause in Cause::all() {
            assert_eq!(Cause::from_byte(cause.to_byte()), Some(cause));
            assert!(seen.insert(cause.to_byte()), "{cause:?} shares its byte");
            assert!(!cause.reason().is_empty() && cause.reason().len() <= 123);
        }
        assert_eq!(Cause::from_byte(0), None);
        assert_eq!(Cause::from_byte(99), None);
        assert_eq!(Cause::from_byte(255), None);
    }
}
