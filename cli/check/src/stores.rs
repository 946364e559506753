//! The stores: names, proofs, id scopes, and the meaning of their statuses and events.

use super::{
    FindingCollector, client,
    id_scopes::{self, IdScopeTable, SenderIdScope},
    kind_settings::{check_accounts, check_kind_settings},
    names::{check_name, check_shown_name, suggest_name},
};
use tellonce_core::{
    client_config::{ClientConfig, CustomScheme, CustomStore, JsonPointer, OrderFields, StoreKind},
    wording::TemplateTopic,
};

pub(super) fn check_stores(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    for (name, store) in &config.stores {
        check_name(["stores", name], "a store", "its URL and of a secret's name", findings);
        client::check_line_exists(config, &store.line, &["stores", name, "line"], findings);
        if let Some(country) = &store.country {
            client::check_country(country, &["stores", name, "country"], findings);
        }
        check_shown_name(["stores", name], "store", store.name.as_deref(), findings);
        if let Some(repeats) = store.kind.sender().repeats {
            client::check_inbox_retention(config, repeats, &format!("the store `{name}`"), findings);
        }
        let facts = store.kind.facts();
        check_kind_settings(["stores", name], facts.label, facts.settings, findings);
        check_paid_statuses(name, &store.kind, findings);
        if let StoreKind::Custom(store) = &store.kind {
            check_custom(name, store, findings);
        }
        let reports = store.kind.reportable_milestones();
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
    let shops = config.stores.iter().map(|(name, store)| (name.as_str(), store.kind.facts().account_setting));
    check_accounts("stores", shops, |twin| format!("the store `{twin}` is the same shop"), findings);
}

/// Reports statuses that mean `paid` and never have a date of payment.
fn check_paid_statuses(name: &str, kind: &StoreKind, findings: &mut FindingCollector<'_>) {
    for status in kind.unpaid_statuses_as_paid() {
        findings.add_warning(
            &["stores", name, "statuses", status],
            format!("an order with the status `{status}` is not paid, so `paid` is never sent for it"),
            "map `processing`; an order gets it when the money is there, or at once with cash on delivery, \
             which sends nothing until it is paid",
        );
    }
}

fn check_custom(name: &str, store: &CustomStore, findings: &mut FindingCollector<'_>) {
    let CustomStore { verify, fields, .. } = store;
    check_scheme(verify, &["stores", name, "verify"], findings);
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
        ("parcel", &fields.parcel),
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
