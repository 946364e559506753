//! `WooCommerce`.

use std::collections::BTreeMap;

use url::Url;

use super::{
    super::{
        BodyTypes, DeliveryIdSource, DeliveryProof, KindSetting, Milestone, RepeatWindow, SecretFacts, SecretPurpose,
        SenderFacts, SettingProblem, SettingRule, SignatureScheme, UnsignedPing, is_plain_name,
    },
    StoreFacts, StoreKind,
};

/// A `WooCommerce` store.
#[derive(Debug, Clone)]
pub struct WooCommerceStore {
    /// Home URL of the site as in `X-WC-Webhook-Source`, with a slash at the end.
    pub source: String,
    /// Order status → milestone. WooCommerce has no own status for "shipped" and "ready", so
    /// each shop maps its statuses.
    pub statuses: BTreeMap<String, Milestone>,
    /// Ids of shipping methods by which the customer fetches the order, beyond those that tellonce
    /// knows.
    pub pickup_methods: Vec<String>,
}

pub(super) static FACTS: StoreFacts = StoreFacts {
    name: "woocommerce",
    label: "WooCommerce",
    settings: &[
        KindSetting::required("source", SettingRule::Text(check_source)),
        KindSetting::required(
            "statuses",
            SettingRule::Table {
                when_empty: || {
                    SettingProblem::new(
                        "no order status is mapped to a milestone, so nothing is sent",
                        "add at least one, like processing = \"paid\"",
                    )
                },
                check_key: check_status,
            },
        ),
        KindSetting::optional("pickup_methods", SettingRule::Texts(check_method)),
    ],
    account_setting: Some("source"),
    api_secret: None,
    // It posts its ping as a form.
    body: BodyTypes { form: true, ..BodyTypes::JSON },
    from_table: |table| {
        let pickup_methods = table.pickup_methods.unwrap_or_default();
        Some(StoreKind::WooCommerce(WooCommerceStore {
            source: table.source?,
            statuses: table.statuses?,
            pickup_methods,
        }))
    },
};

pub(super) const SENDER: SenderFacts = SenderFacts {
    secret: SecretFacts::chosen(SecretPurpose::WebhookSecret, "the secret of the webhooks, the same for all"),
    repeats: Some(RepeatWindow { days: 1, reason: "WooCommerce repeats only within its own queue" }),
    samples: "woocommerce",
};

/// Base64 of HMAC-SHA256 over the raw body. Five signs in the secret are decoded from their HTML
/// entities before use.
///
/// `WooCommerce` makes its delivery id from the webhook's number and the second, so two orders of
/// one second share it. The stored id therefore includes the body's hash. Source: woocommerce
/// `class-wc-webhook.php`, `generate_signature`, `get_new_delivery_id`.
///
/// It saves a webhook only if an unsigned form post `webhook_id=<n>`, without any `X-WC-*` header,
/// is answered with 200. Source: the same file, `deliver_ping`.
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "x-wc-webhook-signature",
    decodes_key: true,
    ping: Some(UnsignedPing { header_prefix: "x-wc-", field: "webhook_id" }),
    account_header: Some("x-wc-webhook-source"),
    delivery_id: DeliveryIdSource::HeaderAndBody("x-wc-webhook-delivery-id"),
    topic_header: Some("x-wc-webhook-topic"),
    ..SignatureScheme::BASE64
};

impl WooCommerceStore {
    /// The statuses that are mapped to `paid` although such an order waits for its payment.
    pub(super) fn unpaid_statuses_as_paid(&self) -> impl Iterator<Item = &str> {
        let is_unpaid = |status: &str| matches!(status, "pending" | "on-hold" | "failed");
        let paid = self.statuses.iter().filter(|(_, milestone)| **milestone == Milestone::Paid);
        paid.map(|(status, _)| status.as_str()).filter(move |status| is_unpaid(status))
    }

    pub(super) fn proof(&self) -> DeliveryProof<'_> {
        DeliveryProof::Signature { scheme: &SIGNATURE, binding: &self.source }
    }
}

fn check_source(source: &str) -> Option<SettingProblem> {
    let home = Url::parse(source).ok().filter(Url::has_host);
    let fits = home.is_some_and(|url| {
        url.scheme() == "https" && url.path().ends_with('/') && url.query().is_none() && url.fragment().is_none()
    });
    (!fits || !source.ends_with('/')).then(|| {
        SettingProblem::new(
            format!("`{source}` is not a site's home URL as X-WC-Webhook-Source contains it"),
            "write it like \"https://shop.example.co.il/\", with https and the slash at its end",
        )
    })
}

fn check_status(status: &str) -> Option<SettingProblem> {
    if let Some(slug) = status.strip_prefix("wc-") {
        let problem = format!("`{status}` is the status in the database; webhooks leave out the `wc-`");
        return Some(SettingProblem::new(problem, format!("write `{slug}`")));
    }
    let remedy = "use the status's slug (lower-case letters, digits, `-`, `_`), not its title";
    (!is_plain_name(status, 40))
        .then(|| SettingProblem::new(format!("`{status}` is not the slug of an order status"), remedy))
}

fn check_method(method: &str) -> Option<SettingProblem> {
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    (method.is_empty() || !method.chars().all(is_id)).then(|| {
        SettingProblem::new(
            format!("`{method}` is not the id of a shipping method"),
            "write the `method_id` of the order's shipping line, not its title",
        )
    })
}
