//! What the functions share (package `tellonce-core`), one module per concept.
//!
//! - [`delivery`] verifies what a sender posts. [`inbox`] stores what was verified, once.
//! - [`ledger`] records every message and decides what may be sent. [`line`] is the client of
//!   `EZWhatsApp`. [`dispatch`] takes one message through both.
//! - [`client_config`], [`contact`] and [`wording`] are the client's side: settings, phone numbers
//!   and texts.
//! - [`secret`], [`clock`], [`batch`], [`telemetry`], [`fault`] and [`bootstrap`] are small modules
//!   that the others use.
//!
//! The checks of a `client.toml` are a crate of their own (`cli/check`), because no function uses
//! them. Arrows go down only: `docs/architecture.md` lists them, and a test holds the list.

pub mod appointment;
pub mod batch;
pub mod bootstrap;
pub mod client_config;
pub mod clock;
pub mod contact;
pub mod delivery;
pub mod dispatch;
pub mod fault;
pub mod feed;
pub mod greeting;
pub mod hash;
pub mod http_body;
pub mod inbox;
pub mod json;
pub mod ledger;
pub mod line;
pub mod lookup;
pub mod public_address;
pub mod secret;
pub mod telemetry;
pub mod wording;
