//! Sample deliveries of stores: the recordings of `events/stores` with new ids, times and
//! signatures.
//!
//! Each click is a new order unless the person asks for the last one, so no sample is a repeat by
//! accident. The receiver accepts a sample if the client's stores have the configuration that the
//! samples expect.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::client_config::{ClientConfig, DeliveryProof};
use tellonce_samples::WebhookPost;

pub use super::sample_cases::ConsoleSample;
use super::{
    sample_cases::{self, SampleSender, SampleTarget},
    sample_values::UniqueNumbers,
};

/// Longer than the gateway itself waits for a function.
const TIMEOUT: Duration = Duration::from_secs(35);

/// The deliveries of one case.
#[derive(Clone, PartialEq, Eq)]
pub struct DeliveryBatch {
    /// In the order in which they are posted.
    pub deliveries: Vec<WebhookPost>,
    /// For people: `order #1042 of shop`.
    pub about: String,
    /// Whether all are posted at the same time.
    pub at_once: bool,
}

/// The stores of a client that samples can be sent to, one of each kind.
#[derive(Clone)]
pub struct SampleTargets(BTreeMap<SampleSender, SampleTarget>);

impl SampleTargets {
    /// Picks the first store of each kind with a known secret.
    pub fn from_config(config: &ClientConfig, secret: impl Fn(&str) -> Option<String>) -> Self {
        let mut targets = BTreeMap::new();
        for (store, settings) in &config.stores {
            let Some(sender) = SampleSender::from_folder(settings.kind.sender().samples) else { continue };
            let detail = match settings.kind.proof() {
                DeliveryProof::Signature { binding, .. } => binding.to_owned(),
                DeliveryProof::StaticHeader { header, .. } => header.to_owned(),
                _ => String::new(),
            };
            if let Some(secret) = secret(&config.webhook_secret_name(store)) {
                targets.entry(sender).or_insert_with(|| SampleTarget { store: store.clone(), secret, detail });
            }
        }
        Self(targets)
    }

    /// Whether this client has a store of the case's kind.
    pub fn has_store_for(&self, case: ConsoleSample) -> bool {
        let recordings = case.recordings().unwrap_or_default();
        !self.0.is_empty() && recordings.iter().all(|made| self.0.contains_key(&made.sender))
    }
}

/// Builds deliveries. Remembers the last one for "again" and "the same order".
#[derive(Default)]
pub struct OrderSampleFactory {
    numbers: UniqueNumbers,
    orders: Mutex<BTreeMap<SampleSender, i64>>,
    last_delivery: Mutex<Option<WebhookPost>>,
}

impl OrderSampleFactory {
    /// Builds a case. `same_order` continues with the last order of that kind of store, if there is
    /// one.
    pub fn build_batch(
        &self,
        case: ConsoleSample,
        targets: &SampleTargets,
        same_order: bool,
        now_ms: i64,
    ) -> anyhow::Result<DeliveryBatch> {
        match case {
            ConsoleSample::RepeatLast => {
                let last = tellonce_fakes::lock_mutex(&self.last_delivery)
                    .clone()
                    .context("no delivery was sent yet; send another sample first")?;
                Ok(DeliveryBatch {
                    about: format!("the last delivery of {}", last.sender_name()),
                    deliveries: vec![last],
                    at_once: false,
                })
            }
            ConsoleSample::BadSignature => {
                let recording = [
                    &sample_cases::SHOPIFY_RECEIVED,
                    &sample_cases::WOO_READY,
                    &sample_cases::ERP_READY,
                    &sample_cases::ZAP_READY,
                ]
                .into_iter()
                .find(|made| targets.0.contains_key(&made.sender))
                .context("this client has no store with a known secret for a sample")?;
                let mut target = targets.0[&recording.sender].clone();
                // Still base64 behind `whsec_`, so that only the signature is wrong.
                target.secret = format!("{}AAAA", target.secret.trim_end_matches('='));
                let delivery = recording.build_delivery(
                    &target,
                    self.numbers.next(now_ms),
                    Timestamp::from_millisecond(now_ms)?,
                    None,
                )?;
                Ok(DeliveryBatch {
                    about: format!("a forged delivery for {}", target.store),
                    deliveries: vec![delivery],
                    at_once: false,
                })
            }
            _ => self.build_recorded_batch(case, targets, same_order, now_ms),
        }
    }

    fn build_recorded_batch(
        &self,
        case: ConsoleSample,
        targets: &SampleTargets,
        same_order: bool,
        now_ms: i64,
    ) -> anyhow::Result<DeliveryBatch> {
        let recordings = case.recordings().unwrap_or_default();
        let Some(sender) = recordings.first().map(|made| made.sender) else { bail!("the case has no recording") };
        let target = targets.0.get(&sender).with_context(|| {
            format!("this client has no {} store with a known secret for this sample", case.group())
        })?;
        let order = {
            let mut orders = tellonce_fakes::lock_mutex(&self.orders);
            let known = orders.get(&sender).copied().filter(|_| same_order);
            let order = known.unwrap_or_else(|| self.numbers.next(now_ms));
            orders.insert(sender, order);
            order
        };
        let count = recordings.len();
        let mut deliveries = Vec::with_capacity(count);
        for (index, recording) in recordings.into_iter().enumerate() {
            let (at_ms, delivery_id) = match case {
                // The delivery is sent late on purpose: its event happened before the cancellation.
                ConsoleSample::ShopifyLatePaid if index == 1 => (now_ms - 600_000, None),
                // WooCommerce gives all deliveries of one second the same id.
                ConsoleSample::WooStorm => {
                    let age = i64::try_from(count - index)?;
                    (now_ms - age * 1000, Some(format!("{:032x}", order + age / 2)))
                }
                _ => (now_ms, None),
            };
            let at = Timestamp::from_millisecond(at_ms)?;
            deliveries.push(recording.build_delivery(target, order, at, delivery_id)?);
        }
        (*tellonce_fakes::lock_mutex(&self.last_delivery)).clone_from(&deliveries.last().cloned());
        let order_number = sample_cases::order_number_for_customer(sender, order);
        Ok(DeliveryBatch {
            about: format!("order {order_number} of {}", target.store),
            deliveries,
            at_once: case == ConsoleSample::WooStorm,
        })
    }
}

/// The responses of the gateway to a batch.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GatewayResponses {
    /// The batch, for people.
    pub about: String,
    /// How many responses each HTTP status has. 0 counts requests without a response.
    pub statuses: BTreeMap<u16, usize>,
}

impl GatewayResponses {
    /// One sentence for people.
    pub fn to_sentence(&self) -> String {
        let meaning = |status: u16| match status {
            0 => "no response".to_owned(),
            200..300 => format!("accepted ({status})"),
            401 => "not verified (401)".to_owned(),
            400..500 => format!("refused ({status})"),
            _ => format!("failed ({status})"),
        };
        let parts: Vec<String> = self
            .statuses
            .iter()
            .map(|(status, count)| match count {
                1 => meaning(*status),
                count => format!("{count} × {}", meaning(*status)),
            })
            .collect();
        format!("{}: {}", capitalize_first(&self.about), parts.join(", "))
    }
}

fn capitalize_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Posts a batch to the gateway (`http://127.0.0.1:…`).
pub async fn post_batch(http: &reqwest::Client, gateway_url: &str, batch: DeliveryBatch) -> GatewayResponses {
    let about = batch.about.clone();
    let post_delivery = async |delivery: &WebhookPost| {
        let url = format!("{gateway_url}{}", delivery.path);
        let mut request = http.post(url).timeout(TIMEOUT).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(response) => response.status().as_u16(),
            Err(error) => {
                tracing::warn!(error = %error.without_url(), "the gateway did not respond to a sample");
                0
            }
        }
    };
    let mut statuses = BTreeMap::new();
    let all = if batch.at_once {
        futures::future::join_all(batch.deliveries.iter().map(post_delivery)).await
    } else {
        let mut all = Vec::new();
        for delivery in &batch.deliveries {
            all.push(post_delivery(delivery).await);
        }
        all
    };
    for status in all {
        *statuses.entry(status).or_default() += 1;
    }
    GatewayResponses { about, statuses }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tellonce_core::delivery::Refusal;

    use tellonce_fakes::shopify;

    use super::*;
    use crate::test_host::{demo_config, verify_post};

    const NOW_MS: i64 = 1_900_000_000_123;

    fn test_secret(name: &str) -> Option<String> {
        let value = match name.rsplit('/').next()? {
            "shop" => "test-shopify-client-secret-1",
            "woo" => "test-woo-secret & <quotes> \"1\"",
            "erp" => "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=",
            "zap" => "test-static-header-token-1",
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// Verifies a delivery as the receiver does.
    fn verify_delivery(delivery: &WebhookPost, config: &ClientConfig) -> Result<String, Refusal> {
        let name = delivery.sender_name();
        let now = Timestamp::from_millisecond(NOW_MS).expect("a time");
        verify_post(delivery, config.stores[name].kind.proof(), test_secret(name), now)
    }

    fn demo_fixture() -> (ClientConfig, SampleTargets, OrderSampleFactory) {
        let config = demo_config();
        let targets = SampleTargets::from_config(&config, test_secret);
        (config, targets, OrderSampleFactory::default())
    }

    #[test]
    fn the_receiver_verifies_every_case_except_the_bad_signature() {
        let (config, targets, book) = demo_fixture();
        for case in ConsoleSample::ALL {
            assert!(targets.has_store_for(case), "{case:?}");
            let batch = book.build_batch(case, &targets, false, NOW_MS).expect("made");
            for delivery in &batch.deliveries {
                let body: Value = serde_json::from_slice(&delivery.body).expect("JSON");
                assert!(body.is_object());
                let verdict = verify_delivery(delivery, &config);
                if case == ConsoleSample::BadSignature {
                    assert_eq!(verdict, Err(Refusal::ProofMismatch));
                } else {
                    assert!(verdict.is_ok(), "{case:?}: {verdict:?}");
                }
            }
        }
    }

    #[test]
    fn each_click_creates_another_order_with_current_times() {
        let (_, targets, book) = demo_fixture();
        let make = || {
            book.build_batch(ConsoleSample::ShopifyPaid, &targets, false, NOW_MS).expect("made").deliveries.remove(0)
        };
        let (first, second) = (make(), make());
        let body = |delivery: &WebhookPost| serde_json::from_slice::<Value>(&delivery.body).expect("JSON");
        assert_ne!(body(&first)["id"], body(&second)["id"]);
        assert_ne!(first.header("x-shopify-webhook-id"), second.header("x-shopify-webhook-id"));
        let updated: jiff::Timestamp = body(&first)["updated_at"].as_str().expect("text").parse().expect("a time");
        assert_eq!(updated.as_second(), NOW_MS / 1000);
        let shipping = &body(&first)["shipping_address"];
        assert_eq!(
            (&shipping["phone"], &shipping["name"]),
            (&json!("054-555-0199"), &json!("Noa Levi")),
            "the order has no other number"
        );
        assert!(!first.body_text().contains("5223452934372") && !first.body_text().contains("#1042"));
        let number = shopify::order_number(body(&first)["id"].as_i64().expect("an id"));
        assert_eq!(body(&first)["name"], format!("#{number}"));
    }

    #[test]
    fn the_same_order_can_be_continued() {
        let (_, targets, book) = demo_fixture();
        let id = |case, same, field: &str| {
            let batch = book.build_batch(case, &targets, same, NOW_MS).expect("made");
            serde_json::from_slice::<Value>(&batch.deliveries[0].body).expect("JSON")[field].clone()
        };
        let placed = id(ConsoleSample::ShopifyReceived, false, "id");
        assert_eq!(id(ConsoleSample::ShopifyPaid, true, "id"), placed);
        assert_eq!(id(ConsoleSample::ShopifyShipped, true, "order_id"), placed);
        assert_ne!(id(ConsoleSample::ShopifyCancelled, false, "id"), placed);
    }

    #[test]
    fn a_pickup_notice_leads_back_to_its_order() {
        let (_, targets, book) = demo_fixture();
        let batch = book.build_batch(ConsoleSample::ShopifyReady, &targets, false, NOW_MS).expect("made");
        let [placed, prepared] = &batch.deliveries[..] else { panic!("two deliveries") };
        let placed: Value = serde_json::from_slice(&placed.body).expect("JSON");
        let prepared: Value = serde_json::from_slice(&prepared.body).expect("JSON");
        let answer = shopify::response_body(prepared["fulfillment_order"]["id"].as_str().expect("an id"));
        let found = &answer["data"]["fulfillmentOrder"];
        assert_eq!(found["id"], prepared["fulfillment_order"]["id"]);
        assert_eq!(found["order"]["legacyResourceId"], placed["id"].to_string());
        assert_eq!(found["order"]["name"], placed["name"]);
        assert_eq!(found["order"]["phone"], placed["phone"]);
        for unknown in
            ["gid://shopify/FulfillmentOrder/1", "gid://shopify/FulfillmentOrder/x1", "", "gid://shopify/Order/1"]
        {
            assert!(shopify::response_body(unknown)["data"]["fulfillmentOrder"].is_null(), "{unknown}");
        }
    }

    #[test]
    fn a_storm_is_twenty_versions_of_one_order_that_share_delivery_ids() {
        let (config, targets, book) = demo_fixture();
        let batch = book.build_batch(ConsoleSample::WooStorm, &targets, false, NOW_MS).expect("made");
        assert!(batch.at_once);
        let bodies: std::collections::BTreeSet<_> = batch.deliveries.iter().map(|one| one.body.clone()).collect();
        assert_eq!(bodies.len(), 20);
        let orders: std::collections::BTreeSet<_> = bodies
            .iter()
            .map(|body| serde_json::from_slice::<Value>(body).expect("JSON")["number"].to_string())
            .collect();
        assert_eq!(orders.len(), 1);
        let ids: std::collections::BTreeSet<_> =
            batch.deliveries.iter().map(|one| one.header("x-wc-webhook-delivery-id").map(str::to_owned)).collect();
        assert!(ids.len() < 20, "deliveries of one second share an id");
        assert!(batch.deliveries.iter().all(|one| verify_delivery(one, &config).is_ok()));
    }

    #[test]
    fn a_late_paid_is_older_than_the_cancellation() {
        let (_, targets, book) = demo_fixture();
        let batch = book.build_batch(ConsoleSample::ShopifyLatePaid, &targets, false, NOW_MS).expect("made");
        let at = |index: usize, field: &str| {
            let body: Value = serde_json::from_slice(&batch.deliveries[index].body).expect("JSON");
            (body["id"].clone(), body[field].as_str().expect("text").parse::<jiff::Timestamp>().expect("a time"))
        };
        let ((cancelled, cancelled_at), (paid, paid_at)) = (at(0, "cancelled_at"), at(1, "updated_at"));
        assert_eq!(cancelled, paid);
        assert!(paid_at < cancelled_at);
    }

    #[test]
    fn a_repeat_is_byte_identical_and_needs_an_earlier_delivery() {
        let (_, targets, book) = demo_fixture();
        assert!(book.build_batch(ConsoleSample::RepeatLast, &targets, false, NOW_MS).is_err());
        let first = book.build_batch(ConsoleSample::ErpReady, &targets, false, NOW_MS).expect("made");
        let again = book.build_batch(ConsoleSample::RepeatLast, &targets, false, NOW_MS + 5000).expect("made");
        assert!(first.deliveries == again.deliveries);
        book.build_batch(ConsoleSample::BadSignature, &targets, false, NOW_MS).expect("made");
        let still = book.build_batch(ConsoleSample::RepeatLast, &targets, false, NOW_MS).expect("made");
        assert!(still.deliveries == again.deliveries, "a forged delivery is not repeated");
    }

    #[test]
    fn a_case_without_a_matching_store_is_an_error() {
        let (config, _, book) = demo_fixture();
        let none = SampleTargets::from_config(&config, |_| None);
        assert!(!none.has_store_for(ConsoleSample::ShopifyPaid) && !none.has_store_for(ConsoleSample::RepeatLast));
        let error = book.build_batch(ConsoleSample::ShopifyPaid, &none, false, NOW_MS).err().expect("refused");
        assert!(error.to_string().contains("no Shopify store"), "{error}");
    }

    #[test]
    fn gateway_responses_are_described_in_words() {
        let responses =
            GatewayResponses { about: "order #7 of shop".into(), statuses: BTreeMap::from([(200, 19), (401, 1)]) };
        assert_eq!(responses.to_sentence(), "Order #7 of shop: 19 × accepted (200), not verified (401)");
    }
}
