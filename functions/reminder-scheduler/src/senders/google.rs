//! Google Calendar: a push notification without a body. It reports only that the calendar changed.

use super::calendar_context::BookingDelivery;
use crate::{booking::ParsedBooking, booking_outcome::BookingSkipReason};

/// Parses a push notification. The first one of a channel (`sync`) only tests the address.
pub(crate) fn parse_google_push(delivery: &BookingDelivery<'_>) -> Result<ParsedBooking, BookingSkipReason> {
    let state = delivery.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-goog-resource-state"));
    match state {
        Some((_, state)) if state == "sync" => Err(BookingSkipReason::Ping),
        _ => Ok(ParsedBooking::SyncFeed),
    }
}
