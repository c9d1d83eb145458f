//! Waiting until replicas have what was written, and saying so to everybody.

use redis::Value;
use tokio::time::timeout;

use super::contact::{Answer, Contact, Effect, locked};
use super::link::{Link, describe};
use super::reply::unreadable;
use super::scripts::{Arguments, CONFIRM};
use crate::registry::store::error::StoreError;

impl Contact {
    /// Waits until enough replicas have what this connection wrote.
    pub(super) async fn wait_for_replicas(&self, link: &Link) -> Result<(), StoreError> {
        let wanted = self.address.wait_replicas;
        if wanted == 0 {
            return Ok(());
        }
        let span = self.options.command_timeout;
        let mut command = redis::cmd("WAIT");
        command.arg(wanted).arg(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        let mut connection = link.writer.clone();
        let unknown = |why: &str| self.lost(why, Effect::Writes);
        let waited = connection.send_packed_command(&command);
        let waited = timeout(2 * span, waited).await;
        match waited.map(|answer| answer.and_then(Value::extract_error)) {
            Ok(Ok(Value::Int(had))) if had >= i64::from(wanted) => Ok(()),
            Ok(Ok(Value::Int(had))) => {
                Err(unknown(&format!("{had} replicas have it, {wanted} should")))
            }
            Ok(Ok(_)) => Err(unreadable()),
            Ok(Err(error)) => {
                let why = describe(&error);
                link.give_up(&why);
                Err(unknown(&why))
            }
            Err(_) => {
                link.give_up("Redis did not answer in time");
                Err(unknown("Redis did not answer in time"))
            }
        }
    }

    /// Makes known that enough replicas have a revision of this process, which from now on is not
    /// given up.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]: the registry that is there now may lack it.
    pub(super) async fn confirm(&self, link: &Link, made: &Answer) -> Result<(), StoreError> {
        if self.address.wait_replicas == 0 {
            return Ok(());
        }
        let mark = &made.last;
        let arguments = Arguments::default().number(mark.revision).text(&mark.tag);
        let connection = link.writer.clone();
        match self.exchange(link, connection, &CONFIRM, &arguments, Effect::Nothing).await {
            // The mark is for others, whom the next one will tell, too: the replicas have the write.
            Ok(_) | Err(StoreError::Unavailable(_)) => {}
            Err(error) => return Err(self.lost(&error.to_string(), Effect::Writes)),
        }
        match locked(&self.seen).confirm(mark, made.history) {
            true => Ok(()),
            false => Err(self.lost("it may have been lost in a failover", Effect::Writes)),
        }
    }
}
