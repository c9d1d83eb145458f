//! Refusals where access tokens are issued, revoked and looked into, in the words of RFC 6749 section
//! 5.2 and RFC 7009 section 2.2.1. Their body is that of these standards and no problem.

use http::StatusCode;
use serde_json::json;

/// What is wrong. The texts are told to the client; they are ours, not theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthRefusal {
    /// A parameter is missing, appears twice, or is malformed; or there are two credentials.
    InvalidRequest(&'static str),
    /// The application is unknown, or its secret is wrong or missing; the log is told which.
    InvalidClient(&'static str),
    /// The token was issued to another application.
    InvalidGrant,
    /// No such way to get a token.
    UnsupportedGrantType,
    /// The scope is malformed, unknown, or more than the application has.
    InvalidScope(&'static str),
    /// Too many wrong secrets.
    TooManyAttempts {
        /// How long the next one has to wait.
        wait_seconds: u32,
    },
    /// It cannot be done now; the log is told why.
    Unavailable(&'static str),
}

impl OAuthRefusal {
    /// One of each face.
    pub(super) fn samples() -> impl Iterator<Item = Self> {
        [
            Self::InvalidRequest("grant_type is missing"),
            Self::InvalidClient("unknown application"),
            Self::InvalidGrant,
            Self::UnsupportedGrantType,
            Self::InvalidScope("The application has no such subscription."),
            Self::TooManyAttempts { wait_seconds: 64 },
            Self::Unavailable("there is no sealing key"),
        ]
        .into_iter()
    }

    /// The `error` of the body.
    #[must_use]
    pub fn error(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope(_) => "invalid_scope",
            Self::TooManyAttempts { .. } | Self::Unavailable(_) => "temporarily_unavailable",
        }
    }

    /// The `error_description`; neither quotes nor backslashes (RFC 6749 section 5.2).
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(what) | Self::InvalidScope(what) => what,
            Self::InvalidClient(_) => "The consumer key or secret is missing or wrong.",
            Self::InvalidGrant => "The token was issued to another application.",
            Self::UnsupportedGrantType => "The only grant_type is client_credentials.",
            Self::TooManyAttempts { .. } => {
                "There were too many wrong secrets from this address. Wait before the next one."
            }
            Self::Unavailable(_) => "This cannot be done at present.",
        }
    }

    pub(super) fn why(self) -> &'static str {
        match self {
            Self::InvalidClient(why) | Self::Unavailable(why) => why,
            other => other.description(),
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient(_) => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "oauth_invalid_request",
            Self::InvalidClient(_) => "oauth_invalid_client",
            Self::InvalidGrant => "oauth_invalid_grant",
            Self::UnsupportedGrantType => "oauth_unsupported_grant_type",
            Self::InvalidScope(_) => "oauth_invalid_scope",
            Self::TooManyAttempts { .. } => "oauth_too_many_attempts",
            Self::Unavailable(_) => "oauth_unavailable",
        }
    }

    pub(super) fn body(self) -> String {
        let body = json!({ "error": self.error(), "error_description": self.description() });
        format!("{body}\n")
    }
}
