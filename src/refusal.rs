//! Every "no" that a client can get: status and public text for them, detail for the log.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::plan::{Limit, Quota};
use crate::tenant::Username;

mod consumers;
mod faces;
mod insiders;
mod labels;
mod oauth;
mod operators;
mod response;

pub use consumers::ConsumerRefusal;
pub use labels::LABELS;
pub use oauth::OAuthRefusal;
pub use operators::OperatorRefusal;
pub use response::wants_page;

/// Somebody has to set one up first.
const NO_RUNTIME_RETRY_SECONDS: u32 = 60;
/// Some of an hour's logins have to be over.
const LOGINS_RETRY_SECONDS: u32 = 600;

/// A request that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The path, the Host or another header is malformed; the text is ours, not the client's.
    Malformed(&'static str),
    /// The body is over the limit.
    BodyTooLarge,
    /// A service worker's script on the bare host, whose scope would be other tenants' pages.
    ServiceWorker,
    /// The path is longer than any that is relayed.
    PathTooLong,
    /// Path and query together are over the limit.
    UrlTooLong,
    /// The request's head is over the limit.
    HeadersTooLarge,
    /// It asks for an upgrade to WebSocket, but not as RFC 6455 section 4.1 says.
    BadHandshake(&'static str),
    /// Another version of the protocol than 13 (RFC 6455 section 4.4).
    WebSocketVersion,
    /// Credentials of two different identities.
    TwoIdentities,
    /// A private row without a credential that could open it.
    NoCredential,
    /// A credential that opens nothing; the members are for the log and the tenant alone.
    WrongCredential {
        /// Why it opens nothing.
        why: &'static str,
        /// Since when, where it did once and that is known.
        since: Option<UnixMillis>,
        /// Whose it was said to be, if there is such a tenant: other text may be a slipped password.
        claimed: Option<Username>,
    },
    /// A page of ours or the editor without a browser session.
    NoSession,
    /// A form without its token, or with one that is too old.
    StaleForm,
    /// A login on a name where a session would not be safe: it takes TLS.
    LoginNeedsTls,
    /// The way from a session to a tenant host was not taken to its end, or by somebody else.
    BadHandover,
    /// More sessions were begun for one account than anybody needs.
    TooManyLogins,
    /// Too many wrong passwords: of this name from this address, or from this address.
    TooManyAttempts {
        /// How long the next one has to wait.
        wait_seconds: u32,
    },
    /// A right credential of somebody else.
    WrongTenant,
    /// A browser's ambient credential, used by a page that is not allowed to.
    ForeignOrigin,
    /// No such tenant, row or path.
    NotFound(&'static str),
    /// The plan's connections are all in use.
    PlanConnections {
        /// The limit.
        connections_max: u32,
    },
    /// The plan's handshakes or requests are used up for now.
    PlanRate {
        /// Which limit.
        limit: Limit,
        /// How much it allows.
        quota: Quota,
        /// After how many seconds there is one more.
        retry_seconds: u32,
    },
    /// flowgate has too much to do; what exactly is for the log.
    Overloaded(&'static str),
    /// The registry cannot be asked, and what it would have to say is not known here.
    RegistryAway(String),
    /// The registry broke off in a write; it may have been done.
    UnknownOutcome(String),
    /// The replica that has a connection did not answer; it may have closed it.
    ReplicaSilent(String),
    /// The key does not open this path.
    OutOfScope,
    /// An API key where only the password may.
    PasswordOnly,
    /// The old password that was given along with a new one is wrong.
    WrongOldPassword,
    /// A request to flowgate itself that makes no sense; the text says why.
    BadInput(String),
    /// The same name twice, or the like; the text says what.
    Conflicting(&'static str),
    /// This address knows other methods: these.
    MethodNotAllowed(String),
    /// The grant ended before the request was served.
    GrantEnded(Cause),
    /// A credential that a published API asks for.
    Consumer(ConsumerRefusal),
    /// What is wrong with a request where access tokens are issued.
    OAuth(OAuthRefusal),
    /// The published API is blocked for the time being.
    ApiBlocked,
    /// It was understood, but cannot be as things are; the text says why.
    Unprocessable(&'static str),
    /// The tenant has no runtime at present.
    NoRuntime,
    /// The runtime is being woken, and that takes longer than is waited for.
    Waking,
    /// The runtime sleeps, and this grant does not wake it.
    RuntimeAsleep,
    /// The runtime does not start.
    RuntimeFailed {
        /// Why, for its tenant.
        why: String,
        /// After so many seconds it may be tried again.
        retry_seconds: u32,
    },
    /// The runtime's address is one that is never dialled; which and why is for the log.
    RuntimeDenied(String),
    /// The runtime could not be reached or broke the connection.
    RuntimeUnreachable(String),
    /// The runtime's certificate is not to be trusted; why is for the log.
    RuntimeCertificate(String),
    /// The runtime's answer was no valid HTTP or no valid handshake.
    RuntimeBroke(String),
    /// The runtime did not answer in time.
    RuntimeTimedOut(&'static str),
    /// What only operators are told, on their own listener.
    Operator(OperatorRefusal),
}

impl Refusal {
    /// [`Refusal::TooManyAttempts`] for a wait; in whole seconds, so that who waits them does not come
    /// too early.
    #[must_use]
    pub fn attempts(wait: Duration) -> Self {
        let wait_seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Self::TooManyAttempts { wait_seconds: wait_seconds.max(1) }
    }

    /// One of each face, for tables and tests.
    #[must_use]
    pub fn samples() -> Vec<Self> {
        vec![
            Self::Malformed("The path is malformed."),
            Self::PathTooLong,
            Self::UrlTooLong,
            Self::HeadersTooLarge,
            Self::BodyTooLarge,
            Self::ServiceWorker,
            Self::BadHandshake("A handshake has no body."),
            Self::WebSocketVersion,
            Self::TwoIdentities,
            Self::NoCredential,
            Self::WrongCredential { why: "wrong password", since: None, claimed: None },
            Self::NoSession,
            Self::StaleForm,
            Self::LoginNeedsTls,
            Self::BadHandover,
            Self::TooManyLogins,
            Self::TooManyAttempts { wait_seconds: 64 },
            Self::WrongTenant,
            Self::ForeignOrigin,
            Self::NotFound("no such tenant"),
            Self::PlanConnections { connections_max: 100 },
            Self::PlanRate {
                limit: Limit::HandshakesPerMinute,
                quota: Quota::from(60),
                retry_seconds: 1,
            },
            Self::PlanRate {
                limit: Limit::RequestsPerSecond,
                quota: Quota { limit: 10, burst: Some(20) },
                retry_seconds: 1,
            },
            Self::Overloaded("the relay threads are behind"),
            Self::GrantEnded(Cause::Drain),
            Self::GrantEnded(Cause::KeyRegenerated),
            Self::GrantEnded(Cause::ClosedByOwner),
            Self::NoRuntime,
            Self::GrantEnded(Cause::RuntimeMoved),
            Self::Waking,
            Self::RuntimeAsleep,
            Self::RuntimeFailed { why: "it ended: exit status: 1".into(), retry_seconds: 4 },
            Self::RuntimeDenied("169.254.1.1:1880: a link-local address".into()),
            Self::RuntimeUnreachable("10.0.0.1:1880: Connection refused".into()),
            Self::RuntimeCertificate("10.0.0.1:1880: certificate expired".into()),
            Self::RuntimeBroke("invalid HTTP version parsed".into()),
            Self::RuntimeTimedOut("no answer to the handshake"),
            Self::RegistryAway("disk is full".into()),
            Self::UnknownOutcome("disk is full".into()),
            Self::ReplicaSilent("host-2 (pid 7) did not answer".into()),
            Self::OutOfScope,
            Self::PasswordOnly,
            Self::WrongOldPassword,
            Self::BadInput("The name must not be empty.".into()),
            Self::Conflicting("There is a key of that name."),
            Self::MethodNotAllowed("GET,HEAD".into()),
            Self::ApiBlocked,
            Self::Unprocessable("There is no sealing key."),
        ]
        .into_iter()
        .chain(ConsumerRefusal::samples().map(Self::Consumer))
        .chain(OAuthRefusal::samples().map(Self::OAuth))
        .collect()
    }
}

/// The fixed face of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Face {
    status: StatusCode,
    /// Stable; the problem's `code` and the metric's label.
    label: &'static str,
    public: &'static str,
}

const fn face(status: StatusCode, label: &'static str, public: &'static str) -> Face {
    Face { status, label, public }
}

impl Refusal {
    /// The status sent.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.face().status
    }

    /// A stable name for metrics, logs and programs.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.face().label
    }

    /// What the client may know.
    #[must_use]
    pub fn public(&self) -> Cow<'static, str> {
        match self {
            Self::Malformed(what)
            | Self::BadHandshake(what)
            | Self::Conflicting(what)
            | Self::Unprocessable(what) => (*what).into(),
            Self::BadInput(what) => what.clone().into(),
            Self::Consumer(refusal) => refusal.message().into(),
            Self::OAuth(refusal) => refusal.description().into(),
            Self::Operator(refusal) => refusal.public(),
            Self::PlanConnections { connections_max } => {
                format!("The plan allows {connections_max} connections at once.").into()
            }
            Self::PlanRate { limit, quota, .. } => faces::rate_in_words(*limit, quota.limit).into(),
            _ => self.face().public.into(),
        }
    }

    /// After how many seconds another attempt makes sense.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::PlanConnections { .. } => Some(10),
            Self::PlanRate { retry_seconds, .. } | Self::RuntimeFailed { retry_seconds, .. } => {
                Some(*retry_seconds)
            }
            Self::NoRuntime | Self::RuntimeAsleep | Self::ApiBlocked => {
                Some(NO_RUNTIME_RETRY_SECONDS)
            }
            Self::TooManyLogins => Some(LOGINS_RETRY_SECONDS),
            Self::TooManyAttempts { wait_seconds }
            | Self::OAuth(OAuthRefusal::TooManyAttempts { wait_seconds }) => Some(*wait_seconds),
            Self::OAuth(OAuthRefusal::Unavailable(_)) => Some(NO_RUNTIME_RETRY_SECONDS),
            Self::Overloaded(_) | Self::RegistryAway(_) | Self::ReplicaSilent(_) => Some(2),
            Self::Waking => Some(2),
            Self::GrantEnded(cause) if !faces::takes_the_credential(*cause) => Some(1),
            _ => None,
        }
    }

    fn face(&self) -> Face {
        use StatusCode as S;
        const WRONG: Face =
            face(S::UNAUTHORIZED, "wrong_credential", "The credential is missing or wrong.");
        match self {
            Self::Malformed(_) => face(S::BAD_REQUEST, "malformed", ""),
            Self::BodyTooLarge
            | Self::NotFound(_)
            | Self::WebSocketVersion
            | Self::HeadersTooLarge
            | Self::ServiceWorker
            | Self::UrlTooLong
            | Self::PathTooLong => self.face_of_the_rest(),
            Self::BadHandshake(_) => face(S::BAD_REQUEST, "bad_handshake", ""),
            Self::TwoIdentities => face(
                S::BAD_REQUEST,
                "two_identities",
                "The request carries credentials of two different identities.",
            ),
            Self::NoCredential | Self::WrongCredential { .. } => WRONG,
            // Whose grant ended in mid-handshake is told what a new handshake would be told.
            Self::GrantEnded(Cause::Drain) => {
                face(S::SERVICE_UNAVAILABLE, "draining", "The server is shutting down.")
            }
            Self::GrantEnded(Cause::RuntimeMoved) | Self::NoRuntime => self.face_of_the_rest(),
            Self::GrantEnded(cause) if faces::takes_the_credential(*cause) => {
                Face { label: "grant_ended", ..WRONG }
            }
            // Never 401: devices give up for good on it, and their credential is as good as before.
            Self::GrantEnded(_) => {
                face(S::SERVICE_UNAVAILABLE, "closed", "The connection was closed; try again.")
            }
            Self::Operator(refusal) => {
                Face { status: refusal.status(), label: refusal.label(), public: "" }
            }
            Self::OAuth(_)
            | Self::StaleForm
            | Self::LoginNeedsTls
            | Self::BadHandover
            | Self::NoSession
            | Self::TooManyAttempts { .. }
            | Self::TooManyLogins => self.face_of_a_login(),
            Self::WrongTenant | Self::ForeignOrigin => self.face_of_a_stranger(),
            Self::PlanConnections { .. } | Self::PlanRate { .. } | Self::Overloaded(_) => {
                self.face_of_a_limit()
            }
            Self::RegistryAway(_)
            | Self::UnknownOutcome(_)
            | Self::ReplicaSilent(_)
            | Self::ApiBlocked
            | Self::Consumer(_)
            | Self::Unprocessable(_)
            | Self::OutOfScope
            | Self::PasswordOnly
            | Self::WrongOldPassword
            | Self::BadInput(_)
            | Self::Conflicting(_)
            | Self::MethodNotAllowed(_) => self.face_of_the_rest(),
            Self::RuntimeDenied(_)
            | Self::RuntimeUnreachable(_)
            | Self::RuntimeCertificate(_)
            | Self::RuntimeBroke(_)
            | Self::RuntimeTimedOut(_)
            | Self::Waking
            | Self::RuntimeAsleep
            | Self::RuntimeFailed { .. } => self.face_of_the_runtime(),
        }
    }
}
