//! Who may do what about a subscription: its application's owner, the API's owner, an operator.

use serde_json::{Value, json};

use crate::subscriptions::profiles;
use crate::support::admin::{ADMIN, call, command, ok};
use crate::support::oauth::{
    Application, Issuing, MIKE, PATH, ROBERTO, bearer, done, post_raw, publish_with_plans, status,
};
use crate::support::runtime::Runtime;

#[test]
fn what_an_operator_has_blocked_the_apis_owner_does_not_let_through() {
    let issuing = Issuing::new();
    let runtime = Runtime::echo();
    let flowgate = issuing.start(&profiles(&runtime, json!({ "Gold": {} })));
    let api = publish_with_plans(&flowgate, "/echowebsocket", &["Gold"]);
    let (one, id) = Application::on_plan(&flowgate, "one", "Gold");
    let token = one.token(&flowgate);
    let opens = || status(&flowgate, PATH, &bearer(&token));
    assert_eq!(opens(), 101);
    let subscription = format!("/apis/{api}/subscriptions/{id}");
    let block = format!("PUT /admin/v1{subscription}/blocked");
    let (code, _, said) = call(&flowgate, ADMIN, &block, "", &json!({ "blocked": true }));
    let known = &said["subscriptions"][0];
    assert_eq!((code, &known["blocked_by_operator"]), (200, &json!(true)), "{said}");
    let shown = done(&flowgate, MIKE, "GET", &format!("/apis/{api}/subscriptions"), &Value::Null);
    assert_eq!(shown["subscriptions"][0]["blocked_by_operator"], json!(true), "{shown}");
    let own = format!("/applications/{}/subscriptions/{id}", one.id);
    for (who, method, path, body) in [
        (MIKE, "PUT", format!("{subscription}/blocked"), json!({ "blocked": false })),
        (MIKE, "PUT", format!("{subscription}/blocked"), json!({ "blocked": true })),
        (MIKE, "PUT", format!("{subscription}/plan"), json!({ "plan": "Gold" })),
        (MIKE, "DELETE", subscription.clone(), Value::Null),
        (ROBERTO, "PUT", format!("{own}/plan"), json!({ "plan": "Gold" })),
        (ROBERTO, "DELETE", own.clone(), Value::Null),
    ] {
        let (code, said) = flowgate.profile(who, method, &path, &body);
        let why = json!("An operator has blocked this subscription.");
        assert_eq!((code, &said["detail"]), (409, &why), "{method} {path}");
        assert_eq!(opens(), 403);
    }
    ok(&mut command(&flowgate, &["api", "unblock", PATH, &id]));
    assert_eq!(opens(), 101);
    let path = format!("{subscription}/blocked");
    done(&flowgate, MIKE, "PUT", &path, &json!({ "blocked": true }));
    done(&flowgate, MIKE, "PUT", &path, &json!({ "blocked": false }));
    assert_eq!(opens(), 101);
}

#[test]
fn whom_the_apis_owner_has_put_on_another_plan_stays_there() {
    let issuing = Issuing::new();
    let runtime = Runtime::echo();
    let plans = json!({ "Gold": {}, "Bronze": {} });
    let flowgate = issuing.start(&profiles(&runtime, plans));
    let api = publish_with_plans(&flowgate, "/echowebsocket", &["Gold", "Bronze"]);
    let (one, id) = Application::on_plan(&flowgate, "one", "Bronze");
    let own = format!("/applications/{}/subscriptions", one.id);
    let (of_application, of_api) =
        (format!("{own}/{id}/plan"), format!("/apis/{api}/subscriptions/{id}/plan"));
    let gold = json!({ "plan": "Gold" });
    done(&flowgate, ROBERTO, "PUT", &of_application, &gold);
    let said = done(&flowgate, MIKE, "PUT", &of_api, &json!({ "plan": "Bronze" }));
    assert_eq!(said["plan_by_publisher"], json!(true), "{said}");
    for (method, path, body) in [
        ("PUT", of_application.clone(), &gold),
        ("DELETE", format!("{own}/{id}"), &Value::Null),
        ("POST", own.clone(), &json!({ "api": PATH, "plan": "Gold" })),
    ] {
        assert_eq!(flowgate.profile(ROBERTO, method, &path, body).0, 409, "{method} {path}");
    }
    let application = format!("/applications/{}", one.id);
    let shown = done(&flowgate, ROBERTO, "GET", &application, &Value::Null);
    let known = &shown["subscriptions"][0];
    assert_eq!((&known["plan"], &known["plan_by_publisher"]), (&json!("Bronze"), &json!(true)));
    done(&flowgate, MIKE, "PUT", &of_api, &gold);
    ok(&mut command(&flowgate, &["application", "plan", &one.id, &id, "Bronze"]));
    // The API's owner ends it; a new one has the plan that its owner wants.
    done(&flowgate, MIKE, "DELETE", &format!("/apis/{api}/subscriptions/{id}"), &Value::Null);
    done(&flowgate, ROBERTO, "POST", &own, &json!({ "api": PATH, "plan": "Gold" }));
}

#[test]
fn a_ticket_is_for_no_long_origin() {
    let issuing = Issuing::new();
    let runtime = Runtime::echo();
    let flowgate = issuing.start(&profiles(&runtime, json!({})));
    publish_with_plans(&flowgate, "/echowebsocket", &[]);
    let one = Application::create(&flowgate, "one", &[PATH]);
    let headers = format!("Content-Type: application/json\r\n{}", bearer(&one.token(&flowgate)));
    for (length, expected) in [(256, 201), (257, 400), (15_000, 400)] {
        let body = json!({ "path": PATH, "origin": "x".repeat(length) }).to_string();
        let (code, _, said) = post_raw(flowgate.data, "/oauth2/tickets", &headers, &body);
        assert_eq!(code, expected, "{length}: {said}");
    }
}
