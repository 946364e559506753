//! Stores: senders of order events. Each kind has a file with its facts.

mod custom;
mod shopify;
mod woocommerce;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    BodyTypes, CustomScheme, DeliveryProof, KindSetting, MAIN_ID_SCOPE, Milestone, SecretFacts, SenderFacts,
    kind_facts::require_settings,
};

pub use self::{
    custom::{CustomStore, OrderFields},
    shopify::ShopifyStore,
    woocommerce::WooCommerceStore,
};

/// A sender of order events. Its proof is checked with the secret
/// `tellonce/<client>/webhooks/<name>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "StoreTable")]
#[schemars(with = "StoreTable")]
pub struct StoreConfig {
    /// The kind of store, with the settings of that kind.
    pub kind: StoreKind,
    /// The name of the line that sends for this store.
    pub line: String,
    /// The shop's name in texts; the client's if absent.
    pub name: Option<String>,
    /// The id scope of the store's orders; `main` if absent. Stores that report the same orders
    /// share one: a shop, and the ERP that reports "ready" for the shop's orders.
    pub id_scope: Option<String>,
    /// Country for phone numbers without a country code; the client's if absent.
    pub country: Option<String>,
}

impl StoreConfig {
    /// The id scope of this store, or [`MAIN_ID_SCOPE`].
    pub fn id_scope(&self) -> &str {
        self.id_scope.as_deref().unwrap_or(MAIN_ID_SCOPE)
    }
}

/// The kinds of store that tellonce can read.
#[derive(Debug, Clone)]
pub enum StoreKind {
    /// Shopify.
    Shopify(ShopifyStore),
    /// WooCommerce.
    WooCommerce(WooCommerceStore),
    /// Any other system that posts JSON: a custom shop, an ERP, n8n, Make, Zapier.
    Custom(CustomStore),
}

/// The facts of a kind of store.
#[derive(Debug)]
pub struct StoreFacts {
    /// The name in `client.toml`.
    pub name: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// The settings that not every kind has.
    pub settings: &'static [KindSetting],
    /// The setting that two stores have in common only if they are the same shop.
    pub account_setting: Option<&'static str>,
    /// The credential for lookups in its API, if it has one.
    pub api_secret: Option<SecretFacts>,
    /// Which bodies it posts.
    pub body: BodyTypes,
    from_table: fn(StoreTable) -> Option<StoreKind>,
}

impl StoreFacts {
    /// The facts of all kinds, in the order of the documentation.
    pub const ALL: [&'static Self; 3] = [&shopify::FACTS, &woocommerce::FACTS, &custom::FACTS];
}

impl StoreKind {
    /// The facts of this kind.
    pub const fn facts(&self) -> &'static StoreFacts {
        match self {
            Self::Shopify(_) => &shopify::FACTS,
            Self::WooCommerce(_) => &woocommerce::FACTS,
            Self::Custom(_) => &custom::FACTS,
        }
    }

    /// What the agency must know about its deliveries: secret, repeats, samples.
    pub const fn sender(&self) -> SenderFacts {
        match self {
            Self::Shopify(_) => shopify::SENDER,
            Self::WooCommerce(_) => woocommerce::SENDER,
            Self::Custom(store) => store.verify.sender(),
        }
    }

    /// How deliveries prove where they come from.
    pub fn proof(&self) -> DeliveryProof<'_> {
        match self {
            Self::Shopify(store) => store.proof(),
            Self::WooCommerce(store) => store.proof(),
            Self::Custom(store) => store.proof(),
        }
    }

    /// The statuses that are mapped to `paid` although such an order waits for its payment.
    pub fn unpaid_statuses_as_paid(&self) -> Vec<&str> {
        match self {
            Self::WooCommerce(store) => store.unpaid_statuses_as_paid().collect(),
            Self::Shopify(_) | Self::Custom(_) => Vec::new(),
        }
    }

    /// The milestones that it can report.
    pub fn reportable_milestones(&self) -> Vec<Milestone> {
        match self {
            Self::Shopify(_) => shopify::reportable_milestones(),
            Self::WooCommerce(store) => store.statuses.values().copied().collect(),
            Self::Custom(store) => store.events.values().copied().collect(),
        }
    }

    /// The table in `client.toml` that says which milestone a word of the store means, and what
    /// such a word is; `None` for a kind whose words are known.
    pub fn milestone_table(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Shopify(_) => None,
            Self::WooCommerce(_) => Some(("statuses", "status")),
            Self::Custom(_) => Some(("events", "event")),
        }
    }
}

/// A store in `client.toml`: one flat table for all kinds.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    /// The kind of store.
    kind: StoreKindName,
    /// The name of the line that sends for this store.
    line: String,
    /// The shop's name in texts: `{{ store_name }}`. Default: the client's `name`.
    name: Option<String>,
    /// The id scope: stores in one scope mean the same order by the same id. At most 20 lower-case
    /// letters, digits, `-` and `_`. Default: `main`. Stores that share a scope must each set it.
    id_scope: Option<String>,
    /// Country for phone numbers of this store without a country code: ISO 3166-1 alpha-2. Default:
    /// the client's `country`.
    country: Option<String>,
    /// `shopify`, required: the shop's permanent `….myshopify.com` domain. Deliveries that carry
    /// another domain are refused.
    shop_domain: Option<String>,
    /// `woocommerce`, required: the site's home URL as the header `X-WC-Webhook-Source` carries it:
    /// https, with a slash at the end.
    source: Option<String>,
    /// `woocommerce`, required: order status → milestone. Write a status without `wc-`. A status
    /// that is not listed is recorded, and nothing is sent.
    statuses: Option<BTreeMap<String, Milestone>>,
    /// `woocommerce`: ids of shipping methods by which the customer fetches the order, beyond those
    /// that tellonce knows. `shipped` is not sent for them. Default: none.
    pickup_methods: Option<Vec<String>>,
    /// `custom`, required: how deliveries prove where they come from.
    verify: Option<CustomScheme>,
    /// `custom`, required: where the facts stand in the JSON.
    fields: Option<Box<OrderFields>>,
    /// `custom`, required: event name → milestone. An event that is not listed is recorded, and
    /// nothing is sent.
    events: Option<BTreeMap<String, Milestone>>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StoreKindName {
    Shopify,
    WooCommerce,
    Custom,
}

impl TryFrom<StoreTable> for StoreConfig {
    type Error = String;

    fn try_from(mut table: StoreTable) -> Result<Self, String> {
        let facts = match table.kind {
            StoreKindName::Shopify => &shopify::FACTS,
            StoreKindName::WooCommerce => &woocommerce::FACTS,
            StoreKindName::Custom => &custom::FACTS,
        };
        let given = [
            ("shop_domain", table.shop_domain.is_some()),
            ("source", table.source.is_some()),
            ("statuses", table.statuses.is_some()),
            ("pickup_methods", table.pickup_methods.is_some()),
            ("verify", table.verify.is_some()),
            ("fields", table.fields.is_some()),
            ("events", table.events.is_some()),
        ];
        let line = std::mem::take(&mut table.line);
        let (name, id_scope, country) = (table.name.take(), table.id_scope.take(), table.country.take());
        let owner = format!("{} store", facts.name);
        let kind = require_settings(&owner, facts.settings, &given, (facts.from_table)(table))?;
        Ok(Self { kind, line, name, id_scope, country })
    }
}
