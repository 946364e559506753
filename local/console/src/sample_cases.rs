//! The cases of the console, and the recorded deliveries behind them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tellonce_fakes::{generate_id, shopify};
use tellonce_samples::{SenderProof, WebhookPost, parse_seconds, random_hex, shift_times};

/// Updates in a storm.
pub(super) const STORM_SIZE: usize = 20;

/// A case that a person can send from the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleSample {
    /// Shopify: an order for pickup is placed, and its items are prepared.
    ShopifyReady,
    /// Shopify: an order is placed.
    ShopifyReceived,
    /// Shopify: the order is paid.
    ShopifyPaid,
    /// Shopify: a parcel is on its way, with tracking.
    ShopifyShipped,
    /// Shopify: the order is cancelled.
    ShopifyCancelled,
    /// Shopify: the order is cancelled, and then an older "paid" arrives late.
    ShopifyLatePaid,
    /// `WooCommerce`: the shop's own status "ready for pickup".
    WooReady,
    /// `WooCommerce`: completed, with tracking of a plug-in.
    WooShipped,
    /// `WooCommerce`: the order is cancelled.
    WooCancelled,
    /// `WooCommerce`: twenty updates of one order at the same time.
    WooStorm,
    /// Own system: ready for pickup.
    ErpReady,
    /// Own system: the delivery was moved.
    ErpDeliveryChanged,
    /// Own system: an invoice exists.
    ErpInvoice,
    /// Zapier and similar systems: ready, with a secret header instead of a signature.
    ZapReady,
    /// The last delivery once more, byte for byte.
    RepeatLast,
    /// A delivery signed with another secret.
    BadSignature,
}

/// The kind of store that a sample comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SampleSender {
    Shopify,
    WooCommerce,
    StandardWebhooks,
    StaticHeader,
}

impl SampleSender {
    /// The sender whose samples are in this folder of `events/stores`, if the console has any.
    pub(super) fn from_folder(folder: &str) -> Option<Self> {
        Some(match folder {
            "shopify" => Self::Shopify,
            "woocommerce" => Self::WooCommerce,
            "standardwebhooks" => Self::StandardWebhooks,
            "static_header" => Self::StaticHeader,
            _ => return None,
        })
    }
}

/// The target of one kind of sample.
#[derive(Clone)]
pub(super) struct SampleTarget {
    pub(super) store: String,
    pub(super) secret: String,
    /// Shop domain, source or header name, depending on the kind of store.
    pub(super) detail: String,
}

/// A recorded delivery: its case, time of its event, and the ids to replace.
pub(super) struct SampleRecording {
    pub(super) sender: SampleSender,
    case: &'static str,
    /// `occurred_at` in the sample's manifest. `None` for a body without times.
    occurred_at: Option<&'static str>,
    order_id: &'static str,
    /// The order number that the customer sees, without `#`. `None` if it is the id.
    number: Option<&'static str>,
    /// Ids that differ between two deliveries about one order.
    inner_ids: &'static [&'static str],
}

macro_rules! recording {
    ($name:ident, $sender:ident, $case:literal, order $order_id:literal, number $number:expr, inner $inner:expr, at $at:expr) => {
        pub(super) const $name: SampleRecording = SampleRecording {
            sender: SampleSender::$sender,
            case: concat!("stores/", $case),
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
// This body contains only the id of a fulfilment order. The fake of Shopify's API finds the order
// by it.
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

/// The order number that the customer sees.
pub(super) fn order_number_for_customer(sender: SampleSender, order: i64) -> String {
    match sender {
        SampleSender::Shopify => format!("#{}", shopify::order_number(order)),
        SampleSender::WooCommerce | SampleSender::StandardWebhooks | SampleSender::StaticHeader => {
            short_order_id(order).to_string()
        }
    }
}

/// Other senders than Shopify have shorter ids.
fn short_order_id(order: i64) -> i64 {
    order % 1_000_000_000
}

impl SampleRecording {
    /// Rewrites a recording for another order and time, and signs it for `target`.
    pub(super) fn build_delivery(
        &self,
        target: &SampleTarget,
        order: i64,
        at: Timestamp,
        delivery_id: Option<String>,
    ) -> anyhow::Result<WebhookPost> {
        let recorded = WebhookPost::from_sample(self.case, format!("/stores/{}", target.store));
        let mut body = recorded.body_text().into_owned();
        if let Some(then) = self.occurred_at {
            body = shift_times(&body, at.as_second() - parse_seconds(then)?);
        }
        let order_id = match self.sender {
            SampleSender::Shopify if self.number.is_none() => shopify::fulfillment_order_id(order),
            SampleSender::Shopify => order.to_string(),
            SampleSender::WooCommerce | SampleSender::StandardWebhooks | SampleSender::StaticHeader => {
                short_order_id(order).to_string()
            }
        };
        body = body.replace(self.order_id, &order_id);
        if let Some(number) = self.number {
            body = body.replace(number, &shopify::order_number(order).to_string());
        }
        for (index, id) in self.inner_ids.iter().enumerate() {
            let new_id = match self.sender {
                // Shopify's ids are numbers.
                SampleSender::Shopify => (at.as_millisecond() + i64::try_from(index)?).to_string(),
                SampleSender::WooCommerce | SampleSender::StandardWebhooks | SampleSender::StaticHeader => {
                    random_hex(id.len())
                }
            };
            body = body.replace(id, &new_id);
        }
        self.sign_delivery(recorded.with_body(body), target, at, delivery_id)
    }

    fn sign_delivery(
        &self,
        delivery: WebhookPost,
        target: &SampleTarget,
        at: Timestamp,
        delivery_id: Option<String>,
    ) -> anyhow::Result<WebhookPost> {
        let SampleTarget { secret, detail, .. } = target;
        match self.sender {
            SampleSender::Shopify => {
                let webhook_id = delivery_id.unwrap_or_else(generate_id);
                delivery
                    .with_header("x-shopify-event-id", Some(&generate_id()))
                    .with_header("x-shopify-triggered-at", Some(&at.strftime("%FT%T%.3fZ").to_string()))
                    .sign(SenderProof::Shopify { shop_domain: detail, webhook_id: &webhook_id }, secret)
            }
            SampleSender::WooCommerce => {
                let delivery_id = delivery_id.unwrap_or_else(|| random_hex(32));
                delivery.sign(SenderProof::WooCommerce { source: detail, delivery_id: &delivery_id }, secret)
            }
            SampleSender::StandardWebhooks => {
                let id = delivery_id.unwrap_or_else(|| format!("msg_{}", random_hex(27)));
                delivery.sign(SenderProof::StandardWebhooks { id: &id, at }, secret)
            }
            SampleSender::StaticHeader => {
                delivery.with_header("x-webhook-token", None).sign(SenderProof::StaticHeader { header: detail }, secret)
            }
        }
    }
}

impl ConsoleSample {
    /// All cases, in the order of the console.
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

    /// The text of its button.
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

    /// The expected result, in one sentence.
    pub const fn expected_result(self) -> &'static str {
        match self {
            Self::ShopifyReady => {
                "Two deliveries: the order, then the pickup, which needs a lookup in the shop. One message."
            }
            Self::ShopifyReceived | Self::ShopifyPaid | Self::WooReady | Self::WooShipped | Self::ErpReady => {
                "One delivery, one message."
            }
            Self::ShopifyShipped => "One delivery, one message with a tracking button.",
            Self::ShopifyCancelled | Self::WooCancelled => "One delivery. It supersedes the messages that still wait.",
            Self::ShopifyLatePaid => "The late “paid” is recorded and never sent.",
            Self::WooStorm => "Twenty deliveries of one order, one message.",
            Self::ErpDeliveryChanged => "A Standard Webhooks sender moves the parcel to another day.",
            Self::ErpInvoice => "The message has a document as a link.",
            Self::ZapReady => "The proof is a secret header and not a signature.",
            Self::RepeatLast => "Recognised as a repeat: no new message is sent.",
            Self::BadSignature => "Refused with 401. The delivery is not stored.",
        }
    }

    /// The heading of its group.
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

    /// The recordings of a case. `None` if they depend on the last delivery or on the client's
    /// stores.
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
