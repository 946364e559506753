//! An iCalendar feed at a secret address, asked for again and again.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::{BodyTypes, KindSetting, SecretFacts, SecretPurpose, SenderFacts, SettingRule, TimeSpan},
    CalendarFacts, CalendarKind,
};

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

/// How often a feed is read without `poll_every`.
const DEFAULT_POLL_MINUTES: i64 = 15;

pub(super) static FACTS: CalendarFacts = CalendarFacts {
    name: "ics",
    label: "a feed",
    settings: &[
        KindSetting::optional("poll_every", SettingRule::Any),
        KindSetting::required("phone", SettingRule::Any),
        KindSetting::optional("person", SettingRule::Any),
        KindSetting::optional("google_push", SettingRule::Any),
    ],
    account_setting: None,
    credential: Some(SecretFacts::new(
        SecretPurpose::FeedAddress,
        "the feed's secret address, https://… (Google Calendar: Settings, Secret address in iCal format)",
    )),
    signs_with_credential: false,
    // Google's notifications have no body and need no content type.
    body: BodyTypes { description: "a notification without a body", json: false, empty: true, ..BodyTypes::JSON },
    from_table: |table| {
        Some(CalendarKind::Ics(FeedRule {
            poll_every: table.poll_every.unwrap_or(TimeSpan(SignedDuration::from_mins(DEFAULT_POLL_MINUTES))),
            phone: table.phone?,
            person: table.person,
            google_push: table.google_push.unwrap_or(false),
        }))
    },
};

/// Google Calendar, which posts that a feed has changed.
pub(super) const PUSH_SENDER: SenderFacts = SenderFacts {
    secret: SecretFacts::new(
        SecretPurpose::WebhookSecret,
        "a long random value; give it to Google as the `token` of the channel that watches the calendar",
    ),
    // What it posts makes us read the feed, as often as it posts.
    repeats: None,
    samples: "google_calendar",
};
