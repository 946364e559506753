//! Texts and documents as `/messages/text` and `/messages/media` take them.
//!
//! `EZWhatsApp` publishes the fields of a text. Of `/messages/media` only the path is known: the
//! fields in [`MEDIA_FIELDS`] are assumed.

use serde::{Deserialize, Serialize};

use crate::provider::{MessageRejected, Payload, PayloadContents, Recipient, RenderedMessage, SendRoute};

/// Longest text and button that are submitted, in characters: `WhatsApp`'s usual limits, because
/// `EZWhatsApp` publishes none.
const MAX_TEXT_CHARS: usize = 4096;
const MAX_BUTTON_CHARS: usize = 20;
/// The fields that `/messages/media` is assumed to take.
const MEDIA_FIELDS: [&str; 4] = ["to", "mediaUrl", "caption", "filename"];

#[derive(Serialize)]
struct TextRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(rename = "conversationId", skip_serializing_if = "Option::is_none")]
    conversation: Option<&'a str>,
    body: &'a str,
    #[serde(rename = "ctaUrlButton", skip_serializing_if = "Option::is_none")]
    button: Option<ButtonRequest<'a>>,
}

#[derive(Serialize)]
struct ButtonRequest<'a> {
    #[serde(rename = "displayText")]
    text: &'a str,
    url: &'a str,
}

/// The path of a route below `/api/v1`.
pub(in crate::provider) const fn route_path(route: SendRoute) -> &'static str {
    match route {
        SendRoute::Text => "/messages/text",
        SendRoute::Media => "/messages/media",
    }
}

/// Checks the limits and builds the request. A reply in a conversation is always a text.
pub(in crate::provider) fn build_payload(
    message: &RenderedMessage,
    to: Recipient<'_>,
) -> Result<Payload, MessageRejected> {
    check_limits(message)?;
    Ok(match (to, &message.document) {
        (Recipient::Phone(phone), Some(url)) => {
            let filename = url::Url::parse(url)
                .ok()
                .and_then(|url| url.path_segments()?.next_back().map(str::to_owned))
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "document".to_owned());
            let values = [phone.expose(), url.as_str(), message.text.as_str(), filename.as_str()];
            let fields = MEDIA_FIELDS.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.into()));
            Payload { route: SendRoute::Media, body: serde_json::Value::Object(fields.collect()).to_string() }
        }
        (Recipient::Phone(phone), None) => build_text_payload(message, Some(phone.expose()), None),
        (Recipient::Conversation(id), _) => build_text_payload(message, None, Some(id)),
    })
}

fn build_text_payload(message: &RenderedMessage, to: Option<&str>, conversation: Option<&str>) -> Payload {
    let button = message.button.as_ref().map(|(text, url)| ButtonRequest { text: text.trim(), url });
    let request = TextRequest { to, conversation, body: &message.text, button };
    // Strings only, so serialising cannot fail. An empty body would be refused with a clear
    // response.
    Payload { route: SendRoute::Text, body: serde_json::to_string(&request).unwrap_or_default() }
}

fn check_limits(message: &RenderedMessage) -> Result<(), MessageRejected> {
    if message.text.trim().is_empty() {
        return Err(MessageRejected::EmptyText);
    }
    if message.text.chars().count() > MAX_TEXT_CHARS {
        return Err(MessageRejected::TextTooLong { max_chars: MAX_TEXT_CHARS });
    }
    if let Some((text, _)) = &message.button
        && !(1..=MAX_BUTTON_CHARS).contains(&text.trim().chars().count())
    {
        return Err(MessageRejected::InvalidButtonText { max_chars: MAX_BUTTON_CHARS });
    }
    for link in message.button.iter().map(|(_, url)| url).chain(&message.document) {
        let absolute = url::Url::parse(link).is_ok_and(|url| url.scheme() == "https" && url.has_host());
        if !absolute {
            return Err(MessageRejected::InvalidLink);
        }
    }
    Ok(())
}

/// The fields of a stored payload. A body that does not parse has no fields.
pub(in crate::provider) fn parse_payload(payload: &Payload) -> PayloadContents {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct StoredRequest {
        to: Option<String>,
        body: Option<String>,
        caption: Option<String>,
        #[serde(rename = "mediaUrl")]
        document: Option<String>,
        #[serde(rename = "ctaUrlButton")]
        button: Option<StoredButton>,
    }
    #[derive(Deserialize)]
    struct StoredButton {
        #[serde(rename = "displayText")]
        text: String,
        url: String,
    }
    let stored = serde_json::from_str::<StoredRequest>(&payload.body).unwrap_or_default();
    PayloadContents {
        to: stored.to,
        text: stored.body,
        caption: stored.caption,
        button: stored.button.map(|button| (button.text, button.url)),
        document: stored.document,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::Phone;

    fn test_phone() -> Phone {
        Phone::from_e164("+972545550199").unwrap()
    }

    fn text_message(text: &str) -> RenderedMessage {
        RenderedMessage { text: text.into(), button: None, document: None }
    }

    #[test]
    fn a_text_with_a_button_is_sent_in_the_published_fields() {
        let message = RenderedMessage {
            button: Some(("Track".into(), "https://track.example.com/1".into())),
            ..text_message("Your order is on its way")
        };
        let payload = message.build_payload(&test_phone()).unwrap();
        assert_eq!(payload.route, SendRoute::Text);
        assert_eq!(
            payload.body,
            r#"{"to":"+972545550199","body":"Your order is on its way","ctaUrlButton":{"displayText":"Track","url":"https://track.example.com/1"}}"#
        );
        let contents = payload.contents();
        assert_eq!((contents.to.as_deref(), contents.text), (Some("+972545550199"), Some(message.text)));
        assert_eq!(contents.button, message.button);
    }

    #[test]
    fn an_acknowledgement_names_its_conversation_and_no_number() {
        let payload = text_message("Thanks!").build_payload_in_conversation("conv-1").unwrap();
        assert_eq!(
            (payload.route, payload.body.as_str()),
            (SendRoute::Text, r#"{"conversationId":"conv-1","body":"Thanks!"}"#)
        );
        assert_eq!(text_message(" ").build_payload_in_conversation("conv-1"), Err(MessageRejected::EmptyText));
    }

    #[test]
    fn an_unsendable_message_is_refused_before_any_request() {
        let too_long = MessageRejected::TextTooLong { max_chars: 4096 };
        let bad_button = MessageRejected::InvalidButtonText { max_chars: 20 };
        assert_eq!(text_message(" \n").build_payload(&test_phone()), Err(MessageRejected::EmptyText));
        assert_eq!(text_message(&"א".repeat(4097)).build_payload(&test_phone()), Err(too_long));
        assert!(text_message(&"א".repeat(4096)).build_payload(&test_phone()).is_ok());
        for (label, url, error) in [
            ("", "https://a.example", bad_button),
            ("twenty-one characters", "https://a.example", bad_button),
            ("ok", "http://a.example", MessageRejected::InvalidLink),
            ("ok", "/relative", MessageRejected::InvalidLink),
        ] {
            let message = RenderedMessage { button: Some((label.into(), url.into())), ..text_message("t") };
            assert_eq!(message.build_payload(&test_phone()), Err(error), "{label} {url}");
        }
    }

    #[test]
    fn a_document_is_sent_in_the_assumed_fields() {
        let message = RenderedMessage {
            document: Some("https://shop.example/i/INV-1.pdf".into()),
            ..text_message("Your invoice")
        };
        let payload = message.build_payload(&test_phone()).unwrap();
        assert_eq!(payload.route, SendRoute::Media);
        let body: serde_json::Value = serde_json::from_str(&payload.body).unwrap();
        assert_eq!(body["filename"], "INV-1.pdf");
        assert_eq!(body["mediaUrl"], "https://shop.example/i/INV-1.pdf");
        assert_eq!(payload.contents().caption.as_deref(), Some("Your invoice"));
    }
}
