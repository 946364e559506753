//! What a delivery of a booking system reports.
//!
//! Main types: [`ParsedBooking`], [`Booking`], [`LookupRequest`]. The parsers of the senders
//! produce them, so this file knows no parser.
//!
//! Promise: an appointment that takes place, or may take place, has a start. An ended one may leave
//! it out.
//!
//! Not promised: that a report is new or newer than what is known.
//! [`tellonce_core::appointment::Appointment::apply_report`] decides that.

use jiff::Timestamp;
use tellonce_core::{
    appointment::{Appointment, AppointmentDetails, AppointmentReport, AppointmentStatus, LeftOutAttendees},
    client_config::CalendarConfig,
    ledger::IdempotencyKey,
};

use crate::booking_outcome::BookingSkipReason;

/// The content of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedBooking {
    /// Reports about appointments, in the order in which they must be applied: an id that another
    /// id replaces comes first.
    Bookings(Vec<Booking>),
    /// An appointment changed, and the delivery leaves out required facts.
    NeedsLookup(LookupRequest),
    /// The calendar changed. Its feed contains the change and must be read now.
    SyncFeed,
    /// The delivery reports nothing.
    Skipped(BookingSkipReason),
}

/// What a delivery reports about one appointment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// What happened, for people.
    pub kind: BookingEventKind,
    /// The appointment's id within its `id_scope`, opaque.
    pub id: String,
    /// Whether the appointment takes place.
    pub status: AppointmentStatus,
    /// Time, place and attendees. Missing only if the appointment ended.
    pub details: Option<AppointmentDetails>,
    /// When this became a fact, according to the sender. At most ten minutes after the delivery was
    /// received.
    pub occurred_at: Timestamp,
    /// The id that this appointment replaces.
    pub previous_id: Option<String>,
    /// Why no attendee can be messaged. If it is set, `details.attendees` is empty.
    pub unreachable_reason: Option<BookingSkipReason>,
    /// What becomes of known attendees that `details` leave out.
    pub left_out: LeftOutAttendees,
}

impl Booking {
    /// The report about [`Self::previous_id`]. That id no longer takes place, because the
    /// appointment continues under this one.
    pub(crate) fn moved_away_previous(&self) -> Option<Self> {
        self.previous_id.clone().map(|id| Self {
            kind: BookingEventKind::MovedAway,
            id,
            status: AppointmentStatus::Moved,
            details: None,
            occurred_at: self.occurred_at,
            previous_id: None,
            unreachable_reason: None,
            left_out: LeftOutAttendees::Leave,
        })
    }

    /// Converts the booking to a report for the appointment header.
    ///
    /// `name` is the calendar's name and `delivery` the delivery's key in the inbox. `previous` is
    /// the header of [`Self::previous_id`].
    pub fn to_report(
        &self,
        name: &str,
        calendar: &CalendarConfig,
        delivery: &str,
        previous: Option<Appointment>,
    ) -> AppointmentReport {
        AppointmentReport {
            subject: IdempotencyKey::appointment_subject(calendar.id_scope(), &self.id),
            calendar: name.to_owned(),
            line: calendar.line.clone(),
            status: self.status,
            details: self.details.clone(),
            left_out: match &self.unreachable_reason {
                Some(reason) if reason.preserves_known_attendees() => LeftOutAttendees::Stay,
                _ => self.left_out.clone(),
            },
            as_of: self.occurred_at,
            delivery: delivery.to_owned(),
            previous: previous.map(Box::new),
        }
    }
}

/// What happened to an appointment, in the sender's view. [`Booking::status`] decides whether it
/// takes place. The kind decides what a missing lookup or number means: a cancellation needs no
/// lookup ([`LookupRequest::booking_without_lookup`]), and a moved seat keeps its known number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookingEventKind {
    /// A customer booked or requested it.
    Created,
    /// It has a new time.
    Rescheduled,
    /// It was cancelled, declined or refused.
    Cancelled,
    /// It continues under another id: the old half of a move.
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

/// What must be looked up at the sender's API: see [`crate::lookup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupRequest {
    /// An appointment at Acuity.
    Acuity {
        /// The appointment's id.
        appointment_id: String,
        /// What the delivery reports.
        kind: BookingEventKind,
    },
    /// The customer of an appointment at Square.
    Square {
        /// The appointment, still without attendees.
        booking: Box<Booking>,
        /// The customer's id.
        customer_id: String,
    },
}

impl LookupRequest {
    /// The id of the appointment that it is about.
    pub(crate) fn appointment_id(&self) -> &str {
        match self {
            Self::Acuity { appointment_id, .. } => appointment_id,
            Self::Square { booking, .. } => &booking.id,
        }
    }

    /// The facts that the delivery contains without a lookup: a cancellation, or a new time.
    ///
    /// `reason` is why there is no lookup, and `received_at` is when the delivery was accepted.
    pub fn booking_without_lookup(&self, reason: BookingSkipReason, received_at: Timestamp) -> Option<Booking> {
        match self {
            Self::Acuity { appointment_id, kind: BookingEventKind::Cancelled } => Some(Booking {
                kind: BookingEventKind::Cancelled,
                id: appointment_id.clone(),
                status: AppointmentStatus::Cancelled,
                details: None,
                occurred_at: received_at,
                previous_id: None,
                unreachable_reason: None,
                left_out: LeftOutAttendees::Leave,
            }),
            Self::Acuity { .. } => None,
            Self::Square { booking, .. } => {
                Some(Booking { unreachable_reason: Some(reason), ..booking.as_ref().clone() })
            }
        }
    }
}
