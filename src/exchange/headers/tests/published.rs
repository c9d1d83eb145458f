//! What a published API's endpoint gets of a call.

use super::super::*;
use super::headers;
use crate::client::RequestIds;

fn caller(passes: Option<Carrier>) -> Caller {
    Caller { username: "jack".to_owned(), credential: "00000000000000a1".to_owned(), passes }
}

/// The values of what the endpoint gets, by name.
fn towards(row: Row, caller: Option<&Caller>, consumed: bool, sent: &str) -> HeaderMap {
    let owner = Username::parse("mike").unwrap();
    let towards = Towards {
        row,
        tenant: &owner,
        authorization_consumed: consumed,
        client: IpAddr::from([192, 0, 2, 7]),
        over_tls: false,
        request_id: RequestIds::new().unwrap().next(),
        caller,
    };
    let mut headers = headers(sent);
    towards.rewrite(&mut headers);
    headers
}

const CALL: &str = "
    host: flows.localhost
    apikey: this_is_the_key
    authorization: Bearer a.b.c
    cookie: a=b; jwt=a.b.c; flowgate-session=s
    x-consumer-username: root
    x_consumer_username: root
    x-consumer-custom-id: root
    x-credential-identifier: root
    x-auth-user: root";

#[test]
fn the_endpoint_is_told_who_calls_and_not_by_what() {
    let jack = caller(None);
    let said = towards(Row::Published, Some(&jack), true, CALL);
    assert_eq!(said["x-consumer-username"], "jack");
    assert_eq!(said["x-credential-identifier"], "00000000000000a1");
    assert_eq!(said["cookie"], "a=b");
    for absent in
        ["apikey", "authorization", "x_consumer_username", "x-consumer-custom-id", "x-auth-user"]
    {
        assert!(!said.contains_key(absent), "{absent}");
    }
    assert!(said.values().all(|value| value != "root"));
}

#[test]
fn what_is_not_hidden_is_the_carrier_that_counted_and_no_other() {
    for (passes, name, value) in [
        (Carrier::KeyHeader, "apikey", "this_is_the_key"),
        (Carrier::Authorization, "authorization", "Bearer a.b.c"),
        (Carrier::TokenCookie, "cookie", "a=b; jwt=a.b.c"),
    ] {
        let jack = caller(Some(passes));
        let said = towards(Row::Published, Some(&jack), true, CALL);
        assert_eq!(said[name], value);
        for (other, hidden) in
            [("apikey", "this_is_the_key"), ("authorization", "Bearer a.b.c"), ("cookie", "jwt")]
        {
            let shows = said.get(other).is_some_and(|it| it.to_str().unwrap().contains(hidden));
            assert_eq!(shows, other == name, "{passes:?} {other}");
        }
    }
}

#[test]
fn an_open_api_and_other_rows_know_no_consumer() {
    let said = towards(Row::PublishedOpen, None, false, CALL);
    for absent in ["x-consumer-username", "x-credential-identifier", "x-auth-user", "apikey"] {
        assert!(!said.contains_key(absent), "{absent}");
    }
    assert_eq!(said["authorization"], "Bearer a.b.c", "it is for the endpoint itself");
    let said = towards(Row::Api, None, false, CALL);
    assert_eq!(said["x-auth-user"], "mike");
    assert_eq!(said["cookie"], "a=b", "it may open an API on this host");
    let said = towards(Row::TenantApi, None, false, CALL);
    assert_eq!(said["cookie"], "a=b; jwt=a.b.c", "the runtime's own");
    assert!(!said.contains_key("x-consumer-username"));
    // Basic on the bare host names a tenant, or a consumer.
    let said = towards(Row::PublishedOpen, None, false, "authorization: Basic eDp5");
    assert!(!said.contains_key("authorization"));
}

#[test]
fn the_query_loses_what_carries_a_credential() {
    let query = "x=1&apikey=k&jwt=a.b.c&%6awt=d&access_token=t&y";
    let jack = caller(None);
    assert_eq!(query_for_api(query, Some(&jack)), "x=1&y");
    assert_eq!(query_for_api(query, None), "x=1&jwt=a.b.c&%6awt=d&y");
    let shown = caller(Some(Carrier::TokenQuery));
    assert_eq!(query_for_api(query, Some(&shown)), "x=1&jwt=a.b.c&%6awt=d&y");
    let shown = caller(Some(Carrier::KeyQuery));
    assert_eq!(query_for_api(query, Some(&shown)), "x=1&apikey=k&y");
    assert_eq!(query_for_api("x=1", Some(&jack)), "x=1");
}
