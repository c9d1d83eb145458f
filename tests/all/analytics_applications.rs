//! What applications do by their tokens is told to the owner of the API, by application and by plan, and
//! to nobody else.

use serde_json::{Value, json};

use crate::analytics::{by_name, report, sum, talk};
use crate::support::oauth::{
    Application, Issuing, MIKE, PATH, ROBERTO, bearer, open, publish_with_plans, status,
};
use crate::support::profiles::mike_and_roberto;
use crate::support::replicas::Runtimes;
use crate::support::wait_until;

fn named<const N: usize>(numbers: [(&str, u64); N]) -> Vec<(String, u64)> {
    numbers.map(|(name, number)| (name.to_owned(), number)).into()
}

#[test]
fn applications_are_told_apart_to_the_owner_of_the_api() {
    let runtimes = Runtimes::beside();
    let mut profiles = mike_and_roberto(runtimes.mike.address, runtimes.roberto.address);
    profiles["plans"] = json!({ "Gold": { "messages_per_minute": 5000 }, "Silver": {} });
    let issuing = Issuing::new();
    let flowgate = issuing.start(&profiles);
    let api = publish_with_plans(&flowgate, "/echowebsocket", &["Gold", "Silver"]);
    let (pump, _) = Application::on_plan(&flowgate, "Pump", "Gold");
    let (valve, _) = Application::on_plan(&flowgate, "Valve", "Silver");
    let revoked = valve.token(&flowgate);
    for (application, messages) in [(&pump, 3), (&valve, 4), (&pump, 5)] {
        let mut websocket = open(&flowgate, PATH, &application.token(&flowgate));
        talk(&mut websocket, messages);
    }
    valve.revoke(&flowgate, &revoked);
    assert_eq!(status(&flowgate, PATH, &bearer(&revoked)), 401);
    flowgate.wait_until_idle();
    let ask = |who, by: &str| report(&flowgate, who, &format!("last=1h&by={by}"));
    wait_until("all is counted", || sum(&ask(MIKE, "tenant"), "messages_from_client") == 12);
    let by_application = by_name(&ask(MIKE, "application"), "messages_from_client");
    let of = |name: &str| by_application.iter().find(|(its, _)| its == name).unwrap().1;
    assert_eq!((of("Pump"), of("Valve")), (8, 4), "{by_application:?}");
    let by_plan = ask(MIKE, "plan");
    let handshakes = by_name(&by_plan, "handshakes");
    let limited: Vec<_> = handshakes.into_iter().filter(|(name, _)| name != "(no plan)").collect();
    assert_eq!(limited, named([("Gold", 2), ("Silver", 1)]), "{by_plan}");
    assert_eq!(sum(&by_plan, "refusals"), 1);
    let one = report(&flowgate, MIKE, &format!("last=1h&by=application&api={api}"));
    assert_eq!(sum(&one, "messages_from_runtime"), 12);
    // The applications are roberto's, what they called is not.
    for by in ["tenant", "api", "application", "plan"] {
        let his: Value = ask(ROBERTO, by);
        assert_eq!(his["groups"], json!([]), "{his}");
    }
}
