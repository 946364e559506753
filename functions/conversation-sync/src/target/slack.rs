//! Slack: an incoming webhook, whose address is the secret.
//!
//! Facts: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
//! <https://docs.slack.dev/messaging/formatting-message-text>,
//! <https://docs.slack.dev/reference/methods/chat.postMessage> (how long a text may be),
//! <https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks>.

use reqwest::StatusCode;
use serde_json::json;

use super::{TargetClient, parse_reason_code};
use crate::{api_client::ApiError, notification::Notification};

/// The hosts of webhooks; the second is `GovSlack`'s.
const SLACK_HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];
/// The longest text, in bytes. Slack cuts a text at 40,000 characters and advises to stay below
/// 4,000, which is too short for some conversations.
const MAX_TEXT_BYTES: usize = 12_000;

/// Posts a notification. Succeeds when Slack answers 200 and `ok`.
pub(super) async fn post_to_slack(target: &TargetClient<'_>, notification: &Notification) -> Result<(), ApiError> {
    let address = target
        .parse_secret_url("the https address of a Slack incoming webhook", |host: &str| SLACK_HOSTS.contains(&host))?;
    let api_client = &target.api_client;
    let reply = api_client
        .send_with_fallback(api_client.http.post(address).json(&build_body(notification)), |status, body| {
            Err(match status {
                // Forbidden in this workspace; no such webhook, channel or team; the channel is
                // archived.
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
                    target.rejected_address_error(status)
                }
                _ => match api_client.error_for_status(status) {
                    ApiError::Refused { status, .. } => {
                        ApiError::Refused { status, code: std::str::from_utf8(body).ok().and_then(parse_reason_code) }
                    }
                    other => other,
                },
            })
        })
        .await?;
    if reply.status == 200 && reply.body.trim_ascii() == b"ok" {
        Ok(())
    } else {
        Err(ApiError::UnexpectedResponse { status: reply.status })
    }
}

/// Plain text: Slack formats nothing in it and opens no link for a preview.
fn build_body(notification: &Notification) -> serde_json::Value {
    let text = notification.render_within(MAX_TEXT_BYTES, |shorter| escape_text(&shorter.render_text().to_string()));
    json!({ "text": text, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false })
}

/// The three characters that begin Slack's mentions and links.
fn escape_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use loopback::http_response;
    use tellonce_core::{client_config::TargetKind, fault::Fault};

    use super::{
        super::tests::{assert_error, send_to_unreachable, send_with_reply},
        *,
    };
    use crate::notification::tests::{
        bare_notification, hebrew_notification, hostile_notification, sample_notification,
    };

    const SLACK_URL: &str = "https://hooks.slack.com/services/T0/B0/hunter2";

    #[tokio::test]
    async fn slack_receives_plain_text_at_the_address_in_the_secret() {
        let (request, result) = send_with_reply(
            &TargetKind::Slack,
            Some(SLACK_URL),
            &sample_notification(),
            &http_response("200 OK", "ok"),
        )
        .await;
        result.unwrap();
        assert!(request.starts_with("POST /services/T0/B0/hunter2 HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with(&build_body(&sample_notification()).to_string()), "{request}");
    }

    #[test]
    fn the_slack_text_is_readable() {
        insta::assert_json_snapshot!("slack_usual", build_body(&sample_notification()));
        insta::assert_json_snapshot!("slack_hebrew_pictures_and_sent_again", build_body(&hebrew_notification()));
        insta::assert_json_snapshot!("slack_without_text_and_name", build_body(&bare_notification()));
        insta::assert_json_snapshot!("slack_hostile", build_body(&hostile_notification()));
    }

    #[test]
    fn customer_text_mentions_no_slack_user() {
        let body = build_body(&hostile_notification());
        let text = body["text"].as_str().unwrap();
        assert!(!text.contains(['<', '>']) && text.contains("&lt;!channel&gt;"), "{text}");
    }

    #[test]
    fn a_text_stays_within_the_slack_limit() {
        let mut long = sample_notification();
        long.messages[1].text = Some("<".repeat(50_000));
        assert!(build_body(&long)["text"].as_str().unwrap().len() <= MAX_TEXT_BYTES);
    }

    #[tokio::test]
    async fn every_slack_response_states_whether_to_retry() {
        for (head, body, fault, expected) in [
            ("400 Bad Request", "invalid_payload", Fault::Permanent, "invalid_payload"),
            ("400 Bad Request", "user_not_found", Fault::Permanent, "user_not_found"),
            ("400 Bad Request", "a sentence with hunter2", Fault::Permanent, "(HTTP 400)"),
            ("413 Payload Too Large", "", Fault::Permanent, "413"),
            ("403 Forbidden", "action_prohibited", Fault::Transient, "tellonce/demo/targets/team"),
            ("404 Not Found", "no_service", Fault::Transient, "tellonce/demo/targets/team"),
            ("410 Gone", "channel_is_archived", Fault::Transient, "tellonce/demo/targets/team"),
            ("429 Too Many Requests\r\nretry-after: 30", "", Fault::Transient, "retry later"),
            ("500 Internal Server Error", "rollup_error", Fault::Ambiguous, "500"),
            ("302 Found\r\nlocation: https://evil.example/", "", Fault::Transient, "302"),
            ("200 OK", "<html>hunter2</html>", Fault::Ambiguous, "200"),
            ("202 Accepted", "ok", Fault::Ambiguous, "202"),
        ] {
            assert_error(&TargetKind::Slack, Some(SLACK_URL), &http_response(head, body), fault, expected).await;
        }
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\no";
        assert_error(&TargetKind::Slack, Some(SLACK_URL), cut, Fault::Ambiguous, "no response").await;
    }

    #[tokio::test]
    async fn only_slack_addresses_are_called() {
        for secret in [
            None,
            Some("hunter2"),
            Some("http://hooks.slack.com/services/hunter2"),
            Some("https://hooks.slack.com.evil.example/services/hunter2"),
            Some("https://user@hooks.slack.com/services/hunter2"),
            Some("https://hooks.slack.com:8443/services/hunter2"),
            Some("https://169.254.169.254/hunter2"),
        ] {
            let error = send_to_unreachable(&TargetKind::Slack, secret).await;
            assert!(matches!(error, ApiError::MalformedSecret { .. }), "{secret:?}: {error}");
        }
        let gov = "https://hooks.slack-gov.com/services/hunter2";
        assert!(matches!(send_to_unreachable(&TargetKind::Slack, Some(gov)).await, ApiError::Unreachable(_)));
    }
}
