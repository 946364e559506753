//! The signs of an imported order besides its times.
//!
//! No app can choose `created_at`, so an import has a `processed_at` of long ago. Without one, an
//! order that is created fulfilled and closed reports the past only if it is marked as imported. An
//! app alone is not a mark: headless shops, subscriptions and counters are apps too, and their
//! downloads are closed at once.

use tellonce_core::json::RawJson;

use crate::order_import::ImportMark;

/// Words by which people and tools mark an imported order, in a tag or as its source. Tools let
/// their user choose.
const IMPORT_WORDS: [&str; 8] =
    ["import", "imported", "migrated", "migration", "matrixify", "excelify", "cart2cart", "litextension"];

/// The mark of an import among the order's tags, which commas separate, or in the name of its
/// source.
pub(super) fn find_import_mark(source_name: RawJson<'_>, tags: RawJson<'_>) -> ImportMark {
    let has_word = |text: RawJson<'_>| {
        let text = text.text().unwrap_or_default();
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        words.any(|word| IMPORT_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
    };
    if has_word(source_name) || has_word(tags) { ImportMark::Marked } else { ImportMark::Unmarked }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{order_event::ParsedOrder, samples::parse_as, senders::shopify::tests::changed_sample};

    fn reason(topic: &str, case: &str, members: &Value) -> String {
        match parse_as("shop", Some(topic), changed_sample(case, members)) {
            ParsedOrder::Suppressed(event, reason) => format!("{} {}", event.milestone.name(), reason.code()),
            ParsedOrder::Skipped(reason) => reason.code().to_owned(),
            ParsedOrder::Event(event) => event.milestone.name().to_owned(),
            other @ ParsedOrder::NeedsLookup(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_imported_order_is_recorded_and_not_sent() {
        let long_ago = "2019-03-02T11:00:00+02:00";
        let old = json!({"processed_at": long_ago});
        assert_eq!(reason("orders/create", "orders_create", &old), "received imported-order");
        assert_eq!(reason("orders/paid", "orders_paid", &old), "paid imported-order");
        assert_eq!(reason("orders/fulfilled", "orders_fulfilled", &old), "shipped imported-order");
        // Closed long before its entry, without the date of the purchase.
        let closed = json!({"processed_at": null, "closed_at": long_ago});
        assert_eq!(reason("orders/create", "orders_create", &closed), "received imported-order");
        // A cancelled order does not become a received one, whenever it was cancelled.
        let cancelled = json!({"processed_at": null, "cancelled_at": long_ago});
        assert_eq!(reason("orders/create", "orders_create", &cancelled), "stale-transition");
        assert_eq!(reason("orders/cancelled", "orders_cancelled", &cancelled), "cancelled imported-order");
    }

    #[test]
    fn what_happens_to_an_imported_order_after_the_import_is_sent() {
        let (created, purchased) = ("2026-11-18T06:00:00+02:00", "2026-11-10T11:00:00+02:00");
        let at = |updated: &str| json!({"processed_at": purchased, "created_at": created, "updated_at": updated});
        let (at_once, hours_later) = (at("2026-11-18T06:00:04+02:00"), at("2026-11-18T09:00:00+02:00"));
        assert_eq!(reason("orders/create", "orders_create", &at_once), "received imported-order");
        for (topic, case, milestone) in
            [("orders/fulfilled", "orders_fulfilled", "shipped"), ("orders/paid", "orders_paid", "paid")]
        {
            assert_eq!(reason(topic, case, &at_once), format!("{milestone} imported-order"));
            assert_eq!(reason(topic, case, &hours_later), milestone);
        }
        let mut cancelled = hours_later;
        cancelled["cancelled_at"] = cancelled["updated_at"].clone();
        assert_eq!(reason("orders/cancelled", "orders_cancelled", &cancelled), "cancelled");
        cancelled["processed_at"] = json!("2019-03-02T11:00:00+02:00");
        assert_eq!(reason("orders/cancelled", "orders_cancelled", &cancelled), "cancelled", "an old purchase");
    }

    #[test]
    fn an_order_that_is_closed_at_once_is_imported_only_with_a_mark() {
        let closed = |source: &str, tags: &str| {
            let at = "2026-11-18T10:15:02+02:00";
            json!({"closed_at": at, "created_at": at, "processed_at": at, "fulfillment_status": "fulfilled",
                "source_name": source, "tags": tags})
        };
        let code = |members: &Value| reason("orders/create", "orders_create", members);
        for (source, tags) in [
            ("web", ""),
            ("pos", ""),
            ("shopify_draft_order", ""),
            // Apps: a headless shop, subscriptions, a counter of another maker.
            ("1830279", ""),
            ("subscription_contract", "Subscription, Recurring"),
            ("294517", "important, vip"),
        ] {
            assert_eq!(code(&closed(source, tags)), "received", "{source} {tags}");
        }
        for (source, tags) in [
            ("1830279", "vip, Imported"),
            ("web", "import"),
            ("1830279", "import-2026-11"),
            ("580111", "Imported from another shop"),
            ("Matrixify", ""),
        ] {
            assert_eq!(code(&closed(source, tags)), "received imported-order", "{source} {tags}");
            let mut open = closed(source, tags);
            open["closed_at"] = json!(null);
            assert_eq!(code(&open), "received", "a new order: {source} {tags}");
        }
    }

    #[test]
    fn an_order_that_a_connector_hands_over_late_is_new() {
        let late = |purchased: &str, tags: &str| {
            json!({"processed_at": purchased, "created_at": "2026-11-18T10:15:02+02:00", "source_name": "294517",
                "tags": tags})
        };
        for (purchased, tags, code) in [
            ("2026-11-17T09:15:02+02:00", "", "received"),
            ("2026-11-15T10:15:02+02:00", "", "received"),
            ("2026-11-17T09:15:02+02:00", "imported", "received imported-order"),
            ("2026-11-12T09:15:02+02:00", "", "received imported-order"),
        ] {
            assert_eq!(reason("orders/create", "orders_create", &late(purchased, tags)), code, "{purchased} {tags}");
        }
    }
}
