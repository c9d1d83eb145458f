//! flowgate: one address in front of many users' flow runtimes.
//!
//! # The life of a request
//!
//! 1. [`front`] takes a connection within the limit and reads a request from it. What cannot be
//!    decided at once, or is rare, it hands over to [`accept`].
//! 2. [`journey`] carries it on; it alone knows the stages, and calls them in turn:
//! 3. [`route`] finds the row for host and path;
//! 4. [`authenticate`] turns credentials into an identity with its [`grant`];
//! 5. [`live`] takes it into the live table, where whoever ends the grant will find it;
//!    A runtime that sleeps is woken by [`runtimes`] then, and waited for.
//! 6. [`connect`] dials the runtime and does the upstream half of the handshake, with the headers
//!    that [`exchange`] leaves;
//! 7. [`relay`] adopts the two sockets once both sides have switched protocols, and relays frames
//!    until one side ends or the grant does.
//!
//! All of it happens on a few threads of our own, each a readiness loop: the [`front`] does steps 1 to
//! 6 for all that needs no waiting, and its companion, the [`relay`], step 7. In each round everyone
//! with frames has a turn first, and then the front as much time, so that storms of handshakes do not
//! queue before frames, nor the other way round. tokio and hyper do steps 1 to 6 for the rest, and
//! hand over what they have switched.
//!
//! # Floors
//!
//! Imports go down only; on floors 1 and 2 modules may import their neighbours, acyclically.
//!
//! - 4, the stories: [`journey`], [`profile`], [`web`], [`change`], [`revoke`], [`follow`],
//!   [`presence`], [`settle`], [`commands`], [`admin`], [`json`], [`drain`], [`config`],
//!   [`publish`], [`analytics`], [`oauth`]
//! - 3, the stages: [`front`], [`accept`], [`route`], [`authenticate`], [`connect`], [`exchange`],
//!   [`relay`]
//! - 2, services: [`live`], [`ledger`], [`registry`], [`runtimes`], [`guessing`], [`passwords`],
//!   [`telemetry`], [`tls`], [`upload`], [`rewound`], [`permits`], [`descriptors`], [`held`],
//!   [`scheduling`]
//! - 1, vocabulary: [`tenant`], [`grant`], [`plan`], [`secret`], [`refusal`], [`close`],
//!   [`client`], [`clock`], [`carriers`], [`cookies`], [`path`], [`row`], [`metrics`],
//!   [`own_network`], [`networks`], [`proxy_protocol`], [`limits`], [`keepalive`], [`api`],
//!   [`sealing`]
//!
//! # Invariants
//!
//! - Nobody gets an `Identity` for a private row but from [`authenticate`].
//! - [`tenant::Tenant::allows`] alone says whether a grant holds, together with
//!   [`registry::apis::Directory::allows`] for what rests on a published API (both by
//!   [`registry::Registry::allows`]); [`tenant::Tenant::keeps`] alone says
//!   whether what runs may stay on the instance that it was made for.
//! - No client's password is checked but by [`passwords::Passwords::verify`], which asks [`guessing`].
//! - Whatever runs is in the live table before its runtime is dialled, and out of it by a guard.
//! - Nothing of a frame is forwarded before its header was judged, and nothing of it is changed.
//! - A connection at rest owns no buffer, no task and no timer.
//! - A message that has begun to pass passes whole; one that a plan leaves out leaves nothing behind.
//! - Deliberately absent: reassembly of messages, negotiation of extensions by ourselves (but that a
//!   plan which drops messages has each compressed by itself), retries of a handshake, trust in what
//!   a header says of its sender unless a trusted proxy has sent it.

pub mod accept;
pub mod admin;
pub mod analytics;
pub mod api;
pub mod authenticate;
pub mod carriers;
pub mod change;
pub mod client;
pub mod clock;
pub mod close;
pub mod commands;
pub mod config;
pub mod connect;
pub mod cookies;
pub mod descriptors;
pub mod drain;
pub mod exchange;
pub mod follow;
pub mod front;
// Not on the map: it travels with nothing, and no build that serves anybody has it.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod grant;
pub mod guessing;
pub mod held;
pub mod journey;
pub mod json;
pub mod keepalive;
pub mod ledger;
pub mod limits;
pub mod live;
pub mod metrics;
pub mod networks;
pub mod oauth;
pub mod own_network;
pub mod passwords;
pub mod path;
pub mod permits;
pub mod plan;
pub mod presence;
pub mod profile;
pub mod proxy_protocol;
pub mod publish;
pub mod refusal;
pub mod registry;
pub mod relay;
pub mod revoke;
pub mod rewound;
pub mod route;
pub mod row;
pub mod runtimes;
pub mod scheduling;
pub mod sealing;
pub mod secret;
pub mod settle;
pub mod telemetry;
pub mod tenant;
pub mod tls;
pub mod upload;
pub mod web;
