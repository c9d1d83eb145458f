//! Paths as a runtime would see them.

use percent_encoding::{CONTROLS, percent_decode, utf8_percent_encode};

/// Whether `path` is `root` or below it, as Express would see it: decoded, without empty segments,
/// whatever the case.
#[must_use]
pub fn is_under(path: &str, root: &str) -> bool {
    let mut path = segments(path);
    segments(root).all(|segment| path.next().is_some_and(|own| as_read(own).eq(as_read(segment))))
}

/// A path as it can be shown: what is no visible ASCII stands percent-encoded, as it ought to have come.
/// Raw bytes of UTF-8 are relayed as they are, and among them are characters that a terminal obeys, and
/// some that turn the text around them.
pub fn visible(path: &str) -> impl Iterator<Item = char> {
    utf8_percent_encode(path, CONTROLS).flat_map(str::chars)
}

fn segments(path: &str) -> impl Iterator<Item = &[u8]> {
    path.as_bytes().split(|byte| *byte == b'/').filter(|segment| !segment.is_empty())
}

fn as_read(segment: &[u8]) -> impl Iterator<Item = u8> {
    percent_decode(segment).map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{is_under, visible};

    #[test]
    fn a_path_is_shown_in_visible_ascii_and_stays_the_same_path() {
        for (path, shown) in [
            ("/api/a%20b;c=\"{}\"?", "/api/a%20b;c=\"{}\"?"),
            ("/\u{9b}2J\u{202e}ü\u{1b}\u{7f}", "/%C2%9B2J%E2%80%AE%C3%BC%1B%7F"),
        ] {
            assert_eq!(visible(path).collect::<String>(), shown);
            assert!(is_under(shown, path) && is_under(path, shown));
        }
    }

    #[test]
    fn a_path_is_compared_as_express_would() {
        for under in ["/red", "/red/", "/red/x", "/RED/x", "//red", "/%72ed", "/%52ED//a", "/red?"]
        {
            assert_eq!(is_under(under, "/red"), under != "/red?", "{under}");
        }
        for beside in ["/", "", "/re", "/redd", "/api/red", "/x/red"] {
            assert!(!is_under(beside, "/red"), "{beside}");
        }
        assert!(is_under("/A//b/c", "/a/B"));
        assert!(is_under("/anything", ""));
    }
}
