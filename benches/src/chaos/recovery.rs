//! How long it takes until everything is in order again.

use std::time::Duration;

use flowgate_bench::clock::now;
use tokio::time::sleep;

use crate::accounts::{Home, Tenant};
use crate::http::{ask, request};
use crate::judge::Judge;
use crate::world::World;

/// Other things may be broken meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Looks for it.
#[derive(Clone, Copy)]
pub struct Recovery<'a> {
    /// The processes.
    pub world: &'a World,
    /// Who is told.
    pub judge: &'a Judge,
}

impl Recovery<'_> {
    /// Until a replica is as well informed as it can be.
    pub async fn registry(&self, index: usize) {
        let begin = now();
        while begin.elapsed() < PATIENCE {
            let readiness = request("GET", "/readyz", "", None);
            let answer = ask(self.world.replicas[index].admin, &readiness, ANSWER_PATIENCE).await;
            if answer.is_ok_and(|answer| answer.json()["registry"] == "current") {
                self.judge.took(
                    "a replica is current again, from the end of a disturbance",
                    begin.elapsed(),
                );
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Until a tenant of a runtime is let in somewhere.
    pub async fn runtime(&self, index: usize, what: &'static str) {
        let is_it = |tenant: &&Tenant| {
            tenant.runtime == index && !tenant.comes_and_goes && tenant.home == Home::Shared
        };
        let tenants = self.world.tenants.iter().map(std::convert::AsRef::as_ref).filter(is_it);
        self.until_let_in(
            &tenants.collect::<Vec<_>>(),
            &self.world.replicas_of(Home::Shared),
            what,
        )
        .await;
    }

    /// Until a tenant is let in by a replica.
    pub async fn replica(&self, index: usize, what: &'static str) {
        let home = self.world.replicas[index].home;
        let is_it = |tenant: &&Tenant| tenant.home == home && !tenant.comes_and_goes;
        let tenants = self.world.tenants.iter().map(std::convert::AsRef::as_ref).filter(is_it);
        self.until_let_in(&tenants.collect::<Vec<_>>(), &[index], what).await;
    }

    async fn until_let_in(&self, tenants: &[&Tenant], replicas: &[usize], what: &'static str) {
        let begin = now();
        let mut pairs = tenants.iter().cycle().zip(replicas.iter().cycle());
        while begin.elapsed() < PATIENCE {
            let Some((tenant, replica)) = pairs.next() else { return };
            sleep(LOOK_EVERY).await;
            let Some(key) = tenant.default_key() else { continue };
            let headers = format!("apikey: {}\r\n", key.secret);
            let request = request("GET", "/api/who", &headers, None);
            let answer = ask(self.world.replicas[*replica].data, &request, ANSWER_PATIENCE).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return self.judge.took(what, begin.elapsed());
            }
        }
        self.judge.violation("nobody is let in again", what.to_owned());
    }
}
