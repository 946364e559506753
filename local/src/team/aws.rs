//! What SES and SNS answer to a signed call.
//!
//! Shapes: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>,
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Account, Call, Kind};
use crate::peers::{Asked, Said};

/// The longest subject of a notification, in characters.
const LONGEST_SUBJECT: usize = 100;

/// Whether a call has a signature for this service in the form of Signature Version 4. It isn't computed anew: nothing that
/// this project writes makes it.
fn is_signed_for(asked: &Asked, service: &str) -> bool {
    let Some(given) = asked.credential("AWS4-HMAC-SHA256") else { return false };
    let scope = format!("/{}/{service}/aws4_request", crate::REGION);
    let credential = given.split(',').find_map(|part| part.trim().strip_prefix("Credential="));
    credential.is_some_and(|credential| credential.starts_with("local/") && credential.ends_with(&scope))
        && given.contains("Signature=")
}

pub(super) fn email(asked: &Asked, accounts: &[Account]) -> Result<(Call, Said), Said> {
    if !is_signed_for(asked, "ses") {
        let body = json!({"message": "Missing Authentication Token"});
        return Err(Said::json(StatusCode::FORBIDDEN, &body));
    }
    let refused = |message: &str| ses_refusal("BadRequestException", message);
    let body = asked.json();
    let simple = &body["Content"]["Simple"];
    let (Some(subject), Some(text)) = (simple["Subject"]["Data"].as_str(), simple["Body"]["Text"]["Data"].as_str())
    else {
        return Err(refused("the stand-in takes simple e-mails with a subject and a text"));
    };
    if subject.contains(['\r', '\n']) {
        return Err(refused("Local: the subject has a line break"));
    }
    let to: Vec<&str> =
        body["Destination"]["ToAddresses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let target = accounts.iter().find(|account| {
        matches!(&account.kind, Kind::Email { from, to: own } if body["FromEmailAddress"] == from.as_str() && *own == to)
    });
    let Some(target) = target else {
        return Err(ses_refusal("MessageRejected", "Email address is not verified."));
    };
    let (subject, text) = (Some(subject.to_owned()), text.to_owned());
    let call = Call { target: target.name.clone(), id: None, subject, text };
    Ok((call, Said::json(StatusCode::OK, &json!({"MessageId": crate::new_id()}))))
}

fn ses_refusal(kind: &str, message: &str) -> Said {
    let mut said = Said::json(StatusCode::BAD_REQUEST, &json!({"message": message}));
    if let Ok(name) = "x-amzn-errortype".parse() {
        said.headers.push((name, kind.to_owned()));
    }
    said
}

pub(super) fn publish(asked: &Asked, accounts: &[Account]) -> Result<(Call, Said), Said> {
    if !is_signed_for(asked, "sns") {
        let message = "Request is missing Authentication Token";
        return Err(sns_refusal(StatusCode::FORBIDDEN, "MissingAuthenticationToken", message));
    }
    if asked.form("Action").as_deref() != Some("Publish") {
        return Err(sns_refusal(StatusCode::BAD_REQUEST, "InvalidAction", "the stand-in knows the action Publish"));
    }
    let topic = asked.form("TopicArn").unwrap_or_default();
    let target = accounts.iter().find(|account| matches!(&account.kind, Kind::Sns { topic: own } if *own == topic));
    let Some(target) = target else {
        return Err(sns_refusal(StatusCode::NOT_FOUND, "NotFound", "Topic does not exist"));
    };
    let (subject, text) = (asked.form("Subject"), asked.form("Message").unwrap_or_default());
    let is_odd = |subject: &String| {
        subject.is_empty() || subject.chars().count() > LONGEST_SUBJECT || subject.chars().any(char::is_control)
    };
    if text.is_empty() {
        return Err(sns_refusal(StatusCode::BAD_REQUEST, "InvalidParameter", "Invalid parameter: Empty message"));
    }
    if subject.as_ref().is_some_and(is_odd) {
        return Err(sns_refusal(StatusCode::BAD_REQUEST, "InvalidParameter", "Invalid parameter: Subject"));
    }
    let is_fifo = topic.strip_suffix(".fifo").is_some();
    let id = asked.form("MessageDeduplicationId").filter(|_| is_fifo);
    let call = Call { target: target.name.clone(), id, subject, text };
    let (message, request) = (crate::new_id(), crate::new_id());
    let body = format!(
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{message}</MessageId>\
         </PublishResult><ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></PublishResponse>"
    );
    Ok((call, Said::text(StatusCode::OK, "text/xml", &body)))
}

fn sns_refusal(status: StatusCode, code: &str, message: &str) -> Said {
    let request = crate::new_id();
    let body = format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{request}</RequestId></ErrorResponse>"
    );
    Said::text(status, "text/xml", &body)
}
