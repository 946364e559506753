//! Any address of the client's that takes calls signed as Standard Webhooks says.
//!
//! Its receiver knows a repeat by `webhook-id`, which is the same for each try of the same message.
//! Source: github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use ring::hmac;
use serde::Serialize;
use tellonce_core::{contact::Phone, hash::sha256_hex, secret::Secret};

use super::CrmEntry;
use crate::{
    address_guard,
    api_client::{ApiClient, ApiError, ApiResponse},
};

/// The shortest key that signs, in bytes: what our own receiver asks of others, too.
const MIN_KEY_BYTES: usize = 16;

#[derive(Serialize)]
struct CrmWebhookEvent<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: CrmWebhookData<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CrmWebhookData<'a> {
    reference: &'a str,
    line: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<&'a str>,
    phone: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    direction: &'static str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

pub(super) async fn create_entry(
    api_client: &ApiClient<'_>,
    url: &str,
    secret: &Secret,
    item: &CrmEntry,
    now: Timestamp,
) -> Result<(), ApiError> {
    post_signed(api_client, url, &event_id(item), secret, &build_event(item), now).await.map(drop)
}

/// The id of a message's event. The reference holds what no header may, and a dot would end it early.
fn event_id(item: &CrmEntry) -> String {
    format!("msg_{}", sha256_hex(item.reference.as_bytes(), 16))
}

fn build_event(item: &CrmEntry) -> Vec<u8> {
    let event = CrmWebhookEvent {
        r#type: "conversation.message",
        timestamp: item.sent_at,
        data: CrmWebhookData {
            reference: &item.reference,
            line: &item.line,
            conversation_id: item.conversation_id.as_deref(),
            phone: Phone::expose(&item.phone),
            name: item.name.as_deref(),
            direction: item.direction.name(),
            kind: &item.kind,
            text: item.text.as_deref(),
        },
    };
    // Made of strings: it cannot fail to be JSON.
    serde_json::to_vec(&event).unwrap_or_default()
}

/// Posts a JSON body to an address of the client's, signed with each of the secrets that stand in `secret` with spaces
/// between them (two while one is rotated). The address must be https, and lead into the public internet;
/// what stands in for all origins in tests may be anywhere.
///
/// `id` is the event's id: the same for each try, visible ASCII, without a dot. Redirects are not followed. A 410 says that
/// nobody will ever listen there again, and is [`ApiError::Refused`]; after everything else that is no 2xx the
/// standard asks to come again.
pub async fn post_signed(
    api_client: &ApiClient<'_>,
    url: &str,
    id: &str,
    secret: &Secret,
    body: &[u8],
    now: Timestamp,
) -> Result<ApiResponse, ApiError> {
    let stamp = now.as_second().to_string();
    let signature = build_signatures(secret, id, &stamp, body).ok_or_else(|| ApiError::MalformedSecret {
        secret: api_client.secret_name.to_owned(),
        expected: "`whsec_` and at least 16 bytes in base64, once or more with spaces between",
    })?;
    let url = Url::parse(url).map_err(|_| ApiError::AddressNotAllowed("it is no URL"))?;
    let request = match api_client.base_url {
        Some(base) => {
            let mut stand_in = Url::parse(base).map_err(|_| ApiError::AddressNotAllowed("it is no URL"))?;
            stand_in.set_path(url.path());
            stand_in.set_query(url.query());
            api_client.http.post(stand_in)
        }
        None => address_guard::public_client()?.post(address_guard::check_url(url)?),
    };
    let request = request
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", stamp)
        .header("webhook-signature", signature)
        .body(body.to_vec());
    let response = api_client.send_with_fallback(request, |status, _| {
        Err(match (status.as_u16(), api_client.error_for_status(status)) {
            (status @ 410, _) => ApiError::Refused { status, code: Some("gone".to_owned()) },
            (300..=399, _) => ApiError::AddressNotAllowed("it leads elsewhere"),
            (_, ApiError::Refused { status, .. }) => ApiError::ServerError { status },
            // Nothing there now. What is deployed wrongly comes back.
            (_, ApiError::Gone) => ApiError::ServerError { status: StatusCode::NOT_FOUND.as_u16() },
            (_, error) => error,
        })
    });
    response.await.map_err(address_guard::map_resolver_error)
}

/// The signatures with each secret, in one header. None if a secret is unusable.
fn build_signatures(secrets: &Secret, id: &str, stamp: &str, body: &[u8]) -> Option<String> {
    let mut signatures = Vec::new();
    for secret in secrets.expose().split_whitespace() {
        let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?;
        if key.len() < MIN_KEY_BYTES {
            return None;
        }
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
        for part in [id.as_bytes(), b".", stamp.as_bytes(), b".", body] {
            context.update(part);
        }
        signatures.push(format!("v1,{}", BASE64.encode(context.sign())));
    }
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use loopback::http_response;
    use proptest::prelude::*;
    use serde_json::json;
    use tellonce_core::{
        client_config::CrmKind,
        fault::{ClassifyFault as _, Fault},
    };

    use super::{
        super::{entry::tests::sample_entry, testing::*},
        *,
    };

    const SIGNING_SECRET: &str = "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=";
    const OLDER_SIGNING_SECRET: &str = "whsec_YW5vdGhlci1zZWNyZXQtb2Ytc29tZS1sZW5ndGg=";

    fn webhook_kind() -> CrmKind {
        CrmKind::Webhook { url: "https://hooks.example.com/in/hunter2?a=b".to_owned() }
    }

    #[tokio::test]
    async fn a_message_is_posted_signed_with_each_secret_under_a_stable_id() {
        let fixture = CrmClientFixture::start().await;
        let kind = webhook_kind();
        let client = fixture.build_client(&kind, &format!("{SIGNING_SECRET} {OLDER_SIGNING_SECRET}"));
        let item = sample_entry("Hello");
        let (first, done) =
            fixture.serve_replies(&[ok_reply(&json!({}))], client.create_entry(None, &item, test_now())).await;
        assert_eq!(done.unwrap(), None);
        assert_eq!(client.find_entry(None, &item, test_now()).await.unwrap(), None, "it can't be asked");
        let later = test_now() + jiff::SignedDuration::from_secs(60);
        let replies = [http_response("204 No Content", "")];
        let (second, done) = fixture.serve_replies(&replies, client.create_entry(None, &item, later)).await;
        assert!(done.is_ok());
        let header = |request: &str, name: &str| {
            let head = request_head(request);
            head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap().to_owned()
        };
        assert_eq!(request_line(&first[0]), "POST /in/hunter2?a=b");
        assert_eq!(header(&first[0], "webhook-id"), header(&second[0], "webhook-id"));
        assert_ne!(header(&first[0], "webhook-timestamp"), header(&second[0], "webhook-timestamp"));
        let (stamp, id) = (test_now().as_second().to_string(), event_id(&item));
        let one = |secret: &str| build_signatures(&Secret::new(secret), &id, &stamp, &build_event(&item)).unwrap();
        assert_eq!(
            header(&first[0], "webhook-signature"),
            format!("{} {}", one(SIGNING_SECRET), one(OLDER_SIGNING_SECRET))
        );
        assert_eq!(
            request_body(&first[0]),
            json!({ "type": "conversation.message", "timestamp": "2026-11-19T10:00:00Z", "data": {
                "reference": "shop:wamid.HBgL+/==", "line": "shop", "conversationId": "conv-1", "phone": "+972545550199",
                "name": "Noa Levi", "direction": "in", "kind": "text", "text": "Hello",
            } })
        );
    }

    #[test]
    fn a_signature_matches_the_one_openssl_computes() {
        // printf 'msg_1.1795082400.{"type":"conversation.message"}' | openssl dgst -sha256 -hmac standard-webhooks-test-secret-01 -binary | base64
        let signature = build_signatures(
            &Secret::new(SIGNING_SECRET),
            "msg_1",
            "1795082400",
            br#"{"type":"conversation.message"}"#,
        );
        assert_eq!(signature.as_deref(), Some("v1,LWjYBd1EJjXVJjQTbf/zEaiAksUSLeqY/7fEc9sz/Bw="));
    }

    #[tokio::test]
    async fn every_response_except_success_and_gone_leads_to_a_retry() {
        let fixture = CrmClientFixture::start().await;
        let kind = webhook_kind();
        let client = fixture.build_client(&kind, SIGNING_SECRET);
        let item = sample_entry("Hello");
        for (head, fault, says) in [
            ("410 Gone", Fault::Permanent, "(HTTP 410, gone)"),
            ("302 Found\r\nlocation: http://169.254.169.254/", Fault::Transient, "leads elsewhere"),
            ("429 Too Many Requests\r\nretry-after: 7", Fault::Transient, "patience"),
            ("401 Unauthorized", Fault::Transient, SECRET_NAME),
            ("400 Bad Request", Fault::Ambiguous, "400"),
            ("404 Not Found", Fault::Ambiguous, "404"),
            ("500 Internal Server Error", Fault::Ambiguous, "500"),
        ] {
            let (_, entry) = fixture
                .serve_replies(&[http_response(head, "hunter2")], client.create_entry(None, &item, test_now()))
                .await;
            let error = entry.unwrap_err();
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(says), "{head}: {error}");
            assert_reveals_nothing(&error);
        }
        let (_, lost) =
            fixture.serve_replies(&["HTTP/1.1 2".to_owned()], client.create_entry(None, &item, test_now())).await;
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
        fn a_body_is_json_with_the_written_text_whatever_it_is(text in ".*", reference in ".{1,60}") {
            let item = CrmEntry { reference, ..sample_entry(&text) };
            let read: serde_json::Value = serde_json::from_slice(&build_event(&item)).unwrap();
            prop_assert_eq!(read["data"]["text"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["data"]["reference"].as_str(), Some(item.reference.as_str()));
            prop_assert!(event_id(&item).bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        }
    }
}
