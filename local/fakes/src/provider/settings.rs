//! The settings of the fake. All of them can change while it runs.
//!
//! The defaults follow EZWhatsApp's documentation, and are neutral where it has none. A setting
//! marked **invented** has no source: it exists to test functions against responses that EZWhatsApp
//! *might* give. Never quote an invented setting as EZWhatsApp's behaviour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The response of `GET /api/v1/health` for a line.
///
/// Only [`HealthPreset::Good`] is documented. The codes of `Qr` and `Launch` are whapi.cloud's. The
/// names of the line states in every preset but `Good` are invented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthPreset {
    /// The only sample that EZWhatsApp publishes: `AUTH`, connected, sendable.
    #[default]
    Good,
    /// The phone's owner must link the line again.
    Qr,
    /// The line is connecting.
    Launch,
    /// A contradiction: `AUTH` but `sendable: false`.
    Contradictory,
    /// Unknown state names with `sendable: true`.
    UnknownStrings,
    /// No `line` object at all.
    MissingLine,
    /// HTTP 503.
    Unavailable,
}

impl HealthPreset {
    /// All presets, in the order of a menu.
    pub const ALL: [Self; 7] = [
        Self::Good,
        Self::Qr,
        Self::Launch,
        Self::Contradictory,
        Self::UnknownStrings,
        Self::MissingLine,
        Self::Unavailable,
    ];

    /// HTTP status and body of the health response. `None` as body: the error envelope.
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

    /// Whether a queued message reaches the customer's phone now. **Invented**: EZWhatsApp does not
    /// document whether it queues or refuses while a line is down. The fake does the more dangerous
    /// thing and delivers late.
    pub(super) fn delivers_to_phone(self) -> bool {
        match self {
            Self::Good | Self::UnknownStrings | Self::MissingLine | Self::Unavailable => true,
            Self::Qr | Self::Launch | Self::Contradictory => false,
        }
    }
}

/// A fault of one send. It strikes only requests that would have been accepted. **Invented**, all
/// of them: EZWhatsApp documents no limits, no retry header and no server errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SendFault {
    /// The message is queued, and the response comes late, or never without `reply_after_ms`.
    TimeoutAfterAccept {
        /// Milliseconds until the response.
        #[serde(default)]
        reply_after_ms: Option<u64>,
    },
    /// The connection breaks before the message is queued.
    DropBeforeAccept,
    /// The message is queued, and the connection breaks without a response.
    DropAfterAccept,
    /// 429. Nothing is queued.
    TooManyRequests {
        /// Value of `Retry-After` in seconds. `None`: no header.
        #[serde(default)]
        retry_after_s: Option<u64>,
    },
    /// 400. Nothing is queued.
    RefusedBeforeAccept,
    /// 500. Nothing is queued.
    ServerErrorBeforeAccept,
    /// 500, although the message is queued.
    ServerErrorAfterAccept,
    /// 500, and the message is queued later.
    AcceptLate {
        /// Milliseconds of real time until it is queued.
        after_ms: u64,
    },
}

impl SendFault {
    /// Short name for counters and the console.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeoutAfterAccept { .. } => "timeout_after_accept",
            Self::DropBeforeAccept => "drop_before_accept",
            Self::DropAfterAccept => "drop_after_accept",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::RefusedBeforeAccept => "refused_before_accept",
            Self::ServerErrorBeforeAccept => "server_error_before_accept",
            Self::ServerErrorAfterAccept => "server_error_after_accept",
            Self::AcceptLate { .. } => "accept_late",
        }
    }
}

/// A fault of a share of all sends. The generator has a seed, so that a run can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultShare {
    /// 0.0 (never) to 1.0 (always).
    pub probability: f64,
    /// The fault of these sends.
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

/// Response to a repeat of a key with the same body. EZWhatsApp documents both "the same attempt
/// comes back" and "at least no duplicate goes out". The statuses are **invented**.
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

/// Response to a key that is repeated with another body. **Invented** (422 follows the IETF draft).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyConflictResponse {
    /// 422
    #[default]
    Unprocessable,
    /// 409
    Conflict,
}

/// Format of an error. **Invented**: only the codes are known, not the body around them.
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

/// The delivery of events to webhook targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "a board of independent switches")]
pub struct WebhookSettings {
    /// For tests: accepts loopback, private and link-local targets. If false, the documented
    /// refusal applies.
    pub allow_local_targets: bool,
    /// Raise `statuses.post` with `sent`.
    pub report_sent: bool,
    /// Raise `statuses.post` with `delivered`, the only status that EZWhatsApp documents.
    pub report_delivered: bool,
    /// Raise `statuses.post` with `read`.
    pub report_read: bool,
    /// Post every delivery twice with the same delivery id.
    pub duplicate: bool,
    /// Post deliveries of the same moment in reverse order.
    pub reorder: bool,
    /// Post events of the same moment in one delivery.
    pub batch: bool,
    /// Delay before each delivery, in milliseconds.
    pub delay_ms: u64,
    /// Report an unknown status instead of `delivered`.
    pub unknown_status: bool,
    /// Leave out `conversationId` and `conversation_id`.
    pub omit_conversation_id: bool,
    /// Name customers by a private id (`…@lid`) in place of their number, and repeat its digits as
    /// `contactPhoneNumber`. **Invented**, after reports about linked lines.
    pub private_ids: bool,
    /// Use whapi.cloud's own format: `event` as an object, and status timestamps as strings.
    pub whapi_event_object: bool,
    /// How long deliveries are collected for `reorder` and `batch`, in milliseconds.
    pub gather_ms: u64,
    /// Delay before a redelivery, times the number of the attempt, in milliseconds. Invented.
    pub redeliver_after_ms: u64,
    /// Most attempts while the target does not respond with 2xx.
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
            private_ids: false,
            whapi_event_object: false,
            gather_ms: 150,
            redeliver_after_ms: 200,
            attempts: 5,
        }
    }
}

/// All settings. They survive a restart if the fake has a state folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FakeSettings {
    /// Health of every line that is not in `line_health`.
    pub health: HealthPreset,
    /// Health by line id.
    pub line_health: BTreeMap<String, HealthPreset>,
    /// Delay of every response of the Channel API, in milliseconds.
    pub latency_ms: u64,
    /// Body of the 202.
    pub accepted_body: AcceptedBody,
    /// Response to a repeat.
    pub repeat_response: RepeatResponse,
    /// Response to a key with another body.
    pub key_conflict_response: KeyConflictResponse,
    /// Format of an error.
    pub error_envelope: ErrorEnvelope,
    /// A fault of a share of all sends.
    pub fault_share: Option<FaultShare>,
    /// Give the message another provider id than the id in the 202 response. **Invented** either
    /// way: how a status refers to its send is unknown.
    pub separate_provider_ids: bool,
    /// Added to the system clock for all times of the fake, in milliseconds.
    pub clock_offset_ms: i64,
    /// The delivery to webhook targets.
    pub webhooks: WebhookSettings,
}

impl FakeSettings {
    /// Health of one line.
    pub fn health_of_line(&self, line: &str) -> HealthPreset {
        self.line_health.get(line).copied().unwrap_or(self.health)
    }
}
