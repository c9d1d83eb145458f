//! Changes to a map of headers. A pass over the names that are there looks for all that may have to go,
//! since to look up one name that is not there takes longer.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};

/// Meaningful for one connection only (RFC 9110 section 7.6.1), beside what `Connection` names.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Removes what is meaningful for one connection only, and what else is unwanted: each other name is
/// asked about once.
pub(super) fn remove_hop_by_hop_and(
    headers: &mut HeaderMap,
    mut is_unwanted: impl FnMut(&str) -> bool,
) {
    let mut unwanted = Vec::new();
    for name in headers.keys() {
        if HOP_BY_HOP.contains(&name.as_str()) || is_unwanted(name.as_str()) {
            unwanted.push(name.clone());
        }
    }
    if unwanted.contains(&TRANSFER_ENCODING) {
        // It overrides the length, which then says something else (RFC 9112 section 6.3).
        unwanted.push(CONTENT_LENGTH);
    }
    if unwanted.contains(&CONNECTION) {
        unwanted.extend(named_by_connection(headers));
    }
    for name in unwanted {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // They are for whoever gets the content (RFC 9110 section 7.6.1).
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
}

/// Removes what is unwanted.
pub(super) fn remove_all(headers: &mut HeaderMap, is_unwanted: impl Fn(&str) -> bool) {
    let unwanted: Vec<HeaderName> =
        headers.keys().filter(|name| is_unwanted(name.as_str())).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// Leaves these values of a header.
pub(super) fn replace(headers: &mut HeaderMap, name: &HeaderName, values: Vec<HeaderValue>) {
    headers.remove(name);
    for value in values {
        headers.append(name.clone(), value);
    }
}

/// Leaves a header byte for byte as it is unless something in it has to go.
pub(super) fn filter_list(
    headers: &mut HeaderMap,
    name: &HeaderName,
    separator: u8,
    joint: &[u8],
    keep: impl Fn(&[u8]) -> bool,
) {
    let mut values = Vec::new();
    let mut changed = false;
    for value in headers.get_all(name) {
        let parts = || value.as_bytes().split(|byte| *byte == separator).map(<[u8]>::trim_ascii);
        if parts().all(&keep) {
            values.push(value.clone());
            continue;
        }
        changed = true;
        let kept: Vec<&[u8]> = parts().filter(|part| keep(part)).collect();
        if !kept.is_empty() {
            values.extend(HeaderValue::from_bytes(&kept.join(joint)));
        }
    }
    if changed {
        replace(headers, name, values);
    }
}
