//! Envoy: one worker, WebSocket upgrades, no limits that the load could meet.

use std::path::Path;

use serde_json::json;

use super::{Secure, Site, write};
use crate::fault::Result;
use crate::process::Launch;
use crate::tls::Certificate;

pub fn launch(program: &Path, site: &Site) -> Result<Launch> {
    let path = write(site, "envoy.json", &configuration(site))?;
    let arguments =
        ["-c", &path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "critical"];
    Ok(Launch::new(program, arguments))
}

fn tls(certificate: &Certificate) -> serde_json::Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["http/1.1"],
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificates": [{
                    "certificate_chain": { "filename": certificate.chain },
                    "private_key": { "filename": certificate.key },
                }],
            },
        },
    })
}

fn configuration(site: &Site) -> String {
    let address = |address: std::net::SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let many = 1_000_000;
    let route = json!({
        "match": { "prefix": "/" },
        "route": { "cluster": "runtime", "timeout": "0s", "idle_timeout": "0s" },
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "codec_type": "HTTP1",
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        // Else it waits for a second before it closes, and our client waits for that.
        "delayed_close_timeout": "0s",
        "generate_request_id": false,
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                "suppress_envoy_headers": true,
            },
        }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    let filter =
        json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager });
    let endpoint = json!({ "endpoint": { "address": address(site.runtime) } });
    let listener = |name: &str, listen, chain: serde_json::Value| {
        json!({
            "name": name,
            "address": address(listen),
            "tcp_backlog_size": 4096,
            "filter_chains": [chain],
        })
    };
    let mut listeners = vec![listener("clients", site.listen, json!({ "filters": [filter] }))];
    if let Some(Secure { listen, certificate }) = site.secure {
        let chain = json!({ "filters": [filter], "transport_socket": tls(certificate) });
        listeners.push(listener("secure", listen, chain));
    }
    json!({
        "static_resources": {
            "listeners": listeners,
            "clusters": [{
                "name": "runtime",
                "type": "STATIC",
                "connect_timeout": "10s",
                "circuit_breakers": { "thresholds": [{
                    "max_connections": many, "max_pending_requests": many, "max_requests": many,
                }] },
                "load_assignment": { "cluster_name": "runtime", "endpoints": [{ "lb_endpoints": [endpoint] }] },
            }],
        },
        "overload_manager": { "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": many,
            },
        }] },
    })
    .to_string()
}
