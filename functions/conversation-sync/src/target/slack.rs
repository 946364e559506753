//! Slack: an incoming webhook, whose address is the secret.
//!
//! Facts: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
//! <https://docs.slack.dev/messaging/formatting-message-text>, <https://docs.slack.dev/reference/methods/chat.postMessage>
//! (how long a text may be),
//! <https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks>.

use reqwest::StatusCode;
use serde_json::json;

use super::{TargetClient, word};
use crate::{call::CallError, notice::Notice};

/// Where webhooks are; the second is `GovSlack`'s.
const HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];
/// The longest text, in bytes. Slack cuts a text at 40,000 characters, and advises to stay below 4,000, which a
/// conversation may need.
const LONGEST: usize = 12_000;

/// Posts a notice. Done when Slack answers 200 and `ok`.
pub(super) async fn call(target: &TargetClient<'_>, notice: &Notice) -> Result<(), CallError> {
    let address =
        target.secret_address("the https address of a Slack incoming webhook", |host: &str| HOSTS.contains(&host))?;
    let caller = &target.caller;
    let reply = caller
        .call_or(caller.http.post(address).json(&body(notice)), |status, body| {
            Err(match status {
                // Forbidden in this workspace; no such webhook, channel or team; the channel is archived.
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
                    target.bad_address(status)
                }
                _ => match caller.by_status(status) {
                    CallError::Refused { status, .. } => {
                        CallError::Refused { status, code: std::str::from_utf8(body).ok().and_then(word) }
                    }
                    other => other,
                },
            })
        })
        .await?;
    if reply.status == 200 && reply.body.trim_ascii() == b"ok" {
        Ok(())
    } else {
        Err(CallError::Unexpected { status: reply.status })
    }
}

/// Plain text: nothing in it is formatted, and no link is opened to show what is behind it.
fn body(notice: &Notice) -> serde_json::Value {
    let text = notice.within(LONGEST, |notice| escaped(&notice.words().to_string()));
    json!({ "text": text, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false })
}

/// The three characters that begin Slack's mentions and links.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use loopback::response;
    use shared::{client_config::TargetKind, fault::Fault};

    use super::{
        super::tests::{called, judged, uncalled},
        *,
    };
    use crate::notice::tests::{bare, hebrew, hostile, notice};

    const ADDRESS: &str = "https://hooks.slack.com/services/T0/B0/hunter2";

    #[tokio::test]
    async fn slack_gets_plain_text_at_the_address_that_is_the_secret() {
        let (asked, result) = called(&TargetKind::Slack, Some(ADDRESS), &notice(), &response("200 OK", "ok")).await;
        result.unwrap();
        assert!(asked.starts_with("POST /services/T0/B0/hunter2 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.ends_with(&body(&notice()).to_string()), "{asked}");
    }

    #[test]
    fn what_slack_gets_reads_well() {
        insta::assert_json_snapshot!("slack_usual", body(&notice()));
        insta::assert_json_snapshot!("slack_hebrew_pictures_and_sent_again", body(&hebrew()));
        insta::assert_json_snapshot!("slack_without_text_and_name", body(&bare()));
        insta::assert_json_snapshot!("slack_hostile", body(&hostile()));
    }

    #[test]
    fn nobody_is_mentioned_by_what_a_customer_wrote() {
        let body = body(&hostile());
        let text = body["text"].as_str().unwrap();
        assert!(!text.contains(['<', '>']) && text.contains("&lt;!channel&gt;"), "{text}");
    }

    #[test]
    fn a_text_is_no_longer_than_it_may_be() {
        let mut long = notice();
        long.messages[1].text = Some("<".repeat(50_000));
        assert!(body(&long)["text"].as_str().unwrap().len() <= LONGEST);
    }

    #[tokio::test]
    async fn every_answer_of_slack_knows_whether_to_post_again() {
        for (head, body, fault, says) in [
            ("400 Bad Request", "invalid_payload", Fault::Permanent, "invalid_payload"),
            ("400 Bad Request", "user_not_found", Fault::Permanent, "user_not_found"),
            ("400 Bad Request", "what hunter2 said", Fault::Permanent, "(HTTP 400)"),
            ("413 Payload Too Large", "", Fault::Permanent, "413"),
            ("403 Forbidden", "action_prohibited", Fault::Transient, "tellonce/demo/targets/team"),
            ("404 Not Found", "no_service", Fault::Transient, "tellonce/demo/targets/team"),
            ("410 Gone", "channel_is_archived", Fault::Transient, "tellonce/demo/targets/team"),
            ("429 Too Many Requests\r\nretry-after: 30", "", Fault::Transient, "patience"),
            ("500 Internal Server Error", "rollup_error", Fault::Ambiguous, "500"),
            ("302 Found\r\nlocation: https://evil.example/", "", Fault::Transient, "302"),
            ("200 OK", "<html>hunter2</html>", Fault::Ambiguous, "200"),
            ("202 Accepted", "ok", Fault::Ambiguous, "202"),
        ] {
            judged(&TargetKind::Slack, Some(ADDRESS), &response(head, body), fault, says).await;
        }
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\no";
        judged(&TargetKind::Slack, Some(ADDRESS), cut, Fault::Ambiguous, "answer").await;
    }

    #[tokio::test]
    async fn only_an_address_of_slack_is_called() {
        for secret in [
            None,
            Some("hunter2"),
            Some("http://hooks.slack.com/services/hunter2"),
            Some("https://hooks.slack.com.evil.example/services/hunter2"),
            Some("https://user@hooks.slack.com/services/hunter2"),
            Some("https://hooks.slack.com:8443/services/hunter2"),
            Some("https://169.254.169.254/hunter2"),
        ] {
            let error = uncalled(&TargetKind::Slack, secret).await;
            assert!(matches!(error, CallError::Malformed { .. }), "{secret:?}: {error}");
        }
        let gov = "https://hooks.slack-gov.com/services/hunter2";
        assert!(matches!(uncalled(&TargetKind::Slack, Some(gov)).await, CallError::Unreachable(_)));
    }
}
