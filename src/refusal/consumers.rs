//! Refusals of calls of published APIs. The messages are those that APISIX's authentication plugins
//! give, so that whoever comes from there finds the same texts.

use http::StatusCode;

/// A call without the credential that the API asks for, or with a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerRefusal {
    /// No key.
    MissingKey,
    /// A key of nobody's.
    InvalidKey,
    /// No Basic credential.
    MissingBasic,
    /// An Authorization header that is no Basic credential.
    MalformedBasic,
    /// A wrong name or password.
    InvalidBasic,
    /// No token.
    MissingToken,
    /// It is none, or demands what is not known here; the log is told which.
    MalformedToken(&'static str),
    /// Its signature, algorithm or time is wrong; the log is told which.
    InvalidToken(&'static str),
    /// It names no consumer.
    UnknownToken(&'static str),
    /// No access token of an application's.
    MissingAccessToken,
    /// It opens nothing, or nothing any more; the log is told why.
    InvalidAccessToken(&'static str),
    /// The application may not call this API, or the token is for others.
    NotSubscribed,
    /// The API's owner has blocked the subscription.
    SubscriptionBlocked,
}

impl ConsumerRefusal {
    /// One of each.
    pub(super) fn samples() -> impl Iterator<Item = Self> {
        [
            Self::MissingKey,
            Self::InvalidKey,
            Self::MissingBasic,
            Self::MalformedBasic,
            Self::InvalidBasic,
            Self::MissingToken,
            Self::MalformedToken("the token is malformed"),
            Self::InvalidToken("the token expired"),
            Self::UnknownToken("no consumer has the token's key"),
            Self::MissingAccessToken,
            Self::InvalidAccessToken("token expired"),
            Self::NotSubscribed,
            Self::SubscriptionBlocked,
        ]
        .into_iter()
    }

    /// What the client is told; stable.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::MissingKey => "Missing API key in request",
            Self::InvalidKey => "Invalid API key in request",
            Self::MissingBasic => "Missing authorization in request",
            Self::MalformedBasic => "Invalid authorization in request",
            Self::InvalidBasic => "Invalid user authorization",
            Self::MissingToken => "Missing JWT token in request",
            Self::MalformedToken(_) => "JWT token invalid",
            Self::InvalidToken(_) => "failed to verify jwt",
            Self::UnknownToken(_) => "Invalid user key in JWT token",
            Self::MissingAccessToken => "Missing access token in request",
            Self::InvalidAccessToken(_) => "Invalid access token in request",
            Self::NotSubscribed => "The application is not subscribed to this API",
            Self::SubscriptionBlocked => "The API's owner has blocked the subscription",
        }
    }

    /// What the log is told.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::MalformedToken(why)
            | Self::InvalidToken(why)
            | Self::UnknownToken(why)
            | Self::InvalidAccessToken(why) => why,
            other => other.message(),
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NotSubscribed | Self::SubscriptionBlocked => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::MissingKey
            | Self::MissingBasic
            | Self::MissingToken
            | Self::MissingAccessToken => "missing_consumer_credential",
            Self::NotSubscribed => "not_subscribed",
            Self::SubscriptionBlocked => "subscription_blocked",
            _ => "wrong_consumer_credential",
        }
    }

    /// How the credential is asked for (RFC 9110 section 11.6.1). Key has no registered scheme.
    pub(super) fn challenge(self) -> &'static str {
        match self {
            Self::MissingKey | Self::InvalidKey => "Key realm=\"flowgate\"",
            Self::MissingBasic | Self::MalformedBasic | Self::InvalidBasic => {
                "Basic realm=\"flowgate\", charset=\"UTF-8\""
            }
            Self::MissingToken | Self::MissingAccessToken => "Bearer realm=\"flowgate\"",
            Self::MalformedToken(_)
            | Self::InvalidToken(_)
            | Self::UnknownToken(_)
            | Self::InvalidAccessToken(_) => "Bearer realm=\"flowgate\", error=\"invalid_token\"",
            Self::NotSubscribed | Self::SubscriptionBlocked => {
                "Bearer realm=\"flowgate\", error=\"insufficient_scope\""
            }
        }
    }
}
