//! Microsoft Teams: a workflow that starts "when a Teams webhook request is received", whose address is the secret.
//!
//! Facts: <https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook>,
//! <https://learn.microsoft.com/connectors/teams/>, <https://learn.microsoft.com/adaptive-cards/schema-explorer/text-run>.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{TargetClient, word};
use crate::{
    call::CallError,
    notice::{Notice, Words},
};

/// How the hosts of workflows end: the new ones, and those that Logic Apps had for them.
const HOSTS: [&str; 2] = [".environment.api.powerplatform.com", ".logic.azure.com"];
/// The largest body, in bytes. Microsoft says "approximately 28 KB" and not what is counted, so some room is left.
const LARGEST: usize = 24_000;

/// Posts a card. Done when the workflow is started.
///
/// The answer (202) comes before the workflow runs: one that is broken inside, for example because who made it has left the
/// team, looks delivered. Its run history in Power Automate is the only place that shows it.
pub(super) async fn call(target: &TargetClient<'_>, notice: &Notice) -> Result<(), CallError> {
    let is_host = |host: &str| HOSTS.iter().any(|end| host.ends_with(end));
    let address = target.secret_address("the https address of a Teams workflow", is_host)?;
    let caller = &target.caller;
    let body = notice.within(LARGEST, |notice| card(&notice.words()).to_string());
    let request = caller.http.post(address).header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
    caller.call_or(request, |status, body| Err(refusal(target, status, body))).await?;
    Ok(())
}

/// What an answer means that is neither 2xx nor 429.
fn refusal(target: &TargetClient<'_>, status: StatusCode, body: &[u8]) -> CallError {
    #[derive(Deserialize)]
    struct Answer {
        error: Reason,
    }
    #[derive(Deserialize)]
    struct Reason {
        code: String,
    }
    match status {
        // The signature is not accepted, or there is no such workflow.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
            return target.bad_address(status);
        }
        _ => {}
    }
    match target.caller.by_status(status) {
        CallError::Refused { status, .. } => {
            let code = shared::json::parse::<Answer>(body).ok().and_then(|answer| word(&answer.error.code));
            match code {
                // The workflow is switched off or deleted. The code is not documented, but what Power Automate answers.
                Some(code) if code == "WorkflowTriggerIsNotEnabled" => CallError::Closed { status, code },
                code => CallError::Refused { status, code },
            }
        }
        other => other,
    }
}

/// A message with one Adaptive Card. Text stands in `TextRun`s, which know no Markdown; a mention would need an entity
/// beside the card, and there are none.
fn card(words: &Words) -> Value {
    let line = |run: Value, spacing: &str| json!({ "type": "RichTextBlock", "spacing": spacing, "inlines": [run] });
    let mut body = vec![line(
        json!({ "type": "TextRun", "text": words.headline, "size": "Medium", "weight": "Bolder" }),
        "Default",
    )];
    for paragraph in &words.paragraphs {
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
    use loopback::response;
    use shared::{client_config::TargetKind, fault::Fault};

    use super::{
        super::tests::{called, judged, uncalled},
        *,
    };
    use crate::notice::tests::{HOSTILE, bare, hebrew, hostile, notice};

    const ADDRESS: &str = "https://e1.4a.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/\
                           b9/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=hunter2";

    #[tokio::test]
    async fn a_workflow_gets_a_card_at_the_very_address_that_is_the_secret() {
        for given in ["202 Accepted", "200 OK"] {
            let (asked, result) = called(&TargetKind::Teams, Some(ADDRESS), &notice(), &response(given, "")).await;
            result.unwrap();
            let path = ADDRESS.split_once(":443").unwrap().1;
            assert!(asked.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{asked}");
            assert!(asked.contains("content-type: application/json\r\n"), "{asked}");
            assert!(asked.ends_with(&card(&notice().words()).to_string()), "{asked}");
        }
    }

    #[test]
    fn what_teams_gets_reads_well() {
        insta::assert_json_snapshot!("teams_usual", card(&notice().words()));
        insta::assert_json_snapshot!("teams_hebrew_pictures_and_sent_again", card(&hebrew().words()));
        insta::assert_json_snapshot!("teams_without_text_and_name", card(&bare().words()));
    }

    #[test]
    fn what_a_customer_wrote_stands_only_where_nothing_is_formatted() {
        let card = card(&hostile().words());
        let message = &card["attachments"][0];
        assert!(message["content"].get("msteams").is_none(), "no mentions");
        for block in message["content"]["body"].as_array().unwrap() {
            assert_eq!((&block["type"], &block["inlines"][0]["type"]), (&json!("RichTextBlock"), &json!("TextRun")));
        }
        assert!(card.to_string().contains("**b** [a](https://evil.example)") && HOSTILE.contains("**b**"));
    }

    #[tokio::test]
    async fn a_card_is_no_larger_than_teams_takes() {
        let mut long = notice();
        let message = crate::notice::Said { text: Some("\"א".repeat(2_000)), ..long.messages[1].clone() };
        long.messages = vec![message; 30];
        let (asked, result) = called(&TargetKind::Teams, Some(ADDRESS), &long, &response("202 Accepted", "")).await;
        result.unwrap();
        let (_, body) = asked.split_once("\r\n\r\n").unwrap();
        assert!((LARGEST / 2..=LARGEST).contains(&body.len()), "{}", body.len());
    }

    #[tokio::test]
    async fn every_answer_of_a_workflow_knows_whether_to_post_again() {
        let of = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"what hunter2 said"}}}}"#);
        for (head, body, fault, says) in [
            ("400 Bad Request", of("TriggerInputSchemaMismatch"), Fault::Permanent, "TriggerInputSchemaMismatch"),
            ("400 Bad Request", of("what hunter2 said"), Fault::Permanent, "(HTTP 400)"),
            ("400 Bad Request", of("WorkflowTriggerIsNotEnabled"), Fault::Transient, "WorkflowTriggerIsNotEnabled"),
            ("413 Payload Too Large", String::new(), Fault::Permanent, "413"),
            ("401 Unauthorized", of("DirectApiAuthorizationRequired"), Fault::Transient, "tellonce/demo/targets/team"),
            ("403 Forbidden", String::new(), Fault::Transient, "tellonce/demo/targets/team"),
            ("404 Not Found", of("WorkflowNotFound"), Fault::Transient, "tellonce/demo/targets/team"),
            ("429 Too Many Requests", String::new(), Fault::Transient, "patience"),
            ("502 Bad Gateway", of("NoResponse"), Fault::Ambiguous, "502"),
        ] {
            judged(&TargetKind::Teams, Some(ADDRESS), &response(head, &body), fault, says).await;
        }
    }

    #[tokio::test]
    async fn only_an_address_of_a_workflow_is_called() {
        for secret in [
            None,
            Some("https://outlook.office.com/webhook/hunter2"),
            Some("http://prod-1.westeurope.logic.azure.com/hunter2"),
            Some("https://logic.azure.com.evil.example/hunter2"),
            Some("https://evillogic.azure.com/hunter2"),
        ] {
            let error = uncalled(&TargetKind::Teams, secret).await;
            assert!(matches!(error, CallError::Malformed { .. }), "{secret:?}: {error}");
        }
        let old = "https://prod-1.westeurope.logic.azure.com:443/workflows/b9/triggers/manual/paths/invoke?sig=hunter2";
        assert!(matches!(uncalled(&TargetKind::Teams, Some(old)).await, CallError::Unreachable(_)));
    }
}
