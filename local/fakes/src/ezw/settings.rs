//! Every switch of the fake. All of them can be turned while it runs.
//!
//! The defaults follow what EZWhatsApp documents and are neutral where it documents nothing. A switch marked
//! **invented** has no source at all: it exists so that our own code can be tried against answers that EZWhatsApp
//! *might* give. Nothing marked so may be quoted as EZWhatsApp's behaviour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What `GET /api/v1/health` answers for a line.
///
/// Only [`HealthPreset::Good`] is a documented answer; the codes of `Qr` and `Launch` are those of whapi.cloud, and the
/// names of the line states in every preset but `Good` are invented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthPreset {
    /// The one sample EZWhatsApp publishes: `AUTH`, connected, sendable.
    #[default]
    Good,
    /// The phone's owner must link the line again.
    Qr,
    /// The line is connecting.
    Launch,
    /// Contradicts itself: `AUTH` but `sendable: false`.
    Contradictory,
    /// Unknown state names with `sendable: true`.
    UnknownStrings,
    /// No `line` object at all.
    MissingLine,
    /// HTTP 503.
    Unavailable,
}

impl HealthPreset {
    /// All presets, in the order a menu should show them.
    pub const ALL: [Self; 7] = [
        Self::Good,
        Self::Qr,
        Self::Launch,
        Self::Contradictory,
        Self::UnknownStrings,
        Self::MissingLine,
        Self::Unavailable,
    ];

    /// HTTP status and body of the health answer; `None` as body means: use the error envelope.
    pub(super) fn health_response(self) -> (u16, Option<Value>) {
        let body = match self {
            Self::Good => json!({
                "health": {"status": {"code": 4, "text": "AUTH"}},
                "line": {"lifecycleState": "connected", "effectiveSendState": "sendable", "sendable": true}
            }),
            Self::Qr => json!({
                "health": {"status": {"code": 3, "text": "QR"}},
                "line": {"lifecycleState": "qr_required", "effectiveSendState": "blocked", "sendable": false}
            }),
            Self::Launch => json!({
                "health": {"status": {"code": 2, "text": "LAUNCH"}},
                "line": {"lifecycleState": "connecting", "effectiveSendState": "blocked", "sendable": false}
            }),
            Self::Contradictory => json!({
                "health": {"status": {"code": 4, "text": "AUTH"}},
                "line": {"lifecycleState": "connected", "effectiveSendState": "sendable", "sendable": false}
            }),
            Self::UnknownStrings => json!({
                "health": {"status": {"code": 77, "text": "HIBERNATING"}},
                "line": {"lifecycleState": "napping", "effectiveSendState": "perhaps", "sendable": true}
            }),
            Self::MissingLine => json!({"health": {"status": {"code": 4, "text": "AUTH"}}}),
            Self::Unavailable => return (503, None),
        };
        (200, Some(body))
    }

    /// Whether a queued message reaches the customer's phone now. **Invented**: EZWhatsApp doesn't say whether it queues
    /// or refuses while a line is down, so the fake does the more dangerous thing and delivers late.
    pub(super) fn delivers_to_phone(self) -> bool {
        match self {
            Self::Good | Self::UnknownStrings | Self::MissingLine | Self::Unavailable => true,
            Self::Qr | Self::Launch | Self::Contradictory => false,
        }
    }
}

/// Something that goes wrong with one send. It strikes only requests that would otherwise have been accepted.
/// **Invented**, all of them: EZWhatsApp documents no limits, no retry header and no server errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SendFault {
    /// The message is queued, and then the answer comes late or, without a number, never.
    TimeoutAfterAccept {
        /// Milliseconds until the normal answer is given after all.
        #[serde(default)]
        reply_after_ms: Option<u64>,
    },
    /// The connection breaks before anything was queued.
    DropBeforeAccept,
    /// The message is queued, then the connection breaks without an answer.
    DropAfterAccept,
    /// 429, nothing queued.
    TooManyRequests {
        /// Value of `Retry-After` in seconds; without it the header is missing.
        #[serde(default)]
        retry_after_s: Option<u64>,
    },
    /// 500, nothing queued.
    ServerErrorBeforeAccept,
    /// 500, although the message is queued.
    ServerErrorAfterAccept,
}

impl SendFault {
    /// Short name for counters and the console.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeoutAfterAccept { .. } => "timeout_after_accept",
            Self::DropBeforeAccept => "drop_before_accept",
            Self::DropAfterAccept => "drop_after_accept",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::ServerErrorBeforeAccept => "server_error_before_accept",
            Self::ServerErrorAfterAccept => "server_error_after_accept",
        }
    }
}

/// A fault that strikes a share of all sends, drawn from a seeded generator so that a run can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultShare {
    /// 0.0 (never) to 1.0 (always).
    pub probability: f64,
    /// What strikes.
    pub fault: SendFault,
    /// Seed of the generator.
    #[serde(default)]
    pub seed: u64,
}

/// Body of the 202. **Invented**: the name of the id field is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcceptedBody {
    /// `{"id": "…", "status": "queued"}`
    #[default]
    Flat,
    /// `{"message": {"id": "…", "status": "queued"}}`
    NestedMessage,
    /// `{"data": {"id": "…"}}`
    NestedData,
    /// No body at all.
    Empty,
}

/// Answer to a repeat of a key with the same bytes. EZWhatsApp accepts both "the same attempt comes back" and "at least no
/// duplicate goes out"; the statuses are **invented**.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatResponse {
    /// 202 and the same id.
    #[default]
    SameAccepted,
    /// 200 and the same id.
    SameOk,
    /// 409.
    Conflict,
}

/// Answer to a key that comes back with other bytes. **Invented** (422 follows the IETF draft).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyConflictResponse {
    /// 422
    #[default]
    Unprocessable,
    /// 409
    Conflict,
}

/// How an error is written. **Invented**: only the codes are known, not the body around them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorEnvelope {
    /// `{"error": "code"}`
    #[default]
    Code,
    /// `{"error": {"code": "code"}}`
    Object,
    /// The code as plain text.
    PlainText,
}

/// What happens on the way to registered webhook targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "a board of independent switches")]
pub struct WebhookSettings {
    /// Test-only: lets loopback, private and link-local targets through. Off, the documented refusal applies.
    pub allow_local_targets: bool,
    /// Raise `statuses.post` `submissions`.
    pub report_sent: bool,
    /// Raise `statuses.post` `delivered` (the one status EZWhatsApp shows).
    pub report_delivered: bool,
    /// Raise `statuses.post` `read`.
    pub report_read: bool,
    /// Every delivery arrives twice with the same delivery id.
    pub duplicate: bool,
    /// Deliveries that were raised close together arrive in reverse.
    pub reorder: bool,
    /// Items that were raised close together arrive in one delivery.
    pub batch: bool,
    /// Delay before each delivery, in milliseconds.
    pub delay_ms: u64,
    /// Report an unknown status in place of `delivered`.
    pub unknown_status: bool,
    /// Leave `conversationId` and `conversation_id` out.
    pub omit_conversation_id: bool,
    /// whapi.cloud's own form: `event` as an object and status timestamps as strings.
    pub whapi_event_object: bool,
    /// How long deliveries are gathered for `reorder` and `batch`, in milliseconds.
    pub gather_ms: u64,
    /// Delay before a redelivery, times the number of the attempt, in milliseconds. The plan is invented.
    pub redeliver_after_ms: u64,
    /// Attempts in all while the target answers anything but 2xx.
    pub attempts: u32,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            allow_local_targets: false,
            report_sent: true,
            report_delivered: true,
            report_read: false,
            duplicate: false,
            reorder: false,
            batch: false,
            delay_ms: 0,
            unknown_status: false,
            omit_conversation_id: false,
            whapi_event_object: false,
            gather_ms: 150,
            redeliver_after_ms: 200,
            attempts: 5,
        }
    }
}

/// The whole switchboard. Kept over restarts when the fake has a state folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FakeSettings {
    /// Health of every line that isn't named in `line_health`.
    pub health: HealthPreset,
    /// Health by line id.
    pub line_health: BTreeMap<String, HealthPreset>,
    /// Added to every answer of the Channel API, in milliseconds.
    pub latency_ms: u64,
    /// Body of the 202.
    pub accepted_body: AcceptedBody,
    /// Answer to a repeat.
    pub repeat_response: RepeatResponse,
    /// Answer to a key with other bytes.
    pub key_conflict_response: KeyConflictResponse,
    /// Form of an error.
    pub error_envelope: ErrorEnvelope,
    /// A fault that strikes a share of all sends.
    pub fault_share: Option<FaultShare>,
    /// Give the message another id on the provider's side than the 202 named. **Invented** either way: how a status finds
    /// its send is unknown.
    pub separate_provider_ids: bool,
    /// Added to the system clock for all times the fake writes, in milliseconds.
    pub clock_offset_ms: i64,
    /// The way to webhook targets.
    pub webhooks: WebhookSettings,
}

impl FakeSettings {
    /// Health of one line.
    pub fn health_of_line(&self, line: &str) -> HealthPreset {
        self.line_health.get(line).copied().unwrap_or(self.health)
    }
}
