//! `/metrics`: what Prometheus and its like scrape. Made when it is asked for, from counts that others
//! keep anyway.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderMap;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::{At, Desk, guard};
use crate::json::Asked;
use crate::refusal::{OperatorRefusal, Refusal};

mod classic;
mod connections;
mod page;
mod process;
mod requests;
mod runtimes;
mod server;

use page::Page;

const PATH: &str = "/metrics";
/// Tenants who may be told apart in one scrape: each is some series.
const TENANTS_MAX: usize = 100;
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The route; with a token unless it was opened. Even then, names of tenants take one: whoever reaches
/// the listener may be another tenant's flow.
pub(super) fn router(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    let router = Router::new().route(PATH, get(show));
    match desk.metrics_open {
        true => router,
        false => router.layer(from_fn_with_state(Arc::clone(desk), guard::check_token)),
    }
}

/// Whether nobody needs a token for this path.
pub(super) fn is_open(desk: &Desk, path: &str) -> bool {
    desk.metrics_open && path == PATH
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// How many tenants to tell apart: the busiest.
    tenants: Option<usize>,
}

async fn show(
    State(desk): At,
    Asked(query): Asked<Query>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let tenants = query.tenants.unwrap_or_default();
    if tenants > TENANTS_MAX {
        return Err(Refusal::BadInput(format!("tenants must be at most {TENANTS_MAX}.")));
    }
    if tenants > 0 && guard::token(&desk, &headers).is_none() {
        return Err(Refusal::Operator(OperatorRefusal::Token));
    }
    // It looks through the live table and reads files, for which a thread that serves others is not kept.
    let written = spawn_blocking(move || written(Scrape { desk, tenants })).await;
    let page = written.ok().and_then(Result::ok);
    let page = page.ok_or(Refusal::Overloaded("the metrics could not be written"))?;
    let (content_type, page) = match takes_open_metrics(&headers) {
        true => (OPEN_METRICS, page),
        false => (CLASSIC, classic::from_open_metrics(&page)),
    };
    Ok(([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], page).into_response())
}

fn written(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

/// Prometheus names it; people's tools say nothing, and get the older format, which all can read.
fn takes_open_metrics(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepts.flat_map(|accept| accept.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_it = parts.next() == Some("application/openmetrics-text");
        is_it && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// One scrape.
#[derive(Debug)]
struct Scrape {
    desk: Arc<Desk>,
    tenants: usize,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        let journey = &self.desk.journey;
        server::put(&mut page, &self.desk)?;
        requests::put(&mut page, journey)?;
        connections::put(&mut page, journey)?;
        server::put_registry(&mut page, &journey.registry)?;
        server::put_passwords(&mut page, &journey.passwords)?;
        runtimes::put(&mut page, &journey.runtimes)?;
        process::put(&mut page)?;
        if self.tenants > 0 {
            connections::put_tenants(&mut page, &journey.live, self.tenants)?;
        }
        Ok(())
    }
}
