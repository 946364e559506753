//! The response of `/health` and the strict gate before every send.
//!
//! Promises: a line counts as sendable only if every part of the response says so.

use serde::Deserialize;

use crate::provider::LineHealth;

/// A line's states as `/health` reports them. Only the good states are published, so all stay text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ReportedHealth {
    http_status: u16,
    /// `line.sendable`.
    sendable: Option<bool>,
    /// `line.effectiveSendState`.
    effective_send_state: Option<String>,
    /// `line.lifecycleState`.
    lifecycle_state: Option<String>,
    /// `health.status.text`.
    status: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HealthResponse {
    health: Option<HealthPart>,
    line: Option<LinePart>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HealthPart {
    status: Option<StatusPart>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusPart {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LinePart {
    lifecycle_state: Option<String>,
    effective_send_state: Option<String>,
    sendable: Option<bool>,
}

impl ReportedHealth {
    /// Parses a response. A response that does not parse has no states and is not sendable.
    pub(super) fn parse_response(http_status: u16, body: &[u8]) -> Self {
        let response: HealthResponse = serde_json::from_slice(body).unwrap_or_default();
        let line = response.line.unwrap_or_default();
        // The states are logged: keep the characters of a state's name and cut the rest.
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

    /// Whether a message may be sent over the line. A state that is missing, unknown or contradicts
    /// the others holds the message.
    fn is_sendable(&self) -> bool {
        self.http_status == 200
            && self.sendable == Some(true)
            && self.effective_send_state.as_deref() == Some("sendable")
            && self.lifecycle_state.as_deref() == Some("connected")
            && self.status.as_deref() == Some("AUTH")
    }

    /// Logs the raw states, as evidence that health was requested before a send.
    pub(super) fn log(&self, line: &str) {
        tracing::info!(
            line.name = line,
            line.sendable = self.sendable,
            line.effective_send_state = self.effective_send_state,
            line.lifecycle_state = self.lifecycle_state,
            line.status = self.status,
            line.http_status = self.http_status,
            "requested health of line {line}"
        );
    }

    pub(super) fn to_line_health(&self) -> LineHealth {
        LineHealth {
            sendable: self.is_sendable(),
            token_accepted: self.http_status == 200,
            token_refused: self.http_status == 401,
            summary: self.summary(),
        }
    }

    fn summary(&self) -> String {
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
        assert!(ReportedHealth::parse_response(200, GOOD_RESPONSE.as_bytes()).is_sendable());
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
            let health = ReportedHealth::parse_response(200, GOOD_RESPONSE.replacen(from, to, 1).as_bytes());
            assert!(!health.is_sendable(), "{from} → {to}: {}", health.summary());
        }
        assert!(!ReportedHealth::parse_response(503, GOOD_RESPONSE.as_bytes()).is_sendable());
        assert!(!ReportedHealth::parse_response(200, b"").is_sendable());
    }
}
