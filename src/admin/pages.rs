//! Pages of lists, and conditions on revisions.

use axum::extract::FromRequestParts;
use http::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::refusal::{OperatorRefusal, Refusal};

const LIMIT_MAX: usize = 1000;
const LIMIT_DEFAULT: usize = 100;
const AFTER_BYTES_MAX: usize = 128;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    pub after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

impl PageQuery {
    pub fn page(self) -> Result<(Option<String>, usize), Refusal> {
        page(self.after, self.limit)
    }
}

/// A page that can be.
pub(super) fn page(
    after: Option<String>,
    limit: Option<usize>,
) -> Result<(Option<String>, usize), Refusal> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refusal::BadInput("limit must be 1 to 1000.".to_owned()));
    }
    if after.as_ref().is_some_and(|after| after.is_empty() || after.len() > AFTER_BYTES_MAX) {
        return Err(Refusal::BadInput("after must be what a page said as next.".to_owned()));
    }
    Ok((after, limit))
}

/// What a request expects of what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing is said.
    Unsaid,
    /// `If-None-Match: *`: there is none yet.
    Absent,
    /// `If-Match: *`: there is one.
    Present,
    /// `If-Match: "7"`: it is at this revision.
    Revision(u64),
}

impl Condition {
    /// Whether something at this revision is what is meant.
    pub fn meets(self, revision: u64) -> Result<(), Refusal> {
        match self {
            Self::Present => Ok(()),
            Self::Revision(expected) if expected == revision => Ok(()),
            Self::Unsaid => Err(Refusal::Operator(OperatorRefusal::Unconditional)),
            Self::Revision(_) | Self::Absent => {
                Err(Refusal::Operator(OperatorRefusal::Stale { revision }))
            }
        }
    }

    /// Whether something that is not there may be made.
    pub fn allows_creation(self) -> Result<(), Refusal> {
        match self {
            Self::Unsaid | Self::Absent => Ok(()),
            Self::Present | Self::Revision(_) => {
                Err(Refusal::Operator(OperatorRefusal::Stale { revision: 0 }))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Condition {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let bad = |what: &str| Refusal::BadInput(what.to_owned());
        let single = |name: &HeaderName| {
            let mut values = parts.headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (value, None) => Ok(value.map(|value| value.as_bytes().trim_ascii())),
                _ => Err(bad("There is a condition twice.")),
            }
        };
        match (single(&IF_MATCH)?, single(&IF_NONE_MATCH)?) {
            (None, None) => Ok(Self::Unsaid),
            (None, Some(b"*")) => Ok(Self::Absent),
            (Some(b"*"), None) => Ok(Self::Present),
            (Some(tag), None) => {
                let tag = std::str::from_utf8(tag).ok();
                let tag = tag.and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
                let revision = tag.and_then(|tag| tag.parse().ok()).map(Self::Revision);
                revision.ok_or_else(|| bad("If-Match must be * or one ETag of an answer."))
            }
            _ => Err(bad("Give If-Match, or If-None-Match: *.")),
        }
    }
}

/// The `ETag` of a revision.
pub(super) fn tag(revision: u64) -> [(HeaderName, HeaderValue); 1] {
    let tag = HeaderValue::from_str(&format!("\"{revision}\""));
    [(ETAG, tag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")))]
}
