//! Where access tokens are issued, revoked and looked into: what the standards say, byte by byte.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::admin::{ADMIN, READ, call};
use crate::support::flowgate::{Flowgate, ask};
use crate::support::oauth::{
    Application, Issuing, PATH, ROBERTO, bearer, done, header, post, post_raw, publish, status,
};
use crate::support::profiles::mike_and_roberto;
use crate::support::replicas::Runtimes;
use crate::support::runtime::Runtime;

const GRANT: &str = "grant_type=client_credentials";

fn start(issuing: &Issuing) -> (Flowgate, Runtimes) {
    let runtimes = Runtimes::beside();
    let flowgate = issuing.start(&runtimes.profiles());
    publish(&flowgate, "/echowebsocket");
    (flowgate, runtimes)
}

fn get(flowgate: &Flowgate, path: &str, host: &str) -> (String, Value) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = ask(flowgate.data, &request);
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    (head.to_owned(), serde_json::from_str(body).expect(&answer))
}

/// RFC 6749 section 5.1.
#[test]
fn a_token_is_issued_as_the_standard_says() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let application = Application::create(&flowgate, "one", &[PATH]);
    let ask = |headers: &str, form: &str| {
        let (code, head, said) = post(flowgate.data, "/oauth2/token", headers, form);
        assert_eq!(code, 200, "{form}: {said}");
        assert_eq!(header(&head, "Cache-Control"), Some("no-store"), "{head}");
        assert_eq!(header(&head, "Pragma"), Some("no-cache"), "{head}");
        assert_eq!(header(&head, "Content-Type"), Some("application/json"), "{head}");
        assert_eq!(said["token_type"], json!("Bearer"));
        assert_eq!(said.as_object().unwrap().len(), 4, "{said}");
        said
    };
    let basic = application.basic();
    let Application { id, secret } = &application;
    // Both ways of authentication (section 2.3.1); unknown and empty parameters do not count (3.2).
    let in_body = format!("{GRANT}&client_id={id}&client_secret={secret}");
    for (headers, form) in [
        (&*basic, GRANT.to_owned()),
        ("", in_body.clone()),
        (&*basic, format!("{GRANT}&client_id={id}")),
        (&*basic, format!("{GRANT}&client_secret=&scope=&validity_period=&more=1")),
        (&*basic, "grant%5Ftype=client%5Fcredentials".to_owned()),
        (&*basic, format!("&{GRANT}&&")),
    ] {
        let said = ask(headers, &form);
        assert_eq!((&said["expires_in"], &said["scope"]), (&json!(3600), &json!("default")));
    }
    let in_lower_case = basic.replace("Basic", "bASIC");
    ask(&in_lower_case, GRANT);
    // Tokens are never the same.
    let [one, other] = [0, 1].map(|_| ask(&basic, GRANT)["access_token"].clone());
    assert_ne!(one, other);
    for (wanted, expected) in
        [("60", 60), ("1", 1), ("86400", 86400), ("86401", 86400), ("-1", 86400)]
    {
        let said = ask(&basic, &format!("{GRANT}&validity_period={wanted}"));
        assert_eq!(said["expires_in"], json!(expected), "{wanted}");
    }
    let said = ask(&basic, &format!("{GRANT}&scope=%2Fechowebsocket%2F1.0.0"));
    assert_eq!(said["scope"], json!(PATH));
    let said = ask(&basic, &format!("{GRANT}&scope=default+{PATH}"));
    assert_eq!(said["scope"], json!(format!("default {PATH}")));
}

/// What the token endpoint says to a request that it refuses.
fn refused(flowgate: &Flowgate, headers: &str, body: &str) -> (u16, String) {
    let (code, head, said) = post(flowgate.data, "/oauth2/token", headers, body);
    let described = said["error_description"].as_str().unwrap();
    let is_allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(!described.is_empty() && described.bytes().all(is_allowed), "{described}");
    assert_eq!(header(&head, "Cache-Control"), Some("no-store"), "{head}");
    assert_eq!(header(&head, "Content-Type"), Some("application/json"), "{head}");
    let expected = (code == 401).then_some("Basic realm=\"flowgate oauth2\", charset=\"UTF-8\"");
    assert_eq!(header(&head, "WWW-Authenticate"), expected, "{head}");
    (code, said["error"].as_str().unwrap().to_owned())
}

fn pair(text: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(text))
}

/// RFC 6749 section 5.2: what is wrong with the form, the grant or the scope.
#[test]
fn each_error_of_a_request_is_the_standards() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let application = Application::create(&flowgate, "one", &[PATH]);
    let no_subscription = Application::create(&flowgate, "none", &[]);
    let basic = application.basic();
    let form = |more: &str| format!("{GRANT}{more}");
    let request = (400, "invalid_request");
    let grant_type = (400, "unsupported_grant_type");
    let scope = (400, "invalid_scope");
    for (headers, body, expected) in [
        (&*basic, String::new(), request),
        (&basic, "grant_type=".to_owned(), request),
        (&basic, "grant_type".to_owned(), request),
        (&basic, form(&format!("&{GRANT}")), request),
        (&basic, form("&scope=a&scope=b"), request),
        (&basic, form("&x=1&x=1"), request),
        (&basic, form("&x=%zz"), request),
        (&basic, form("&x=%ff"), request),
        (&basic, form(&format!("&x={}", "y".repeat(17 * 1024))), request),
        (&basic, form("&validity_period=0"), request),
        (&basic, form("&validity_period=-2"), request),
        (&basic, form("&validity_period=1.5"), request),
        (&basic, form("&validity_period=%2B60"), request),
        (&basic, form("&validity_period=1h"), request),
        (&basic, "grant_type=password&username=roberto&password=x".to_owned(), grant_type),
        (&basic, "grant_type=authorization_code&code=x".to_owned(), grant_type),
        (&basic, "grant_type=CLIENT_CREDENTIALS".to_owned(), grant_type),
        (&basic, "grant_type=client_credentials%20".to_owned(), grant_type),
        (&basic, form("&scope=/other/1.0.0"), scope),
        (&basic, form("&scope=/echowebsocket"), scope),
        (&basic, form("&scope=default+/other/1.0.0"), scope),
        (&basic, form("&scope=default++default"), scope),
        (&basic, form("&scope=+default"), scope),
        (&basic, form("&scope=%22default%22"), scope),
        (&basic, form("&scope=def%5Cault"), scope),
        (&basic, form("&scope=d%C3%A9fault"), scope),
        (&no_subscription.basic(), form(""), scope),
    ] {
        let (code, error) = refused(&flowgate, headers, &body);
        assert_eq!((code, &*error), expected, "{body}");
    }
}

/// The same: who asks (section 2.3.1).
#[test]
fn each_error_about_who_asks_is_the_standards() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let application = Application::create(&flowgate, "one", &[PATH]);
    let bare = done(&flowgate, ROBERTO, "POST", "/applications", &json!({ "name": "bare" }));
    let bare = bare["id"].as_str().unwrap();
    let basic = application.basic();
    let Application { id, secret } = &application;
    let wrong = |id: &str, secret: &str| pair(&format!("{id}:{secret}"));
    let form = |more: &str| format!("{GRANT}{more}");
    let in_body = format!("&client_id={id}&client_secret={secret}");
    let twice = format!("{basic}{basic}");
    let request = (400, "invalid_request");
    let client = (401, "invalid_client");
    for (headers, body, expected) in [
        (&*basic, form(&in_body), request),
        (&basic, form(&format!("&client_secret={secret}")), request),
        (&basic, form("&client_id=0000000000000001"), request),
        (&twice, form(""), request),
        ("", form(""), client),
        ("", form(&format!("&client_id={id}")), client),
        ("", form(&format!("&client_secret={secret}")), client),
        ("", form(&format!("&client_id={id}&client_secret=wrong-1")), client),
        (&wrong(id, "wrong-2"), form(""), client),
        (&wrong("0000000000000001", secret), form(""), client),
        (&wrong(bare, ""), form(""), client),
        (&wrong("", ""), form(""), client),
        (&pair("no colon"), form(""), client),
        ("Authorization: Basic %%%\r\n", form(""), client),
        ("Authorization: Basic\r\n", form(""), client),
        (&bearer(secret), form(""), client),
    ] {
        let (code, error) = refused(&flowgate, headers, &body);
        assert_eq!((code, &*error), expected, "{headers}{body}");
    }
    // A form, and nothing else; whatever stands in the URL is not looked at (2.3.1).
    for content_type in ["", "Content-Type: application/json\r\n", "Content-Type: text/plain\r\n"] {
        let headers = format!("{content_type}{basic}");
        let (code, _, said) = post_raw(flowgate.data, "/oauth2/token", &headers, GRANT);
        assert_eq!((code, &said["error"]), (400, &json!("invalid_request")), "{content_type}");
    }
    let kind = "Content-Type: Application/X-WWW-Form-Urlencoded; charset=UTF-8\r\n";
    let (code, ..) = post_raw(flowgate.data, "/oauth2/token", &format!("{kind}{basic}"), GRANT);
    assert_eq!(code, 200);
    let path = format!("/oauth2/token?client_id={id}&client_secret={secret}");
    assert_eq!(post(flowgate.data, &path, "", GRANT).0, 401);
    let request = "GET /oauth2/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = ask(flowgate.data, request);
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    let log = flowgate.log_by_now();
    assert!(!log.contains(secret.as_str()) && !log.contains("wrong-2"));
}

#[test]
fn whoever_guesses_secrets_waits_and_whoever_knows_one_does_not() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let application = Application::create(&flowgate, "one", &[PATH]);
    let guess = |number: u32| {
        let secret = format!("wrong-{number}");
        let guess = Application { secret, ..application.clone() };
        guess.post(flowgate.data, "/oauth2/token", GRANT)
    };
    let mut turned_away = None;
    for number in 0..100 {
        let (code, head, said) = guess(number);
        if code == 429 {
            turned_away = Some((head, said));
            break;
        }
        assert_eq!((code, &said["error"]), (401, &json!("invalid_client")), "{said}");
    }
    let (head, said) = turned_away.expect("it has to wait");
    assert_eq!(said["error"], json!("temporarily_unavailable"), "{said}");
    assert!(header(&head, "Retry-After").unwrap().parse::<u32>().unwrap() >= 1, "{head}");
    assert_eq!(application.post(flowgate.data, "/oauth2/token", GRANT).0, 200);
}

/// With a library that knows nothing of flowgate, and what flowgate tells everybody.
#[test]
fn others_verify_tokens_by_the_published_keys() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let application = Application::create(&flowgate, "one", &[PATH]);
    let (head, metadata) = get(&flowgate, "/.well-known/oauth-authorization-server", "localhost");
    assert_eq!(header(&head, "Content-Type"), Some("application/json"));
    let issuer = "http://localhost";
    for (name, expected) in [
        ("issuer", json!(issuer)),
        ("token_endpoint", json!("http://localhost/oauth2/token")),
        ("jwks_uri", json!("http://localhost/oauth2/jwks")),
        ("revocation_endpoint", json!("http://localhost/oauth2/revoke")),
        ("introspection_endpoint", json!("http://localhost/oauth2/introspect")),
        ("grant_types_supported", json!(["client_credentials"])),
        ("response_types_supported", json!([])),
    ] {
        assert_eq!(metadata[name], expected, "{name}");
    }
    let keys = || -> JwkSet {
        let (_, said) = get(&flowgate, "/oauth2/jwks", "localhost");
        for key in said["keys"].as_array().unwrap() {
            let mut names: Vec<_> = key.as_object().unwrap().keys().cloned().collect();
            names.sort();
            assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"], "nothing private");
        }
        serde_json::from_value(said).unwrap()
    };
    let before = keys();
    assert_eq!(before.keys.len(), 2, "the one that signs, and the next");
    let api = done(&flowgate, ROBERTO, "GET", "/catalog", &Value::Null);
    let api = api["apis"][0]["id"].as_str().unwrap().to_owned();
    let verify = |token: &str, keys: &JwkSet| {
        let head = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!((head.typ.as_deref(), head.alg), (Some("at+jwt"), Algorithm::EdDSA));
        let key = keys.find(&head.kid.unwrap()).expect("it was told before");
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[format!("urn:flowgate:api:{api}")]);
        let key = DecodingKey::from_jwk(key).unwrap();
        jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
    };
    let first = application.token(&flowgate);
    let claims = verify(&first, &before);
    assert_eq!(claims["client_id"], json!(application.id));
    assert_eq!(claims["sub"], json!(application.id));
    // The next key was told before it signs, and the old one is told while its tokens last.
    let rotate = "POST /admin/v1/signing-keys/rotate";
    assert_eq!(call(&flowgate, READ, rotate, "", &json!({})).0, 403);
    assert_eq!(call(&flowgate, ADMIN, rotate, "", &json!({})).0, 200);
    let second = application.token(&flowgate);
    verify(&second, &before);
    let after = keys();
    assert_eq!(after.keys.len(), 3);
    verify(&first, &after);
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid;
    assert_ne!(kid(&first), kid(&second));
    for token in [&first, &second] {
        assert_eq!(status(&flowgate, PATH, &bearer(token)), 101);
    }
}

/// RFC 7662, RFC 7009.
#[test]
fn an_application_looks_into_its_own_tokens_and_revokes_them() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let one = Application::create(&flowgate, "one", &[PATH]);
    let other = Application::create(&flowgate, "other", &[PATH]);
    let token = one.token(&flowgate);
    let look = |by: &Application, token: &str| {
        let (code, head, said) =
            by.post(flowgate.data, "/oauth2/introspect", &format!("token={token}"));
        assert_eq!(code, 200, "{said}");
        assert_eq!(header(&head, "Cache-Control"), Some("no-store"));
        said
    };
    let inactive = json!({ "active": false });
    let said = look(&one, &token);
    let part = token.split('.').nth(1).unwrap();
    let claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    for name in ["client_id", "sub", "iss", "aud", "exp", "iat", "jti", "scope"] {
        assert_eq!(said[name], claims[name], "{name}: {said}");
    }
    assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &json!("Bearer")));
    // Of others' tokens, and of what is none, nothing is said.
    let (last, changed) = (token.chars().last().unwrap(), &token[..token.len() - 1]);
    let changed = format!("{changed}{}", if last == 'A' { 'B' } else { 'A' });
    for (by, token) in [(&other, &*token), (&one, &changed), (&one, "x"), (&one, "a.b.c")] {
        assert_eq!(look(by, token), inactive, "{token}");
    }
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let ask = |headers: &str, form: &str| {
            let (code, _, said) = post(flowgate.data, path, headers, form);
            (code, said["error"].as_str().unwrap_or_default().to_owned())
        };
        let form = format!("token={token}");
        let client = (401, "invalid_client".to_owned());
        let request = (400, "invalid_request".to_owned());
        assert_eq!(ask("", &form), client, "{path}");
        assert_eq!(ask(&bearer(&token), &form), client, "{path}");
        assert_eq!(ask(&one.basic(), ""), request, "{path}");
        assert_eq!(ask(&one.basic(), &format!("{form}&{form}")), request, "{path}");
    }
    // Somebody else's is not revoked, and not one that was changed; what is none needs it not.
    let revoke = |by: &Application, token: &str| {
        let form = format!("token={token}&token_type_hint=access_token");
        let (code, _, said) = by.post(flowgate.data, "/oauth2/revoke", &form);
        (code, said["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(revoke(&other, &token), (400, "invalid_grant".to_owned()));
    for none in [&*changed, "x", "fgk_1234"] {
        assert_eq!(revoke(&one, none), (200, String::new()), "{none}");
    }
    assert_eq!(look(&one, &token)["active"], json!(true));
    let second = one.token(&flowgate);
    assert_eq!(revoke(&one, &token), (200, String::new()));
    assert_eq!(revoke(&one, &token), (200, String::new()));
    assert_eq!(look(&one, &token), inactive);
    assert_eq!(look(&one, &second)["active"], json!(true));
}

#[test]
fn without_a_sealing_key_no_token_is_issued() {
    let nobody = Runtime::nowhere();
    let flowgate = Flowgate::start(&mike_and_roberto(nobody, nobody), &[]);
    publish(&flowgate, "/echowebsocket");
    let application = Application::create(&flowgate, "one", &[PATH]);
    let (code, head, said) = application.post(flowgate.data, "/oauth2/token", GRANT);
    assert_eq!((code, &said["error"]), (503, &json!("temporarily_unavailable")), "{said}");
    assert!(header(&head, "Retry-After").is_some());
    assert!(flowgate.log_by_now().contains("sealing_key_file"));
    let (_, keys) = get(&flowgate, "/oauth2/jwks", "localhost");
    assert_eq!(keys, json!({ "keys": [] }));
}

#[test]
fn the_issuer_can_be_set() {
    let issuing = Issuing::new();
    let mut flags = issuing.flags();
    flags.extend(["--oauth-issuer", "https://flows.example.org"].map(str::to_owned));
    flags.extend(["--oauth-token-life", "5m", "--oauth-token-life-max", "10m"].map(str::to_owned));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let nobody = Runtime::nowhere();
    let flowgate = Flowgate::start(&mike_and_roberto(nobody, nobody), &flags);
    publish(&flowgate, "/echowebsocket");
    let application = Application::create(&flowgate, "one", &[PATH]);
    let path = "/.well-known/oauth-authorization-server";
    let (_, metadata) = get(&flowgate, path, "another.example");
    assert_eq!(metadata["token_endpoint"], json!("https://flows.example.org/oauth2/token"));
    for (more, expected) in
        [("", 300), ("&validity_period=599", 599), ("&validity_period=601", 600)]
    {
        let form = format!("{GRANT}{more}");
        let (_, _, said) = application.post(flowgate.data, "/oauth2/token", &form);
        assert_eq!(said["expires_in"], json!(expected), "{more}");
        let token = said["access_token"].as_str().unwrap();
        let part = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&part).unwrap();
        assert_eq!(claims["iss"], json!("https://flows.example.org"));
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(life, expected);
    }
}
