//! What `EZWhatsApp` says about a line, and the strict gate in front of every send.

use serde::Deserialize;

/// How long a good answer counts, in seconds. Not published; a phone that lost its link is noticed within this time.
pub const HEALTH_VALID_SECONDS: i64 = 30;

/// A line's state, as `/health` gave it. States other than the known good ones are not published, so they stay text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineHealth {
    /// The HTTP status of the answer.
    pub http_status: u16,
    /// `verify_line_event.sendable`.
    pub sendable: Option<bool>,
    /// `verify_line_event.effectiveSendState`.
    pub effective_send_state: Option<String>,
    /// `verify_line_event.lifecycleState`.
    pub lifecycle_state: Option<String>,
    /// `health.status.text`.
    pub status: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EzwHealthResponse {
    health: Option<EzwHealthPart>,
    line: Option<EzwLinePart>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EzwHealthPart {
    status: Option<EzwStatusPart>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EzwStatusPart {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EzwLinePart {
    lifecycle_state: Option<String>,
    effective_send_state: Option<String>,
    sendable: Option<bool>,
}

impl LineHealth {
    /// Reads an answer. One that cannot be read has no states, and is not sendable.
    pub fn parse_response(http_status: u16, body: &[u8]) -> Self {
        let response: EzwHealthResponse = serde_json::from_slice(body).unwrap_or_default();
        let line = response.line.unwrap_or_default();
        // The states end up in logs: names of states, not whatever an answer may hold.
        let state = |text: Option<String>| {
            text.map(|text| text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect())
        };
        Self {
            http_status,
            sendable: line.sendable,
            effective_send_state: state(line.effective_send_state),
            lifecycle_state: state(line.lifecycle_state),
            status: state(response.health.and_then(|health| health.status).and_then(|status| status.text)),
        }
    }

    /// Whether the line may be sent over: every part must say so. A part that is missing, unknown or contradicts the
    /// others holds the message back.
    pub fn is_sendable(&self) -> bool {
        self.http_status == 200
            && self.sendable == Some(true)
            && self.effective_send_state.as_deref() == Some("sendable")
            && self.lifecycle_state.as_deref() == Some("connected")
            && self.status.as_deref() == Some("AUTH")
    }

    /// The states in one line, for logs, reasons and the console.
    pub fn summary(&self) -> String {
        let text = |value: &Option<String>| value.as_deref().unwrap_or("absent").to_owned();
        format!(
            "HTTP {}, sendable {}, effectiveSendState {}, lifecycleState {}, status {}",
            self.http_status,
            self.sendable.map_or("absent".to_owned(), |sendable| sendable.to_string()),
            text(&self.effective_send_state),
            text(&self.lifecycle_state),
            text(&self.status),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD_RESPONSE: &str = r#"{"health":{"status":{"code":4,"text":"AUTH"}},"line":{"lifecycleState":"connected","effectiveSendState":"sendable","sendable":true}}"#;

    #[test]
    fn the_published_sample_is_sendable() {
        assert!(LineHealth::parse_response(200, GOOD_RESPONSE.as_bytes()).is_sendable());
    }

    #[test]
    fn a_missing_unknown_or_contradictory_state_is_not_sendable() {
        for (from, to) in [
            ("AUTH", "QR"),
            ("AUTH", "auth"),
            ("\"sendable\":true", "\"sendable\":false"),
            ("\"sendable\":true", "\"sendable\":\"true\""),
            ("\"connected\"", "\"reconnecting\""),
            ("\"sendable\",", "\"degraded\","),
            ("\"line\"", "\"lines\""),
            ("\"health\"", "\"healthy\""),
            ("{\"health\"", "[{\"health\""),
        ] {
            let health = LineHealth::parse_response(200, GOOD_RESPONSE.replacen(from, to, 1).as_bytes());
            assert!(!health.is_sendable(), "{from} → {to}: {}", health.summary());
        }
        assert!(!LineHealth::parse_response(503, GOOD_RESPONSE.as_bytes()).is_sendable());
        assert!(!LineHealth::parse_response(200, b"").is_sendable());
    }
}
