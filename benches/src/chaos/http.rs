//! One request, one answer, one connection.

use std::net::SocketAddr;
use std::time::Duration;

use flowgate_bench::websocket::head_end;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The `code` of a refusal, empty if it is none.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// What to tell of it.
    pub fn summary(&self) -> String {
        format!("{} {}", self.status, self.code())
    }
}

/// A request without or with JSON; `headers` are each ended by CRLF.
pub fn request(method: &str, path: &str, headers: &str, body: Option<&Value>) -> String {
    let body = body.map(Value::to_string).unwrap_or_default();
    let about = match body.is_empty() {
        true => String::new(),
        false => {
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
        }
    };
    // A client's method other than GET says how long nothing is, too.
    let length = if body.is_empty() && method != "GET" { "Content-Length: 0\r\n" } else { "" };
    let host =
        if headers.to_ascii_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
    format!(
        "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}{about}{length}\r\n{body}"
    )
}

/// Sends it and reads all that comes. An error is one line, for the report.
pub async fn ask(
    address: SocketAddr,
    request: &str,
    patience: Duration,
) -> std::result::Result<Answer, String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    match tokio::time::timeout(patience, asking).await {
        Err(_) => Err(format!("no answer within {patience:?}")),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(bytes)) => parse(&bytes).ok_or_else(|| "no whole answer".to_owned()),
    }
}

/// Reads an answer that is as long as it says.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = head_end(bytes)?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = flowgate_bench::websocket::header_value(head, "content-length")
        .and_then(|value| value.parse::<usize>().ok());
    let body = &bytes[end..];
    let is_whole = length.is_none_or(|length| length == body.len());
    is_whole.then(|| Answer { status, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        let whole =
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 14\r\n\r\n{\"code\":\"busy\"";
        assert_eq!(parse(whole).map(|answer| answer.status), Some(503));
        assert_eq!(parse(&whole[..whole.len() - 1]), None);
        assert_eq!(parse(&whole[..10]), None);
    }
}
