//! The faces of refusals that have to do with one thing each.

use http::StatusCode;

use super::{Face, Refusal, face};
use crate::close::Cause;
use crate::plan::Limit;

impl Refusal {
    /// What the runtime did, or did not.
    pub(super) fn face_of_the_runtime(&self) -> Face {
        use StatusCode as S;
        match self {
            Self::RuntimeDenied(_) => {
                face(S::BAD_GATEWAY, "runtime_denied", "The runtime's address is not allowed here.")
            }
            Self::RuntimeUnreachable(_) => {
                face(S::BAD_GATEWAY, "runtime_unreachable", "The runtime cannot be reached.")
            }
            Self::RuntimeCertificate(_) => face(
                S::BAD_GATEWAY,
                "runtime_certificate",
                "The runtime's certificate is not trusted.",
            ),
            Self::Waking => {
                face(S::SERVICE_UNAVAILABLE, "waking", "The runtime is being started; try again.")
            }
            Self::RuntimeAsleep => face(
                S::SERVICE_UNAVAILABLE,
                "asleep",
                "The runtime is asleep, and this request does not wake it.",
            ),
            Self::RuntimeFailed { .. } => {
                face(S::SERVICE_UNAVAILABLE, "start_failed", "The runtime could not be started.")
            }
            Self::RuntimeBroke(_) => {
                face(S::BAD_GATEWAY, "runtime_broke", "The runtime's answer was not understood.")
            }
            _ => face(S::GATEWAY_TIMEOUT, "runtime_timeout", "The runtime did not answer in time."),
        }
    }

    /// Whose credential is right, but not for them here.
    pub(super) fn face_of_a_stranger(&self) -> Face {
        match self {
            Self::WrongTenant => face(
                StatusCode::FORBIDDEN,
                "wrong_tenant",
                "The credential is right, but does not open this tenant's runtime.",
            ),
            _ => face(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "A page of another origin may not use this credential.",
            ),
        }
    }

    /// What has to do with sessions, and with where access tokens are issued.
    pub(super) fn face_of_a_login(&self) -> Face {
        use StatusCode as S;
        match self {
            Self::OAuth(refusal) => face(refusal.status(), refusal.label(), ""),
            Self::NoSession => face(
                S::UNAUTHORIZED,
                "no_session",
                "This opens with a browser session only: log in first.",
            ),
            Self::StaleForm => face(
                S::FORBIDDEN,
                "stale_form",
                "The form is too old, or the browser keeps no cookies. Go back, reload, try again.",
            ),
            Self::LoginNeedsTls => face(
                S::FORBIDDEN,
                "login_needs_tls",
                "Logging in takes HTTPS here, or the name localhost.",
            ),
            Self::BadHandover => face(
                S::FORBIDDEN,
                "bad_handover",
                "This link was good once, for one browser. Open the editor again.",
            ),
            Self::TooManyAttempts { .. } => face(
                S::TOO_MANY_REQUESTS,
                "too_many_attempts",
                "There were too many wrong passwords from this address. Wait before the next one.",
            ),
            _ => face(
                S::TOO_MANY_REQUESTS,
                "too_many_logins",
                "There were too many logins to this account within the last hour.",
            ),
        }
    }

    /// A plan's limit, or flowgate's own.
    pub(super) fn face_of_a_limit(&self) -> Face {
        use StatusCode as S;
        match self {
            Self::PlanConnections { .. } => face(S::TOO_MANY_REQUESTS, "plan_connections", ""),
            Self::PlanRate { limit: Limit::RequestsPerSecond, .. } => {
                face(S::TOO_MANY_REQUESTS, "plan_requests", "")
            }
            Self::PlanRate { .. } => face(S::TOO_MANY_REQUESTS, "plan_handshakes", ""),
            _ => face(S::SERVICE_UNAVAILABLE, "overloaded", "The server has too much to do."),
        }
    }

    /// What has to do with sizes, with the registry, and with flowgate's own pages.
    pub(super) fn face_of_the_rest(&self) -> Face {
        use StatusCode as S;
        match self {
            Self::BodyTooLarge => {
                face(S::PAYLOAD_TOO_LARGE, "body_too_large", "The body is over the limit.")
            }
            Self::ServiceWorker => face(
                S::FORBIDDEN,
                "service_worker",
                "Service workers are for the tenant's own host, not for this one.",
            ),
            Self::WebSocketVersion => face(
                S::UPGRADE_REQUIRED,
                "websocket_version",
                "Only version 13 of the WebSocket protocol is spoken here.",
            ),
            Self::NotFound(_) => {
                face(S::NOT_FOUND, "not_found", "There is nothing at this address.")
            }
            Self::HeadersTooLarge => face(
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_large",
                "The headers are over the limit.",
            ),
            Self::PathTooLong => face(S::URI_TOO_LONG, "path_too_long", "The path is too long."),
            Self::UrlTooLong => {
                face(S::URI_TOO_LONG, "url_too_long", "Path and query are too long.")
            }
            Self::GrantEnded(_) => face(
                S::SERVICE_UNAVAILABLE,
                "runtime_moved",
                "The runtime restarts or moved; try again.",
            ),
            Self::NoRuntime => {
                face(S::SERVICE_UNAVAILABLE, "no_runtime", "No runtime is set up for this account.")
            }
            Self::RegistryAway(_) => {
                face(S::SERVICE_UNAVAILABLE, "registry_away", "The registry cannot be asked.")
            }
            Self::UnknownOutcome(_) => face(
                S::SERVICE_UNAVAILABLE,
                "unknown_outcome",
                "It is not known whether the change was made. Look, and try again.",
            ),
            Self::ReplicaSilent(_) => face(
                S::SERVICE_UNAVAILABLE,
                "replica_silent",
                "It is not known whether the connection was closed. Try again.",
            ),
            Self::OutOfScope => {
                face(S::FORBIDDEN, "out_of_scope", "The API key does not open this path.")
            }
            Self::PasswordOnly => {
                face(S::FORBIDDEN, "password_only", "An API key does not open the profile.")
            }
            Self::WrongOldPassword => {
                face(S::FORBIDDEN, "wrong_old_password", "The old password is wrong.")
            }
            Self::ApiBlocked => face(
                S::SERVICE_UNAVAILABLE,
                "api_blocked",
                "The API is blocked for the time being.",
            ),
            Self::Consumer(refusal) => face(refusal.status(), refusal.label(), ""),
            Self::Unprocessable(_) => face(S::UNPROCESSABLE_ENTITY, "unprocessable", ""),
            Self::Conflicting(_) => face(S::CONFLICT, "conflict", ""),
            Self::MethodNotAllowed(_) => {
                face(S::METHOD_NOT_ALLOWED, "method_not_allowed", "Another method is needed here.")
            }
            _ => face(S::BAD_REQUEST, "bad_input", ""),
        }
    }
}

/// Which limit of a plan is reached.
pub(super) fn rate_in_words(limit: Limit, most: u64) -> String {
    match limit {
        Limit::RequestsPerSecond => format!("The plan allows {most} requests a second."),
        _ => format!("The plan allows {most} handshakes a minute."),
    }
}

/// Whether a handshake that ended so would be answered 401 if it came again.
pub(super) fn takes_the_credential(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::KeyRegenerated
            | Cause::KeyExpired
            | Cause::KeyRevoked
            | Cause::PasswordChanged
            | Cause::SessionEnded
            | Cause::SessionExpired
            | Cause::TenantDisabled
            | Cause::ConsumerRevoked
            | Cause::TokenExpired
            | Cause::TokenRevoked
            | Cause::SubscriptionEnded
            | Cause::SecretRegenerated
    )
}
