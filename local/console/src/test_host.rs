//! A host of fakes for tests without a stack, the demo client, and what the receiver does with a
//! sample.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use tellonce_core::{
    client_config::{ClientConfig, DeliveryProof},
    delivery::{Refusal, Unverified, VerificationOutcome, verify_delivery},
    secret::Secret,
};
use tellonce_fakes::FakeHost;
use tellonce_samples::{WebhookPost, build_header_map};

/// The `client.toml` of the demo client.
pub(crate) fn demo_config_text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/demo/client.toml");
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn demo_config() -> ClientConfig {
    ClientConfig::parse(&demo_config_text()).unwrap()
}

pub(crate) fn body_json(delivery: &WebhookPost) -> Value {
    serde_json::from_slice(&delivery.body).unwrap()
}

/// Verifies a sample as the receiver does. Returns its delivery id.
pub(crate) fn verify_post(
    post: &WebhookPost,
    proof: DeliveryProof<'_>,
    secret: Option<String>,
    now: Timestamp,
) -> Result<String, Refusal> {
    let headers = build_header_map(&post.headers);
    let unverified = Unverified { headers: &headers, body: &post.body };
    match verify_delivery(post.sender_name(), proof, &Secret::new(secret.unwrap()), unverified, now)? {
        VerificationOutcome::Verified(verified) => Ok(verified.delivery_id),
        VerificationOutcome::Ping => panic!("a sample is not a ping"),
    }
}

/// A host without secrets, with a clock that does not move.
#[derive(Debug)]
pub(crate) struct IdleHost;

impl FakeHost for IdleHost {
    fn now_ms(&self) -> i64 {
        0
    }

    fn secret_value(&self, _name: &str) -> Option<String> {
        None
    }
}
