//! Any address that takes calls signed as Standard Webhooks says.
//!
//! Facts: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>. The receiver knows a
//! repeat by its `webhook-id`, which is the notice's id.

use jiff::Timestamp;
use serde_json::json;
use shared::contact::Phone;

use super::TargetClient;
use crate::{
    call::CallError,
    crm::post_signed,
    notice::{LONGEST_FIELD, Notice, Said, Told, clean},
};

/// The largest body, in bytes: the specification advises to stay below 20 kB.
const LARGEST: usize = 20_000;

/// Posts a notice. Done at any 2xx.
pub(super) async fn call(
    target: &TargetClient<'_>,
    url: &str,
    notice: &Notice,
    now: Timestamp,
) -> Result<(), CallError> {
    let secret = target.credential.as_ref().ok_or_else(|| CallError::Malformed {
        secret: target.caller.secret.to_owned(),
        what: "there: the `whsec_…` that signs",
    })?;
    let body = notice.within(LARGEST, body);
    post_signed(&target.caller, url, &notice.id, secret, body.as_bytes(), now).await?;
    Ok(())
}

/// A notice for a program: the members of [`Notice`], with the names and texts of others as one visible line each.
fn body(notice: &Notice) -> String {
    let field = |text: &str| clean(text, LONGEST_FIELD);
    let said = |said: &Said| {
        json!({
            "direction": said.direction.name(),
            "at": said.at,
            "kind": field(&said.kind),
            "text": said.text.as_deref().map(|text| clean(text, usize::MAX)),
        })
    };
    let told = |told: &Told| json!({ "key": field(&told.key), "at": told.at, "state": field(&told.state) });
    json!({
        "type": "conversation.escalation",
        "timestamp": notice.at,
        "data": {
            "id": notice.id,
            "escalation": notice.escalation,
            "why": field(&notice.why),
            "business": notice.business,
            "line": notice.line,
            "conversation": notice.conversation.as_deref().map(field),
            "customer": {
                "phone": notice.phone.as_ref().map(Phone::expose),
                "name": notice.name.as_deref().map(field).filter(|name| !name.is_empty()),
            },
            "messages": notice.messages.iter().map(said).collect::<Vec<_>>(),
            "told": notice.told.iter().map(told).collect::<Vec<_>>(),
            "repeated": notice.repeated,
        },
    })
    .to_string()
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

    const SECRET: Option<&str> = Some("whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==");

    fn theirs() -> TargetKind {
        TargetKind::Webhook { url: "https://desk.example.com/hooks/calls".to_owned() }
    }

    #[tokio::test]
    async fn a_call_is_signed_and_known_by_the_notices_id() {
        let (asked, result) = called(&theirs(), SECRET, &notice(), &response("204 No Content", "")).await;
        result.unwrap();
        assert!(asked.starts_with("POST /hooks/calls HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("webhook-id: urgent:conv_01:1\r\n"), "{asked}");
        assert!(asked.contains("webhook-signature: v1,"), "{asked}");
        assert!(asked.ends_with(&body(&notice())), "{asked}");
    }

    #[test]
    fn what_a_program_gets_is_complete() {
        let read = |notice: &Notice| serde_json::from_str::<serde_json::Value>(&body(notice)).unwrap();
        insta::assert_json_snapshot!("webhook_usual", read(&notice()));
        insta::assert_json_snapshot!("webhook_hebrew_pictures_and_sent_again", read(&hebrew()));
        insta::assert_json_snapshot!("webhook_without_text_and_name", read(&bare()));
        insta::assert_json_snapshot!("webhook_hostile", read(&hostile()));
    }

    #[test]
    fn a_body_is_no_larger_than_receivers_are_told_to_expect() {
        let mut long = notice();
        long.messages[0].text = Some("\"".repeat(30_000));
        let body = long.within(LARGEST, body);
        assert!(body.len() <= LARGEST && body.contains("Urgent: it isn't there"), "{}", body.len());
    }

    #[tokio::test]
    async fn what_is_no_2xx_is_an_error_that_knows_whether_to_post_again() {
        for (head, fault, says) in [
            ("410 Gone", Fault::Permanent, "410"),
            // The standard asks to try everything else again.
            ("400 Bad Request", Fault::Ambiguous, "400"),
            ("429 Too Many Requests", Fault::Transient, "patience"),
            ("503 Service Unavailable", Fault::Ambiguous, "503"),
        ] {
            judged(&theirs(), SECRET, &response(head, "hunter2"), fault, says).await;
        }
        assert!(matches!(uncalled(&theirs(), None).await, CallError::Malformed { .. }));
        assert!(matches!(uncalled(&theirs(), SECRET).await, CallError::Unreachable(_)));
    }
}
