//! Conversations on the lines: when the team is alerted.
//!
//! Main types: [`EscalationRule`], [`BusinessHours`].

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{MessageTemplates, Milestone, TimeOfDay, TimeSpan};

/// How much of a message's text a CRM or a target receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextDetail {
    /// No text: only that there was a message.
    Off,
    /// The beginning: at most 160 characters.
    #[default]
    Excerpt,
    /// All of it. A target shows at most 500 characters of each message.
    Full,
}

impl TextDetail {
    /// The longest excerpt, in characters.
    pub const MAX_EXCERPT_CHARS: usize = 160;

    /// The part of a text that may be passed on; `None` if none may.
    pub fn apply_to(self, text: &str) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Full => Some(text.to_owned()),
            Self::Excerpt if text.chars().count() <= Self::MAX_EXCERPT_CHARS => Some(text.to_owned()),
            Self::Excerpt => Some(text.chars().take(Self::MAX_EXCERPT_CHARS - 1).chain(['…']).collect()),
        }
    }
}

/// When the team is alerted, and where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationRule {
    /// What has to happen: the trigger.
    pub when: EscalationTrigger,
    /// The names of the targets that are alerted. At least one.
    pub to: Vec<String>,
    /// How long one alert stands for all that follow in the same conversation: `"1m"` to `"7d"`.
    /// Default: `"4h"`.
    #[serde(default = "default_cooldown")]
    #[schemars(with = "String")]
    pub cooldown: TimeSpan,
    /// The names of the lines to which the rule applies. Default: all lines with `events = true`.
    #[serde(default)]
    pub lines: Vec<String>,
    /// The automatic reply to the customer. It is sent once in a conversation within `cooldown`.
    /// Default: none.
    #[serde(default)]
    pub acknowledge: Option<AcknowledgementRule>,
}

fn default_cooldown() -> TimeSpan {
    TimeSpan(jiff::SignedDuration::from_hours(4))
}

impl EscalationRule {
    /// Whether the rule applies to this line.
    pub fn covers_line(&self, line: &str) -> bool {
        self.lines.is_empty() || self.lines.iter().any(|name| name == line)
    }
}

/// When the team is alerted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EscalationTrigger {
    /// A customer's message contains one of these words or phrases, by language. Every message is
    /// searched for all of them, whatever its language.
    Words(BTreeMap<String, Vec<String>>),
    /// A customer writes on the line for the first time that tellonce knows of. Conversations are
    /// kept for 30 days after their last message, or `retention.inbox_days` if that is more.
    FirstMessage,
    /// A customer writes outside of `business_hours`.
    AfterHours,
    /// The team has not answered a customer for this long: `"1m"` to `"7d"`. Outside of
    /// `business_hours` the time starts when they start.
    Unanswered(#[schemars(with = "String")] TimeSpan),
    /// A message that tellonce sent could not be delivered.
    FailedDelivery,
    /// A customer writes whose latest order message, of the last 90 days, was one of these
    /// milestones.
    Order(Vec<Milestone>),
    /// A customer writes who has an appointment in one of these states.
    Appointment(Vec<AppointmentCondition>),
}

/// A state of an appointment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AppointmentCondition {
    /// The appointment is ahead.
    Booked,
    /// The appointment was cancelled.
    Cancelled,
}

/// The automatic reply to a customer, in the conversation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgementRule {
    /// The text by language, a Jinja template. Every language of the client needs a text.
    pub text: BTreeMap<String, String>,
    /// How long after the customer's message the reply is worth sending. `tellonce check` warns
    /// above two hours. Default: `"15m"`.
    #[serde(default = "default_useful_for")]
    #[schemars(with = "String")]
    pub useful_for: TimeSpan,
}

impl AcknowledgementRule {
    /// The templates of the reply.
    pub fn templates(&self) -> MessageTemplates<'_> {
        MessageTemplates { text: &self.text, button: None, document: None }
    }
}

fn default_useful_for() -> TimeSpan {
    TimeSpan(jiff::SignedDuration::from_mins(15))
}

/// Hours of some days of the week in which the team answers, in the client's `time_zone`. Hours
/// over midnight are two entries.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BusinessHours {
    /// The days: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    pub days: Vec<DayOfWeek>,
    /// The first minute, `HH:MM`.
    #[schemars(with = "String")]
    pub from: TimeOfDay,
    /// The first minute after the hours, `HH:MM`. It must be later than `from`.
    #[schemars(with = "String")]
    pub to: TimeOfDay,
}

impl BusinessHours {
    /// Whether the team answers at this time.
    pub fn contains(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let local = at.to_zoned(zone.clone()).datetime();
        let open = self.from.0 <= local.time() && local.time() < self.to.0;
        open && self.days.iter().any(|day| day.to_weekday() == local.weekday())
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum DayOfWeek {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl DayOfWeek {
    fn to_weekday(self) -> Weekday {
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_parse_from_their_documented_forms() {
        let of = |text: &str| toml::from_str::<EscalationRule>(&format!("to = ['team']\nwhen = {text}")).unwrap().when;
        assert_eq!(of("'first-message'"), EscalationTrigger::FirstMessage);
        assert_eq!(of("{ unanswered = '15m' }"), EscalationTrigger::Unanswered("15m".parse().unwrap()));
        assert_eq!(of("{ order = ['cancelled'] }"), EscalationTrigger::Order(vec![Milestone::Cancelled]));
        assert_eq!(
            of("{ appointment = ['booked'] }"),
            EscalationTrigger::Appointment(vec![AppointmentCondition::Booked])
        );
        assert!(matches!(of("{ words = { en = ['urgent'] } }"), EscalationTrigger::Words(_)));
    }

    #[test]
    fn an_excerpt_has_the_documented_length() {
        let long = "א".repeat(500);
        assert_eq!(TextDetail::Excerpt.apply_to(&long).unwrap().chars().count(), TextDetail::MAX_EXCERPT_CHARS);
        assert_eq!(TextDetail::Excerpt.apply_to("short").as_deref(), Some("short"));
        assert_eq!(TextDetail::Full.apply_to(&long).as_deref(), Some(long.as_str()));
        assert_eq!(TextDetail::Off.apply_to("short"), None);
    }

    #[test]
    fn business_hours_follow_the_local_clock() {
        let hours: BusinessHours = toml::from_str("days = ['sun', 'mon']\nfrom = '09:00'\nto = '18:00'").unwrap();
        let zone = TimeZone::get("Asia/Jerusalem").unwrap();
        let open = |at: &str| hours.contains(at.parse().unwrap(), &zone);
        assert!(open("2026-11-22T07:00:00Z"), "Sunday, 09:00 there");
        assert!(!open("2026-11-22T06:59:00Z") && !open("2026-11-22T16:00:00Z"));
        assert!(!open("2026-11-24T10:00:00Z"), "Tuesday");
    }
}
