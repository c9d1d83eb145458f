//! The portal in the real Chromium, and the documents that it offers.

use serde_json::{Value, json};

use crate::support::node::{NodeRed, asyncapi_faults, pictures, run_in_browser};
use crate::support::oauth::{Issuing, MIKE, PATH, done, publish_with_plans};
use crate::support::profiles::{MIKE_PASSWORD, ROBERTO_PASSWORD, mike_and_roberto};

const NONE: [Value; 0] = [];
/// Published APIs besides, with what they take.
const OTHERS: [(&str, &[&str]); 3] =
    [("/keys", &["basic", "key"]), ("/open", &["none"]), ("/signed", &["jwt"])];

#[test]
fn a_consumer_comes_from_an_api_to_a_call_in_the_browser() {
    let runtimes = NodeRed::pair();
    let issuing = Issuing::new();
    let mut profiles = mike_and_roberto(runtimes[0].address, runtimes[1].address);
    profiles["plans"] = json!({
        "Gold": { "messages_per_minute": 5000 }, "Bronze": { "messages_per_minute": 1000 },
    });
    let flowgate = issuing.start(&profiles);
    publish_with_plans(&flowgate, "/echowebsocket", &["Gold", "Bronze"]);
    for (context, security) in OTHERS {
        let definition = json!({
            "name": "Another",
            "context": context,
            "version": "1.0.0",
            "endpoint": { "runtime_path": "/thing" },
            "security": security,
        });
        done(&flowgate, MIKE, "POST", "/apis?publish=true", &definition);
    }
    let pictures = pictures().unwrap_or_default();
    let port = flowgate.data.port().to_string();
    let script = include_str!("browser/portal.cjs");
    let seen = run_in_browser(script, &[&port, ROBERTO_PASSWORD, MIKE_PASSWORD, &pictures]);
    let text = |name: &str| seen[name].as_str().unwrap_or_else(|| panic!("{name}: {seen}"));
    let offer = seen["offers"][0].as_str().unwrap();
    for part in ["EchoWebSocket", "1.0.0", PATH, "mike", "an application"] {
        assert!(offer.contains(part), "{part}: {offer}");
    }
    assert_eq!(seen["before"], json!(0), "there is no application to subscribe");
    assert!(text("signedUp").contains("\"Echo Client\" was signed up"));
    assert_eq!(text("twice"), "There is an application of that name.");
    let subscribed = seen["subscribed"][0].as_str().unwrap();
    for part in [PATH, "published", "Gold", "Messages a minute: 5,000; 5,000 left now"] {
        assert!(subscribed.contains(part), "{part}: {subscribed}");
    }
    assert!(seen["changed"][0].as_str().unwrap().contains("Bronze"), "{seen}");
    let secret = &seen["keys"]["secret"];
    assert!(secret.as_str().unwrap().starts_with("fgo_"), "{seen}");
    assert_eq!(&seen["copied"], secret);
    assert_eq!(seen["again"], json!({ "secrets": 0, "url": "/portal" }));
    let line = format!(
        "wscat -c ws://localhost:{port}{PATH} -H \"Authorization: Bearer {}\"",
        text("token")
    );
    assert_eq!(text("line"), line);
    assert!(text("echoed").contains("by hand"), "{seen}");
    assert_eq!(seen["serious"], json!([]), "axe-core");
    assert_eq!(seen["overflows"], json!(vec![0; 12]));
    let tested = text("tested");
    for part in [format!("open: {PATH}"), "> hello".to_owned(), "< ".to_owned()] {
        assert!(tested.contains(&part), "{tested}");
    }
    for reason in ["subscription blocked", "subscription ended"] {
        assert!(tested.contains(&format!("closed: 1008 {reason}")), "{tested}");
    }
    let subscriber = seen["subscribers"][0].as_str().unwrap();
    for part in ["Echo Client", "Bronze", "Messages a minute: 1,000;", "2"] {
        assert!(subscriber.contains(part), "{part}: {subscriber}");
    }
    let blocked = &seen["blocked"];
    assert_eq!(blocked["said"], "\"Echo Client\" was blocked. 2 connections were closed.");
    assert_eq!(blocked["closed"], "1008 subscription blocked");
    assert_eq!(seen["ownersComplaints"], json!([]));
    assert_eq!(text("ended"), "1008 subscription ended");
    assert_eq!(seen["complaints"], json!([]));
    check_documents(&seen["asyncapi"], &port);
}

/// As AsyncAPI's own parser reads it; and it says where, how and with what.
fn check_documents(documents: &Value, port: &str) {
    let documents = documents.as_array().unwrap();
    assert_eq!(documents.len(), OTHERS.len() + 1);
    for document in documents {
        assert_eq!(asyncapi_faults(document), NONE, "{document}");
    }
    let of = |path: &str| {
        let is_it = |it: &&Value| it["channels"]["api"]["address"] == *path;
        documents.iter().find(is_it).unwrap_or_else(|| panic!("{path}"))
    };
    let document = of(PATH);
    assert_eq!(document["asyncapi"], json!("3.0.0"), "{document}");
    assert_eq!(document["info"], json!({ "title": "EchoWebSocket", "version": "1.0.0" }));
    let server = &document["servers"]["flowgate"];
    assert_eq!(server["host"], json!(format!("localhost:{port}")));
    assert_eq!(server["protocol"], json!("ws"));
    let flows = &document["components"]["securitySchemes"]["oauth2"]["flows"];
    let url = format!("http://localhost:{port}/oauth2/token");
    assert_eq!(flows["clientCredentials"]["tokenUrl"], json!(url));
    for (context, security) in OTHERS {
        let document = of(&format!("{context}/1.0.0"));
        let schemes = document["components"]["securitySchemes"].as_object().unwrap();
        let named = schemes.keys().map(String::as_str);
        let wanted = security.iter().copied().filter(|kind| *kind != "none");
        assert!(named.eq(wanted), "{document}");
    }
    // It does judge.
    let mut broken = document.clone();
    broken["servers"]["flowgate"].as_object_mut().unwrap().remove("host");
    assert_ne!(asyncapi_faults(&broken), NONE);
    let mut broken = document.clone();
    broken["operations"]["sendToClient"]["channel"]["$ref"] = json!("#/channels/none");
    assert_ne!(asyncapi_faults(&broken), NONE);
}
