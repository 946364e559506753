//! Why a feed or one of its events could not be parsed, and the limits of a feed.
//!
//! Main types: [`FeedParseError`] for the whole body, [`IcsEventError`] and [`IgnoredEvent`] for
//! one event. Their texts contain nothing of the feed but the name of a zone.

use tellonce_core::telemetry::LogLabel;

/// The largest body that is parsed, in bytes. Years of a busy practice take two or three million.
pub(super) const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// The most occurrences in one window. Their snapshot must fit into one item of the table.
pub(super) const MAX_OCCURRENCES: usize = 5_000;

/// Why a whole body could not be parsed. Contains nothing of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedParseError {
    /// An error page, an empty response or another format.
    #[error("body is not an iCalendar: BEGIN:VCALENDAR is missing at its start")]
    NotCalendar,
    /// The body ends too early, or its components do not nest.
    #[error("body is incomplete: a component does not end where it should")]
    Truncated,
    /// The body is larger than `MAX_BODY_BYTES`.
    #[error("body is larger than {MAX_BODY_BYTES} bytes; let the feed contain less of the past")]
    TooLarge,
    /// The body has more events than are parsed.
    #[error("body contains more than {0} events; let the feed contain less of the past")]
    TooManyEvents(usize),
    /// The window has more occurrences than a snapshot can store.
    #[error("more than {MAX_OCCURRENCES} occurrences are upcoming; split the calendar into several feeds")]
    TooManyOccurrences,
    /// The rules name too many times, or need too much work.
    #[error("recurrence rules name too many times, or no time at all")]
    RulesTooExpensive,
    /// No event of the body could be parsed.
    #[error("none of {0} events could be parsed; first error: {1}")]
    NoEventParsed(usize, IcsEventError),
}

/// Why one event could not be parsed. Contains nothing of the event but the name of its zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IcsEventError {
    /// The event has no `UID` that tells it from others, and it is one of several events of a
    /// series.
    #[error("event has no usable UID, and is part of a series of several events")]
    InvalidUid,
    /// Several events have one `UID`, and others of the `UID` replace one of them.
    #[error("several events share the UID, and it is unclear which of them another one replaces")]
    SharedUid,
    /// Both `DTSTART` and the slot that the event replaces are missing.
    #[error("event has no start")]
    NoStart,
    /// A value that is not a time.
    #[error("time in {0} could not be parsed")]
    InvalidTime(&'static str),
    /// A zone that is neither known nor described in the feed.
    #[error("time zone `{0}` is unknown")]
    UnknownZone(LogLabel),
    /// A recurrence rule that violates the standard or belongs to an extension.
    #[error("recurrence rule could not be parsed")]
    InvalidRule,
    /// The event recurs by the minute or more often.
    #[error("event recurs too often for an appointment")]
    TooOften,
    /// The event, with all events of its `UID`, has more text, dates or occurrences than any
    /// appointment.
    #[error("event is larger than an appointment can be")]
    OverBudget,
}

/// Why an event does not count, although it could be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IgnoredEvent {
    /// Another event of its `UID` is a later revision, with another start or another number.
    #[error("a later revision with the same UID replaces it")]
    OlderRevision,
    /// It replaces a time of its series that the series does not have.
    #[error("it replaces a time that its series does not have")]
    StaleException,
}
