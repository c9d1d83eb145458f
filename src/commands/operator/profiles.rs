//! `flowgate import`, `export` and `explain` of a registry that a server holds.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::{Client, Expecting, encoded};
use crate::commands::check::fault;
use crate::commands::explain;
use crate::commands::{EXIT_CONFIG, Failure};
use crate::journey::explain::{Asked, Explanation};
use crate::registry::import::Imported;
use crate::registry::profiles;

/// Of one request; the server takes twice as many, and 1 MiB.
const TENANTS_PER_REQUEST: usize = 100;
const BYTES_PER_REQUEST: usize = 512 * 1024;
const PATH: &str = "/admin/v1/profiles";

/// Imports a file through a server: all of it is checked here first, then sent in parts.
pub(in crate::commands) fn import(
    client: &Client,
    path: &Path,
    replace: bool,
    mut progress: impl FnMut(usize, usize),
) -> Result<Imported, Failure> {
    let open = || File::open(path).map_err(|error| fault(path, &[error.to_string()]));
    let known: Vec<String> = client
        .list("/admin/v1/plans", &[], "plans", None)?
        .iter()
        .filter_map(|plan| plan["name"].as_str().map(str::to_owned))
        .collect();
    let knows_plan = |name: &str| known.iter().any(|known| known == name);
    let checked = profiles::check(open()?, knows_plan, |_| Ok(()));
    let tenants = checked.map_err(|faults| fault(path, &faults.0))?.tenants;
    let file: Result<Value, _> = serde_json::from_reader(std::io::BufReader::new(open()?));
    let mut file = file.map_err(|error| fault(path, &[error.to_string()]))?;
    let (mut plans, all) = (file["plans"].take(), file["tenants"].take());
    if plans.is_null() {
        plans = json!({});
    }
    let mut parts = Parts {
        client,
        replace,
        plans,
        tenants: Vec::new(),
        bytes: 0,
        sent: 0,
        done: Imported::default(),
    };
    let Value::Array(all) = all else { return Err(fault(path, &["no tenants".to_owned()])) };
    for mut tenant in all {
        inline(&mut tenant).map_err(|what| fault(path, &[what]))?;
        parts.add(tenant)?;
        progress(parts.sent, tenants);
    }
    parts.send()?;
    progress(parts.sent, tenants);
    Ok(parts.done)
}

/// Puts the certificates that a tenant names by a file here in the place of that file's name.
fn inline(tenant: &mut Value) -> Result<(), String> {
    let Some(tls) = tenant.pointer_mut("/instance/tls").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let Some(Value::String(file)) = tls.remove("ca_file") else { return Ok(()) };
    let pem = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    tls.insert("ca_pem".to_owned(), pem.into());
    Ok(())
}

/// A file on its way to a server.
struct Parts<'a> {
    client: &'a Client,
    replace: bool,
    /// Go with the first part.
    plans: Value,
    tenants: Vec<Value>,
    bytes: usize,
    sent: usize,
    done: Imported,
}

impl Parts<'_> {
    fn add(&mut self, tenant: Value) -> Result<(), Failure> {
        let bytes = tenant.to_string().len();
        let is_full = self.tenants.len() >= TENANTS_PER_REQUEST;
        if is_full || self.bytes + bytes > BYTES_PER_REQUEST {
            self.send()?;
        }
        self.bytes += bytes;
        self.tenants.push(tenant);
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        let tenants = std::mem::take(&mut self.tenants);
        self.bytes = 0;
        self.sent += tenants.len();
        let plans = std::mem::replace(&mut self.plans, json!({}));
        let body = json!({ "plans": plans, "tenants": tenants });
        let path = format!("{PATH}?replace={}", self.replace);
        let answer = self.client.ask(Method::POST, &path, Expecting::Anything, Some(&body))?.body;
        let count = |name: &str| answer[name].as_u64().unwrap_or_default() as usize;
        self.done.created += count("created");
        self.done.replaced += count("replaced");
        self.done.left_alone += count("left_alone");
        self.done.plans += count("plans");
        Ok(())
    }
}

/// Writes a server's plans and tenants as a profiles file. Returns how many tenants.
pub(in crate::commands) fn export(client: &Client, out: &mut dyn Write) -> Result<usize, Failure> {
    const PAGE: usize = 500;
    let failed = |error: std::io::Error| Failure::runtime(error.to_string());
    let mut out = BufWriter::new(out);
    let (mut tenants, mut after) = (0, String::new());
    loop {
        let path = format!("{PATH}?limit={PAGE}{after}");
        let page = client.ask(Method::GET, &path, Expecting::Anything, None)?.body;
        if after.is_empty() {
            let plans = serde_json::to_string_pretty(&page["plans"]).unwrap_or_default();
            write!(out, "{{\n\"plans\": {plans},\n\"tenants\": [").map_err(failed)?;
        }
        for tenant in page["tenants"].as_array().into_iter().flatten() {
            let separator = if tenants == 0 { "" } else { "," };
            tenants += 1;
            write!(out, "{separator}\n{tenant}").map_err(failed)?;
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => break,
        }
    }
    out.write_all(b"\n]\n}\n").and_then(|()| out.flush()).map_err(failed)?;
    Ok(tenants)
}

/// Asks a server what would become of a request.
pub(in crate::commands) fn explain(client: &Client, question: &Asked) -> Result<(), Failure> {
    let body = serde_json::to_value(question).unwrap_or_default();
    let path = "/admin/v1/explain";
    let answer = client.ask(Method::POST, path, Expecting::Anything, Some(&body))?.body;
    let explanation: Explanation = serde_json::from_value(answer).map_err(|error| Failure {
        exit_code: EXIT_CONFIG,
        message: format!("the server is of another version: {error}"),
    })?;
    explain::tell(&explanation)
}
