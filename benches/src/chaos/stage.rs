//! The processes with everybody who uses them: clients, an operator, somebody who tries things.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flowgate_bench::clock::now;
use flowgate_bench::fault::{Result, fault};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::accounts::Tenant;
use crate::client::{self, Crowd, Manners, Order};
use crate::dice::Dice;
use crate::incidents::Incidents;
use crate::judge::Judge;
use crate::link::Cuts;
use crate::operator::Operator;
use crate::prober::Prober;
use crate::world::{Plan, World};

/// Operators, each with a part of the tenants.
const OPERATORS: usize = 3;
const PROBERS: usize = 3;
const LEAVE_PATIENCE: Duration = Duration::from_secs(60);

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// flowgate's program.
    pub flowgate: PathBuf,
    /// For files and logs.
    pub folder: PathBuf,
    /// How long.
    pub time: Duration,
    /// Connections at once.
    pub connections: usize,
    /// What chance follows from.
    pub seed: u64,
}

/// All of them.
pub struct Stage {
    /// What is wanted.
    pub settings: Settings,
    /// The processes.
    pub world: Arc<World>,
    /// The judge.
    pub judge: Arc<Judge>,
    /// All clients.
    pub crowd: Arc<Crowd>,
    /// Chance for whatever else there is.
    pub dice: Dice,
    orders: watch::Sender<Order>,
    operators: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

impl Stage {
    /// Starts everything, and invites the clients.
    pub async fn set(settings: Settings, manners: Manners) -> Result<Self> {
        let (incidents, cuts) = (Arc::new(Incidents::default()), Arc::new(Cuts::default()));
        let plan = Plan { flowgate: settings.flowgate.clone(), folder: settings.folder.clone() };
        let world = Arc::new(World::start(plan, &cuts).await?);
        let judge = Arc::new(Judge::new(incidents, cuts));
        let (orders, receiver) = watch::channel(Order::Live);
        let crowd = Crowd::new(Arc::clone(&world), Arc::clone(&judge), receiver, manners);
        let mut stage = Self {
            dice: Dice::from_seed(settings.seed),
            settings,
            world,
            judge,
            crowd: Arc::new(crowd),
            orders,
            operators: Vec::new(),
            others: Vec::new(),
        };
        stage.invite();
        Ok(stage)
    }

    fn invite(&mut self) {
        let stays = |tenant: &&Arc<Tenant>| !tenant.comes_and_goes;
        let tenants: Vec<_> = self.world.tenants.iter().filter(stays).cloned().collect();
        for index in 0..self.settings.connections {
            let tenant = Arc::clone(&tenants[index % tenants.len()]);
            let living = client::live(Arc::clone(&self.crowd), tenant, self.dice.split());
            self.others.push(tokio::spawn(living));
        }
    }

    /// Has operators and probers begin. Operators pause so long between two changes.
    pub fn employ(&mut self, pause_ms: (u64, u64)) {
        let tenants = self.world.for_operators();
        for number in 0..OPERATORS {
            let mine = tenants.iter().skip(number).step_by(OPERATORS);
            let operator = Operator {
                world: Arc::clone(&self.world),
                judge: Arc::clone(&self.judge),
                tenants: mine.cloned().collect(),
                orders: self.orders.subscribe(),
                pause_ms: (pause_ms.0 * OPERATORS as u64, pause_ms.1 * OPERATORS as u64),
            };
            self.operators.push(tokio::spawn(operator.work(self.dice.split())));
        }
        let prober = Prober { world: Arc::clone(&self.world), judge: Arc::clone(&self.judge) };
        for _ in 0..PROBERS {
            let trying = prober.clone().work(self.orders.subscribe(), self.dice.split(), (50, 250));
            self.others.push(tokio::spawn(trying));
        }
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.crowd.open.load(Ordering::SeqCst)
    }

    /// Waits until almost all clients are in: some always come and go.
    pub async fn wait_until_open(&self, patience: Duration) -> Result<()> {
        let (begin, wanted) = (now(), self.settings.connections as u64 * 8 / 10);
        while self.open() < wanted {
            if begin.elapsed() > patience {
                return fault(format!("only {} of {wanted} connections are open", self.open()));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Has operators finish what they began.
    pub async fn settle(&mut self) {
        self.orders.send_replace(Order::Leave);
        for operator in self.operators.drain(..) {
            let _ = operator.await;
        }
    }

    /// Has all clients say goodbye, and waits until they have.
    pub async fn leave(&self) {
        self.orders.send_replace(Order::Leave);
        let begin = now();
        while self.open() > 0 {
            if begin.elapsed() > LEAVE_PATIENCE {
                let text = format!("{} connections are still open", self.open());
                return self.judge.violation("clients cannot leave", text);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Has them come again.
    pub fn come_again(&self) {
        self.orders.send_replace(Order::Live);
    }

    /// It is over for everybody.
    pub fn end(&self) {
        self.orders.send_replace(Order::End);
    }
}
