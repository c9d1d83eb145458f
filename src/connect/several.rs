//! A runtime at several addresses: the dial goes to the next node if one cannot be reached, as nothing
//! was sent so far, and nodes are probed where that was asked for.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Dialer;
use crate::clock::Millis;
use crate::metrics::Stopwatch;
use crate::refusal::Refusal;
use crate::tenant::Instance;
use crate::tenant::nodes::Nodes;
use crate::tls::Stream;

/// Nodes that one call tries; each may take `connect_timeout`.
const DIALS_MAX: usize = 4;
/// How long an answer to a probe may take.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// Runtimes that nobody has called for so long are not probed.
const PROBED_FOR: Duration = Duration::from_secs(300);
/// Runtimes that are probed.
const WATCHED_MAX: usize = 10_000;
/// Probes under way.
const PROBES_MAX: usize = 64;

/// Runtimes whose nodes are probed.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<Vec<Watch>>);

#[derive(Debug)]
struct Watch {
    nodes: Weak<Nodes>,
    /// Everything but the address.
    instance: Instance,
    due: Millis,
}

impl Watched {
    fn add(&self, instance: &Instance, nodes: &Arc<Nodes>) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() >= WATCHED_MAX {
            nodes.unwatch();
            return;
        }
        let instance = Instance { nodes: None, ..instance.clone() };
        watched.push(Watch { nodes: Arc::downgrade(nodes), instance, due: Millis(0) });
    }

    /// Those that are due; what nobody uses any more is forgotten.
    fn due(&self, now: Millis) -> Vec<(Arc<Nodes>, Instance)> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        watched.retain_mut(|watch| {
            let Some(nodes) = watch.nodes.upgrade() else { return false };
            let Some(probe) = nodes.probe.as_ref().filter(|_| nodes.is_used(now, PROBED_FOR))
            else {
                nodes.unwatch();
                return false;
            };
            if now >= watch.due {
                watch.due = now.plus(probe.every);
                due.push((Arc::clone(&nodes), watch.instance.clone()));
            }
            true
        });
        due
    }
}

impl Dialer {
    /// Dials one of the nodes.
    pub(super) async fn dial_one_of(
        &self,
        instance: &Instance,
        nodes: &Arc<Nodes>,
        watch: &mut Stopwatch,
    ) -> Result<Stream, Refusal> {
        if nodes.watch() {
            self.watched.add(instance, nodes);
        }
        let (mut tried, mut last) = (Vec::new(), Refusal::NoRuntime);
        while tried.len() < DIALS_MAX
            && let Some(place) = nodes.choose(&tried, self.clock.now())
        {
            let Some(node) = at(instance, nodes, place) else { break };
            match self.dial_there(&node, watch).await {
                Ok(socket) => {
                    // Whether it answers, too, is for the probe to say.
                    if nodes.probe.is_none() {
                        nodes.take_back(place);
                    }
                    return Ok(socket);
                }
                Err(
                    refusal @ (Refusal::RuntimeUnreachable(_)
                    | Refusal::RuntimeTimedOut(_)
                    | Refusal::RuntimeCertificate(_)),
                ) => {
                    let now = self.clock.now();
                    // Where all are aside they are tried each time.
                    if nodes.is_up(place, now) {
                        tracing::warn!(%node, why = %refusal, "a runtime's node is set aside");
                    }
                    nodes.set_aside(place, nodes.aside_from(now));
                    last = refusal;
                }
                // It is our own want, and tells nothing of the node.
                Err(refusal) => return Err(refusal),
            }
            tried.push(place);
        }
        Err(last)
    }

    /// Probes the nodes that are due, and waits for their answers.
    pub async fn probe_nodes(self: &Arc<Self>) {
        let mut probes = JoinSet::new();
        for (nodes, instance) in self.watched.due(self.clock.now()) {
            for place in 0..nodes.places().count() {
                let Some(node) = at(&instance, &nodes, place) else { continue };
                if probes.len() >= PROBES_MAX {
                    probes.join_next().await;
                }
                let (nodes, clock) = (Arc::clone(&nodes), self.clock);
                let path = nodes.probe.as_ref().map(|probe| probe.path.clone());
                let answers = Arc::clone(self).answers(node.clone(), path.unwrap_or_default());
                probes.spawn(async move {
                    let answer = timeout(PROBE_MAX, answers).await;
                    let answers = matches!(answer, Ok(Ok(Some(200..500))));
                    let now = clock.now();
                    match (answers, nodes.is_up(place, now)) {
                        (true, is_up) => {
                            nodes.take_back(place);
                            if !is_up {
                                tracing::info!(%node, "a runtime's node answers again");
                            }
                        }
                        (false, is_up) => {
                            nodes.set_aside(place, nodes.aside_from(now));
                            if is_up {
                                tracing::warn!(%node, "a runtime's node does not answer its probe");
                            }
                        }
                    }
                });
            }
        }
        while probes.join_next().await.is_some() {}
    }

    /// The status that a runtime answers a request with; `None` for what is no HTTP.
    pub(super) async fn answers(
        self: Arc<Self>,
        node: Instance,
        path: String,
    ) -> Result<Option<u16>, Refusal> {
        const LENGTH: usize = "HTTP/1.1 200".len();
        let mut socket = self.dial(&node, &mut Stopwatch::default()).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\n\r\n",
            node.host, node.port
        );
        let mut answer = [0; LENGTH];
        let exchange = async {
            socket.write_all(request.as_bytes()).await?;
            socket.flush().await?;
            socket.read_exact(&mut answer).await
        };
        let broke = |error: std::io::Error| Refusal::RuntimeBroke(error.to_string());
        exchange.await.map_err(broke)?;
        Ok(status_of(&answer))
    }
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let status = answer.strip_prefix(b"HTTP/1.1 ").or(answer.strip_prefix(b"HTTP/1.0 "));
    status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok())
}

/// The instance as one node has it.
fn at(instance: &Instance, nodes: &Nodes, place: usize) -> Option<Instance> {
    let (host, port) = nodes.places().nth(place)?;
    Some(Instance { host: host.to_owned(), port, nodes: None, ..instance.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status() {
        for (answer, status) in [
            ("HTTP/1.1 200", Some(200)),
            ("HTTP/1.0 404", Some(404)),
            ("HTTP/2.0 200", None),
            ("SSH-2.0-Open", None),
        ] {
            assert_eq!(status_of(answer.as_bytes()), status, "{answer}");
        }
    }
}
