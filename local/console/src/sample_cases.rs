//! What can be tried, and the recorded deliveries it is made of.

use serde::{Deserialize, Serialize};

/// Updates in a storm.
pub(super) const STORM_SIZE: usize = 20;

/// Something that can be tried from the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleSample {
    /// Shopify: an order for pickup was placed, and its items are prepared.
    ShopifyReady,
    /// Shopify: an order was placed.
    ShopifyReceived,
    /// Shopify: it was paid.
    ShopifyPaid,
    /// Shopify: a parcel is on its way, with tracking.
    ShopifyShipped,
    /// Shopify: it was cancelled.
    ShopifyCancelled,
    /// Shopify: cancelled, and then an older "paid" arrives late.
    ShopifyLatePaid,
    /// `WooCommerce`: the shop's own status "ready for pickup".
    WooReady,
    /// `WooCommerce`: completed, with tracking of a plug-in.
    WooShipped,
    /// `WooCommerce`: it was cancelled.
    WooCancelled,
    /// `WooCommerce`: twenty updates of one order at once.
    WooStorm,
    /// Own system: ready for pickup.
    ErpReady,
    /// Own system: the delivery was moved.
    ErpDeliveryChanged,
    /// Own system: an invoice exists.
    ErpInvoice,
    /// Zapier and the like: ready, with a secret header in place of a signature.
    ZapReady,
    /// The last delivery once more, byte for byte.
    RepeatLast,
    /// A delivery signed with another secret.
    BadSignature,
}

/// Which kind of store a sample comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SampleSender {
    Shopify,
    WooCommerce,
    StandardWebhooks,
    StaticHeader,
}

/// A recorded delivery: body, headers, when it happened, and the ids to replace.
pub(super) struct SampleRecording {
    pub(super) sender: SampleSender,
    pub(super) body: &'static str,
    pub(super) headers: &'static str,
    /// `occurred_at` of the sample's manifest; none for a body without times.
    pub(super) occurred_at: Option<&'static str>,
    pub(super) order_id: &'static str,
    /// Number the customer knows, without `#`; none where it is the id.
    pub(super) number: Option<&'static str>,
    /// Ids that must differ between two deliveries about one order.
    pub(super) inner_ids: &'static [&'static str],
}

macro_rules! recording {
    ($name:ident, $sender:ident, $case:literal, order $order_id:literal, number $number:expr, inner $inner:expr, at $at:expr) => {
        pub(super) const $name: SampleRecording = SampleRecording {
            sender: SampleSender::$sender,
            body: include_str!(concat!("../../../events/stores/", $case, ".json")),
            headers: include_str!(concat!("../../../events/stores/", $case, ".headers.txt")),
            occurred_at: $at,
            order_id: $order_id,
            number: $number,
            inner_ids: $inner,
        };
    };
}

recording!(SHOPIFY_RECEIVED, Shopify, "shopify/orders_create",
    order "5223452934372", number Some("1042"), inner &[], at Some("2026-11-18T10:15:02+02:00"));
recording!(SHOPIFY_PAID, Shopify, "shopify/orders_paid",
    order "5223452934372", number Some("1042"), inner &[], at Some("2026-11-18T10:15:09+02:00"));
recording!(SHOPIFY_SHIPPED, Shopify, "shopify/fulfillments_create",
    order "5223452934372", number Some("1042"), inner &["4670000000001"], at Some("2026-11-19T09:30:00+02:00"));
recording!(SHOPIFY_CANCELLED, Shopify, "shopify/orders_cancelled",
    order "5223452934373", number Some("1043"), inner &[], at Some("2026-11-18T12:00:00+02:00"));
recording!(SHOPIFY_PICKUP, Shopify, "shopify/orders_create.pickup",
    order "5223452934380", number Some("1050"), inner &[], at Some("2026-11-19T08:10:00+02:00"));
// This body names a fulfilment order only. The fake of Shopify's API finds the order by its id.
recording!(SHOPIFY_PREPARED, Shopify, "shopify/fulfillment_orders_line_items_prepared_for_pickup",
    order "6820000000001", number None, inner &[], at None);
recording!(WOO_READY, WooCommerce, "woocommerce/order_updated.pickup_ready",
    order "7273", number None, inner &[], at Some("2026-11-19T10:00:00Z"));
recording!(WOO_SHIPPED, WooCommerce, "woocommerce/order_updated.completed_tracking",
    order "7271", number None, inner &["6f1ed002ab5595859014ebf0951522d9"], at Some("2026-11-19T07:31:00Z"));
recording!(WOO_CANCELLED, WooCommerce, "woocommerce/order_updated.cancelled",
    order "7274", number None, inner &[], at Some("2026-11-18T09:50:00Z"));
recording!(ERP_READY, StandardWebhooks, "standardwebhooks/order_ready",
    order "90311", number None, inner &[], at Some("2026-11-19T10:00:00Z"));
recording!(ERP_DELIVERY_CHANGED, StandardWebhooks, "standardwebhooks/delivery_changed",
    order "90311", number None, inner &[], at Some("2026-11-19T11:00:00Z"));
recording!(ERP_INVOICE, StandardWebhooks, "standardwebhooks/invoice_issued",
    order "90311", number None, inner &["2026-1188"], at Some("2026-11-19T12:00:00Z"));
recording!(ZAP_READY, StaticHeader, "static_header/zapier_order",
    order "77", number None, inner &["zap-5f1c"], at None);

impl ConsoleSample {
    /// All of them, in the order of the console.
    pub const ALL: [Self; 16] = [
        Self::ShopifyReady,
        Self::ShopifyReceived,
        Self::ShopifyPaid,
        Self::ShopifyShipped,
        Self::ShopifyCancelled,
        Self::ShopifyLatePaid,
        Self::WooReady,
        Self::WooShipped,
        Self::WooCancelled,
        Self::WooStorm,
        Self::ErpReady,
        Self::ErpDeliveryChanged,
        Self::ErpInvoice,
        Self::ZapReady,
        Self::RepeatLast,
        Self::BadSignature,
    ];

    /// What stands on its button.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ShopifyReady => "Ready for pickup",
            Self::ShopifyReceived => "Received",
            Self::ShopifyPaid => "Paid",
            Self::ShopifyShipped | Self::WooShipped => "Shipped",
            Self::ShopifyCancelled | Self::WooCancelled => "Cancelled",
            Self::ShopifyLatePaid => "Cancelled, then a late “paid”",
            Self::WooReady | Self::ErpReady | Self::ZapReady => "Ready",
            Self::WooStorm => "Storm of 20 updates",
            Self::ErpDeliveryChanged => "Delivery moved",
            Self::ErpInvoice => "Invoice",
            Self::RepeatLast => "Same delivery again",
            Self::BadSignature => "Bad signature",
        }
    }

    /// What should happen, in one sentence.
    pub const fn expected_result(self) -> &'static str {
        match self {
            Self::ShopifyReady => {
                "Two deliveries: the order, then the pickup notice, which needs a look-up in the shop."
            }
            Self::ShopifyReceived | Self::ShopifyPaid | Self::WooReady | Self::WooShipped | Self::ErpReady => {
                "One delivery, one message."
            }
            Self::ShopifyShipped => "One delivery, one message with a tracking button.",
            Self::ShopifyCancelled | Self::WooCancelled => "One delivery; whatever was still waiting becomes untrue.",
            Self::ShopifyLatePaid => "The late “paid” is recorded and never sent.",
            Self::WooStorm => "Twenty deliveries of one order, one message.",
            Self::ErpDeliveryChanged => "A Standard Webhooks sender moves the delivery to another day.",
            Self::ErpInvoice => "A document is sent along as a link.",
            Self::ZapReady => "No signature, a secret header instead.",
            Self::RepeatLast => "Recognised as a repeat: nothing new is sent.",
            Self::BadSignature => "Refused with 401; nothing is stored.",
        }
    }

    /// Heading of its group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::ShopifyReady
            | Self::ShopifyReceived
            | Self::ShopifyPaid
            | Self::ShopifyShipped
            | Self::ShopifyCancelled
            | Self::ShopifyLatePaid => "Shopify",
            Self::WooReady | Self::WooShipped | Self::WooCancelled | Self::WooStorm => "WooCommerce",
            Self::ErpReady | Self::ErpDeliveryChanged | Self::ErpInvoice => "Own system",
            Self::ZapReady => "Zapier",
            Self::RepeatLast | Self::BadSignature => "Trouble",
        }
    }

    /// What it is made of; none where it depends on what was sent before, or on which stores there are.
    pub(super) fn recordings(self) -> Option<Vec<&'static SampleRecording>> {
        Some(match self {
            Self::ShopifyReady => vec![&SHOPIFY_PICKUP, &SHOPIFY_PREPARED],
            Self::ShopifyReceived => vec![&SHOPIFY_RECEIVED],
            Self::ShopifyPaid => vec![&SHOPIFY_PAID],
            Self::ShopifyShipped => vec![&SHOPIFY_SHIPPED],
            Self::ShopifyCancelled => vec![&SHOPIFY_CANCELLED],
            Self::ShopifyLatePaid => vec![&SHOPIFY_CANCELLED, &SHOPIFY_PAID],
            Self::WooReady => vec![&WOO_READY],
            Self::WooShipped => vec![&WOO_SHIPPED],
            Self::WooCancelled => vec![&WOO_CANCELLED],
            Self::WooStorm => vec![&WOO_READY; STORM_SIZE],
            Self::ErpReady => vec![&ERP_READY],
            Self::ErpDeliveryChanged => vec![&ERP_DELIVERY_CHANGED],
            Self::ErpInvoice => vec![&ERP_INVOICE],
            Self::ZapReady => vec![&ZAP_READY],
            Self::RepeatLast | Self::BadSignature => return None,
        })
    }
}
