//! Posts notifications signed as Standard Webhooks specifies.
//!
//! Facts:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
//! The destination recognises a repeat by its `webhook-id`, which is the notification's id.

use jiff::Timestamp;
use tellonce_core::{contact::Phone, wording};

use super::TargetClient;
use crate::{
    api_client::{ApiError, signed_webhook::post_signed},
    notification::{MAX_FIELD_CHARS, Notification, QuotedMessage, SentMessage, cut_visible_line},
    webhook_event::{AlertEventData, EventCustomer, EventMessage, EventSentMessage, WebhookEvent},
};

/// The largest body, in bytes: the specification advises to stay below 20 kB.
const MAX_BODY_BYTES: usize = 20_000;

/// Posts a notification. Every 2xx is a success.
pub(super) async fn post_to_webhook(
    target: &TargetClient<'_>,
    url: &str,
    notification: &Notification,
    now: Timestamp,
) -> Result<(), ApiError> {
    let secret = target.credential.as_ref().ok_or_else(|| ApiError::MalformedSecret {
        secret: target.api_client.secret_name.to_owned(),
        expected: "set; store the signing key, like `whsec_…`",
    })?;
    let body = notification.render_within(MAX_BODY_BYTES, build_body);
    post_signed(&target.api_client, url, &notification.id, secret, body.as_bytes(), now).await
}

/// The members of [`Notification`] as JSON, with foreign names and texts as one visible line each.
fn build_body(notification: &Notification) -> String {
    let field = |text: &str| cut_visible_line(text, MAX_FIELD_CHARS);
    let message = |quoted: &QuotedMessage| EventMessage {
        direction: quoted.direction.name(),
        kind: field(&quoted.kind),
        sent_at: quoted.sent_at,
        text: quoted.text.as_deref().map(|text| cut_visible_line(text, usize::MAX)),
    };
    let sent_message = |sent: &SentMessage| EventSentMessage {
        key: field(&sent.key),
        state: field(&sent.state),
        updated_at: sent.updated_at,
    };
    let event = WebhookEvent {
        r#type: "conversation.alert",
        timestamp: notification.since,
        data: AlertEventData {
            id: &notification.id,
            line: &notification.line,
            conversation_id: notification.conversation_id.as_deref().map(field),
            customer: EventCustomer {
                phone: notification.phone.as_ref().map(Phone::expose),
                private_id: notification.private_id().map(field),
                name: notification.name.as_deref().and_then(wording::clean_name),
            },
            messages: notification.messages.iter().map(message).collect(),
            escalation: &notification.escalation,
            reason: field(&notification.reason),
            business_name: &notification.business_name,
            sent_messages: notification.sent_messages.iter().map(sent_message).collect(),
            may_be_repeat: notification.may_be_repeat,
        },
    };
    // Made of strings, so serialization cannot fail.
    serde_json::to_string(&event).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use loopback::http_response;
    use tellonce_core::{
        client_config::{TargetKind, WebhookTarget},
        fault::Fault,
    };

    use super::{
        super::tests::{assert_error, send_to_unreachable, send_with_reply},
        *,
    };
    use crate::notification::tests::{
        bare_notification, hebrew_notification, hostile_notification, sample_notification,
    };

    const SIGNING_SECRET: Option<&str> = Some("whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==");

    fn webhook_target() -> TargetKind {
        TargetKind::Webhook(WebhookTarget { url: "https://desk.example.com/hooks/calls".to_owned() })
    }

    #[tokio::test]
    async fn a_request_is_signed_and_identified_by_the_notification_id() {
        let (request, result) = send_with_reply(
            &webhook_target(),
            SIGNING_SECRET,
            &sample_notification(),
            &http_response("204 No Content", ""),
        )
        .await;
        result.unwrap();
        assert!(request.starts_with("POST /hooks/calls HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("webhook-id: urgent:conv_01:1\r\n"), "{request}");
        assert!(request.contains("webhook-signature: v1,"), "{request}");
        assert!(request.ends_with(&build_body(&sample_notification())), "{request}");
    }

    #[test]
    fn the_webhook_body_is_complete() {
        let parse_body =
            |notification: &Notification| serde_json::from_str::<serde_json::Value>(&build_body(notification)).unwrap();
        insta::assert_json_snapshot!("webhook_usual", parse_body(&sample_notification()));
        insta::assert_json_snapshot!("webhook_hebrew_pictures_and_sent_again", parse_body(&hebrew_notification()));
        insta::assert_json_snapshot!("webhook_without_text_and_name", parse_body(&bare_notification()));
        insta::assert_json_snapshot!("webhook_hostile", parse_body(&hostile_notification()));
    }

    #[test]
    fn the_private_id_is_null_if_the_number_is_known() {
        let lid = Some("235085806700321@lid".to_owned());
        let known = Notification { lid: lid.clone(), ..sample_notification() };
        let unknown = Notification { lid, phone: None, ..sample_notification() };
        for (notification, expected) in [(known, None), (unknown, Some("235085806700321@lid"))] {
            let body: serde_json::Value = serde_json::from_str(&build_body(&notification)).unwrap();
            let customer = &body["data"]["customer"];
            assert_eq!(customer["private_id"].as_str(), expected);
            assert_eq!(customer["phone"].is_null(), expected.is_some());
        }
    }

    #[test]
    fn a_body_stays_within_the_size_that_destinations_expect() {
        let mut long = sample_notification();
        long.messages[0].text = Some("\"".repeat(30_000));
        let body = long.render_within(MAX_BODY_BYTES, build_body);
        assert!(body.len() <= MAX_BODY_BYTES && body.contains("Urgent: it isn't there"), "{}", body.len());
    }

    #[tokio::test]
    async fn a_non_2xx_response_is_an_error_that_states_whether_to_retry() {
        for (head, fault, expected) in [
            ("410 Gone", Fault::Permanent, "410"),
            // The standard asks to try everything else again.
            ("400 Bad Request", Fault::Ambiguous, "400"),
            ("429 Too Many Requests", Fault::Transient, "retry later"),
            ("503 Service Unavailable", Fault::Ambiguous, "503"),
        ] {
            assert_error(&webhook_target(), SIGNING_SECRET, &http_response(head, "hunter2"), fault, expected).await;
        }
        assert!(matches!(send_to_unreachable(&webhook_target(), None).await, ApiError::MalformedSecret { .. }));
        assert!(matches!(send_to_unreachable(&webhook_target(), SIGNING_SECRET).await, ApiError::Unreachable(_)));
    }
}
