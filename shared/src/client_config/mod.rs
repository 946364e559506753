//! One client, as its agency wrote it down: lines, stores, texts and rules, read from `client.toml`.
//!
//! The cast: [`ClientConfig`] is the whole file; [`LineConfig`] a WhatsApp line; [`StoreConfig`] a sender of order events;
//! [`MessageRule`] what to say at a [`Milestone`]; [`CalendarConfig`] a source of appointments; [`ReminderRule`] what to say at
//! a [`ReminderStage`] before one; [`FormConfig`] a place where people leave their number. Names of secrets follow from names in the file
//! ([`ClientConfig::webhook_secret_name`] and its neighbours), so there is nothing to keep in step.
//!
//! Promises that what [`ClientConfig::parse`] returns has the right shape. Whether it makes sense (templates render,
//! every store names a line that exists, …) is `tellonce-check`'s business, which runs before a deployment, not in a
//! function's cold start.

mod calendar;
mod conversation;
mod form;
mod milestone;

use std::{collections::BTreeMap, str::FromStr};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::{contact::PhoneRule, provider::PROVIDER};

pub use calendar::{
    BookingFields, BookingStatus, CalendarConfig, CalendarKind, FeedRule, FeedTextRule, LateBookingRule,
    QuietHoursRule, ReminderRule, ReminderStage,
};
pub use conversation::{
    AcknowledgementRule, AppointmentCondition, BusinessHours, CrmConfig, CrmKind, DataCentre, DayOfWeek,
    EscalationRule, EscalationTrigger, TargetConfig, TargetKind, TextDetail, UnknownContactRule, ZohoModule,
};
pub use form::{
    ChoiceRule, ConsentRule, FormConfig, FormFields, FormKind, FormScheme, LeadLimit, NO_ANSWERS, RepeatAction,
    RepeatRule, RepeatScope, YES_ANSWERS,
};
pub use milestone::{Milestone, Precedence};

/// A whole `client.toml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// Short name of the client: lower-case letters, digits and `-`. Part of every secret's name.
    pub client: String,
    /// The name customers know, for texts: `{{ store_name }}` unless the store has its own.
    pub name: String,
    /// Country (ISO 3166-1 alpha-2, e.g. `IL`) whose rules read a phone number that carries no country of its own.
    pub country: String,
    /// IANA time zone of the client, e.g. `Asia/Jerusalem`: quiet hours are told in it.
    pub time_zone: String,
    /// Languages of the texts, as BCP 47 primary tags; the first is used when an order names none of them.
    pub languages: Vec<String>,
    /// Hours in which nobody is written to. Messages that fall into them wait until they end.
    #[serde(default)]
    pub quiet_hours: Option<QuietHours>,
    /// Which phone numbers may be messaged.
    #[serde(default)]
    pub phones: PhoneRule,
    /// How long the ledger and the inbox remember.
    #[serde(default)]
    pub retention: Retention,
    /// The WhatsApp lines of the client, by a name of our own.
    pub lines: BTreeMap<String, LineConfig>,
    /// Senders of order events, by the name that stands in their webhook URL: `/stores/{name}`.
    #[serde(default)]
    pub stores: BTreeMap<String, StoreConfig>,
    /// Calendars and booking systems, by the name that stands in their webhook URL: `/bookings/{name}`.
    #[serde(default)]
    pub calendars: BTreeMap<String, CalendarConfig>,
    /// What to say, by milestone. A milestone without an entry is never told.
    #[serde(default)]
    pub messages: BTreeMap<Milestone, MessageRule>,
    /// Forms, by the name that stands in their webhook URL: `/leads/{name}`.
    #[serde(default)]
    pub forms: BTreeMap<String, FormConfig>,
    /// Customer systems that are told of every message, by a name of our own.
    #[serde(default)]
    pub crms: BTreeMap<String, CrmConfig>,
    /// Where the team is called, by a name of our own.
    #[serde(default)]
    pub targets: BTreeMap<String, TargetConfig>,
    /// When the team is called, by a name of our own.
    #[serde(default)]
    pub escalations: BTreeMap<String, EscalationRule>,
    /// When somebody is there to answer, in the client's time zone. Needed only by escalations that ask for it.
    #[serde(default)]
    pub business_hours: Vec<BusinessHours>,
    /// By language, what a customer writes who wants no more greetings and reminders: a message that is nothing else than
    /// one of these. Nobody is opted out by what they write when this is empty.
    #[serde(default)]
    pub opt_out: BTreeMap<String, Vec<String>>,
}

/// Hours of the day, in the client's time zone, in which nobody is written to. `from` may be later than `to`
/// (over midnight).
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// First quiet minute, `HH:MM`.
    #[schemars(with = "String")]
    pub from: TimeOfDay,
    /// First minute that is no longer quiet, `HH:MM`.
    #[schemars(with = "String")]
    pub to: TimeOfDay,
}

impl QuietHours {
    /// When the quiet hours that `now` falls into began, if it falls into any.
    pub fn current_start(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.current_end(now, zone)?;
        let local = now.to_zoned(zone.clone()).datetime();
        // Over midnight, the hours after it began the day before.
        let began_today = local.time() >= self.from.0;
        let date = if began_today { local.date() } else { local.date().yesterday().ok()? };
        Some(date.to_datetime(self.from.0).to_zoned(zone.clone()).ok()?.timestamp().min(now))
    }

    /// When the quiet hours that `now` falls into end, if it falls into any. A clock change inside them moves the end
    /// with the clock on the wall; an end that the clocks skip is the moment after the skip.
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

/// A time of day to the minute, written `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub jiff::civil::Time);

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        jiff::civil::Time::strptime("%H:%M", &text)
            .map(Self)
            .map_err(|_| de::Error::custom(format!("`{text}` is not a time of day; write it like \"21:30\"")))
    }
}

/// How long things are remembered, in days.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Deliveries in the inbox. At least the senders' retry window: 1 to 365.
    pub inbox_days: u16,
    /// Messages in the ledger: for so long the same thing is never told again. 30 to 3650.
    pub ledger_days: u16,
}

impl Default for Retention {
    fn default() -> Self {
        Self { inbox_days: 30, ledger_days: 400 }
    }
}

/// A WhatsApp line of the client. Its token is the secret [`ClientConfig::line_secret_name`].
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineConfig {
    /// The line's id in EZWhatsApp, as `X-EZW-Line-Id` carries it.
    pub line_id: String,
    /// Messages a minute over this line, by all functions together. EZWhatsApp publishes no limit; 20 is a cautious
    /// human pace.
    #[serde(default = "default_messages_per_minute")]
    pub messages_per_minute: u32,
    /// How a document such as an invoice is sent.
    #[serde(default)]
    pub media: MediaMode,
    /// Take what EZWhatsApp reports of this line (messages, statuses), at `/lines/{line}/{secret}`.
    #[serde(default)]
    pub events: bool,
}

fn default_messages_per_minute() -> u32 {
    PROVIDER.facts().default_messages_per_minute
}

/// How a document is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MediaMode {
    /// As a link in the text and on the button: needs nothing but `/messages/text`.
    #[default]
    Link,
    /// Through `/messages/media`, whose fields EZWhatsApp does not publish: see `docs/ezwhatsapp.md` for what is
    /// assumed. Try it with a message to yourself first.
    AttachmentExperimental,
}

/// A sender of order events.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "StoreTable")]
#[schemars(with = "StoreTable")]
pub struct StoreConfig {
    /// What kind of sender it is, and what only that kind needs.
    pub kind: StoreKind,
    /// The line that speaks for this store.
    pub line: String,
    /// The shop's name in texts; the client's name when absent.
    pub name: Option<String>,
    /// Which orders this store's numbers belong to. Stores that report on the same orders share a book (the ERP that
    /// says "ready" for orders placed in the shop); stores with numbers of their own need a book of their own.
    pub id_scope: Option<String>,
    /// Country for phone numbers of this store, when it is not the client's.
    pub country: Option<String>,
}

impl StoreConfig {
    /// The order book of this store: its own, or the main one.
    pub fn id_scope(&self) -> &str {
        self.id_scope.as_deref().unwrap_or(MAIN_ID_SCOPE)
    }
}

/// A store as it stands in the file: one flat table, whatever its kind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    /// What kind of sender it is.
    kind: StoreKindName,
    /// The line that speaks for this store.
    line: String,
    /// The shop's name in texts; the client's name when absent.
    name: Option<String>,
    /// Which orders this store's numbers belong to; `main` when absent.
    id_scope: Option<String>,
    /// Country for phone numbers of this store, when it is not the client's.
    country: Option<String>,
    /// Shopify: the shop's `….myshopify.com` domain.
    shop_domain: Option<String>,
    /// `WooCommerce`: home URL of the site as in `X-WC-Webhook-Source`, with its trailing slash.
    source: Option<String>,
    /// `WooCommerce`: order status → milestone.
    statuses: Option<BTreeMap<String, Milestone>>,
    /// Custom: how deliveries prove where they come from.
    verify: Option<CustomScheme>,
    /// Custom: where the facts stand in the JSON.
    fields: Option<Box<OrderFields>>,
    /// Custom: event name → milestone.
    events: Option<BTreeMap<String, Milestone>>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StoreKindName {
    Shopify,
    WooCommerce,
    Custom,
}

impl TryFrom<StoreTable> for StoreConfig {
    type Error = String;

    fn try_from(table: StoreTable) -> Result<Self, String> {
        fn require_field<T>(value: Option<T>, kind: &str, field: &str) -> Result<T, String> {
            value.ok_or_else(|| format!("a {kind} store needs `{field}`"))
        }
        fn reject_field<T>(value: Option<&T>, kind: &str, field: &str) -> Result<(), String> {
            if value.is_some() { Err(format!("`{field}` means nothing for a {kind} store; remove it")) } else { Ok(()) }
        }
        let StoreTable { kind, line, name, id_scope, country, shop_domain, source, statuses, verify, fields, events } =
            table;
        let kind = match kind {
            StoreKindName::Shopify => {
                reject_field(source.as_ref(), "shopify", "source")?;
                reject_field(statuses.as_ref(), "shopify", "statuses")?;
                reject_field(verify.as_ref(), "shopify", "verify")?;
                reject_field(fields.as_ref(), "shopify", "fields")?;
                reject_field(events.as_ref(), "shopify", "events")?;
                StoreKind::Shopify { shop_domain: require_field(shop_domain, "shopify", "shop_domain")? }
            }
            StoreKindName::WooCommerce => {
                reject_field(shop_domain.as_ref(), "woocommerce", "shop_domain")?;
                reject_field(verify.as_ref(), "woocommerce", "verify")?;
                reject_field(fields.as_ref(), "woocommerce", "fields")?;
                reject_field(events.as_ref(), "woocommerce", "events")?;
                StoreKind::WooCommerce {
                    source: require_field(source, "woocommerce", "source")?,
                    statuses: require_field(statuses, "woocommerce", "statuses")?,
                }
            }
            StoreKindName::Custom => {
                reject_field(shop_domain.as_ref(), "custom", "shop_domain")?;
                reject_field(source.as_ref(), "custom", "source")?;
                reject_field(statuses.as_ref(), "custom", "statuses")?;
                StoreKind::Custom {
                    verify: require_field(verify, "custom", "verify")?,
                    fields: require_field(fields, "custom", "fields")?,
                    events: require_field(events, "custom", "events")?,
                }
            }
        };
        Ok(Self { kind, line, name, id_scope, country })
    }
}

/// The book whose keys are the plain `order:{id}:{stage}` and `appointment:{id}:{stage}`.
pub const MAIN_ID_SCOPE: &str = "main";

/// The kinds of sender we can read.
#[derive(Debug, Clone)]
pub enum StoreKind {
    /// Shopify, classic webhooks.
    Shopify {
        /// The shop's `….myshopify.com` domain: deliveries that name another are refused.
        shop_domain: String,
    },
    /// `WooCommerce`.
    WooCommerce {
        /// Home URL of the site as it stands in `X-WC-Webhook-Source`, with its trailing slash.
        source: String,
        /// Order status → milestone. `WooCommerce` has no "shipped" or "ready" of its own, so this is the shop's choice.
        statuses: BTreeMap<String, Milestone>,
    },
    /// Any other system that posts JSON: a custom shop, an ERP, n8n, Make, Zapier.
    Custom {
        /// How its deliveries prove where they come from.
        verify: CustomScheme,
        /// Where the facts stand in its JSON.
        fields: Box<OrderFields>,
        /// Its event names → milestone. Events that are not listed are recorded and not told.
        events: BTreeMap<String, Milestone>,
    },
}

/// How a custom sender's deliveries prove where they come from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CustomScheme {
    /// Signed as <https://www.standardwebhooks.com> says (`webhook-id`, `webhook-timestamp`, `webhook-signature`).
    StandardWebhooks,
    /// A secret value in a header, for senders that cannot sign.
    StaticHeader {
        /// Name of the header, e.g. `X-Webhook-Token`.
        header: String,
    },
}

/// Where the facts of an order event stand in a custom sender's JSON, as JSON pointers (RFC 6901).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderFields {
    /// The event's name, looked up in `events`.
    pub event: JsonPointer,
    /// The order's id, unique in its order book.
    pub order_id: JsonPointer,
    /// An id of the delivery, for senders without a `webhook-id` header. Without it the body's hash is used.
    #[serde(default)]
    pub delivery_id: Option<JsonPointer>,
    /// What tells two events of one milestone and order apart: a parcel, a refund, an invoice, a change.
    #[serde(default)]
    pub instance: Option<JsonPointer>,
    /// When it happened, RFC 3339. Without it the time of receipt counts.
    #[serde(default)]
    pub occurred_at: Option<JsonPointer>,
    /// The order number that the customer knows; the id when absent.
    #[serde(default)]
    pub order_number: Option<JsonPointer>,
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
    /// True for an order that is only a trial: never told.
    #[serde(default)]
    pub test: Option<JsonPointer>,
    /// Further values for texts, by the variable's name (see the list in `docs/configuration.md`).
    #[serde(default)]
    pub values: BTreeMap<String, JsonPointer>,
}

/// A JSON pointer, `/a/b/0`; each reference token as in RFC 6901.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct JsonPointer(String);

impl JsonPointer {
    /// The value it points at.
    pub fn find_in<'a>(&self, document: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        document.pointer(&self.0)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for JsonPointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with('/') {
            Ok(Self(text))
        } else {
            Err(de::Error::custom(format!(
                "`{text}` is not a JSON pointer; it starts with `/`, like \"/data/orderId\""
            )))
        }
    }
}

/// What to say at a milestone, and until when it is worth saying.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageRule {
    /// For so long after the event the message is useful (`"48h"`, `"90m"`, `"3d"`); later it expires instead.
    #[schemars(with = "String")]
    pub useful_for: TimeSpan,
    /// Most useful first after an outage: 0 to 100, higher goes first. The milestone's own weight when absent.
    #[serde(default)]
    pub priority: Option<u8>,
    /// What happens to a message that falls into the quiet hours: it waits for their end, or it is sent (`ignore`).
    #[serde(default)]
    pub quiet_hours: QuietHoursRule,
    /// The text by language, a template.
    pub text: BTreeMap<String, String>,
    /// A button that opens a link.
    #[serde(default)]
    pub button: Option<ButtonTemplate>,
    /// The variable that holds the URL of a document to send along.
    #[serde(default)]
    pub document: Option<String>,
}

impl MessageRule {
    /// What it says.
    pub fn templates(&self) -> MessageTemplates<'_> {
        MessageTemplates { text: &self.text, button: self.button.as_ref(), document: self.document.as_deref() }
    }
}

/// What a rule says, whatever it is about.
#[derive(Debug, Clone, Copy)]
pub struct MessageTemplates<'a> {
    /// The text by language, a template.
    pub text: &'a BTreeMap<String, String>,
    /// A button that opens a link.
    pub button: Option<&'a ButtonTemplate>,
    /// The variable that holds the URL of a document to send along.
    pub document: Option<&'a str>,
}

/// A button below a text that opens a link. Left out when its variable has no value.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ButtonTemplate {
    /// The variable that holds the link, e.g. `tracking_url`.
    pub url: String,
    /// What stands on the button by language: at most 20 characters.
    pub text: BTreeMap<String, String>,
}

/// A span of time, written `"90m"`, `"48h"` or `"3d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub SignedDuration);

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse_error = || format!("`{text}` is not a span of time; write it like \"90m\", \"48h\" or \"3d\"");
        let unit = text.chars().last().ok_or_else(parse_error)?;
        let count: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| parse_error())?;
        let minutes = match unit {
            'm' => Some(count),
            'h' => count.checked_mul(60),
            'd' => count.checked_mul(60 * 24),
            _ => None,
        };
        match minutes {
            Some(minutes @ 1..=5_256_000) => Ok(Self(SignedDuration::from_mins(minutes))),
            _ => Err(parse_error()),
        }
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl ClientConfig {
    /// Reads a `client.toml`.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Name of the secret that the deliveries of a store, calendar or form are verified with.
    pub fn webhook_secret_name(&self, sender: &str) -> String {
        format!("tellonce/{}/webhooks/{sender}", self.client)
    }

    /// Name of the secret that holds a line's token.
    pub fn line_secret_name(&self, line: &str) -> String {
        format!("tellonce/{}/lines/{line}", self.client)
    }

    /// Name of the secret that holds the token for a store's own API.
    pub fn store_api_secret_name(&self, store: &str) -> String {
        format!("tellonce/{}/stores/{store}", self.client)
    }

    /// Name of the secret that holds a calendar's credential: a feed's address, the key or token for its API.
    pub fn calendar_secret_name(&self, calendar: &str) -> String {
        format!("tellonce/{}/calendars/{calendar}", self.client)
    }

    /// Name of the secret that holds the token for the API behind a form.
    pub fn form_secret_name(&self, form: &str) -> String {
        format!("tellonce/{}/forms/{form}", self.client)
    }

    /// Name of the secret that Meta repeats when it asks whether a webhook's address is ours.
    pub fn handshake_secret_name(&self, form: &str) -> String {
        format!("tellonce/{}/webhooks/{form}/verify", self.client)
    }

    /// Name of the secret that the address of a line's events ends in.
    pub fn line_webhook_secret_name(&self, line: &str) -> String {
        format!("tellonce/{}/webhooks/{line}/line", self.client)
    }

    /// Name of the secret that holds a CRM's credential.
    pub fn crm_secret_name(&self, crm: &str) -> String {
        format!("tellonce/{}/crms/{crm}", self.client)
    }

    /// Name of the secret that holds the address of a target, or what its calls are signed with.
    pub fn target_secret_name(&self, target: &str) -> String {
        format!("tellonce/{}/targets/{target}", self.client)
    }

    /// When the quiet hours that `now` falls into end, if it falls into any.
    pub fn quiet_hours_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.quiet_hours_end_in_zone(None, now)
    }

    /// As [`Self::quiet_hours_end`], for somebody whose clocks show another time: in that IANA zone, if it is one.
    pub fn quiet_hours_end_in_zone(&self, zone: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        self.quiet_hours?.current_end(now, &self.zone_or_default(zone)?)
    }

    /// When the quiet hours that `now` falls into began, in that IANA zone.
    pub fn quiet_hours_start_in_zone(&self, zone: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        self.quiet_hours?.current_start(now, &self.zone_or_default(zone)?)
    }

    /// The zone of this name, if there is one, or the client's.
    pub fn zone_or_default(&self, zone: Option<&str>) -> Option<TimeZone> {
        // `tellonce check` has seen that the client's zone exists; should it not, a message at night beats none at all.
        zone.and_then(|name| TimeZone::get(name).ok()).or_else(|| TimeZone::get(&self.time_zone).ok())
    }

    /// The language to write in for a customer's locale (`he-IL`, `en_US`): one of `languages`.
    pub fn language_for(&self, locale: Option<&str>) -> &str {
        locale
            .and_then(|locale| self.find_language(locale))
            .or(self.languages.first().map(String::as_str))
            .unwrap_or("en")
    }

    /// The client's language of a locale, if it has it.
    pub fn find_language(&self, locale: &str) -> Option<&str> {
        let primary = locale.split(['-', '_']).next().unwrap_or_default();
        // Java and old Android still say `iw` for Hebrew.
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

    #[test]
    fn spans_are_parsed_or_rejected_with_an_explanation() {
        assert_eq!("90m".parse(), Ok(TimeSpan(SignedDuration::from_mins(90))));
        assert_eq!("3d".parse(), Ok(TimeSpan(SignedDuration::from_hours(72))));
        for wrong in ["", "h", "0h", "-1h", "1.5h", "9999999999999d", "3w", "٣d", "5é"] {
            assert!(wrong.parse::<TimeSpan>().is_err(), "{wrong}");
        }
    }
}
