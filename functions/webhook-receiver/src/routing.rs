//! The routes: which sender a path belongs to, and which bodies that sender may post.

use http::{HeaderMap, Method, header};
use tellonce_core::{
    client_config::ClientConfig, content_type::media_type, delivery::verify_shown_secret, inbox::MAX_BODY_BYTES,
    secret::Secret,
};

use crate::{
    http_response::ReceiveError,
    sender::{SenderKind, WebhookSender},
};

/// The sender that a request's path names. Only POST is accepted.
pub fn route_request<'a>(
    config: &'a ClientConfig,
    method: &Method,
    path: &'a str,
) -> Result<WebhookSender<'a>, ReceiveError> {
    let sender = find_sender(config, path)?;
    if method == Method::POST {
        Ok(sender)
    } else {
        Err(ReceiveError::MethodNotAllowed { allows_get: sender.requires_handshake })
    }
}

/// A path without the first segment of the stack's addresses. A path with another first segment is
/// unknown. Compares in constant time.
pub(crate) fn remove_address_segment<'a>(segment: Option<&Secret>, path: &'a str) -> Result<&'a str, ReceiveError> {
    let Some(segment) = segment else { return Ok(path) };
    let given = path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
    verify_shown_secret(given, segment).map_err(|_| ReceiveError::UnknownRoute)?;
    Ok(&path[1 + given.len()..])
}

/// The sender that a path names.
pub(crate) fn find_sender<'a>(config: &'a ClientConfig, path: &'a str) -> Result<WebhookSender<'a>, ReceiveError> {
    let sender = |name, kind, proof, body| WebhookSender {
        name,
        kind,
        proof,
        body,
        requires_handshake: false,
        reads_reply: false,
    };
    let store = |name| {
        let (name, store) = config.stores.get_key_value(name)?;
        Some(sender(name, SenderKind::Store, store.kind.proof(), Some(store.kind.facts().body)))
    };
    let calendar = |name| {
        let (name, calendar) = config.calendars.get_key_value(name)?;
        Some(sender(name, SenderKind::Calendar, calendar.kind.proof()?, Some(calendar.kind.facts().body)))
    };
    let form = |rest: &'a str| {
        let (name, secret) = rest.split_once('/').map_or((rest, None), |(name, secret)| (name, Some(secret)));
        let (name, form) = config.forms.get_key_value(name)?;
        let facts = form.kind.facts();
        Some(WebhookSender {
            requires_handshake: facts.handshake_secret.is_some(),
            reads_reply: facts.reads_reply,
            ..sender(name, SenderKind::Form, form.proof().with_path_secret(secret)?, Some(facts.body))
        })
    };
    let line = |rest: &'a str| {
        let (name, secret) = rest.split_once('/')?;
        let (name, line) = config.lines.get_key_value(name).filter(|(_, line)| line.events)?;
        // A caller that knows the address may post any body. conversation-sync checks it later,
        // when it is stored.
        Some(sender(name, SenderKind::Line, line.proof(secret), None))
    };
    let sender = path.strip_prefix("/stores/").and_then(store);
    let sender = sender.or_else(|| path.strip_prefix("/bookings/").and_then(calendar));
    let sender = sender.or_else(|| path.strip_prefix("/leads/").and_then(form));
    let sender = sender.or_else(|| path.strip_prefix("/lines/").and_then(line));
    sender.ok_or(ReceiveError::UnknownRoute)
}

/// Checks size and content type of a body before its proof is computed.
pub(crate) fn check_body(sender: WebhookSender<'_>, headers: &HeaderMap, body: &[u8]) -> Result<(), ReceiveError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(ReceiveError::BodyTooLarge { bytes: body.len() });
    }
    let Some(accepted) = sender.body else { return Ok(()) };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type(content_type);
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let fits = accepted.empty && body.is_empty()
        || accepted.json && is_json
        || accepted.form && essence == "application/x-www-form-urlencoded"
        || accepted.multipart && essence == "multipart/form-data";
    if fits { Ok(()) } else { Err(ReceiveError::UnsupportedContentType(accepted.description)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_segment_of_the_stack_leads_on() {
        let segment = Secret::new("Zk3-segment-of-the-story_1");
        let remove = |path| remove_address_segment(Some(&segment), path);
        for (path, rest) in [
            ("/Zk3-segment-of-the-story_1/stores/shop", "/stores/shop"),
            ("/Zk3-segment-of-the-story_1/lines/main/hush", "/lines/main/hush"),
            ("/Zk3-segment-of-the-story_1//stores/shop", "//stores/shop"),
            ("/Zk3-segment-of-the-story_1", ""),
        ] {
            assert_eq!(remove(path).unwrap(), rest, "{path}");
        }
        for path in [
            "/stores/shop",
            "/",
            "",
            "stores/shop",
            "//Zk3-segment-of-the-story_1/stores/shop",
            "/zk3-segment-of-the-story_1/stores/shop",
            "/Zk3-segment-of-the-story_12/stores/shop",
            "/stores/Zk3-segment-of-the-story_1/shop",
            "/$default/stores/shop",
        ] {
            assert!(matches!(remove(path), Err(ReceiveError::UnknownRoute)), "{path}");
        }
        assert_eq!(remove_address_segment(None, "/stores/shop").unwrap(), "/stores/shop");
    }
}
