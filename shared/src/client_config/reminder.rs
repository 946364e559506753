//! Reminders: what a client sends before an appointment, and when.

use std::{cmp::Ordering, collections::BTreeMap, fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::{ButtonTemplate, MessageTemplates, TimeSpan};

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
