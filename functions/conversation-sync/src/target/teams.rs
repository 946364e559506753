//! Microsoft Teams: a workflow that starts "when a Teams webhook request is received", whose
//! address is the secret.
//!
//! Facts:
//! <https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook>,
//! <https://learn.microsoft.com/connectors/teams/>,
//! <https://learn.microsoft.com/adaptive-cards/schema-explorer/text-run>.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{TargetClient, parse_reason_code};
use crate::{
    api_client::ApiError,
    notification::{Notification, NotificationText},
};

/// Endings of the hosts of workflows: the new ones, and the former ones of Logic Apps.
const TEAMS_HOST_SUFFIXES: [&str; 2] = [".environment.api.powerplatform.com", ".logic.azure.com"];
/// The largest body, in bytes. Microsoft documents "approximately 28 KB" without saying what
/// counts, so some room is left.
const MAX_BODY_BYTES: usize = 24_000;

/// Posts a card. Succeeds when the workflow starts.
///
/// The response (202) comes before the workflow runs. A broken workflow, for example one whose
/// author left the team, looks delivered. Only its run history in Power Automate shows the failure.
pub(super) async fn post_to_teams(target: &TargetClient<'_>, notification: &Notification) -> Result<(), ApiError> {
    let is_host = |host: &str| TEAMS_HOST_SUFFIXES.iter().any(|end| host.ends_with(end));
    let address = target.parse_secret_url("the https address of a Teams workflow", is_host)?;
    let api_client = &target.api_client;
    let body = notification.render_within(MAX_BODY_BYTES, |shorter| build_card(&shorter.render_text()).to_string());
    let request = api_client.http.post(address).header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
    api_client.send_with_fallback(request, |status, body| Err(map_error_response(target, status, body))).await?;
    Ok(())
}

/// Maps a response that is neither 2xx nor 429.
fn map_error_response(target: &TargetClient<'_>, status: StatusCode, body: &[u8]) -> ApiError {
    #[derive(Deserialize)]
    struct TeamsErrorResponse {
        error: TeamsErrorDetail,
    }
    #[derive(Deserialize)]
    struct TeamsErrorDetail {
        code: String,
    }
    match status {
        // The signature is not accepted, or there is no such workflow.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
            return target.rejected_address_error(status);
        }
        _ => {}
    }
    match target.api_client.error_for_status(status) {
        ApiError::Refused { status, .. } => {
            let code = tellonce_core::json::parse_object::<TeamsErrorResponse>(body)
                .ok()
                .and_then(|answer| parse_reason_code(&answer.error.code));
            match code {
                // The workflow is switched off or deleted. Power Automate does not document this
                // code.
                Some(code) if code == "WorkflowTriggerIsNotEnabled" => ApiError::Blocked { status, code },
                code => ApiError::Refused { status, code },
            }
        }
        other => other,
    }
}

/// A message with one Adaptive Card. Texts are `TextRun`s, which render no Markdown. A mention
/// would need an entity beside the card, and there are none.
fn build_card(notification_text: &NotificationText) -> Value {
    let line = |run: Value, spacing: &str| json!({ "type": "RichTextBlock", "spacing": spacing, "inlines": [run] });
    let mut body = vec![line(
        json!({ "type": "TextRun", "text": notification_text.headline, "size": "Medium", "weight": "Bolder" }),
        "Default",
    )];
    for paragraph in &notification_text.paragraphs {
        let heading = paragraph.heading.map(|text| json!({ "type": "TextRun", "text": text, "weight": "Bolder" }));
        let lines = paragraph.lines.iter().map(|text| json!({ "type": "TextRun", "text": text }));
        for (at, run) in heading.into_iter().chain(lines).enumerate() {
            body.push(line(run, if at == 0 { "Medium" } else { "Small" }));
        }
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": body,
            },
        }],
    })
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
        HOSTILE_TEXT, bare_notification, hebrew_notification, hostile_notification, sample_notification,
    };

    const TEAMS_URL: &str = "https://e1.4a.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/\
                           b9/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=hunter2";

    #[tokio::test]
    async fn a_workflow_receives_a_card_at_the_exact_address_in_the_secret() {
        for given in ["202 Accepted", "200 OK"] {
            let (request, result) =
                send_with_reply(&TargetKind::Teams, Some(TEAMS_URL), &sample_notification(), &http_response(given, ""))
                    .await;
            result.unwrap();
            let path = TEAMS_URL.split_once(":443").unwrap().1;
            assert!(request.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{request}");
            assert!(request.contains("content-type: application/json\r\n"), "{request}");
            assert!(request.ends_with(&build_card(&sample_notification().render_text()).to_string()), "{request}");
        }
    }

    #[test]
    fn the_teams_card_is_readable() {
        insta::assert_json_snapshot!("teams_usual", build_card(&sample_notification().render_text()));
        insta::assert_json_snapshot!(
            "teams_hebrew_pictures_and_sent_again",
            build_card(&hebrew_notification().render_text())
        );
        insta::assert_json_snapshot!("teams_without_text_and_name", build_card(&bare_notification().render_text()));
    }

    #[test]
    fn customer_text_appears_only_in_unformatted_runs() {
        let card = build_card(&hostile_notification().render_text());
        let message = &card["attachments"][0];
        assert!(message["content"].get("msteams").is_none(), "no mentions");
        for block in message["content"]["body"].as_array().unwrap() {
            assert_eq!((&block["type"], &block["inlines"][0]["type"]), (&json!("RichTextBlock"), &json!("TextRun")));
        }
        assert!(card.to_string().contains("**b** [a](https://evil.example)") && HOSTILE_TEXT.contains("**b**"));
    }

    #[tokio::test]
    async fn a_card_stays_within_the_teams_limit() {
        let mut long = sample_notification();
        let message =
            crate::notification::QuotedMessage { text: Some("\"א".repeat(2_000)), ..long.messages[1].clone() };
        long.messages = vec![message; 30];
        let (request, result) =
            send_with_reply(&TargetKind::Teams, Some(TEAMS_URL), &long, &http_response("202 Accepted", "")).await;
        result.unwrap();
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        assert!((MAX_BODY_BYTES / 2..=MAX_BODY_BYTES).contains(&body.len()), "{}", body.len());
    }

    #[tokio::test]
    async fn every_workflow_response_states_whether_to_retry() {
        let of = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"a sentence with hunter2"}}}}"#);
        for (head, body, fault, expected) in [
            ("400 Bad Request", of("TriggerInputSchemaMismatch"), Fault::Permanent, "TriggerInputSchemaMismatch"),
            ("400 Bad Request", of("a sentence with hunter2"), Fault::Permanent, "(HTTP 400)"),
            ("400 Bad Request", of("WorkflowTriggerIsNotEnabled"), Fault::Transient, "WorkflowTriggerIsNotEnabled"),
            ("413 Payload Too Large", String::new(), Fault::Permanent, "413"),
            ("401 Unauthorized", of("DirectApiAuthorizationRequired"), Fault::Transient, "tellonce/demo/targets/team"),
            ("403 Forbidden", String::new(), Fault::Transient, "tellonce/demo/targets/team"),
            ("404 Not Found", of("WorkflowNotFound"), Fault::Transient, "tellonce/demo/targets/team"),
            ("429 Too Many Requests", String::new(), Fault::Transient, "retry later"),
            ("502 Bad Gateway", of("NoResponse"), Fault::Ambiguous, "502"),
        ] {
            assert_error(&TargetKind::Teams, Some(TEAMS_URL), &http_response(head, &body), fault, expected).await;
        }
    }

    #[tokio::test]
    async fn only_workflow_addresses_are_called() {
        for secret in [
            None,
            Some("https://outlook.office.com/webhook/hunter2"),
            Some("http://prod-1.westeurope.logic.azure.com/hunter2"),
            Some("https://logic.azure.com.evil.example/hunter2"),
            Some("https://evillogic.azure.com/hunter2"),
        ] {
            let error = send_to_unreachable(&TargetKind::Teams, secret).await;
            assert!(matches!(error, ApiError::MalformedSecret { .. }), "{secret:?}: {error}");
        }
        let old = "https://prod-1.westeurope.logic.azure.com:443/workflows/b9/triggers/manual/paths/invoke?sig=hunter2";
        assert!(matches!(send_to_unreachable(&TargetKind::Teams, Some(old)).await, ApiError::Unreachable(_)));
    }
}
