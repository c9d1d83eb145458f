//! What of an account stands on the page, in words.

use super::runtime::Runtime;
use super::{Desk, away};
use crate::clock::UnixMillis;
use crate::grant::KeyId;
use crate::journey::recent;
use crate::live::LimitUse;
use crate::plan::{Over, Plan};
use crate::presence::{Connections, Shown};
use crate::refusal::Refusal;
use crate::registry::replicas::Numbered;
use crate::tenant::{ApiKey, Tenant};

/// An account at a moment.
pub(super) struct View<'a> {
    pub(super) desk: &'a Desk,
    pub(super) tenant: &'a Tenant,
    pub(super) now: UnixMillis,
    pub(super) running: &'a Connections,
    pub(super) runtime: &'a Runtime,
}

/// A moment, and how long ago that is, or how far ahead.
pub(super) struct Moment {
    pub(super) iso: String,
    pub(super) distance: String,
}

impl Moment {
    /// A moment as it is seen from another.
    pub(super) fn of(moment: UnixMillis, now: UnixMillis) -> Self {
        Self { iso: moment.to_string(), distance: distance(now.0, moment.0) }
    }
}

/// The account in a few lines: name and value.
pub(super) struct Facts {
    pub(super) lines: Vec<(String, String)>,
    /// Live, and how many the plan allows.
    pub(super) live: u64,
    pub(super) live_max: Option<u32>,
    pub(super) runtime: String,
    pub(super) runtime_is_bad: bool,
}

/// A key.
pub(super) struct KeyView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) last_four: String,
    pub(super) created: Moment,
    /// The same as a number, by which a form says which secret it is about.
    pub(super) made: u64,
    pub(super) last_used: Option<Moment>,
    pub(super) last_used_from: Option<String>,
    pub(super) expires: Option<Moment>,
    pub(super) is_expired: bool,
    pub(super) scope: String,
    pub(super) previous_until: Option<Moment>,
    /// What rests on it, as the log says it.
    pub(super) grant: String,
    /// How much that is now, and the sentence about it.
    pub(super) live: usize,
    pub(super) closes: String,
}

/// Something that runs.
pub(super) struct ConnectionView {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) is_exchange: bool,
    pub(super) credential: String,
    pub(super) since: Moment,
    pub(super) messages: String,
    pub(super) bytes: String,
    pub(super) client: String,
    pub(super) closing: Option<String>,
}

/// What was refused.
pub(super) struct Refused {
    pub(super) at: Moment,
    pub(super) what: String,
    pub(super) why: String,
    pub(super) client: String,
}

/// Something to paste.
pub(super) struct Snippet {
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl View<'_> {
    pub(super) fn facts(&self) -> Facts {
        let plan: &Plan = &self.tenant.plan;
        let name = self.tenant.plan_name.as_deref().unwrap_or("none, so no limits");
        let mut lines = vec![("Plan".to_owned(), name.to_owned())];
        if let Some(bytes) = plan.message_bytes {
            lines.push(("Largest message".to_owned(), size(bytes)));
        }
        let now = self.desk.registry.clock().now();
        let plan_use = self.desk.live.plan_use(self.tenant.id, plan, now);
        lines.extend(plan_use.limits.iter().map(limit_in_words));
        let limits_messages = |it: &LimitUse| ["messages", "bytes"].contains(&unit_of(it));
        if plan_use.limits.iter().any(limits_messages) {
            lines.push(("Messages over that".to_owned(), over_in_words(plan.over).to_owned()));
        }
        if plan_use.dropped > 0 {
            lines.push(("Messages left out".to_owned(), grouped(plan_use.dropped)));
        }
        // The plan does not count plain requests.
        let live = self.running.total.saturating_sub(self.running.exchanges());
        let (runtime, runtime_is_bad) = (self.runtime.in_words(), self.runtime.is_bad());
        Facts { lines, live, live_max: plan.connections, runtime, runtime_is_bad }
    }

    /// The default key, and the named ones.
    ///
    /// # Errors
    /// The registry is away.
    pub(super) async fn keys(&self) -> Result<(Option<KeyView>, Vec<KeyView>), Refusal> {
        let (mut default, mut named) = (None, Vec::new());
        for key in &self.tenant.keys {
            let view = self.key(key).await?;
            match key.id {
                KeyId::DEFAULT => default = Some(view),
                _ => named.push(view),
            }
        }
        Ok((default, named))
    }

    async fn key(&self, key: &ApiKey) -> Result<KeyView, Refusal> {
        let (usage, registry) = (&self.desk.usage, &self.desk.registry);
        let last_used = usage.last_used(registry, self.tenant.id, key.id).await.map_err(away)?;
        let last_used = last_used.filter(|used| used.at >= key.created_at);
        let previous = key.previous.filter(|previous| self.now < previous.until);
        let id = key.id.to_string();
        let rests_on_it = |it: &Shown| it.closing.is_none() && it.key.as_deref() == Some(&id);
        let live = self.running.shown.iter().filter(|(_, it)| rests_on_it(it)).count();
        let is_all = self.running.incomplete.is_empty() && self.running.unlisted() == 0;
        Ok(KeyView {
            name: key.name.clone().unwrap_or_default(),
            last_four: key.hint.clone().unwrap_or_else(|| "????".to_owned()),
            created: self.moment(key.created_at),
            made: key.created_at.0,
            last_used: last_used.map(|used| self.moment(used.at)),
            last_used_from: last_used.and_then(|used| used.from).map(|from| from.to_string()),
            expires: key.expires_at.map(|moment| self.moment(moment)),
            is_expired: key.expires_at.is_some_and(|moment| self.now >= moment),
            scope: key.scope.join(" "),
            previous_until: previous.map(|previous| self.moment(previous.until)),
            grant: match key.id {
                KeyId::DEFAULT => "key:default".to_owned(),
                id => format!("key:{id}"),
            },
            live,
            closes: closes(live, is_all),
            id,
        })
    }

    pub(super) fn connections(&self, max: usize) -> Vec<ConnectionView> {
        let newest = self.running.shown.iter().rev().take(max);
        let view = |(id, shown): &(Numbered, Shown)| {
            let key = shown.key.as_deref().and_then(KeyId::from_hex);
            let name = key.and_then(|key| self.tenant.key(key)).and_then(|key| key.name.clone());
            let credential = match (name, shown.grant.as_str()) {
                (Some(name), _) => format!("key {name}"),
                (None, "key:default") => "default key".to_owned(),
                (None, "anonymous") => "none (public)".to_owned(),
                (None, grant) => grant.to_owned(),
            };
            let both = |from_client: String, from_runtime: String| {
                format!("{from_client} in, {from_runtime} out")
            };
            ConnectionView {
                id: id.to_string(),
                path: shown.path.clone(),
                is_exchange: shown.is_exchange,
                credential,
                since: self.moment(UnixMillis(shown.since_unix_ms)),
                messages: both(
                    grouped(shown.messages_from_client),
                    grouped(shown.messages_from_runtime),
                ),
                bytes: both(size(shown.bytes_from_client), size(shown.bytes_from_runtime)),
                client: shown.client.clone(),
                closing: shown.closing.clone(),
            }
        };
        newest.map(view).collect()
    }

    pub(super) fn refused(&self, refused: &recent::Refused) -> Refused {
        let kind = if refused.is_handshake { "handshake" } else { "request" };
        let since = refused.since.map(|since| format!(" {}", self.distance(since)));
        Refused {
            at: self.moment(refused.at),
            what: format!("{} {} of {}", refused.status, kind, refused.path),
            why: format!("{}{}", refused.why_for_tenant, since.unwrap_or_default()),
            client: refused.client.clone(),
        }
    }

    fn moment(&self, moment: UnixMillis) -> Moment {
        Moment::of(moment, self.now)
    }

    fn distance(&self, moment: UnixMillis) -> String {
        let (now, then) = (self.now.0, moment.0);
        distance(now, then)
    }
}

fn unit_of(limit: &LimitUse) -> &'static str {
    limit.limit.split('_').next().unwrap_or_default()
}

/// A limit in words: its name, and how much there is of it.
pub(super) fn limit_in_words(it: &LimitUse) -> (String, String) {
    let mut words = it.limit.replacen("_per_", " a ", 1);
    words.get_mut(..1).map(str::make_ascii_uppercase);
    let write = |amount| if unit_of(it) == "bytes" { size(amount) } else { grouped(amount) };
    let (allows, burst, left) = (write(it.allows), write(it.burst), write(it.left));
    let at_once = if it.burst == it.allows { String::new() } else { format!(", {burst} at once") };
    (words, format!("{allows}{at_once}; {left} left now"))
}

fn over_in_words(over: Over) -> &'static str {
    match over {
        Over::Pace => "they wait",
        Over::Drop => "they are left out",
        Over::Close => "the connection closes",
    }
}

/// What ends with a key. The page's script says the same, later.
fn closes(live: usize, is_all: bool) -> String {
    match (live, is_all) {
        (0, true) => "Nothing is connected with it now.".to_owned(),
        (0, false) => "Whether anything is connected with it is not known.".to_owned(),
        (1, true) => "One live connection will close.".to_owned(),
        (1, false) => "At least one live connection will close.".to_owned(),
        (live, true) => format!("{live} live connections will close."),
        (live, false) => format!("At least {live} live connections will close."),
    }
}

/// From one moment to another in words; what has begun of the way ahead counts whole.
fn distance(now_ms: u64, then_ms: u64) -> String {
    let is_ahead = then_ms > now_ms;
    let ms = now_ms.abs_diff(then_ms);
    let count = |unit_ms| if is_ahead { ms.div_ceil(unit_ms) } else { ms / unit_ms };
    let seconds = count(1000);
    let span = match seconds {
        0..60 if !is_ahead => return "just now".to_owned(),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", count(60_000)),
        3600..172_800 => format!("{} h", count(3_600_000)),
        _ => format!("{} days", count(86_400_000)),
    };
    if is_ahead { format!("in {span}") } else { format!("{span} ago") }
}

/// As people read numbers.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As people read sizes.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes / 1_048_576),
        _ => format!("{} GiB", bytes / 1_073_741_824),
    }
}

impl Snippet {
    /// What to paste for this host.
    pub(super) fn all(host: &str, tls: bool) -> Vec<Self> {
        let s = if tls { "s" } else { "" };
        let (http, ws) = (format!("http{s}://{host}"), format!("ws{s}://{host}"));
        let node = format!(
            "import WebSocket from \"ws\";\n\
             const headers = {{ apikey: process.env.FLOWGATE_KEY }};\n\
             const socket = new WebSocket(\"{ws}/api/thing\", {{ headers }});\n\
             socket.on(\"open\", () => socket.send(\"hello\"));\n\
             socket.on(\"message\", (data) => console.log(data.toString()));"
        );
        let python = format!(
            "import asyncio, os, websockets\n\n\
             async def main():\n    headers = {{\"apikey\": os.environ[\"FLOWGATE_KEY\"]}}\n    \
             async with websockets.connect(\"{ws}/api/thing\", additional_headers=headers) as socket:\n        \
             await socket.send(\"hello\")\n        print(await socket.recv())\n\n\
             asyncio.run(main())"
        );
        let wscat = format!("wscat -H \"apikey: $FLOWGATE_KEY\" -c {ws}/api/thing");
        let curl = format!("curl -H \"apikey: $FLOWGATE_KEY\" {http}/api/echo");
        let all = [("wscat", wscat), ("curl", curl), ("Node.js", node), ("Python", python)];
        all.into_iter().map(|(name, text)| Self { name, text }).collect()
    }
}

#[cfg(test)]
mod tests;
