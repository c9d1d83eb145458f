//! An operator takes what is there for the registry.

use std::sync::Arc;

use tokio::time::timeout;

use super::Redis;
use super::contact::{Contact, Effect};
use super::link::Link;
use super::open::random;
use super::reply::Reply;
use super::scripts::{ADOPT, Arguments};
use super::seen::{Mark, Seen};
use super::verdict::mark;
use crate::registry::store::error::StoreError;

/// How far the revision goes ahead, so that none that somebody has seen comes again.
const REVISIONS_AHEAD: u64 = 1_000_000;

impl Redis {
    pub(in super::super) async fn adopt(&self) -> Result<u64, StoreError> {
        let shared = Arc::clone(&self.shared);
        let died = |_| StoreError::Unknown("the task that adopted died".to_owned());
        tokio::spawn(async move { shared.contact.adopt().await }).await.map_err(died)?
    }
}

impl Contact {
    async fn adopt(&self) -> Result<u64, StoreError> {
        let _call = self.admit()?;
        let link = self.link()?;
        let _turn = self.turn(&link).await?;
        let asked_with = self.seen();
        let (epoch, adopted) = self.adopt_on(&link, &asked_with).await?;
        let revision = adopted.revision;
        self.take_over(&asked_with, epoch, adopted.clone(), Some(adopted))?;
        self.wait_for_replicas(&link).await?;
        Ok(revision)
    }

    async fn adopt_on(&self, link: &Link, asked_with: &Seen) -> Result<(String, Mark), StoreError> {
        let epoch = random()?;
        let arguments = Arguments::default()
            .text(&self.address.prefix)
            .text(&self.id)
            .text(&epoch)
            .number(asked_with.last.revision)
            .text(&random()?)
            .number(REVISIONS_AHEAD);
        let mut connection = link.writer.clone();
        let command = ADOPT.by_source(&[&arguments]);
        let sent = connection.send_packed_command(&command);
        let answer = match timeout(self.options.command_timeout, sent).await {
            Ok(answer) => answer.and_then(redis::Value::extract_error),
            Err(_) => {
                let why = "Redis did not answer in time";
                link.give_up(why);
                return Err(self.lost(why, Effect::Writes));
            }
        };
        let answer = answer.map_err(|error| self.failure(link, &error, Effect::Writes))?;
        let mut reply = Reply::new(answer)?;
        match reply.text()?.as_str() {
            "ok" => Ok((epoch, mark(&mut reply)?)),
            verdict => Err(self.foreign(verdict, &mut reply)),
        }
    }
}
