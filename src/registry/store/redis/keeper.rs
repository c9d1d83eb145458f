//! Keeps the contact: connects again when it is lost, looks after it every second, and waits for the
//! feed.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::{sleep, timeout};

use super::contact::{Answer, Contact, Effect};
use super::link::{Drivers, Link, connect, describe, run};
use super::reply::Reply;
use super::scripts::{Arguments, PROBE, TOUCH};
use super::sentinel;
use crate::registry::store::error::StoreError;

/// How long a master is believed to be one while no majority of the sentinels says so.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(10);
/// Between two looks.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long connecting may take, with everything that belongs to it.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Pauses between attempts to connect: twice as long each time, and any part of that.
const BACKOFF_MIN_MS: u64 = 50;
const BACKOFF_MAX_MS: u64 = 2_000;
/// How long the server holds back an answer while the feed stands still.
const FEED_BLOCK_MS: u64 = 1_000;
/// Before the feed of a registry that is held is looked at again.
const HELD_PAUSE: Duration = Duration::from_millis(200);

/// Never ends by itself.
pub(super) async fn keep(contact: Arc<Contact>, mut link: Arc<Link>, mut drivers: Drivers) {
    let mut ceiling_ms = BACKOFF_MIN_MS;
    loop {
        contact.set_link(Ok(Arc::clone(&link)));
        // What happened in between is found by whoever looks.
        contact.wake();
        let began = contact.clock.now();
        let why = attend(&contact, &link, &mut drivers).await;
        contact.set_link(Err(why.clone()));
        link.give_up(&why);
        drop(drivers);
        tracing::warn!(registry = %contact.address, why, "registry away");
        // One that comes and goes is asked no more often than one that is away.
        if contact.clock.now().since(began) >= Duration::from_millis(BACKOFF_MAX_MS) {
            ceiling_ms = BACKOFF_MIN_MS;
        }
        (link, drivers) = reconnect(&contact, &mut ceiling_ms).await;
        tracing::info!(registry = %contact.address, "registry back");
    }
}

async fn reconnect(contact: &Arc<Contact>, ceiling_ms: &mut u64) -> (Arc<Link>, Drivers) {
    loop {
        let random = getrandom::u64().unwrap_or_default();
        sleep(Duration::from_millis(random % *ceiling_ms + 1)).await;
        *ceiling_ms = (*ceiling_ms * 2).min(BACKOFF_MAX_MS);
        let connected = timeout(CONNECT_MAX, async {
            let (link, drivers) = connect(&contact.address, &contact.options).await?;
            match greet(contact, &link).await {
                // Each call finds out by itself whether it still is.
                Ok(()) | Err(StoreError::Stale(_) | StoreError::Foreign(_)) => Ok((link, drivers)),
                Err(error) => Err(error),
            }
        });
        match connected.await {
            Ok(Ok((link, drivers))) => return (Arc::new(link), drivers),
            Ok(Err(StoreError::Unavailable(why))) => contact.set_link(Err(why)),
            Ok(Err(error)) => contact.set_link(Err(error.to_string())),
            Err(_) => contact.set_link(Err("Redis does not answer".to_owned())),
        }
    }
}

/// Sets the clock by the server's, and tries whether everything that is needed is allowed.
///
/// # Errors
/// The guard's, or what is forbidden.
pub(super) async fn greet(contact: &Contact, link: &Link) -> Result<(), StoreError> {
    if let Err(error) = touch(contact, link).await {
        // The link is used all the same, and whoever finds the registry in order again may write at once.
        if matches!(error, StoreError::Stale(_) | StoreError::Foreign(_)) {
            set_clock(contact, link).await?;
        }
        return Err(error);
    }
    let none = Arguments::default();
    let connection = link.writer.clone();
    let mut probed = contact.exchange(link, connection, &PROBE, &none, Effect::Nothing).await?;
    match probed.reply.optional()? {
        None => try_waiting(contact, link).await,
        Some(command) => Err(contact.away(&format!(
            "the Redis user may not use {} on keys that begin with {:?}",
            String::from_utf8_lossy(&command),
            contact.address.prefix
        ))),
    }
}

/// Tries the two commands that are in no script. Without `WAIT` every write would be made and its
/// outcome be unknown; without `XREAD` the link would be of no use right after it was made.
async fn try_waiting(contact: &Contact, link: &Link) -> Result<(), StoreError> {
    let mut read = redis::cmd("XREAD");
    let feed = format!("{}feed", contact.address.prefix);
    read.arg("COUNT").arg(1).arg("STREAMS").arg(feed).arg("$");
    let mut commands = vec![("XREAD", read)];
    if contact.address.wait_replicas > 0 {
        let mut wait = redis::cmd("WAIT");
        wait.arg(0).arg(1);
        commands.push(("WAIT", wait));
    }
    for (name, command) in commands {
        let mut connection = link.feed.clone();
        let tried = connection.send_packed_command(&command);
        let tried = timeout(contact.options.command_timeout, tried).await;
        let tried = tried.map_err(|_| contact.away("Redis did not answer in time"))?;
        match tried.and_then(Value::extract_error) {
            // What is no feed is found by whoever reads it.
            Err(error) if error.code() != Some("WRONGTYPE") => {
                return Err(contact.away(&format!("{name}: {}", describe(&error))));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sets the clock by the server's, of which a script's answer says nothing where the guard holds it back.
async fn set_clock(contact: &Contact, link: &Link) -> Result<(), StoreError> {
    let mut connection = link.writer.clone();
    let command = redis::cmd("TIME");
    let time = timeout(contact.options.command_timeout, run(&mut connection, &command)).await;
    let time = time.map_err(|_| contact.away("Redis did not answer in time"))??;
    let mut time = Reply::new(time)?;
    let (seconds, micros) = (time.number()?, time.number()?);
    link.set_server_ms(seconds.saturating_mul(1000) + micros / 1000, contact.clock.now().0);
    Ok(())
}

async fn touch(contact: &Contact, link: &Link) -> Result<Answer, StoreError> {
    let none = Arguments::default();
    let connection = link.writer.clone();
    let mut answer = contact.exchange(link, connection, &TOUCH, &none, Effect::Nothing).await?;
    link.set_server_ms(answer.reply.number()?, contact.clock.now().0);
    Ok(answer)
}

/// Looks after a link until it is of no use any more, and says why.
async fn attend(contact: &Contact, link: &Link, drivers: &mut Drivers) -> String {
    tokio::select! {
        _ = drivers.join_next() => "the connection was closed".to_owned(),
        why = link.broken() => why,
        why = heartbeats(contact, link) => why,
        why = follow_feed(contact, link) => why,
        why = follow_sentinels(contact, link) => why,
    }
}

async fn heartbeats(contact: &Contact, link: &Link) -> String {
    loop {
        sleep(HEARTBEAT).await;
        // While all turns are taken, whoever has them finds out as well.
        let Ok(_turn) = link.writes.try_acquire() else { continue };
        match touch(contact, link).await {
            Ok(_) | Err(StoreError::Stale(_) | StoreError::Foreign(_)) => {}
            Err(error) => return error.to_string(),
        }
        if link.master.is_some() {
            let mut connection = link.writer.clone();
            let role = sentinel::check_role(&mut connection);
            match timeout(contact.options.command_timeout, role).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "Redis did not answer in time".to_owned(),
            }
        }
    }
}

/// Waits for something behind the last revision that was seen, and has the guard look at it.
async fn follow_feed(contact: &Contact, link: &Link) -> String {
    let feed = format!("{}feed", contact.address.prefix);
    let patience = Duration::from_millis(FEED_BLOCK_MS) + contact.options.command_timeout;
    loop {
        let after = contact.seen().last.revision;
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(FEED_BLOCK_MS);
        command.arg("STREAMS").arg(&feed).arg(format!("{after}-0"));
        let mut connection = link.feed.clone();
        let answer = timeout(patience, connection.send_packed_command(&command)).await;
        match answer.map(|answer| answer.and_then(Value::extract_error)) {
            Err(_) => return "Redis did not answer in time".to_owned(),
            Ok(Err(error)) if error.code().is_none_or(|code| code != "WRONGTYPE") => {
                return describe(&error);
            }
            // The feed is none: whose business that is finds out.
            Ok(Err(_)) => sleep(HELD_PAUSE).await,
            Ok(Ok(Value::Nil)) => {}
            Ok(Ok(_)) => {
                let none = Arguments::default();
                let looked =
                    contact.exchange(link, connection, &TOUCH, &none, Effect::Nothing).await;
                // What the guard holds back is not news.
                if looked.is_err() || contact.seen().last.revision == after {
                    sleep(HELD_PAUSE).await;
                }
            }
        }
    }
}

/// Leaves a master that the sentinels have replaced, even if it is still there.
async fn follow_sentinels(contact: &Contact, link: &Link) -> String {
    let Some(current) = &link.master else { return std::future::pending().await };
    let mut confirmed_at = contact.clock.now();
    loop {
        sleep(HEARTBEAT).await;
        match sentinel::master(&contact.address, &contact.options).await {
            Ok(named) if named.server != *current => {
                return format!("the master is {} now", named.server);
            }
            Ok(named) if named.by_majority => confirmed_at = contact.clock.now(),
            // With a master that the others have left, no change of theirs would arrive here.
            _ if contact.clock.now().since(confirmed_at) >= UNCONFIRMED_MAX => {
                return "most sentinels cannot be asked whether it is the master".to_owned();
            }
            _ => {}
        }
    }
}
