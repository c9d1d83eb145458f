//! HAProxy: one thread, buffers of 64 KiB, upstream connections shared and kept.

use std::path::Path;

use super::{CONNECTIONS_MAX, Secure, Site, write};
use crate::fault::Result;
use crate::process::Launch;

pub fn launch(program: &Path, site: &Site) -> Result<Launch> {
    let path = write(site, "haproxy.cfg", &configuration(site)?)?;
    Ok(Launch::new(program, ["-db", "-q", "-f", &path]))
}

fn configuration(site: &Site) -> Result<String> {
    let (listen, runtime) = (site.listen, site.runtime);
    let (users, rules) = match site.checks {
        true => checks(site)?,
        false => (String::new(), String::new()),
    };
    let secure = site.secure.map_or(String::new(), |Secure { listen, certificate }| {
        let file = certificate.both.display();
        format!("bind {listen} ssl crt {file} ssl-min-ver TLSv1.3 alpn http/1.1 backlog 4096")
    });
    Ok(format!(
        "global
    nbthread 1
    maxconn {CONNECTIONS_MAX}
    tune.bufsize 65536
    tune.maxpollevents 400
{users}
defaults
    mode http
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    timeout http-keep-alive 1h
frontend clients
    bind {listen} backlog 4096
    {secure}
    maxconn {CONNECTIONS_MAX}
{rules}
    default_backend runtime
backend runtime
    server runtime {runtime} pool-max-conn 1000
"
    ))
}

/// A map of all keys; a map of logins for passwords, since remembering is not what a userlist does; and
/// a userlist for those who want their bcrypt.
fn checks(site: &Site) -> Result<(String, String)> {
    let (keys, logins) = (site.tenants.haproxy_keys()?, site.tenants.haproxy_logins()?);
    let (keys, logins) = (keys.display(), logins.display());
    let users: String = site
        .tenants
        .first_names()
        .map(|name| format!("    user {name} password {}\n", site.tenants.hash))
        .collect();
    let rules = format!(
        "    acl api path_beg /api/
    acl checked path_beg /checked/
    http-request set-var(txn.tenant) req.hdr(apikey),map_str({keys}) if api
    http-request set-var(txn.tenant) req.hdr(authorization),word(2,' '),map_str({logins}) if checked
    http-request deny deny_status 401 if api !{{ var(txn.tenant) -m found }}
    http-request deny deny_status 401 if checked !{{ var(txn.tenant) -m found }}
    http-request set-header X-Auth-User %[var(txn.tenant)] if api || checked
    http-request del-header apikey if api
    http-request auth realm tenants if {{ path_beg /login/ }} !{{ http_auth(tenants) }}"
    );
    Ok((format!("userlist tenants\n{users}"), rules))
}
