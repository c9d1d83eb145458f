//! The whole program, started as a user starts it: one test binary, real sockets, port 0.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says so"
)]

mod admin_api;
mod admin_authorization;
mod admin_cli;
mod admin_contract;
mod admin_replicas;
mod admin_tls;
mod admin_tokens;
mod admin_top;
mod analytics;
mod analytics_applications;
mod analytics_page;
mod attacks;
mod bounds;
mod browser;
mod changes;
mod cleanup;
mod close_codes;
mod command_line;
mod console;
mod deploy;
mod documents;
mod explaining;
mod first_light;
mod front;
mod guessing;
mod http2;
mod http2_frames;
#[cfg(feature = "kubernetes")]
mod kubernetes_provider;
mod kubernetes_provider_takeover;
mod limits;
mod logs;
mod metrics;
mod oauth;
mod oauth_endpoint;
mod oauth_replicas;
mod origin;
mod pages;
mod peers;
mod plain_http;
mod plans;
mod portal;
mod profile;
mod published;
mod published_life;
mod published_owners;
mod reach;
mod redis_away;
mod redis_failover;
mod redis_other;
mod refusals;
mod registry_commands;
mod registry_commands_redis;
mod registry_file;
mod relaying;
mod replicas;
mod revocation;
mod secrets;
mod sessions;
mod stopping;
mod subscription_rights;
mod subscriptions;
mod support;
mod tidy;
mod tls;
mod uploads;
mod uploads_failing;
mod wake;
mod wake_console;
mod wake_contract;
mod wake_isolation;
mod wake_limits;
mod wake_nodes;
mod wake_operators;
mod wake_page;
mod wake_replicas;
mod wake_use;
