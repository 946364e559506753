//! Calendars and booking systems: where appointments come from. Each kind has a file with its
//! facts.

mod acuity;
mod calcom;
mod calendly;
mod custom;
mod ics;
mod square;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    BodyTypes, CustomScheme, DeliveryProof, KindSetting, MAIN_ID_SCOPE, ReminderRule, ReminderStage, SecretFacts,
    SenderFacts, TimeSpan, kind_facts::require_settings,
};

pub use self::{
    acuity::AcuityCalendar,
    calcom::CalcomCalendar,
    calendly::CalendlyCalendar,
    custom::{BookingFields, BookingStatus, CustomCalendar},
    ics::{FeedRule, FeedTextRule, OrganizerRule},
    square::SquareCalendar,
};

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
    CalCom(CalcomCalendar),
    /// Calendly.
    Calendly(CalendlyCalendar),
    /// Acuity Scheduling.
    Acuity(AcuityCalendar),
    /// Square Bookings.
    Square(SquareCalendar),
    /// Any other system that posts JSON: a CRM, a custom booking page, n8n, Make, Zapier.
    Custom(CustomCalendar),
    /// An iCalendar feed at a secret address ([`super::ClientConfig::calendar_secret_name`]), which
    /// tellonce reads on a schedule.
    Ics(FeedRule),
}

/// Which texts the appointments of a calendar can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppointmentTexts {
    /// What they are about: `{{ title }}`.
    pub title: bool,
    /// Where they take place: `{{ place }}` and `place_url`.
    pub place: bool,
}

/// The facts of a kind of calendar.
#[derive(Debug)]
pub struct CalendarFacts {
    /// The name in `client.toml`.
    pub name: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// The settings that not every kind has.
    pub settings: &'static [KindSetting],
    /// The setting that two calendars have in common only if they are the same account.
    pub account_setting: Option<&'static str>,
    /// What is read with a credential of the client's.
    pub credential: Option<SecretFacts>,
    /// Whether deliveries are signed with that credential as well.
    pub signs_with_credential: bool,
    /// Which bodies it posts.
    pub body: BodyTypes,
    from_table: fn(CalendarTable) -> Option<CalendarKind>,
}

impl CalendarFacts {
    /// The facts of all kinds, in the order of the documentation.
    pub const ALL: [&'static Self; 6] =
        [&calcom::FACTS, &calendly::FACTS, &acuity::FACTS, &square::FACTS, &custom::FACTS, &ics::FACTS];
}

impl CalendarKind {
    /// The facts of this kind.
    pub const fn facts(&self) -> &'static CalendarFacts {
        match self {
            Self::CalCom(_) => &calcom::FACTS,
            Self::Calendly(_) => &calendly::FACTS,
            Self::Acuity(_) => &acuity::FACTS,
            Self::Square(_) => &square::FACTS,
            Self::Custom(_) => &custom::FACTS,
            Self::Ics(_) => &ics::FACTS,
        }
    }

    /// What its proof means for its client; none if nothing is posted for it.
    pub fn sender(&self) -> Option<SenderFacts> {
        match self {
            Self::CalCom(_) => Some(calcom::SENDER),
            Self::Calendly(_) => Some(calendly::SENDER),
            Self::Acuity(_) => Some(acuity::SENDER),
            Self::Square(_) => Some(square::SENDER),
            Self::Custom(calendar) => Some(calendar.verify.sender()),
            Self::Ics(feed) => feed.google_push.then_some(ics::PUSH_SENDER),
        }
    }

    /// Which texts its appointments can have. Only texts of the client count: what a customer types
    /// never goes out over the client's line.
    pub fn appointment_texts(&self) -> AppointmentTexts {
        match self {
            // Their hosts set the name of the event type, and places by the kind of location.
            Self::CalCom(_) | Self::Calendly(_) | Self::Acuity(_) => AppointmentTexts { title: true, place: true },
            Self::Square(_) => AppointmentTexts { title: false, place: false },
            Self::Custom(CustomCalendar { own_texts, fields, .. }) => AppointmentTexts {
                title: *own_texts && fields.title.is_some(),
                place: *own_texts && fields.place.is_some(),
            },
            Self::Ics(FeedRule { own_texts, .. }) => AppointmentTexts { title: *own_texts, place: *own_texts },
        }
    }

    /// How its deliveries prove where they come from; none if nothing is posted for it.
    pub fn proof(&self) -> Option<DeliveryProof<'_>> {
        match self {
            Self::CalCom(_) => Some(calcom::PROOF),
            Self::Calendly(_) => Some(DeliveryProof::Calendly),
            Self::Acuity(_) => Some(acuity::PROOF),
            Self::Square(calendar) => Some(calendar.proof()),
            Self::Custom(calendar) => Some(calendar.proof()),
            Self::Ics(feed) => feed.google_push.then_some(DeliveryProof::GoogleChannel),
        }
    }
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
    /// `calendly`: the custom question whose answer is the phone number, word for word. `calcom`:
    /// the identifier or the label of that booking question. For event types without a phone number
    /// field of the sender's own.
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
    /// `ics`: organizers that are the client's own, besides the calendar's owner: addresses, or
    /// `"@clinic.example"` for a domain. An event of any other organizer is an invitation and not
    /// an appointment. Default: none.
    organizers: Option<Vec<OrganizerRule>>,
    /// `ics`: how many appointments may become known within a day after the first read, 1 to 5000.
    /// Further ones wait for the next day, or for an operator. Default: 200.
    new_per_day: Option<u32>,
    /// `custom`, `ics`: `true` if the client itself writes the titles and places of appointments.
    /// Otherwise texts have neither, because a stranger may have written them. Default: `false`.
    own_texts: Option<bool>,
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

impl TryFrom<CalendarTable> for CalendarConfig {
    type Error = String;

    fn try_from(mut table: CalendarTable) -> Result<Self, String> {
        let facts = match table.kind {
            CalendarKindName::CalCom => &calcom::FACTS,
            CalendarKindName::Calendly => &calendly::FACTS,
            CalendarKindName::Acuity => &acuity::FACTS,
            CalendarKindName::Square => &square::FACTS,
            CalendarKindName::Custom => &custom::FACTS,
            CalendarKindName::Ics => &ics::FACTS,
        };
        let given = [
            ("phone_question", table.phone_question.is_some()),
            ("user_id", table.user_id.is_some()),
            ("notification_url", table.notification_url.is_some()),
            ("verify", table.verify.is_some()),
            ("fields", table.fields.is_some()),
            ("statuses", table.statuses.is_some()),
            ("poll_every", table.poll_every.is_some()),
            ("phone", table.phone.is_some()),
            ("person", table.person.is_some()),
            ("google_push", table.google_push.is_some()),
            ("organizers", table.organizers.is_some()),
            ("new_per_day", table.new_per_day.is_some()),
            ("own_texts", table.own_texts.is_some()),
        ];
        let (line, reminders) = (std::mem::take(&mut table.line), std::mem::take(&mut table.reminders));
        let (name, id_scope) = (table.name.take(), table.id_scope.take());
        let (time_zone, country) = (table.time_zone.take(), table.country.take());
        let owner = format!("{} calendar", facts.name);
        let kind = require_settings(&owner, facts.settings, &given, (facts.from_table)(table))?;
        Ok(Self { kind, line, name, id_scope, time_zone, country, reminders })
    }
}
