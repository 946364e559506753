//! How each sender proves that a delivery is its own. Facts: `docs/senders.md`.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use ring::hmac;

use super::{Refusal, Unnamed, Unverified, Verified};
use crate::{client_config::JsonPointer, clock::UnixMillis, digest::sha256_hex, json, secret::Secret};

/// How far a signed timestamp may be from now, either way, in seconds. The Standard Webhooks libraries use the same, and
/// Webflow and `HubSpot` ask for it.
const TIMESTAMP_TOLERANCE_SECONDS: i64 = 300;
/// The same for Webflow, which repeats three times, ten minutes apart, and does not say whether it signs anew: its own
/// advice of five minutes might lose the lead for which we were away. A copy played back to us is in the inbox already.
const WEBFLOW_TOLERANCE_SECONDS: i64 = 3600;
/// The same for Calendly, which repeats a delivery for 24 hours and does not say whether it signs it anew each time. Its
/// own advice of three minutes would then lose what was sent while we were away. A copy played back to us within that
/// time is in the inbox already and changes nothing.
const CALENDLY_TOLERANCE_SECONDS: i64 = 25 * 3600;
/// The longest header that is kept, in bytes.
const LONGEST_HEADER: usize = 256;

/// Shopify: base64 of HMAC-SHA256 over the raw body, keyed with the app's client secret as text.
///
/// `X-Shopify-Webhook-Id` identifies the delivery and stays the same when it is sent again; `X-Shopify-Event-Id` is
/// shared by topics and is not used. Source: shopify.dev, "Verify webhook deliveries", "Ignore duplicate webhooks".
pub(super) fn shopify<'a>(
    sender: &'a str,
    shop_domain: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    verify_base64(secret.expose(), &[unverified.body], unverified, "x-shopify-hmac-sha256")?;
    if !unverified.header("x-shopify-shop-domain")?.eq_ignore_ascii_case(shop_domain) {
        return Err(Refusal::OtherShop);
    }
    Ok(Verified {
        sender,
        delivery_id: unverified.header("x-shopify-webhook-id")?.to_owned(),
        topic: Some(unverified.header("x-shopify-topic")?.to_owned()),
        headers: keep(unverified, &["x-shopify-triggered-at", "x-shopify-test"])?,
        body: unverified.body,
    })
}

/// `WooCommerce` saves a webhook only if an unsigned form post `webhook_id=<n>`, without any `X-WC-*` header, is
/// answered 200. Source: woocommerce `class-wc-webhook.php`, `deliver_ping`.
pub(super) fn is_woocommerce_ping(unverified: Unverified<'_>) -> bool {
    let unsigned = !unverified.headers.keys().any(|name| name.as_str().starts_with("x-wc-"));
    let id = unverified.body.strip_prefix(b"webhook_id=");
    unsigned && id.is_some_and(|id| !id.is_empty() && id.len() <= 20 && id.iter().all(u8::is_ascii_digit))
}

/// `WooCommerce`: base64 of HMAC-SHA256 over the raw body; the secret is decoded from HTML entities before use.
///
/// Its delivery id hashes the webhook's number and the second, so two orders of one second share it: the body's hash
/// is part of ours. Source: woocommerce `class-wc-webhook.php`, `generate_signature`, `get_new_delivery_id`.
pub(super) fn woocommerce<'a>(
    sender: &'a str,
    source: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    let key = html_escape::decode_html_entities(secret.expose());
    verify_base64(&key, &[unverified.body], unverified, "x-wc-webhook-signature")?;
    let told = unverified.header("x-wc-webhook-source")?;
    if !told.trim_end_matches('/').eq_ignore_ascii_case(source.trim_end_matches('/')) {
        return Err(Refusal::OtherShop);
    }
    let id = unverified.header("x-wc-webhook-delivery-id")?;
    Ok(Verified {
        sender,
        delivery_id: format!("{id}.{}", short_hash(unverified.body)),
        topic: Some(unverified.header("x-wc-webhook-topic")?.to_owned()),
        headers: BTreeMap::new(),
        body: unverified.body,
    })
}

/// Standard Webhooks: `v1,<base64>` over `{id}.{timestamp}.{body}`, several in one header while a secret is rotated.
///
/// Source: the specification at github.com/standard-webhooks/standard-webhooks. Unlike the Rust crate of that name
/// (1.0.1) this takes the time as an argument and refuses an empty key.
pub(super) fn standard_webhooks<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    let id = unverified.header("webhook-id")?;
    let stamp = unverified.header("webhook-timestamp")?;
    let signatures = unverified.header("webhook-signature")?;
    let signed_at: i64 = stamp.parse().map_err(|_| Refusal::HeaderMalformed("webhook-timestamp"))?;
    let encoded = secret.expose().strip_prefix("whsec_").unwrap_or(secret.expose());
    let key = BASE64.decode(encoded).map_err(|_| Refusal::SecretUnusable("`whsec_` and base64"))?;
    if key.len() < 16 {
        return Err(Refusal::SecretUnusable("at least 16 bytes in base64"));
    }
    let right = sign(&key, &[id.as_bytes(), b".", stamp.as_bytes(), b".", unverified.body]);
    let signatures = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    one_is(right, signatures.filter_map(|signature| BASE64.decode(signature).ok()))?;
    fresh(signed_at, TIMESTAMP_TOLERANCE_SECONDS, now)?;
    let delivery_id = id.to_owned();
    let verified = Verified { sender, delivery_id, topic: None, headers: BTreeMap::new(), body: unverified.body };
    Ok(with_type(verified, unverified))
}

/// A secret value in a header, for senders that cannot sign. Proves who sent it, not that nobody changed it.
pub(super) fn static_header<'a>(
    sender: &'a str,
    header: &str,
    delivery_id: Option<&JsonPointer>,
    unnamed: Unnamed,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    let given = unverified.headers.get(header).ok_or(Refusal::HeaderMissing("that carries the secret"))?;
    is_the_secret(given, secret)?;
    let from_header = unverified.optional("webhook-id")?.map(str::to_owned);
    let from_body = || {
        let document: serde_json::Value = serde_json::from_slice(unverified.body).ok()?;
        match delivery_id?.of(&document)? {
            serde_json::Value::String(id) if !id.is_empty() => Some(id.clone()),
            serde_json::Value::Number(id) => Some(id.to_string()),
            _ => None,
        }
    };
    let verified = match unnamed {
        Unnamed::ByBody => by_body(sender, unverified),
        Unnamed::ByReceipt => by_receipt(sender, unverified, now),
        Unnamed::ByMinute => by_minute(sender, unverified, now),
    };
    let verified = with_type(verified, unverified);
    Ok(match from_header.or_else(from_body) {
        Some(delivery_id) => Verified { delivery_id, ..verified },
        None => verified,
    })
}

/// Cal.com: hex of HMAC-SHA256 over the raw body, without a prefix; the literal `no-secret-provided` where no secret is
/// set. No delivery id: the body names event, booking and time, so its hash is one.
///
/// Source: calcom/cal.com, `packages/features/webhooks/lib/sendPayload.ts`.
pub(super) fn calcom<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    let signature = unverified.header("x-cal-signature-256")?;
    if signature == "no-secret-provided" {
        return Err(Refusal::Unsigned);
    }
    let signature = from_hex(signature).ok_or(Refusal::HeaderMalformed("x-cal-signature-256"))?;
    one_is(sign(key(secret.expose())?, &[unverified.body]), [signature])?;
    Ok(by_body(sender, unverified))
}

/// Calendly: `t=<unix seconds>,v1=<hex>`, HMAC-SHA256 over `{t}.{body}`. Of several `v1` one that is right is enough. No
/// delivery id, as with Cal.com.
///
/// Source: developer.calendly.com, "Webhook signatures".
pub(super) fn calendly<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    let header = unverified.header("calendly-webhook-signature")?;
    let malformed = || Refusal::HeaderMalformed("calendly-webhook-signature");
    let parts = |name: &'static str| {
        header.split(',').filter_map(move |part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let stamp = parts("t").next().ok_or_else(malformed)?;
    let signed_at: i64 = stamp.parse().map_err(|_| malformed())?;
    let signatures: Vec<Vec<u8>> = parts("v1").filter_map(from_hex).collect();
    if signatures.is_empty() {
        return Err(malformed());
    }
    one_is(sign(key(secret.expose())?, &[stamp.as_bytes(), b".", unverified.body]), signatures)?;
    fresh(signed_at, CALENDLY_TOLERANCE_SECONDS, now)?;
    Ok(by_body(sender, unverified))
}

/// Acuity: base64 of HMAC-SHA256 over the raw body, keyed with the account's API key.
///
/// A delivery says only that an appointment changed, and says it in the same bytes each time: nothing tells a second
/// change from a repeat. So each is taken for new; to read the appointment back once more does no harm.
/// Source: developers.acuityscheduling.com, "Webhooks".
pub(super) fn acuity<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    verify_base64(secret.expose(), &[unverified.body], unverified, "x-acuity-signature")?;
    Ok(by_receipt(sender, unverified, now))
}

/// Square: base64 of HMAC-SHA256 over the notification URL and the raw body. `event_id` in the body identifies the
/// delivery and stays the same when it is sent again.
///
/// Source: developer.squareup.com, "Verify and validate an event notification".
pub(super) fn square<'a>(
    sender: &'a str,
    notification_url: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    let signed = [notification_url.as_bytes(), unverified.body];
    verify_base64(secret.expose(), &signed, unverified, "x-square-hmacsha256-signature")?;
    let verified = by_body(sender, unverified);
    let event: Result<SquareEvent, _> = serde_json::from_slice(unverified.body);
    Ok(match event.ok().and_then(|event| event.event_id).filter(|id| !id.is_empty()) {
        Some(delivery_id) => Verified { delivery_id, ..verified },
        None => verified,
    })
}

#[derive(serde::Deserialize)]
struct SquareEvent {
    event_id: Option<String>,
}

/// Google Calendar: the token that we gave the channel, in a header; there is no body and no signature. None for `sync`,
/// which only says that the channel is open.
///
/// Source: developers.google.com, "Push notifications" of the Calendar API.
pub(super) fn google_channel<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Option<Verified<'a>>, Refusal> {
    is_the_secret(unverified.header("x-goog-channel-token")?, secret)?;
    if unverified.header("x-goog-resource-state")? == "sync" {
        return Ok(None);
    }
    let (channel, number) = (unverified.header("x-goog-channel-id")?, unverified.header("x-goog-message-number")?);
    Ok(Some(Verified {
        sender,
        delivery_id: format!("{channel}.{number}"),
        topic: None,
        headers: keep(unverified, &["x-goog-resource-state"])?,
        body: unverified.body,
    }))
}

/// Typeform: `sha256=<base64>` of HMAC-SHA256 over the raw body; no header at all where no secret is set. `event_id`
/// identifies the delivery.
///
/// Source: typeform.com/developers, "Secure your webhooks".
pub(super) fn typeform<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    const HEADER: &str = "typeform-signature";
    let malformed = || Refusal::HeaderMalformed(HEADER);
    let signature = unverified.optional(HEADER)?.ok_or(Refusal::Unsigned)?;
    let signature = BASE64.decode(signature.strip_prefix("sha256=").ok_or_else(malformed)?).map_err(|_| malformed())?;
    one_is(sign(key(secret.expose())?, &[unverified.body]), [signature])?;
    Ok(by_id(sender, unverified, &["/event_id"]))
}

/// Google Ads: the key that was typed where the form was made, in each body as `google_key`. Proves who sent it, not that
/// nobody changed it. `lead_id` is the lead's own and stays the same when it is sent again.
///
/// Source: developers.google.com/google-ads/webhook, "Implementation".
pub(super) fn google_ads<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    let given: Option<String> = json::document(unverified.body).ok().and_then(|body| body.at("/google_key").as_shape());
    is_the_secret(given.ok_or(Refusal::KeyMissing("google_key"))?, secret)?;
    Ok(by_id(sender, unverified, &["/lead_id"]))
}

/// Meta: `sha256=<hex>` of HMAC-SHA256 over the raw body, keyed with the app's secret. One delivery may name several
/// leads, so none of their ids is its own: the body's hash is.
///
/// Source: developers.facebook.com, "Webhooks", "Validating payloads".
pub(super) fn meta<'a>(sender: &'a str, secret: &Secret, unverified: Unverified<'a>) -> Result<Verified<'a>, Refusal> {
    const HEADER: &str = "x-hub-signature-256";
    let signature = unverified.header(HEADER)?.strip_prefix("sha256=").and_then(from_hex);
    let signature = signature.ok_or(Refusal::HeaderMalformed(HEADER))?;
    one_is(sign(key(secret.expose())?, &[unverified.body]), [signature])?;
    Ok(with_type(by_body(sender, unverified), unverified))
}

/// Webflow: hex of HMAC-SHA256 over `{unix milliseconds}:{body}`. A submission's id is the delivery's; it stands in
/// `payload`, or in the older form of the body at its top.
///
/// Source: developers.webflow.com, "Working with webhooks".
pub(super) fn webflow<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    const HEADER: &str = "x-webflow-signature";
    let signature = from_hex(unverified.header(HEADER)?).ok_or(Refusal::HeaderMalformed(HEADER))?;
    let (stamp, signed_at) = millis(unverified, "x-webflow-timestamp")?;
    one_is(sign(key(secret.expose())?, &[stamp.as_bytes(), b":", unverified.body]), [signature])?;
    fresh(signed_at, WEBFLOW_TOLERANCE_SECONDS, now)?;
    Ok(by_id(sender, unverified, &["/payload/id", "/_id"]))
}

/// Tally: base64 of HMAC-SHA256 over the raw body; no header at all where no signing secret is set. `eventId` identifies
/// the delivery.
///
/// Source: tally.so/help, "Webhooks".
pub(super) fn tally<'a>(sender: &'a str, secret: &Secret, unverified: Unverified<'a>) -> Result<Verified<'a>, Refusal> {
    const HEADER: &str = "tally-signature";
    unverified.optional(HEADER)?.ok_or(Refusal::Unsigned)?;
    verify_base64(secret.expose(), &[unverified.body], unverified, HEADER)?;
    Ok(by_id(sender, unverified, &["/eventId"]))
}

/// `HubSpot`, third version: base64 of HMAC-SHA256 over method, URL, raw body and Unix milliseconds. `eventId` may come
/// again with something else, and one delivery may hold several: the body's hash is its id.
///
/// Source: developers.hubspot.com, "Request validation".
pub(super) fn hubspot<'a>(
    sender: &'a str,
    notification_url: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    let (stamp, signed_at) = millis(unverified, "x-hubspot-request-timestamp")?;
    let url = as_hubspot_signs(notification_url);
    let signed = [b"POST", url.as_bytes(), unverified.body, stamp.as_bytes()];
    verify_base64(secret.expose(), &signed, unverified, "x-hubspot-signature-v3")?;
    fresh(signed_at, TIMESTAMP_TOLERANCE_SECONDS, now)?;
    Ok(with_type(by_body(sender, unverified), unverified))
}

/// A URL as `HubSpot` signs it: these characters are themselves, even where the URL has them percent-encoded; all others
/// stay as they are written. The list is from memory and another implementation: see `docs/senders.md`.
fn as_hubspot_signs(url: &str) -> String {
    const DECODED: &str = ":/?@!$'()*,;";
    let mut signed = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('%') {
        signed.push_str(before);
        let code = after.get(..2).and_then(from_hex).and_then(|bytes| bytes.first().copied());
        if let Some(decoded) = code.map(char::from).filter(|decoded| DECODED.contains(*decoded)) {
            signed.push(decoded);
            rest = &after[2..];
        } else {
            signed.push('%');
            rest = after;
        }
    }
    signed + rest
}

/// A secret value at the end of the address, for senders that can do nothing else. Proves who sent it, not that nobody
/// changed it. No delivery id.
pub(super) fn secret_path<'a>(
    sender: &'a str,
    given: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    is_the_address(given, secret)?;
    Ok(with_type(by_minute(sender, unverified, now), unverified))
}

/// An event of a line, by a secret value at the end of the address: `EZWhatsApp` signs nothing. Its headers say which line it
/// is of, what it is and which delivery; that they are no proof is why the address comes first.
pub(super) fn line<'a>(
    sender: &'a str,
    line_id: &str,
    given: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    is_the_address(given, secret)?;
    let header = |name| unverified.header(name).map_err(|_| Refusal::Incomplete(name));
    let delivery_id = header("x-ezw-delivery-id")?.to_owned();
    let topic = header("x-ezw-webhook-event")?;
    if header("x-ezw-line-id")? != line_id {
        return Err(Refusal::OtherLine);
    }
    let mut headers = BTreeMap::new();
    if let Ok(Some(webhook)) = unverified.optional("x-ezw-webhook-id") {
        headers.insert("x-ezw-webhook-id", short(webhook));
    }
    Ok(Verified { sender, delivery_id, topic: Some(short(topic)), headers, body: unverified.body })
}

fn short(header: &str) -> String {
    header.chars().take(LONGEST_HEADER).collect()
}

/// Whether what stands at the end of an address is the secret.
fn is_the_address(given: &str, secret: &Secret) -> Result<(), Refusal> {
    is_the_secret(given, secret).map_err(|refusal| match refusal {
        Refusal::Mismatch => Refusal::WrongAddress,
        other => other,
    })
}

/// A delivery of a form that the first of these places in its JSON identifies which holds a text or a number; else its
/// body's hash does.
fn by_id<'a>(sender: &'a str, unverified: Unverified<'a>, places: &[&str]) -> Verified<'a> {
    let verified = with_type(by_body(sender, unverified), unverified);
    let body = json::document(unverified.body).unwrap_or_default();
    match places.iter().find_map(|place| body.at(place).string()) {
        Some(delivery_id) => Verified { delivery_id, ..verified },
        None => verified,
    }
}

/// The same, with what its sender says that the body is: a form's may be one of several things, and one of many parts
/// cannot be read without the boundary that is named there.
fn with_type<'a>(mut verified: Verified<'a>, unverified: Unverified<'a>) -> Verified<'a> {
    let said = unverified.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(said) = said.filter(|said| said.len() <= LONGEST_HEADER) {
        verified.headers.insert("content-type", said.to_owned());
    }
    verified
}

/// A header that holds Unix milliseconds: as it is written, and in seconds.
fn millis<'a>(unverified: Unverified<'a>, header: &'static str) -> Result<(&'a str, i64), Refusal> {
    let stamp = unverified.header(header)?;
    let millis: i64 = stamp.parse().map_err(|_| Refusal::HeaderMalformed(header))?;
    Ok((stamp, millis.div_euclid(1000)))
}

/// A delivery that its body's hash identifies.
fn by_body<'a>(sender: &'a str, unverified: Unverified<'a>) -> Verified<'a> {
    let delivery_id = short_hash(unverified.body);
    Verified { sender, delivery_id, topic: None, headers: BTreeMap::new(), body: unverified.body }
}

/// A delivery that nothing identifies but its receipt. The same bytes twice in one millisecond are one delivery, which
/// loses nothing: what follows from it comes after both.
fn by_receipt<'a>(sender: &'a str, unverified: Unverified<'a>, now: Timestamp) -> Verified<'a> {
    let verified = by_body(sender, unverified);
    Verified { delivery_id: format!("{}.{}", verified.delivery_id, now.millis()), ..verified }
}

/// A delivery that its body's hash identifies for a minute.
fn by_minute<'a>(sender: &'a str, unverified: Unverified<'a>, now: Timestamp) -> Verified<'a> {
    let verified = by_body(sender, unverified);
    Verified { delivery_id: format!("{}.{}", verified.delivery_id, now.as_second().div_euclid(60)), ..verified }
}

/// Whether what was given to us is the secret itself.
pub(super) fn is_the_secret(given: impl AsRef<[u8]>, secret: &Secret) -> Result<(), Refusal> {
    one_is(key(secret.expose())?, [given])
}

/// A secret as it is, as a key.
fn key(secret: &str) -> Result<&[u8], Refusal> {
    if secret.is_empty() { Err(Refusal::SecretUnusable("not empty")) } else { Ok(secret.as_bytes()) }
}

/// HMAC-SHA256 over parts that follow one another.
fn sign(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Whether one of the values that were given to us is the right one.
///
/// Compared, in constant time, are authentication codes of the values: of one length, whatever the values' is, so that of
/// a secret not even the length shows. Any number of signatures costs one pass over the body, which [`sign`] made.
fn one_is<T: AsRef<[u8]>>(right: impl AsRef<[u8]>, given: impl IntoIterator<Item = T>) -> Result<(), Refusal> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"tellonce compares");
    let right = hmac::sign(&key, right.as_ref());
    let found = given.into_iter().any(|given| hmac::verify(&key, given.as_ref(), right.as_ref()).is_ok());
    if found { Ok(()) } else { Err(Refusal::Mismatch) }
}

/// Whether a signed timestamp is near enough. Asked after the signature: a forged timestamp is a forgery, not a slow
/// network.
fn fresh(signed_at: i64, tolerance: i64, now: Timestamp) -> Result<(), Refusal> {
    let seconds = now.as_second().saturating_sub(signed_at);
    if seconds.saturating_abs() > tolerance { Err(Refusal::Stale { seconds, tolerance }) } else { Ok(()) }
}

/// Bytes written in hex. Capitals count as well: what is proven is the bytes, however they are written.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Whether a header holds, in base64, the signature of these parts.
fn verify_base64(
    secret: &str,
    parts: &[&[u8]],
    unverified: Unverified<'_>,
    header: &'static str,
) -> Result<(), Refusal> {
    let signature = BASE64.decode(unverified.header(header)?).map_err(|_| Refusal::HeaderMalformed(header))?;
    one_is(sign(key(secret)?, parts), [signature])
}

/// The headers of these names that are there and are short text.
fn keep(unverified: Unverified<'_>, names: &[&'static str]) -> Result<BTreeMap<&'static str, String>, Refusal> {
    let mut kept = BTreeMap::new();
    for name in names {
        if let Some(value) = unverified.optional(name)?.filter(|value| value.len() <= LONGEST_HEADER) {
            kept.insert(*name, value.to_owned());
        }
    }
    Ok(kept)
}

/// Enough of a hash to tell deliveries apart.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    sha256_hex(bytes, 16)
}
