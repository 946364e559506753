//! The configuration of one client: lines, senders, texts and rules, read from `client.toml`.
//!
//! Main types:
//! - [`ClientConfig`]: the whole file.
//! - [`LineConfig`]: a WhatsApp line.
//! - [`StoreConfig`]: a sender of order events. [`MessageRule`]: the message at a [`Milestone`].
//! - [`CalendarConfig`]: a source of appointments. [`ReminderRule`]: the reminder at a
//!   [`ReminderStage`].
//! - [`FormConfig`]: a source of leads, with their first touch.
//! - [`CrmConfig`]: a CRM. [`EscalationRule`]: when the team is alerted. [`TargetConfig`]: where.
//!
//! Names of secret values follow from names in the file: [`ClientConfig::webhook_secret_name`] and
//! its neighbours. [`SecretLayout`] says which secret holds a value.
//!
//! Promises: what [`ClientConfig::parse`] returns has the right shape. Does **not** check its
//! meaning, such as whether templates render and every store names a known line. `tellonce check`
//! does that before a deployment, so functions start faster.

mod calendars;
mod conversation;
mod crms;
mod forms;
mod kind_facts;
mod message;
mod milestone;
mod proof;
mod reminder;
mod stores;
mod targets;
mod values;

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{code_version::name_version, contact::PhoneRule, provider::PROVIDER, secret::SecretLayout};

pub use calendars::*;
pub use conversation::{
    AcknowledgementRule, AppointmentCondition, BusinessHours, DayOfWeek, EscalationRule, EscalationTrigger, TextDetail,
};
pub use crms::*;
pub use forms::*;
pub use kind_facts::{
    BodyTypes, KindSetting, RepeatWindow, SecretFacts, SecretPurpose, SenderFacts, SettingProblem, SettingRule,
};
pub use message::MessageRule;
pub use milestone::{Milestone, Precedence};
pub use proof::{
    CustomScheme, DeliveryIdSource, DeliveryProof, FallbackId, PathSecret, SignatureEncoding, SignatureScheme,
    SignedPart, SignedTimestamp, UnsignedMark, UnsignedPing,
};
pub use reminder::{LateBookingRule, QuietHoursRule, ReminderRule, ReminderStage};
pub use stores::*;
pub use targets::*;
pub use values::{ButtonTemplate, JsonPointer, MAIN_ID_SCOPE, MessageTemplates, TimeOfDay, TimeSpan, is_plain_name};

/// All settings of one client: the content of `client.toml`. Holds no secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// Short name of the client: 2 to 30 lower-case letters, digits and `-`. It begins with a
    /// letter and does not end with `-`. It is part of the name of every secret.
    pub client: String,
    /// The name that customers know: `{{ store_name }}` and `{{ business_name }}` in texts. A
    /// store, calendar or form may have its own `name`.
    pub name: String,
    /// Default country for phone numbers without a country code: ISO 3166-1 alpha-2, such as `IL`.
    /// Reminders write dates and times in the style of this country.
    pub country: String,
    /// IANA time zone, such as `Asia/Jerusalem`. Quiet hours and business hours are times of this
    /// zone. Appointments whose sender names no zone use it too.
    pub time_zone: String,
    /// Languages of the texts, as codes of two or three lower-case letters, such as `he`. At least
    /// one. Customers who use none of them get the first.
    pub languages: Vec<String>,
    /// Hours in which customers receive nothing. Messages of these hours wait until they end,
    /// unless the message sets its own `quiet_hours`. Default: none.
    #[serde(default)]
    pub quiet_hours: Option<QuietHours>,
    /// Which phone numbers may receive messages. Default: `possible`.
    #[serde(default)]
    pub phones: PhoneRule,
    /// How long deliveries and ledger rows are kept.
    #[serde(default)]
    pub retention: Retention,
    /// How values are stored in Secrets Manager: `by-role`, five JSON secrets at most, or
    /// `separate`, one secret each. Default: `by-role`.
    #[serde(default)]
    pub secrets: SecretLayout,
    /// The WhatsApp lines of the client, by a name of your choice. At least one. A name has at most
    /// 40 lower-case letters, digits, `-` and `_`.
    pub lines: BTreeMap<String, LineConfig>,
    /// Senders of order events, by name. A store posts to `/stores/<name>`. A name has at most 40
    /// lower-case letters, digits, `-` and `_`.
    #[serde(default)]
    pub stores: BTreeMap<String, StoreConfig>,
    /// Calendars and booking systems, by name. A booking system posts to `/bookings/<name>`. A name
    /// has at most 40 lower-case letters, digits, `-` and `_`.
    #[serde(default)]
    pub calendars: BTreeMap<String, CalendarConfig>,
    /// Messages about orders, by milestone. A milestone without an entry sends nothing.
    #[serde(default)]
    pub messages: BTreeMap<Milestone, MessageRule>,
    /// Forms that collect leads, by name. A form posts to `/leads/<name>`. A name has at most 40
    /// lower-case letters, digits, `-` and `_`.
    #[serde(default)]
    pub forms: BTreeMap<String, FormConfig>,
    /// CRMs that receive one entry for each message, by a name of your choice.
    #[serde(default)]
    pub crms: BTreeMap<String, CrmConfig>,
    /// Where alerts for the team go, by a name of your choice.
    #[serde(default)]
    pub targets: BTreeMap<String, TargetConfig>,
    /// Rules that say when the team is alerted, by a name of your choice.
    #[serde(default)]
    pub escalations: BTreeMap<String, EscalationRule>,
    /// The hours in which the team answers, in the client's `time_zone`. Escalations by
    /// `after-hours` need them, and those by `unanswered` use them. Default: none.
    #[serde(default)]
    pub business_hours: Vec<BusinessHours>,
    /// The words by which a customer refuses further reminders and greetings, by language. Only a
    /// message that consists of one of them counts. Default: none, and no message opts a customer
    /// out.
    #[serde(default)]
    pub opt_out: BTreeMap<String, Vec<String>>,
    /// The version of the code and of this file: see `code_version`. Empty unless
    /// [`Self::parse`] read the file.
    #[serde(skip)]
    pub version: String,
}

/// Hours of the day in which customers receive nothing, in the client's `time_zone`. Reminders use
/// the attendee's own zone. If `from` is later than `to`, the hours last over midnight.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// The first quiet minute, `HH:MM`.
    #[schemars(with = "String")]
    pub from: TimeOfDay,
    /// The first minute after the quiet hours, `HH:MM`.
    #[schemars(with = "String")]
    pub to: TimeOfDay,
}

impl QuietHours {
    /// The start of the quiet hours that contain `now`; `None` outside of them.
    pub fn current_start(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.current_end(now, zone)?;
        let local = now.to_zoned(zone.clone()).datetime();
        // After midnight, the quiet hours began on the day before.
        let began_today = local.time() >= self.from.0;
        let date = if began_today { local.date() } else { local.date().yesterday().ok()? };
        Some(date.to_datetime(self.from.0).to_zoned(zone.clone()).ok()?.timestamp().min(now))
    }

    /// The end of the quiet hours that contain `now`; `None` outside of them.
    ///
    /// The end is a local time, also if the clocks change in between. An end that the clocks skip
    /// moves behind the gap: 02:30 becomes 03:30.
    pub fn current_end(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = now.to_zoned(zone.clone()).datetime();
        let (from, to, time) = (self.from.0, self.to.0, local.time());
        let (quiet, over_midnight) =
            if from <= to { (from <= time && time < to, false) } else { (time >= from || time < to, time >= from) };
        let date = if over_midnight { local.date().tomorrow().ok()? } else { local.date() };
        let end = date.to_datetime(to).to_zoned(zone.clone()).ok()?.timestamp();
        (quiet && end > now).then_some(end)
    }
}

/// How long data is kept, in days. `ledger_days` must be at least `inbox_days`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How long deliveries are kept, in days: 1 to 365, default 30. It must cover the time in which
    /// a sender repeats a delivery.
    pub inbox_days: u16,
    /// How long ledger rows are kept, in days: 30 to 3650, default 400. During this time no message
    /// is sent twice.
    pub ledger_days: u16,
    /// How long number, name and text of a settled message are kept, in days: 30 to `ledger_days`,
    /// and at least `inbox_days`. Default 60, within these limits. After that, key and state stay.
    pub personal_days: Option<u16>,
}

/// How long personal data is kept if `client.toml` does not say, in days.
const DEFAULT_PERSONAL_DAYS: u16 = 60;
/// The shortest time for which it can be kept, in days: that of conversations.
const MIN_PERSONAL_DAYS: u16 = 30;

impl Retention {
    /// The fewest days for which personal data can be kept: deliveries hold it too.
    pub fn min_personal_days(&self) -> u16 {
        self.inbox_days.max(MIN_PERSONAL_DAYS)
    }

    /// How long personal data of settled messages is kept, in days.
    pub fn personal_days(&self) -> u16 {
        let days = self.personal_days.unwrap_or(DEFAULT_PERSONAL_DAYS);
        days.max(self.min_personal_days()).min(self.ledger_days)
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { inbox_days: 30, ledger_days: 400, personal_days: None }
    }
}

/// A WhatsApp line of the client. Its token is the secret `tellonce/<client>/lines/<name>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineConfig {
    /// The provider's id of the line. Where to find it: `docs/ezwhatsapp.md`.
    pub line_id: String,
    /// The rate limit of the line, in messages a minute: 1 to 60, default 20. It holds for all
    /// functions together. The provider publishes no limit; 20 is cautious.
    #[serde(default = "default_messages_per_minute")]
    pub messages_per_minute: u32,
    /// To how many new people the line may write on one day of the client: 1 to 100,000, default
    /// 250. A person is new who got no message from tellonce and never wrote to a line with
    /// `events`. Further messages are held until the next day.
    #[serde(default = "default_first_contacts_per_day")]
    pub first_contacts_per_day: u32,
    /// How documents, such as invoices, are sent. Default: `link`.
    #[serde(default)]
    pub media: MediaMode,
    /// Accept what the provider reports of this line, messages and delivery statuses, at
    /// `/lines/<name>/<secret>`. Default: `false`.
    #[serde(default)]
    pub events: bool,
}

fn default_messages_per_minute() -> u32 {
    PROVIDER.facts().default_messages_per_minute
}

/// The provider publishes no limit. WhatsApp lets a new business account begin 250 conversations in
/// 24 hours (developers.facebook.com, "Messaging limits").
fn default_first_contacts_per_day() -> u32 {
    250
}

/// How a document is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MediaMode {
    /// As a link below the text, unless the text contains the link. It uses only documented fields
    /// of the provider.
    #[default]
    Link,
    /// As an attachment. The provider does not publish the fields, so tellonce assumes them: see
    /// U20 in `docs/ezwhatsapp.md`. Try it with your own phone first.
    AttachmentExperimental,
}

impl LineConfig {
    /// How an event proves that it is of this line, at an address that ends so.
    pub fn proof<'a>(&'a self, given: &'a str) -> DeliveryProof<'a> {
        DeliveryProof::Line { line_id: &self.line_id, given: PathSecret(given) }
    }
}

impl ClientConfig {
    /// Reads the text of a `client.toml`.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        // By way of JSON, because `toml` makes more than twice the code for each type.
        let value: serde_json::Value = toml::from_str(text)?;
        let config = Self::deserialize(value).map_err::<toml::de::Error, _>(serde::de::Error::custom)?;
        Ok(Self { version: name_version(text), ..config })
    }

    /// The calendars that are feeds.
    pub fn feed_names(&self) -> impl Iterator<Item = &str> {
        let feeds = self.calendars.iter().filter(|(_, calendar)| matches!(calendar.kind, CalendarKind::Ics(_)));
        feeds.map(|(name, _)| name.as_str())
    }

    /// Name of the secret that verifies the deliveries of a store, calendar or form.
    pub fn webhook_secret_name(&self, sender: &str) -> String {
        format!("tellonce/{}/webhooks/{sender}", self.client)
    }

    /// Name of the secret that holds a line's token.
    pub fn line_secret_name(&self, line: &str) -> String {
        format!("tellonce/{}/lines/{line}", self.client)
    }

    /// Name of the secret that holds the token of a store's API.
    pub fn store_api_secret_name(&self, store: &str) -> String {
        format!("tellonce/{}/stores/{store}", self.client)
    }

    /// Name of the secret that holds a calendar's credential: the address of a feed, or the key or
    /// token of its API.
    pub fn calendar_secret_name(&self, calendar: &str) -> String {
        format!("tellonce/{}/calendars/{calendar}", self.client)
    }

    /// Name of the secret that holds the token of the API behind a form.
    pub fn form_secret_name(&self, form: &str) -> String {
        format!("tellonce/{}/forms/{form}", self.client)
    }

    /// Name of the secret that holds the verify token of Meta's handshake.
    pub fn handshake_secret_name(&self, form: &str) -> String {
        format!("tellonce/{}/webhooks/{form}/verify", self.client)
    }

    /// Name of the secret at the end of the address to which a line reports events.
    pub fn line_webhook_secret_name(&self, line: &str) -> String {
        format!("tellonce/{}/webhooks/{line}/line", self.client)
    }

    /// Name of the secret that holds a CRM's credential.
    pub fn crm_secret_name(&self, crm: &str) -> String {
        format!("tellonce/{}/crms/{crm}", self.client)
    }

    /// Name of the secret that holds the address of a target, or the key that signs its calls.
    pub fn target_secret_name(&self, target: &str) -> String {
        format!("tellonce/{}/targets/{target}", self.client)
    }

    /// The end of the quiet hours that contain `now`; `None` outside of them.
    pub fn quiet_hours_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.quiet_hours_end_in_zone(None, now)
    }

    /// Like [`Self::quiet_hours_end`], on the clock of an IANA zone. Without a known zone the
    /// client's counts.
    pub fn quiet_hours_end_in_zone(&self, zone: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        self.quiet_hours?.current_end(now, &self.zone_or_default(zone)?)
    }

    /// The start of the quiet hours that contain `now`, on the clock of an IANA zone; `None`
    /// outside of them.
    pub fn quiet_hours_start_in_zone(&self, zone: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        self.quiet_hours?.current_start(now, &self.zone_or_default(zone)?)
    }

    /// The zone of this name, or the client's if there is none. `None` if neither is known.
    pub fn zone_or_default(&self, zone: Option<&str>) -> Option<TimeZone> {
        // `tellonce check` verifies the client's zone. If it is unknown all the same, there are no
        // quiet hours: a message at night is better than no message.
        zone.and_then(|name| TimeZone::get(name).ok()).or_else(|| TimeZone::get(&self.time_zone).ok())
    }

    /// The client's zone. UTC if it is unknown, which `tellonce check` reports.
    pub fn own_zone(&self) -> TimeZone {
        self.zone_or_default(None).unwrap_or(TimeZone::UTC)
    }

    /// The client's date at this moment.
    pub fn local_day(&self, now: Timestamp) -> Date {
        self.own_zone().to_datetime(now).date()
    }

    /// The start of the client's next day.
    pub fn next_day_start(&self, now: Timestamp) -> Timestamp {
        let next_day = self.local_day(now).checked_add(1.day()).and_then(|date| date.to_zoned(self.own_zone()));
        // Only the last day that the calendar knows has no next day.
        next_day.map_or(Timestamp::MAX, |start| start.timestamp())
    }

    /// The language for a customer's locale (`he-IL`, `en_US`): one of `languages`, or the first of
    /// them.
    pub fn language_for(&self, locale: Option<&str>) -> &str {
        locale
            .and_then(|locale| self.find_language(locale))
            .or(self.languages.first().map(String::as_str))
            .unwrap_or("en")
    }

    /// The one of `languages` that fits a locale; `None` if none does.
    pub fn find_language(&self, locale: &str) -> Option<&str> {
        let primary = locale.split(['-', '_']).next().unwrap_or_default();
        // Java and old versions of Android write `iw` for Hebrew.
        let primary = if primary.eq_ignore_ascii_case("iw") { "he" } else { primary };
        self.languages.iter().find(|language| language.eq_ignore_ascii_case(primary)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet_hours_end_local(now: &str, from: &str, to: &str) -> Option<String> {
        let time = |text: &str| TimeOfDay(jiff::civil::Time::strptime("%H:%M", text).unwrap());
        let hours = QuietHours { from: time(from), to: time(to) };
        let zone = TimeZone::get("Asia/Jerusalem").unwrap();
        hours.current_end(now.parse().unwrap(), &zone).map(|end| end.to_zoned(zone).datetime().to_string())
    }

    #[test]
    fn quiet_hours_over_midnight_end_the_next_morning() {
        assert_eq!(
            quiet_hours_end_local("2026-11-20T20:00:00Z", "21:30", "08:00").as_deref(),
            Some("2026-11-21T08:00:00")
        );
        assert_eq!(
            quiet_hours_end_local("2026-11-20T23:00:00Z", "21:30", "08:00").as_deref(),
            Some("2026-11-21T08:00:00")
        );
        assert_eq!(quiet_hours_end_local("2026-11-20T06:00:00Z", "21:30", "08:00"), None, "08:00 is no longer quiet");
        assert_eq!(
            quiet_hours_end_local("2026-11-20T05:59:00Z", "21:30", "08:00").as_deref(),
            Some("2026-11-20T08:00:00")
        );
        assert_eq!(
            quiet_hours_end_local("2026-11-20T12:00:00Z", "13:00", "15:00").as_deref(),
            Some("2026-11-20T15:00:00")
        );
    }

    #[test]
    fn quiet_hours_across_a_clock_change_end_by_local_time() {
        // 2027-03-26, 02:00 → 03:00.
        assert_eq!(
            quiet_hours_end_local("2027-03-25T22:30:00Z", "21:30", "08:00").as_deref(),
            Some("2027-03-26T08:00:00")
        );
        assert_eq!(
            quiet_hours_end_local("2027-03-25T23:30:00Z", "23:00", "02:30").as_deref(),
            Some("2027-03-26T03:30:00")
        );
    }
}
