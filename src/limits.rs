//! What any request may be like, whoever's it is. What a tenant may have, their plan says.

use http::request::Parts;

use crate::refusal::Refusal;

/// What a request may be like, beside the bytes of its head in all.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Header lines.
    pub headers_max: usize,
    /// Bytes of path and query.
    pub url_bytes_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: u64,
    /// Bytes that may wait in the buffers of live connections before no more of them are let in.
    pub buffer_bytes_max: u64,
}

impl Limits {
    /// Looks at a head.
    ///
    /// # Errors
    /// 414 or 431.
    pub fn judge(&self, parts: &Parts) -> Result<(), Refusal> {
        let url_bytes = parts.uri.path_and_query().map_or(0, |url| url.as_str().len());
        if url_bytes > self.url_bytes_max {
            return Err(Refusal::UrlTooLong);
        }
        if parts.headers.len() > self.headers_max {
            return Err(Refusal::HeadersTooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_head_may_be_exactly_as_large() {
        let (body_bytes_max, buffer_bytes_max) = (0, 0);
        let limits = Limits { headers_max: 3, url_bytes_max: 12, body_bytes_max, buffer_bytes_max };
        let head = |url: &str, headers: usize| {
            let mut request = Request::get(url);
            for _ in 0..headers {
                request = request.header("x-thing", "y");
            }
            request.body(()).unwrap().into_parts().0
        };
        for (url, headers, expected) in [
            ("/api/x?y=abc", 3, Ok(())),
            ("/api/x?y=abcd", 3, Err(Refusal::UrlTooLong)),
            ("/api/xyzabcde", 0, Err(Refusal::UrlTooLong)),
            // The host is not part of it.
            ("http://flows.localhost/api/x?y=abc", 3, Ok(())),
            // The same name twice counts twice.
            ("/", 4, Err(Refusal::HeadersTooLarge)),
        ] {
            assert_eq!(limits.judge(&head(url, headers)), expected, "{url} {headers}");
        }
    }
}
