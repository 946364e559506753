//! What every function shares, one room per concept.
//!
//! [`delivery`] believes late; [`inbox`] files what was believed; [`scan_ledger`] remembers what was told and decides what
//! may be; [`mod@verify_line_event`] speaks to `EZWhatsApp`; [`dispatch`] walks one message through the last two. [`load_client_config`],
//! [`contact_subject`] and [`wording`] are the client's side: who is told what, and how; [`check`] looks over it all before a
//! deployment. [`secret_name`], [`clock`], [`batch`],
//! [`telemetry`], [`fault`] and [`bootstrap`] are the small rooms that the others lean on.
//!
//! Arrows go down only; `docs/architecture.md` has the picture, and a test holds it.

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
