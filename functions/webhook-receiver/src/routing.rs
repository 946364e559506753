//! The routes: which sender a path belongs to, and which bodies that sender may post.

use http::{HeaderMap, Method, header};
use tellonce_core::{
    client_config::{ClientConfig, FormKind},
    delivery::DeliveryProof,
    inbox::MAX_BODY_BYTES,
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
        Err(ReceiveError::MethodNotAllowed { allows_get: sender.requires_handshake() })
    }
}

/// The sender that a path names.
pub(crate) fn find_sender<'a>(config: &'a ClientConfig, path: &'a str) -> Result<WebhookSender<'a>, ReceiveError> {
    let store = |name| {
        let (name, store) = config.stores.get_key_value(name)?;
        Some(WebhookSender { name, kind: SenderKind::Store, proof: DeliveryProof::of_store(store) })
    };
    let calendar = |name| {
        let (name, calendar) = config.calendars.get_key_value(name)?;
        Some(WebhookSender { name, kind: SenderKind::Calendar, proof: DeliveryProof::of_calendar(calendar)? })
    };
    let form = |rest: &'a str| {
        let (name, secret) = rest.split_once('/').map_or((rest, None), |(name, secret)| (name, Some(secret)));
        let (name, form) = config.forms.get_key_value(name)?;
        Some(WebhookSender {
            name,
            kind: SenderKind::Form(form.kind),
            proof: DeliveryProof::of_form(form).with_path_secret(secret)?,
        })
    };
    let line = |rest: &'a str| {
        let (name, secret) = rest.split_once('/')?;
        let (name, line) = config.lines.get_key_value(name).filter(|(_, line)| line.events)?;
        Some(WebhookSender { name, kind: SenderKind::Line, proof: DeliveryProof::of_line(line, secret) })
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
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let form = essence == "application/x-www-form-urlencoded";
    let multipart = essence == "multipart/form-data";
    let (fits, accepted_types) = match (sender.kind, sender.proof) {
        // A caller that knows the address may post any body. conversation-sync checks it later,
        // when it is stored.
        (SenderKind::Line, _) => (true, "anything"),
        (SenderKind::Form(FormKind::Jotform), _) => {
            (multipart || form, "a form (multipart/form-data or application/x-www-form-urlencoded)")
        }
        // The developer of the form chooses the type.
        (
            SenderKind::Form(
                FormKind::Elementor
                | FormKind::GravityForms
                | FormKind::WpForms
                | FormKind::ContactForm7
                | FormKind::Web,
            ),
            _,
        ) => (
            json || form || multipart,
            "JSON (application/json) or a form (application/x-www-form-urlencoded or multipart/form-data)",
        ),
        // Its notifications have no body and need no content type.
        (_, DeliveryProof::GoogleChannel) => (body.is_empty(), "a notification without a body"),
        (_, DeliveryProof::Acuity) => (form, "a form (application/x-www-form-urlencoded)"),
        // `WooCommerce` posts its ping as a form.
        (_, DeliveryProof::WooCommerce { .. }) => (json || form, "JSON (application/json)"),
        // A custom template of the webhook can change the body to a form.
        (_, DeliveryProof::CalCom) => (json, "JSON (application/json) without a custom template"),
        (SenderKind::Store | SenderKind::Calendar | SenderKind::Form(_), _) => (json, "JSON (application/json)"),
    };
    if fits { Ok(()) } else { Err(ReceiveError::UnsupportedContentType(accepted_types)) }
}
