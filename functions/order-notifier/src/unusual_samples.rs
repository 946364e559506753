//! Parses the unusual deliveries of `events/unusual` and compares each with its manifest.

use std::{collections::BTreeMap, sync::LazyLock};

use tellonce_core::{
    client_config::{ClientConfig, StoreKind},
    contact::Phone,
};
use tellonce_samples::{SampleDelivery, assert_all_files_listed, sample_deliveries};

use crate::{order_event::ParsedOrder, order_parser::parse_order_event, samples::sample_config};

/// The folders, each with the store that its deliveries go to.
const SYSTEMS: [(&str, &str); 3] = [("shopify", "shop"), ("woocommerce", "woo"), ("svix", "erp")];

/// The sample client with the usual meaning of the statuses of `WooCommerce`.
fn unusual_config() -> &'static ClientConfig {
    static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| {
        let mut config = sample_config();
        let store = config.stores.get_mut("woo").unwrap();
        let StoreKind::WooCommerce(shop) = &mut store.kind else { panic!("not a WooCommerce store") };
        let usual =
            r#"{"processing": "paid", "completed": "shipped", "cancelled": "cancelled", "refunded": "refunded"}"#;
        shop.statuses = serde_json::from_str(usual).unwrap();
        config
    });
    &CONFIG
}

fn parse_sample(sample: &SampleDelivery, store: &str) -> ParsedOrder {
    let config = unusual_config();
    let headers: BTreeMap<String, String> =
        sample.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let topic = headers.get("x-shopify-topic").or_else(|| headers.get("x-wc-webhook-topic")).cloned();
    let received_at = "2026-11-20T09:05:00Z".parse().unwrap();
    parse_order_event(&config.stores[store], config, topic.as_deref(), &headers, &sample.body, received_at)
}

#[test]
fn every_unusual_delivery_is_parsed_as_its_manifest_says() {
    let mut checked = 0;
    for (system, store) in SYSTEMS {
        let folder = format!("unusual/{system}");
        assert_all_files_listed(&folder, &[]);
        for sample in sample_deliveries(&folder) {
            let name = sample.full_name();
            checked += 1;
            match parse_sample(&sample, store) {
                ParsedOrder::Event(event) => {
                    assert_eq!(Some(event.milestone.name()), sample.text_fact("milestone"), "{name}");
                    let phone = event.contact.phone.as_ref().map(Phone::expose);
                    assert_eq!(phone, sample.text_fact("phone"), "{name}");
                    for variable in ["tracking_number", "tracking_url"] {
                        let value = event.values.get(variable).map(String::as_str);
                        assert_eq!(value, sample.text_fact(variable), "{name}: {variable}");
                    }
                }
                ParsedOrder::Suppressed(_, reason) | ParsedOrder::Skipped(reason) => {
                    assert_eq!(Some(reason.code()), sample.text_fact("outcome"), "{name}: {reason}");
                }
                other @ ParsedOrder::NeedsLookup(_) => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(checked >= 30, "{checked}");
}
