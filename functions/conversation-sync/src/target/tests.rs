//! Calls to targets whose side is played on the loopback.

use loopback::Peer;
use shared::{
    client_config::TargetKind,
    cold_start::{Aws, http_client},
    fault::{Fault, Faulty as _, chain},
    secret::Secret,
};

use super::{TargetClient, default_requests_per_minute, word};
use crate::{
    call::{CallError, Caller, Pace},
    notice::{Notice, tests::notice},
};

/// Calls a target that is at this address.
async fn call(kind: &TargetKind, credential: Option<&str>, notice: &Notice, url: &str) -> Result<(), CallError> {
    let http = http_client().unwrap();
    let read = |name: &'static str| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("example".to_owned()),
        "AWS_ENDPOINT_URL" => Some(url.to_owned()),
        _ => None,
    };
    let aws = Aws::from_variables(&http, read).unwrap();
    let caller = Caller {
        http: &http,
        base_url: Some(url),
        pace: &Pace::per_minute(60_000),
        secret: "tellonce/demo/targets/team",
    };
    let credential = credential.map(Secret::new);
    let target = TargetClient { kind, caller, credential, aws: &aws };
    target.call(notice, "2026-11-19T10:06:00Z".parse().unwrap()).await
}

/// Calls a target that answers this; what it was asked, and what came of it.
pub(super) async fn called(
    kind: &TargetKind,
    credential: Option<&str>,
    notice: &Notice,
    given: &str,
) -> (String, Result<(), CallError>) {
    let peer = Peer::start().await.unwrap();
    let url = peer.url().unwrap();
    let (asked, result) = tokio::join!(peer.answer(given), call(kind, credential, notice, &url));
    (asked.unwrap(), result)
}

/// Calls a target that answers this, and looks at the error: what it means, what it says, and that it gives nothing away.
pub(super) async fn judged(kind: &TargetKind, credential: Option<&str>, given: &str, fault: Fault, says: &str) {
    let (_, result) = called(kind, credential, &notice(), given).await;
    let error = result.unwrap_err();
    assert_eq!(error.fault(), fault, "{given}: {error}");
    assert!(chain(&error).contains(says), "{given}: {error}");
    gives_nothing_away(&error);
}

/// Calls a target where nobody answers; the error.
pub(super) async fn uncalled(kind: &TargetKind, credential: Option<&str>) -> CallError {
    let away = Peer::start().await.unwrap().url().unwrap();
    let error = call(kind, credential, &notice(), &away).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Transient, "{error}");
    gives_nothing_away(&error);
    error
}

fn gives_nothing_away(error: &CallError) {
    let shown = format!("{} {error:?}", chain(error));
    for kept in ["hunter2", "Noa", "0199", "Urgent:"] {
        assert!(!shown.contains(kept), "{shown}");
    }
}

#[tokio::test]
async fn an_aws_service_that_is_not_there_was_not_reached() {
    let email = TargetKind::Email { from: "a@b.example".to_owned(), to: vec!["c@d.example".to_owned()] };
    let sns = TargetKind::Sns { topic_arn: "arn:aws:sns:eu-west-1:123456789012:team".to_owned() };
    for kind in [email, sns] {
        let error = uncalled(&kind, None).await;
        assert!(matches!(error, CallError::AwsUnreachable(_)), "{error:?}");
    }
}

#[test]
fn a_code_is_a_word_and_no_free_text() {
    for (code, known) in [
        ("invalid_payload\n", Some("invalid_payload")),
        ("AWS.SimpleQueueService.NonExistentQueue", Some("AWS.SimpleQueueService.NonExistentQueue")),
        ("call Noa", None),
        ("972545550199", None),
        ("", None),
    ] {
        assert_eq!(word(code).as_deref(), known);
    }
    assert_eq!(word(&"x".repeat(65)), None);
}

#[test]
fn each_kind_has_its_own_pace() {
    assert_eq!(default_requests_per_minute(&TargetKind::Slack), 60);
    assert_eq!(default_requests_per_minute(&TargetKind::Teams), 120);
}
