//! The choice among the senders' parsers: [`parse_booking`] turns a verified delivery into a
//! [`ParsedBooking`].
//!
//! It is a pure function of the delivery and the client's configuration. It never fails and never
//! panics. A body that cannot be understood gives [`SkipReason::NotUnderstood`], so the delivery is
//! recorded with its reason and does not block the ones behind it. [`crate::lookup`] requests what
//! a delivery leaves out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tellonce_core::client_config::{CalendarConfig, CalendarKind, ClientConfig};

pub use crate::parsed_booking::{Booking, BookingEventKind, LookupRequest, ParsedBooking, SkipReason};
use crate::senders::{
    BookingDelivery, CalendarContext, parse_acuity, parse_calcom, parse_calendly, parse_custom, parse_google_push,
    parse_square,
};

/// Parses a verified delivery of a calendar. `headers` are those that the inbox stored, and
/// `received_at` is when the delivery was accepted.
pub fn parse_booking(
    calendar: &CalendarConfig,
    config: &ClientConfig,
    headers: &BTreeMap<String, String>,
    body: &[u8],
    received_at: Timestamp,
) -> ParsedBooking {
    let delivery = BookingDelivery { context: CalendarContext { calendar, config }, headers, body, received_at };
    let parsed = match &calendar.kind {
        CalendarKind::CalCom => parse_calcom(&delivery),
        CalendarKind::Calendly { phone_question } => parse_calendly(&delivery, phone_question.as_deref()),
        CalendarKind::Acuity { .. } => parse_acuity(&delivery),
        CalendarKind::Square { .. } => parse_square(&delivery),
        CalendarKind::Custom { fields, statuses, .. } => parse_custom(&delivery, fields, statuses),
        CalendarKind::Ics(_) => parse_google_push(&delivery),
    };
    parsed.unwrap_or_else(ParsedBooking::Skipped)
}
