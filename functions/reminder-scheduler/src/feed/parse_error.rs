//! Why a feed or one of its events could not be parsed, and the limits of a feed.
//!
//! Main types: [`FeedParseError`] for the whole body, [`IcsEventError`] and [`IgnoredEvent`] for
//! one event. Their texts contain nothing of the feed but the names of zones and `UID`s.

use std::fmt;

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
    /// No event of the body could be parsed: how many it has, and which they are.
    #[error("none of {0} events could be parsed: {1}")]
    NoEventParsed(usize, UnparsedEvents),
}

/// The events that could not be parsed, for people: the first ones by their `UID`, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnparsedEvents {
    named: Vec<(String, IcsEventError)>,
    more: usize,
}

/// How many events a text names.
const MAX_NAMED_EVENTS: usize = 5;
/// The longest name of an event in a text, in characters.
const MAX_SHOWN_UID_CHARS: usize = 80;

impl UnparsedEvents {
    /// Names the first of these events.
    pub(super) fn new<'e>(events: impl ExactSizeIterator<Item = (&'e String, &'e IcsEventError)>) -> Self {
        let more = events.len().saturating_sub(MAX_NAMED_EVENTS);
        let safe = |c: char| if c.is_ascii_graphic() && c != '`' { c } else { '?' };
        let name = |uid: &String| uid.chars().take(MAX_SHOWN_UID_CHARS).map(safe).collect();
        let named = events.take(MAX_NAMED_EVENTS).map(|(uid, error)| (name(uid), error.clone()));
        Self { named: named.collect(), more }
    }
}

impl fmt::Display for UnparsedEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (uid, error)) in self.named.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}`{uid}` ({error})")?;
        }
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
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
    /// The event, or a component in it, does not end where it should.
    #[error("event is incomplete: a component does not end where it should")]
    Incomplete,
    /// The text with the phone number has bytes of an unknown character set.
    #[error("text with the phone number is in an unknown character set; let the host declare it in `Content-Type`")]
    UnknownCharset,
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
    /// It replaces a time of its series that the series excludes.
    #[error("it replaces a time that its series excludes")]
    ExcludedTime,
}
