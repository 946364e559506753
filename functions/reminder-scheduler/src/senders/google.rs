//! Google Calendar: a push notification without a body. It reports only that the calendar changed.

use tellonce_core::inbox;

use super::calendar_context::BookingDelivery;
use crate::{booking::ParsedBooking, booking_outcome::BookingSkipReason};

/// Parses a push notification. The first one of a channel (`sync`) only tests the address.
pub(crate) fn parse_google_push(delivery: &BookingDelivery<'_>) -> Result<ParsedBooking, BookingSkipReason> {
    match inbox::find_header(delivery.headers, "x-goog-resource-state") {
        Some("sync") => Err(BookingSkipReason::Ping),
        _ => Ok(ParsedBooking::SyncFeed),
    }
}
