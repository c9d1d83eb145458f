//! Going through all documents of a kind, a page at a time.

use std::collections::VecDeque;

use super::store::{Document, Kind, Store, StoreError};

/// Documents that are read at once. Few under test, so that pages end everywhere.
const DOCUMENTS_PER_PAGE: usize = if cfg!(test) { 3 } else { 250 };

/// Goes through the documents of one kind by id.
pub(super) struct Walk<'a> {
    store: &'a Store,
    kind: Kind,
    page: VecDeque<Document>,
    /// Up to where pages were read; `None` before the first.
    after: Option<String>,
    is_at_end: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(store: &'a Store, kind: Kind) -> Self {
        Self { store, kind, page: VecDeque::new(), after: None, is_at_end: false }
    }

    /// Reads a page unless some of one is left.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn fill(&mut self) -> Result<(), StoreError> {
        if !self.page.is_empty() || self.is_at_end {
            return Ok(());
        }
        let page = self.store.list(self.kind, self.after.as_deref(), DOCUMENTS_PER_PAGE).await?;
        match page.last() {
            Some(last) => self.after = Some(last.id.clone()),
            None => self.is_at_end = true,
        }
        self.page = page.into();
        Ok(())
    }

    /// The next document, if it has been read.
    pub(super) fn first(&self) -> Option<&Document> {
        self.page.front()
    }

    /// Takes the next document, if it has been read.
    pub(super) fn take(&mut self) -> Option<Document> {
        self.page.pop_front()
    }

    /// The next page, what is left of the present one first; empty at the end.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn page(&mut self) -> Result<Vec<Document>, StoreError> {
        self.fill().await?;
        Ok(std::mem::take(&mut self.page).into())
    }
}
