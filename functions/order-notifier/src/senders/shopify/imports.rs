//! The signs of an imported order besides its times.
//!
//! No app can choose `created_at`, so an import has a `processed_at` of long ago. Without one, an
//! app that creates an order which is already fulfilled and closed reports the past too. A counter
//! or a download does the same, but is no app.

use tellonce_core::json::RawJson;

/// The values of `source_name` that Shopify reserves for its own channels. Other values name the
/// app that created the order.
const OWN_SOURCES: [&str; 5] = ["web", "pos", "shopify_draft_order", "iphone", "android"];

/// Tags by which tools of imports mark their orders.
const IMPORT_TAGS: [&str; 2] = ["import", "imported"];

/// Whether an app created the order.
pub(super) fn has_app_source(source_name: RawJson<'_>) -> bool {
    source_name.text().is_some_and(|source| !OWN_SOURCES.contains(&&*source))
}

/// Whether one of the order's tags, which commas separate, is that of an import.
pub(super) fn has_import_tag(tags: RawJson<'_>) -> bool {
    let tags = tags.text().unwrap_or_default();
    tags.split(',').any(|tag| IMPORT_TAGS.iter().any(|known| tag.trim().eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{order_event::ParsedOrder, samples::parse_as, senders::shopify::tests::changed_sample};

    #[test]
    fn an_imported_order_is_recorded_and_not_sent() {
        let long_ago = "2019-03-02T11:00:00+02:00";
        let reason = |topic: &str, case: &str, members: &Value| match parse_as(
            "shop",
            Some(topic),
            changed_sample(case, members),
        ) {
            ParsedOrder::Suppressed(event, reason) => format!("{} {}", event.milestone.name(), reason.code()),
            ParsedOrder::Skipped(reason) => reason.code().to_owned(),
            ParsedOrder::Event(event) => event.milestone.name().to_owned(),
            other @ ParsedOrder::NeedsLookup(_) => panic!("{other:?}"),
        };
        let old = json!({"processed_at": long_ago});
        assert_eq!(reason("orders/create", "orders_create", &old), "received imported-order");
        assert_eq!(reason("orders/paid", "orders_paid", &old), "paid imported-order");
        assert_eq!(reason("orders/fulfilled", "orders_fulfilled", &old), "shipped imported-order");
        // Closed or cancelled long before its entry, without the date of the purchase.
        for member in ["closed_at", "cancelled_at"] {
            let code = reason("orders/create", "orders_create", &json!({"processed_at": null, member: long_ago}));
            assert!(matches!(&*code, "received imported-order" | "stale-transition"), "{member}: {code}");
        }
        // An open order of last week that moved with the shop is paid and shipped later.
        let moved = json!({"processed_at": "2026-11-10T11:00:00+02:00", "created_at": "2026-11-16T11:00:00+02:00"});
        assert_eq!(reason("orders/create", "orders_create", &moved), "received imported-order");
        assert_eq!(reason("orders/fulfilled", "orders_fulfilled", &moved), "shipped");
        // A sale at a counter, a download and a draft are closed at once and happen now.
        let closed = json!({"closed_at": "2026-11-18T10:15:02+02:00", "created_at": "2026-11-18T10:15:02+02:00",
            "processed_at": "2026-11-18T10:15:02+02:00", "fulfillment_status": "fulfilled"});
        for (source, code) in [
            ("web", "received"),
            ("pos", "received"),
            ("shopify_draft_order", "received"),
            ("1830279", "received imported-order"),
        ] {
            let mut members = closed.clone();
            members["source_name"] = json!(source);
            assert_eq!(reason("orders/create", "orders_create", &members), code, "{source}");
        }
        let mut tagged = closed;
        tagged["tags"] = json!("vip, Imported");
        assert_eq!(reason("orders/create", "orders_create", &tagged), "received imported-order");
    }
}
