//! The parsers of the booking systems, one file each. Facts and sources: `docs/senders.md`.
//!
//! A parser is a pure function from a [`BookingDelivery`] to a
//! [`ParsedBooking`](crate::booking::ParsedBooking), or to the reason why there is none.
//! [`crate::booking_parser`] chooses among them.
//! `calendar_context` holds what the parsers share.

mod acuity;
mod calcom;
mod calendar_context;
mod calendly;
mod custom;
mod google;
mod square;

pub(crate) use self::{
    acuity::{complete_acuity_booking, parse_acuity},
    calcom::parse_calcom,
    calendar_context::{BookingDelivery, CalendarContext},
    calendly::parse_calendly,
    custom::parse_custom,
    google::parse_google_push,
    square::{complete_square_booking, parse_square},
};
