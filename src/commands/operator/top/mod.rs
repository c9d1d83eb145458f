//! `flowgate top`: what a server does, as it does it.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Command;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::{Client, EXIT_NO_PERMISSION};
use super::print::escaped;
use super::{Call, Expecting, flag, usage};
use crate::commands::Failure;

mod picture;
mod screen;

use picture::{Size, picture};
use screen::{Moved, Screen};

const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// A server that takes longer is shown as one that does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A picture that no screen bounds.
const PAPER: Size = Size { columns: 120, rows: 60 };

pub(super) fn command() -> Command {
    Command::new("top")
        .about("Watch what a server does: connections, rates, the busiest, the latest refusals")
        .arg(flag("once", "Print one picture and end; the rates are those of a second"))
        .long_about(
            "Watch what a server does, refreshed each second until q or Ctrl-C: connections, \
             messages and bytes, handshakes and refusals, the tenants and connections with the most \
             bytes, the latest refusals. SERVERS are all that share the registry; the rest is of the \
             one that is asked.\n\n\
             With --json it prints a line of JSON each second instead, for scripts.",
        )
}

pub(super) fn run(call: &Call<'_>) -> Result<(), Failure> {
    let once = call.is_set("once");
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !once && !call.is_json() && !is_terminal {
        let what = "top needs a terminal; for scripts there are --once and --json";
        return Err(usage(what.to_owned()));
    }
    let client = &call.client;
    match (once, call.is_json()) {
        (true, false) => {
            let seen = client.block_on(look(client))?;
            let size = screen::size().map_or(PAPER, |size| Size { rows: PAPER.rows, ..size });
            print(&picture(&client.server(), &seen, None, size).join("\n")).map(|_| ())
        }
        (true, true) => print(&json_line(&client.block_on(look(client))?)).map(|_| ()),
        (false, true) => client.block_on(lines(client)),
        (false, false) => client.block_on(watch(client)),
    }
}

/// Everything that a picture shows.
async fn look(client: &Client) -> Result<Value, Failure> {
    let get = async |path| {
        client.asked(Method::GET, path, Expecting::Anything, None).await.map(|came| came.body)
    };
    let all = async {
        tokio::try_join!(
            get("/admin/v1/status"),
            get("/admin/v1/stats?limit=50"),
            get("/admin/v1/replicas"),
            get("/admin/v1/refusals?limit=50"),
        )
    };
    let all = timeout(ANSWER_MAX, all).await;
    let (status, stats, replicas, refusals) =
        all.map_err(|_| client.unreachable("no answer in time"))??;
    Ok(json!({
        "status": status,
        "stats": stats,
        "replicas": replicas["replicas"],
        "refusals": refusals["refusals"],
    }))
}

fn json_line(seen: &Value) -> String {
    escaped(&seen.to_string())
}

/// A line each second, until nobody reads them any more or the server is gone.
async fn lines(client: &Client) -> Result<(), Failure> {
    let mut tick = ticks();
    loop {
        tick.tick().await;
        if !print(&json_line(&look(client).await?))? {
            return Ok(());
        }
    }
}

/// A picture each second, until the user has seen enough.
async fn watch(client: &Client) -> Result<(), Failure> {
    // Before the screen is taken: who has no right token, or no server, is told in the usual way.
    let mut seen = look(client).await?;
    let cannot = |error: std::io::Error| Failure::runtime(format!("the terminal: {error}"));
    let mut screen = Screen::take().map_err(cannot)?;
    let mut tick = ticks();
    tick.tick().await;
    let mut trouble: Option<String> = None;
    loop {
        let show = |screen: &Screen| {
            let size = screen::size().unwrap_or(PAPER);
            let lines = picture(&client.server(), &seen, trouble.as_deref(), size);
            screen.show(&lines, size).map_err(cannot)
        };
        show(&screen)?;
        let looked = async {
            tick.tick().await;
            look(client).await
        };
        tokio::pin!(looked);
        let looked = loop {
            tokio::select! {
                looked = &mut looked => break looked,
                moved = screen.moved() => match moved.map_err(cannot)? {
                    Moved::Leave => return Ok(()),
                    Moved::Resized => show(&screen)?,
                },
            }
        };
        match looked {
            Ok(now) => (seen, trouble) = (now, None),
            Err(failure) if failure.exit_code == EXIT_NO_PERMISSION => return Err(failure),
            // It may come back: what was seen last stays, marked.
            Err(failure) => trouble = Some(failure.message),
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut tick = interval(REFRESH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Prints a line; whether somebody still reads.
fn print(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::runtime(format!("cannot write: {error}"))),
    }
}
