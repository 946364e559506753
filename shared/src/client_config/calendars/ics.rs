//! An iCalendar feed at a secret address, asked for again and again.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

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
    /// Organizers that are the client's own, besides the calendar's owner. An event of any other
    /// organizer is an invitation of a stranger and not an appointment.
    pub organizers: Vec<OrganizerRule>,
    /// Whether the client itself writes titles and places of events. Otherwise texts have neither.
    pub own_texts: bool,
    /// How many appointments may become known within a day after the first read: 1 to 5000. Further
    /// ones wait.
    pub new_per_day: u32,
}

/// An organizer that is the client's own: an e-mail address, or `@` and a domain. In lower case.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct OrganizerRule(String);

impl OrganizerRule {
    /// Whether this address, in lower case, is meant. A subdomain is another domain.
    pub fn matches(&self, address: &str) -> bool {
        if self.is_domain() { address.ends_with(&self.0) } else { address == self.0 }
    }

    /// Whether it means every address of a domain.
    pub fn is_domain(&self) -> bool {
        self.0.starts_with('@')
    }

    /// The rule in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for OrganizerRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_rule = text.split_once('@').is_some_and(|(_, domain)| {
            domain.contains('.') && !domain.contains('@') && !text.contains(|c: char| c.is_whitespace() || c == ':')
        });
        if is_rule {
            Ok(Self(text.to_lowercase()))
        } else {
            Err(de::Error::custom(format!(
                "`{text}` is not an organizer; write an address, \"anna@clinic.example\", or a domain, \"@clinic.example\""
            )))
        }
    }
}

/// Where a value stands in the text of a calendar event.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedTextRule {
    /// The field: `summary`, `description`, `location`, or a property of the calendar in lower
    /// case, such as `x-phone`.
    pub field: String,
    /// The labels of the value: `["Phone:", "tel:"]`. A label stands at the start of a line or
    /// behind a separator. The value is the first number behind it, or the rest of its line for a
    /// name. Default: none, and the whole field counts.
    #[serde(default)]
    pub after: Vec<String>,
}

/// How often a feed is read without `poll_every`.
const DEFAULT_POLL_MINUTES: i64 = 15;
/// How many appointments may become known a day without `new_per_day`: more than the best day of a
/// practice.
const DEFAULT_NEW_PER_DAY: u32 = 200;

pub(super) static FACTS: CalendarFacts = CalendarFacts {
    name: "ics",
    label: "a feed",
    settings: &[
        KindSetting::optional("poll_every", SettingRule::Any),
        KindSetting::required("phone", SettingRule::Any),
        KindSetting::optional("person", SettingRule::Any),
        KindSetting::optional("google_push", SettingRule::Any),
        KindSetting::optional("organizers", SettingRule::Any),
        KindSetting::optional("new_per_day", SettingRule::Any),
        KindSetting::optional("own_texts", SettingRule::Any),
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
            organizers: table.organizers.unwrap_or_default(),
            new_per_day: table.new_per_day.unwrap_or(DEFAULT_NEW_PER_DAY),
            own_texts: table.own_texts.unwrap_or(false),
        }))
    },
};

/// Google Calendar, which posts that a feed has changed.
pub(super) const PUSH_SENDER: SenderFacts = SenderFacts {
    secret: SecretFacts::chosen(
        SecretPurpose::WebhookSecret,
        "a long random value; give it to Google as the `token` of the channel that watches the calendar",
    ),
    // What it posts makes us read the feed, as often as it posts.
    repeats: None,
    samples: "google_calendar",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Rules {
        organizers: Vec<OrganizerRule>,
    }

    #[test]
    fn an_organizer_is_an_address_or_all_addresses_of_one_domain() {
        let rules: Rules = toml::from_str(r#"organizers = ["Anna@Clinic.example", "@clinic.example"]"#).unwrap();
        let [address, domain] = rules.organizers.as_slice() else { panic!() };
        assert!(address.matches("anna@clinic.example") && !address.matches("joanna@clinic.example"));
        assert!(domain.matches("dana@clinic.example") && domain.is_domain() && !address.is_domain());
        for foreign in ["dana@other.example", "dana@sub.clinic.example", "dana@clinic.example.evil.example", ""] {
            assert!(!address.matches(foreign) && !domain.matches(foreign), "{foreign}");
        }
        for wrong in ["", "clinic.example", "@", "@clinic", "a@b@clinic.example", "mailto:a@clinic.example", "a b@c.d"]
        {
            assert!(toml::from_str::<Rules>(&format!("organizers = [\"{wrong}\"]")).is_err(), "{wrong}");
        }
    }
}
