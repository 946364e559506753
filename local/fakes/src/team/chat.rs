//! The responses of Slack and Teams at the address of an incoming webhook.
//!
//! `services/descriptions/slack.json` and `teams.json` have the shapes. Behaviour:
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
//! <https://support.microsoft.com/en-us/office/create-incoming-webhooks-with-workflows-for-microsoft-teams-8ae491c7-0394-4861-ba59-055e33f75498>.

use http::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::ReceivedAlert;
use crate::services::{DescriptionViolation, FakeReply, FakeRequest};

/// The largest message that a workflow accepts, in bytes:
/// <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>.
const LARGEST_CARD: usize = 28 * 1024;

/// Whether a request went to this address. Compares the path, and the signature if the address has
/// one.
pub(super) fn is_address_of(address: &str, request: &FakeRequest) -> bool {
    let Ok(address) = Url::parse(address) else { return false };
    let signature = address.query_pairs().find_map(|(name, value)| (name == "sig").then(|| value.into_owned()));
    address.path() == request.path && signature.as_deref() == request.query_value("sig")
}

fn text_reply(status: StatusCode, text: &str) -> FakeReply {
    FakeReply::text(status, "text/html", text)
}

pub(super) fn receive_slack(
    request: &FakeRequest,
    target: Option<&str>,
    violation: Option<&DescriptionViolation>,
) -> Result<(ReceivedAlert, FakeReply), FakeReply> {
    let target = target.ok_or_else(|| text_reply(StatusCode::NOT_FOUND, "no_service"))?;
    if violation.is_some() {
        return Err(text_reply(StatusCode::BAD_REQUEST, "invalid_payload"));
    }
    let body = request.json_body();
    let Some(text) = body["text"].as_str().filter(|text| !text.is_empty()) else {
        return Err(text_reply(StatusCode::BAD_REQUEST, "no_text"));
    };
    let alert = ReceivedAlert { target: target.to_owned(), id: None, subject: None, text: text.to_owned() };
    Ok((alert, text_reply(StatusCode::OK, "ok")))
}

/// Accepts the call before the workflow runs, as Teams does.
pub(super) fn receive_teams(
    request: &FakeRequest,
    target: Option<&str>,
    violation: Option<&DescriptionViolation>,
) -> Result<(ReceivedAlert, FakeReply), FakeReply> {
    let target = target.ok_or_else(|| FakeReply::empty(StatusCode::UNAUTHORIZED))?;
    if request.body.len() > LARGEST_CARD {
        return Err(FakeReply::empty(StatusCode::PAYLOAD_TOO_LARGE));
    }
    if let Some(violation) = violation {
        let error = json!({"error": {"code": "TriggerInputSchemaMismatch", "message": violation.to_string()}});
        return Err(FakeReply::json(StatusCode::BAD_REQUEST, &error));
    }
    let attachment = &request.json_body()["attachments"][0];
    let mut texts = Vec::new();
    collect_texts(&attachment["content"]["body"], &mut texts);
    let alert = ReceivedAlert { target: target.to_owned(), id: None, subject: None, text: texts.join("\n") };
    Ok((alert, FakeReply::empty(StatusCode::ACCEPTED)))
}

/// The texts of a card from top to bottom. A fact becomes `title: value`.
fn collect_texts(element: &Value, texts: &mut Vec<String>) {
    match element {
        Value::Array(elements) => elements.iter().for_each(|element| collect_texts(element, texts)),
        Value::Object(fields) => {
            if let Some(text) = element["text"].as_str() {
                texts.push(text.to_owned());
            } else if let (Some(title), Some(value)) = (element["title"].as_str(), element["value"].as_str()) {
                texts.push(format!("{title}: {value}"));
            }
            fields.values().filter(|value| value.is_array()).for_each(|value| collect_texts(value, texts));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
