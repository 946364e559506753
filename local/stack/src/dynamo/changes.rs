//! Which items of the tables changed, for a view that follows the tables.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use serde_json::Value;

/// Changes that are remembered. A view that looks every second misses none.
const MAX_CHANGES: usize = 50_000;

/// One item, by its table and its key in the form of `DynamoDB`'s API.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemKey {
    /// Name of the table.
    pub table: String,
    /// The key's attributes, typed.
    pub key: Value,
}

/// What changed since a position.
#[derive(Debug, Clone, PartialEq)]
pub enum TableChanges {
    /// These items, with repeats.
    Items(Vec<ItemKey>),
    /// Any item.
    Unknown,
}

/// The changes of all tables, in their order.
#[derive(Debug, Default)]
pub(super) struct ChangeLog(Mutex<LoggedChanges>);

#[derive(Debug, Default)]
struct LoggedChanges {
    /// Names of each table's key attributes.
    key_names: BTreeMap<String, Vec<String>>,
    /// Position of the oldest remembered change.
    oldest: u64,
    changes: VecDeque<ItemKey>,
}

impl ChangeLog {
    /// Names the key attributes of a table, from its definition.
    pub(super) fn add_table(&self, table: &str, definition: &Value) {
        let schema = definition["KeySchema"].as_array().into_iter().flatten();
        let names = schema.filter_map(|part| part["AttributeName"].as_str().map(str::to_owned)).collect();
        tellonce_fakes::lock_mutex(&self.0).key_names.insert(table.to_owned(), names);
    }

    /// The items that an operation writes.
    pub(super) fn list_written(&self, operation: &str, request: &Value) -> Vec<ItemKey> {
        let written: Vec<(&str, &Value)> = match operation {
            "PutItem" | "UpdateItem" | "DeleteItem" => {
                request["TableName"].as_str().map(|table| (table, request)).into_iter().collect()
            }
            "BatchWriteItem" => {
                let tables = request["RequestItems"].as_object().into_iter().flatten();
                let writes = tables.flat_map(|(table, list)| {
                    let writes = list.as_array().into_iter().flatten();
                    writes.filter_map(move |write| Some((table.as_str(), write.as_object()?.values().next()?)))
                });
                writes.collect()
            }
            "TransactWriteItems" => {
                let actions = request["TransactItems"].as_array().into_iter().flatten();
                let actions = actions.filter_map(|action| action.as_object()?.values().next());
                actions.filter_map(|action| Some((action["TableName"].as_str()?, action))).collect()
            }
            _ => return Vec::new(),
        };
        let log = tellonce_fakes::lock_mutex(&self.0);
        let key_of = |(table, write): (&str, &Value)| {
            let attributes = if write["Item"].is_object() { &write["Item"] } else { &write["Key"] };
            let names = log.key_names.get(table).into_iter().flatten();
            let key: Value = names.map(|name| (name.clone(), attributes[name].clone())).collect();
            ItemKey { table: table.to_owned(), key }
        };
        written.into_iter().map(key_of).collect()
    }

    /// Adds the items of a write after it took effect.
    pub(super) fn add(&self, written: Vec<ItemKey>) {
        let mut log = tellonce_fakes::lock_mutex(&self.0);
        log.changes.extend(written);
        while log.changes.len() > MAX_CHANGES {
            log.changes.pop_front();
            log.oldest += 1;
        }
    }

    /// Any item may have changed.
    pub(super) fn forget(&self) {
        let mut log = tellonce_fakes::lock_mutex(&self.0);
        // One more than all changes, so that a view that knows them is behind too.
        log.oldest += log.changes.len() as u64 + 1;
        log.changes.clear();
    }

    /// Position after the last change.
    pub(super) fn position(&self) -> u64 {
        let log = tellonce_fakes::lock_mutex(&self.0);
        log.oldest + log.changes.len() as u64
    }

    pub(super) fn changes_since(&self, position: u64) -> TableChanges {
        let log = tellonce_fakes::lock_mutex(&self.0);
        let known = position.checked_sub(log.oldest).and_then(|known| usize::try_from(known).ok());
        match known.filter(|known| *known <= log.changes.len()) {
            Some(known) => TableChanges::Items(log.changes.range(known..).cloned().collect()),
            None => TableChanges::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log_of_two_tables() -> ChangeLog {
        let log = ChangeLog::default();
        log.add_table("Inbox", &json!({"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}));
        let pair =
            json!([{"AttributeName": "subject", "KeyType": "HASH"}, {"AttributeName": "stage", "KeyType": "RANGE"}]);
        log.add_table("Ledger", &json!({"KeySchema": pair}));
        log
    }

    fn record(log: &ChangeLog, operation: &str, request: &Value) {
        log.add(log.list_written(operation, request));
    }

    fn item(table: &str, key: Value) -> ItemKey {
        ItemKey { table: table.to_owned(), key }
    }

    #[test]
    fn every_kind_of_write_names_its_items() {
        let log = log_of_two_tables();
        let (inbox, ledger) =
            (json!({"id": {"S": "a"}}), json!({"subject": {"S": "order:1"}, "stage": {"S": "ready"}}));
        let full = json!({"id": {"S": "a"}, "body": {"B": "AA=="}});
        record(&log, "PutItem", &json!({"TableName": "Inbox", "Item": full}));
        record(&log, "UpdateItem", &json!({"TableName": "Ledger", "Key": ledger}));
        record(&log, "DeleteItem", &json!({"TableName": "Inbox", "Key": inbox}));
        record(&log, "GetItem", &json!({"TableName": "Inbox", "Key": inbox}));
        let writes = json!([{"PutRequest": {"Item": full}}, {"DeleteRequest": {"Key": inbox}}]);
        record(&log, "BatchWriteItem", &json!({"RequestItems": {"Inbox": writes}}));
        let actions =
            json!([{"Update": {"TableName": "Ledger", "Key": ledger}}, {"Put": {"TableName": "Inbox", "Item": full}}]);
        record(&log, "TransactWriteItems", &json!({"TransactItems": actions}));
        let (inbox, ledger) = (item("Inbox", inbox), item("Ledger", ledger));
        let expected = [&inbox, &ledger, &inbox, &inbox, &inbox, &ledger, &inbox].map(Clone::clone);
        assert_eq!(log.changes_since(0), TableChanges::Items(expected.to_vec()));
        assert_eq!(log.changes_since(5), TableChanges::Items(expected[5..].to_vec()));
        assert_eq!(log.changes_since(log.position()), TableChanges::Items(Vec::new()));
    }

    #[test]
    fn a_view_that_is_too_far_behind_reads_everything() {
        let log = log_of_two_tables();
        let put = json!({"TableName": "Inbox", "Item": {"id": {"S": "a"}}});
        for _ in 0..=MAX_CHANGES {
            record(&log, "PutItem", &put);
        }
        assert_eq!(log.changes_since(0), TableChanges::Unknown);
        assert!(matches!(log.changes_since(1), TableChanges::Items(items) if items.len() == MAX_CHANGES));
        let position = log.position();
        log.forget();
        assert_eq!(log.changes_since(position), TableChanges::Unknown);
        assert_eq!(log.changes_since(log.position()), TableChanges::Items(Vec::new()));
        assert_eq!(log.changes_since(log.position() + 1), TableChanges::Unknown);
    }
}
