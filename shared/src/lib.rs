//! What every function shares, one room per concept.
//!
//! [`delivery`] believes late; [`inbox`] files what was believed; [`ledger`] remembers what was told and decides what
//! may be; [`mod@line`] speaks to `EZWhatsApp`; [`telling`] walks one message through the last two. [`client_config`],
//! [`contact`] and [`wording`] are the client's side: who is told what, and how; [`check`] looks over it all before a
//! deployment. [`secret`], [`clock`], [`batch`],
//! [`observe`], [`fault`] and [`cold_start`] are the small rooms that the others lean on.
//!
//! Arrows go down only; `docs/architecture.md` has the picture, and a test holds it.

pub mod appointment;
pub mod batch;
pub mod body;
pub mod check;
pub mod client_config;
pub mod clock;
pub mod cold_start;
pub mod contact;
pub mod delivery;
pub mod digest;
pub mod fault;
pub mod feed;
pub mod greeting;
pub mod inbox;
pub mod json;
pub mod ledger;
pub mod line;
pub mod observe;
pub mod read_back;
pub mod secret;
pub mod telling;
pub mod wording;
