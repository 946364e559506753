//! Calendars and booking systems: where appointments come from, and the reminders that a client wants of them.

use std::{cmp::Ordering, collections::BTreeMap, fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::{ButtonTemplate, CustomScheme, JsonPointer, MAIN_ID_SCOPE, MessageTemplates, TimeSpan};

/// A calendar or booking system.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "CalendarTable")]
#[schemars(with = "CalendarTable")]
pub struct CalendarConfig {
    /// What kind of system it is, and what only that kind needs.
    pub kind: CalendarKind,
    /// The line that speaks for this calendar.
    pub line: String,
    /// What customers call the place, in texts; the client's name when absent.
    pub name: Option<String>,
    /// Which appointments this calendar's ids belong to; `main` when absent. Calendars whose ids may meet need a book of
    /// their own each.
    pub id_scope: Option<String>,
    /// IANA zone of the appointments, e.g. `Asia/Jerusalem`: where they take place. When absent, what the sender says;
    /// when it says nothing, the client's.
    pub time_zone: Option<String>,
    /// Country for phone numbers of this calendar, when it is not the client's.
    pub country: Option<String>,
    /// What is said, by when.
    pub reminders: BTreeMap<ReminderStage, ReminderRule>,
}

impl CalendarConfig {
    /// The book of this calendar: its own, or the main one.
    pub fn id_scope(&self) -> &str {
        self.id_scope.as_deref().unwrap_or(MAIN_ID_SCOPE)
    }
}

/// The kinds of calendar we can read.
#[derive(Debug, Clone)]
pub enum CalendarKind {
    /// Cal.com.
    CalCom,
    /// Calendly.
    Calendly {
        /// The custom question whose answer is the customer's phone number, word for word, for event types that have no
        /// reminder number of their own.
        phone_question: Option<String>,
    },
    /// Acuity Scheduling. Its deliveries hold an id only; the appointment is read back with the API key in
    /// [`super::ClientConfig::calendar_secret_name`].
    Acuity {
        /// The account's numeric user id, for reading back.
        user_id: String,
    },
    /// Square Bookings. The customer is read back with the access token in [`super::ClientConfig::calendar_secret_name`].
    Square {
        /// The notification URL exactly as it is registered at Square: it is part of what Square signs.
        notification_url: String,
    },
    /// Any other system that posts JSON: a CRM, a custom booking page, n8n, Make, Zapier.
    Custom {
        /// How its deliveries prove where they come from.
        verify: CustomScheme,
        /// Where the facts stand in its JSON.
        fields: Box<BookingFields>,
        /// Its words for an appointment's status. Statuses that are not listed are recorded and change nothing.
        statuses: BTreeMap<String, BookingStatus>,
    },
    /// An iCalendar feed at a secret address ([`super::ClientConfig::calendar_secret_name`]), asked for again and again.
    Ics(FeedRule),
}

impl CalendarKind {
    /// Its name in `client.toml`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CalCom => "calcom",
            Self::Calendly { .. } => "calendly",
            Self::Acuity { .. } => "acuity",
            Self::Square { .. } => "square",
            Self::Custom { .. } => "custom",
            Self::Ics(_) => "ics",
        }
    }

    /// Whether this kind posts to `/bookings/{calendar}`.
    pub const fn posts_webhooks(&self) -> bool {
        match self {
            Self::CalCom | Self::Calendly { .. } | Self::Acuity { .. } | Self::Square { .. } | Self::Custom { .. } => {
                true
            }
            Self::Ics(feed) => feed.google_push,
        }
    }

    /// Whether something is read back with a credential of our own.
    pub const fn needs_secret(&self) -> bool {
        match self {
            Self::CalCom | Self::Calendly { .. } | Self::Custom { .. } => false,
            Self::Acuity { .. } | Self::Square { .. } | Self::Ics(_) => true,
        }
    }
}

/// How a feed is read.
#[derive(Debug, Clone)]
pub struct FeedRule {
    /// How often it is asked for: 5 minutes to a day.
    pub poll_every: TimeSpan,
    /// Where a phone number stands in an event. A calendar has no field for it, so nothing is taken for one unless the
    /// client says where to look.
    pub phone: FeedTextRule,
    /// Where the customer's name stands in an event.
    pub person: Option<FeedTextRule>,
    /// Whether Google Calendar's push notifications for this calendar are sent to us; each makes us ask for the feed.
    pub google_push: bool,
}

/// Where a value stands in the text of an event.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedTextRule {
    /// The field: `summary`, `description`, `location`, or a property of the calendar's own such as `x-phone`.
    pub field: String,
    /// The value is what follows the first of these that occurs, up to the end of its line: `["Phone:", "tel:"]`. The
    /// whole field when empty.
    #[serde(default)]
    pub after: Vec<String>,
}

/// What became of an appointment, in the words of a custom sender's `statuses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BookingStatus {
    /// It takes place: reminded.
    Booked,
    /// It is asked for, and nobody has said yes: not reminded.
    Unconfirmed,
    /// It does not take place.
    Cancelled,
}

/// Where the facts of a booking stand in a custom sender's JSON, as JSON pointers (RFC 6901).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookingFields {
    /// The appointment's id, unique in its book and the same after a move.
    pub id: JsonPointer,
    /// When it begins: RFC 3339, or local time without an offset, which then is in `check_time_zone`.
    pub start: JsonPointer,
    /// The appointment's zone, an IANA name.
    #[serde(default)]
    pub time_zone: Option<JsonPointer>,
    /// The customer's phone number.
    pub phone: JsonPointer,
    /// The country that the phone number is written for.
    #[serde(default)]
    pub country: Option<JsonPointer>,
    /// The customer's name.
    #[serde(default)]
    pub name: Option<JsonPointer>,
    /// The customer's language.
    #[serde(default)]
    pub locale: Option<JsonPointer>,
    /// Its status, looked up in `statuses`. Without it every delivery books.
    #[serde(default)]
    pub status: Option<JsonPointer>,
    /// The id it had before, for systems that give a moved appointment a new one.
    #[serde(default)]
    pub previous_id: Option<JsonPointer>,
    /// When the fact became one, RFC 3339. Without it the time of receipt counts, and deliveries that arrive in the wrong
    /// order are taken in that order.
    #[serde(default)]
    pub occurred_at: Option<JsonPointer>,
    /// An id of the delivery, for senders without a `webhook-id` header. Without it a repeat cannot be told from a move back
    /// in the same words, and every delivery counts.
    #[serde(default)]
    pub delivery_id: Option<JsonPointer>,
    /// What it is about: `{{ title }}`.
    #[serde(default)]
    pub title: Option<JsonPointer>,
    /// Where it takes place: `{{ place }}`.
    #[serde(default)]
    pub place: Option<JsonPointer>,
}

/// A calendar as it stands in the file: one flat table, whatever its kind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CalendarTable {
    /// What kind of system it is.
    kind: CalendarKindName,
    /// The line that speaks for this calendar.
    line: String,
    /// What customers call the place, in texts; the client's name when absent.
    name: Option<String>,
    /// Which appointments this calendar's ids belong to; `main` when absent.
    id_scope: Option<String>,
    /// IANA zone of the appointments, when it is not what the sender says.
    time_zone: Option<String>,
    /// Country for phone numbers of this calendar, when it is not the client's.
    country: Option<String>,
    /// What is said, by when: `"24h"`, `"2d"`, `"morning of at 08:00"`, `"day before at 18:00"`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ReminderRule>")]
    reminders: BTreeMap<ReminderStage, ReminderRule>,
    /// Calendly: the custom question whose answer is the phone number.
    phone_question: Option<String>,
    /// Acuity: the account's numeric user id.
    user_id: Option<String>,
    /// Square: the notification URL exactly as registered.
    notification_url: Option<String>,
    /// Custom: how deliveries prove where they come from.
    verify: Option<CustomScheme>,
    /// Custom: where the facts stand in the JSON.
    fields: Option<Box<BookingFields>>,
    /// Custom: status → `booked`, `unconfirmed` or `cancelled`.
    statuses: Option<BTreeMap<String, BookingStatus>>,
    /// Feed: how often it is asked for, `"15m"` when absent.
    #[schemars(with = "Option<String>")]
    poll_every: Option<TimeSpan>,
    /// Feed: where the phone number stands in an event.
    phone: Option<FeedTextRule>,
    /// Feed: where the customer's name stands in an event.
    person: Option<FeedTextRule>,
    /// Feed: Google Calendar's push notifications are sent to `/bookings/{name}`.
    google_push: Option<bool>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CalendarKindName {
    CalCom,
    Calendly,
    Acuity,
    Square,
    Custom,
    Ics,
}

/// How often a feed is asked for when the client does not say.
const DEFAULT_POLL_MINUTES: i64 = 15;

impl TryFrom<CalendarTable> for CalendarConfig {
    type Error = String;

    fn try_from(table: CalendarTable) -> Result<Self, String> {
        fn require_field<T>(value: Option<T>, kind: &str, field: &str) -> Result<T, String> {
            value.ok_or_else(|| format!("{kind} needs `{field}`"))
        }
        let CalendarTable { kind, line, name, id_scope, time_zone, country, reminders, .. } = table;
        let is_kind = |wanted: &[CalendarKindName]| wanted.iter().any(|it| *it as u8 == kind as u8);
        let (what, feed) = match kind {
            CalendarKindName::CalCom => ("a calcom calendar", false),
            CalendarKindName::Calendly => ("a calendly calendar", false),
            CalendarKindName::Acuity => ("an acuity calendar", false),
            CalendarKindName::Square => ("a square calendar", false),
            CalendarKindName::Custom => ("a custom calendar", false),
            CalendarKindName::Ics => ("an ics calendar", true),
        };
        let fields_of_kinds = [
            ("phone_question", table.phone_question.is_some(), is_kind(&[CalendarKindName::Calendly])),
            ("user_id", table.user_id.is_some(), is_kind(&[CalendarKindName::Acuity])),
            ("notification_url", table.notification_url.is_some(), is_kind(&[CalendarKindName::Square])),
            ("verify", table.verify.is_some(), is_kind(&[CalendarKindName::Custom])),
            ("fields", table.fields.is_some(), is_kind(&[CalendarKindName::Custom])),
            ("statuses", table.statuses.is_some(), is_kind(&[CalendarKindName::Custom])),
            ("poll_every", table.poll_every.is_some(), feed),
            ("phone", table.phone.is_some(), feed),
            ("person", table.person.is_some(), feed),
            ("google_push", table.google_push.is_some(), feed),
        ];
        if let Some((field, ..)) = fields_of_kinds.iter().find(|(_, given, meant)| *given && !meant) {
            return Err(format!("`{field}` means nothing for {what}; remove it"));
        }
        let kind = match kind {
            CalendarKindName::CalCom => CalendarKind::CalCom,
            CalendarKindName::Calendly => CalendarKind::Calendly { phone_question: table.phone_question },
            CalendarKindName::Acuity => {
                CalendarKind::Acuity { user_id: require_field(table.user_id, what, "user_id")? }
            }
            CalendarKindName::Square => CalendarKind::Square {
                notification_url: require_field(table.notification_url, what, "notification_url")?,
            },
            CalendarKindName::Custom => CalendarKind::Custom {
                verify: require_field(table.verify, what, "verify")?,
                fields: require_field(table.fields, what, "fields")?,
                statuses: table.statuses.unwrap_or_default(),
            },
            CalendarKindName::Ics => CalendarKind::Ics(FeedRule {
                poll_every: table.poll_every.unwrap_or(TimeSpan(SignedDuration::from_mins(DEFAULT_POLL_MINUTES))),
                phone: require_field(table.phone, what, "phone")?,
                person: table.person,
                google_push: table.google_push.unwrap_or(false),
            }),
        };
        Ok(Self { kind, line, name, id_scope, time_zone, country, reminders })
    }
}

/// What is said at one stage before an appointment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReminderRule {
    /// For so long after its time the reminder is useful (`"3h"`); later it expires. Until the next stage or the
    /// appointment's start when absent, and never beyond them.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub useful_for: Option<TimeSpan>,
    /// Most useful first after an outage: 0 to 100, higher goes first; 70 when absent.
    #[serde(default)]
    pub priority: Option<u8>,
    /// What becomes of it when the appointment is booked, or moved, after its time.
    #[serde(default)]
    pub booked_inside: LateBookingRule,
    /// What becomes of it when its time falls into quiet hours.
    #[serde(default)]
    pub quiet_hours: QuietHoursRule,
    /// The text by language, a template.
    pub text: BTreeMap<String, String>,
    /// A button that opens a link.
    #[serde(default)]
    pub button: Option<ButtonTemplate>,
}

impl ReminderRule {
    /// How useful it is after an outage, 0 to 100.
    pub fn priority(&self) -> u8 {
        self.priority.unwrap_or(70)
    }

    /// What it says.
    pub fn templates(&self) -> MessageTemplates<'_> {
        MessageTemplates { text: &self.text, button: self.button.as_ref(), document: None }
    }
}

/// What becomes of a reminder whose time has passed when the appointment is booked or moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LateBookingRule {
    /// It is left out: whoever books at noon for two o'clock needs no word that it is today.
    #[default]
    Skip,
    /// It is sent at once.
    Send,
}

/// What becomes of a reminder whose time falls into the quiet hours of whoever is reminded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QuietHoursRule {
    /// It moves to their end; if the appointment begins before that, to half an hour before they begin.
    #[default]
    Wait,
    /// It moves to half an hour before they begin; if the appointment was not booked by then, to their end.
    Before,
    /// It is sent all the same.
    Ignore,
}

/// When, before an appointment, a reminder is sent.
///
/// Hours and minutes are counted on a stopwatch: `24h` before 10:00 is 09:00 the day before if the clocks went forward in
/// between. Days are counted on the calendar, at the same time of day: `1d` before 10:00 is 10:00 the day before,
/// whatever the clocks did. A time of day that the clocks skip is the same distance behind the gap; one that happens
/// twice is the first of the two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReminderStage {
    text: String,
    offset: StageOffset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StageOffset {
    /// So many minutes, by the stopwatch.
    Minutes(i64),
    /// So many days on the calendar, at that time of day or at the appointment's own.
    Days(i64, Option<jiff::civil::Time>),
}

impl ReminderStage {
    /// As written in `client.toml`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its name in keys: `24h`, `2d`, `morning-of`, `day-before`, `3-days-before`. The time of day is no part of it, so
    /// that nobody is reminded twice because a client moved it by an hour.
    pub fn name(&self) -> String {
        match self.offset {
            StageOffset::Minutes(_) | StageOffset::Days(_, None) => self.text.clone(),
            StageOffset::Days(0, Some(_)) => "morning-of".to_owned(),
            StageOffset::Days(1, Some(_)) => "day-before".to_owned(),
            StageOffset::Days(days, Some(_)) => format!("{days}-days-before"),
        }
    }

    /// When it is due for an appointment that begins at `start`, in the appointment's zone. None if that is not before
    /// the start: a word at eight for an appointment at seven.
    pub fn due_at(&self, start: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let at = match self.offset {
            StageOffset::Minutes(minutes) => start.checked_sub(SignedDuration::from_mins(minutes)).ok()?,
            StageOffset::Days(days, time) => {
                let local = start.to_zoned(zone.clone()).datetime();
                let date = local.date().checked_sub(days.days()).ok()?;
                // A gap is left behind by its own length, of an overlap the first counts: jiff's "compatible".
                date.to_datetime(time.unwrap_or(local.time())).to_zoned(zone.clone()).ok()?.timestamp()
            }
        };
        (at < start).then_some(at)
    }

    /// The time of day that it is told at, for those that have one of their own: `morning of at 08:00`.
    pub fn time_of_day(&self) -> Option<jiff::civil::Time> {
        match self.offset {
            StageOffset::Minutes(_) => None,
            StageOffset::Days(_, time) => time,
        }
    }

    /// How long before the start it is at most, for ordering and for how far ahead a feed is read.
    pub fn lead_time(&self) -> SignedDuration {
        match self.offset {
            StageOffset::Minutes(minutes) => SignedDuration::from_mins(minutes),
            StageOffset::Days(days, None) => SignedDuration::from_hours(24 * days),
            StageOffset::Days(days, Some(_)) => SignedDuration::from_hours(24 * (days + 1)),
        }
    }
}

impl fmt::Display for ReminderStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The longest way ahead that somebody is reminded, in days.
const MAX_LEAD_DAYS: i64 = 365;

impl FromStr for ReminderStage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse_error = || {
            format!(
                "`{text}` is not a time before an appointment; write it like \"24h\", \"2d\", \"morning of at 08:00\" or \
                 \"day before at 18:00\""
            )
        };
        let offset = if let Some((day, time)) = text.split_once(" at ") {
            let time = jiff::civil::Time::strptime("%H:%M", time).map_err(|_| parse_error())?;
            let days = match day {
                "morning of" | "day of" => 0,
                "day before" => 1,
                days => days
                    .strip_suffix(" days before")
                    .and_then(|days| days.parse::<u16>().ok())
                    .ok_or_else(parse_error)?
                    .into(),
            };
            StageOffset::Days(days, Some(time))
        } else {
            let TimeSpan(span) = text.parse::<TimeSpan>().map_err(|_| parse_error())?;
            if text.ends_with('d') {
                StageOffset::Days(span.as_hours() / 24, None)
            } else {
                StageOffset::Minutes(span.as_mins())
            }
        };
        let stage = Self { text: text.to_owned(), offset };
        if stage.lead_time() > SignedDuration::from_hours(24 * MAX_LEAD_DAYS) { Err(parse_error()) } else { Ok(stage) }
    }
}

impl Ord for ReminderStage {
    /// The one furthest ahead first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.lead_time().cmp(&self.lead_time()).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for ReminderStage {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'de> Deserialize<'de> for ReminderStage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local_due_time(stage: &str, start: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::get(zone).unwrap();
        let at = stage.parse::<ReminderStage>().unwrap().due_at(start.parse().unwrap(), &zone)?;
        Some(at.to_zoned(zone).datetime().to_string())
    }

    #[test]
    fn hours_are_elapsed_time_and_days_are_calendar_days() {
        // Israel: clocks go forward on 2027-03-26, 02:00 → 03:00, and back on 2026-10-25, 02:00 → 01:00.
        let spring = "2027-03-26T07:00:00Z"; // 10:00
        assert_eq!(local_due_time("24h", spring, "Asia/Jerusalem").as_deref(), Some("2027-03-25T09:00:00"));
        assert_eq!(local_due_time("1d", spring, "Asia/Jerusalem").as_deref(), Some("2027-03-25T10:00:00"));
        let autumn = "2026-10-25T08:00:00Z"; // 10:00
        assert_eq!(local_due_time("24h", autumn, "Asia/Jerusalem").as_deref(), Some("2026-10-24T11:00:00"));
        assert_eq!(local_due_time("1d", autumn, "Asia/Jerusalem").as_deref(), Some("2026-10-24T10:00:00"));
    }

    #[test]
    fn a_skipped_time_moves_behind_the_gap_and_a_repeated_time_is_the_first_one() {
        assert_eq!(
            local_due_time("morning of at 02:30", "2027-03-26T07:00:00Z", "Asia/Jerusalem").as_deref(),
            Some("2027-03-26T03:30:00")
        );
        let zone = TimeZone::get("Asia/Jerusalem").unwrap();
        let twice: ReminderStage = "morning of at 01:30".parse().unwrap();
        assert_eq!(
            twice.due_at("2026-10-25T08:00:00Z".parse().unwrap(), &zone).unwrap().to_string(),
            "2026-10-24T22:30:00Z"
        );
    }

    #[test]
    fn a_reminder_that_would_come_after_the_start_is_never_due() {
        assert_eq!(local_due_time("morning of at 08:00", "2026-11-24T05:00:00Z", "Asia/Jerusalem"), None);
        assert_eq!(
            local_due_time("day before at 18:00", "2026-11-24T05:00:00Z", "Asia/Jerusalem").as_deref(),
            Some("2026-11-23T18:00:00")
        );
    }

    #[test]
    fn stages_are_parsed_named_and_ordered_or_rejected_with_an_explanation() {
        let mut stages: Vec<ReminderStage> = ["2h", "morning of at 08:00", "24h", "2 days before at 09:00", "3d"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        stages.sort();
        let names: Vec<_> = stages.iter().map(ReminderStage::name).collect();
        assert_eq!(names, ["2-days-before", "3d", "24h", "morning-of", "2h"]);
        for wrong in
            ["", "24", "h", "0h", "-2h", "morning of", "morning of at 8", "night before at 22:00", "999d", "1.5h"]
        {
            assert!(wrong.parse::<ReminderStage>().is_err(), "{wrong}");
        }
    }
}
