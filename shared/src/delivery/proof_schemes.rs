//! The proofs of all senders. Facts: `docs/senders.md`.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use ring::hmac;

use super::{
    refusal::Refusal,
    request::{Unverified, Verified},
    wordpress_text::decode_wordpress_text,
};
use crate::{
    client_config::{
        DeliveryIdSource, FallbackId, JsonPointer, SignatureEncoding, SignatureScheme, SignedPart, SignedTimestamp,
        UnsignedMark, UnsignedPing,
    },
    clock::UnixMillis,
    hash::sha256_hex,
    json,
    provider::PROVIDER,
    secret::Secret,
};

/// How far a signed timestamp may be from now, either way, in seconds. The Standard Webhooks
/// libraries use the same value, and Webflow and HubSpot ask for it.
const TIMESTAMP_TOLERANCE_SECONDS: i64 = 300;
/// The same for Calendly, which retries for 24 hours. It does not document whether it signs each
/// retry again. With its advice of three minutes, deliveries could be lost while tellonce is
/// unavailable. A copy that a stranger sends again in this time is already in the inbox and changes
/// nothing.
const CALENDLY_TOLERANCE_SECONDS: i64 = 25 * 3600;
/// The longest header that is stored, in bytes.
const MAX_HEADER_BYTES: usize = 256;

/// The unsigned form post by which a sender tries an address.
pub(super) fn is_unsigned_ping(ping: UnsignedPing, unverified: Unverified<'_>) -> bool {
    let is_signed = unverified.headers.keys().any(|name| name.as_str().starts_with(ping.header_prefix));
    let number = unverified.body.strip_prefix(ping.field.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
    let is_number = |id: &[u8]| (1..=20).contains(&id.len()) && id.iter().all(u8::is_ascii_digit);
    !is_signed && number.is_some_and(is_number)
}

/// A signature as the file of the sender's kind describes it. `binding` is the configured account
/// or address.
pub(super) fn verify_signature<'a>(
    sender: &'a str,
    scheme: &'static SignatureScheme,
    binding: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    let given = match scheme.unsigned {
        Some(UnsignedMark::NoHeader) => unverified.optional_header(scheme.header)?.ok_or(Refusal::Unsigned)?,
        _ => unverified.required_header(scheme.header)?,
    };
    if matches!(scheme.unsigned, Some(UnsignedMark::Value(mark)) if mark == given) {
        return Err(Refusal::Unsigned);
    }
    let signature = given.strip_prefix(scheme.prefix).and_then(|written| match scheme.encoding {
        SignatureEncoding::Base64 => BASE64.decode(written).ok(),
        SignatureEncoding::Hex => decode_hex(written),
    });
    let signature = signature.ok_or(Refusal::HeaderMalformed(scheme.header))?;
    let stamp = scheme.timestamp.map(|timestamp| parse_millis_header(unverified, timestamp)).transpose()?;
    let secret_text = secret.expose();
    let key = if scheme.decodes_key { decode_wordpress_text(secret_text) } else { secret_text.into() };
    let decoded_address = hubspot_signed_url(binding);
    let part = |part: &SignedPart| match part {
        SignedPart::Body => unverified.body,
        SignedPart::Address => binding.as_bytes(),
        SignedPart::DecodedAddress => decoded_address.as_bytes(),
        SignedPart::Timestamp => stamp.map_or(&[][..], |(stamp, _)| stamp.as_bytes()),
        SignedPart::Text(text) => text.as_bytes(),
    };
    let parts: Vec<&[u8]> = scheme.signed.iter().map(part).collect();
    require_match(sign_parts(non_empty_key(&key)?, &parts), [signature])?;
    if let (Some((_, signed_at)), Some(timestamp)) = (stamp, scheme.timestamp) {
        require_fresh_timestamp(signed_at, timestamp.tolerance_seconds, now)?;
    }
    describe_signed(sender, scheme, binding, unverified, now)
}

/// What a signed delivery says of itself.
fn describe_signed<'a>(
    sender: &'a str,
    scheme: &SignatureScheme,
    account: &str,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    if let Some(header) = scheme.account_header {
        let claimed = unverified.required_header(header)?;
        if !claimed.trim_end_matches('/').eq_ignore_ascii_case(account.trim_end_matches('/')) {
            return Err(Refusal::OtherShop);
        }
    }
    let by_body = || short_hash(unverified.body);
    let body = || json::parse_document(unverified.body).unwrap_or_default();
    let delivery_id = match scheme.delivery_id {
        DeliveryIdSource::Header(header) => unverified.required_header(header)?.to_owned(),
        DeliveryIdSource::HeaderAndBody(header) => format!("{}.{}", unverified.required_header(header)?, by_body()),
        DeliveryIdSource::Field(pointers) => find_id(unverified, pointers).unwrap_or_else(by_body),
        DeliveryIdSource::TextField(pointer) => {
            let id: Option<String> = body().at_pointer(pointer).deserialize_as();
            id.filter(|id| !id.is_empty()).unwrap_or_else(by_body)
        }
        DeliveryIdSource::Body => by_body(),
        DeliveryIdSource::Receipt => identify_by_receipt(sender, unverified, now).delivery_id,
    };
    let topic = scheme.topic_header.map(|header| unverified.required_header(header)).transpose()?.map(str::to_owned);
    let headers = select_headers(unverified, scheme.kept_headers)?;
    let verified = Verified { sender, delivery_id, topic, headers, body: unverified.body };
    Ok(if scheme.keeps_content_type { with_content_type(verified, unverified) } else { verified })
}

/// A header with Unix milliseconds: its text, and its value in seconds.
fn parse_millis_header(unverified: Unverified<'_>, timestamp: SignedTimestamp) -> Result<(&str, i64), Refusal> {
    let stamp = unverified.required_header(timestamp.header)?;
    let millis: i64 = stamp.parse().map_err(|_| Refusal::HeaderMalformed(timestamp.header))?;
    Ok((stamp, millis.div_euclid(1000)))
}

/// The headers of a scheme: id, timestamp, signature.
type SignatureHeaders = [&'static str; 3];

/// The headers of Standard Webhooks, and those of Svix, which signs in the same way.
///
/// Source: `svix-webhooks` and `standard-webhooks`, the libraries; docs.svix.com, "Verifying
/// payloads manually".
const STANDARD_HEADERS: SignatureHeaders = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const SVIX_HEADERS: SignatureHeaders = ["svix-id", "svix-timestamp", "svix-signature"];

/// The headers that a delivery uses: one complete set, never parts of both. A delivery may have
/// both sets if they say the same.
fn choose_signature_headers(unverified: Unverified<'_>) -> Result<SignatureHeaders, Refusal> {
    let count = |names: &SignatureHeaders| names.iter().filter(|name| unverified.headers.contains_key(**name)).count();
    match (count(&STANDARD_HEADERS), count(&SVIX_HEADERS)) {
        (3, 3) => {
            for (name, other) in STANDARD_HEADERS.into_iter().zip(SVIX_HEADERS) {
                if unverified.required_header(name)? != unverified.required_header(other)? {
                    return Err(Refusal::HeaderMalformed(other));
                }
            }
            Ok(STANDARD_HEADERS)
        }
        (3, _) => Ok(STANDARD_HEADERS),
        (0, 3) => Ok(SVIX_HEADERS),
        (0, 1..) => Err(first_missing(unverified, SVIX_HEADERS)),
        _ => Err(first_missing(unverified, STANDARD_HEADERS)),
    }
}

/// The first that is missing of the set that the sender began.
fn first_missing(unverified: Unverified<'_>, names: SignatureHeaders) -> Refusal {
    let missing = names.into_iter().find(|name| !unverified.headers.contains_key(*name));
    Refusal::HeaderMissing(missing.unwrap_or(names[0]))
}

/// Standard Webhooks: `v1,<base64>` over `{id}.{timestamp}.{body}`. One header holds several
/// signatures while a secret is rotated.
///
/// Source: the specification at github.com/standard-webhooks/standard-webhooks. Unlike the Rust
/// crate of that name (1.0.1), this function takes the time as an argument and refuses an empty
/// key.
pub(super) fn verify_standard_webhooks<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    let [id_header, stamp_header, signature_header] = choose_signature_headers(unverified)?;
    let id = unverified.required_header(id_header)?;
    let stamp = unverified.required_header(stamp_header)?;
    let signatures = unverified.required_header(signature_header)?;
    let signed_at: i64 = stamp.parse().map_err(|_| Refusal::HeaderMalformed(stamp_header))?;
    let encoded = secret.expose().strip_prefix("whsec_").unwrap_or(secret.expose());
    let key = BASE64.decode(encoded).map_err(|_| Refusal::SecretUnusable("`whsec_` and base64"))?;
    if key.len() < 16 {
        return Err(Refusal::SecretUnusable("at least 16 bytes in base64"));
    }
    let expected = sign_parts(&key, &[id.as_bytes(), b".", stamp.as_bytes(), b".", unverified.body]);
    let signatures = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    require_match(expected, signatures.filter_map(|signature| BASE64.decode(signature).ok()))?;
    require_fresh_timestamp(signed_at, TIMESTAMP_TOLERANCE_SECONDS, now)?;
    let delivery_id = id.to_owned();
    let verified = Verified { sender, delivery_id, topic: None, headers: BTreeMap::new(), body: unverified.body };
    Ok(with_content_type(verified, unverified))
}

/// A secret value in a header, for senders that cannot sign. It proves who sent the delivery, but
/// not that the delivery is unchanged.
pub(super) fn verify_static_header<'a>(
    sender: &'a str,
    header: &str,
    delivery_id: Option<&JsonPointer>,
    fallback_id: FallbackId,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    let given = unverified.headers.get(header).ok_or(Refusal::HeaderMissing("that carries the secret"))?;
    require_secret(given, secret)?;
    let from_header = unverified.optional_header("webhook-id")?.map(str::to_owned);
    let from_body = || {
        let document: serde_json::Value = serde_json::from_slice(unverified.body).ok()?;
        match delivery_id?.find_in(&document)? {
            serde_json::Value::String(id) if !id.is_empty() => Some(id.clone()),
            serde_json::Value::Number(id) => Some(id.to_string()),
            _ => None,
        }
    };
    let verified = match fallback_id {
        FallbackId::ByBody => identify_by_body(sender, unverified),
        FallbackId::ByReceipt => identify_by_receipt(sender, unverified, now),
        FallbackId::ByMinute => identify_by_minute(sender, unverified, now),
    };
    let verified = with_content_type(verified, unverified);
    Ok(match from_header.or_else(from_body) {
        Some(delivery_id) => Verified { delivery_id, ..verified },
        None => verified,
    })
}

/// Calendly: `t=<unix seconds>,v1=<hex>`, HMAC-SHA256 over `{t}.{body}`. Of several `v1` values one
/// must be right. There is no delivery id, so the body's hash is the id, as for Cal.com.
///
/// Source: developer.calendly.com, "Webhook signatures".
pub(super) fn verify_calendly<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    let header = unverified.required_header("calendly-webhook-signature")?;
    let malformed = || Refusal::HeaderMalformed("calendly-webhook-signature");
    let parts = |name: &'static str| {
        header.split(',').filter_map(move |part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let stamp = parts("t").next().ok_or_else(malformed)?;
    let signed_at: i64 = stamp.parse().map_err(|_| malformed())?;
    let signatures: Vec<Vec<u8>> = parts("v1").filter_map(decode_hex).collect();
    if signatures.is_empty() {
        return Err(malformed());
    }
    require_match(sign_parts(non_empty_key(secret.expose())?, &[stamp.as_bytes(), b".", unverified.body]), signatures)?;
    require_fresh_timestamp(signed_at, CALENDLY_TOLERANCE_SECONDS, now)?;
    Ok(identify_by_body(sender, unverified))
}

/// Google Calendar: the token that tellonce gave the channel, in a header. There is no body and no
/// signature. `None` for `sync`, which only reports that the channel is open.
///
/// Source: developers.google.com, "Push notifications" of the Calendar API.
pub(super) fn verify_google_channel<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Option<Verified<'a>>, Refusal> {
    require_secret(unverified.required_header("x-goog-channel-token")?, secret)?;
    if unverified.required_header("x-goog-resource-state")? == "sync" {
        return Ok(None);
    }
    let (channel, number) =
        (unverified.required_header("x-goog-channel-id")?, unverified.required_header("x-goog-message-number")?);
    Ok(Some(Verified {
        sender,
        delivery_id: format!("{channel}.{number}"),
        topic: None,
        headers: select_headers(unverified, &["x-goog-resource-state"])?,
        body: unverified.body,
    }))
}

/// Google Ads: the key that was typed when the form was created, in each body as `google_key`. It
/// proves who sent the delivery, but not that the delivery is unchanged. `lead_id` identifies the
/// lead and stays the same when the delivery is sent again.
///
/// Source: developers.google.com/google-ads/webhook, "Implementation".
pub(super) fn verify_google_ads<'a>(
    sender: &'a str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    let given: Option<String> =
        json::parse_document(unverified.body).ok().and_then(|body| body.at_pointer("/google_key").deserialize_as());
    require_secret(given.ok_or(Refusal::KeyMissing("google_key"))?, secret)?;
    let verified = with_content_type(identify_by_body(sender, unverified), unverified);
    Ok(match find_id(unverified, &["/lead_id"]) {
        Some(delivery_id) => Verified { delivery_id, ..verified },
        None => verified,
    })
}

/// A URL as HubSpot signs it. Percent-encoded characters of `DECODED` are decoded, and all others
/// stay as they are. The list comes from memory and from another implementation: see
/// `docs/senders.md`.
fn hubspot_signed_url(url: &str) -> String {
    const DECODED: &str = ":/?@!$'()*,;";
    let mut signed = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('%') {
        signed.push_str(before);
        let code = after.get(..2).and_then(decode_hex).and_then(|bytes| bytes.first().copied());
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

/// A secret value at the end of the address, for senders that support nothing else. It proves who
/// sent the delivery, but not that the delivery is unchanged. There is no delivery id.
pub(super) fn verify_secret_path<'a>(
    sender: &'a str,
    given: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Verified<'a>, Refusal> {
    require_path_secret(given, secret)?;
    Ok(with_content_type(identify_by_minute(sender, unverified, now), unverified))
}

/// An event of a line, with a secret value at the end of the address, because the provider signs
/// nothing. The headers name line, event and delivery. They prove nothing, so the address is
/// checked first.
pub(super) fn verify_line_event<'a>(
    sender: &'a str,
    line_id: &str,
    given: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    require_path_secret(given, secret)?;
    let names = &PROVIDER.facts().line_event_headers;
    let header = |name| unverified.required_header(name).map_err(|_| Refusal::LineHeaderMissing(name));
    let delivery_id = header(names.delivery_id)?.to_owned();
    let topic = header(names.event)?;
    if header(names.line_id)? != line_id {
        return Err(Refusal::OtherLine);
    }
    let mut headers = BTreeMap::new();
    if let Ok(Some(webhook)) = unverified.optional_header(names.webhook_id) {
        headers.insert(names.webhook_id, truncate_header(webhook));
    }
    Ok(Verified { sender, delivery_id, topic: Some(truncate_header(topic)), headers, body: unverified.body })
}

fn truncate_header(header: &str) -> String {
    header.chars().take(MAX_HEADER_BYTES).collect()
}

/// Checks that the value at the end of an address is the secret.
fn require_path_secret(given: &str, secret: &Secret) -> Result<(), Refusal> {
    require_secret(given, secret).map_err(|refusal| match refusal {
        Refusal::ProofMismatch => Refusal::WrongAddress,
        other => other,
    })
}

/// The text or number at the first of these places of the JSON that holds one.
fn find_id(unverified: Unverified<'_>, pointers: &[&str]) -> Option<String> {
    let body = json::parse_document(unverified.body).unwrap_or_default();
    pointers.iter().find_map(|pointer| body.at_pointer(pointer).owned_text())
}

/// Adds the sender's content type. A form may post several types, and a multipart body cannot be
/// read without the boundary that the type names.
fn with_content_type<'a>(mut verified: Verified<'a>, unverified: Unverified<'a>) -> Verified<'a> {
    let content_type = unverified.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(content_type) = content_type.filter(|said| said.len() <= MAX_HEADER_BYTES) {
        verified.headers.insert("content-type", content_type.to_owned());
    }
    verified
}

/// A delivery with the body's hash as its id.
fn identify_by_body<'a>(sender: &'a str, unverified: Unverified<'a>) -> Verified<'a> {
    let delivery_id = short_hash(unverified.body);
    Verified { sender, delivery_id, topic: None, headers: BTreeMap::new(), body: unverified.body }
}

/// A delivery with the body's hash and the receipt time as its id. The same bytes twice in one
/// millisecond are one delivery. That loses nothing, because the processing starts after both.
fn identify_by_receipt<'a>(sender: &'a str, unverified: Unverified<'a>, now: Timestamp) -> Verified<'a> {
    let verified = identify_by_body(sender, unverified);
    Verified { delivery_id: format!("{}.{}", verified.delivery_id, now.unix_millis()), ..verified }
}

/// A delivery with the body's hash and the minute of receipt as its id.
fn identify_by_minute<'a>(sender: &'a str, unverified: Unverified<'a>, now: Timestamp) -> Verified<'a> {
    let verified = identify_by_body(sender, unverified);
    Verified { delivery_id: format!("{}.{}", verified.delivery_id, now.as_second().div_euclid(60)), ..verified }
}

/// Checks that a given value is the secret.
pub(super) fn require_secret(given: impl AsRef<[u8]>, secret: &Secret) -> Result<(), Refusal> {
    require_match(non_empty_key(secret.expose())?, [given])
}

/// The bytes of a secret as a key.
fn non_empty_key(secret: &str) -> Result<&[u8], Refusal> {
    if secret.is_empty() { Err(Refusal::SecretUnusable("not empty")) } else { Ok(secret.as_bytes()) }
}

/// HMAC-SHA256 over the parts, one after the other.
fn sign_parts(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Checks that one of the given values is the expected value.
///
/// Compares authentication codes of the values in constant time. All codes have the same length, so
/// the time does not show the length of a secret. Any number of signatures costs one pass over the
/// body, which `sign_parts` makes.
fn require_match<T: AsRef<[u8]>>(
    expected: impl AsRef<[u8]>,
    given: impl IntoIterator<Item = T>,
) -> Result<(), Refusal> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"tellonce compares");
    let expected_tag = hmac::sign(&key, expected.as_ref());
    let found = given.into_iter().any(|given| hmac::verify(&key, given.as_ref(), expected_tag.as_ref()).is_ok());
    if found { Ok(()) } else { Err(Refusal::ProofMismatch) }
}

/// Checks that a signed timestamp is near enough to now. The caller checks the signature first, so
/// a forgery is reported as a forgery and not as a late delivery.
fn require_fresh_timestamp(signed_at: i64, tolerance: i64, now: Timestamp) -> Result<(), Refusal> {
    let seconds = now.as_second().saturating_sub(signed_at);
    if seconds.saturating_abs() > tolerance { Err(Refusal::TimestampOutOfRange { seconds, tolerance }) } else { Ok(()) }
}

/// Decodes hex in upper or lower case, because the bytes are compared and not the text.
fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// The headers of these names that are present and have at most [`MAX_HEADER_BYTES`].
fn select_headers(
    unverified: Unverified<'_>,
    names: &[&'static str],
) -> Result<BTreeMap<&'static str, String>, Refusal> {
    let mut selected = BTreeMap::new();
    for name in names {
        if let Some(value) = unverified.optional_header(name)?.filter(|value| value.len() <= MAX_HEADER_BYTES) {
            selected.insert(*name, value.to_owned());
        }
    }
    Ok(selected)
}

/// The first 16 bytes of a hash in hex, enough to tell deliveries apart.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    sha256_hex(bytes, 16)
}
