//! Shopify, with classic webhooks.

use super::{
    super::{
        BodyTypes, DeliveryIdSource, DeliveryProof, KindSetting, Milestone, RepeatWindow, SecretFacts, SecretPurpose,
        SenderFacts, SettingProblem, SettingRule, SignatureScheme,
    },
    StoreFacts, StoreKind,
};

/// A Shopify store.
#[derive(Debug, Clone)]
pub struct ShopifyStore {
    /// The shop's `….myshopify.com` domain. Deliveries that carry another domain are refused.
    pub shop_domain: String,
}

pub(super) static FACTS: StoreFacts = StoreFacts {
    name: "shopify",
    label: "Shopify",
    settings: &[KindSetting::required("shop_domain", SettingRule::Text(check_domain))],
    account_setting: Some("shop_domain"),
    api_secret: Some(SecretFacts::new(
        SecretPurpose::StoreApi,
        "a token of its Admin API, to look up pickups and parcels (read_orders, …)",
    )),
    body: BodyTypes::JSON,
    from_table: |table| Some(StoreKind::Shopify(ShopifyStore { shop_domain: table.shop_domain? })),
};

pub(super) const SENDER: SenderFacts = SenderFacts {
    secret: SecretFacts::new(
        SecretPurpose::WebhookSecret,
        "the client secret of the app that posts (or the secret on Settings > Notifications)",
    ),
    repeats: Some(RepeatWindow { days: 2, reason: "Shopify repeats for 4 hours and may be a day late" }),
    samples: "shopify",
};

/// Base64 of HMAC-SHA256 over the raw body, keyed with the app's client secret as text.
///
/// `X-Shopify-Webhook-Id` identifies the delivery and stays the same when it is sent again.
/// `X-Shopify-Event-Id` is shared by topics and is not used. Source: shopify.dev, "Verify webhook
/// deliveries", "Ignore duplicate webhooks".
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "x-shopify-hmac-sha256",
    account_header: Some("x-shopify-shop-domain"),
    delivery_id: DeliveryIdSource::Header("x-shopify-webhook-id"),
    topic_header: Some("x-shopify-topic"),
    kept_headers: &["x-shopify-triggered-at", "x-shopify-test"],
    ..SignatureScheme::BASE64
};

impl ShopifyStore {
    pub(super) fn proof(&self) -> DeliveryProof<'_> {
        DeliveryProof::Signature { scheme: &SIGNATURE, binding: &self.shop_domain }
    }
}

/// The milestones that Shopify reports. It has no webhook for invoices.
pub(super) fn reportable_milestones() -> Vec<Milestone> {
    let is_reported = |milestone: &Milestone| match milestone {
        Milestone::Received
        | Milestone::Paid
        | Milestone::Ready
        | Milestone::Shipped
        | Milestone::OutForDelivery
        | Milestone::DeliveryChanged
        | Milestone::Delivered
        | Milestone::Cancelled
        | Milestone::Refunded => true,
        Milestone::Invoice => false,
    };
    Milestone::ALL.into_iter().filter(is_reported).collect()
}

fn check_domain(domain: &str) -> Option<SettingProblem> {
    let fits = domain
        .to_ascii_lowercase()
        .strip_suffix(".myshopify.com")
        .is_some_and(|shop| !shop.is_empty() && shop.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    (!fits).then(|| {
        SettingProblem::new(
            format!("`{domain}` is not a shop's permanent domain, which every delivery contains"),
            "write the one that ends in .myshopify.com, without https:// (Shopify admin, Settings, Domains)",
        )
    })
}
