//! Calls to fake targets.

use loopback::FakeApi;
use tellonce_core::{
    bootstrap::{AwsClients, build_http_client},
    client_config::{EmailTarget, SnsTarget, TargetKind},
    fault::{ClassifyFault as _, Fault, error_chain},
    secret::Secret,
};

use super::{TargetClient, parse_reason_code};
use crate::{
    api_client::{ApiClient, ApiError, RateLimiter},
    notification::{Notification, tests::sample_notification},
};

/// Calls a target at this address.
async fn send_to_target(
    kind: &TargetKind,
    credential: Option<&str>,
    notification: &Notification,
    url: &str,
) -> Result<(), ApiError> {
    let http = build_http_client().unwrap();
    let read = |name: &'static str| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("example".to_owned()),
        "AWS_ENDPOINT_URL" => Some(url.to_owned()),
        _ => None,
    };
    let aws = AwsClients::from_variables(&http, read).unwrap();
    let api_client = ApiClient {
        http: &http,
        base_url: Some(url),
        rate_limiter: &RateLimiter::per_minute(60_000),
        secret_name: "tellonce/demo/targets/team",
    };
    let credential = credential.map(Secret::new);
    let target = TargetClient { kind, api_client, credential, aws: &aws };
    target.send_notification(notification, "2026-11-19T10:06:00Z".parse().unwrap()).await
}

/// Calls a target that replies with this. Returns the request and the result.
pub(super) async fn send_with_reply(
    kind: &TargetKind,
    credential: Option<&str>,
    notification: &Notification,
    reply: &str,
) -> (String, Result<(), ApiError>) {
    let fake_api = FakeApi::start().await.unwrap();
    let url = fake_api.base_url().unwrap();
    let (request, result) =
        tokio::join!(fake_api.reply_once(reply), send_to_target(kind, credential, notification, &url));
    (request.unwrap(), result)
}

/// Calls a target that replies with this, and checks the error: fault, text, and nothing personal.
pub(super) async fn assert_error(
    kind: &TargetKind,
    credential: Option<&str>,
    reply: &str,
    fault: Fault,
    expected: &str,
) {
    let (_, result) = send_with_reply(kind, credential, &sample_notification(), reply).await;
    let error = result.unwrap_err();
    assert_eq!(error.fault(), fault, "{reply}: {error}");
    assert!(error_chain(&error).contains(expected), "{reply}: {error}");
    assert_reveals_nothing(&error);
}

/// Calls a target that is unreachable. Returns the error.
pub(super) async fn send_to_unreachable(kind: &TargetKind, credential: Option<&str>) -> ApiError {
    let unreachable_url = FakeApi::start().await.unwrap().base_url().unwrap();
    let error = send_to_target(kind, credential, &sample_notification(), &unreachable_url).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Transient, "{error}");
    assert_reveals_nothing(&error);
    error
}

fn assert_reveals_nothing(error: &ApiError) {
    let shown = format!("{} {error:?}", error_chain(error));
    for secret in ["hunter2", "Noa", "0199", "Urgent:"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn an_aws_service_that_does_not_answer_is_reported_as_unreachable() {
    let email = TargetKind::Email(EmailTarget { from: "a@b.example".to_owned(), to: vec!["c@d.example".to_owned()] });
    let sns = TargetKind::Sns(SnsTarget { topic_arn: "arn:aws:sns:eu-west-1:123456789012:team".to_owned() });
    for kind in [email, sns] {
        let error = send_to_unreachable(&kind, None).await;
        assert!(matches!(error, ApiError::AwsUnreachable(_)), "{error:?}");
    }
}

#[test]
fn a_reason_code_is_one_word_and_never_free_text() {
    for (code, known) in [
        ("invalid_payload\n", Some("invalid_payload")),
        ("AWS.SimpleQueueService.NonExistentQueue", Some("AWS.SimpleQueueService.NonExistentQueue")),
        ("call Noa", None),
        ("972545550199", None),
        ("", None),
    ] {
        assert_eq!(parse_reason_code(code).as_deref(), known);
    }
    assert_eq!(parse_reason_code(&"x".repeat(65)), None);
}

#[test]
fn each_target_kind_has_its_own_rate_limit() {
    assert_eq!(TargetKind::Slack.facts().requests_per_minute, 60);
    assert_eq!(TargetKind::Teams.facts().requests_per_minute, 120);
}
