//! A browser's session, by hand: what a browser would send, header by header.

use std::net::SocketAddr;

use super::flowgate::ask;

/// Logged in on the bare host, and on the tenant's own if it was asked for.
pub struct Session {
    pub at: SocketAddr,
    /// The cookie on the bare host: name and value.
    pub cookie: String,
}

/// One answer: its status, head and body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect(text);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The cookie that is set, name and value.
    pub fn cookie(&self, name: &str) -> String {
        let begin = format!("{name}=");
        let cookies = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut cookies = cookies.filter(|(found, _)| found.eq_ignore_ascii_case("set-cookie"));
        let found = cookies.find(|(_, value)| value.starts_with(&begin));
        let (_, value) = found.unwrap_or_else(|| panic!("no cookie {name}: {}", self.head));
        value.split(';').next().unwrap().to_owned()
    }

    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> &str {
        let begin = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&begin).expect(&self.body);
        rest.split('"').next().unwrap()
    }
}

/// A request with these further header lines.
pub fn send(at: SocketAddr, line: &str, host: &str, headers: &[&str], body: &str) -> Answer {
    let port = at.port();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    Answer::read(&ask(
        at,
        &format!(
            "{line} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nAccept: text/html\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        ),
    ))
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// Sends a form from a page of this origin.
pub fn post(
    at: SocketAddr,
    path: &str,
    host: &str,
    origin: &str,
    cookie: &str,
    form: &str,
) -> Answer {
    let (origin, cookie) = (format!("Origin: {origin}"), format!("Cookie: {cookie}"));
    send(at, &format!("POST {path}"), host, &[FORM, &origin, &cookie], form)
}

impl Session {
    pub fn begin(at: SocketAddr, username: &str, password: &str) -> Self {
        let form = send(at, "GET /login", "localhost", &[], "");
        let (cookie, token) = (form.cookie("flowgate-login"), form.field("token"));
        let fields = format!("token={token}&username={username}&password={password}");
        let origin = format!("http://localhost:{}", at.port());
        let answer = post(at, "/login", "localhost", &origin, &cookie, &fields);
        assert_eq!(answer.status, 303, "{}", answer.head);
        Self { at, cookie: answer.cookie("flowgate-session") }
    }

    /// The page at a path of the bare host.
    pub fn get(&self, path: &str) -> Answer {
        let cookie = format!("Cookie: {}", self.cookie);
        send(self.at, &format!("GET {path}"), "localhost", &[&cookie], "")
    }

    /// A form of the bare host's, sent from one of its pages.
    pub fn post(&self, path: &str, form: &str) -> Answer {
        let origin = format!("http://localhost:{}", self.at.port());
        post(self.at, path, "localhost", &origin, &self.cookie, form)
    }

    /// The address with the code for a tenant's host, and the browser's cookie that it is bound to.
    pub fn code(&self, tenant: &str) -> (String, String) {
        let host = format!("{tenant}.flows.localhost");
        let begun = send(self.at, "GET /red/", &host, &[], "");
        assert_eq!(begun.status, 303, "{}", begun.head);
        let location = begun.header("location").unwrap();
        let path = &location[location.find("/login/editor").unwrap()..];
        let issued = self.get(path);
        assert_eq!(issued.status, 303, "{}{}", issued.head, issued.body);
        let location = issued.header("location").unwrap().to_owned();
        (location, begun.cookie("flowgate-handover"))
    }

    /// The cookie on the tenant's host.
    pub fn on_host(&self, tenant: &str) -> String {
        let (location, cookie) = self.code(tenant);
        let host = format!("{tenant}.flows.localhost");
        let path = &location[location.find("/login/session").unwrap()..];
        let cookie = format!("Cookie: {cookie}");
        let taken = send(self.at, &format!("GET {path}"), &host, &[&cookie], "");
        assert_eq!(
            (taken.status, taken.header("location")),
            (303, Some("/red/")),
            "{}",
            taken.head
        );
        taken.cookie("flowgate-session")
    }
}
