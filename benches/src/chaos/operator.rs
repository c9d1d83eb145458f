//! An operator who changes accounts all the time, and what is known of each change: acknowledged, not
//! made, or nobody knows.

use std::sync::Arc;
use std::time::Duration;

use flowgate_bench::clock::now;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::accounts::{Credential, Tenant};
use crate::client::Order;
use crate::dice::Dice;
use crate::http::{Answer, ask, request};
use crate::incidents::Part;
use crate::judge::{GRACE, Judge};
use crate::world::{TOKEN, World};

const PATIENCE: Duration = Duration::from_secs(10);
/// A change that nobody can make for so long is a violation, unless something is disturbed.
const TRIES_PAUSE: Duration = Duration::from_millis(500);

/// What came of a call.
enum Made {
    /// Acknowledged; with what was answered.
    Yes(Answer),
    /// It was not made, for certain.
    No,
    /// It may have been made.
    Perhaps,
}

/// An operator with some of the tenants.
pub struct Operator {
    /// The processes.
    pub world: Arc<World>,
    /// The judge.
    pub judge: Arc<Judge>,
    /// Whose accounts; nobody else changes them.
    pub tenants: Vec<Arc<Tenant>>,
    /// What it is told.
    pub orders: watch::Receiver<Order>,
    /// Milliseconds from one change to the next, at least and at most.
    pub pause_ms: (u64, u64),
}

impl Operator {
    /// Works until it is over; never stops while a change's outcome is not known.
    pub async fn work(self, mut dice: Dice) {
        while *self.orders.borrow() == Order::Live {
            if let Some(tenant) = dice.pick(&self.tenants) {
                self.change(tenant, &mut dice).await;
            }
            sleep(dice.span_ms(self.pause_ms.0, self.pause_ms.1)).await;
        }
        for tenant in &self.tenants {
            if !tenant.comes_and_goes && tenant.enabled().settled() == Some(false) {
                self.set_disabled(tenant, false, &mut dice).await;
            }
        }
    }

    async fn change(&self, tenant: &Tenant, dice: &mut Dice) {
        let is_enabled = tenant.enabled().settled() == Some(true);
        if tenant.comes_and_goes {
            return match is_enabled {
                true => self.remove(tenant, dice).await,
                false => self.create(tenant, dice).await,
            };
        }
        if !is_enabled {
            return self.set_disabled(tenant, false, dice).await;
        }
        let named = tenant.named_keys();
        let key = dice.pick(&named).cloned();
        match (dice.below(10), key) {
            (0..4, _) => self.regenerate(tenant, dice).await,
            (4, _) => self.set_disabled(tenant, true, dice).await,
            (5..7, Some(key)) => self.rotate(tenant, &key, dice).await,
            (7, Some(key)) => self.revoke(tenant, &key, dice).await,
            _ if named.len() < 4 => self.add_key(tenant, dice).await,
            _ => self.regenerate(tenant, dice).await,
        }
    }

    /// Makes a call again and again until its outcome is known: until it is acknowledged or, if no
    /// earlier try may have been carried out, refused as not made.
    async fn insist(
        &self,
        tenant: &Tenant,
        dice: &mut Dice,
        (method, path): (&str, &str),
        headers: &str,
        body: Option<Value>,
    ) -> Option<Answer> {
        let begin = now();
        let mut is_unknown = false;
        loop {
            match self.call(tenant, dice, method, path, headers, body.as_ref()).await {
                Made::Yes(answer) => {
                    self.judge.count("changes acknowledged");
                    return Some(answer);
                }
                Made::No if !is_unknown => {
                    self.judge.count("changes refused as not made");
                    return None;
                }
                Made::No => {}
                Made::Perhaps => {
                    self.judge.count("changes of unknown outcome, made again");
                    is_unknown = true;
                }
            }
            self.complain_if_stuck(tenant, begin, path);
            sleep(TRIES_PAUSE).await;
        }
    }

    fn complain_if_stuck(&self, tenant: &Tenant, begin: std::time::Instant, path: &str) {
        let at = now();
        let is_calm = |from| !self.registry_was_disturbed(tenant, from, at);
        if let Some(from) = at.checked_sub(3 * GRACE)
            && begin < from
            && is_calm(from)
        {
            self.judge.violation("a change cannot be made", format!("{} {path}", tenant.name));
        }
    }

    fn registry_was_disturbed(
        &self,
        tenant: &Tenant,
        from: std::time::Instant,
        to: std::time::Instant,
    ) -> bool {
        let replicas = self.world.replicas_of(tenant.home);
        let is_it = |part| match part {
            Part::Redis => true,
            Part::Replica(one)
            | Part::Drain(one)
            | Part::RegistryLink(one)
            | Part::Disk(one)
            | Part::Files(one) => replicas.contains(&one),
            _ => false,
        };
        self.judge.incidents.touched(is_it, from, to, GRACE)
    }

    async fn call(
        &self,
        tenant: &Tenant,
        dice: &mut Dice,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&Value>,
    ) -> Made {
        let replicas = self.world.replicas_of(tenant.home);
        let Some(replica) = dice.pick(&replicas) else { return Made::No };
        let path = format!("/admin/v1/tenants/{}{path}", tenant.name);
        let headers = format!("Authorization: Bearer {TOKEN}\r\n{headers}");
        let request = request(method, &path, &headers, body);
        let sent = now();
        let answer = ask(self.world.replicas[*replica].admin, &request, PATIENCE).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                if !self.registry_was_disturbed(tenant, sent, now()) {
                    let text = format!("{method} {path} at replica {replica}: {why}");
                    self.judge.violation("no answer without a cause", text);
                }
                return Made::Perhaps;
            }
        };
        match (answer.status, answer.code().as_str()) {
            (200..300, _) => {
                self.judge.took("a change, from call to answer", sent.elapsed());
                return Made::Yes(answer);
            }
            // Removed by an earlier try.
            (404, _) if method == "DELETE" => return Made::Yes(answer),
            // Made by an earlier try: guests' names are nobody else's.
            (428, _) if method == "PUT" => return Made::Yes(answer),
            (503, _) if !self.registry_was_disturbed(tenant, sent, now()) => {
                let text = format!("{method} {path} at replica {replica}: {}", answer.summary());
                self.judge.violation("refused without a cause", text);
            }
            (503, code) => self.judge.count(&format!("changes answered with 503 {code}")),
            _ => {
                let text = format!("{method} {path} at replica {replica}: {}", answer.summary());
                self.judge.violation("an unexpected answer", text);
            }
        }
        // The one refusal that promises that nothing was changed.
        if answer.code() == "registry_away" { Made::No } else { Made::Perhaps }
    }

    async fn regenerate(&self, tenant: &Tenant, dice: &mut Dice) {
        let Some(old) = tenant.default_key() else { return };
        old.fact().begin(false, now());
        match self.insist(tenant, dice, ("POST", "/api-key"), "", None).await {
            None => old.fact().withdraw(),
            Some(answer) => {
                old.fact().acknowledge(now());
                self.learn(tenant, &answer, false);
            }
        }
    }

    /// A key that was just made.
    fn learn(&self, tenant: &Tenant, answer: &Answer, is_named: bool) {
        let json = answer.json();
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        match text("key") {
            Some(key) => {
                let id = text("id").filter(|_| is_named);
                tenant.add(Credential::alive(key, id));
            }
            None => self.judge.violation("an unexpected answer", format!("no key: {json}")),
        }
    }

    async fn add_key(&self, tenant: &Tenant, dice: &mut Dice) {
        // Another name each time: a try whose outcome nobody knows must not be in the way. What it
        // may have made, nobody knows the secret of.
        let name = format!("key-{:08x}", dice.next() as u32);
        let body = json!({ "name": name });
        let path = ("POST", "/keys");
        let mut made = self.call(tenant, dice, path.0, path.1, "", Some(&body)).await;
        if let Made::Perhaps = made {
            self.judge.count("changes of unknown outcome, given up");
            made = Made::No;
        }
        if let Made::Yes(answer) = made {
            self.judge.count("changes acknowledged");
            self.learn(tenant, &answer, true);
        }
    }

    async fn rotate(&self, tenant: &Tenant, key: &Credential, dice: &mut Dice) {
        let Some(id) = &key.id else { return };
        key.fact().begin(false, now());
        let path = format!("/keys/{id}/rotate");
        match self.insist(tenant, dice, ("POST", &path), "", Some(json!({}))).await {
            None => key.fact().withdraw(),
            Some(answer) => {
                key.fact().acknowledge(now());
                self.learn(tenant, &answer, true);
            }
        }
    }

    async fn revoke(&self, tenant: &Tenant, key: &Credential, dice: &mut Dice) {
        let Some(id) = &key.id else { return };
        key.fact().begin(false, now());
        let path = format!("/keys/{id}");
        match self.insist(tenant, dice, ("DELETE", &path), "", None).await {
            None => key.fact().withdraw(),
            Some(_) => key.fact().acknowledge(now()),
        }
    }

    async fn set_disabled(&self, tenant: &Tenant, disabled: bool, dice: &mut Dice) {
        tenant.enabled().begin(!disabled, now());
        let body = json!({ "disabled": disabled });
        match self.insist(tenant, dice, ("PUT", "/disabled"), "", Some(body)).await {
            None => tenant.enabled().withdraw(),
            Some(_) => tenant.enabled().acknowledge(now()),
        }
    }

    async fn create(&self, tenant: &Tenant, dice: &mut Dice) {
        let mut settings = tenant.settings(&self.world.runtime_address(tenant));
        let secret = format!("chaos-guest-key-{:016x}{:016x}", dice.next(), dice.next());
        settings["api_key"] = json!(secret);
        let key = Credential::alive(secret, None);
        tenant.enabled().begin(true, now());
        tenant.add(Arc::clone(&key));
        match self.insist(tenant, dice, ("PUT", ""), "", Some(settings)).await {
            None => {
                tenant.enabled().withdraw();
                key.fact().begin(false, now());
                key.fact().acknowledge(now());
            }
            Some(_) => tenant.enabled().acknowledge(now()),
        }
    }

    async fn remove(&self, tenant: &Tenant, dice: &mut Dice) {
        let keys = tenant.living();
        tenant.enabled().begin(false, now());
        keys.iter().for_each(|key| key.fact().begin(false, now()));
        let removed = self.insist(tenant, dice, ("DELETE", ""), "If-Match: *\r\n", None).await;
        match removed {
            None => {
                tenant.enabled().withdraw();
                keys.iter().for_each(|key| key.fact().withdraw());
            }
            Some(_) => {
                tenant.enabled().acknowledge(now());
                keys.iter().for_each(|key| key.fact().acknowledge(now()));
            }
        }
    }
}
