//! Proves a post as its sender would. `docs/senders.md` has the source of each scheme.

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};

use crate::WebhookPost;

/// How a sender proves a post, with what the proof names besides the secret.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are named as in the senders' documentation")]
pub enum SenderProof<'a> {
    Shopify { shop_domain: &'a str, webhook_id: &'a str },
    WooCommerce { source: &'a str, delivery_id: &'a str },
    StandardWebhooks { id: &'a str, at: Timestamp },
    Svix { id: &'a str, at: Timestamp },
    StaticHeader { header: &'a str },
    SecretPath,
    CalCom,
    Calendly { at: Timestamp },
    Acuity,
    Square { notification_url: &'a str },
    GoogleChannel,
    Typeform,
    GoogleAds,
    Meta,
    Webflow { at: Timestamp },
    Tally,
    HubSpot { notification_url: &'a str, at: Timestamp },
    Line { line_id: &'a str, event: &'a str, delivery_id: &'a str },
}

impl WebhookPost {
    /// The same post with its proof: in headers, for some senders in the path or in the body.
    ///
    /// # Errors
    ///
    /// If the secret does not have the form that the scheme requires, or if the body of Google Ads
    /// is not JSON.
    pub fn sign(mut self, proof: SenderProof<'_>, secret: &str) -> anyhow::Result<Self> {
        let body = &self.body;
        let headers: Vec<(&str, String)> = match proof {
            SenderProof::Shopify { shop_domain, webhook_id } => vec![
                ("X-Shopify-Shop-Domain", shop_domain.to_owned()),
                ("X-Shopify-Webhook-Id", webhook_id.to_owned()),
                ("X-Shopify-Hmac-Sha256", sign_base64(secret, body)),
            ],
            SenderProof::WooCommerce { source, delivery_id } => vec![
                ("X-WC-Webhook-Source", source.to_owned()),
                ("X-WC-Webhook-Delivery-ID", delivery_id.to_owned()),
                ("X-WC-Webhook-Signature", sign_base64(secret, body)),
            ],
            SenderProof::StandardWebhooks { id, at } => vec![
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", at.as_second().to_string()),
                ("webhook-signature", sign_standard_webhooks(secret, id, at.as_second(), body)?),
            ],
            SenderProof::Svix { id, at } => vec![
                ("svix-id", id.to_owned()),
                ("svix-timestamp", at.as_second().to_string()),
                ("svix-signature", sign_standard_webhooks(secret, id, at.as_second(), body)?),
            ],
            SenderProof::StaticHeader { header } => vec![(header, secret.to_owned())],
            SenderProof::SecretPath => {
                self.path = format!("{}/{secret}", self.path);
                Vec::new()
            }
            SenderProof::CalCom => vec![("X-Cal-Signature-256", sign_hex(secret, body))],
            SenderProof::Calendly { at } => {
                let seconds = at.as_second();
                let signature = sign_hex(secret, [format!("{seconds}.").as_bytes(), body].concat());
                vec![("Calendly-Webhook-Signature", format!("t={seconds},v1={signature}"))]
            }
            SenderProof::Acuity => vec![("X-Acuity-Signature", sign_base64(secret, body))],
            SenderProof::Square { notification_url } => {
                let signature = sign_base64(secret, [notification_url.as_bytes(), body].concat());
                vec![("x-square-hmacsha256-signature", signature)]
            }
            SenderProof::GoogleChannel => vec![("X-Goog-Channel-Token", secret.to_owned())],
            SenderProof::Typeform => vec![("Typeform-Signature", format!("sha256={}", sign_base64(secret, body)))],
            SenderProof::GoogleAds => {
                let mut lead: Value = serde_json::from_slice(body).context("the body of a lead is not JSON")?;
                lead["google_key"] = json!(secret);
                self.body = lead.to_string().into_bytes();
                Vec::new()
            }
            SenderProof::Meta => vec![("X-Hub-Signature-256", format!("sha256={}", sign_hex(secret, body)))],
            SenderProof::Webflow { at } => {
                let millis = at.as_millisecond().to_string();
                let signature = sign_hex(secret, [millis.as_bytes(), b":", body].concat());
                vec![("x-webflow-timestamp", millis), ("x-webflow-signature", signature)]
            }
            SenderProof::Tally => vec![("Tally-Signature", sign_base64(secret, body))],
            SenderProof::HubSpot { notification_url, at } => {
                let millis = at.as_millisecond().to_string();
                let signed = [b"POST", notification_url.as_bytes(), body, millis.as_bytes()].concat();
                let signature = sign_base64(secret, signed);
                vec![("X-HubSpot-Request-Timestamp", millis), ("X-HubSpot-Signature-v3", signature)]
            }
            SenderProof::Line { line_id, event, delivery_id } => {
                self.path = format!("{}/{secret}", self.path);
                vec![
                    ("X-EZW-Delivery-Id", delivery_id.to_owned()),
                    ("X-EZW-Webhook-Event", event.to_owned()),
                    ("X-EZW-Line-Id", line_id.to_owned()),
                ]
            }
        };
        Ok(headers.into_iter().fold(self, |post, (name, value)| post.with_header(name, Some(&value))))
    }
}

/// HMAC-SHA256 in base64.
pub fn sign_base64(key: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> String {
    BASE64.encode(compute_hmac(key.as_ref(), content.as_ref()))
}

/// HMAC-SHA256 in lower-case hex.
pub fn sign_hex(key: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> String {
    encode_hex(compute_hmac(key.as_ref(), content.as_ref()).as_ref())
}

/// `v1,…` of Standard Webhooks:
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
///
/// # Errors
///
/// If the secret is not base64 after `whsec_`.
pub fn sign_standard_webhooks(secret: &str, id: &str, seconds: i64, body: &[u8]) -> anyhow::Result<String> {
    let key = BASE64
        .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
        .context("the secret of a Standard Webhooks sender must be base64 after `whsec_`")?;
    Ok(format!("v1,{}", sign_base64(key, [format!("{id}.{seconds}.").as_bytes(), body].concat())))
}

fn compute_hmac(key: &[u8], content: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), content)
}

pub(crate) fn encode_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SampleDelivery, read_sample_json, sample_deliveries};

    /// The proof of a recorded delivery, with what its headers name.
    fn recorded_proof<'a>(sample: &'a SampleDelivery, post: &'a WebhookPost) -> Option<SenderProof<'a>> {
        let header = |name: &str| post.header(name).unwrap();
        let seconds = |text: &str| Timestamp::from_second(text.parse().unwrap()).unwrap();
        let millis = |name: &str| Timestamp::from_millisecond(header(name).parse().unwrap()).unwrap();
        let auth = |name: &str| sample.auth[name].as_str().unwrap();
        Some(match auth("scheme") {
            "shopify-hmac" => SenderProof::Shopify {
                shop_domain: header("x-shopify-shop-domain"),
                webhook_id: header("x-shopify-webhook-id"),
            },
            "woocommerce-hmac" => SenderProof::WooCommerce {
                source: header("x-wc-webhook-source"),
                delivery_id: header("x-wc-webhook-delivery-id"),
            },
            "standard-webhooks-v1" => {
                SenderProof::StandardWebhooks { id: header("webhook-id"), at: seconds(header("webhook-timestamp")) }
            }
            "svix" => SenderProof::Svix { id: header("svix-id"), at: seconds(header("svix-timestamp")) },
            "static-header" => SenderProof::StaticHeader { header: auth("header") },
            "calcom" => SenderProof::CalCom,
            "calendly" => {
                let stamp = header("calendly-webhook-signature").split_once(',').unwrap().0;
                SenderProof::Calendly { at: seconds(stamp.strip_prefix("t=").unwrap()) }
            }
            "acuity" => SenderProof::Acuity,
            "square" => SenderProof::Square { notification_url: auth("url") },
            "google-channel-token" => SenderProof::GoogleChannel,
            "typeform" => SenderProof::Typeform,
            "google-key-in-body" => SenderProof::GoogleAds,
            "meta-hub-256" => SenderProof::Meta,
            "webflow" => SenderProof::Webflow { at: millis("x-webflow-timestamp") },
            "tally" => SenderProof::Tally,
            "hubspot-v3" => {
                SenderProof::HubSpot { notification_url: auth("uri"), at: millis("x-hubspot-request-timestamp") }
            }
            "none" => return None,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_recorded_delivery_signed_again_has_its_recorded_proof() {
        let mut checked = 0;
        for folder in [
            "stores/shopify",
            "stores/woocommerce",
            "stores/standardwebhooks",
            "stores/static_header",
            "bookings/calcom",
            "bookings/calendly",
            "bookings/acuity",
            "bookings/square",
            "bookings/google_calendar",
            "bookings/standardwebhooks",
            "bookings/static_header",
            "leads/typeform",
            "leads/google_ads",
            "leads/meta",
            "leads/webflow",
            "leads/tally",
            "leads/hubspot",
            "leads/wordpress",
            "leads/web",
            "unusual/shopify",
            "unusual/woocommerce",
            "unusual/hubspot",
            "unusual/svix",
        ] {
            for sample in sample_deliveries(folder).into_iter().filter(|sample| sample.facts["verify"] == true) {
                let (path, headers) = (String::new(), sample.headers.clone());
                let post = WebhookPost { path, headers, body: sample.body.clone() };
                let Some(proof) = recorded_proof(&sample, &post) else { continue };
                let signed = post.clone().sign(proof, sample.auth["secret"].as_str().unwrap()).unwrap();
                let name = sample.full_name();
                assert_eq!(signed.headers.len(), post.headers.len(), "{name}");
                for ((header, value), (_, recorded)) in signed.headers.iter().zip(&post.headers) {
                    // While a secret is rotated, one of several signatures is ours.
                    assert!(recorded.split(' ').any(|one| one == value) || recorded == value, "{name}: {header}");
                }
                let json = |body: &[u8]| serde_json::from_slice::<Value>(body).ok();
                assert_eq!(json(&signed.body), json(&post.body), "{name}");
                checked += 1;
            }
        }
        assert!(checked >= 50, "{checked} deliveries");
    }

    #[test]
    fn our_signatures_match_the_standard_webhooks_vectors() {
        let vectors = read_sample_json("stores/standardwebhooks/official_vectors.json");
        for vector in vectors["vectors"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap();
            let seconds = vector["timestamp"].as_i64().unwrap();
            let made = sign_standard_webhooks(text("secret"), text("id"), seconds, text("payload").as_bytes());
            assert_eq!(made.unwrap(), text("signature"));
        }
    }

    #[test]
    fn a_secret_address_ends_in_the_secret() {
        let post = WebhookPost::new("/leads/jotform", "application/json", "{}");
        assert_eq!(post.clone().sign(SenderProof::SecretPath, "s").unwrap().path, "/leads/jotform/s");
        let proof = SenderProof::Line { line_id: "line_a", event: "messages.post", delivery_id: "d-1" };
        let event = post.sign(proof, "s").unwrap();
        assert_eq!((event.path.as_str(), event.header("x-ezw-line-id")), ("/leads/jotform/s", Some("line_a")));
    }
}
