//! The responses of SES and SNS to a signed call.
//!
//! Shapes: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>,
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.

use http::StatusCode;
use serde_json::{Value, json};
use tellonce_core::client_config::TargetKind;

use super::{FakeTeamTarget, ReceivedAlert};
use crate::services::{FakeReply, FakeRequest};

/// The longest subject of a notification, in characters.
const LONGEST_SUBJECT: usize = 100;

/// Whether a call has a signature for this service in the form of Signature Version 4. The
/// signature is not computed, because the project's own code does not make it.
fn is_signed_for(request: &FakeRequest, service: &str) -> bool {
    let Some(given) = request.credential("AWS4-HMAC-SHA256") else { return false };
    let scope = format!("/{}/{service}/aws4_request", crate::REGION);
    let credential = given.split(',').find_map(|part| part.trim().strip_prefix("Credential="));
    credential.is_some_and(|credential| credential.starts_with("local-") && credential.ends_with(&scope))
        && given.contains("Signature=")
}

pub(super) fn receive_email(
    request: &FakeRequest,
    accounts: &[FakeTeamTarget],
) -> Result<(ReceivedAlert, FakeReply), FakeReply> {
    if !is_signed_for(request, "ses") {
        let body = json!({"message": "Missing Authentication Token"});
        return Err(FakeReply::json(StatusCode::FORBIDDEN, &body));
    }
    let refused = |message: &str| ses_error("BadRequestException", message);
    let body = request.json_body();
    let simple = &body["Content"]["Simple"];
    let (Some(subject), Some(text)) = (simple["Subject"]["Data"].as_str(), simple["Body"]["Text"]["Data"].as_str())
    else {
        return Err(refused("the fake takes simple e-mails with a subject and a text"));
    };
    if subject.contains(['\r', '\n']) {
        return Err(refused("Local: the subject has a line break"));
    }
    let to: Vec<&str> =
        body["Destination"]["ToAddresses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let target = accounts.iter().find(|account| {
        matches!(&account.kind, TargetKind::Email(own) if body["FromEmailAddress"] == own.from.as_str() && own.to == to)
    });
    let Some(target) = target else {
        return Err(ses_error("MessageRejected", "Email address is not verified."));
    };
    let (subject, text) = (Some(subject.to_owned()), text.to_owned());
    let alert = ReceivedAlert { target: target.name.clone(), id: None, subject, text };
    Ok((alert, FakeReply::json(StatusCode::OK, &json!({"MessageId": crate::generate_id()}))))
}

fn ses_error(kind: &str, message: &str) -> FakeReply {
    let mut reply = FakeReply::json(StatusCode::BAD_REQUEST, &json!({"message": message}));
    if let Ok(name) = "x-amzn-errortype".parse() {
        reply.headers.push((name, kind.to_owned()));
    }
    reply
}

pub(super) fn receive_publish(
    request: &FakeRequest,
    accounts: &[FakeTeamTarget],
) -> Result<(ReceivedAlert, FakeReply), FakeReply> {
    if !is_signed_for(request, "sns") {
        let message = "Request is missing Authentication Token";
        return Err(sns_error(StatusCode::FORBIDDEN, "MissingAuthenticationToken", message));
    }
    if request.form_value("Action").as_deref() != Some("Publish") {
        return Err(sns_error(StatusCode::BAD_REQUEST, "InvalidAction", "the fake knows the action Publish"));
    }
    let topic = request.form_value("TopicArn").unwrap_or_default();
    let target =
        accounts.iter().find(|account| matches!(&account.kind, TargetKind::Sns(own) if own.topic_arn == topic));
    let Some(target) = target else {
        return Err(sns_error(StatusCode::NOT_FOUND, "NotFound", "Topic does not exist"));
    };
    let (subject, text) = (request.form_value("Subject"), request.form_value("Message").unwrap_or_default());
    let is_odd = |subject: &String| {
        subject.is_empty() || subject.chars().count() > LONGEST_SUBJECT || subject.chars().any(char::is_control)
    };
    if text.is_empty() {
        return Err(sns_error(StatusCode::BAD_REQUEST, "InvalidParameter", "Invalid parameter: Empty message"));
    }
    if subject.as_ref().is_some_and(is_odd) {
        return Err(sns_error(StatusCode::BAD_REQUEST, "InvalidParameter", "Invalid parameter: Subject"));
    }
    let is_fifo = topic.strip_suffix(".fifo").is_some();
    let id = request.form_value("MessageDeduplicationId").filter(|_| is_fifo);
    let alert = ReceivedAlert { target: target.name.clone(), id, subject, text };
    let (message_id, request_id) = (crate::generate_id(), crate::generate_id());
    let body = format!(
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{message_id}</MessageId>\
         </PublishResult><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></PublishResponse>"
    );
    Ok((alert, FakeReply::text(StatusCode::OK, "text/xml", &body)))
}

fn sns_error(status: StatusCode, code: &str, message: &str) -> FakeReply {
    let request = crate::generate_id();
    let body = format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{request}</RequestId></ErrorResponse>"
    );
    FakeReply::text(status, "text/xml", &body)
}
