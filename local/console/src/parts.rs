//! Parts of a page, so that a look returns only what changed since the page's last look.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Map, Value, json};

/// What a page has: the hash of each part, and of each row of its lists.
pub(super) type KnownHashes = BTreeMap<String, String>;

/// What a look returns: the parts that the page does not have.
#[derive(Default)]
pub(super) struct ChangedParts(Map<String, Value>);

impl ChangedParts {
    /// Adds a part, unless the page has it.
    pub(super) fn add(&mut self, known: &KnownHashes, name: &str, mut value: Value) {
        let hash = hash_value(&value);
        if known.get(name) != Some(&hash) {
            if let Some(fields) = value.as_object_mut() {
                fields.insert("hash".to_owned(), json!(hash));
            }
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Adds a list: its other fields, the ids of all its rows, and the rows that the page does not
    /// have. Each row has an `id`.
    pub(super) fn add_list(&mut self, known: &KnownHashes, name: &str, list: ListPart) {
        let ListPart { mut head, rows } = list;
        let mut order = Vec::with_capacity(rows.len());
        let mut changed = Vec::new();
        for mut row in rows {
            let (id, hash) = (row["id"].as_str().unwrap_or_default().to_owned(), hash_value(&row));
            if known.get(&format!("{name}/{id}")) != Some(&hash) {
                row["hash"] = json!(hash);
                changed.push(row);
            }
            order.push(id);
        }
        let hash = hash_value(&json!([head, order]));
        if known.get(name) != Some(&hash) {
            head["order"] = json!(order);
            head["hash"] = json!(hash);
        } else if changed.is_empty() {
            return;
        } else {
            head = json!({});
        }
        head["rows"] = json!(changed);
        self.0.insert(name.to_owned(), head);
    }

    pub(super) fn into_json(self) -> Value {
        Value::Object(self.0)
    }
}

/// A list with its rows.
pub(super) struct ListPart {
    /// An object: the total and what else the list says.
    pub(super) head: Value,
    pub(super) rows: Vec<Value>,
}

fn hash_value(value: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &[(&str, u32)]) -> ListPart {
        let rows = rows.iter().map(|(id, value)| json!({"id": id, "value": value})).collect::<Vec<_>>();
        ListPart { head: json!({"total": rows.len()}), rows }
    }

    fn look(known: &KnownHashes, rows: &[(&str, u32)]) -> Value {
        let mut parts = ChangedParts::default();
        parts.add_list(known, "list", list(rows));
        parts.add(known, "bar", json!({"waiting": rows.len()}));
        parts.into_json()
    }

    fn learn(known: &mut KnownHashes, answer: &Value) {
        for (name, part) in answer.as_object().unwrap() {
            if let Some(hash) = part["hash"].as_str() {
                known.insert(name.clone(), hash.to_owned());
            }
            for row in part["rows"].as_array().into_iter().flatten() {
                known.insert(
                    format!("{name}/{}", row["id"].as_str().unwrap()),
                    row["hash"].as_str().unwrap().to_owned(),
                );
            }
        }
    }

    #[test]
    fn a_look_returns_only_what_changed() {
        let mut known = KnownHashes::new();
        let first = look(&known, &[("a", 1), ("b", 2)]);
        assert_eq!((&first["list"]["order"], first["list"]["rows"].as_array().unwrap().len()), (&json!(["a", "b"]), 2));
        learn(&mut known, &first);
        assert_eq!(look(&known, &[("a", 1), ("b", 2)]), json!({}));
        let changed = look(&known, &[("a", 1), ("b", 3)]);
        assert_eq!((changed["list"]["order"].is_null(), &changed["list"]["rows"][0]["id"]), (true, &json!("b")));
        assert!(changed["bar"].is_null());
        learn(&mut known, &changed);
        let grown = look(&known, &[("c", 1), ("a", 1), ("b", 3)]);
        assert_eq!((&grown["list"]["order"], &grown["list"]["total"]), (&json!(["c", "a", "b"]), &json!(3)));
        assert_eq!(grown["list"]["rows"].as_array().unwrap().len(), 1);
        assert_eq!(grown["bar"]["waiting"], 3);
    }
}
