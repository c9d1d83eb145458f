//! How records are written that are one document each: with the act for the audit log in the same
//! call, and read back into the directory before anybody is told.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::registry::audit::Act;
use crate::registry::documents::CHANGE_ATTEMPTS_MAX;
use crate::registry::store::{Change, Expected, Kind, StoreError, Write};
use crate::registry::{ChangeError, Registry};

/// A record that is a document.
pub trait Record: Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync {
    /// The documents' kind.
    const KIND: Kind;

    /// The keys under which it is found.
    fn indexes(&self) -> Vec<String>;

    /// What the audit log keeps of it: nothing that opens anything.
    fn audited(&self) -> Value;

    /// Reads the stored form.
    ///
    /// # Errors
    /// It is none.
    fn from_body(body: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(body)
            .map_err(|error| StoreError::Corrupt(format!("{}: {error}", Self::KIND.0)))
    }

    /// The write that puts it.
    ///
    /// # Errors
    /// None that a record can cause.
    fn put(&self, id: &str, expected: Expected) -> Result<Write, StoreError> {
        let body = serde_json::to_vec(self).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let change = Change::Put { indexes: self.indexes(), body };
        Ok(Write { kind: Self::KIND, id: id.to_owned(), expected, change })
    }
}

impl Registry {
    /// Creates a record. Returns its revision.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::registry) async fn create_record<R: Record>(
        &self,
        act: &Act,
        id: &str,
        record: &R,
    ) -> Result<u64, StoreError> {
        let entry = act.write(self.wall.now(), None, Some(record.audited()))?;
        let mut writes = vec![record.put(id, Expected::Absent)?];
        writes.extend(self.audited(entry).await);
        let revisions = self.store.write(writes).await?;
        self.read_back(R::KIND, id).await;
        Ok(revisions.first().copied().unwrap_or_default())
    }

    /// Changes a record. A record that is as it was before is not written, and no act. `check` sees
    /// what would be written. Returns the record as it is now, with its revision.
    ///
    /// # Errors
    /// As [`Registry::change`].
    pub(in crate::registry) async fn change_record<R: Record, T, E>(
        &self,
        act: &Act,
        id: &str,
        mut change: impl FnMut(&mut R, u64) -> Result<T, E>,
        check: impl Fn(&R) -> Result<(), StoreError>,
    ) -> Result<(R, u64, T), ChangeError<E>> {
        let mut last = StoreError::Conflict { place: 0 };
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let document = self.store.get(R::KIND, id).await?.ok_or(ChangeError::Gone)?;
            let before = R::from_body(&document.body)?;
            let mut record = before.clone();
            let answer = change(&mut record, document.revision).map_err(ChangeError::Refused)?;
            check(&record)?;
            if record == before {
                return Ok((record, document.revision, answer));
            }
            let both = (Some(before.audited()), Some(record.audited()));
            let entry = act.write(self.wall.now(), both.0, both.1)?;
            let mut writes = vec![record.put(id, Expected::Revision(document.revision))?];
            writes.extend(self.audited(entry).await);
            match self.store.write(writes).await {
                Ok(revisions) => {
                    self.read_back(R::KIND, id).await;
                    let revision = revisions.first().copied().unwrap_or_default();
                    return Ok((record, revision, answer));
                }
                Err(conflict @ StoreError::Conflict { .. }) => last = conflict,
                Err(error) => {
                    self.read_back(R::KIND, id).await;
                    return Err(error.into());
                }
            }
        }
        Err(last.into())
    }

    /// Removes a record.
    ///
    /// # Errors
    /// As [`Registry::change`].
    pub(in crate::registry) async fn remove_record<R: Record, E>(
        &self,
        act: &Act,
        id: &str,
        check: impl Fn(&R, u64) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        let mut last = StoreError::Conflict { place: 0 };
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let document = self.store.get(R::KIND, id).await?.ok_or(ChangeError::Gone)?;
            let before = R::from_body(&document.body)?;
            check(&before, document.revision).map_err(ChangeError::Refused)?;
            let entry = act.write(self.wall.now(), Some(before.audited()), None)?;
            let expected = Expected::Revision(document.revision);
            let remove =
                Write { kind: R::KIND, id: id.to_owned(), expected, change: Change::Remove };
            let mut writes = vec![remove];
            writes.extend(self.audited(entry).await);
            match self.store.write(writes).await {
                Err(conflict @ StoreError::Conflict { .. }) => last = conflict,
                written => {
                    self.read_back(R::KIND, id).await;
                    return written.map(|_| ()).map_err(ChangeError::Store);
                }
            }
        }
        Err(last.into())
    }

    /// What cannot be read back is not believed any more: the next who asks reads everything.
    pub(in crate::registry) async fn read_back(&self, kind: Kind, id: &str) {
        if let Err(error) = self.heed_api(kind, id).await {
            tracing::warn!(kind = kind.0, %error, "what was written could not be read back");
            self.directory.unload();
        }
    }
}
