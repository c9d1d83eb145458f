//! Asking sentinels which server is the master.

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::Options;
use super::address::{Address, Place, Server};
use super::link::{Drivers, log_in, run, to_server};
use super::reply::Reply;
use crate::registry::store::error::StoreError;

/// How long one sentinel may take to answer; there are others.
const SENTINEL_PATIENCE: Duration = Duration::from_millis(500);

/// The master by the first sentinel that knows one.
///
/// # Errors
/// None does.
pub(super) async fn master(address: &Address, options: &Options) -> Result<Server, StoreError> {
    let Place::Sentinels { sentinels, master, is_tls, user } = &address.place else {
        return Err(StoreError::Unavailable("there are no sentinels".to_owned()));
    };
    let mut failures = Vec::new();
    for sentinel in sentinels {
        let asked = ask(address, options, sentinel, master, *is_tls, user.as_deref());
        match timeout(SENTINEL_PATIENCE, asked).await {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(error)) => failures.push(format!("{sentinel}: {}", what(error))),
            Err(_) => failures.push(format!("{sentinel} does not answer")),
        }
    }
    let why = format!("no sentinel knows the master {master:?} ({})", failures.join("; "));
    Err(StoreError::Unavailable(why))
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
