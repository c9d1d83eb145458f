//! What is known of a runtime's objects: as little as is needed of what the API server tells.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::names::{GONE_SINCE, Mark, ORDER, TENANT};
use crate::clock::Wall;
use crate::tenant::TenantId;

/// What is known of a tenant's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) set: Option<Set>,
    pub(super) pod: Option<Pod>,
}

/// A StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// Whether there is to be a pod.
    pub(super) is_up: bool,
    /// The order that was carried out last.
    pub(super) order: Option<Mark>,
    /// Since when nobody has the tenant, in seconds since 1970.
    pub(super) gone_since: Option<u64>,
}

/// Its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) address: Option<IpAddr>,
    /// As its probes say, and it is not being removed.
    pub(super) is_ready: bool,
    pub(super) is_going: bool,
    /// Since when all its containers run, in seconds since 1970.
    pub(super) running_since: Option<u64>,
    pub(super) trouble: Option<Trouble>,
}

/// Why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// For its tenant.
    pub(super) why: String,
    /// For operators.
    pub(super) detail: String,
    /// Whether that may change without anybody doing something.
    pub(super) is_passing: bool,
}

/// Whose an object is.
pub(super) fn tenant_of(object: &Value) -> Option<TenantId> {
    TenantId::from_hex(object["metadata"]["labels"][TENANT].as_str()?)
}

impl Seen {
    /// Where its pod is, if that is to stay.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.pod.as_ref().filter(|pod| !pod.is_going)?.address
    }

    /// Whether its pod is ready, of a runtime that one of these orders has started.
    ///
    /// # Errors
    /// It does not run any more by that order, or will not be ready: why, for its tenant.
    pub(super) fn is_ready(&self, marks: &[Mark]) -> Result<bool, String> {
        match &self.set {
            None => return Err("its StatefulSet was removed".to_owned()),
            Some(set) if !set.order.is_some_and(|it| marks.contains(&it)) => {
                return Err("another replica has started it since".to_owned());
            }
            Some(set) if !set.is_up => return Err("somebody has scaled it down".to_owned()),
            Some(_) => {}
        }
        let Some(pod) = &self.pod else { return Ok(false) };
        match &pod.trouble {
            Some(trouble) if pod.is_hopeless() => Err(trouble.why.clone()),
            _ => Ok(pod.is_ready),
        }
    }
}

impl Set {
    pub(super) fn of(object: &Value) -> Self {
        let annotations = &object["metadata"]["annotations"];
        Self {
            is_up: object["spec"]["replicas"].as_u64() != Some(0),
            order: annotations[ORDER].as_str().and_then(Mark::parse),
            gone_since: annotations[GONE_SINCE].as_str().and_then(|since| since.parse().ok()),
        }
    }
}

impl Pod {
    pub(super) fn of(object: &Value) -> Self {
        let status = &object["status"];
        let is_going = !object["metadata"]["deletionTimestamp"].is_null();
        let is_ready = condition(status, "Ready").is_some_and(|it| it["status"] == "True");
        Self {
            address: status["podIP"].as_str().and_then(|address| address.parse().ok()),
            is_ready: is_ready && !is_going,
            is_going,
            running_since: running_since(status),
            // What is wrong with one that goes is over with it.
            trouble: if is_going { None } else { trouble(status) },
        }
    }

    /// Whether it will not be ready.
    pub(super) fn is_hopeless(&self) -> bool {
        !self.is_ready && self.trouble.as_ref().is_some_and(|trouble| !trouble.is_passing)
    }

    /// Whether it has run for so long, by the cluster's clock and ours.
    pub(super) fn has_run_for(&self, time: Duration) -> bool {
        let now_seconds = Wall::system().unix_ms() / 1000;
        self.running_since.is_some_and(|since| now_seconds.saturating_sub(since) >= time.as_secs())
    }
}

fn running_since(status: &Value) -> Option<u64> {
    let started = |container: &Value| {
        let started = container["state"]["running"]["startedAt"].as_str()?;
        let started = humantime::parse_rfc3339(started).ok()?;
        started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    };
    let all: Option<Vec<u64>> =
        status["containerStatuses"].as_array()?.iter().map(started).collect();
    all?.into_iter().max()
}

fn condition<'a>(status: &'a Value, wanted: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == wanted)
}

fn trouble(status: &Value) -> Option<Trouble> {
    let containers = ["initContainerStatuses", "containerStatuses"];
    let all = containers.iter().filter_map(|kind| status[kind].as_array()).flatten();
    if let Some(trouble) = all.filter_map(of_container).min_by_key(|trouble| trouble.is_passing) {
        return Some(trouble);
    }
    if status["phase"] == "Failed" {
        let reason = status["reason"].as_str().unwrap_or("Failed");
        // The StatefulSet's controller makes another one.
        return Some(trouble_of(
            &format!("its pod was ended ({reason})"),
            &status["message"],
            true,
        ));
    }
    let scheduled = condition(status, "PodScheduled").filter(|it| it["status"] == "False")?;
    // A node may be on its way.
    Some(trouble_of("no node of the cluster has room for it", &scheduled["message"], true))
}

fn of_container(container: &Value) -> Option<Trouble> {
    let waiting = &container["state"]["waiting"];
    let (reason, message) = (waiting["reason"].as_str()?, &waiting["message"]);
    let (why, is_passing) = match reason {
        "ErrImagePull" => (format!("its image cannot be pulled ({reason})"), true),
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
            (format!("its image cannot be pulled ({reason})"), false)
        }
        "CrashLoopBackOff" => (crash(&container["lastState"]["terminated"]), false),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            (format!("its container cannot be started ({reason})"), false)
        }
        _ => return None,
    };
    Some(trouble_of(&why, message, is_passing))
}

/// How a container that ends again and again did so last.
fn crash(ended: &Value) -> String {
    let often = "it ends again and again (CrashLoopBackOff)";
    match (ended["reason"].as_str(), ended["exitCode"].as_i64()) {
        (Some("OOMKilled"), _) => format!("{often}: it took more memory than it may"),
        (_, Some(code)) => format!("{often}: exit code {code}"),
        _ => often.to_owned(),
    }
}

fn trouble_of(why: &str, message: &Value, is_passing: bool) -> Trouble {
    let detail = message.as_str().unwrap_or_default().to_owned();
    Trouble { why: why.to_owned(), detail, is_passing }
}
