//! Checks of requests. For a send, the rules are the strict reading of EZWhatsApp's samples,
//! because EZWhatsApp documents no limits. For a webhook, the rules are EZWhatsApp's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

/// WhatsApp's usual limit of a text, in characters.
const MAX_BODY_CHARS: usize = 4096;
/// WhatsApp's usual limit of a button's label, in characters.
const MAX_BUTTON_CHARS: usize = 20;
/// The events of webhooks.
pub(super) const EVENTS: [&str; 3] = ["messages.post", "statuses.post", "chats.post"];

/// The link button of a text message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhoneButton {
    /// The button's text.
    pub display_text: String,
    /// Absolute https address.
    pub url: String,
}

/// The recipient of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TextRecipient {
    Phone(String),
    Conversation(String),
}

/// A valid `POST /api/v1/messages/text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextRequest {
    pub(super) recipient: TextRecipient,
    pub(super) body: String,
    pub(super) button: Option<PhoneButton>,
}

/// Parses a send; the error describes the problem.
pub(super) fn parse_text(bytes: &[u8]) -> Result<TextRequest, &'static str> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else { return Err("the body is not a JSON object") };
    let recipient = match (non_null(fields.get("to")), non_null(fields.get("conversationId"))) {
        (Some(Value::String(to)), None) if is_phone(to) => TextRecipient::Phone(to.clone()),
        (Some(_), None) => return Err("to is not a phone number like +972501234567"),
        (None, Some(Value::String(id))) if !id.trim().is_empty() => TextRecipient::Conversation(id.clone()),
        (None, Some(_)) => return Err("conversationId is not a non-blank string"),
        (Some(_), Some(_)) => return Err("to and conversationId exclude each other"),
        (None, None) => return Err("to or conversationId is required"),
    };
    let body = match fields.get("body") {
        Some(Value::String(body)) if body.trim().is_empty() => return Err("body is blank"),
        Some(Value::String(body)) if body.chars().count() > MAX_BODY_CHARS => {
            return Err("body is longer than 4096 characters");
        }
        Some(Value::String(body)) => body.clone(),
        _ => return Err("body is required and must be a string"),
    };
    let button = non_null(fields.get("ctaUrlButton")).map(parse_button).transpose()?;
    Ok(TextRequest { recipient, body, button })
}

fn non_null(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn parse_button(value: &Value) -> Result<PhoneButton, &'static str> {
    let Ok(button) = serde_json::from_value::<PhoneButton>(value.clone()) else {
        return Err("ctaUrlButton needs the strings displayText and url");
    };
    if button.display_text.trim().is_empty() || button.display_text.chars().count() > MAX_BUTTON_CHARS {
        return Err("ctaUrlButton.displayText must have 1 to 20 characters");
    }
    match Url::parse(&button.url) {
        Ok(url) if url.scheme() == "https" && url.host().is_some() => Ok(button),
        _ => Err("ctaUrlButton.url must be an absolute https address"),
    }
}

/// `^\+[1-9]\d{6,14}$`
pub(super) fn is_phone(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A request to register a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebhookRequest {
    pub(super) target_url: String,
    pub(super) events: Vec<String>,
    pub(super) enabled: bool,
    pub(super) persistent: bool,
}

/// Parses a `POST /api/v1/webhooks`.
///
/// The address rule imitates `EZWhatsApp`'s documented refusal (loopback, private, link-local).
/// tellonce's own rule, `tellonce_core::public_address`, is stricter. Names are not resolved: a
/// public name with a private address passes here.
pub(super) fn parse_webhook(bytes: &[u8], allow_local_targets: bool) -> Result<WebhookRequest, &'static str> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else { return Err("the body is not a JSON object") };
    let Some(target) = fields.get("targetUrl").or_else(|| fields.get("url")).and_then(Value::as_str) else {
        return Err("targetUrl is required and must be a string");
    };
    let Ok(url) = Url::parse(target) else { return Err("targetUrl is not an address") };
    if !matches!(url.scheme(), "http" | "https") {
        return Err("targetUrl must be http or https");
    }
    match url.host() {
        None => return Err("targetUrl has no host"),
        Some(host) if is_local_host(&host) && !allow_local_targets => {
            return Err("targetUrl points at a loopback, private or link-local address");
        }
        Some(_) => {}
    }
    let events = match non_null(fields.get("events")) {
        None => EVENTS.map(str::to_owned).to_vec(),
        Some(Value::Array(names)) if !names.is_empty() => names
            .iter()
            .map(|name| match name.as_str() {
                Some(name) if EVENTS.contains(&name) => Ok(name.to_owned()),
                _ => Err("events holds an unknown event"),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err("events must be a list of event names"),
    };
    match non_null(fields.get("payloadFormat")).map(Value::as_str) {
        None | Some(Some("whapi")) => {}
        Some(_) => return Err("payloadFormat must be whapi"),
    }
    let flag = |name: &str| match fields.get(name) {
        None => Ok(true),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err("enabled and persistent must be booleans"),
    };
    Ok(WebhookRequest {
        target_url: target.to_owned(),
        events,
        enabled: flag("enabled")?,
        persistent: flag("persistent")?,
    })
}

fn is_local_host(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(address) => is_local_v4(*address),
        Host::Ipv6(address) => is_local_v6(*address),
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified()
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    match IpAddr::V6(address).to_canonical() {
        IpAddr::V4(inner) => is_local_v4(inner),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_error(json: &str) -> &'static str {
        parse_text(json.as_bytes()).expect_err("must be refused")
    }

    #[test]
    fn the_documented_text_is_read_with_its_button() {
        let read = parse_text(
            br#"{"to":"+972501234567","body":"Your order is ready",
                 "ctaUrlButton":{"displayText":"Open","url":"https://shop.example.com/o/1"}}"#,
        );
        let button = PhoneButton { display_text: "Open".into(), url: "https://shop.example.com/o/1".into() };
        assert_eq!(
            read,
            Ok(TextRequest {
                recipient: TextRecipient::Phone("+972501234567".into()),
                body: "Your order is ready".into(),
                button: Some(button)
            })
        );
    }

    #[test]
    fn a_send_needs_exactly_one_recipient_and_a_text() {
        assert_eq!(text_error(r#"{"body":"x"}"#), "to or conversationId is required");
        assert!(text_error(r#"{"to":"+972501234567","conversationId":"c","body":"x"}"#).contains("exclude"));
        assert!(text_error(r#"{"to":"+972501234567"}"#).contains("body"));
        assert!(text_error(r#"{"to":"+972501234567","bodyText":"x"}"#).contains("body"));
        assert!(text_error(r#"{"to":"+972501234567","body":" \n"}"#).contains("blank"));
        assert!(text_error("[]").contains("JSON object"));
        assert!(text_error("{").contains("JSON object"));
        assert!(parse_text(br#"{"conversationId":"c1","to":null,"body":"x"}"#).is_ok());
    }

    #[test]
    fn only_international_numbers_are_phones() {
        for good in ["+972501234567", "+1234567", "+123456789012345"] {
            assert!(is_phone(good), "{good}");
        }
        for bad in ["972501234567", "0501234567", "+0501234567", "+123456", "+1234567890123456", "+97250-123", "+", ""]
        {
            assert!(!is_phone(bad), "{bad}");
        }
    }

    #[test]
    fn texts_and_buttons_have_limits_in_characters() {
        let body = |n: usize| format!(r#"{{"to":"+972501234567","body":"{}"}}"#, "ש".repeat(n));
        assert!(parse_text(body(4096).as_bytes()).is_ok());
        assert!(parse_text(body(4097).as_bytes()).is_err());
        let with = |label: &str, url: &str| {
            format!(r#"{{"to":"+972501234567","body":"x","ctaUrlButton":{{"displayText":"{label}","url":"{url}"}}}}"#)
        };
        assert!(parse_text(with(&"א".repeat(20), "https://a.example/").as_bytes()).is_ok());
        assert!(parse_text(with(&"א".repeat(21), "https://a.example/").as_bytes()).is_err());
        for url in ["http://a.example/", "/orders/1", "a.example", "javascript:alert(1)"] {
            assert!(parse_text(with("Open", url).as_bytes()).is_err(), "{url}");
        }
    }

    #[test]
    fn webhook_targets_inside_a_network_are_refused() {
        for target in [
            "http://localhost:3000/x",
            "http://LOCALHOST./x",
            "http://app.localhost/x",
            "http://127.0.0.1/x",
            "http://127.1/x",
            "http://0x7f000001/x",
            "http://10.1.2.3/x",
            "http://172.16.0.1/x",
            "http://192.168.1.1/x",
            "http://169.254.169.254/latest",
            "http://0.0.0.0/x",
            "http://[::1]/x",
            "http://[::]/x",
            "http://[::ffff:127.0.0.1]/x",
            "http://[fd00::1]/x",
            "http://[fe80::1]/x",
        ] {
            let body = format!(r#"{{"targetUrl":"{target}"}}"#);
            assert!(parse_webhook(body.as_bytes(), false).is_err(), "{target}");
            assert!(parse_webhook(body.as_bytes(), true).is_ok(), "{target}");
        }
        assert!(parse_webhook(br#"{"targetUrl":"https://agency.example.com/ezw"}"#, false).is_ok());
        assert!(parse_webhook(br#"{"url":"https://203.0.113.9/ezw"}"#, false).is_ok());
    }

    #[test]
    fn a_webhook_with_a_wrong_field_is_refused() {
        for body in [
            "{}",
            r#"{"targetUrl":7}"#,
            r#"{"targetUrl":"ftp://agency.example.com/"}"#,
            r#"{"targetUrl":"agency.example.com"}"#,
            r#"{"targetUrl":"https://agency.example.com/","events":["orders.post"]}"#,
            r#"{"targetUrl":"https://agency.example.com/","events":"messages.post"}"#,
            r#"{"targetUrl":"https://agency.example.com/","enabled":"yes"}"#,
            r#"{"targetUrl":"https://agency.example.com/","persistent":1}"#,
            r#"{"targetUrl":"https://agency.example.com/","payloadFormat":"native"}"#,
        ] {
            assert!(parse_webhook(body.as_bytes(), true).is_err(), "{body}");
        }
    }

    #[test]
    fn a_webhook_gets_the_documented_defaults() {
        let read = parse_webhook(br#"{"targetUrl":"https://agency.example.com/ezw"}"#, false).expect("valid");
        assert_eq!(read.events, EVENTS);
        assert!(read.enabled && read.persistent);
    }
}
