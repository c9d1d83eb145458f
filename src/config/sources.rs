//! File and environment as texts by key.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::{ClientSettings, ConfigError, ENVIRONMENT_PREFIX, Given, KEYS, Key};
use crate::registry::store;
use crate::secret::Secret;

const OTHERS_READ: u32 = 0o004;

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Kubernetes gives every pod these for a Service named flowgate, or flowgate-admin; they are not
/// meant for us.
fn is_from_kubernetes(variable: &str) -> bool {
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || variable.contains("_PORT_")
}

/// What the environment says.
#[derive(Debug, Default)]
pub struct Environment {
    /// Settings.
    pub given: Given,
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Lines of admin tokens.
    pub tokens: Option<Secret>,
    /// For commands that ask a running server.
    pub client: ClientSettings,
}

/// The settings among environment variables, and what else they name.
///
/// # Errors
/// A variable with our prefix that is no setting.
pub fn environment(
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Environment, ConfigError> {
    let mut environment = Environment::default();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        // As Kubernetes and Compose write what is not set.
        if value.is_empty() {
            continue;
        }
        match name {
            "CONFIG" => environment.file = Some(PathBuf::from(value)),
            "ADMIN_TOKENS" => environment.tokens = Some(Secret::new(value)),
            "ADMIN_TOKEN" => environment.client.token = Some(Secret::new(value)),
            "ADMIN_URL" => environment.client.url = Some(value),
            "ADMIN_CERTIFICATE" => {
                let files =
                    value.parse().map_err(|why| ConfigError(format!("{variable}: {why}")))?;
                environment.client.certificate = Some(files);
            }
            "ADMIN_CA" => environment.client.ca_file = Some(PathBuf::from(value)),
            _ => take_setting(&mut environment.given, name, &variable, value)?,
        }
    }
    Ok(environment)
}
/// One variable that has to be a setting.
fn take_setting(
    given: &mut Given,
    name: &str,
    variable: &str,
    value: String,
) -> Result<(), ConfigError> {
    let Some(key) = find(&name.to_ascii_lowercase()) else {
        return match is_from_kubernetes(variable) {
            true => Ok(()),
            false => Err(ConfigError(format!("environment: {variable} is no setting"))),
        };
    };
    let values = match key.repeatable {
        true => value.split(',').map(|part| part.trim().to_owned()).collect(),
        false => vec![value],
    };
    given.insert(key.name, (values, variable.to_owned()));
    Ok(())
}

/// The settings in a TOML file; none if no file is named.
///
/// # Errors
/// It cannot be read, is no TOML, or holds what is no setting.
pub fn file(path: Option<PathBuf>) -> Result<Given, ConfigError> {
    let Some(path) = path else { return Ok(Given::new()) };
    let shown = path.display();
    let fault = |what: String| ConfigError(format!("{shown}: {what}"));
    let mut file = File::open(&path).map_err(|error| fault(error.to_string()))?;
    let about = file.metadata().map_err(|error| fault(error.to_string()))?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| fault(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let line = line.map_or(String::new(), |line| format!("line {line}: "));
        fault(format!("{line}{}", error.message()))
    })?;
    let registry = table.get("registry").and_then(toml::Value::as_str).unwrap_or_default();
    if about.mode() & OTHERS_READ != 0 && store::redacted(registry) != registry {
        let what = "registry has a password, and others may read this file: chmod o= takes that \
                    away, or registry_password_file holds the password elsewhere";
        return Err(fault(what.to_owned()));
    }
    let mut given = Given::new();
    for (name, value) in table {
        let Some(key) = find(&name) else {
            return Err(fault(format!("{name} is no setting")));
        };
        let values = match value {
            toml::Value::Array(values) if key.repeatable => {
                values.iter().map(scalar).collect::<Option<Vec<_>>>()
            }
            toml::Value::Boolean(truth) if key.value == "BOOL" => Some(vec![truth.to_string()]),
            value => scalar(&value).map(|text| vec![text]),
        };
        let values =
            values.ok_or_else(|| fault(format!("{name} has a value of the wrong kind")))?;
        given.insert(key.name, (values, format!("{shown}: {name}")));
    }
    Ok(given)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}
