//! A client, a link and a runtime: what the link does is noticed, and what it may do does no harm.

use flowgate_bench::websocket::handshake;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::*;
use crate::accounts::{Home, Tenant};
use crate::dice::Dice;
use crate::frames::{Broken, Reader};
use crate::judge::Way;
use crate::messages::{Checked, Checker};
use crate::runtime::{greeting, serve_on};

const PATIENCE: Duration = Duration::from_secs(60);
const ID: u64 = 2;

async fn link() -> Link {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move { serve_on(&listener, "runtime-0").await });
    Link::to(target, Arc::default()).await.unwrap()
}

struct Client {
    from: Reader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    checker: Checker,
    way: Way,
    dice: Dice,
}

impl Client {
    /// A client whose greeting has arrived.
    async fn of(link: &Link) -> Self {
        let stream = TcpStream::connect(link.address).await.unwrap();
        let (from, mut to) = stream.into_split();
        let request = handshake("localhost", "/api/echo", &format!("{ID_HEADER}: {ID}\r\n"));
        to.write_all(&request).await.unwrap();
        let mut from = Reader::new(from);
        assert!(from.head().await.unwrap().starts_with("HTTP/1.1 101 "));
        let tenant = Arc::new(Tenant::new("ana".to_owned(), Home::Shared, 0, false));
        let credential = tenant.credentials().remove(0);
        let way = Way { id: ID, replica: 0, tenant, credential, opened: now() };
        let checker = Checker::new(greeting("runtime-0", ""));
        let mut client = Self { from, to, checker, way, dice: Dice::from_seed(1) };
        assert_eq!(client.next().await, Ok(Checked::Message));
        client
    }

    async fn send(&mut self) {
        let frames = self.checker.prepare(&self.way, &mut self.dice);
        self.to.write_all(&frames).await.unwrap();
    }

    async fn next(&mut self) -> std::result::Result<Checked, String> {
        match timeout(PATIENCE, self.from.frame()).await.expect("something comes") {
            Ok(frame) => self.checker.check(frame),
            Err(why) => Err(format!("{why:?}")),
        }
    }

    /// Reads until something is wrong; `None` if nothing is.
    async fn first_fault(&mut self) -> Option<String> {
        while self.checker.misses_something() {
            if let Err(why) = self.next().await {
                return Some(why);
            }
        }
        None
    }
}

fn weather(sabotage: Option<Sabotage>) -> Weather {
    Weather { one_in: 1, sabotage, ..Weather::default() }
}

#[tokio::test]
async fn a_message_that_comes_twice_or_changed_or_not_is_noticed() {
    for sabotage in [Sabotage::Duplicate, Sabotage::Lose, Sabotage::Change, Sabotage::End] {
        let link = link().await;
        let mut client = Client::of(&link).await;
        client.send().await;
        assert_eq!(client.first_fault().await, None);
        link.set(weather(Some(sabotage)));
        client.send().await;
        timeout(PATIENCE, async {
            while link.spoilt() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the link does it");
        // What was lost is missed at the next message at the latest.
        link.heal();
        client.send().await;
        assert!(client.first_fault().await.is_some(), "{sabotage:?}");
    }
}

#[tokio::test]
async fn small_pieces_and_silence_change_nothing() {
    let link = link().await;
    let mut client = Client::of(&link).await;
    link.set(Weather { piece_bytes: 1, delay: Duration::from_millis(1), ..weather(None) });
    client.send().await;
    assert_eq!(client.first_fault().await, None);
    link.set(Weather { is_silent: true, ..weather(None) });
    client.send().await;
    assert!(timeout(Duration::from_millis(20), client.from.frame()).await.is_err());
    link.heal();
    assert_eq!(client.first_fault().await, None);
}

#[tokio::test]
async fn a_cut_is_known_by_the_id_of_the_handshake() {
    let link = link().await;
    let mut client = Client::of(&link).await;
    assert!(!link.shared.cuts.has(ID));
    assert_eq!(link.cut(1), 1);
    assert!(link.shared.cuts.has(ID) && !link.shared.cuts.has(ID + 1));
    assert!(matches!(timeout(PATIENCE, client.from.frame()).await, Ok(Err(Broken::Torn(_)))));
    link.set(Weather { refuses: true, ..weather(None) });
    let mut stream = TcpStream::connect(link.address).await.unwrap();
    let refused = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(refused.is_err(), "it is reset");
}
