//! A network of the test's own: relays TCP, and can be slow, silent, cut, or wrong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowgate_bench::clock::now;
use flowgate_bench::fault::{During, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// The header by which a handshake tells links which connection it is.
pub const ID_HEADER: &str = "x-chaos-id";
const READ_BYTES: usize = 4 * 1024;
/// A slow link's pieces of one read; more would take for ever.
const PIECES_MAX: usize = 16;

/// What a link does to bytes from the far side, so that the checker can be seen to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Sends them twice.
    Duplicate,
    /// Drops them.
    Lose,
    /// Changes one.
    Change,
    /// Ends the connection, and no cut is known of.
    End,
}

/// How a link is at the moment. By default it is in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// One in so many connections has it; 0 for none.
    pub one_in: u64,
    /// Nothing passes, and nobody is told.
    pub is_silent: bool,
    /// New connections are reset.
    pub refuses: bool,
    /// Each piece takes so long.
    pub delay: Duration,
    /// A piece has at most so many bytes; 0 for as they come.
    pub piece_bytes: usize,
    /// Something that no network does.
    pub sabotage: Option<Sabotage>,
}

/// Which connections links have cut, and when: by the ids that handshakes bear.
#[derive(Default)]
pub struct Cuts(Mutex<HashMap<u64, Instant>>);

impl Cuts {
    /// Whether this connection was cut.
    pub fn has(&self, id: u64) -> bool {
        self.lock().contains_key(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Passage {
    id: AtomicU64,
    cut: Notify,
}

struct Shared {
    target: SocketAddr,
    weather: watch::Sender<Weather>,
    passages: Mutex<HashMap<u64, Arc<Passage>>>,
    cuts: Arc<Cuts>,
    spoilt: Arc<AtomicU64>,
}

impl Shared {
    fn passages(&self) -> MutexGuard<'_, HashMap<u64, Arc<Passage>>> {
        self.passages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link to one address.
#[derive(Clone)]
pub struct Link {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Link {
    /// Listens and relays to `target` until the process ends.
    pub async fn to(target: SocketAddr, cuts: Arc<Cuts>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.during("listening")?;
        let address = listener.local_addr()?;
        let (weather, _) = watch::channel(Weather::default());
        let (passages, spoilt) = (Mutex::default(), Arc::default());
        let shared = Arc::new(Shared { target, weather, passages, cuts, spoilt });
        let link = Self { address, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            let mut number = 0;
            loop {
                let Ok((near, _)) = listener.accept().await else { continue };
                number += 1;
                tokio::spawn(carry(Arc::clone(&shared), near, number));
            }
        });
        Ok(link)
    }

    /// Changes the weather, for connections that are there as well.
    pub fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Everything is in order again.
    pub fn heal(&self) {
        self.set(Weather::default());
    }

    /// How often it has done something that no network does.
    pub fn spoilt(&self) -> u64 {
        self.shared.spoilt.load(Ordering::SeqCst)
    }

    /// Resets one in so many of the connections that are there; returns how many.
    pub fn cut(&self, one_in: u64) -> usize {
        let passages = self.shared.passages();
        let hit = passages.iter().filter(|(number, _)| number.is_multiple_of(one_in.max(1)));
        hit.map(|(_, passage)| {
            let id = passage.id.load(Ordering::SeqCst);
            self.shared.cuts.lock().insert(id, now());
            passage.cut.notify_one();
        })
        .count()
    }
}

async fn carry(shared: Arc<Shared>, near: TcpStream, number: u64) {
    let weather = shared.weather.subscribe();
    let refuses = weather.borrow().refuses;
    if refuses {
        let _ = near.set_zero_linger();
        return;
    }
    let passage = Arc::new(Passage { id: AtomicU64::new(0), cut: Notify::new() });
    shared.passages().insert(number, Arc::clone(&passage));
    if let Ok(far) = TcpStream::connect(shared.target).await {
        let spoilt = Arc::clone(&shared.spoilt);
        join(near, far, &passage, weather, number, spoilt).await;
    }
    shared.passages().remove(&number);
}

async fn join(
    mut near: TcpStream,
    mut far: TcpStream,
    passage: &Passage,
    weather: watch::Receiver<Weather>,
    number: u64,
    spoilt: Arc<AtomicU64>,
) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let is_cut = {
        let (near_from, near_to) = near.split();
        let (far_from, far_to) = far.split();
        let spoilt = &spoilt;
        let out = Pump { weather: weather.clone(), number, id: Some(&passage.id), spoilt };
        let back = Pump { weather, number, id: None, spoilt };
        tokio::select! {
            () = both(out.run(near_from, far_to), back.run(far_from, near_to)) => false,
            () = passage.cut.notified() => true,
        }
    };
    if is_cut {
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

async fn both(out: impl Future<Output = ()>, back: impl Future<Output = ()>) {
    tokio::join!(out, back);
}

/// One direction of a connection.
struct Pump<'a> {
    weather: watch::Receiver<Weather>,
    number: u64,
    /// Where the id is noted, in the direction that has one.
    id: Option<&'a AtomicU64>,
    spoilt: &'a AtomicU64,
}

impl Pump<'_> {
    /// Carries until one side has ended, then tells the other.
    async fn run(
        mut self,
        mut from: tokio::net::tcp::ReadHalf<'_>,
        mut to: tokio::net::tcp::WriteHalf<'_>,
    ) {
        let mut bytes = vec![0; READ_BYTES];
        let mut is_first = true;
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            if let (true, Some(id)) = (is_first, self.id) {
                id.store(id_in(&bytes[..length]), Ordering::SeqCst);
            }
            is_first = false;
            let weather = self.wait_until_it_passes().await;
            let passed = match self.id {
                Some(_) => pass(&mut to, &bytes[..length], weather).await,
                None => spoil(&mut to, &mut bytes[..length], weather).await,
            };
            if self.id.is_none() && weather.sabotage.is_some() {
                self.spoilt.fetch_add(1, Ordering::SeqCst);
            }
            if passed.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    }

    /// What of the weather is for this connection, once anything passes at all.
    async fn wait_until_it_passes(&mut self) -> Weather {
        loop {
            let weather = *self.weather.borrow_and_update();
            let is_hit = weather.one_in > 0 && self.number.is_multiple_of(weather.one_in);
            if !is_hit {
                return Weather::default();
            }
            if !weather.is_silent || self.weather.changed().await.is_err() {
                return weather;
            }
        }
    }
}

async fn pass(
    to: &mut tokio::net::tcp::WriteHalf<'_>,
    bytes: &[u8],
    weather: Weather,
) -> std::io::Result<()> {
    if weather.delay.is_zero() && weather.piece_bytes == 0 {
        return to.write_all(bytes).await;
    }
    let least = bytes.len().div_ceil(PIECES_MAX);
    let piece_bytes = if weather.piece_bytes == 0 { bytes.len() } else { weather.piece_bytes };
    for piece in bytes.chunks(piece_bytes.max(least)) {
        tokio::time::sleep(weather.delay).await;
        to.write_all(piece).await?;
    }
    Ok(())
}

async fn spoil(
    to: &mut tokio::net::tcp::WriteHalf<'_>,
    bytes: &mut [u8],
    weather: Weather,
) -> std::io::Result<()> {
    match weather.sabotage {
        None => return pass(to, bytes, weather).await,
        Some(Sabotage::Lose) => return Ok(()),
        Some(Sabotage::End) => return Err(std::io::ErrorKind::ConnectionAborted.into()),
        Some(Sabotage::Duplicate) => to.write_all(bytes).await?,
        Some(Sabotage::Change) => {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        }
    }
    to.write_all(bytes).await
}

/// The id in the head of a handshake; 0 where there is none.
fn id_in(head: &[u8]) -> u64 {
    let head = String::from_utf8_lossy(head);
    let value = flowgate_bench::websocket::header_value(&head, ID_HEADER);
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
