//! Looks at every table and compares them (see [`crate::registry::store::Store::check`]).

use redb::{ReadTransaction, ReadableTable, TableError};

use super::documents::last_revision;
use super::tables::{DOCUMENTS, ENDS, EXPIRING, FEED, INDEXES, MINUTES, SERIES, SERIES_ENDS};
use crate::registry::store::error::StoreError;

/// Lines of a report; more say nothing new.
const LINES_MAX: usize = 10_000;

/// What was found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) documents: u64,
    pub(super) lines: Vec<String>,
}

impl Findings {
    fn expect(&mut self, is_so: bool, line: impl FnOnce() -> String) {
        if !is_so && self.lines.len() < LINES_MAX {
            let line = line();
            // Names come from tenants.
            let plain = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
            self.lines.push(plain.collect());
        }
    }
}

pub(super) fn check(view: &ReadTransaction) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    documents(view, &mut findings)?;
    feed(view, &mut findings)?;
    passing(view, &mut findings)?;
    series(view, &mut findings)?;
    Ok(findings)
}

fn documents(view: &ReadTransaction, findings: &mut Findings) -> Result<(), StoreError> {
    let last_revision = last_revision(view)?;
    let documents = view.open_table(DOCUMENTS)?;
    let indexes = view.open_table(INDEXES)?;
    let feed = view.open_table(FEED)?;
    let oldest = feed.first()?.map_or(u64::MAX, |(revision, _)| revision.value());
    for entry in documents.iter()? {
        let (key, stored) = entry?;
        let (kind, id) = key.value();
        let (revision, own, _) = stored.value();
        findings.documents += 1;
        findings.expect(revision <= last_revision, || {
            format!("{kind} {id:?}: its revision {revision} is ahead of the registry")
        });
        for index in own {
            let owner = indexes.get((kind, index))?;
            let owner = owner.as_ref().map(redb::AccessGuard::value);
            findings.expect(owner == Some(id), || match owner {
                Some(owner) => format!("{kind} {id:?}: its index {index:?} leads to {owner:?}"),
                None => format!("{kind} {id:?}: its index {index:?} is not there"),
            });
        }
        if revision >= oldest {
            let of = feed.get(revision)?;
            let of = of.as_ref().map(redb::AccessGuard::value);
            findings.expect(of == Some((kind, id)), || {
                format!(
                    "{kind} {id:?}: the notice of its revision {revision} is about something else"
                )
            });
        }
    }
    for entry in indexes.iter()? {
        let (key, id) = entry?;
        let ((kind, index), id) = (key.value(), id.value());
        let stored = documents.get((kind, id))?;
        let stored = stored.as_ref().map(redb::AccessGuard::value);
        let has_it = stored.as_ref().is_some_and(|(_, own, _)| own.contains(&index));
        findings.expect(has_it, || {
            let what = if stored.is_some() { "does not have it" } else { "is not there" };
            format!("{kind}: index {index:?} leads to {id:?}, which {what}")
        });
    }
    Ok(())
}

fn feed(view: &ReadTransaction, findings: &mut Findings) -> Result<(), StoreError> {
    let last_revision = last_revision(view)?;
    let mut before = None;
    for entry in view.open_table(FEED)?.iter()? {
        let revision = entry?.0.value();
        let is_next = before.is_none_or(|before| before + 1 == revision);
        findings.expect(is_next, || format!("the feed has a hole before {revision}"));
        before = Some(revision);
    }
    findings.expect(before.is_none_or(|last| last == last_revision), || {
        format!("the feed ends at {before:?}, but the registry is at {last_revision}")
    });
    Ok(())
}

fn passing(view: &ReadTransaction, findings: &mut Findings) -> Result<(), StoreError> {
    let expiring = view.open_table(EXPIRING)?;
    let ends = view.open_table(ENDS)?;
    for entry in expiring.iter()? {
        let (key, stored) = entry?;
        let ((space, key), ends_ms) = (key.value(), stored.value().0);
        let is_listed = ends.get((ends_ms, space, key))?.is_some();
        findings.expect(is_listed, || format!("entry {key:?} of space {space} will never go"));
    }
    for entry in ends.iter()? {
        let key = entry?.0;
        let (ends_ms, space, key) = key.value();
        let its = expiring.get((space, key))?.map(|stored| stored.value().0);
        findings.expect(its == Some(ends_ms), || {
            format!("an end leads to entry {key:?} of space {space}, which does not have it")
        });
    }
    Ok(())
}

fn series(view: &ReadTransaction, findings: &mut Findings) -> Result<(), StoreError> {
    let series = view.open_table(SERIES)?;
    let minutes = view.open_table(MINUTES)?;
    for entry in series.iter()? {
        let key = entry?.0;
        let (name, minute) = key.value();
        let is_listed = minutes.get((minute, name))?.is_some();
        findings.expect(is_listed, || format!("minute {minute} of {name:?} will never go"));
    }
    for entry in minutes.iter()? {
        let key = entry?.0;
        let (minute, name) = key.value();
        let is_there = series.get((name, minute))?.is_some();
        findings.expect(is_there, || format!("minute {minute} of {name:?} has no bucket"));
    }
    let ends = match view.open_table(SERIES_ENDS) {
        Ok(ends) => ends,
        // An earlier version has made the file, and nothing was written since.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in ends.iter()? {
        let key = entry?.0;
        let (end, name, minute) = key.value();
        findings.expect(end > minute, || {
            format!("minute {minute} of {name:?} ends at {end}, before it began")
        });
    }
    Ok(())
}
