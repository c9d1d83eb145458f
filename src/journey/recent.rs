//! The refusals of a short while ago, for operators to look at.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::trail::Trail;
use crate::client::{Client, RequestId};
use crate::clock::UnixMillis;
use crate::path::visible;
use crate::refusal::Refusal;
use crate::tenant::Username;

/// How many are kept; the oldest go.
pub const KEPT_MAX: usize = 1000;
/// Of a path, or a reason, that is longer: a runtime's certificate may give one of many KiB.
const TEXT_CHARACTERS_MAX: usize = 256;

/// One refusal: no more than the log has of it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Counts up from the start of the process.
    pub number: u64,
    /// When.
    pub at: UnixMillis,
    /// Which request.
    pub request_id: RequestId,
    /// From where.
    pub client: String,
    /// Whose runtime it was for, or whose credential it was said to be, where that is known.
    pub tenant: Option<Username>,
    /// The row, as far as it was found.
    pub row: &'static str,
    /// The path, without query, as [`visible`] has it.
    pub path: String,
    /// What was refused.
    pub is_handshake: bool,
    /// The status.
    pub status: u16,
    /// The label.
    pub label: &'static str,
    /// Why, as the log has it.
    pub why: String,
    /// Why, as the tenant may know it.
    pub why_for_tenant: String,
    /// Since when a credential opens nothing that once did.
    pub since: Option<UnixMillis>,
}

/// The last ones.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    noted: u64,
    last: VecDeque<Refused>,
}

impl Recent {
    /// Notes one.
    pub fn note(
        &self,
        trail: &Trail,
        client: Client,
        is_handshake: bool,
        refusal: &Refusal,
        now: UnixMillis,
    ) {
        let (claimed, since) = match refusal {
            Refusal::WrongCredential { claimed, since, .. } => (claimed.clone(), *since),
            _ => (None, None),
        };
        let mut refused = Refused {
            number: 0,
            at: now,
            request_id: client.request_id,
            client: client.address.ip().to_canonical().to_string(),
            tenant: trail.tenant.clone().or(claimed),
            row: trail.row,
            path: visible(&trail.path).take(TEXT_CHARACTERS_MAX).collect(),
            is_handshake,
            status: refusal.status().as_u16(),
            label: refusal.label(),
            why: beginning(&refusal.to_string()),
            why_for_tenant: beginning(&refusal.for_tenant()),
            since,
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.noted += 1;
        refused.number = kept.noted;
        if kept.last.len() >= KEPT_MAX {
            kept.last.pop_front();
        }
        kept.last.push_back(refused);
    }

    /// Those before `before`, the newest first, that `is_wanted`; at most `limit`. And how many there
    /// have been in all.
    #[must_use]
    pub fn list(
        &self,
        before: u64,
        limit: usize,
        is_wanted: impl Fn(&Refused) -> bool,
    ) -> (Vec<Refused>, u64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let some = kept.last.iter().rev().filter(|refused| refused.number < before);
        (some.filter(|refused| is_wanted(refused)).take(limit).cloned().collect(), kept.noted)
    }

    /// How many there have been since the start of the process.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).noted
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}
