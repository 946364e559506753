//! Any address of the client's that takes calls signed as Standard Webhooks says.
//!
//! Its receiver knows a repeat by `webhook-id`, which is the same for each try of the same message.
//! Source: github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use ring::hmac;
use serde::Serialize;
use shared::{contact::Phone, digest::sha256_hex, secret::Secret};

use super::Item;
use crate::{
    call::{CallError, Caller, Reply},
    outward,
};

/// The shortest key that signs, in bytes: what our own receiver asks of others, too.
const SHORTEST_KEY: usize = 16;

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
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
    caller: &Caller<'_>,
    url: &str,
    secret: &Secret,
    item: &Item,
    now: Timestamp,
) -> Result<(), CallError> {
    post_signed(caller, url, &id(item), secret, &event(item), now).await.map(drop)
}

/// The id of a message's event. The reference holds what no header may, and a dot would end it early.
fn id(item: &Item) -> String {
    format!("msg_{}", sha256_hex(item.reference.as_bytes(), 16))
}

fn event(item: &Item) -> Vec<u8> {
    let event = Event {
        r#type: "conversation.message",
        timestamp: item.at,
        data: Data {
            reference: &item.reference,
            line: &item.line,
            conversation_id: item.conversation.as_deref(),
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
/// nobody will ever listen there again, and is [`CallError::Refused`]; after everything else that is no 2xx the
/// standard asks to come again.
pub async fn post_signed(
    caller: &Caller<'_>,
    url: &str,
    id: &str,
    secret: &Secret,
    body: &[u8],
    now: Timestamp,
) -> Result<Reply, CallError> {
    let stamp = now.as_second().to_string();
    let signature = sign(secret, id, &stamp, body).ok_or_else(|| CallError::Malformed {
        secret: caller.secret.to_owned(),
        what: "`whsec_` and at least 16 bytes in base64, once or more with spaces between",
    })?;
    let url = Url::parse(url).map_err(|_| CallError::Address("it is no URL"))?;
    let request = match caller.base_url {
        Some(base) => {
            let mut stand_in = Url::parse(base).map_err(|_| CallError::Address("it is no URL"))?;
            stand_in.set_path(url.path());
            stand_in.set_query(url.query());
            caller.http.post(stand_in)
        }
        None => outward::client()?.post(outward::checked(url)?),
    };
    let request = request
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", stamp)
        .header("webhook-signature", signature)
        .body(body.to_vec());
    let answer = caller.call_or(request, |status, _| {
        Err(match (status.as_u16(), caller.by_status(status)) {
            (status @ 410, _) => CallError::Refused { status, code: Some("gone".to_owned()) },
            (300..=399, _) => CallError::Address("it leads elsewhere"),
            (_, CallError::Refused { status, .. }) => CallError::Trouble { status },
            // Nothing there now. What is deployed wrongly comes back.
            (_, CallError::Gone) => CallError::Trouble { status: StatusCode::NOT_FOUND.as_u16() },
            (_, error) => error,
        })
    });
    answer.await.map_err(outward::refusal)
}

/// The signatures with each secret, in one header. None if a secret is unusable.
fn sign(secrets: &Secret, id: &str, stamp: &str, body: &[u8]) -> Option<String> {
    let mut signatures = Vec::new();
    for secret in secrets.expose().split_whitespace() {
        let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?;
        if key.len() < SHORTEST_KEY {
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
    use loopback::response;
    use proptest::prelude::*;
    use serde_json::json;
    use shared::{
        client_config::CrmKind,
        fault::{Fault, Faulty as _},
    };

    use super::{
        super::{entry::tests::item, testing::*},
        *,
    };

    const WHSEC: &str = "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=";
    const OLDER: &str = "whsec_YW5vdGhlci1zZWNyZXQtb2Ytc29tZS1sZW5ndGg=";

    fn kind() -> CrmKind {
        CrmKind::Webhook { url: "https://hooks.example.com/in/hunter2?a=b".to_owned() }
    }

    #[tokio::test]
    async fn a_message_is_posted_signed_with_each_secret_under_an_id_that_stays() {
        let bench = Bench::start().await;
        let kind = kind();
        let client = bench.client(&kind, &format!("{WHSEC} {OLDER}"));
        let item = item("Hello");
        let (first, done) = bench.hears(&[ok(&json!({}))], client.create_entry(None, &item, now())).await;
        assert_eq!(done.unwrap(), None);
        assert_eq!(client.find_entry(None, &item, now()).await.unwrap(), None, "it can't be asked");
        let later = now() + jiff::SignedDuration::from_secs(60);
        let answers = [response("204 No Content", "")];
        let (second, done) = bench.hears(&answers, client.create_entry(None, &item, later)).await;
        assert!(done.is_ok());
        let header = |request: &str, name: &str| {
            let head = head(request);
            head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap().to_owned()
        };
        assert_eq!(line(&first[0]), "POST /in/hunter2?a=b");
        assert_eq!(header(&first[0], "webhook-id"), header(&second[0], "webhook-id"));
        assert_ne!(header(&first[0], "webhook-timestamp"), header(&second[0], "webhook-timestamp"));
        let (stamp, id) = (now().as_second().to_string(), id(&item));
        let one = |secret: &str| sign(&Secret::new(secret), &id, &stamp, &event(&item)).unwrap();
        assert_eq!(header(&first[0], "webhook-signature"), format!("{} {}", one(WHSEC), one(OLDER)));
        assert_eq!(
            body(&first[0]),
            json!({ "type": "conversation.message", "timestamp": "2026-11-19T10:00:00Z", "data": {
                "reference": "shop:wamid.HBgL+/==", "line": "shop", "conversationId": "conv-1", "phone": "+972545550199",
                "name": "Noa Levi", "direction": "in", "kind": "text", "text": "Hello",
            } })
        );
    }

    #[test]
    fn a_signature_is_the_one_that_everybody_computes() {
        // printf 'msg_1.1795082400.{"type":"conversation.message"}' | openssl dgst -sha256 -hmac standard-webhooks-test-secret-01 -binary | base64
        let signature = sign(&Secret::new(WHSEC), "msg_1", "1795082400", br#"{"type":"conversation.message"}"#);
        assert_eq!(signature.as_deref(), Some("v1,LWjYBd1EJjXVJjQTbf/zEaiAksUSLeqY/7fEc9sz/Bw="));
    }

    #[tokio::test]
    async fn every_answer_but_success_and_gone_is_a_reason_to_come_again() {
        let bench = Bench::start().await;
        let kind = kind();
        let client = bench.client(&kind, WHSEC);
        let item = item("Hello");
        for (head, fault, says) in [
            ("410 Gone", Fault::Permanent, "(HTTP 410, gone)"),
            ("302 Found\r\nlocation: http://169.254.169.254/", Fault::Transient, "leads elsewhere"),
            ("429 Too Many Requests\r\nretry-after: 7", Fault::Transient, "patience"),
            ("401 Unauthorized", Fault::Transient, SECRET),
            ("400 Bad Request", Fault::Ambiguous, "400"),
            ("404 Not Found", Fault::Ambiguous, "404"),
            ("500 Internal Server Error", Fault::Ambiguous, "500"),
        ] {
            let (_, entry) = bench.hears(&[response(head, "hunter2")], client.create_entry(None, &item, now())).await;
            let error = entry.unwrap_err();
            assert_eq!(error.fault(), fault, "{head}");
            assert!(error.to_string().contains(says), "{head}: {error}");
            reveals_nothing(&error);
        }
        let (_, lost) = bench.hears(&["HTTP/1.1 2".to_owned()], client.create_entry(None, &item, now())).await;
        assert_eq!(lost.unwrap_err().fault(), Fault::Ambiguous);
    }

    #[tokio::test]
    async fn an_unusable_secret_signs_nothing_and_an_inner_address_is_not_called() {
        let bench = Bench::start().await;
        let kind = kind();
        for secret in ["", "hunter2!", "whsec_c2hvcnQ=", &format!("{WHSEC} hunter2!")] {
            let error = bench.client(&kind, secret).create_entry(None, &item("Hello"), now()).await.unwrap_err();
            assert!(matches!(error, CallError::Malformed { .. }));
            reveals_nothing(&error);
        }
        let caller = Caller { base_url: None, ..bench.caller() };
        for url in [
            "http://example.com/",
            "https://127.0.0.1/hunter2",
            "https://[::1]/",
            "https://localhost/hunter2",
            "mailto:hunter2",
        ] {
            let error = post_signed(&caller, url, "msg_1", &Secret::new(WHSEC), b"{}", now()).await.unwrap_err();
            assert!(matches!(error, CallError::Address(_)), "{url}: {error:?}");
            reveals_nothing(&error);
        }
    }

    proptest! {
        #[test]
        fn a_body_is_json_that_says_what_was_written_whatever_it_was(text in ".*", reference in ".{1,60}") {
            let item = Item { reference, ..item(&text) };
            let read: serde_json::Value = serde_json::from_slice(&event(&item)).unwrap();
            prop_assert_eq!(read["data"]["text"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["data"]["reference"].as_str(), Some(item.reference.as_str()));
            prop_assert!(id(&item).bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        }
    }
}
