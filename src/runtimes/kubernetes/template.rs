//! The operator's template of a runtime: a StatefulSet, and a Service if more is to be said of that.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use super::Label;

const BYTES_MAX: u64 = 256 * 1024;

/// What each runtime is made from. It is good as far as flowgate can tell.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) stateful_set: Value,
    pub(super) service: Value,
    /// The container that is the runtime.
    pub(super) container: Label,
    /// Where it listens.
    pub(super) port: u16,
}

impl Template {
    /// # Errors
    /// It cannot be read, or what is wrong with it.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let read = || {
            let mut text = String::new();
            File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text).map(|_| text)
        };
        let text = read().map_err(|error: std::io::Error| error.to_string())?;
        match text.len() as u64 > BYTES_MAX {
            true => Err(format!("has more than {BYTES_MAX} bytes")),
            false => Self::parse(&text),
        }
    }

    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|error| format!("is neither YAML nor JSON: {}", first_line(&error)))?;
        let (mut stateful_set, mut service) = (None, None);
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            let what = (document["apiVersion"].as_str(), document["kind"].as_str());
            let slot = match what {
                (Some("apps/v1"), Some("StatefulSet")) => &mut stateful_set,
                (Some("v1"), Some("Service")) => &mut service,
                (version, kind) => {
                    let (version, kind) = (version.unwrap_or("?"), kind.unwrap_or("?"));
                    return Err(format!(
                        "has a {version} {kind}; it may have one apps/v1 StatefulSet and one v1 Service"
                    ));
                }
            };
            if slot.replace(document).is_some() {
                return Err("has a second StatefulSet or Service".to_owned());
            }
        }
        let stateful_set = stateful_set.ok_or("has no apps/v1 StatefulSet")?;
        let (container, port) = check(&stateful_set)?;
        let service = service.unwrap_or_else(|| json!({ "apiVersion": "v1", "kind": "Service" }));
        is_object(&service, "/metadata")?;
        is_object(&service, "/metadata/labels")?;
        is_object(&service, "/spec")?;
        Ok(Self { stateful_set, service, container, port })
    }
}

/// One line of what may be many, with the source around them.
fn first_line(error: &impl ToString) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// What flowgate has to rely on. Returns the container that is the runtime, and its port.
fn check(stateful_set: &Value) -> Result<(Label, u16), String> {
    for place in [
        "/metadata",
        "/metadata/labels",
        "/metadata/annotations",
        "/spec/template",
        "/spec/template/metadata",
        "/spec/template/metadata/labels",
        "/spec/persistentVolumeClaimRetentionPolicy",
    ] {
        is_object(stateful_set, place)?;
    }
    let pod = &stateful_set["spec"]["template"]["spec"];
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod[shared] == json!(true) {
            return Err(format!(
                "spec.template.spec.{shared} is true: runtimes would reach each other and the node"
            ));
        }
    }
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    let mut sources =
        volumes.flat_map(|volume| volume["projected"]["sources"].as_array()).flatten();
    if sources.any(|source| !source["serviceAccountToken"].is_null()) {
        return Err(
            "spec.template.spec.volumes has a service account's token: runtimes would reach the \
                    API server with it"
                .to_owned(),
        );
    }
    if !stateful_set["spec"]["ordinals"].is_null() {
        return Err("spec.ordinals is set: the one pod's number is 0".to_owned());
    }
    let all = ["containers", "initContainers"];
    let all = all.iter().filter_map(|kind| pod[kind].as_array()).flatten();
    let mut ports = all.filter_map(|container| container["ports"].as_array()).flatten();
    if ports.any(|port| !port["hostPort"].is_null()) {
        return Err(
            "a container has a hostPort: runtimes would be reached past flowgate".to_owned()
        );
    }
    check_claims(&stateful_set["spec"]["volumeClaimTemplates"])?;
    let first = &pod["containers"][0];
    if !first.is_object() {
        return Err("spec.template.spec.containers is missing".to_owned());
    }
    if !first["image"].is_string() {
        return Err("spec.template.spec.containers[0].image is missing".to_owned());
    }
    let port =
        first["ports"][0]["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port > 0).ok_or(
        "spec.template.spec.containers[0].ports[0].containerPort is missing: it says where a runtime is \
         reached",
    )?;
    let name = first["name"].as_str().unwrap_or_default().parse();
    let name = name.map_err(|what| format!("spec.template.spec.containers[0].name {what}"))?;
    Ok((name, port))
}

fn check_claims(claims: &Value) -> Result<(), String> {
    const WRONG: &str = "spec.volumeClaimTemplates is no list of claims";
    match claims {
        Value::Null => Ok(()),
        Value::Array(claims) if claims.iter().all(Value::is_object) => {
            claims.iter().try_for_each(|claim| {
                is_object(claim, "/metadata").and(is_object(claim, "/metadata/labels"))
            })
        }
        _ => Err(WRONG.to_owned()),
    }
}

/// Or is not there.
fn is_object(document: &Value, place: &str) -> Result<(), String> {
    match document.pointer(place) {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err(format!("{} is no mapping", place[1..].replace('/', "."))),
    }
}
