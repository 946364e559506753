//! Posts a message to an address of the client, signed as Standard Webhooks specifies.
//!
//! The destination recognises a repeat by `webhook-id`, which is the same for each attempt of a
//! message. See [`crate::api_client::signed_webhook`].

use jiff::Timestamp;
use tellonce_core::{contact::Phone, hash::sha256_hex, secret::Secret};

use super::{CrmEntry, entry::printable_text};
use crate::{
    api_client::{ApiClient, ApiError, signed_webhook::post_signed},
    webhook_event::{EventCustomer, EventMessage, MessageEventData, WebhookEvent},
};

pub(super) async fn create_entry(
    api_client: &ApiClient<'_>,
    url: &str,
    secret: &Secret,
    entry: &CrmEntry,
    now: Timestamp,
) -> Result<(), ApiError> {
    post_signed(api_client, url, &event_id(entry), secret, &build_event(entry), now).await
}

/// The id of a message's event. The reference may contain characters that a header must not, and a
/// dot would end the id early.
fn event_id(entry: &CrmEntry) -> String {
    format!("msg_{}", sha256_hex(entry.reference.as_bytes(), 16))
}

fn build_event(entry: &CrmEntry) -> Vec<u8> {
    let event = WebhookEvent {
        r#type: "conversation.message",
        timestamp: entry.sent_at,
        data: MessageEventData {
            id: &entry.reference,
            line: &entry.line,
            conversation_id: entry.conversation_id.as_deref(),
            customer: EventCustomer {
                phone: Some(Phone::expose(&entry.phone)),
                private_id: None,
                name: entry.name.clone(),
            },
            message: EventMessage {
                direction: entry.direction.name(),
                kind: entry.kind.clone(),
                sent_at: entry.sent_at,
                text: printable_text(entry),
            },
        },
    };
    // Made of strings, so serialization cannot fail.
    serde_json::to_vec(&event).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use loopback::http_response;
    use proptest::prelude::*;
    use serde_json::json;
    use tellonce_core::{
        client_config::{CrmKind, WebhookCrm},
        fault::{ClassifyFault as _, Fault},
    };

    use super::{
        super::{entry::tests::sample_entry, testing::*},
        *,
    };
    use crate::api_client::signed_webhook::build_signatures;

    const SIGNING_SECRET: &str = "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=";
    const OLDER_SIGNING_SECRET: &str = "whsec_YW5vdGhlci1zZWNyZXQtb2Ytc29tZS1sZW5ndGg=";

    fn webhook_kind() -> CrmKind {
        CrmKind::Webhook(WebhookCrm { url: "https://hooks.example.com/in/hunter2?a=b".to_owned() })
    }

    #[tokio::test]
    async fn a_message_is_posted_signed_with_each_secret_under_a_stable_id() {
        let fixture = CrmClientFixture::start().await;
        let kind = webhook_kind();
        let client = fixture.build_client(&kind, &format!("{SIGNING_SECRET} {OLDER_SIGNING_SECRET}"));
        let entry = sample_entry("Hello");
        let (first, done) =
            fixture.serve_replies(&[ok_reply(&json!({}))], client.create_entry(None, &entry, test_now())).await;
        assert_eq!(done.unwrap(), None);
        assert_eq!(client.find_entry(None, &entry, test_now()).await.unwrap(), None, "a webhook cannot be searched");
        let later = test_now() + jiff::SignedDuration::from_secs(60);
        let replies = [http_response("204 No Content", "")];
        let (second, done) = fixture.serve_replies(&replies, client.create_entry(None, &entry, later)).await;
        assert!(done.is_ok());
        let header = |request: &str, name: &str| {
            let head = request_head(request);
            head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap().to_owned()
        };
        assert_eq!(request_line(&first[0]), "POST /in/hunter2?a=b");
        assert_eq!(header(&first[0], "webhook-id"), header(&second[0], "webhook-id"));
        assert_ne!(header(&first[0], "webhook-timestamp"), header(&second[0], "webhook-timestamp"));
        let (stamp, id) = (test_now().as_second().to_string(), event_id(&entry));
        let one = |secret: &str| build_signatures(&Secret::new(secret), &id, &stamp, &build_event(&entry)).unwrap();
        assert_eq!(
            header(&first[0], "webhook-signature"),
            format!("{} {}", one(SIGNING_SECRET), one(OLDER_SIGNING_SECRET))
        );
        assert_eq!(
            request_body(&first[0]),
            json!({ "type": "conversation.message", "timestamp": "2026-11-19T10:00:00Z", "data": {
                "id": "shop:wamid.HBgL+/==", "line": "shop", "conversation_id": "conv-1",
                "customer": { "phone": "+972545550199", "private_id": null, "name": "Noa Levi" },
                "message": { "direction": "in", "kind": "text", "sent_at": "2026-11-19T10:00:00Z", "text": "Hello" },
            } })
        );
    }

    #[tokio::test]
    async fn every_response_except_success_and_gone_leads_to_a_retry() {
        let fixture = CrmClientFixture::start().await;
        let kind = webhook_kind();
        let client = fixture.build_client(&kind, SIGNING_SECRET);
        let entry = sample_entry("Hello");
        for (head, fault, expected) in [
            ("410 Gone", Fault::Permanent, "(HTTP 410, gone)"),
            ("302 Found\r\nlocation: http://169.254.169.254/", Fault::Transient, "redirects"),
            ("429 Too Many Requests\r\nretry-after: 7", Fault::Transient, "retry later"),
            ("401 Unauthorized", Fault::Transient, SECRET_NAME),
            ("400 Bad Request", Fault::Ambiguous, "400"),
            ("404 Not Found", Fault::Ambiguous, "404"),
            ("500 Internal Server Error", Fault::Ambiguous, "500"),
        ] {
            let (_, entry) = fixture
                .serve_replies(&[http_response(head, "hunter2")], client.create_entry(None, &entry, test_now()))
                .await;
            let error = entry.unwrap_err();
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(expected), "{head}: {error}");
            assert_reveals_nothing(&error);
        }
        let (_, lost) =
            fixture.serve_replies(&["HTTP/1.1 2".to_owned()], client.create_entry(None, &entry, test_now())).await;
        assert_eq!(lost.unwrap_err().fault(), Fault::Ambiguous);
    }

    #[tokio::test]
    async fn an_unusable_secret_signs_nothing_and_an_internal_address_is_not_called() {
        let fixture = CrmClientFixture::start().await;
        let kind = webhook_kind();
        for secret in ["", "hunter2!", "whsec_c2hvcnQ=", &format!("{SIGNING_SECRET} hunter2!")] {
            let error = fixture
                .build_client(&kind, secret)
                .create_entry(None, &sample_entry("Hello"), test_now())
                .await
                .unwrap_err();
            assert!(matches!(error, ApiError::MalformedSecret { .. }));
            assert_reveals_nothing(&error);
        }
        let api_client = ApiClient { base_url: None, ..fixture.build_api_client() };
        for url in [
            "http://example.com/",
            "https://127.0.0.1/hunter2",
            "https://[::1]/",
            "https://localhost/hunter2",
            "mailto:hunter2",
        ] {
            let error = post_signed(&api_client, url, "msg_1", &Secret::new(SIGNING_SECRET), b"{}", test_now())
                .await
                .unwrap_err();
            assert!(matches!(error, ApiError::AddressNotAllowed(_)), "{url}: {error:?}");
            assert_reveals_nothing(&error);
        }
    }

    proptest! {
        #[test]
        fn a_body_is_json_with_the_visible_text_whatever_it_is(text in ".*", reference in ".{1,60}") {
            let entry = CrmEntry { reference, ..sample_entry(&text) };
            let read: serde_json::Value = serde_json::from_slice(&build_event(&entry)).unwrap();
            let visible = printable_text(&entry);
            prop_assert_eq!(read["data"]["message"]["text"].as_str(), visible.as_deref());
            prop_assert_eq!(read["data"]["id"].as_str(), Some(entry.reference.as_str()));
            prop_assert!(event_id(&entry).bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        }
    }
}
