//! Asking sentinels which server is the master.

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Options;
use super::address::{Address, Place, Server};
use super::link::{Drivers, log_in, run, to_server};
use super::reply::Reply;
use crate::registry::store::error::StoreError;

/// How long one sentinel may take to answer; there are others.
const SENTINEL_PATIENCE: Duration = Duration::from_millis(500);

/// The master that most sentinels name, and whether these are more than half: one that is cut off from
/// the others, with a master of old, must not lead there. All are asked at once; between masters with
/// as many votes the order of the URL decides, always in the same way.
///
/// # Errors
/// None knows one.
pub(super) async fn master(address: &Address, options: &Options) -> Result<Master, StoreError> {
    let Place::Sentinels { sentinels, master, is_tls, user } = &address.place else {
        return Err(StoreError::Unavailable("there are no sentinels".to_owned()));
    };
    let mut asked = JoinSet::new();
    for (place, sentinel) in sentinels.iter().enumerate() {
        let (address, options, sentinel) = (address.clone(), options.clone(), sentinel.clone());
        let (master, is_tls, user) = (master.clone(), *is_tls, user.clone());
        asked.spawn(async move {
            let answer = ask(&address, &options, &sentinel, &master, is_tls, user.as_deref());
            match timeout(SENTINEL_PATIENCE, answer).await {
                Ok(Ok(server)) => Ok((server, place)),
                Ok(Err(error)) => Err(format!("{sentinel}: {}", what(error))),
                Err(_) => Err(format!("{sentinel} does not answer")),
            }
        });
    }
    let (mut named, mut failures) = (Vec::<Named>::new(), Vec::new());
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok((server, place))) => {
                let mut of_this = Named { server, votes: 1, place };
                if let Some(known) = named.iter().position(|it| it.server == of_this.server) {
                    let known = named.swap_remove(known);
                    of_this.votes += known.votes;
                    of_this.place = place.min(known.place);
                }
                // The others cannot change it any more.
                if of_this.votes > sentinels.len() / 2 {
                    return Ok(Master { server: of_this.server, by_majority: true });
                }
                named.push(of_this);
            }
            Ok(Err(failure)) => failures.push(failure),
            Err(died) => failures.push(died.to_string()),
        }
    }
    let most = named.into_iter().max_by_key(|it| (it.votes, std::cmp::Reverse(it.place)));
    most.map(|it| Master { server: it.server, by_majority: false }).ok_or_else(|| {
        failures.sort_unstable();
        let failures = failures.join("; ");
        StoreError::Unavailable(format!("no sentinel knows the master {master:?} ({failures})"))
    })
}

/// What the sentinels say.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) server: Server,
    /// More than half of all of them say so.
    pub(super) by_majority: bool,
}

/// A server that sentinels name.
struct Named {
    server: Server,
    votes: usize,
    /// Of the first sentinel that does, in the URL.
    place: usize,
}

fn what(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(what) => what,
        error => error.to_string(),
    }
}

async fn ask(
    address: &Address,
    options: &Options,
    sentinel: &Server,
    master: &str,
    is_tls: bool,
    user: Option<&str>,
) -> Result<Server, StoreError> {
    let mut drivers = Drivers::new();
    let mut connection = to_server(sentinel, is_tls, options, &mut drivers).await?;
    let password = address.password.as_ref().or(options.password.as_ref());
    // Only where the URL says so: most sentinels have no password and would refuse one.
    if let (Some(user), Some(password)) = (user, password) {
        log_in(&mut connection, Some(user), password.expose()).await?;
    }
    let mut command = redis::cmd("SENTINEL");
    let answer = run(&mut connection, command.arg("GET-MASTER-ADDR-BY-NAME").arg(master)).await?;
    if answer == Value::Nil {
        return Err(StoreError::Unavailable("it watches no such master".to_owned()));
    }
    let mut answer = Reply::new(answer)?;
    let host = answer.text()?;
    let port = u16::try_from(answer.number()?).map_err(|_| super::reply::unreadable())?;
    Ok(Server { host, port })
}

/// Whether a server takes itself for the master.
///
/// # Errors
/// It does not.
pub(super) async fn check_role(connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
    let answer = run(connection, &redis::cmd("ROLE")).await?;
    // Replicas follow, in lists of their own.
    let role = match answer {
        Value::Array(mut items) if !items.is_empty() => {
            Reply::new(Value::Array(vec![items.swap_remove(0)]))?.text()?
        }
        _ => return Err(super::reply::unreadable()),
    };
    match role.as_str() {
        "master" => Ok(()),
        role => Err(StoreError::Unavailable(format!("the server is a {role}, not the master"))),
    }
}
