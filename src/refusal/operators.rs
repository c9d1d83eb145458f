//! Refusals of the operators' listener.

use std::borrow::Cow;

use http::StatusCode;

/// A request of an operator's that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorRefusal {
    /// No admin token is configured, so nobody can have the right one.
    NoTokens,
    /// The token is missing, unknown or in the wrong place.
    Token,
    /// The ticket for a live feed is missing, unknown, used, over, or of another page.
    Ticket,
    /// The token's role may not do this.
    Role {
        /// The role that may.
        needed: &'static str,
    },
    /// The Host is none of the listener's: a page may have pointed its own name here.
    Host,
    /// There is no such tenant, plan, key, …
    Missing(&'static str),
    /// An instance's address is one that is never dialled; the text says which and why.
    AddressDenied(String),
    /// It has another revision than the request expects.
    Stale {
        /// The one it has.
        revision: u64,
    },
    /// The request has to say which revision it expects.
    Unconditional,
}

impl OperatorRefusal {
    /// One of each, for tables and tests.
    #[must_use]
    pub fn samples() -> Vec<Self> {
        vec![
            Self::NoTokens,
            Self::Token,
            Self::Ticket,
            Self::Role { needed: "admin" },
            Self::Host,
            Self::Missing("There is no such tenant."),
            Self::AddressDenied("169.254.1.1 is a link-local address".to_owned()),
            Self::Stale { revision: 7 },
            Self::Unconditional,
        ]
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoTokens | Self::Role { .. } => StatusCode::FORBIDDEN,
            Self::Token | Self::Ticket => StatusCode::UNAUTHORIZED,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::AddressDenied(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stale { .. } => StatusCode::PRECONDITION_FAILED,
            Self::Unconditional => StatusCode::PRECONDITION_REQUIRED,
        }
    }

    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NoTokens => "no_admin_tokens",
            Self::Token => "wrong_admin_token",
            Self::Ticket => "wrong_feed_ticket",
            Self::Role { .. } => "wrong_role",
            Self::Host => "wrong_host",
            Self::Missing(_) => "missing",
            Self::AddressDenied(_) => "address_denied",
            Self::Stale { .. } => "stale_revision",
            Self::Unconditional => "revision_needed",
        }
    }

    pub(super) fn public(&self) -> Cow<'static, str> {
        match self {
            Self::NoTokens => "No admin token is configured: set admin_tokens_file or \
                 FLOWGATE_ADMIN_TOKENS. 'flowgate admin-token' makes one."
                .into(),
            Self::Token => "An admin token is needed, as Authorization: Bearer.".into(),
            Self::Ticket => "A fresh ticket of POST /admin/v1/feed-tickets is needed.".into(),
            Self::Role { needed } => format!("The token's role is not enough: {needed} is.").into(),
            Self::Host => "This listener has another name; see admin_hosts.".into(),
            Self::Missing(what) => (*what).into(),
            Self::AddressDenied(what) => format!("instance.address: {what}.").into(),
            Self::Stale { revision } => {
                format!("It was changed meanwhile: its revision is {revision}.").into()
            }
            Self::Unconditional => "If-Match must say which revision is meant, or *.".into(),
        }
    }
}
