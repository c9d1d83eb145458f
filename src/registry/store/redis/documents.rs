//! Documents, their indexes, and the feed.

use super::Redis;
use super::open::random;
use super::reply::{Reply, unreadable};
use super::scripts::{Arguments, FEED, FIND, GET, LIST, WRITE};
use crate::registry::store::error::StoreError;
use crate::registry::store::types::{Change, Document, Expected, FeedPage, Kind, Notice, Write};

/// A kind is part of keys, in front of what may contain the same character.
fn check_kind(kind: Kind) -> Result<(), StoreError> {
    if kind.0.contains(':') {
        return Err(StoreError::Invalid(format!("the kind {:?} has a colon", kind.0)));
    }
    Ok(())
}

/// `None` is a document that is not there.
fn document(reply: &mut Reply) -> Result<Option<Document>, StoreError> {
    let id = reply.text()?;
    let Some(revision) = reply.optional()? else { return Ok(None) };
    let revision = std::str::from_utf8(&revision).ok().and_then(|text| text.parse().ok());
    let revision = revision.ok_or_else(unreadable)?;
    let indexes = serde_json::from_slice(&reply.bytes()?)
        .map_err(|error| StoreError::Corrupt(format!("the indexes of {id:?}: {error}")))?;
    Ok(Some(Document { id, revision, indexes, body: reply.bytes()? }))
}

/// Whether revisions are missing that a page of the feed should have. Scripts leave no holes, but
/// whoever deals with the stream by hand does, and a notice that is missed is a revocation that is.
fn has_hole(notices: &[Notice], after: u64, limit: usize, last_revision: u64) -> bool {
    let is_next = |(notice, before): (&Notice, u64)| notice.revision.checked_sub(1) == Some(before);
    let reached = after.saturating_add(notices.len() as u64);
    !notices.iter().zip(after..).all(is_next) || (notices.len() < limit && reached < last_revision)
}

impl Redis {
    pub(in super::super) async fn get(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Document>, StoreError> {
        check_kind(kind)?;
        let mut reply = self.read(&GET, Arguments::default().text(kind.0).text(id)).await?.reply;
        if reply.left() == 0 { Ok(None) } else { document(&mut reply) }
    }

    pub(in super::super) async fn find(
        &self,
        kind: Kind,
        index: &str,
    ) -> Result<Option<Document>, StoreError> {
        check_kind(kind)?;
        let arguments = Arguments::default().text(kind.0).text(index);
        let mut reply = self.read(&FIND, arguments).await?.reply;
        if reply.left() == 0 {
            return Ok(None);
        }
        let dangling = || {
            let what = format!("index {index:?} leads to a {} that is not there", kind.0);
            StoreError::Corrupt(what)
        };
        document(&mut reply)?.map(Some).ok_or_else(dangling)
    }

    pub(in super::super) async fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        check_kind(kind)?;
        let first = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let arguments = Arguments::default().text(kind.0).text(&first).number(limit);
        let mut reply = self.read(&LIST, arguments).await?.reply;
        let mut listed = reply.list()?;
        let mut documents = Vec::with_capacity(listed.left());
        while listed.left() > 0 {
            let lost = || StoreError::Corrupt(format!("a listed {} is not there", kind.0));
            documents.push(document(&mut listed.list()?)?.ok_or_else(lost)?);
        }
        Ok(documents)
    }

    pub(in super::super) async fn write(&self, writes: Vec<Write>) -> Result<Vec<u64>, StoreError> {
        let count = writes.len() as u64;
        let tag = random()?;
        let is_confirmed_at_once = self.shared.contact.address.wait_replicas == 0;
        let mut arguments = Arguments::default()
            .number(self.shared.contact.options.feed_kept())
            .text(&tag)
            .text(if is_confirmed_at_once { "confirmed" } else { "" })
            .number(count);
        for Write { kind, id, expected, change } in writes {
            check_kind(kind)?;
            arguments = arguments.text(kind.0).text(&id);
            arguments = match expected {
                Expected::Any => arguments.text(""),
                Expected::Absent => arguments.text("absent"),
                Expected::Revision(revision) => arguments.number(revision),
            };
            arguments = match change {
                Change::Remove => arguments.text("").text(""),
                Change::Put { indexes, body } => {
                    let indexes = serde_json::to_vec(&indexes)
                        .map_err(|error| StoreError::Invalid(error.to_string()))?;
                    arguments.bytes(indexes).bytes(body)
                }
            };
        }
        let mut reply = self.change(&WRITE, arguments, Some(tag)).await?.reply;
        let outcome = reply.text()?;
        let number = reply.number()?;
        let place = || usize::try_from(number).map_err(|_| unreadable());
        match outcome.as_str() {
            "written" => Ok((number..number.saturating_add(count)).collect()),
            "conflict" => Err(StoreError::Conflict { place: place()? }),
            "taken" => Err(StoreError::IndexTaken { place: place()?, index: reply.text()? }),
            _ => Err(unreadable()),
        }
    }

    pub(in super::super) async fn feed(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<FeedPage, StoreError> {
        let next = after.saturating_add(1);
        let arguments = Arguments::default().number(after).number(next).number(limit);
        let mut answer = self.read(&FEED, arguments).await?;
        let is_told = !self.shared.contact.has_to_tell(answer.history);
        let gap = answer.reply.text()? == "gap" || !is_told;
        let mut listed = answer.reply.list()?;
        let mut notices = Vec::with_capacity(listed.left());
        while listed.left() > 0 {
            let mut entry = listed.list()?;
            let revision = entry.number()?;
            notices.push(Notice { kind: entry.text()?, id: entry.text()?, revision });
        }
        let gap = gap || has_hole(&notices, after, limit, answer.last.revision);
        Ok(FeedPage { notices, gap, last_revision: answer.last.revision })
    }
}
