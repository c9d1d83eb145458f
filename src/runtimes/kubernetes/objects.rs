//! A runtime's objects, as they are applied: the template's, with what flowgate says of them in any case.

use serde_json::{Map, Value, json};

use super::KubernetesSettings;
use super::names::{GROUP, Mark, ORDER, TENANT, USERNAME, name};
use super::template::Template;
use crate::runtimes::contract::Order;

/// What a StatefulSet keeps as long as it is there: the API server changes none of it.
const KEPT: [&str; 2] = ["volumeClaimTemplates", "podManagementPolicy"];

/// The StatefulSet that carries an order out, in place of what is `there` already.
pub(super) fn stateful_set(
    template: &Template,
    settings: &KubernetesSettings,
    (order, mark): (&Order, Mark),
    there: Option<&Value>,
) -> Value {
    let mut object = filled(&template.stateful_set, order);
    name_it(&mut object, settings, order);
    object["metadata"]["annotations"][ORDER] = json!(mark.to_string());
    let labels = own_labels(settings, order);
    let spec = &mut object["spec"];
    spec["replicas"] = json!(1);
    spec["serviceName"] = json!(name(order.tenant));
    spec["selector"] = json!({ "matchLabels": { TENANT: order.tenant.to_string() } });
    // A template that has changed holds from the next start on: nothing restarts what runs but flowgate.
    spec["updateStrategy"] = json!({ "type": "OnDelete" });
    let kept = &mut spec["persistentVolumeClaimRetentionPolicy"];
    kept["whenScaled"] = json!("Retain");
    if kept["whenDeleted"].is_null() {
        kept["whenDeleted"] = json!("Retain");
    }
    for claim in spec["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
        claim["metadata"]["labels"][TENANT] = json!(order.tenant.to_string());
    }
    for member in there.iter().flat_map(|_| KEPT) {
        let kept = there.map(|there| there["spec"][member].clone()).filter(|it| !it.is_null());
        match (kept, spec.as_object_mut()) {
            (Some(kept), _) => spec[member] = kept,
            (None, spec) => drop(spec.map(|spec| spec.remove(member))),
        }
    }
    let pod = &mut spec["template"];
    for label in &settings.labels {
        pod["metadata"]["labels"][&label.key] = json!(label.value);
    }
    merge(&mut pod["metadata"]["labels"], labels);
    pod["spec"]["automountServiceAccountToken"] = json!(false);
    if pod["spec"]["enableServiceLinks"].is_null() {
        // Whose Services there are is nobody's business.
        pod["spec"]["enableServiceLinks"] = json!(false);
    }
    object
}

/// The Service by whose name a runtime is reached. It goes when the StatefulSet of that `uid` does.
pub(super) fn service(
    template: &Template,
    settings: &KubernetesSettings,
    order: &Order,
    uid: &str,
) -> Value {
    let mut object = filled(&template.service, order);
    name_it(&mut object, settings, order);
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name(order.tenant), "uid": uid,
    }]);
    let spec = &mut object["spec"];
    spec["type"] = json!("ClusterIP");
    spec["clusterIP"] = json!("None");
    spec["selector"] = json!({ TENANT: order.tenant.to_string() });
    // Who asks for the name before it is ready is told the address, and not that there is none, which
    // resolvers remember. Whether it is ready flowgate sees for itself.
    spec["publishNotReadyAddresses"] = json!(true);
    spec["ports"] = json!([{ "name": "http", "port": template.port, "protocol": "TCP" }]);
    object
}

/// The template's with the placeholders in its texts replaced. What takes their place has letters,
/// digits and hyphens, and nothing of the template's shape depends on it.
fn filled(template: &Value, order: &Order) -> Value {
    match template {
        Value::String(text) => json!(
            text.replace("{name}", &name(order.tenant))
                .replace("{username}", order.username.as_str())
                .replace("{tenant}", &order.tenant.to_string())
        ),
        Value::Array(items) => items.iter().map(|item| filled(item, order)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), filled(value, order))).collect()
        }
        other => other.clone(),
    }
}

fn name_it(object: &mut Value, settings: &KubernetesSettings, order: &Order) {
    let metadata = &mut object["metadata"];
    metadata["name"] = json!(name(order.tenant));
    merge(&mut metadata["labels"], own_labels(settings, order));
    // The request's path says which; what the server gives is nobody's to say.
    for given in ["namespace", "generateName", "resourceVersion", "uid", "managedFields"] {
        metadata.as_object_mut().map(|metadata| metadata.remove(given));
    }
    object.as_object_mut().map(|object| object.remove("status"));
}

fn own_labels(settings: &KubernetesSettings, order: &Order) -> Map<String, Value> {
    let labels = [
        (TENANT, order.tenant.to_string()),
        (USERNAME, order.username.to_string()),
        (GROUP, settings.group.to_string()),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}

fn merge(labels: &mut Value, own: Map<String, Value>) {
    for (key, value) in own {
        labels[key] = value;
    }
}
