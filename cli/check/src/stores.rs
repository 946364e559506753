//! The stores: names, proofs, id scopes, and the meaning of their statuses and events.

use std::collections::BTreeMap;

use url::Url;

use super::{
    FindingCollector, client,
    id_scopes::{self, IdScopeTable, SenderIdScope},
    is_plain_name, suggest_name,
};
use tellonce_core::{
    client_config::{ClientConfig, CustomScheme, JsonPointer, Milestone, OrderFields, StoreConfig, StoreKind},
    wording::TemplateTopic,
};

pub(super) fn check_stores(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    for (name, store) in &config.stores {
        if !is_plain_name(name, 40) {
            findings.add_error(
                &["stores", name],
                format!("`{name}` cannot be the name of a store: it becomes part of its URL and of a secret's name"),
                "use lower-case letters, digits, `-` and `_`, at most 40",
            );
        }
        client::check_line_exists(config, &store.line, &["stores", name, "line"], findings);
        if let Some(country) = &store.country {
            client::check_country(country, &["stores", name, "country"], findings);
        }
        if store.name.as_deref().is_some_and(|shown| shown.trim().is_empty()) {
            let remedy = "write it, or remove it: the client's name is used then";
            findings.add_error(&["stores", name, "name"], "the store's name is empty", remedy);
        }
        let (days, why) = retry_window(&store.kind);
        client::check_inbox_retention(config, days, why, &format!("the store `{name}`"), findings);
        check_kind(name, store, findings);
        let reports = reportable_milestones(store);
        let has_no_message = !reports.iter().any(|it| config.messages.contains_key(it));
        if has_no_message && !reports.is_empty() && !config.messages.is_empty() {
            findings.add_warning(
                &["stores", name],
                "no report of this store is ever sent: none of its milestones has a message",
                "add a message, or map its statuses or events to a milestone that has one",
            );
        }
    }
    id_scopes::check_id_scopes(&id_scope_table(config), findings);
    check_duplicates(config, findings);
}

/// The milestones that a store of this kind can report.
pub(super) fn reportable_milestones(store: &StoreConfig) -> Vec<Milestone> {
    match &store.kind {
        // Shopify has no webhook for invoices.
        StoreKind::Shopify { .. } => Milestone::ALL.into_iter().filter(|it| *it != Milestone::Invoice).collect(),
        StoreKind::WooCommerce { statuses, .. } => statuses.values().copied().collect(),
        StoreKind::Custom { events, .. } => events.values().copied().collect(),
    }
}

/// How many days a sender may repeat a delivery, and why. Sources: `docs/senders.md`.
fn retry_window(kind: &StoreKind) -> (u16, &'static str) {
    match kind {
        StoreKind::Shopify { .. } => (2, "Shopify repeats for 4 hours and may be a day late"),
        StoreKind::WooCommerce { .. } => (1, "WooCommerce repeats only within its own queue"),
        StoreKind::Custom { verify, .. } => scheme_retry_window(verify),
    }
}

/// The repeats of a sender that signs by Standard Webhooks.
pub(super) const STANDARD_RETRY_WINDOW: (u16, &str) =
    (4, "the retry schedule of Standard Webhooks ends after 76 hours");
/// The repeats of Zapier, Make, n8n and a client's own code.
pub(super) const MANUAL_RETRY_WINDOW: (u16, &str) = (7, "a person may run a failed workflow again days later");

/// The repeats of a custom sender.
pub(super) fn scheme_retry_window(verify: &CustomScheme) -> (u16, &'static str) {
    match verify {
        CustomScheme::StandardWebhooks => STANDARD_RETRY_WINDOW,
        CustomScheme::StaticHeader { .. } => MANUAL_RETRY_WINDOW,
    }
}

fn check_kind(name: &str, store: &StoreConfig, findings: &mut FindingCollector<'_>) {
    match &store.kind {
        StoreKind::Shopify { shop_domain } => check_shopify(name, shop_domain, findings),
        StoreKind::WooCommerce { source, statuses } => check_woocommerce(name, source, statuses, findings),
        StoreKind::Custom { verify, fields, events } => check_custom(name, verify, fields, events, findings),
    }
}

fn check_shopify(name: &str, domain: &str, findings: &mut FindingCollector<'_>) {
    let fits = domain
        .to_ascii_lowercase()
        .strip_suffix(".myshopify.com")
        .is_some_and(|shop| !shop.is_empty() && shop.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    if !fits {
        findings.add_error(
            &["stores", name, "shop_domain"],
            format!("`{domain}` is not a shop's permanent domain, which every delivery contains"),
            "write the one that ends in .myshopify.com, without https:// (Shopify admin, Settings, Domains)",
        );
    }
}

fn check_woocommerce(
    name: &str,
    source: &str,
    statuses: &BTreeMap<String, Milestone>,
    findings: &mut FindingCollector<'_>,
) {
    let home = Url::parse(source).ok().filter(Url::has_host);
    let fits = home.is_some_and(|url| {
        url.scheme() == "https" && url.path().ends_with('/') && url.query().is_none() && url.fragment().is_none()
    });
    if !fits || !source.ends_with('/') {
        findings.add_error(
            &["stores", name, "source"],
            format!("`{source}` is not a site's home URL as X-WC-Webhook-Source contains it"),
            "write it like \"https://shop.example.co.il/\", with https and the slash at its end",
        );
    }
    if statuses.is_empty() {
        let remedy = "add at least one, like processing = \"paid\"";
        findings.add_error(
            &["stores", name, "statuses"],
            "no order status is mapped to a milestone, so nothing is sent",
            remedy,
        );
    }
    for status in statuses.keys() {
        let path = ["stores", name, "statuses", status];
        if let Some(slug) = status.strip_prefix("wc-") {
            let what = format!("`{status}` is the status in the database; webhooks leave out the `wc-`");
            findings.add_error(&path, what, format!("write `{slug}`"));
        } else if !is_plain_name(status, 40) {
            let remedy = "use the status's slug (lower-case letters, digits, `-`, `_`), not its title";
            findings.add_error(&path, format!("`{status}` is not the slug of an order status"), remedy);
        }
    }
}

fn check_custom(
    name: &str,
    verify: &CustomScheme,
    fields: &OrderFields,
    events: &BTreeMap<String, Milestone>,
    findings: &mut FindingCollector<'_>,
) {
    check_scheme(verify, &["stores", name, "verify"], findings);
    if events.is_empty() {
        let remedy = "add at least one, like \"order.ready\" = \"ready\"";
        findings.add_error(
            &["stores", name, "events"],
            "no event is mapped to a milestone, so nothing is sent",
            remedy,
        );
    }
    if events.keys().any(|event| event.trim().is_empty()) {
        let remedy = "write the event's name as it is in the sender's JSON";
        findings.add_error(&["stores", name, "events"], "an event has no name", remedy);
    }
    for (field, pointer) in named_pointers(fields) {
        check_pointer(pointer, &["stores", name, "fields", field], findings);
    }
    for (variable, pointer) in &fields.values {
        let path = ["stores", name, "fields", "values", variable];
        check_pointer(pointer, &path, findings);
        let own_field = match variable.as_str() {
            "name" | "first_name" => Some("name"),
            "order_number" => Some("order_number"),
            _ => None,
        };
        if TemplateTopic::Order.find_variable(variable).is_none() {
            let known = TemplateTopic::Order.variables().map(|variable| variable.name);
            findings.add_error(&path, format!("texts have no variable `{variable}`"), suggest_name(variable, known));
        } else if let Some(field) = own_field {
            let remedy = format!("write it as `{field}` in [stores.{name}.fields]");
            findings.add_error(&path, format!("`{variable}` has its own field and is not read from here"), remedy);
        } else if variable == "store_name" {
            let remedy = format!("write `name` in [stores.{name}]");
            findings.add_error(&path, "a shop's name comes from this file, never from a delivery", remedy);
        }
    }
}

fn named_pointers(fields: &OrderFields) -> impl Iterator<Item = (&'static str, &JsonPointer)> {
    let optional = [
        ("delivery_id", &fields.delivery_id),
        ("instance", &fields.instance),
        ("occurred_at", &fields.occurred_at),
        ("order_number", &fields.order_number),
        ("country", &fields.country),
        ("name", &fields.name),
        ("locale", &fields.locale),
        ("test", &fields.test),
    ];
    let needed = [("event", &fields.event), ("order_id", &fields.order_id), ("phone", &fields.phone)];
    needed.into_iter().chain(optional.into_iter().filter_map(|(name, pointer)| Some((name, pointer.as_ref()?))))
}

/// Checks the name of the secret header, if the scheme has one.
pub(super) fn check_scheme(verify: &CustomScheme, path: &[&str], findings: &mut FindingCollector<'_>) {
    if let CustomScheme::StaticHeader { header } = verify {
        check_header_name(header, path, findings);
    }
}

/// Reports a name that cannot be an HTTP header.
pub(super) fn check_header_name(header: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
    if http::HeaderName::from_bytes(header.as_bytes()).is_err() {
        let what = format!("`{header}` cannot be the name of an HTTP header");
        findings.add_error(path, what, "write it like X-Webhook-Token: letters, digits and `-`");
    }
}

/// RFC 6901: `~` is only valid in `~0` (a `~`) and `~1` (a `/`).
pub(super) fn check_pointer(pointer: &JsonPointer, path: &[&str], findings: &mut FindingCollector<'_>) {
    let escapes = pointer.as_str().split('~').skip(1);
    if escapes.into_iter().any(|rest| !rest.starts_with(['0', '1'])) {
        let what = format!("`{}` is not a JSON pointer: a `~` in it has no meaning", pointer.as_str());
        findings.add_error(path, what, "write ~0 for a `~` in a name and ~1 for a `/`");
    }
}

fn id_scope_table(config: &ClientConfig) -> IdScopeTable<'_> {
    IdScopeTable {
        table: "stores",
        sender: "store",
        setting: "id_scope",
        entity: "order",
        danger: "only one of them gets a message",
        scopes: config
            .stores
            .iter()
            .map(|(name, store)| SenderIdScope {
                sender: name,
                name: store.id_scope(),
                is_explicit: store.id_scope.is_some(),
            })
            .collect(),
    }
}

/// Reports two stores of the same shop.
fn check_duplicates(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, store) in &config.stores {
        let (field, shop) = match &store.kind {
            StoreKind::Shopify { shop_domain } => ("shop_domain", shop_domain),
            StoreKind::WooCommerce { source, .. } => ("source", source),
            StoreKind::Custom { .. } => continue,
        };
        if let Some(twin) = seen.insert(shop.to_ascii_lowercase(), name) {
            findings.add_warning(
                &["stores", name, field],
                format!("the store `{twin}` is the same shop"),
                "keep one of them, or correct a copied line",
            );
        }
    }
}
