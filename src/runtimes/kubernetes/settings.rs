//! How runtimes are run in Kubernetes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How runtimes are run in Kubernetes.
#[derive(Clone, Debug)]
pub struct KubernetesSettings {
    /// The StatefulSet that each runtime is made from. `None`: nothing is run there.
    pub template: Option<PathBuf>,
    /// Where runtimes are; `None` for the namespace that flowgate is in.
    pub namespace: Option<Label>,
    /// Whose they are, among those in one namespace: one name for all replicas with one registry.
    pub group: Label,
    /// Labels of their pods, whatever the template says.
    pub labels: Vec<LabelPair>,
    /// The domain of the cluster's own names.
    pub cluster_domain: String,
    /// How the API server is reached; `None` for the cluster that flowgate runs in.
    pub kubeconfig: Option<PathBuf>,
    /// What its log contains once one is ready; empty if that it answers is enough.
    pub ready_line: String,
    /// How long one may take to be ready.
    pub start_timeout: Duration,
    /// How long one may take to be gone.
    pub stop_timeout: Duration,
    /// How long what is left of a tenant who is gone is kept.
    pub remove_after: Duration,
}

/// A label of a host name (RFC 1123): lower-case letters, digits and hyphens, 63 at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = (1..=63).contains(&text.len())
            && text.bytes().all(is_good)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match is_label {
            true => Ok(Self(text.to_owned())),
            false => Err("must be lower-case letters, digits and hyphens between them, 63 at most"),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A label of an object: `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelPair {
    /// The name, with or without a domain and a slash before.
    pub key: String,
    /// The value.
    pub value: String,
}

impl FromStr for LabelPair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "is no label like app.kubernetes.io/component=flowgate-runtime";
        let is_part = |part: &str, also: &[u8], length_max: usize| {
            let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
            part.len() <= length_max
                && is_end(part.bytes().next())
                && is_end(part.bytes().next_back())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
        };
        let (key, value) = text.split_once('=').ok_or(WRONG)?;
        let (domain, name) =
            key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
        let is_good = domain.is_none_or(|domain| is_part(domain, b"-.", 253))
            && is_part(name, b"-_.", 63)
            && (value.is_empty() || is_part(value, b"-_.", 63));
        match is_good {
            true => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            false => Err(WRONG),
        }
    }
}
