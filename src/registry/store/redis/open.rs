//! Opening a registry, and making one.

use std::sync::Arc;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::FORMAT;
use super::Options;
use super::address::Address;
use super::contact::Contact;
use super::keeper::{CONNECT_MAX, greet};
use super::link::{Drivers, Link, connect, run};
use super::reply::Reply;
use super::scripts::{Arguments, CREATE};
use super::seen::Seen;
use super::verdict::{mark, optional_mark, other_format};
use crate::registry::store::error::StoreError;

/// Keys that one step of a walk looks at.
const SCAN_COUNT: usize = 1_000;

pub(super) async fn open(
    url: &str,
    options: &Options,
) -> Result<(Arc<Contact>, Arc<Link>, Drivers), StoreError> {
    let address = Address::parse(url).map_err(StoreError::Invalid)?;
    let place = address.to_string();
    let at = |error| match error {
        StoreError::Unavailable(why) if !why.starts_with(&place) => {
            StoreError::Unavailable(format!("{place}: {why}"))
        }
        error => error,
    };
    let opened = timeout(CONNECT_MAX.max(options.command_timeout), open_at(address, options));
    let slow = |_| at(StoreError::Unavailable("Redis does not answer".to_owned()));
    opened.await.map_err(slow)?.map_err(at)
}

async fn open_at(
    address: Address,
    options: &Options,
) -> Result<(Arc<Contact>, Arc<Link>, Drivers), StoreError> {
    let (mut link, drivers) = connect(&address, options).await?;
    let (id, seen) = match recognise(&mut link.writer, &address).await? {
        Some(known) => known,
        None if options.create => {
            let stray = any_key(&mut link.writer, &address.prefix).await?;
            if stray.is_none() {
                create(&mut link.writer, &address).await?;
            }
            // What was found may be what somebody else has just made.
            let stray = || {
                StoreError::Foreign(format!(
                    "there is no registry at {address}, but there is a key {:?}: empty it, or choose another prefix",
                    stray.unwrap_or_default()
                ))
            };
            recognise(&mut link.writer, &address).await?.ok_or_else(stray)?
        }
        None => {
            return Err(StoreError::Foreign(format!(
                "there is no registry at {address} (keys that begin with {:?}): 'flowgate registry create' makes one",
                address.prefix
            )));
        }
    };
    let contact = Contact::new(address, options.clone(), id, seen);
    greet(&contact, &link).await?;
    Ok((Arc::new(contact), Arc::new(link), drivers))
}

/// Id and state of the registry that is there, if there is one.
async fn recognise(
    connection: &mut MultiplexedConnection,
    address: &Address,
) -> Result<Option<(String, Seen)>, StoreError> {
    let mut command = redis::cmd("HMGET");
    command.arg(format!("{}meta", address.prefix));
    command.arg(&["format", "id", "epoch", "revision", "tag", "confirmed", "confirmed_tag"]);
    let mut meta = Reply::new(run(connection, &command).await?)?;
    let Some(format) = meta.optional()? else { return Ok(None) };
    if format != FORMAT.as_bytes() {
        return Err(other_format(address, &String::from_utf8_lossy(&format)));
    }
    let (id, epoch, last) = (meta.text()?, meta.text()?, mark(&mut meta)?);
    let confirmed = optional_mark(&mut meta)?.filter(|_| address.wait_replicas > 0);
    Ok(Some((id, Seen::new(epoch, last, confirmed))))
}

async fn create(
    connection: &mut MultiplexedConnection,
    address: &Address,
) -> Result<(), StoreError> {
    let arguments = Arguments::default()
        .text(&address.prefix)
        .text(&random()?)
        .text(&random()?)
        .text(&random()?);
    run(connection, &CREATE.by_source(&[&arguments])).await.map(|_| ())
}

/// A key that begins with `prefix`.
async fn any_key(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> Result<Option<String>, StoreError> {
    let mut cursor = "0".to_owned();
    loop {
        let (next, keys) = scan(connection, prefix, &cursor).await?;
        if let Some(key) = keys.into_iter().next() {
            return Ok(Some(String::from_utf8_lossy(&key).into_owned()));
        }
        if next == "0" {
            return Ok(None);
        }
        cursor = next;
    }
}

/// One step of a walk over the keys that begin with `prefix`: where to go on ("0" is the end), and
/// keys.
pub(super) async fn scan(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    cursor: &str,
) -> Result<(String, Vec<Vec<u8>>), StoreError> {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    let mut command = redis::cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
    let answer: Value = run(connection, &command).await?;
    let mut answer = Reply::new(answer)?;
    let next = answer.text()?;
    let mut listed = answer.list()?;
    let mut keys = Vec::with_capacity(listed.left());
    while listed.left() > 0 {
        keys.push(listed.bytes()?);
    }
    Ok((next, keys))
}

/// 128 random bits, 32 hexadecimal digits.
pub(super) fn random() -> Result<String, StoreError> {
    let half = || getrandom::u64().map_err(|error| StoreError::Unavailable(error.to_string()));
    Ok(format!("{:016x}{:016x}", half()?, half()?))
}
