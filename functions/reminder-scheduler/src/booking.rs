//! What a booking system reported, in our own words: [`CrmBooking`], and why some deliveries are none.
//!
//! [`read`] turns a verified delivery into a [`ParsedBooking`]. It is a pure function of the delivery and the client's
//! configuration; it never fails and never panics. A body that cannot be understood is a reading too
//! ([`SkipReason::NotUnderstood`]), so that it is recorded with its reason instead of blocking those behind it. What a
//! delivery leaves out is asked for: [`crate::read_back`].
//!
//! Promised: an appointment that takes place, or may, has a start; what ends one may leave it out. Not promised: that it
//! is news, or newer than what is known; [`tellonce_core::build_appointment::Appointment::apply_report`] decides that.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tellonce_core::{
    appointment::{Appointment, AppointmentDetails, AppointmentReport, AppointmentStatus},
    client_config::{CalendarConfig, CalendarKind, ClientConfig},
    contact::PhoneError,
    json::JsonError,
    ledger::IdempotencyKey,
    telemetry::LogLabel,
};

use crate::senders::{self, BookingDelivery, CalendarContext};

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedBooking {
    /// What became of appointments, in the order to be taken: an id that another takes the place of comes first.
    Bookings(Vec<Booking>),
    /// Something happened to an appointment, and the delivery leaves out what we need of it.
    NeedsLookup(LookupRequest),
    /// Something happened in the calendar, and the feed says what: it is to be asked for now.
    SyncFeed,
    /// Nothing to learn.
    Skipped(SkipReason),
}

/// What is said of one appointment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// What happened, for people.
    pub kind: BookingEventKind,
    /// The appointment's id in its book, opaque.
    pub id: String,
    /// Whether it takes place.
    pub status: AppointmentStatus,
    /// When, where and with whom. Always there unless it ended.
    pub details: Option<AppointmentDetails>,
    /// When this became a fact, by the sender's account. Never more than ten minutes after the delivery was received.
    pub occurred_at: Timestamp,
    /// The id that it goes on from.
    pub previous_id: Option<String>,
    /// Why nobody in `build_details` can be written to; `build_details.attendees` is empty then.
    pub unreachable_reason: Option<SkipReason>,
}

impl Booking {
    /// An id under which nothing takes place any more, because the appointment goes on under another.
    pub(crate) fn new_moved_away(id: String, occurred_at: Timestamp) -> Self {
        Self {
            kind: BookingEventKind::MovedAway,
            id,
            status: AppointmentStatus::Moved,
            details: None,
            occurred_at,
            previous_id: None,
            unreachable_reason: None,
        }
    }
}

impl Booking {
    /// As a report for what is known. `property_name` is the calendar's; `delivery` the delivery's key in the inbox; `previous` what
    /// is known under [`Self::previous_id`].
    pub fn to_report(
        &self,
        name: &str,
        calendar: &CalendarConfig,
        delivery: &str,
        continues: Option<Appointment>,
    ) -> AppointmentReport {
        AppointmentReport {
            subject: IdempotencyKey::appointment_subject(calendar.id_scope(), &self.id),
            calendar: name.to_owned(),
            line: calendar.line.clone(),
            status: self.status,
            details: self.details.clone(),
            attendees_unchanged: self.unreachable_reason.as_ref().is_some_and(SkipReason::preserves_known_attendees),
            as_of: self.occurred_at,
            delivery: delivery.to_owned(),
            previous: continues.map(Box::new),
        }
    }
}

/// What happened to an appointment, in the sender's view. Decides nothing: [`CrmBooking::standing`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookingEventKind {
    /// It is booked or asked for.
    Created,
    /// It has another time than before.
    Rescheduled,
    /// It was cancelled, declined or refused.
    Cancelled,
    /// It goes on under another id: the old half of a move.
    MovedAway,
    /// Something about it changed.
    Changed,
}

impl BookingEventKind {
    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "appointment.created",
            Self::Rescheduled => "appointment.rescheduled",
            Self::Cancelled => "appointment.cancelled",
            Self::MovedAway => "appointment.moved-away",
            Self::Changed => "appointment.changed",
        }
    }
}

/// What has to be asked for: see [`crate::read_back`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupRequest {
    /// An appointment of Acuity's.
    Acuity {
        /// Its id.
        appointment_id: String,
        /// What the delivery calls it.
        kind: BookingEventKind,
    },
    /// The customer of an appointment of Square's.
    Square {
        /// The appointment; nobody takes part in it yet.
        booking: Box<Booking>,
        /// The customer's id.
        customer_id: String,
    },
}

impl LookupRequest {
    /// What the delivery says by itself, when nobody can be asked: that it was cancelled, or its new time. `stage` is
    /// why; `received_at` is when the delivery was accepted.
    pub fn booking_without_lookup(&self, reason: SkipReason, received_at: Timestamp) -> Option<Booking> {
        match self {
            Self::Acuity { appointment_id, kind: BookingEventKind::Cancelled } => Some(Booking {
                kind: BookingEventKind::Cancelled,
                id: appointment_id.clone(),
                status: AppointmentStatus::Cancelled,
                details: None,
                occurred_at: received_at,
                previous_id: None,
                unreachable_reason: None,
            }),
            Self::Acuity { .. } => None,
            Self::Square { booking, .. } => {
                Some(Booking { unreachable_reason: Some(reason), ..booking.as_ref().clone() })
            }
        }
    }
}

/// Why a delivery is no appointment to be reminded of. [`Self::code`] is what is recorded; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The sender tries the line.
    #[error("a ping")]
    Ping,
    /// Deliveries of this kind are of no use to us.
    #[error("deliveries of event `{0}` don't say when an appointment is, or that it ended")]
    UnknownEvent(LogLabel),
    /// A status that we, or for a custom sender the client's configuration, don't know.
    #[error("status `{0}` is neither booked, unconfirmed nor cancelled for this calendar")]
    StatusNotMapped(LogLabel),
    /// Not of the shape that this sender documents. Holds where, never what.
    #[error("not understood: {0}")]
    NotUnderstood(JsonError),
    /// The customer left no number.
    #[error("the appointment has no phone number")]
    NoPhone,
    /// The customer's number can't be messaged.
    #[error("the appointment's phone number can't be used: {0}")]
    PhoneUnusable(PhoneError),
    /// This sender leaves the number out of a move although the customer gave one. Whoever is known to take part, under
    /// this id or the previous one, still does.
    #[error("the move doesn't repeat the phone number; the one known from before counts")]
    PhoneNotRepeated,
    /// The rest has to be asked for, and there is no credential for the booking system's API.
    #[error("there is no credential for the booking system's API to ask for the rest with")]
    LookupNotConfigured,
    /// The rest was asked for, and the answer is of no use.
    #[error("the booking system could not be asked for the rest; whoever is known to take part still does")]
    LookupFailed,
    /// The booking system doesn't know the appointment's customer any more.
    #[error("the booking system shows no such customer")]
    CustomerNotFound,
}

impl SkipReason {
    /// A stable name for records and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::UnknownEvent(_) => "unknown-event",
            Self::StatusNotMapped(_) => "status-not-mapped",
            Self::NotUnderstood(_) => "not-understood",
            Self::NoPhone => "no-phone",
            Self::PhoneUnusable(_) => "phone-unusable",
            Self::PhoneNotRepeated => "phone-not-repeated",
            Self::LookupNotConfigured => "lookup-not-configured",
            Self::LookupFailed => "lookup-failed",
            Self::CustomerNotFound => "customer-not-found",
        }
    }

    /// Whether a human should look: the sender says something that we can't use, as opposed to nothing of interest.
    pub const fn needs_attention(&self) -> bool {
        match self {
            Self::NotUnderstood(_) | Self::LookupNotConfigured | Self::LookupFailed => true,
            Self::Ping
            | Self::UnknownEvent(_)
            | Self::StatusNotMapped(_)
            | Self::NoPhone
            | Self::PhoneUnusable(_)
            | Self::PhoneNotRepeated
            | Self::CustomerNotFound => false,
        }
    }

    /// Whether this leaves open who takes part, so that whoever is known to still does.
    pub const fn preserves_known_attendees(&self) -> bool {
        matches!(self, Self::PhoneNotRepeated | Self::LookupNotConfigured | Self::LookupFailed)
    }

    /// Nothing usable where a fact must stand.
    pub(crate) fn missing_field(pointer: &str) -> Self {
        Self::NotUnderstood(JsonError::Missing(pointer.into()))
    }
}

/// Reads a verified delivery of `calendar_ics`. `headers` are what the inbox kept of it; `received_at` is when it was accepted.
pub fn parse_booking(
    calendar: &CalendarConfig,
    config: &ClientConfig,
    headers: &BTreeMap<String, String>,
    body: &[u8],
    received_at: Timestamp,
) -> ParsedBooking {
    let delivery = BookingDelivery { context: CalendarContext { calendar, config }, headers, body, received_at };
    let parsed = match &calendar.kind {
        CalendarKind::CalCom => senders::calcom(&delivery),
        CalendarKind::Calendly { phone_question } => senders::calendly(&delivery, phone_question.as_deref()),
        CalendarKind::Acuity { .. } => senders::acuity(&delivery),
        CalendarKind::Square { .. } => senders::square(&delivery),
        CalendarKind::Custom { fields, statuses, .. } => senders::custom(&delivery, fields, statuses),
        CalendarKind::Ics(_) => senders::parse_google_push(&delivery),
    };
    parsed.unwrap_or_else(ParsedBooking::Skipped)
}
