//! Posts signed as Standard Webhooks specifies, for CRMs and targets with an address of the client.
//!
//! The destination recognises a repeat by `webhook-id`, which is the same for each attempt.
//! Source: github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use ring::hmac;
use tellonce_core::secret::Secret;

use crate::api_client::{ApiClient, ApiError, INVALID_URL, address_guard};

/// The shortest signing key, in bytes: the same that webhook-receiver requires of senders.
const MIN_KEY_BYTES: usize = 16;

/// Posts a JSON body, signed with each secret in `secret`. Spaces separate them: there are two
/// while one is rotated. The URL must be https and lead into the public internet; a base URL for
/// local runs and tests may be anywhere.
///
/// `id` is the event's id: the same for each attempt, visible ASCII, without a dot. Redirects are
/// not followed. A 410 means that the destination is closed for good, and is [`ApiError::Refused`].
/// After every other non-2xx status the standard asks to retry.
pub(crate) async fn post_signed(
    api_client: &ApiClient<'_>,
    url: &str,
    id: &str,
    secret: &Secret,
    body: &[u8],
    now: Timestamp,
) -> Result<(), ApiError> {
    let stamp = now.as_second().to_string();
    let signature = build_signatures(secret, id, &stamp, body).ok_or_else(|| ApiError::MalformedSecret {
        secret: api_client.secret_name.to_owned(),
        expected: "`whsec_` and at least 16 bytes in base64, once or more with spaces between",
    })?;
    let url = Url::parse(url).map_err(|_| ApiError::AddressNotAllowed(INVALID_URL))?;
    let request = match api_client.base_url {
        Some(_) => api_client.http.post(api_client.redirect_to_base_url(url)?),
        None => address_guard::public_client()?.post(address_guard::check_url(url)?),
    };
    let request = request
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", stamp)
        .header("webhook-signature", signature)
        .body(body.to_vec());
    let response = api_client.send_with_fallback(request, |status, _| {
        Err(match (status.as_u16(), api_client.error_for_status(status)) {
            (status @ 410, _) => ApiError::Refused { status, code: Some("gone".to_owned()) },
            (300..=399, _) => ApiError::AddressNotAllowed("it redirects"),
            (_, ApiError::Refused { status, .. }) => ApiError::ServerError { status },
            // A receiver that is deployed wrongly comes back.
            (_, ApiError::Gone) => ApiError::ServerError { status: StatusCode::NOT_FOUND.as_u16() },
            (_, error) => error,
        })
    });
    response.await.map(drop).map_err(address_guard::map_resolver_error)
}

/// The signatures with each secret, for one header. None if a secret is unusable.
pub(crate) fn build_signatures(secrets: &Secret, id: &str, stamp: &str, body: &[u8]) -> Option<String> {
    let mut signatures = Vec::new();
    for secret in secrets.expose().split_whitespace() {
        let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?;
        if key.len() < MIN_KEY_BYTES {
            return None;
        }
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
        for part in [id.as_bytes(), b".", stamp.as_bytes(), b".", body] {
            context.update(part);
        }
        signatures.push(format!("v1,{}", BASE64.encode(context.sign())));
    }
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNING_SECRET: &str = "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=";

    #[test]
    fn a_signature_matches_the_one_openssl_computes() {
        // printf 'msg_1.1795082400.{"type":"conversation.message"}' | openssl dgst -sha256 -hmac
        // standard-webhooks-test-secret-01 -binary | base64
        let signature = build_signatures(
            &Secret::new(SIGNING_SECRET),
            "msg_1",
            "1795082400",
            br#"{"type":"conversation.message"}"#,
        );
        assert_eq!(signature.as_deref(), Some("v1,LWjYBd1EJjXVJjQTbf/zEaiAksUSLeqY/7fEc9sz/Bw="));
    }
}
