//! One sender's route: webhook-receiver, with an inbox in memory.

use std::collections::BTreeMap;

use http::Method;
use jiff::Timestamp;
use serde_json::Value;
use tellonce_core::{
    client_config::ClientConfig,
    delivery::{Refusal, VerificationOutcome, Verified},
    inbox::build_item_id,
    secret::Secret,
};
use webhook_receiver::{ReceiveError, verify_request};

use super::{cases::RecordedDelivery, report::DeliveryPreview};

/// The route of one sender: verifies deliveries and files them, as webhook-receiver does.
pub(super) struct InboundRoute<'a> {
    pub(super) config: &'a ClientConfig,
    /// Store, calendar or form.
    pub(super) sender_name: &'a str,
    route: &'a str,
    secrets: Vec<Secret>,
    pub(super) lookups: Vec<(Vec<u8>, Value)>,
    /// Bodies by the delivery's id in the inbox.
    inbox: BTreeMap<String, Vec<Vec<u8>>>,
}

impl<'a> InboundRoute<'a> {
    pub(super) fn new(
        config: &'a ClientConfig,
        sender_name: &'a str,
        route: &'a str,
        secrets: Vec<Secret>,
        lookups: Vec<(Vec<u8>, Value)>,
    ) -> Self {
        Self { config, sender_name, route, secrets, lookups, inbox: BTreeMap::new() }
    }

    /// Returns the verified delivery with its id in the inbox. Returns the final preview if the
    /// delivery is refused, a ping or a duplicate.
    pub(super) fn accept_delivery(
        &mut self,
        case: &'a RecordedDelivery,
        now: Timestamp,
    ) -> Result<(Verified<'a>, String, DeliveryPreview), Box<DeliveryPreview>> {
        let shown = DeliveryPreview { case: case.name.clone(), status: 200, ..DeliveryPreview::default() };
        let verified =
            match verify_request(self.config, &Method::POST, self.route, &case.headers, &case.body, &self.secrets, now)
            {
                Ok(VerificationOutcome::Verified(verified)) => verified,
                Ok(VerificationOutcome::Ping) => {
                    return Err(Box::new(DeliveryPreview { skip_reason: Some("ping".to_owned()), ..shown }));
                }
                Err(reason) => {
                    let refused = Some(explain_refusal(&reason, case, now));
                    return Err(Box::new(DeliveryPreview { status: reason.http_status(), refused, ..shown }));
                }
            };
        let shown = DeliveryPreview { verified: true, delivery_id: Some(verified.delivery_id.clone()), ..shown };
        let id = build_item_id(verified.sender, &verified.delivery_id);
        // The same delivery id with another body is a new delivery.
        let bodies = self.inbox.entry(id.clone()).or_default();
        if bodies.iter().any(|body| body == verified.body) {
            let because = Some("duplicate: this delivery is already in the inbox".to_owned());
            return Err(Box::new(DeliveryPreview { duplicate: true, skip_reason: because, ..shown }));
        }
        bodies.push(verified.body.to_owned());
        Ok((verified, id, shown))
    }
}

/// The headers of a delivery as the inbox stores them.
pub(super) fn stored_headers(delivery: &Verified<'_>) -> BTreeMap<String, String> {
    delivery.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// Why a delivery was refused, with a hint if the recording is the likely cause.
fn explain_refusal(reason: &ReceiveError, case: &RecordedDelivery, now: Timestamp) -> String {
    let hint = match reason {
        ReceiveError::Refused(Refusal::TimestampOutOfRange { seconds, .. }) => {
            let signed_at = now.as_second().checked_sub(*seconds).and_then(|at| Timestamp::from_second(at).ok());
            signed_at.map(|at| format!("; it passes with --now {at}"))
        }
        ReceiveError::Refused(Refusal::ProofMismatch) if case.body.ends_with(b"\n") => {
            Some("; the body file ends with a line break that the signed body may not have".to_owned())
        }
        _ => None,
    };
    format!("{reason}{}", hint.unwrap_or_default())
}
