//! Paths as a runtime would see them.

use percent_encoding::percent_decode_str;

/// Whether `path` is `root` or below it, as Express would see it: decoded, without empty segments,
/// whatever the case.
#[must_use]
pub fn is_under(path: &str, root: &str) -> bool {
    let mut path = segments(path);
    segments(root).all(|segment| path.next() == Some(segment))
}

fn segments(path: &str) -> impl Iterator<Item = Vec<u8>> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).map(|byte| byte.to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::is_under;

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
