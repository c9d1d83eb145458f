//! Somebody who tries credentials all the time, right and wrong and dead ones, on all replicas.

use std::sync::Arc;
use std::time::Duration;

use flowgate_bench::clock::now;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::accounts::{Credential, Tenant};
use crate::client::Order;
use crate::dice::Dice;
use crate::facts::Fact;
use crate::http::{ask, request};
use crate::judge::{ACCEPTED, Attempt, Judge, Outcome};
use crate::runtime::greeting;
use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(30);

/// A prober.
#[derive(Clone)]
pub struct Prober {
    /// The processes.
    pub world: Arc<World>,
    /// The judge.
    pub judge: Arc<Judge>,
}

impl Prober {
    /// Tries until it is over.
    pub async fn work(self, orders: watch::Receiver<Order>, mut dice: Dice, pause_ms: (u64, u64)) {
        while *orders.borrow() != Order::End {
            if let Some(tenant) = dice.pick(&self.world.tenants).cloned() {
                self.try_something(&tenant, &mut dice).await;
            }
            sleep(dice.span_ms(pause_ms.0, pause_ms.1)).await;
        }
    }

    async fn try_something(&self, tenant: &Tenant, dice: &mut Dice) {
        let replicas = self.world.replicas_of(tenant.home);
        let Some(replica) = dice.pick(&replicas).copied() else { return };
        if dice.percent(10) {
            return self.try_at_another(tenant, replica, dice).await;
        }
        let credential = match dice.below(10) {
            0 => nobodys(dice),
            1..5 => match dice.pick(&tenant.credentials()).cloned() {
                Some(credential) => credential,
                None => nobodys(dice),
            },
            _ => match tenant.to_come_in(dice) {
                Some(credential) => credential,
                None => nobodys(dice),
            },
        };
        self.try_one(tenant, &credential, replica).await;
    }

    /// One request with a credential; whatever becomes of it is judged.
    pub async fn try_one(&self, tenant: &Tenant, credential: &Credential, replica: usize) {
        let sent = now();
        let headers = format!("apikey: {}\r\n", credential.secret);
        let outcome = self.get(replica, &headers).await;
        let attempt = Attempt { replica, by_link: false, tenant, credential, sent, got: now() };
        let outcome = match outcome {
            Ok((200, body)) => {
                let expected = greeting(&format!("runtime-{}", tenant.runtime), &tenant.name);
                if body != expected {
                    let text = format!("{body:?} in place of {expected:?}");
                    self.judge.violation("somebody else's runtime or name", text);
                }
                Outcome::Opened
            }
            Ok((status, body)) => Outcome::Refused(status, code_of(&body)),
            Err(why) => Outcome::Broken(why),
        };
        self.judge.attempt(&attempt, &outcome);
    }

    async fn get(&self, replica: usize, headers: &str) -> Result<(u16, String), String> {
        let request = request("GET", "/api/who", headers, None);
        let answer = ask(self.world.replicas[replica].data, &request, PATIENCE).await?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// A tenant's credential on another tenant's host never opens anything.
    async fn try_at_another(&self, tenant: &Tenant, replica: usize, dice: &mut Dice) {
        let Some(other) = dice.pick(&self.world.tenants) else { return };
        let Some(credential) = tenant.to_come_in(dice) else { return };
        if other.name == tenant.name {
            return;
        }
        let headers =
            format!("Host: {}.flows.localhost\r\napikey: {}\r\n", other.name, credential.secret);
        self.judge.count("keys tried on another tenant's host");
        if let Ok((200, body)) = self.get(replica, &headers).await {
            let text = format!("{} on the host of {}: {body}", tenant.name, other.name);
            self.judge.violation(ACCEPTED, text);
        }
    }
}

/// A credential that nobody ever had.
fn nobodys(dice: &mut Dice) -> Arc<Credential> {
    let secret = format!("chaos-nobodys-key-{:016x}", dice.next());
    Credential::with(secret, None, Fact::always(false))
}

fn code_of(body: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}
