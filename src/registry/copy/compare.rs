//! Two stores' documents of one kind, side by side.

use std::cmp::Ordering;

use super::CopyError;
use crate::registry::store::{Document, Kind, Store};
use crate::registry::walk::Walk;

/// A document on one side or both.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) source: Option<Document>,
    pub(super) target: Option<Document>,
}

impl Pair {
    /// Whether both sides have it, alike in everything but the revision, which is each registry's own.
    pub(super) fn is_equal(&self) -> bool {
        match (&self.source, &self.target) {
            (Some(source), Some(target)) => {
                source.id == target.id
                    && source.indexes == target.indexes
                    && source.body == target.body
            }
            _ => false,
        }
    }

    pub(super) fn id(&self) -> &str {
        let document = self.source.as_ref().or(self.target.as_ref());
        document.map_or("", |document| document.id.as_str())
    }
}

/// Both sides' documents of one kind.
pub(super) struct Comparison<'a> {
    source: Walk<'a>,
    target: Walk<'a>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(source: &'a Store, target: &'a Store, kind: Kind) -> Self {
        Self { source: Walk::new(source, kind), target: Walk::new(target, kind) }
    }

    /// The next id that either side has; `None` behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<Pair>, CopyError> {
        self.source.fill().await.map_err(CopyError::Source)?;
        self.target.fill().await.map_err(CopyError::Target)?;
        let order = match (self.source.first(), self.target.first()) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(source), Some(target)) => source.id.cmp(&target.id),
        };
        let source = if order.is_le() { self.source.take() } else { None };
        let target = if order.is_ge() { self.target.take() } else { None };
        Ok(Some(Pair { source, target }))
    }
}
