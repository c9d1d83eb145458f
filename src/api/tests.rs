use super::context::Contexts;
use super::*;

fn tenant() -> Owner {
    Owner::Tenant(TenantId(7))
}

/// An operator's API with one node.
fn definition() -> Definition {
    Definition {
        name: "Echo".to_owned(),
        context: "/echo".to_owned(),
        version: Some("1.0.0".to_owned()),
        endpoint: Endpoint {
            nodes: vec![Node { url: "wss://echo.example.org".to_owned(), weight: 1 }],
            ..Endpoint::default()
        },
        security: vec![Security::Key],
        hide_credentials: true,
        plans: Vec::new(),
    }
}

#[test]
fn a_context_is_a_beginning_that_is_not_our_own() {
    let prefix = |context, version, owner| Prefix::new(context, version, owner);
    for (context, version, is) in [
        ("/", None, ""),
        ("/", Some("v1"), "/v1"),
        ("/echo", None, "/echo"),
        ("/echowebsocket", Some("1.0.0"), "/echowebsocket/1.0.0"),
        ("/a/b.c/~d", Some("2"), "/a/b.c/~d/2"),
    ] {
        let found = prefix(context, version, Owner::Operator).unwrap();
        assert_eq!(found.as_str(), is);
    }
    for (context, version) in [
        ("echo", None),
        ("/echo/", None),
        ("//", None),
        ("/a//b", None),
        ("/..", None),
        ("/a/./b", None),
        ("/a%20b", None),
        ("/ä", None),
        ("/echo", Some("")),
        ("/echo", Some("1/2")),
        ("/echo", Some("..")),
        ("/api", Some("1")),
        ("/API/x", None),
        ("/public", None),
        ("/oauth2/x", Some("1")),
        ("/.well-known", None),
        // The version would be the first segment.
        ("/", Some("api")),
        ("/1/2/3/4/5/6/7/8", Some("9")),
    ] {
        assert!(prefix(context, version, Owner::Operator).is_err(), "{context} {version:?}");
    }
    // A tenant has neither the context / nor one without a version.
    assert!(prefix("/echo", Some("1"), tenant()).is_ok());
    for (context, version) in [("/", Some("1")), ("/", None), ("/echo", None)] {
        assert!(prefix(context, version, tenant()).is_err(), "{context} {version:?}");
    }
}

#[test]
fn the_longest_prefix_wins_and_ends_at_a_slash() {
    let mut contexts = Contexts::default();
    assert_eq!(contexts.find("/anything"), None);
    let add = |contexts: &mut Contexts, context, version, id| {
        let prefix = Prefix::new(context, version, Owner::Operator).unwrap();
        contexts.insert(prefix.clone(), ApiId(id), Owner::Operator);
        prefix
    };
    let root = add(&mut contexts, "/", None, 1);
    add(&mut contexts, "/echo", Some("1.0.0"), 2);
    add(&mut contexts, "/echo", Some("2.0.0"), 3);
    let deep = add(&mut contexts, "/a/b/c/d/e/f/g", Some("1"), 4);
    for (path, id) in [
        ("/", 1),
        ("/raw", 1),
        ("/echo", 1),
        ("/echo/", 1),
        ("/echo/1.0.0", 2),
        ("/echo/1.0.0/", 2),
        ("/echo/1.0.0/x/y", 2),
        ("/echo/2.0.0/x", 3),
        ("/echo/1.0.0x", 1),
        ("/echo/1.0", 1),
        ("/ECHO/1.0.0", 1),
        ("/a/b/c/d/e/f/g/1", 4),
        ("/a/b/c/d/e/f/g/1/h/i/j", 4),
        ("/a/b/c/d/e/f/g/2/h", 1),
    ] {
        assert_eq!(contexts.find(path), Some(ApiId(id)), "{path}");
    }
    assert_eq!(deep.rest("/a/b/c/d/e/f/g/1/h"), Some("/h"));
    assert_eq!(root.rest("/raw"), Some("/raw"));
    assert_eq!(deep.rest("/a/b/c/d/e/f/g/12"), None);
    // Whose prefix is another's by now takes nothing away.
    contexts.remove(&root, ApiId(9));
    assert_eq!(contexts.find("/raw"), Some(ApiId(1)));
    contexts.remove(&root, ApiId(1));
    assert_eq!(contexts.find("/raw"), None);
}

#[test]
fn nobody_takes_a_part_of_what_another_has_published() {
    let (mike, roberto) = (tenant(), Owner::Tenant(TenantId(8)));
    let prefix = |context: &str, owner| Prefix::new(context, Some("1"), owner).unwrap();
    let mut contexts = Contexts::default();
    let mut add = |context: &str, owner, id| {
        let prefix = prefix(context, owner);
        let overlaps = contexts.overlaps(&prefix, owner);
        contexts.insert(prefix, ApiId(id), owner);
        overlaps
    };
    assert!(!add("/shop", Owner::Operator, 1));
    assert!(!add("/shopping", mike, 2), "that is another segment");
    assert!(add("/shop/1/orders", mike, 3));
    assert!(!add("/shop/1/own", Owner::Operator, 4));
    assert!(!add("/shopping/1/x", mike, 5), "one's own");
    assert!(add("/shopping/1/x/1", roberto, 6));
    assert!(!add("/deep/1/down", roberto, 7));
    assert!(add("/deep", mike, 8), "it would stand above another's");
    assert!(add("/shopping/1/y", Owner::Operator, 9));
    for (path, id) in [
        ("/shop/1/orders/1/pay", 1),
        ("/shop/1/own/1/x", 4),
        ("/shopping/1", 2),
        ("/shopping/1/x/1", 5),
        ("/shopping/1/x/1/1", 5),
        ("/shopping/1/y/1", 9),
        ("/deep/1/down/1", 8),
    ] {
        assert_eq!(contexts.find(path), Some(ApiId(id)), "{path}");
    }
    // The whole host is nobody's: it gives way.
    contexts.insert(Prefix::new("/", None, Owner::Operator).unwrap(), ApiId(10), Owner::Operator);
    assert_eq!(contexts.find("/deep/1/down/1"), Some(ApiId(8)));
    assert_eq!(contexts.find("/anything"), Some(ApiId(10)));
    assert!(!contexts.overlaps(&prefix("/new", roberto), roberto));
}

#[test]
fn a_definition_is_checked() {
    assert!(definition().check(Owner::Operator).is_ok());
    let wrong = |change: &dyn Fn(&mut Definition), owner| {
        let mut definition = definition();
        change(&mut definition);
        definition.check(owner).unwrap_err()
    };
    let node = |url: &str| vec![Node { url: url.to_owned(), weight: 1 }];
    for url in [
        "",
        "echo.example.org",
        "ftp://echo.example.org",
        "wss://",
        "wss://user:geheim@echo.example.org",
        "wss://echo.example.org:0",
        "wss://echo.example.org:99999",
        "wss://echo.example.org/?x=geheim",
        "wss://echo.example.org/a//b",
        "wss://echo.example.org/a/../b",
        "wss://echo.example.org/%2e%2e",
    ] {
        let what = wrong(&|it| it.endpoint.nodes = node(url), Owner::Operator);
        assert!(!what.contains("geheim"), "{what}");
    }
    wrong(&|it| it.endpoint.nodes.clear(), Owner::Operator);
    wrong(&|it| it.endpoint.nodes = vec![it.endpoint.nodes[0].clone(); 17], Owner::Operator);
    wrong(&|it| it.endpoint.nodes[0].weight = 0, Owner::Operator);
    wrong(&|it| it.endpoint.host = Some("a b".to_owned()), Owner::Operator);
    wrong(&|it| it.endpoint.runtime_path = Some("/thing".to_owned()), Owner::Operator);
    wrong(&|it| it.security.clear(), Owner::Operator);
    wrong(&|it| it.security = vec![Security::None, Security::Key], Owner::Operator);
    wrong(&|it| it.security = vec![Security::Key, Security::Key], Owner::Operator);
    wrong(&|it| it.name = " ".to_owned(), Owner::Operator);
    // A tenant names a path of their own runtime and nothing else.
    wrong(&|_| (), tenant());
    let path = |path: &str| Endpoint { runtime_path: Some(path.to_owned()), ..Endpoint::default() };
    for bad in ["", "thing", "/a/../b", "//a", "/a%2fb", "/a;b", "/a?b", "/a#b", "/ä"] {
        wrong(&|it| it.endpoint = path(bad), tenant());
    }
    let mut own = definition();
    own.endpoint = path("/thing");
    assert!(own.check(tenant()).is_ok());
    own.endpoint.host = Some("internal".to_owned());
    assert!(own.check(tenant()).is_err());
}

#[test]
fn a_node_is_taken_apart() {
    let location = |url: &str| Node { url: url.to_owned(), weight: 1 }.location().unwrap();
    let one = location("wss://echo.example.org/base/");
    assert!(one.is_secure);
    assert_eq!((&*one.host, one.port, &*one.base), ("echo.example.org", 443, "/base"));
    assert_eq!(one.authority, "echo.example.org");
    let other = location("http://[::1]:9000");
    assert!(!other.is_secure);
    assert_eq!((&*other.host, other.port, &*other.base), ("::1", 9000, ""));
    assert_eq!(other.authority, "[::1]:9000");
}

#[test]
fn only_what_can_be_called_lets_connections_live() {
    let record = |state, ends_at| Api {
        id: ApiId(1),
        revision: 1,
        owner: tenant(),
        definition: definition(),
        prefix: Prefix::new("/echo", Some("1"), tenant()).unwrap(),
        state,
        blocked_by_operator: false,
        ends_at,
        way: Way::Runtime { path: "/thing".to_owned() },
    };
    let now = UnixMillis(1000);
    for (state, cause) in [
        (State::Created, Some(Cause::ApiUnpublished)),
        (State::Prototyped, None),
        (State::Published, None),
        (State::Blocked, Some(Cause::ApiBlocked)),
        (State::Deprecated, None),
        (State::Retired, Some(Cause::ApiRetired)),
    ] {
        assert_eq!(record(state, None).allows(now).err(), cause, "{state:?}");
        assert_eq!(state.is_callable(), cause.is_none());
    }
    let retired = record(State::Retired, Some(UnixMillis(1001)));
    assert_eq!(retired.allows(now), Ok(()), "notice was given");
    assert_eq!(retired.allows(UnixMillis(1001)), Err(Cause::ApiRetired));
}

#[test]
fn every_state_but_the_last_leads_on_and_none_to_itself() {
    for state in State::ALL {
        assert!(!state.moves().contains(&state));
        assert_eq!(state.moves().is_empty(), state == State::Retired);
    }
    // Whoever calls an API is told before it ends.
    assert!(!State::Published.moves().contains(&State::Retired));
}

#[test]
fn no_tenant_has_an_operators_apis_account() {
    assert!(is_account_id(account_id(ApiId(0))) && is_account_id(account_id(ApiId(u64::MAX))));
    assert!(!is_account_id(TenantId(u128::MAX >> 1)) && !is_account_id(TenantId(0)));
    assert_eq!(Owner::parse(&tenant().to_string()), Some(tenant()));
    assert_eq!(Owner::parse("operator"), Some(Owner::Operator));
    assert_eq!(Owner::parse("operators"), None);
}
