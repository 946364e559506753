//! The events of the benchmark: deliveries of a shop, a booking system, a website and a line as API
//! Gateway passes them on, and records of an inbox's stream.
//!
//! Every delivery is a recorded one with a new order, appointment, lead or message. It has a valid
//! proof with the demo's secret.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, Ordering},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tellonce_core::{
    client_config::{
        BookingFields, BookingStatus, CalendarKind, ClientConfig, CustomCalendar, CustomScheme, FormScheme, StoreKind,
    },
    inbox::build_item_id,
    provider::PROVIDER,
};
use tellonce_samples::{SenderProof, WebhookPost, build_header_map, put_at_pointer};
use tellonce_stack::{gateway::build_event, template::HttpRoute};

/// An `orders/create` delivery as Shopify sends it. The amounts in a second currency (`…_set`) are
/// left out. The rest is about 5 KB, the size of a small order.
const RECORDED_ORDER: &str = "stores/shopify/orders_create";

/// A shop that sends deliveries.
pub(crate) struct BenchShop {
    domain: String,
    secret: String,
    recorded: WebhookPost,
    last_order: AtomicI64,
}

/// One delivery.
pub(crate) struct BenchDelivery {
    /// The sender's id.
    pub(crate) id: String,
    pub(crate) post: WebhookPost,
    at_ms: i64,
}

/// A website whose form sends deliveries.
pub(crate) struct BenchSite {
    form: String,
    header: String,
    token: String,
    last_lead: AtomicI64,
}

impl BenchSite {
    /// The form `website` of a client.
    pub(crate) fn from_config(config: &ClientConfig, secret: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let form = "website";
        let settings = config.forms.get(form).context("the client has no form `website`")?;
        let FormScheme::StaticHeader { header } = &settings.verify else { bail!("the form `website` has no header") };
        Ok(Self {
            form: form.to_owned(),
            header: header.clone(),
            token: secret(&config.webhook_secret_name(form)).context("the form's secret is missing")?,
            last_lead: AtomicI64::new(1_000_000),
        })
    }

    /// A submission of a new lead at `at_ms` (unix milliseconds).
    pub(crate) fn build_submission(&self, at_ms: i64) -> anyhow::Result<BenchDelivery> {
        let lead = self.last_lead.fetch_add(1, Ordering::SeqCst) + 1;
        let body = json!({
            "lead_id": format!("L-{lead}"), "full_name": "Noa Levi", "phone": format!("+97254{lead:07}"),
            "email": "noa@example.com", "whatsapp_consent": "on", "page": "https://www.example.co.il/contact",
        });
        let id = format!("s-{lead}");
        let post = WebhookPost::new(format!("/leads/{}", self.form), "application/json", body.to_string());
        let post = post.with_header("webhook-id", Some(&id));
        let post = post.sign(SenderProof::StaticHeader { header: &self.header }, &self.token)?;
        Ok(BenchDelivery { id, post, at_ms })
    }
}

/// A line that reports what customers write.
pub(crate) struct BenchLine {
    name: String,
    id: String,
    secret: String,
    last_message: AtomicI64,
}

impl BenchLine {
    /// The first line of a client. `secret` returns a secret's value by its name.
    pub(crate) fn from_config(config: &ClientConfig, secret: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let (name, line) = config.lines.first_key_value().context("the client has no line")?;
        Ok(Self {
            name: name.clone(),
            id: line.line_id.clone(),
            secret: secret(&config.line_webhook_secret_name(name))
                .context("the secret of the line's events is missing")?,
            last_message: AtomicI64::new(1_000_000),
        })
    }

    /// A new message of a customer at `at_ms` (unix milliseconds). It raises no alert.
    pub(crate) fn build_message(&self, writer: u32, at_ms: i64) -> anyhow::Result<BenchDelivery> {
        let message = self.last_message.fetch_add(1, Ordering::SeqCst) + 1;
        let (id, phone) = (format!("bench-{message}"), writer_phone(writer));
        let chat = format!("{}@s.whatsapp.net", phone.trim_start_matches('+'));
        let body = json!({"event": "messages.post", "messages": [{
            "id": id, "message_id": id, "chat_id": chat, "from": chat, "conversationId": format!("conv_{writer}"),
            "contactPhoneNumber": phone, "from_me": false, "timestamp": at_ms.div_euclid(1000), "type": "text",
            "text": {"body": "שלום, רציתי לדעת מתי ההזמנה מגיעה. תודה!"},
        }]});
        let proof = SenderProof::Line { line_id: &self.id, event: "messages.post", delivery_id: &id };
        let post = WebhookPost::new(format!("/lines/{}", self.name), "application/json", body.to_string());
        let post = post
            .with_header(PROVIDER.facts().line_event_headers.webhook_id, Some("bench"))
            .sign(proof, &self.secret)?;
        Ok(BenchDelivery { id, post, at_ms })
    }

    /// The reference of a message in CRMs.
    pub(crate) fn crm_reference(&self, message: &BenchDelivery) -> String {
        format!("{}:{}", self.name, message.id)
    }
}

/// The number of a customer who writes on the line.
pub(crate) fn writer_phone(writer: u32) -> String {
    format!("+97252{:07}", 5_550_000 + writer)
}

impl BenchShop {
    /// The first Shopify store of a client. `secret` returns a secret's value by its name.
    pub(crate) fn from_config(config: &ClientConfig, secret: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let shop = config.stores.iter().find_map(|(store, settings)| match &settings.kind {
            StoreKind::Shopify(shop) => Some((store.clone(), shop.shop_domain.clone())),
            _ => None,
        });
        let (store, domain) = shop.context("the client has no Shopify store")?;
        let secret = secret(&config.webhook_secret_name(&store)).context("the Shopify store's secret is missing")?;
        let recorded = WebhookPost::from_sample(RECORDED_ORDER, format!("/stores/{store}"));
        let recorded = recorded.with_header("accept", Some("*/*"));
        let recorded = recorded.with_header("accept-encoding", Some("gzip;q=1.0,deflate;q=0.6,identity;q=0.3"));
        let mut order: Value = serde_json::from_slice(&recorded.body)?;
        order.as_object_mut().context("an order is an object")?.retain(|name, _| !name.ends_with("_set"));
        let recorded = recorded.with_body(order.to_string());
        Ok(Self { domain, secret, recorded, last_order: AtomicI64::new(6_000_000_000_000) })
    }

    /// A delivery about a new order, placed at `at_ms` (unix milliseconds).
    pub(crate) fn build_delivery(&self, at_ms: i64) -> anyhow::Result<BenchDelivery> {
        let order = self.last_order.fetch_add(1, Ordering::SeqCst) + 1;
        let at = Timestamp::from_millisecond(at_ms)?;
        let mut body: Value = serde_json::from_slice(&self.recorded.body)?;
        body["id"] = json!(order);
        body["admin_graphql_api_id"] = json!(format!("gid://shopify/Order/{order}"));
        body["name"] = json!(format!("#{}", order % 1_000_000));
        for name in ["created_at", "updated_at", "processed_at"] {
            body[name] = json!(at.strftime("%FT%T+00:00").to_string());
        }
        let id = format!("00000000-0000-4000-8000-{order:012x}");
        let post = self.recorded.clone().with_body(body.to_string());
        let post = post
            .with_header("x-shopify-event-id", Some(&format!("00000000-0000-4000-9000-{order:012x}")))
            .with_header("x-shopify-triggered-at", Some(&at.strftime("%FT%T%.3fZ").to_string()))
            .sign(SenderProof::Shopify { shop_domain: &self.domain, webhook_id: &id }, &self.secret)?;
        Ok(BenchDelivery { id, post, at_ms })
    }
}

/// A booking system that sends deliveries.
pub(crate) struct BenchCalendar {
    name: String,
    zone: String,
    fields: BookingFields,
    /// The sender's status for a booked appointment.
    booked: Option<String>,
    secret: String,
    last_booking: AtomicI64,
}

impl BenchCalendar {
    /// The first calendar of a client that signs by Standard Webhooks. `secret` returns a secret's
    /// value by its name.
    pub(crate) fn from_config(config: &ClientConfig, secret: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let found = config.calendars.iter().find_map(|(name, calendar)| match &calendar.kind {
            CalendarKind::Custom(CustomCalendar {
                verify: CustomScheme::StandardWebhooks, fields, statuses, ..
            }) => Some((name, calendar, fields, statuses)),
            _ => None,
        });
        let (name, calendar, fields, statuses) =
            found.context("the client has no calendar that signs by Standard Webhooks")?;
        let secret = secret(&config.webhook_secret_name(name)).context("the calendar's secret is missing")?;
        Ok(Self {
            name: name.clone(),
            zone: calendar.time_zone.clone().unwrap_or_else(|| config.time_zone.clone()),
            fields: fields.as_ref().clone(),
            booked: statuses.iter().find(|(_, status)| **status == BookingStatus::Booked).map(|(word, _)| word.clone()),
            secret,
            last_booking: AtomicI64::new(1_000_000),
        })
    }

    /// A new appointment at `start`, posted at `at_ms` (unix milliseconds).
    pub(crate) fn build_booking(&self, start: Timestamp, at_ms: i64) -> anyhow::Result<BenchDelivery> {
        let booking = self.last_booking.fetch_add(1, Ordering::SeqCst) + 1;
        let id = format!("msg_{booking:027}");
        let start = start.in_tz(&self.zone).context("the calendar's time zone is unknown")?;
        let at = Timestamp::from_millisecond(at_ms)?;
        let fields = &self.fields;
        let mut body = json!({});
        for (pointer, value) in [
            (Some(&fields.id), json!(format!("B-{booking}"))),
            (Some(&fields.start), json!(start.strftime("%FT%T%:z").to_string())),
            (Some(&fields.phone), json!("052-555-0101")),
            (fields.time_zone.as_ref(), json!(self.zone)),
            (fields.name.as_ref(), json!("Adi Sela")),
            (fields.occurred_at.as_ref(), json!(at.to_string())),
            (fields.delivery_id.as_ref(), json!(id)),
            (fields.title.as_ref(), json!("Consultation")),
            (fields.status.as_ref(), json!(self.booked)),
        ] {
            if let Some(pointer) = pointer {
                put_at_pointer(&mut body, pointer.as_str(), value);
            }
        }
        let post = WebhookPost::new(format!("/bookings/{}", self.name), "application/json", body.to_string());
        let post = post.sign(SenderProof::StandardWebhooks { id: &id, at }, &self.secret)?;
        Ok(BenchDelivery { id, post, at_ms })
    }
}

impl BenchDelivery {
    /// Its id in the inbox.
    pub(crate) fn inbox_key(&self) -> String {
        build_item_id(self.post.sender_name(), &self.id)
    }

    /// The delivery as the gateway passes it on.
    pub(crate) fn to_gateway_event(&self) -> anyhow::Result<Value> {
        let (route, parameter) = match self.post.path.split('/').nth(1) {
            Some("bookings") => ("/bookings/{calendar}", "calendar"),
            Some("leads") => ("/leads/{form}", "form"),
            Some("lines") => ("/lines/{line}/{secret}", "line"),
            _ => ("/stores/{store}", "store"),
        };
        let mut parameters = BTreeMap::from([(parameter.to_owned(), self.post.sender_name().to_owned())]);
        if let Some(secret) = self.post.path.split('/').nth(3) {
            parameters.insert("secret".to_owned(), secret.to_owned());
        }
        let mut request = http::Request::post(&self.post.path).body(())?;
        *request.headers_mut() = build_header_map(&self.post.headers);
        let (parts, ()) = request.into_parts();
        let route = HttpRoute { method: "POST".to_owned(), path: route.to_owned() };
        let (body, peer) = (Bytes::from(self.post.body.clone()), ([203, 0, 113, 9], 443).into());
        Ok(build_event(&parts, &body, &route, &parameters, peer, self.at_ms))
    }
}

/// An event of an inbox's stream with these items, as Lambda hands it over:
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>.
pub(crate) fn build_stream_event(items: impl IntoIterator<Item = Value>) -> Value {
    let record = |(number, image): (usize, Value)| {
        json!({
            "eventID": format!("{number:032x}"),
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-central-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_795_161_600,
                "Keys": {"id": image["id"]},
                "NewImage": image,
                "SequenceNumber": format!("{:021}", number + 1),
                "SizeBytes": 2048,
                "StreamViewType": "NEW_IMAGE",
            },
            "eventSourceARN": "arn:aws:dynamodb:eu-central-1:000000000000:table/StoreInbox/stream/bench",
        })
    };
    json!({"Records": items.into_iter().enumerate().map(record).collect::<Vec<_>>()})
}

/// The event that the schedule passes on every minute.
pub(crate) fn build_tick_event() -> Value {
    json!({
        "version": "0",
        "id": "00000000-0000-4000-8000-000000000000",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2026-11-20T08:00:00Z",
        "region": "eu-central-1",
        "resources": ["arn:aws:events:eu-central-1:000000000000:rule/bench"],
        "detail": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_have_the_size_of_the_targets_and_all_differ() {
        let config = include_str!("../../../clients/demo/client.toml");
        let shop = BenchShop::from_config(&ClientConfig::parse(config).unwrap(), |_| Some("hush".to_owned())).unwrap();
        let (one, other) =
            (shop.build_delivery(1_795_161_600_000).unwrap(), shop.build_delivery(1_795_161_600_000).unwrap());
        assert!((4500..=5500).contains(&one.post.body.len()), "{} bytes", one.post.body.len());
        assert!(one.id != other.id && one.post.body != other.post.body);
        let event = one.to_gateway_event().unwrap();
        assert_eq!(event["body"], *one.post.body_text());
        assert_eq!(
            (&one.inbox_key(), &event["pathParameters"]),
            (&build_item_id("shop", &one.id), &json!({"store": "shop"}))
        );
    }

    #[test]
    fn bookings_all_differ_and_stand_where_the_client_reads_them() {
        let config = ClientConfig::parse(include_str!("../../../clients/demo/client.toml")).unwrap();
        let calendar = BenchCalendar::from_config(&config, |_| Some("whsec_aHVzaA==".to_owned())).unwrap();
        let start = "2026-11-21T08:00:00Z".parse().unwrap();
        let [one, other] = [(); 2].map(|()| calendar.build_booking(start, 1_795_161_600_000).unwrap());
        assert!(one.id != other.id && one.post.body != other.post.body);
        assert_eq!(one.inbox_key(), build_item_id("crm", &one.id));
        let body: Value = serde_json::from_slice(&one.post.body).unwrap();
        assert_eq!(body["data"]["startsAt"], "2026-11-21T10:00:00+02:00");
        assert_eq!(body["data"]["status"], "confirmed");
    }

    #[test]
    fn messages_of_a_line_are_all_different_and_filed_under_its_name_and_not_under_its_secret() {
        let config = include_str!("../../../clients/demo/client.toml");
        let line = BenchLine::from_config(&ClientConfig::parse(config).unwrap(), |_| Some("hush".to_owned())).unwrap();
        let (one, other) =
            (line.build_message(3, 1_795_161_600_000).unwrap(), line.build_message(3, 1_795_161_600_000).unwrap());
        assert!(one.id != other.id && one.post.body != other.post.body);
        assert_eq!(one.inbox_key(), build_item_id("main", &one.id));
        assert_eq!(one.to_gateway_event().unwrap()["pathParameters"], json!({"line": "main", "secret": "hush"}));
    }
}
