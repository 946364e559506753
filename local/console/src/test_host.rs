//! A host of fakes for tests without a stack, and what the receiver does with a sample.

use jiff::Timestamp;
use tellonce_core::{
    client_config::DeliveryProof,
    delivery::{Refusal, Unverified, VerificationOutcome, verify_delivery},
    secret::Secret,
};
use tellonce_fakes::FakeHost;
use tellonce_samples::{WebhookPost, build_header_map};

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
