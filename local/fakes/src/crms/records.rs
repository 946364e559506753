//! The records of one CRM.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Characters that may stand before or after a reference.
const REFERENCE_DELIMITERS: [char; 8] = ['(', ')', '[', ']', ',', ';', '"', '.'];

/// A person in a CRM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeCrmPerson {
    /// The id in the CRM.
    pub id: String,
    /// The fields, as this kind of CRM has them.
    pub fields: Value,
    /// The time of creation, in unix milliseconds by the stack's clock.
    pub created_ms: i64,
}

/// An entry in a CRM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FakeCrmEntry {
    /// The id in the CRM.
    pub id: String,
    /// Id of the person. `None` in a CRM without people.
    pub person: Option<String>,
    /// The reference in the entry: `{line}:{message id}`.
    pub reference: Option<String>,
    /// All texts of the entry.
    pub text: String,
    /// The time of writing, in unix milliseconds by the stack's clock.
    pub created_ms: i64,
    /// How many times the call was repeated, if the CRM recognises repeats.
    pub repeats: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FakeCrmStoredEntry {
    pub(super) id: String,
    pub(super) person: Option<String>,
    pub(super) fields: Value,
    pub(super) created_ms: i64,
    pub(super) repeats: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct FakeCrmRecords {
    pub(super) people: Vec<FakeCrmPerson>,
    pub(super) entries: Vec<FakeCrmStoredEntry>,
    last_id: u64,
}

impl FakeCrmRecords {
    fn next_id(&mut self) -> String {
        // Zoho's ids are longer than a double holds exactly. A function that reads one as a double
        // fails.
        self.last_id = self.last_id.max(3_652_397_000_009_851_000) + 1;
        self.last_id.to_string()
    }

    pub(super) fn add_person(&mut self, fields: Value, made_ms: i64) -> &FakeCrmPerson {
        let id = self.next_id();
        self.people.push(FakeCrmPerson { id, fields, created_ms: made_ms });
        &self.people[self.people.len() - 1]
    }

    pub(super) fn find_person(&self, id: &str) -> Option<&FakeCrmPerson> {
        self.people.iter().find(|person| person.id == id)
    }

    pub(super) fn add_entry(&mut self, person: Option<&str>, fields: Value, made_ms: i64) -> &FakeCrmStoredEntry {
        let id = self.next_id();
        self.entries.push(FakeCrmStoredEntry {
            id,
            person: person.map(str::to_owned),
            fields,
            created_ms: made_ms,
            repeats: 0,
        });
        &self.entries[self.entries.len() - 1]
    }

    /// Adds an entry with the caller's id.
    pub(super) fn add_entry_with_id(&mut self, id: &str, fields: Value, made_ms: i64) {
        self.entries.push(FakeCrmStoredEntry {
            id: id.to_owned(),
            person: None,
            fields,
            created_ms: made_ms,
            repeats: 0,
        });
    }

    /// The entries of a person, oldest first.
    pub(super) fn entries_about<'a>(
        &'a self,
        person: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a FakeCrmStoredEntry> {
        self.entries.iter().filter(move |written| written.person.as_deref() == Some(person))
    }

    pub(super) fn list_entries(&self, lines: &[String]) -> Vec<FakeCrmEntry> {
        let entry = |written: &FakeCrmStoredEntry| FakeCrmEntry {
            id: written.id.clone(),
            person: written.person.clone(),
            reference: find_reference(&written.fields, lines),
            text: collect_texts(&written.fields).join(" · "),
            created_ms: written.created_ms,
            repeats: written.repeats,
        };
        self.entries.iter().map(entry).collect()
    }
}

/// All texts in a JSON value, in its order.
fn collect_texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(collect_texts).collect(),
        Value::Object(fields) => fields.values().flat_map(collect_texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// The reference in an entry. The id of an event wins, then a cell that contains only a
/// reference, then the last word that is a reference. A customer can write a similar word, but the
/// function's own reference comes after the customer's text.
fn find_reference(fields: &Value, lines: &[String]) -> Option<String> {
    let is_one = |word: &str| {
        word.split_once(':').is_some_and(|(line, message)| !message.is_empty() && lines.iter().any(|name| name == line))
    };
    if let Some(named) = fields.pointer("/data/id").and_then(Value::as_str) {
        return Some(named.to_owned());
    }
    let texts = collect_texts(fields);
    if fields.is_array() {
        return texts.into_iter().rev().find(|cell| is_one(cell)).map(str::to_owned);
    }
    let plain: Vec<String> = texts.into_iter().map(strip_markup).collect();
    let mut words =
        plain.iter().flat_map(|text| text.split_whitespace().map(|word| word.trim_matches(REFERENCE_DELIMITERS)));
    words.rfind(|word| is_one(word)).map(str::to_owned)
}

/// A text without HTML tags and entities.
fn strip_markup(text: &str) -> String {
    let mut inside = false;
    let bare: String = text
        .chars()
        .filter_map(|c| match c {
            '<' => {
                inside = true;
                Some(' ')
            }
            '>' if inside => {
                inside = false;
                None
            }
            c => (!inside).then_some(c),
        })
        .collect();
    html_escape::decode_html_entities(&bare).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_is_found_where_it_stands_as_a_word_or_a_cell_of_its_own() {
        let of = |fields: Value| find_reference(&fields, &["main".to_owned()]);
        assert_eq!(of(json!({"content": "<p>Hi</p><p>(main:wamid.A=)</p>"})).as_deref(), Some("main:wamid.A="));
        assert_eq!(of(json!({"body": "main:mine main:ours"})).as_deref(), Some("main:ours"));
        assert_eq!(of(json!({"content": "a &lt; b main:x&#x2F;y"})).as_deref(), Some("main:x/y"));
        assert_eq!(of(json!(["main:a", "see main:b"])).as_deref(), Some("main:a"));
        assert_eq!(of(json!({"data": {"id": "main:a", "text": "main:b"}})).as_deref(), Some("main:a"));
        assert_eq!(of(json!({"body": "at 10:30, other:a main:"})), None);
    }
}
