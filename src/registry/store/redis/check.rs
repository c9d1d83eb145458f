//! Looks at everything in a registry (see [`crate::registry::store::Store::check`]). Each page is
//! looked at in one script, so that what others write meanwhile is no contradiction.

use std::collections::HashSet;

use super::Redis;
use super::open::scan;
use super::reply::{Reply, unreadable};
use super::scripts::{
    Arguments, CHECK_FEED, CHECK_IDS, CHECK_INDEX, CHECK_KEYS, CHECK_SERIES, Script,
};
use super::series::kept;
use crate::registry::store::error::StoreError;

/// Entries that one script looks at.
const PAGE: u64 = 500;

type Report<'r> = &'r mut dyn FnMut(String);

impl Redis {
    pub(in super::super) async fn check(&self, report: Report<'_>) -> Result<u64, StoreError> {
        let contact = &self.shared.contact;
        let prefix = contact.address.prefix.as_bytes();
        let mut documents = 0;
        let mut looked_at = HashSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut reader = contact.link()?.reader.clone();
            let found = scan(&mut reader, &contact.address.prefix, &cursor);
            let patience = contact.options.command_timeout;
            let found = tokio::time::timeout(patience, found).await;
            let (next, keys) =
                found.map_err(|_| contact.away("Redis did not answer in time"))??;
            for page in keys.chunks(PAGE as usize) {
                let arguments = page.iter().cloned().fold(kept(), Arguments::bytes);
                self.look(&CHECK_KEYS, arguments, report).await?;
            }
            for key in &keys {
                let below = key.strip_prefix(prefix).unwrap_or_default();
                let Ok(below) = std::str::from_utf8(below) else { continue };
                let Some((form, name)) = below.split_once(':') else { continue };
                // A walk over the keys may come by one of them twice.
                if !matches!(form, "ids" | "index" | "series") || !looked_at.insert(key.clone()) {
                    continue;
                }
                match form {
                    "ids" => documents += self.check_ids(name, report).await?,
                    "index" => self.check_index(name, report).await?,
                    _ => self.check_series(name, report).await?,
                }
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
        self.check_feed(report).await?;
        Ok(documents)
    }

    /// Reports what a script found, and returns the rest of its answer.
    async fn look(
        &self,
        script: &Script,
        arguments: Arguments,
        report: Report<'_>,
    ) -> Result<Reply, StoreError> {
        let mut reply = self.read(script, arguments).await?.reply;
        let mut lines = reply.list()?;
        while lines.left() > 0 {
            let line = lines.bytes()?;
            // Names come from tenants.
            let line = String::from_utf8_lossy(&line);
            report(line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect());
        }
        Ok(reply)
    }

    /// Returns how many there are.
    async fn check_ids(&self, kind: &str, report: Report<'_>) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut first = "-".to_owned();
        loop {
            let arguments = kept().text(kind).text(&first).number(PAGE);
            let mut reply = self.look(&CHECK_IDS, arguments, report).await?;
            let listed = reply.number()?;
            count += listed;
            if listed < PAGE {
                return Ok(count);
            }
            first = format!("({}", reply.text()?);
        }
    }

    async fn check_index(&self, kind: &str, report: Report<'_>) -> Result<(), StoreError> {
        let mut cursor = "0".to_owned();
        loop {
            let arguments = kept().text(kind).text(&cursor).number(PAGE);
            cursor = self.look(&CHECK_INDEX, arguments, report).await?.text()?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    async fn check_series(&self, name: &str, report: Report<'_>) -> Result<(), StoreError> {
        let mut next = 0;
        loop {
            let arguments = kept().text(name).number(next).number(PAGE);
            let mut reply = self.look(&CHECK_SERIES, arguments, report).await?;
            if reply.number()? < PAGE {
                return Ok(());
            }
            next = reply.number()?.checked_add(1).ok_or_else(unreadable)?;
        }
    }

    async fn check_feed(&self, report: Report<'_>) -> Result<(), StoreError> {
        let mut last = String::new();
        loop {
            let arguments = kept().text(&last).number(PAGE);
            let mut reply = self.look(&CHECK_FEED, arguments, report).await?;
            if reply.number()? < PAGE {
                return Ok(());
            }
            last = reply.text()?;
        }
    }
}
