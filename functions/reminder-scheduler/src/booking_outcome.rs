//! The outcome of a booking delivery that the appointment header does not explain.

use tellonce_core::{
    appointment::ReportResult,
    contact::PhoneError,
    inbox::DeliveryOutcome,
    json::JsonError,
    telemetry::LogLabel,
    waiting_lookup::{UnansweredLookup, WAITING_CODE},
};

/// Why a delivery led to no change, or what it led to besides. `Display` writes the explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookingOutcome {
    /// The configuration has no calendar of this name any more.
    #[error("this calendar is no longer in the configuration")]
    CalendarRemoved,
    /// The delivery reports nothing, or none of its attendees can be messaged.
    #[error("{0}")]
    Skipped(BookingSkipReason),
    /// The header already contains the report.
    #[error("the report says nothing new")]
    AlreadyKnown,
    /// The header contains something newer.
    #[error("a later report of the appointment is known")]
    OutOfDate,
    /// The delivery announced a change of a feed, and the feed was read after it.
    #[error("the feed was already read after this push")]
    FeedAlreadyPolled,
    /// The delivery made the function read a feed. Holds the number of changed appointments.
    #[error("{0} appointments changed")]
    FeedPolled(usize),
    /// The delivery made the function read a feed, without success.
    #[error("the feed could not be read or is suspect; it is read again on its schedule")]
    FeedUnusable,
    /// The booking could not be looked up.
    #[error("{0}")]
    Unanswered(UnansweredLookup),
}

impl BookingOutcome {
    /// The outcome of a report, or `None` if it changed the header.
    pub const fn from_report(result: &ReportResult) -> Option<Self> {
        match result {
            ReportResult::Updated(_) => None,
            ReportResult::Unchanged => Some(Self::AlreadyKnown),
            ReportResult::Stale => Some(Self::OutOfDate),
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::CalendarRemoved => "calendar-removed",
            Self::Skipped(reason) => reason.code(),
            Self::AlreadyKnown => "already-known",
            Self::OutOfDate => "out-of-date",
            Self::FeedAlreadyPolled | Self::FeedPolled(_) | Self::FeedUnusable => "feed-polled",
            Self::Unanswered(lookup) => lookup.code(),
        }
    }
}

impl From<BookingOutcome> for DeliveryOutcome {
    fn from(outcome: BookingOutcome) -> Self {
        match outcome {
            BookingOutcome::Unanswered(lookup) => lookup.into(),
            outcome => {
                let needs_person = matches!(&outcome, BookingOutcome::Skipped(reason) if reason.needs_attention());
                Self::new(outcome.code(), outcome).needing_person(needs_person)
            }
        }
    }
}

/// Why a delivery reports nothing, or none of its attendees can be messaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookingSkipReason {
    /// The sender tests the address.
    #[error("test delivery of the sender")]
    Ping,
    /// An event without a use here.
    #[error("event `{0}` reports neither the time nor the end of an appointment")]
    UnknownEvent(LogLabel),
    /// A status that is unknown. For a custom sender: one that the client's configuration lacks.
    #[error("status `{0}` is not mapped to booked, unconfirmed or cancelled for this calendar")]
    StatusNotMapped(LogLabel),
    /// The body has another shape than the sender documents. Contains the position, never the
    /// value.
    #[error("not understood: {0}")]
    NotUnderstood(JsonError),
    /// The customer left no number.
    #[error("appointment has no phone number")]
    NoPhone,
    /// The customer's number cannot be messaged.
    #[error("phone number of the appointment cannot be used: {0}")]
    PhoneUnusable(PhoneError),
    /// The report leaves the number out although the customer gave one before. The attendees who
    /// are known under this id or the previous one still take part.
    #[error("the phone number is not repeated; the known number still counts")]
    PhoneNotRepeated,
    /// The lookup was not possible yet.
    #[error("lookup at the booking system is tried again; known attendees still take part")]
    LookupPending,
    /// The lookup gave no usable response.
    #[error("lookup at the booking system failed; known attendees still take part")]
    LookupFailed,
    /// The booking system no longer knows the appointment's customer.
    #[error("customer does not exist in the booking system")]
    CustomerNotFound,
}

impl BookingSkipReason {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::UnknownEvent(_) => "unknown-event",
            Self::StatusNotMapped(_) => "status-not-mapped",
            Self::NotUnderstood(_) => "not-understood",
            Self::NoPhone => "no-phone",
            Self::PhoneUnusable(_) => "phone-unusable",
            Self::PhoneNotRepeated => "phone-not-repeated",
            Self::LookupPending => WAITING_CODE,
            Self::LookupFailed => "lookup-failed",
            Self::CustomerNotFound => "customer-not-found",
        }
    }

    /// Whether an operator should act: the delivery contains something that could not be used, as
    /// opposed to nothing of interest.
    pub const fn needs_attention(&self) -> bool {
        match self {
            Self::NotUnderstood(_) | Self::LookupFailed => true,
            Self::Ping
            | Self::UnknownEvent(_)
            | Self::StatusNotMapped(_)
            | Self::NoPhone
            | Self::PhoneUnusable(_)
            | Self::PhoneNotRepeated
            | Self::LookupPending
            | Self::CustomerNotFound => false,
        }
    }

    /// Whether the attendees are unknown, so that the known attendees still take part.
    pub const fn preserves_known_attendees(&self) -> bool {
        matches!(self, Self::PhoneNotRepeated | Self::LookupPending | Self::LookupFailed)
    }

    /// The reason after the report was applied: a number that is missing here may be known.
    #[must_use]
    pub fn after_report(self, result: &ReportResult) -> Self {
        match (self, result) {
            (Self::NoPhone, ReportResult::Updated(header)) if header.has_attendees() => Self::PhoneNotRepeated,
            (reason, _) => reason,
        }
    }

    /// A required field is missing or unusable.
    pub(crate) fn missing_field(pointer: &str) -> Self {
        Self::NotUnderstood(JsonError::Missing(pointer.into()))
    }
}
