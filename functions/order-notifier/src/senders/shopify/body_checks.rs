//! Checks of signed bodies against the topic and the time of their delivery, which are not signed.

use jiff::SignedDuration;
use tellonce_core::json::RawJson;

use crate::{order_event::OrderDelivery, order_outcome::OrderSkipReason};

/// The greatest age of a signed body when it arrives. Shopify repeats a failed delivery for 4
/// hours, formerly for 48, and warns that a delivery may be a day late. An older body is a copy.
const MAX_BODY_AGE: SignedDuration = SignedDuration::from_hours(3 * 24);

/// Requires that the newest of the times in a signed body is at most [`MAX_BODY_AGE`] old. A body
/// without a time cannot be checked. Then the first of the members counts as missing.
pub(super) fn check_signed_time<const N: usize>(
    delivery: &OrderDelivery<'_>,
    times: [(&'static str, RawJson<'_>); N],
) -> Result<(), OrderSkipReason> {
    let newest = times.iter().filter_map(|(_, time)| time.as_time()).max();
    match newest {
        Some(at) if delivery.received_at.duration_since(at) > MAX_BODY_AGE => Err(OrderSkipReason::BodyTooOld(at)),
        Some(_) => Ok(()),
        None => Err(OrderSkipReason::TopicContradictsBody(times.first().map_or("updated_at", |(name, _)| name))),
    }
}

/// Requires that a signed body lacks the members that only bodies of other topics have.
pub(super) fn check_absent<const N: usize>(members: [(&'static str, RawJson<'_>); N]) -> Result<(), OrderSkipReason> {
    match members.into_iter().find(|(_, value)| value.is_present()) {
        Some((name, _)) => Err(OrderSkipReason::TopicContradictsBody(name)),
        None => Ok(()),
    }
}
