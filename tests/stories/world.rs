//! A client's complete stack for one story, and the stores, calendars and forms that post to it.
//!
//! Long because each kind of sender has a helper that posts its deliveries.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tellonce_core::{
    heartbeat::{HEARTBEAT_ID, HEARTBEAT_SUBJECT},
    telemetry::NAMESPACE,
};
use tellonce_fakes::{provider::PhoneMessage, server::PublicHost};
use tellonce_samples::{SenderProof, WebhookPost};
use tellonce_stack::{LocalStack, RealSystem, StackOptions, streams::RetryBackoff, template::MetricId};

use crate::sources::workspace_root;

/// Secret of the Shopify store of [`CLIENT_TOML`].
pub(crate) const SHOPIFY_SECRET: &str = "story-shopify-secret-1";
/// Secret of the `WooCommerce` store of [`CLIENT_TOML`]: with characters that `WordPress` would
/// encode, and with an entity that it does not decode.
pub(crate) const WOO_SECRET: &str = "story-woo-secret & <1> &hearts;";
/// Secret of the ERP of [`CLIENT_TOML`].
pub(crate) const ERP_SECRET: &str = "whsec_c3RvcmllcyBvZiBhbiBlcnAsIHNlY3JldCAwMQ==";
/// Header value of the no-code sender of [`CLIENT_TOML`].
pub(crate) const ZAP_HEADER_SECRET: &str = "story-static-header-1";
/// Secret of the Cal.com calendar of [`CALENDAR_SETTINGS`].
pub(crate) const CALCOM_SECRET: &str = "story-calcom-secret-1";
/// Signing key of the Calendly calendar.
pub(crate) const CALENDLY_SECRET: &str = "story-calendly-key-1";
/// API key of the Acuity calendar: signs its deliveries and authorizes lookups.
pub(crate) const ACUITY_KEY: &str = "story-acuity-key-1";
/// Signature key of the Square calendar.
pub(crate) const SQUARE_SECRET: &str = "story-square-signature-1";
/// Token for lookups of Square's customers.
pub(crate) const SQUARE_TOKEN: &str = "story-square-token-1";
/// Secret of the CRM calendar.
pub(crate) const CRM_SECRET: &str = "whsec_c3RvcmllcyBvZiBhIGNybSwgc2VjcmV0IDAwMDE=";
/// Token of the channel that Google Calendar pushes through.
pub(crate) const GOOGLE_CHANNEL_TOKEN: &str = "story-channel-token-1";
/// Secret of the Typeform form of [`FORM_SETTINGS`].
pub(crate) const TYPEFORM_SECRET: &str = "test-typeform-secret-1";
/// Key of the Google Ads form.
pub(crate) const GOOGLE_ADS_KEY: &str = "test-google-key-1";
/// App secret of the Meta form.
pub(crate) const META_SECRET: &str = "test-meta-app-secret-1";
/// Token of Meta's handshake.
pub(crate) const META_VERIFY_TOKEN: &str = "test-meta-verify-token-1";
/// Token of the Page, for lookups of Meta's leads.
pub(crate) const META_TOKEN: &str = "story-meta-page-token-1";
/// Secret of the Webflow form.
pub(crate) const WEBFLOW_SECRET: &str = "test-webflow-secret-1";
/// Secret of the Tally form.
pub(crate) const TALLY_SECRET: &str = "test-tally-signing-secret-1";
/// Client secret of the `HubSpot` app.
pub(crate) const HUBSPOT_SECRET: &str = "test-hubspot-client-secret-1";
/// Token for lookups of `HubSpot`'s contacts.
pub(crate) const HUBSPOT_TOKEN: &str = "story-hubspot-token-1";
/// End of the Jotform form's address.
pub(crate) const JOTFORM_SECRET_PATH: &str = "story-jotform_address-0f3a9c27d481";
/// End of the Elementor form's address.
pub(crate) const ELEMENTOR_SECRET_PATH: &str = "story-elementor_address-5be07d116c";
/// Header value of the website's own form.
pub(crate) const WEB_TOKEN: &str = "test-static-header-token-1";
/// End of the address for line events.
pub(crate) const LINE_SECRET_PATH: &str = "story-line_address-4f1c0b7a9e2d58";
/// Token of the line.
pub(crate) const LINE_TOKEN: &str = "ezw_line_story1";

/// The configuration of the stories. `RATE` and `EVENTS` are replaced.
const CLIENT_TOML: &str = r#"
client = "story"
name = "Story Shop"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en", "he"]

[lines.main]
line_id = "line_story"
messages_per_minute = RATE
first_contacts_per_day = CONTACTS
events = EVENTS

[stores.shop]
kind = "shopify"
shop_domain = "story.myshopify.com"
line = "main"
id_scope = "main"

[stores.woo]
kind = "woocommerce"
source = "https://story.example/"
line = "main"
id_scope = "woo"
statuses = { processing = "paid", completed = "shipped", ready = "ready", cancelled = "cancelled" }

[stores.erp]
kind = "custom"
line = "main"
id_scope = "main"
verify = { scheme = "standard-webhooks" }
events = { ready = "ready", late = "out-for-delivery", invoice = "invoice", shipped = "shipped", arrived = "delivered", moved = "delivery-changed" }
[stores.erp.fields]
event = "/type"
order_id = "/order"
phone = "/phone"
name = "/name"
occurred_at = "/at"
parcel = "/parcel"
[stores.erp.fields.values]
invoice_url = "/invoice"
delivery_to = "/moved_to"

[stores.zap]
kind = "custom"
line = "main"
id_scope = "zap"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
events = { ready = "ready" }
[stores.zap.fields]
event = "/event"
order_id = "/order/id"
delivery_id = "/event_id"
phone = "/customer/phone"
name = "/customer/name"

[messages.received]
useful_for = "48h"
text = { en = "Order {{ order_number }}: received.", he = "הזמנה {{ order_number }} התקבלה." }
[messages.paid]
useful_for = "48h"
text = { en = "Order {{ order_number }}: paid.", he = "הזמנה {{ order_number }} שולמה." }
[messages.ready]
useful_for = "72h"
text = { en = "{% if first_name %}{{ first_name }}, {% endif %}order {{ order_number }}: ready.", he = "הזמנה {{ order_number }} מוכנה." }
[messages.shipped]
useful_for = "72h"
text = { en = "Order {{ order_number }}: on its way.", he = "הזמנה {{ order_number }} בדרך." }
button = { url = "tracking_url", text = { en = "Track it", he = "מעקב" } }
[messages.out-for-delivery]
useful_for = "2h"
text = { en = "Order {{ order_number }}: today.", he = "הזמנה {{ order_number }} היום." }
[messages.delivery-changed]
useful_for = "24h"
text = { en = "Order {{ order_number }}: comes {{ delivery_to }}.", he = "הזמנה {{ order_number }} תגיע {{ delivery_to }}." }
[messages.cancelled]
useful_for = "48h"
text = { en = "Order {{ order_number }}: cancelled.", he = "הזמנה {{ order_number }} בוטלה." }
[messages.invoice]
useful_for = "10d"
document = "invoice_url"
text = { en = "Invoice of order {{ order_number }}.", he = "חשבונית להזמנה {{ order_number }}." }
"#;

/// One calendar of each kind. [`REMINDERS_TOML`] is added to each.
const CALENDAR_SETTINGS: [(&str, &str); 6] = [
    ("clinic", r#"kind = "calcom""#),
    ("intro", r#"kind = "calendly""#),
    ("studio", "kind = \"acuity\"\nuser_id = \"7\"\nid_scope = \"studio\""),
    ("salon", "kind = \"square\"\nid_scope = \"salon\"\nnotification_url = \"https://story.example/bookings/salon\""),
    (
        "crm",
        r#"kind = "custom"
verify = { scheme = "standard-webhooks" }
statuses = { booked = "booked", asked = "unconfirmed", cancelled = "cancelled" }
fields = { id = "/id", start = "/start", time_zone = "/zone", phone = "/phone", name = "/name", locale = "/locale", status = "/status", previous_id = "/previous", occurred_at = "/at" }"#,
    ),
    (
        "diary",
        r#"kind = "ics"
poll_every = "5m"
google_push = true
phone = { field = "description", after = ["Phone:", "tel:"] }
person = { field = "description", after = ["Name:"] }"#,
    ),
];

/// The reminders of each calendar. `NAME` is replaced by the calendar's name.
const REMINDERS_TOML: &str = r#"
[calendars.NAME.reminders."24h"]
text = { en = "{% if first_name %}{{ first_name }}, {% endif %}tomorrow at {{ time }}.", he = "מחר בשעה {{ time }}." }
[calendars.NAME.reminders."2h"]
text = { en = "Today at {{ time }}.", he = "היום בשעה {{ time }}." }
"#;

/// One form for each way of verification, each with its own `id_scope`.
pub(crate) const FORM_SETTINGS: [(&str, &str); 9] = [
    ("typeform", "kind = \"typeform\"\nconsent = { field = \"consent\" }"),
    (
        "google",
        "kind = \"google-ads\"\nconsent = { stated = \"By sending this you agree to be answered on WhatsApp.\" }",
    ),
    ("meta", "kind = \"meta\"\nconsent = { field = \"optional_1\" }"),
    ("webflow", "kind = \"webflow\"\nconsent = { field = \"WhatsApp consent\" }"),
    ("tally", "kind = \"tally\"\nconsent = { field = \"Consent (WhatsApp updates)\" }"),
    (
        "jotform",
        "kind = \"jotform\"\nconsent = { field = \"q6_consent\", accepts = [\"I agree to WhatsApp messages\"] }",
    ),
    ("elementor", "kind = \"elementor\"\nconsent = { field = \"WhatsApp\" }"),
    (
        "web",
        r#"kind = "web"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
consent = { field = "consent.whatsapp" }"#,
    ),
    (
        "hubspot",
        r#"kind = "hubspot"
notification_url = "https://story.example/leads/hubspot"
consent = { stated = "By sending this you agree to be answered on WhatsApp." }"#,
    ),
];

/// The first touch of each form. `NAME` is replaced by the form's name.
const FIRST_TOUCH_TOML: &str = r#"
[forms.NAME.first_touch]
useful_for = "1d"
text = { en = "{% if first_name %}{{ first_name }}, {% endif %}thank you for writing to {{ business_name }}.", he = "תודה שפנית אל {{ business_name }}." }
"#;

/// Adds [`FORM_SETTINGS`] to a configuration.
fn append_forms(client: &str) -> String {
    let form = |(name, settings): (&str, &str)| {
        let first_touch = FIRST_TOUCH_TOML.replace("NAME", name);
        format!("\n[forms.{name}]\nline = \"main\"\nid_scope = \"{name}\"\n{settings}\n{first_touch}")
    };
    client.to_owned() + &FORM_SETTINGS.map(form).concat()
}

/// Adds [`CALENDAR_SETTINGS`] to a configuration.
fn append_calendars(client: &str) -> String {
    let calendar = |(name, settings): (&str, &str)| {
        let reminders = REMINDERS_TOML.replace("NAME", name);
        format!("\n[calendars.{name}]\nline = \"main\"\n{settings}\n{reminders}")
    };
    let calendars: Vec<String> = CALENDAR_SETTINGS.map(calendar).into();
    client.to_owned() + &calendars.concat()
}

/// A local stack with a client's folder.
pub(crate) struct World {
    pub(crate) stack: Arc<LocalStack>,
    http: reqwest::Client,
    /// The last minute in which [`Self::run_minutes`] polled the feeds.
    feeds_polled_at: AtomicI64,
    client_folder: tempfile::TempDir,
}

/// A story fails if a vendor would refuse one of its requests, or if a function's role in
/// template.yaml does not allow one of its calls, whatever the story is about.
impl Drop for World {
    fn drop(&mut self) {
        let violations: Vec<String> = self.stack.fakes().violations().iter().map(ToString::to_string).collect();
        let refused = self.stack.roles().refused_calls();
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "requests contradict the vendors' descriptions: {violations:#?}");
            assert!(refused.is_empty(), "roles in template.yaml do not allow: {refused:#?}");
        }
    }
}

/// How a world differs from the default one.
#[derive(Default)]
pub(crate) struct WorldSetup {
    /// The whole configuration. Default: one with a sender of each kind.
    pub(crate) client_toml: Option<&'static str>,
    /// Default: a limit so high that it has no effect.
    pub(crate) messages_per_minute: Option<u32>,
    /// Default: a limit so high that it has no effect.
    pub(crate) first_contacts_per_day: Option<u32>,
    /// Added to the end of the configuration.
    pub(crate) extra_toml: &'static str,
    /// From and to. Default: none.
    pub(crate) quiet_hours: Option<(&'static str, &'static str)>,
    /// Added to the functions' environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Systems without a fake, as `--real` names them.
    pub(crate) real_systems: Vec<String>,
    /// Host names of a tunnel.
    pub(crate) public_hosts: Vec<&'static str>,
    /// Folder for the state. Default: none is kept.
    pub(crate) state: Option<PathBuf>,
    /// Parameters of the template.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Whether the line has events.
    pub(crate) line_events: bool,
    /// Added to the secrets, by their names after `tellonce/story/`.
    pub(crate) extra_secrets: Vec<(&'static str, String)>,
    /// Whether each value has a secret of its own.
    pub(crate) separate_secrets: bool,
    /// Whether a batch of a stream is retried without a pause.
    pub(crate) retries_at_once: bool,
    /// Real time that a function gets beyond its timeout.
    pub(crate) spare_time: Duration,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(WorldSetup::default()).await
    }

    pub(crate) async fn start_with(setup: WorldSetup) -> Self {
        let client_folder = tempfile::tempdir().unwrap();
        let messages_per_minute = setup.messages_per_minute.unwrap_or(60_000).to_string();
        let quiet_hours =
            setup.quiet_hours.map(|(from, to)| format!("quiet_hours = {{ from = \"{from}\", to = \"{to}\" }}"));
        let config = format!(
            "{}\n{}\n{}\n{}",
            if setup.separate_secrets { "secrets = \"separate\"" } else { "" },
            quiet_hours.unwrap_or_default(),
            append_forms(&append_calendars(CLIENT_TOML)),
            setup.extra_toml
        );
        let first_contacts_per_day = setup.first_contacts_per_day.unwrap_or(100_000).to_string();
        let config = config
            .replace("RATE", &messages_per_minute)
            .replace("CONTACTS", &first_contacts_per_day)
            .replace("EVENTS", &setup.line_events.to_string());
        let config = setup.client_toml.map_or(config, str::to_owned);
        std::fs::write(client_folder.path().join("client.toml"), config).unwrap();
        let mut secrets = json!({
            "tellonce/story/webhooks/shop": SHOPIFY_SECRET,
            "tellonce/story/webhooks/woo": WOO_SECRET,
            "tellonce/story/webhooks/erp": ERP_SECRET,
            "tellonce/story/webhooks/zap": ZAP_HEADER_SECRET,
            "tellonce/story/webhooks/clinic": CALCOM_SECRET,
            "tellonce/story/webhooks/intro": CALENDLY_SECRET,
            "tellonce/story/webhooks/studio": ACUITY_KEY,
            "tellonce/story/webhooks/salon": SQUARE_SECRET,
            "tellonce/story/webhooks/crm": CRM_SECRET,
            "tellonce/story/webhooks/diary": GOOGLE_CHANNEL_TOKEN,
            "tellonce/story/webhooks/typeform": TYPEFORM_SECRET,
            "tellonce/story/webhooks/google": GOOGLE_ADS_KEY,
            "tellonce/story/webhooks/meta": META_SECRET,
            "tellonce/story/webhooks/meta/verify": META_VERIFY_TOKEN,
            "tellonce/story/webhooks/webflow": WEBFLOW_SECRET,
            "tellonce/story/webhooks/tally": TALLY_SECRET,
            "tellonce/story/webhooks/jotform": JOTFORM_SECRET_PATH,
            "tellonce/story/webhooks/elementor": ELEMENTOR_SECRET_PATH,
            "tellonce/story/webhooks/web": WEB_TOKEN,
            "tellonce/story/webhooks/hubspot": HUBSPOT_SECRET,
            "tellonce/story/forms/meta": META_TOKEN,
            "tellonce/story/forms/hubspot": HUBSPOT_TOKEN,
            "tellonce/story/calendars/studio": ACUITY_KEY,
            "tellonce/story/calendars/salon": SQUARE_TOKEN,
            "tellonce/story/calendars/diary": "https://diary.example/secret/diary.ics",
            "tellonce/story/lines/main": LINE_TOKEN,
            "tellonce/story/webhooks/main/line": LINE_SECRET_PATH,
            "tellonce/story/stores/shop": "story-shop-api-token",
        });
        for (name, value) in setup.extra_secrets {
            secrets[format!("tellonce/story/{name}")] = json!(value);
        }
        std::fs::write(client_folder.path().join("secrets.json"), secrets.to_string()).unwrap();
        let backoff = if setup.retries_at_once {
            RetryBackoff { first: Duration::ZERO, longest: Duration::ZERO }
        } else {
            RetryBackoff::default()
        };
        let options = StackOptions {
            client: client_folder.path().to_owned(),
            backoff,
            spare_time: setup.spare_time,
            env: setup.env,
            state: setup.state,
            parameters: setup.parameters,
            real_systems: setup.real_systems.iter().map(|text| RealSystem::parse(text).unwrap()).collect(),
            public_hosts: setup.public_hosts.into_iter().map(|name| PublicHost::parse(name).unwrap()).collect(),
            ..StackOptions::new(workspace_root())
        };
        let stack = LocalStack::start_with_console(options, tellonce_console::build_router).await.unwrap();
        stack.provider().set_tokens([(LINE_TOKEN.to_owned(), "line_story".to_owned())].into());
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        Self { stack, http, feeds_polled_at: AtomicI64::new(0), client_folder }
    }

    /// The functions' time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.stack.clock().now_ms()).unwrap()
    }

    /// Lets time pass for the functions.
    pub(crate) fn advance_time(&self, duration: SignedDuration) {
        self.stack.clock().advance(Duration::try_from(duration).unwrap()).unwrap();
    }

    /// Moves the clock on to the end of these hours of the day, if it is within them: for stories
    /// whose limits count by the day.
    pub(crate) fn leave_hours(&self, zone: &str, hours: Range<i8>) {
        let zone = TimeZone::get(zone).unwrap();
        while hours.contains(&self.now().to_zoned(zone.clone()).hour()) {
            self.advance_time(SignedDuration::from_hours(1));
        }
    }

    /// Moves the clock on to the next whole minute, hour or such of UTC: for stories whose counters
    /// start again then.
    pub(crate) fn begin_next(&self, seconds: i64) {
        self.advance_time(SignedDuration::from_secs(seconds - self.now().as_second() % seconds));
    }

    /// Posts and returns the status of the response.
    pub(crate) async fn post(&self, post: WebhookPost) -> u16 {
        self.post_for_response(post).await.0
    }

    /// Posts and returns status and text of the response.
    pub(crate) async fn post_for_response(&self, post: WebhookPost) -> (u16, String) {
        let mut request = self.http.post(format!("{}{}", self.stack.gateway_url(), post.path)).body(post.body);
        request = request.timeout(Duration::from_mins(2));
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Posts until the response is 200 and returns how often it was 503. Senders repeat a 503: many
    /// posts at once may take a machine under load longer than the receiver's time.
    pub(crate) async fn post_until_stored(&self, post: WebhookPost) -> usize {
        for repeats in 0..20 {
            match self.post(post.clone()).await {
                200 => return repeats,
                status => assert_eq!(status, 503),
            }
        }
        panic!("503 to each of 20 posts to {}", post.path);
    }

    /// Posts and returns status, headers and text of the response.
    pub(crate) async fn post_for_headers(&self, post: WebhookPost) -> (u16, BTreeMap<String, String>, String) {
        let mut request = self.http.post(format!("{}{}", self.stack.gateway_url(), post.path)).body(post.body);
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        (response.status().as_u16(), headers, response.text().await.unwrap())
    }

    /// Gets a path and returns status, content type and text of the response.
    pub(crate) async fn get_path(&self, path: &str) -> (u16, String, String) {
        let response = self.http.get(format!("{}{path}", self.stack.gateway_url())).send().await.unwrap();
        let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), content_type.unwrap_or_default(), response.text().await.unwrap())
    }

    /// Posts, asserts status 200, and waits until the functions have processed the delivery.
    pub(crate) async fn deliver(&self, post: WebhookPost) {
        assert_eq!(self.post(post).await, 200);
        self.settle().await;
    }

    /// Waits until all stream records are processed and no function runs.
    pub(crate) async fn settle(&self) {
        self.stack.drain_within(Duration::from_mins(3)).await.unwrap();
    }

    /// Runs the minute schedule of reminder-scheduler once.
    pub(crate) async fn tick(&self) -> Value {
        self.stack.tick_messages().await.unwrap()
    }

    /// Runs the minute schedule of conversation-sync once.
    pub(crate) async fn tick_conversations(&self) {
        self.stack.tick_conversations().await.unwrap();
        self.settle().await;
    }

    /// Lets minutes pass, each with the runs of the schedules.
    pub(crate) async fn run_minutes(&self, minutes: u32) {
        for _ in 0..minutes {
            self.advance_time(SignedDuration::from_mins(1));
            let (messages, conversations) = futures::join!(self.stack.tick_messages(), self.stack.tick_conversations());
            messages.unwrap();
            conversations.unwrap();
            let minute = self.stack.metrics().current_minute();
            if minute - self.feeds_polled_at.load(Ordering::SeqCst) >= 5 {
                self.feeds_polled_at.store(minute, Ordering::SeqCst);
                self.stack.poll_feeds().await.unwrap();
            }
            self.settle().await;
        }
    }

    /// Changes `client.toml`. A function reads it when it starts.
    pub(crate) fn edit_config(&self, edit: impl FnOnce(&str) -> String) {
        let path = self.client_folder.path().join("client.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let edited = edit(&config);
        assert_ne!(config, edited, "the edit has an effect");
        std::fs::write(path, edited).unwrap();
    }

    /// The values of a metric of the client in the last minutes, this one included.
    pub(crate) fn metric_values(&self, name: &str, minutes: i64) -> Vec<f64> {
        let dimensions = BTreeMap::from([("Client".to_owned(), "story".to_owned())]);
        let metric = MetricId { namespace: NAMESPACE.to_owned(), name: name.to_owned(), dimensions };
        let end = self.stack.metrics().current_minute() + 1;
        self.stack.metrics().values_in(&metric, end - minutes..end)
    }

    /// The last line in which a function wrote this gauge, if it did so within the last minute.
    pub(crate) fn read_gauge(&self, function: &str, gauge: &str) -> Option<Value> {
        let from = self.now().as_millisecond() - 60_000;
        let lines = self.stack.log_lines(function).into_iter().filter(|line| line.text.contains("\"_aws\""));
        let mut written = lines.rev().filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
        written.find(|line| line.get(gauge).is_some() && line["_aws"]["Timestamp"].as_i64() >= Some(from))
    }

    /// The texts on a customer's phone, in order of arrival.
    pub(crate) fn texts_on_phone(&self, phone: &str) -> Vec<String> {
        self.stack.provider().phone_messages(phone).into_iter().map(|message| message.body).collect()
    }

    /// The messages of all phones, in order of arrival.
    pub(crate) fn messages(&self) -> Vec<PhoneMessage> {
        self.stack.provider().messages()
    }

    /// All items of a table, by its logical id in the template. A heartbeat is not a delivery.
    pub(crate) fn table_items(&self, logical_id: &str) -> Vec<Value> {
        let mut items = self.stack.dynamo().scan_items(&self.table_name(logical_id)).unwrap();
        items.retain(|item| item["id"] != HEARTBEAT_ID);
        items
    }

    /// The name of a table, by its logical id in the template.
    pub(crate) fn table_name(&self, logical_id: &str) -> String {
        let tables = &self.stack.template().tables;
        tables.iter().find(|table| table.id == logical_id).unwrap().name.clone()
    }

    /// The deliveries whose lookup waits, by their keys in the inbox.
    pub(crate) fn waiting_lookups(&self) -> BTreeMap<String, Value> {
        let rows = self.table_items("Ledger").into_iter().filter_map(|row| {
            row["due_queue"].as_str().filter(|queue| *queue == "queue:lookups")?;
            Some((row["subject"].as_str()?.splitn(3, ':').nth(2)?.to_owned(), row))
        });
        rows.collect()
    }

    /// Lets time pass and runs the minute schedule of reminder-scheduler, with all that it wakes.
    pub(crate) async fn tick_after(&self, duration: SignedDuration) {
        self.advance_time(duration);
        self.tick().await;
        self.settle().await;
    }

    /// All message rows of the ledger, by idempotency key.
    pub(crate) fn message_rows(&self) -> BTreeMap<String, Value> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let other_kinds = [
            "line:",
            "message:",
            "conversation:",
            "crm:",
            "target:",
            "contact:",
            "pseudonym-key",
            "lookup:",
            "queues",
            HEARTBEAT_SUBJECT,
        ];
        let is_other_kind = |row: &Value| other_kinds.iter().any(|kind| text(row, "subject").starts_with(kind));
        let rows = self.table_items("Ledger").into_iter().filter(|row| !is_other_kind(row));
        rows.map(|row| (format!("{}:{}", text(&row, "subject"), text(&row, "stage")), row)).collect()
    }

    /// The state of a message, or `absent`.
    pub(crate) fn message_state(&self, key: &str) -> String {
        self.message_rows().get(key).and_then(|row| row["state"].as_str()).unwrap_or("absent").to_owned()
    }

    /// The code of the outcome recorded with a delivery, if any.
    pub(crate) fn delivery_outcome(&self, delivery: &str) -> Option<String> {
        self.delivery_attribute(delivery, "outcome")
    }

    /// The explanation of that outcome.
    pub(crate) fn delivery_outcome_text(&self, delivery: &str) -> Option<String> {
        self.delivery_attribute(delivery, "outcome_text")
    }

    fn delivery_attribute(&self, delivery: &str, name: &str) -> Option<String> {
        let items =
            ["StoreInbox", "BookingInbox", "LeadInbox", "LineInbox"].map(|inbox| self.table_items(inbox)).concat();
        let item = items.iter().find(|item| item["id"] == delivery)?;
        item[name].as_str().map(str::to_owned)
    }

    /// A Shopify order, as its REST resource.
    pub(crate) fn shopify_order(&self, id: u64, phone: &str) -> Value {
        let now = self.now().to_string();
        json!({
            "id": id, "name": format!("#{id}"), "created_at": now, "updated_at": now, "processed_at": now,
            "cancelled_at": null, "currency": "ILS", "total_price": "59.00", "financial_status": "paid",
            "customer_locale": "en", "phone": phone, "test": false, "source_name": "web",
            "customer": { "id": 1, "first_name": "Noa", "last_name": "Levi", "phone": null },
            "shipping_address": { "name": "Noa Levi", "phone": null, "country_code": "IL" },
            "fulfillments": [], "line_items": [], "shipping_lines": [],
        })
    }

    /// A Shopify delivery.
    #[expect(clippy::unused_self, reason = "has the form of the methods beside it, which need the time")]
    pub(crate) fn shopify_post(&self, topic: &str, delivery_id: &str, body: &Value) -> WebhookPost {
        let proof = SenderProof::Shopify { shop_domain: "story.myshopify.com", webhook_id: delivery_id };
        WebhookPost::new("/stores/shop", "application/json", body.to_string())
            .with_header("X-Shopify-Topic", Some(topic))
            .with_header("X-Shopify-API-Version", Some("2026-10"))
            .sign(proof, SHOPIFY_SECRET)
            .unwrap()
    }

    /// A `WooCommerce` delivery of an order.
    pub(crate) fn woocommerce_post(&self, delivery_id: &str, id: u64, status: &str, phone: &str) -> WebhookPost {
        let now = self.now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let body = json!({
            "id": id, "number": id.to_string(), "status": status, "currency": "ILS", "total": "149.90",
            "date_created_gmt": now, "date_modified_gmt": now, "date_paid_gmt": now,
            "date_completed_gmt": if status == "completed" { Some(&now) } else { None },
            "billing": { "first_name": "Dana", "last_name": "Cohen", "phone": phone, "country": "IL" },
            "shipping": { "phone": "", "country": "IL" }, "meta_data": [], "shipping_lines": [], "refunds": [],
            "note": delivery_id,
        });
        WebhookPost::new("/stores/woo", "application/json", body.to_string())
            .with_header("X-WC-Webhook-Topic", Some("order.updated"))
            .with_header("X-WC-Webhook-ID", Some("7"))
            .sign(SenderProof::WooCommerce { source: "https://story.example/", delivery_id }, WOO_SECRET)
            .unwrap()
    }

    /// A `WooCommerce` delivery of a new, paid order, as a part of order `parent`; 0 is none.
    pub(crate) fn woocommerce_order_post(&self, delivery_id: &str, id: u64, parent: u64, phone: &str) -> WebhookPost {
        let post = self.woocommerce_post(delivery_id, id, "processing", phone);
        let mut body: Value = serde_json::from_slice(&post.body).unwrap();
        body["parent_id"] = json!(parent);
        post.with_body(body.to_string())
            .with_header("X-WC-Webhook-Topic", Some("order.created"))
            .sign(SenderProof::WooCommerce { source: "https://story.example/", delivery_id }, WOO_SECRET)
            .unwrap()
    }

    /// A delivery of the ERP, signed now with `secret`.
    pub(crate) fn erp_post_with_secret(
        &self,
        secret: &str,
        delivery_id: &str,
        event: &str,
        order: &str,
        phone: &str,
    ) -> WebhookPost {
        let body = json!({
            "type": event, "order": order, "phone": phone, "name": "Amit Peretz", "at": self.now().to_string(),
            "invoice": "https://story.example/invoices/1.pdf",
        });
        self.erp_post_with_body(secret, delivery_id, &body)
    }

    /// Any body of the ERP, signed now.
    pub(crate) fn erp_post_with_body(&self, secret: &str, delivery_id: &str, body: &Value) -> WebhookPost {
        self.standard_webhooks_post("/stores/erp", secret, delivery_id, body)
    }

    /// Any body of a sender that signs by Standard Webhooks, signed now.
    pub(crate) fn standard_webhooks_post(
        &self,
        path: &str,
        secret: &str,
        delivery_id: &str,
        body: &Value,
    ) -> WebhookPost {
        let proof = SenderProof::StandardWebhooks { id: delivery_id, at: self.now() };
        WebhookPost::new(path, "application/json", body.to_string()).sign(proof, secret).unwrap()
    }

    /// A delivery of the ERP.
    pub(crate) fn erp_post(&self, delivery_id: &str, event: &str, order: &str, phone: &str) -> WebhookPost {
        self.erp_post_with_secret(ERP_SECRET, delivery_id, event, order, phone)
    }
}
