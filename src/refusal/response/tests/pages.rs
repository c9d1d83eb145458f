//! Pages for browsers.

use super::*;

#[test]
fn a_page_is_for_whoever_accepts_html() {
    for (accept, expected) in [
        (&["text/html,application/xhtml+xml,*/*;q=0.8"][..], true),
        (&["application/json", "text/html"], true),
        (&["*/*"], false),
        (&["application/json"], false),
        (&[""], false),
        (&[], false),
    ] {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        assert_eq!(wants_page(&headers), expected, "{accept:?}");
    }
}

#[test]
fn a_page_gives_advice_only_where_it_helps() {
    let page = |refusal: &Refusal| answer(refusal, true).body().clone();
    let (tenants, later) = ("Use the credential of the tenant", "Try again in a moment.");
    assert!(page(&Refusal::WrongTenant).contains(tenants));
    assert!(page(&Refusal::Overloaded("passwords")).contains(later));
    for refusal in [
        Refusal::StaleForm,
        Refusal::LoginNeedsTls,
        Refusal::ForeignOrigin,
        Refusal::PasswordOnly,
        Refusal::BodyTooLarge,
    ] {
        let page = page(&refusal);
        let is_free = ![tenants, later, "<p></p>"].iter().any(|part| page.contains(part));
        assert!(is_free, "{page}");
    }
    assert!(!page(&Refusal::NoSession).contains("API key"), "it says to log in");
}
