//! Calendars and booking systems: the sources of appointments, and the reminders about them.
//!
//! Main types: [`CalendarConfig`], [`ReminderRule`], [`ReminderStage`].

use std::{cmp::Ordering, collections::BTreeMap, fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::{ButtonTemplate, CustomScheme, JsonPointer, MAIN_ID_SCOPE, MessageTemplates, TimeSpan};

/// A calendar or booking system. Its proof is checked with the secret
/// `tellonce/<client>/webhooks/<name>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "CalendarTable")]
#[schemars(with = "CalendarTable")]
pub struct CalendarConfig {
    /// The kind of calendar, with the settings of that kind.
    pub kind: CalendarKind,
    /// The name of the line that sends for this calendar.
    pub line: String,
    /// What customers call the place, in texts; the client's name if absent.
    pub name: Option<String>,
    /// The id scope of the calendar's appointments; `main` if absent. Calendars whose ids may meet
    /// need separate scopes.
    pub id_scope: Option<String>,
    /// IANA zone in which the appointments take place, such as `Asia/Jerusalem`. If absent, the
    /// sender's zone counts, else the client's.
    pub time_zone: Option<String>,
    /// Country for phone numbers without a country code; the client's if absent.
    pub country: Option<String>,
    /// The reminders, by stage.
    pub reminders: BTreeMap<ReminderStage, ReminderRule>,
}

impl CalendarConfig {
    /// The id scope of this calendar, or [`MAIN_ID_SCOPE`].
    pub fn id_scope(&self) -> &str {
        self.id_scope.as_deref().unwrap_or(MAIN_ID_SCOPE)
    }
}

/// The kinds of calendar that tellonce can read.
#[derive(Debug, Clone)]
pub enum CalendarKind {
    /// Cal.com.
    CalCom,
    /// Calendly.
    Calendly {
        /// The custom question whose answer is the phone number, word for word. For event types
        /// without their own reminder number.
        phone_question: Option<String>,
    },
    /// Acuity Scheduling. Its deliveries hold only an id. The lookup uses the API key in
    /// [`super::ClientConfig::calendar_secret_name`].
    Acuity {
        /// The account's numeric user id, for the lookup.
        user_id: String,
    },
    /// Square Bookings. The lookup of the customer uses the access token in
    /// [`super::ClientConfig::calendar_secret_name`].
    Square {
        /// The address exactly as registered at Square, which signs it with every delivery.
        notification_url: String,
    },
    /// Any other system that posts JSON: a CRM, a custom booking page, n8n, Make, Zapier.
    Custom {
        /// How deliveries prove where they come from.
        verify: CustomScheme,
        /// Where the facts stand in the JSON.
        fields: Box<BookingFields>,
        /// The sender's statuses. A status that is not listed is recorded and changes nothing.
        statuses: BTreeMap<String, BookingStatus>,
    },
    /// An iCalendar feed at a secret address ([`super::ClientConfig::calendar_secret_name`]), which
    /// tellonce reads on a schedule.
    Ics(FeedRule),
}

impl CalendarKind {
    /// The name in `client.toml`.
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

    /// Whether a lookup or a feed needs a credential.
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
    /// How often the feed is read: 5 minutes to a day.
    pub poll_every: TimeSpan,
    /// Where the phone number stands in an event. Required, because calendars have no field for it
    /// and tellonce does not guess.
    pub phone: FeedTextRule,
    /// Where the customer's name stands in an event.
    pub person: Option<FeedTextRule>,
    /// Whether Google Calendar posts push notifications. After each of them the feed is read at
    /// once.
    pub google_push: bool,
}

/// Where a value stands in the text of a calendar event.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedTextRule {
    /// The field: `summary`, `description`, `location`, or a property of the calendar in lower
    /// case, such as `x-phone`.
    pub field: String,
    /// The value is the text after the first of these words that occurs, up to the end of its line:
    /// `["Phone:", "tel:"]`. Default: none, and the whole field counts.
    #[serde(default)]
    pub after: Vec<String>,
}

/// The status of an appointment, in the `statuses` of a custom sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BookingStatus {
    /// The appointment takes place. Reminders are sent.
    Booked,
    /// The appointment is requested and not confirmed. No reminder is sent.
    Unconfirmed,
    /// The appointment does not take place. No reminder is sent.
    Cancelled,
}

/// Where the facts of a booking stand in the JSON of a custom sender. Each field is a JSON pointer
/// (RFC 6901).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookingFields {
    /// The appointment's id, unique in its id scope and the same after a move.
    pub id: JsonPointer,
    /// When the appointment begins: RFC 3339, or local time without an offset in its `time_zone`.
    pub start: JsonPointer,
    /// The appointment's zone, an IANA name. Default: the calendar's.
    #[serde(default)]
    pub time_zone: Option<JsonPointer>,
    /// The customer's phone number.
    pub phone: JsonPointer,
    /// The country of phone numbers without a country code. Default: the calendar's.
    #[serde(default)]
    pub country: Option<JsonPointer>,
    /// The customer's name.
    #[serde(default)]
    pub name: Option<JsonPointer>,
    /// The customer's language: `he`, `en-US`.
    #[serde(default)]
    pub locale: Option<JsonPointer>,
    /// The appointment's status, which is looked up in `statuses`. Default: `booked`, so no
    /// delivery cancels.
    #[serde(default)]
    pub status: Option<JsonPointer>,
    /// The earlier id of the appointment, for systems that give a moved appointment a new one.
    #[serde(default)]
    pub previous_id: Option<JsonPointer>,
    /// When the fact became true, RFC 3339. Of two deliveries the later one counts. Default: the
    /// time of receipt, so the order of arrival counts.
    #[serde(default)]
    pub occurred_at: Option<JsonPointer>,
    /// An id of the delivery. Default: the header `webhook-id`. Without either, every delivery
    /// counts, because a repeat looks like a move back to an earlier time.
    #[serde(default)]
    pub delivery_id: Option<JsonPointer>,
    /// What the appointment is about: `{{ title }}`.
    #[serde(default)]
    pub title: Option<JsonPointer>,
    /// Where the appointment takes place: `{{ place }}`.
    #[serde(default)]
    pub place: Option<JsonPointer>,
}

/// A calendar in `client.toml`: one flat table for all kinds.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CalendarTable {
    /// The kind of calendar.
    kind: CalendarKindName,
    /// The name of the line that sends for this calendar.
    line: String,
    /// What customers call the place: `{{ business_name }}`. Default: the client's `name`.
    name: Option<String>,
    /// The id scope: calendars in one scope mean the same appointment by the same id. At most 20
    /// lower-case letters, digits, `-` and `_`. Default: `main`. Calendars that share a scope must
    /// each set it.
    id_scope: Option<String>,
    /// IANA zone in which the appointments take place, such as `Asia/Jerusalem`. Default: the
    /// sender's zone, else the client's `time_zone`.
    time_zone: Option<String>,
    /// Country for phone numbers of this calendar without a country code: ISO 3166-1 alpha-2.
    /// Default: the client's `country`.
    country: Option<String>,
    /// The reminders, by stage: `"24h"`, `"2d"`, `"morning of at 08:00"`, `"day before at 18:00"`.
    /// A stage is at most a year ahead. Default: none.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ReminderRule>")]
    reminders: BTreeMap<ReminderStage, ReminderRule>,
    /// `calendly`: the custom question whose answer is the phone number, word for word. For event
    /// types without their own reminder number.
    phone_question: Option<String>,
    /// `acuity`, required: the account's numeric user id, beside the key under Integrations, API.
    user_id: Option<String>,
    /// `square`, required: the address exactly as registered at Square. It ends in
    /// `/bookings/<name>`.
    notification_url: Option<String>,
    /// `custom`, required: how deliveries prove where they come from.
    verify: Option<CustomScheme>,
    /// `custom`, required: where the facts stand in the JSON.
    fields: Option<Box<BookingFields>>,
    /// `custom`: the sender's status → `booked`, `unconfirmed` or `cancelled`. A status that is not
    /// listed is recorded and changes nothing.
    statuses: Option<BTreeMap<String, BookingStatus>>,
    /// `ics`: how often the feed is read, `"5m"` to `"1d"`. Default: `"15m"`.
    #[schemars(with = "Option<String>")]
    poll_every: Option<TimeSpan>,
    /// `ics`, required: where the phone number stands in an event.
    phone: Option<FeedTextRule>,
    /// `ics`: where the customer's name stands in an event.
    person: Option<FeedTextRule>,
    /// `ics`: Google Calendar posts to `/bookings/<name>` after a change, and the feed is read at
    /// once. Default: `false`.
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

/// How often a feed is read without `poll_every`.
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
            return Err(format!("`{field}` is not a setting of {what}; remove it"));
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

/// A message at one stage before an appointment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReminderRule {
    /// How long after its time the reminder is worth sending, such as `"3h"`. It always expires at
    /// the next stage's time or the appointment's start. Default: until then.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub useful_for: Option<TimeSpan>,
    /// The order of messages after an outage: 0 to 100, higher goes first. Default: 70.
    #[serde(default)]
    pub priority: Option<u8>,
    /// What happens to the reminder of an appointment that is booked or moved after the reminder's
    /// time. Default: `skip`.
    #[serde(default)]
    pub booked_inside: LateBookingRule,
    /// What happens to the reminder if its time falls into the quiet hours, on the attendee's own
    /// clock. Default: `wait`.
    #[serde(default)]
    pub quiet_hours: QuietHoursRule,
    /// The text by language, a Jinja template. Every language of the client needs a text.
    pub text: BTreeMap<String, String>,
    /// A button that opens a link. Its variable is `place_url`. Default: none.
    #[serde(default)]
    pub button: Option<ButtonTemplate>,
}

impl ReminderRule {
    /// The priority, with its default.
    pub fn priority(&self) -> u8 {
        self.priority.unwrap_or(70)
    }

    /// The templates of the reminder.
    pub fn templates(&self) -> MessageTemplates<'_> {
        MessageTemplates { text: &self.text, button: self.button.as_ref(), document: None }
    }
}

/// What happens to a reminder whose time has passed when the appointment is booked or moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LateBookingRule {
    /// The reminder is not sent. A customer who books at noon for two o'clock knows that it is
    /// today.
    #[default]
    Skip,
    /// The reminder is sent at once. If the times of several have passed, only the last one is
    /// sent.
    Send,
}

/// What happens to a message whose time falls into the quiet hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QuietHoursRule {
    /// The message is sent when they end. If the appointment begins before that, its reminder is
    /// sent half an hour before they begin.
    #[default]
    Wait,
    /// A reminder is sent half an hour before they begin. If the appointment was not booked by
    /// then, it is sent when they end. Other messages cannot use this value.
    Before,
    /// The message is sent at its time.
    Ignore,
}

/// The time before an appointment at which a reminder is sent.
///
/// Hours and minutes are elapsed time. If the clocks go forward in between, `24h` before 10:00 is
/// 09:00 the day before.
///
/// Days are calendar days, at the same time of day. `1d` before 10:00 is always 10:00 the day
/// before.
///
/// A time of day that the clocks skip moves behind the gap by the same distance. Of a time that
/// happens twice, the first one counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReminderStage {
    text: String,
    offset: StageOffset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StageOffset {
    /// Minutes of elapsed time.
    Minutes(i64),
    /// Calendar days, at this time of day or at the appointment's own.
    Days(i64, Option<jiff::civil::Time>),
}

impl ReminderStage {
    /// The stage as written in `client.toml`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name in keys: `24h`, `2d`, `morning-of`, `day-before`, `3-days-before`. It leaves out
    /// the time of day. So no customer is reminded twice because a client changed it.
    pub fn name(&self) -> String {
        match self.offset {
            StageOffset::Minutes(_) | StageOffset::Days(_, None) => self.text.clone(),
            StageOffset::Days(0, Some(_)) => "morning-of".to_owned(),
            StageOffset::Days(1, Some(_)) => "day-before".to_owned(),
            StageOffset::Days(days, Some(_)) => format!("{days}-days-before"),
        }
    }

    /// When the reminder is due for an appointment that begins at `start`, in the appointment's
    /// zone. `None` if that is not before the start, such as 08:00 for an appointment at 07:00.
    pub fn due_at(&self, start: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let at = match self.offset {
            StageOffset::Minutes(minutes) => start.checked_sub(SignedDuration::from_mins(minutes)).ok()?,
            StageOffset::Days(days, time) => {
                let local = start.to_zoned(zone.clone()).datetime();
                let date = local.date().checked_sub(days.days()).ok()?;
                // jiff's "compatible": a skipped time moves behind the gap by its length, and of a
                // time that happens twice the first one counts.
                date.to_datetime(time.unwrap_or(local.time())).to_zoned(zone.clone()).ok()?.timestamp()
            }
        };
        (at < start).then_some(at)
    }

    /// The stage's own time of day, if it has one: `morning of at 08:00`.
    pub fn time_of_day(&self) -> Option<jiff::civil::Time> {
        match self.offset {
            StageOffset::Minutes(_) => None,
            StageOffset::Days(_, time) => time,
        }
    }

    /// The longest time from the reminder to the start. It orders the stages and limits how far
    /// ahead a feed is read.
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

/// The longest time from a reminder to the start, in days.
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
    /// The earliest reminder comes first.
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
        // Israel: clocks go forward on 2027-03-26, 02:00 → 03:00, and back on 2026-10-25,
        // 02:00 → 01:00.
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
