//! A client: comes in, sends numbered messages, compares what comes back, and comes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowgate_bench::clock::now;
use flowgate_bench::websocket::{ACCEPT, CLOSE, PING, PONG, client_frame, handshake, header_value};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::accounts::Tenant;
use crate::dice::Dice;
use crate::frames::{Broken, Frame, Reader};
use crate::judge::{Attempt, End, Judge, LOST, Outcome, Way};
use crate::link::ID_HEADER;
use crate::messages::{self, Checked, Checker};
use crate::runtime::greeting;
use crate::world::World;

/// How long a client waits for the answer to its handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Come in, and come again.
    Live,
    /// Say goodbye, and stay away.
    Leave,
    /// It is over.
    End,
}

/// How clients live.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// After this many bursts of messages a client says goodbye and comes again.
    pub bursts_max: usize,
    /// Milliseconds from one burst to the next, at least and at most.
    pub pause_ms: (u64, u64),
}

/// What all clients share.
pub struct Crowd {
    /// The processes.
    pub world: Arc<World>,
    /// The judge.
    pub judge: Arc<Judge>,
    /// What they are told.
    pub orders: watch::Receiver<Order>,
    /// How they live.
    pub manners: Manners,
    /// Connections that are open.
    pub open: AtomicU64,
    /// Messages that came back.
    pub messages: AtomicU64,
    ids: AtomicU64,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(
        world: Arc<World>,
        judge: Arc<Judge>,
        orders: watch::Receiver<Order>,
        manners: Manners,
    ) -> Self {
        let zero = || AtomicU64::new(0);
        Self { world, judge, orders, manners, open: zero(), messages: zero(), ids: zero() }
    }
}

/// One client of a tenant's, for as long as it is told to.
pub async fn live(crowd: Arc<Crowd>, tenant: Arc<Tenant>, mut dice: Dice) {
    let mut orders = crowd.orders.clone();
    loop {
        let order = *orders.borrow_and_update();
        match order {
            Order::End => return,
            Order::Leave => {
                if orders.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Order::Live => {}
        }
        let pause = match come_in(&crowd, &tenant, &mut dice).await {
            Some(visit) => {
                crowd.open.fetch_add(1, Ordering::SeqCst);
                visit.stay(&crowd, &mut dice).await;
                crowd.open.fetch_sub(1, Ordering::SeqCst);
                dice.span_ms(50, 500)
            }
            None => dice.span_ms(500, 2500),
        };
        sleep(pause).await;
    }
}

/// An open connection.
struct Visit {
    way: Way,
    from: Reader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    checker: Checker,
    /// Whether it has looked at what comes all the time.
    is_prompt: bool,
}

async fn come_in(crowd: &Crowd, tenant: &Arc<Tenant>, dice: &mut Dice) -> Option<Visit> {
    let credential = tenant.to_come_in(dice)?;
    let replica = *dice.pick(&crowd.world.replicas_of(tenant.home))?;
    let id = crowd.ids.fetch_add(1, Ordering::SeqCst) + 1;
    let headers = format!("apikey: {}\r\n{ID_HEADER}: {id}\r\n", credential.secret);
    let request = handshake("localhost", "/api/echo", &headers);
    let sent = now();
    let entrance = crowd.world.replicas[replica].clients.address;
    let outcome = match timeout(HANDSHAKE_PATIENCE, shake_hands(entrance, &request)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Outcome::Broken("no answer to a handshake".to_owned())),
    };
    let attempt =
        Attempt { replica, by_link: true, tenant, credential: &credential, sent, got: now() };
    match outcome {
        Err(refused) => {
            crowd.judge.attempt(&attempt, &refused);
            None
        }
        Ok((from, to)) => {
            crowd.judge.attempt(&attempt, &Outcome::Opened);
            let way = Way { id, replica, tenant: Arc::clone(tenant), credential, opened: sent };
            let hello = greeting(&format!("runtime-{}", tenant.runtime), &tenant.name);
            Some(Visit { way, from, to, checker: Checker::new(hello), is_prompt: true })
        }
    }
}

type Halves = (Reader<OwnedReadHalf>, OwnedWriteHalf);

async fn shake_hands(entrance: std::net::SocketAddr, request: &[u8]) -> Result<Halves, Outcome> {
    let broken = |error: std::io::Error| Outcome::Broken(error.to_string());
    let stream = TcpStream::connect(entrance).await.map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let (from, mut to) = stream.into_split();
    to.write_all(request).await.map_err(broken)?;
    let mut from = Reader::new(from);
    let head = from.head().await.map_err(|why| Outcome::Broken(format!("{why:?}")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    if status != 101 {
        let code = code_of(&from.rest().await);
        return Err(Outcome::Refused(status, code));
    }
    match header_value(&head, "sec-websocket-accept") {
        Some(ACCEPT) => Ok((from, to)),
        _ => Err(Outcome::Refused(101, "with a wrong Sec-WebSocket-Accept".to_owned())),
    }
}

fn code_of(body: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

/// Why a visit is over.
enum Over {
    /// The client wants it.
    Goodbye,
    /// The client is gone without a word.
    Gone,
    /// Somebody else has ended it.
    Ended(End),
    /// What came was wrong, or did not come, and the judge has been told.
    Wrong,
}

impl Visit {
    async fn stay(mut self, crowd: &Crowd, dice: &mut Dice) {
        match self.exchange(crowd, dice).await {
            Over::Goodbye => self.say_goodbye(crowd).await,
            Over::Gone => {
                crowd.judge.count("clients gone without a word");
                let _ = self.to.as_ref().set_zero_linger();
            }
            Over::Ended(end) => crowd.judge.end(&self.way, &end, self.is_prompt),
            Over::Wrong => {}
        }
    }

    async fn exchange(&mut self, crowd: &Crowd, dice: &mut Dice) -> Over {
        let mut orders = crowd.orders.clone();
        let (least, most) = crowd.manners.pause_ms;
        for _ in 0..1 + dice.below(crowd.manners.bursts_max) {
            if let Err(over) = self.burst(crowd, dice).await {
                return over;
            }
            let pause = sleep(dice.span_ms(least, most));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = until_told(&mut orders) => return Over::Goodbye,
                    frame = self.from.frame() => {
                        if let Err(over) = self.take(crowd, frame, now()).await {
                            return over;
                        }
                    }
                }
            }
        }
        if dice.percent(20) { Over::Gone } else { Over::Goodbye }
    }

    /// Sends some messages and waits until all are back.
    async fn burst(&mut self, crowd: &Crowd, dice: &mut Dice) -> Result<(), Over> {
        let sent = now();
        let frames = self.checker.prepare(&self.way, dice);
        // A client that is slow to read: nothing but its own messages waits.
        let nap = if dice.percent(1) { dice.span_ms(1000, 8000) } else { Duration::ZERO };
        let mut asked = Vec::new();
        self.is_prompt = nap.is_zero();
        let outcome = {
            let Self { way, from, to, checker, .. } = self;
            let writing = async {
                // What cannot be sent is seen by whoever reads.
                let _ = to.write_all(&frames).await;
            };
            let reading = async {
                sleep(nap).await;
                while checker.misses_something() {
                    let frame = from.frame().await;
                    match check(checker, &crowd.judge, way, frame, sent)? {
                        Checked::Message => _ = crowd.messages.fetch_add(1, Ordering::Relaxed),
                        Checked::Ping(payload) => asked.push(payload),
                        Checked::Nothing => {}
                    }
                }
                Ok(())
            };
            let both = async { tokio::join!(writing, reading).1 };
            unless_overdue(both, &crowd.judge, way, sent + nap).await
        };
        self.answer(asked).await;
        self.is_prompt |= outcome.is_ok();
        outcome
    }

    async fn take(
        &mut self,
        crowd: &Crowd,
        frame: Result<Frame, Broken>,
        sent: Instant,
    ) -> Result<(), Over> {
        match check(&mut self.checker, &crowd.judge, &self.way, frame, sent)? {
            Checked::Ping(payload) => self.answer(vec![payload]).await,
            Checked::Message | Checked::Nothing => {}
        }
        Ok(())
    }

    async fn answer(&mut self, pings: Vec<Vec<u8>>) {
        for payload in pings {
            let _ = self.to.write_all(&client_frame(PONG, &payload)).await;
        }
    }

    /// Says goodbye and waits for the answer: nothing may come in between.
    async fn say_goodbye(mut self, crowd: &Crowd) {
        let sent = now();
        crowd.judge.count("goodbyes");
        let _ = self.to.write_all(&client_frame(CLOSE, &1000_u16.to_be_bytes())).await;
        let deadline = Duration::from_secs(30);
        let answered = timeout(deadline, async {
            loop {
                match self.from.frame().await {
                    Ok(frame) if frame.opcode() == CLOSE => return,
                    Ok(frame) if frame.opcode() == PING => {}
                    Ok(frame) => {
                        let text = format!("connection {}: {:02x}", self.way.id, frame.first);
                        crowd.judge.violation("a message too many", text);
                        return;
                    }
                    Err(_) => return,
                }
            }
        });
        if answered.await.is_err() && crowd.judge.is_overdue(&self.way, sent) {
            let text = format!("connection {} of {}", self.way.id, self.way.tenant.name);
            crowd.judge.violation("a goodbye was not answered", text);
        }
    }
}

/// Waits for an order to do something else than to live.
async fn until_told(orders: &mut watch::Receiver<Order>) {
    let _ = orders.wait_for(|order| *order != Order::Live).await;
}

/// Waits for messages to come back, unless they are lost.
async fn unless_overdue(
    exchange: impl Future<Output = Result<(), Over>>,
    judge: &Judge,
    way: &Way,
    sent: Instant,
) -> Result<(), Over> {
    tokio::pin!(exchange);
    loop {
        tokio::select! {
            outcome = &mut exchange => return outcome,
            () = sleep(LOOK_EVERY) => {}
        }
        if judge.is_overdue(way, sent) {
            let text = format!(
                "{} through replica {}, connection {}, sent {:.1} s ago",
                way.tenant.name,
                way.replica,
                way.id,
                sent.elapsed().as_secs_f64()
            );
            judge.violation(LOST, text);
            return Err(Over::Wrong);
        }
    }
}

fn check(
    checker: &mut Checker,
    judge: &Judge,
    way: &Way,
    frame: Result<Frame, Broken>,
    sent: Instant,
) -> Result<Checked, Over> {
    let frame = match frame {
        Ok(frame) => frame,
        Err(Broken::Nonsense(why)) => {
            judge
                .violation("a frame that nobody has sent", format!("connection {}: {why}", way.id));
            return Err(Over::Wrong);
        }
        Err(Broken::Ended) => return Err(Over::Ended(End::Torn("ended".to_owned()))),
        Err(Broken::Torn(why)) => return Err(Over::Ended(End::Torn(why))),
    };
    if frame.opcode() == CLOSE {
        let (code, reason) = frame.close();
        return Err(Over::Ended(End::Closed(code, reason)));
    }
    match checker.check(frame) {
        Ok(checked) => {
            if matches!(checked, Checked::Message) {
                judge.relayed(way, sent);
            }
            Ok(checked)
        }
        Err(why) => {
            let text = format!("{}, connection {}: {why}", way.tenant.name, way.id);
            judge.violation(messages::WRONG, text);
            Err(Over::Wrong)
        }
    }
}
