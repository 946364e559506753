//! How each sender proves that a delivery is its own. Facts: `docs/senders.md`.

use std::{collections::BTreeMap, fmt::Write as _};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use ring::{digest, hmac};

use super::{Refusal, Unverified, Verified};
use crate::{client_config::JsonPointer, secret::Secret};

/// How far a signed timestamp may be from now, either way, in seconds. The Standard Webhooks libraries use the same.
pub(super) const TIMESTAMP_TOLERANCE_SECONDS: i64 = 300;

/// Shopify: base64 of HMAC-SHA256 over the raw body, keyed with the app's client secret as text.
///
/// `X-Shopify-Webhook-Id` identifies the delivery and stays the same when it is sent again; `X-Shopify-Event-Id` is
/// shared by topics and is not used. Source: shopify.dev, "Verify webhook deliveries", "Ignore duplicate webhooks".
pub(super) fn shopify<'a>(
    store: &'a str,
    shop_domain: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    let signature = unverified.header("x-shopify-hmac-sha256")?;
    verify_base64(secret.expose().as_bytes(), unverified.body, "x-shopify-hmac-sha256", signature)?;
    if !unverified.header("x-shopify-shop-domain")?.eq_ignore_ascii_case(shop_domain) {
        return Err(Refusal::OtherShop);
    }
    Ok(Verified {
        store,
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
    store: &'a str,
    source: &str,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    let signature = unverified.header("x-wc-webhook-signature")?;
    let key = html_escape::decode_html_entities(secret.expose());
    verify_base64(key.as_bytes(), unverified.body, "x-wc-webhook-signature", signature)?;
    let told = unverified.header("x-wc-webhook-source")?;
    if !told.trim_end_matches('/').eq_ignore_ascii_case(source.trim_end_matches('/')) {
        return Err(Refusal::OtherShop);
    }
    let id = unverified.header("x-wc-webhook-delivery-id")?;
    Ok(Verified {
        store,
        delivery_id: format!("{id}.{}", body_hash(unverified.body)),
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
    store: &'a str,
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
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut content = Vec::with_capacity(id.len() + stamp.len() + unverified.body.len() + 2);
    for part in [id.as_bytes(), b".", stamp.as_bytes(), b".", unverified.body] {
        content.extend_from_slice(part);
    }
    let holds = signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|signature| BASE64.decode(signature).ok())
        .any(|signature| hmac::verify(&key, &content, &signature).is_ok());
    if !holds {
        return Err(Refusal::Mismatch);
    }
    // After the signature: a forged timestamp is a forgery, not a slow network.
    let seconds = now.as_second().saturating_sub(signed_at);
    if seconds.abs() > TIMESTAMP_TOLERANCE_SECONDS {
        return Err(Refusal::Stale { seconds });
    }
    Ok(Verified { store, delivery_id: id.to_owned(), topic: None, headers: BTreeMap::new(), body: unverified.body })
}

/// A secret value in a header, for senders that cannot sign. Proves who sent it, not that nobody changed it.
pub(super) fn static_header<'a>(
    store: &'a str,
    header: &str,
    delivery_id: Option<&JsonPointer>,
    secret: &Secret,
    unverified: Unverified<'a>,
) -> Result<Verified<'a>, Refusal> {
    if secret.expose().is_empty() {
        return Err(Refusal::SecretUnusable("not empty"));
    }
    let given = unverified.headers.get(header).ok_or(Refusal::HeaderMissing("that carries this store's secret"))?;
    // Comparing two authentication codes takes the same time whatever and however long the given value is.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"tellonce static header");
    let expected = hmac::sign(&key, secret.expose().as_bytes());
    hmac::verify(&key, given.as_bytes(), expected.as_ref()).map_err(|_| Refusal::Mismatch)?;
    let from_header = unverified.optional("webhook-id")?.map(str::to_owned);
    let delivery_id = from_header
        .or_else(|| {
            let document: serde_json::Value = serde_json::from_slice(unverified.body).ok()?;
            match delivery_id?.of(&document)? {
                serde_json::Value::String(id) if !id.is_empty() => Some(id.clone()),
                serde_json::Value::Number(id) => Some(id.to_string()),
                _ => None,
            }
        })
        .unwrap_or_else(|| body_hash(unverified.body));
    Ok(Verified { store, delivery_id, topic: None, headers: BTreeMap::new(), body: unverified.body })
}

fn verify_base64(key: &[u8], body: &[u8], header: &'static str, signature: &str) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(Refusal::SecretUnusable("not empty"));
    }
    let signature = BASE64.decode(signature).map_err(|_| Refusal::HeaderMalformed(header))?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), body, &signature).map_err(|_| Refusal::Mismatch)
}

/// The headers of these names that are there and are short text.
fn keep(unverified: Unverified<'_>, names: &[&'static str]) -> Result<BTreeMap<&'static str, String>, Refusal> {
    let mut kept = BTreeMap::new();
    for name in names {
        if let Some(value) = unverified.optional(name)?.filter(|value| value.len() <= 256) {
            kept.insert(*name, value.to_owned());
        }
    }
    Ok(kept)
}

/// The first half of the body's SHA-256, in hex: enough to tell deliveries of one second apart.
fn body_hash(body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    hash.as_ref().iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
        // Writing to a string cannot fail.
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    })
}
