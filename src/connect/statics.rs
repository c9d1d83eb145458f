//! The provider `static`: somebody else's runtime, at one address or several. Nothing is started or ended;
//! whether it answers is all that can be told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Dialer;
use crate::runtimes::contract::{Condition, Order, RunningRuntime, RuntimeProvider, StartFault};
use crate::runtimes::place::Place;
use crate::tenant::{Instance, TenantId};

/// How long one is waited for that does not answer.
const START_MAX: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Between two questions to one that does not answer, and to one that does.
const ASK_EVERY: Duration = Duration::from_millis(200);
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Questions in a row that one may leave open before it is held to be gone.
const SILENCES_MAX: u32 = 3;

/// What is at a tenant's registered address.
#[derive(Clone, Debug)]
pub struct Statics {
    dialer: Arc<Dialer>,
    instance: Arc<Instance>,
}

/// A runtime that has answered there.
#[derive(Debug)]
pub struct Answering {
    there: Statics,
    probe_path: String,
}

impl Statics {
    /// Of this instance.
    #[must_use]
    pub fn new(dialer: Arc<Dialer>, instance: Arc<Instance>) -> Self {
        Self { dialer, instance }
    }

    async fn ask(&self, path: &str) -> Condition {
        let answers = Arc::clone(&self.dialer).answers((*self.instance).clone(), path.to_owned());
        match timeout(ANSWER_MAX, answers).await {
            Ok(Ok(Some(_))) => Condition::Answers,
            Ok(Ok(None)) | Err(_) => Condition::Silent,
            Ok(Err(_)) => Condition::Down,
        }
    }
}

impl RuntimeProvider for Statics {
    type Running = Answering;

    /// Waits until it answers.
    async fn start(&self, order: &Order) -> Result<Answering, StartFault> {
        let answers = async {
            while self.ask(&order.probe_path).await != Condition::Answers {
                sleep(ASK_EVERY).await;
            }
        };
        match timeout(START_MAX, answers).await {
            Ok(()) => Ok(Answering { there: self.clone(), probe_path: order.probe_path.clone() }),
            Err(_) => {
                let (seconds, instance) = (START_MAX.as_secs(), &self.instance);
                let why = format!("nobody answered at {instance} within {seconds} s");
                Err(StartFault::new(&why))
            }
        }
    }

    async fn condition(&self, order: &Order) -> Condition {
        self.ask(&order.probe_path).await
    }

    /// Nothing: whoever runs it has it.
    async fn log_tail(&self, _: &Order) -> Vec<u8> {
        Vec::new()
    }

    /// None that would have to be owned.
    async fn left_running(&self) -> Vec<TenantId> {
        Vec::new()
    }
}

impl RunningRuntime for Answering {
    fn place(&self) -> Place {
        Place::anywhere(self.there.instance.host.clone(), self.there.instance.port)
    }

    async fn log_tail(&self) -> Vec<u8> {
        Vec::new()
    }

    async fn ended(&mut self) -> String {
        let mut silences = 0;
        while silences < SILENCES_MAX {
            sleep(WATCH_EVERY).await;
            match self.there.ask(&self.probe_path).await {
                Condition::Answers => silences = 0,
                Condition::Down | Condition::Silent => silences += 1,
            }
        }
        "it does not answer any more".to_owned()
    }

    /// It runs on: it is somebody else's.
    async fn stop(self) {}

    async fn leave(self) {}
}
