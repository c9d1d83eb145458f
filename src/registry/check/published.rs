//! What is wrong with one API's, consumer's or application's document, seen by itself.

use crate::api::Owner;
use crate::grant::{ApiId, ApplicationId, ConsumerId};
use crate::registry::apis::keeping::Record;
use crate::registry::apis::record::application::{
    ApplicationRecord, RevocationRecord, SigningRecord,
};
use crate::registry::apis::record::{ApiRecord, ConsumerRecord};
use crate::registry::store::Document;

const MEND: &str = "remove it by the admin API and make it anew";
const MEND_INDEX: &str = "change it by the admin API: that writes its indexes anew";

/// The owner, if it can be read, and each fault with what to do about it.
type Seen = (Option<Owner>, Vec<(String, &'static str)>);

pub(super) fn api(document: &Document) -> Seen {
    let id = ApiId::from_hex(&document.id);
    see::<ApiRecord>(document, id.map(|id| id.to_string()), |record| {
        let api = record.to_api(id.unwrap_or(ApiId(0)), document.revision);
        api.map(|api| api.owner).map_err(|error| error.to_string())
    })
}

pub(super) fn consumer(document: &Document) -> Seen {
    let id = ConsumerId::from_hex(&document.id);
    see::<ConsumerRecord>(document, id.map(|id| id.to_string()), |record| {
        let consumer = record.to_consumer(id.unwrap_or(ConsumerId(0)), document.revision);
        consumer.map(|consumer| consumer.owner).map_err(|error| error.to_string())
    })
}

pub(super) fn application(document: &Document) -> Seen {
    let id = ApplicationId::from_hex(&document.id);
    see::<ApplicationRecord>(document, id.map(|id| id.to_string()), |record| {
        let id = id.unwrap_or(ApplicationId(0));
        let application = record.to_application(id, document.revision);
        application.map(|it| it.owner).map_err(|error| error.to_string())
    })
}

pub(super) fn signing(document: &Document) -> Result<(), String> {
    let ring = SigningRecord::from_body(&document.body).and_then(|record| record.to_ring());
    ring.map(|_| ()).map_err(|error| error.to_string())
}

pub(super) fn revocation(document: &Document) -> Result<(), String> {
    let read = RevocationRecord::read(&document.id, &document.body);
    read.map(|_| ()).map_err(|error| error.to_string())
}

fn see<R: Record>(
    document: &Document,
    id: Option<String>,
    read: impl Fn(&R) -> Result<Owner, String>,
) -> Seen {
    let mut faults = Vec::new();
    if id.as_ref() != Some(&document.id) {
        faults.push(("its id is not 16 hexadecimal digits in lower case".to_owned(), MEND));
    }
    let record = match R::from_body(&document.body) {
        Ok(record) => record,
        Err(error) => {
            faults.push((error.to_string(), MEND));
            return (None, faults);
        }
    };
    // In whichever order a store keeps them.
    let sorted = |mut indexes: Vec<String>| {
        indexes.sort();
        indexes
    };
    if sorted(record.indexes()) != sorted(document.indexes.clone()) {
        faults.push(("its indexes are not its own".to_owned(), MEND_INDEX));
    }
    match read(&record) {
        Ok(owner) => (Some(owner), faults),
        Err(what) => {
            faults.push((what, MEND));
            (None, faults)
        }
    }
}
