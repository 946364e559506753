//! The code that all functions share, one module per concept.
//!
//! Flow: [`delivery`] verifies a delivery and [`inbox`] stores it. [`wording`] renders a message
//! from [`client_config`] and [`contact`]. [`dispatch`] takes the message through [`ledger`],
//! `line` and [`provider`]. [`secret`], [`clock`], [`batch`], [`telemetry`], [`fault`] and
//! [`bootstrap`] serve the others.
//!
//! The checks of a `client.toml` are a crate of their own (`cli/check`), because no function uses
//! them. A module depends only on modules below it. `docs/architecture.md` lists these
//! dependencies, and a test checks the list.

pub mod appointment;
pub mod attributes;
pub mod base_urls;
pub mod batch;
pub mod bootstrap;
pub mod client_config;
pub mod clock;
pub mod code_version;
mod conflict_retry;
pub mod contact;
pub mod content_type;
pub mod delivery;
pub mod dispatch;
pub mod fault;
pub mod feed;
pub mod greeting;
pub mod hash;
pub mod heartbeat;
pub mod http_body;
pub mod inbox;
pub mod json;
pub mod ledger;
pub mod line;
pub mod lookup;
pub mod person;
pub mod provider;
pub mod pseudonym;
pub mod public_address;
pub mod public_client;
pub mod replay;
pub mod sdk_http;
pub mod secret;
pub mod telemetry;
pub mod trail;
pub mod waiting_lookup;
pub mod wording;
