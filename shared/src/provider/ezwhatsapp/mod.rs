//! `EZWhatsApp`. Facts and their sources: `docs/ezwhatsapp.md`.
//!
//! Main types: [`FACTS`]; `message` (text and media requests), `api` (sends), `health` (the gate
//! before every send), `line_event` (webhook deliveries, with `item_contact` and `item_content`),
//! `webhook_registration`.
//!
//! Promises: a fact that `EZWhatsApp` does not publish is a constant here, with its reason. Does
//! **not** promise that `EZWhatsApp` honours its idempotency key.

pub(super) mod api;
mod health;
mod item_contact;
mod item_content;
mod item_members;
pub(super) mod line_event;
pub(super) mod message;
pub(super) mod webhook_registration;

use std::time::Duration;

use jiff::SignedDuration;

use super::{LineEventHeaders, ProviderFacts, UnknownOutcomeRules};

/// Limits, names and rules of `EZWhatsApp`.
pub(super) const FACTS: ProviderFacts = ProviderFacts {
    name: "EZWhatsApp",
    base_url: "https://app.ezw.solutions",
    token_prefix: "ezw_line_",
    // No limit is published; 20 is the rate of a person who types.
    default_messages_per_minute: 20,
    // One a second (U11 in `docs/ezwhatsapp.md`).
    max_messages_per_minute: 60,
    // Short enough that a function can still settle its claim, long enough for a slow day.
    send_timeout: Duration::from_secs(10),
    // Not published; a phone that lost its link is noticed within this time.
    health_valid_seconds: 30,
    // reminder-scheduler asks once a minute.
    down_recheck_seconds: 60,
    // Not published. A minute is cautious: six times `send_timeout` (U5 in `docs/ezwhatsapp.md`).
    late_acceptance: SignedDuration::from_mins(1),
    unknown_outcome: UnknownOutcomeRules {
        // No advice is published; five is cautious.
        max_attempts: 5,
        // How long a key is remembered is not published, so this is short of a day.
        window: SignedDuration::from_hours(23),
        // Soon after a dropped connection, and still within reach of an outage that lasts hours.
        retry_delays: &[
            SignedDuration::from_secs(30),
            SignedDuration::from_mins(3),
            SignedDuration::from_mins(20),
            SignedDuration::from_hours(2),
        ],
    },
    line_event_headers: LineEventHeaders {
        delivery_id: "x-ezw-delivery-id",
        event: "x-ezw-webhook-event",
        line_id: "x-ezw-line-id",
        webhook_id: "x-ezw-webhook-id",
    },
    token_advice: "create a token for this line in EZWhatsApp, which begins with ezw_line_; a workspace login is not for \
                   servers",
    line_id_source: "its webhooks carry it as X-EZW-Line-Id",
};
