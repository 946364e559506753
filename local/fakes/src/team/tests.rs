use axum::{Router, middleware::from_fn_with_state};
use serde_json::{Value, json};
use tellonce_core::client_config::{EmailTarget, SnsTarget, WebhookTarget};

use super::*;
use crate::{FakeHost as _, host::test_host::TestHost};

const SECRETS: &str = r#"{
    "slack": "https://hooks.slack.com/services/T0/B0/secret",
    "teams": "https://x.example/powerautomate/workflows/1/triggers/manual/paths/invoke?api-version=1&sig=a%2Bb",
    "pager": "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE="
}"#;
const TOPIC: &str = "arn:aws:sns:eu-central-1:000000000000:team";

/// The fakes, served as the stack serves them.
struct TeamFixture {
    team: Arc<FakeTeam>,
    host: Arc<TestHost>,
    url: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

fn start_fixture() -> TeamFixture {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(TestHost::new(SECRETS));
    let services = Arc::new(FakeServices::new(Vec::new(), host.clone()));
    let account = |name: &str, kind| FakeTeamTarget { name: name.to_owned(), kind, secret: name.to_owned() };
    let to = vec!["team@example.com".to_owned()];
    let accounts = vec![
        account("slack", TargetKind::Slack),
        account("teams", TargetKind::Teams),
        account("mail", TargetKind::Email(EmailTarget { from: "a@example.com".to_owned(), to })),
        account("topic", TargetKind::Sns(SnsTarget { topic_arn: TOPIC.to_owned() })),
        account("fifo", TargetKind::Sns(SnsTarget { topic_arn: format!("{TOPIC}.fifo") })),
        account("pager", TargetKind::Webhook(WebhookTarget { url: "https://team.example/hooks/pager".to_owned() })),
    ];
    let team = Arc::new(FakeTeam::open(Some(folder.path().join("alerts.json")), accounts, services).unwrap());
    let app =
        Router::new().fallback(async || "another service").layer(from_fn_with_state(team.clone(), route_team_requests));
    let listener = crate::server::bind_port(0, "a test", "").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    crate::server::serve_router(app, listener, "a test");
    TeamFixture { team, host, url, http: tellonce_core::bootstrap::build_http_client().unwrap(), _folder: folder }
}

impl TeamFixture {
    async fn post_body(&self, path: &str, headers: &[(&str, &str)], body: String) -> (u16, String) {
        let mut request = self.http.post(format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    fn received_texts(&self) -> Vec<(String, String)> {
        self.team.alerts().into_iter().map(|alert| (alert.target, alert.text)).collect()
    }
}

fn signed_authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=local-conversation-sync/20261119/eu-central-1/{service}/aws4_request, SignedHeaders=host, Signature=0f"
    )
}

#[tokio::test]
async fn slack_accepts_a_text_only_at_its_secret_address() {
    let served = start_fixture();
    let json_type = [("content-type", "application/json")];
    let post = async |path: &str, body: &str| served.post_body(path, &json_type, body.to_owned()).await;
    assert_eq!(post("/services/T0/B0/secret", r#"{"text": "Noa waits"}"#).await, (200, "ok".to_owned()));
    assert_eq!(post("/services/T0/B0/other", r#"{"text": "x"}"#).await, (404, "no_service".to_owned()));
    assert_eq!(post("/services/T0/B0/secret", "text").await, (400, "invalid_payload".to_owned()));
    assert_eq!(post("/services/T0/B0/secret", "{}").await, (400, "invalid_payload".to_owned()));
    let blocks = r#"{"blocks": [{"type": "divider"}]}"#;
    assert_eq!(post("/services/T0/B0/secret", blocks).await, (400, "no_text".to_owned()));
    assert_eq!(served.received_texts(), [("slack".to_owned(), "Noa waits".to_owned())]);
}

#[tokio::test]
async fn teams_accepts_a_card_only_at_a_signed_address() {
    let served = start_fixture();
    let path = "/powerautomate/workflows/1/triggers/manual/paths/invoke";
    let card = |kind: &str| {
        let content = json!({"type": kind, "version": "1.2", "body": [
            {"type": "TextBlock", "text": "Noa waits"},
            {"type": "FactSet", "facts": [{"title": "Line", "value": "main"}]},
        ]});
        let attachment = json!({"contentType": "application/vnd.microsoft.card.adaptive", "content": content});
        json!({"type": "message", "attachments": [attachment]}).to_string()
    };
    let post = async |query: &str, body: String| {
        let json_type = [("content-type", "application/json")];
        served.post_body(&format!("{path}?{query}"), &json_type, body).await.0
    };
    assert_eq!(post("api-version=1&sig=a%2Bb", card("AdaptiveCard")).await, 202);
    assert_eq!(post("api-version=1&sig=other", card("AdaptiveCard")).await, 401);
    assert_eq!(post("sig=a%2Bb", card("MessageCard")).await, 400);
    assert_eq!(post("sig=a%2Bb", " ".repeat(29 * 1024)).await, 413);
    assert_eq!(served.received_texts(), [("teams".to_owned(), "Noa waits\nLine: main".to_owned())]);
}

#[tokio::test]
async fn ses_accepts_an_email_from_the_client_with_a_one_line_subject() {
    let served = start_fixture();
    let mail = |from: &str, subject: &str| {
        json!({
            "FromEmailAddress": from, "Destination": {"ToAddresses": ["team@example.com"]},
            "Content": {"Simple": {"Subject": {"Data": subject}, "Body": {"Text": {"Data": "Noa waits"}}}},
        })
        .to_string()
    };
    let ses = signed_authorization("ses");
    let post = async |authorization: &str, body: String| {
        served.post_body("/v2/email/outbound-emails", &[("authorization", authorization)], body).await
    };
    let (status, response) = post(&ses, mail("a@example.com", "Urgent")).await;
    let response: Value = serde_json::from_str(&response).unwrap();
    assert!(status == 200 && response["MessageId"].is_string());
    assert_eq!(post(&signed_authorization("sns"), mail("a@example.com", "Urgent")).await.0, 403);
    assert_eq!(post(&ses, mail("b@example.com", "Urgent")).await.0, 400);
    assert_eq!(post(&ses, mail("a@example.com", "Urgent\r\nBcc: x")).await.0, 400);
    let alerts = served.team.alerts();
    assert_eq!((alerts.len(), alerts[0].subject.as_deref()), (1, Some("Urgent")));
}

#[tokio::test]
async fn sns_accepts_a_form_and_replies_in_xml() {
    let served = start_fixture();
    let publish = |fields: &[(&str, &str)]| {
        let fields = [("Action", "Publish"), ("Version", "2010-03-31"), ("Message", "Noa waits")].iter().chain(fields);
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
    };
    let sns = signed_authorization("sns");
    let post = async |authorization: &str, body: String| {
        let headers = [("authorization", authorization), ("content-type", "application/x-www-form-urlencoded")];
        served.post_body("/", &headers, body).await
    };
    let (status, response) = post(&sns, publish(&[("TopicArn", TOPIC), ("Subject", "Urgent")])).await;
    assert!(status == 200 && response.contains("<PublishResult><MessageId>"), "{response}");
    assert_eq!(post("", publish(&[("TopicArn", TOPIC)])).await.0, 403);
    assert_eq!(post(&sns, publish(&[("TopicArn", "arn:aws:sns:eu-central-1:000000000000:no")])).await.0, 404);
    assert_eq!(post(&sns, publish(&[("TopicArn", TOPIC), ("Subject", "two\nlines")])).await.0, 400);
    let fifo = format!("{TOPIC}.fifo");
    for _ in 0..2 {
        post(&sns, publish(&[("TopicArn", &fifo), ("MessageDeduplicationId", "n1")])).await;
    }
    let repeats: Vec<_> = served.team.alerts().into_iter().map(|alert| (alert.target, alert.repeats)).collect();
    assert_eq!(repeats, [("topic".to_owned(), 0), ("fifo".to_owned(), 1)]);
    assert_eq!(
        served.post_body("/", &[("content-type", "application/json")], String::new()).await.1,
        "another service"
    );
}

#[tokio::test]
async fn a_signed_address_counts_a_repeat_and_refuses_unsigned_calls() {
    let served = start_fixture();
    let at = served.host.now_ms() / 1000;
    let body = json!({"type": "conversation.alert", "timestamp": "2026-11-19T10:05:00Z", "data": {
        "id": "n1", "line": "main", "conversation_id": "conv_01", "customer": {"phone": null, "private_id": null, "name": "Noa"},
        "messages": [], "escalation": "urgent", "reason": "wrote one of the words", "business_name": "Demo",
        "sent_messages": [], "may_be_repeat": false,
    }});
    let body = body.to_string();
    let secret = "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=";
    let signature = tellonce_samples::sign_standard_webhooks(secret, "n1", at, body.as_bytes()).unwrap();
    let at = at.to_string();
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", "n1"),
        ("webhook-timestamp", at.as_str()),
        ("webhook-signature", &signature),
    ];
    for _ in 0..2 {
        assert_eq!(served.post_body("/hooks/pager", &headers, body.clone()).await.0, 204);
    }
    assert_eq!(served.post_body("/hooks/pager", &headers, "{}".to_owned()).await.0, 401);
    let alerts = served.team.alerts();
    assert_eq!((alerts.len(), alerts[0].id.as_deref(), alerts[0].repeats), (1, Some("n1"), 1));
    served.team.clear_alerts().unwrap();
    assert!(served.team.alerts().is_empty());
}
