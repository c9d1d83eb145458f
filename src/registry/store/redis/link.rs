//! The connections to one server: one that writes, one that reads, and one that waits for the feed.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::address::{Address, Place, Server};
use super::{Options, sentinel, tls};
use crate::registry::store::error::StoreError;

/// Writes under way at once. With replicas to wait for it is one, since `WAIT` holds up the
/// connection.
const WRITES_MAX: usize = 64;

/// Connections to a server that was the right one when they were made.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) writer: MultiplexedConnection,
    pub(super) reader: MultiplexedConnection,
    pub(super) feed: MultiplexedConnection,
    /// Turns on the writing connection.
    pub(super) writes: Semaphore,
    /// Which server that is, where sentinels chose it.
    pub(super) master: Option<Server>,
    /// The server's time (milliseconds since 1970) less this process's clock; never too much.
    offset_ms: AtomicI64,
    /// Why it is of no use any more.
    broken: watch::Sender<Option<String>>,
}

impl Link {
    /// Says that it is of no use any more, for whoever keeps it.
    pub(super) fn give_up(&self, why: &str) {
        self.broken.send_if_modified(|broken| {
            let is_first = broken.is_none();
            broken.get_or_insert_with(|| why.to_owned());
            is_first
        });
    }

    pub(super) fn why_broken(&self) -> Option<String> {
        self.broken.borrow().clone()
    }

    /// Waits until it is of no use any more.
    pub(super) async fn broken(&self) -> String {
        let mut broken = self.broken.subscribe();
        let why = broken.wait_for(Option::is_some).await;
        why.map_or_else(|_| String::new(), |why| why.clone().unwrap_or_default())
    }

    /// Notes the server's time; it was asked for before `now_ms` by this process's clock.
    pub(super) fn set_server_ms(&self, server_ms: u64, now_ms: u64) {
        // One less for what both have cut off.
        let offset_ms = server_ms.cast_signed().wrapping_sub(now_ms.cast_signed()) - 1;
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// A moment of this process's clock in the server's time.
    pub(super) fn in_server_ms(&self, clock_ms: u64) -> u64 {
        clock_ms.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }
}

/// What moves the bytes of a link's connections. Dropping it closes them; one that ends was closed
/// from the other side.
pub(super) type Drivers = JoinSet<()>;

/// Connects as whom the address says. Knows nothing of registries yet.
///
/// # Errors
/// Nobody is there, or will not have us: one line without secrets.
pub(super) async fn connect(
    address: &Address,
    options: &Options,
) -> Result<(Link, Drivers), StoreError> {
    let master = match &address.place {
        Place::Sentinels { .. } => match sentinel::master(address, options).await? {
            // The others may have another one by now.
            named if !named.by_majority => {
                let why = format!("only some sentinels say that {} is the master", named.server);
                return Err(StoreError::Unavailable(why));
            }
            named => Some(named.server),
        },
        _ => None,
    };
    let mut drivers = Drivers::new();
    let mut connections = Vec::with_capacity(3);
    for _ in 0..3 {
        let mut connection = dial(address, master.as_ref(), options, &mut drivers).await?;
        let password = address.password.as_ref().or(options.password.as_ref());
        if let Some(password) = password {
            log_in(&mut connection, address.user.as_deref(), password.expose()).await?;
        }
        if address.db != 0 {
            run(&mut connection, redis::cmd("SELECT").arg(address.db)).await?;
        }
        connections.push(connection);
    }
    let (Some(writer), Some(reader), Some(feed)) =
        (connections.pop(), connections.pop(), connections.pop())
    else {
        return Err(StoreError::Unavailable("no connection".to_owned()));
    };
    let writes = Semaphore::new(if address.wait_replicas > 0 { 1 } else { WRITES_MAX });
    let offset_ms = AtomicI64::new(0);
    let broken = watch::Sender::new(None);
    let mut link = Link { writer, reader, feed, writes, master, offset_ms, broken };
    if link.master.is_some() {
        sentinel::check_role(&mut link.writer).await?;
    }
    Ok((link, drivers))
}

pub(super) async fn log_in(
    connection: &mut MultiplexedConnection,
    user: Option<&str>,
    password: &str,
) -> Result<(), StoreError> {
    let mut command = redis::cmd("AUTH");
    if let Some(user) = user {
        command.arg(user);
    }
    run(connection, command.arg(password)).await.map(|_| ())
}

/// Runs a command that is no script.
pub(super) async fn run(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
) -> Result<Value, StoreError> {
    let answer = connection.send_packed_command(command).await;
    let answer = answer.and_then(Value::extract_error);
    answer.map_err(|error| StoreError::Unavailable(describe(&error)))
}

async fn dial(
    address: &Address,
    master: Option<&Server>,
    options: &Options,
    drivers: &mut Drivers,
) -> Result<MultiplexedConnection, StoreError> {
    match (&address.place, master) {
        (Place::Socket(path), _) => {
            let stream = UnixStream::connect(path).await;
            converse(stream.map_err(|e| StoreError::Unavailable(e.to_string()))?, drivers).await
        }
        (Place::Server { server, is_tls }, _) => to_server(server, *is_tls, options, drivers).await,
        (Place::Sentinels { is_tls, .. }, Some(master)) => {
            to_server(master, *is_tls, options, drivers).await
        }
        (Place::Sentinels { .. }, None) => {
            Err(StoreError::Unavailable("there is no master".to_owned()))
        }
    }
}

/// A connection to a server, not logged in.
pub(super) async fn to_server(
    server: &Server,
    is_tls: bool,
    options: &Options,
    drivers: &mut Drivers,
) -> Result<MultiplexedConnection, StoreError> {
    let away = |error: std::io::Error| StoreError::Unavailable(format!("{server}: {error}"));
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(away)?;
    stream.set_nodelay(true).map_err(away)?;
    if is_tls {
        converse(tls::shake_hands(stream, &server.host, options).await?, drivers).await
    } else {
        converse(stream, drivers).await
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drivers: &mut Drivers,
) -> Result<MultiplexedConnection, StoreError> {
    // Nothing is set up by the crate: what that needs, and what its errors say, stays in our hands.
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new().set_response_timeout(None::<Duration>);
    let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let (connection, driver) = made.map_err(|error| StoreError::Unavailable(describe(&error)))?;
    let driver: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(driver);
    drivers.spawn(driver);
    Ok(connection)
}

/// One line of what a server has against us, for an operator, without what it repeats of a command:
/// one that does not know `AUTH` repeats the password.
pub(super) fn describe(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    let detail = detail.split_once("with args beginning with").map_or(detail, |(before, _)| before);
    let words = format!("{} {detail}", error.code().unwrap_or_default());
    let has = |word: &str| words.contains(word);
    if has("WRONGPASS") || has("invalid username-password pair") || has("invalid password") {
        "Redis refuses the user name or the password".to_owned()
    } else if has("NOAUTH") {
        "Redis wants a password".to_owned()
    } else if has("AUTH") && has("without any password") {
        "a password is given, but Redis has none for the default user: name the user, or give none"
            .to_owned()
    } else if [
        "NOPERM",
        "can't run this command",
        "can't access at least one of the keys",
        "ACL failure",
    ]
    .into_iter()
    .any(has)
    {
        format!("the Redis user may not do what the registry needs ({})", first_line(&words))
    } else if has("READONLY") {
        "this Redis is a replica, which takes no writes".to_owned()
    } else if error.code().is_some() {
        first_line(&words)
    } else {
        first_line(&error.to_string())
    }
}

fn first_line(text: &str) -> String {
    const LENGTH_MAX: usize = 300;
    text.lines().next().unwrap_or_default().trim().chars().take(LENGTH_MAX).collect()
}
