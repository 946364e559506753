//! The customers of a run: one number is one person.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;
use tellonce_fakes::provider::PhoneMessage;

/// A customer.
#[derive(Debug, Clone)]
pub(super) struct Person {
    /// In addresses of the console, so that no address holds a number.
    pub(super) id: String,
    pub(super) contact: String,
    pub(super) name: Option<String>,
    /// The last message in either direction, or the last change of a message to this customer.
    pub(super) last_at: i64,
}

/// All customers, by their numbers.
#[derive(Debug, Default)]
pub(super) struct People(HashMap<String, Person>);

impl People {
    /// The customers of message rows, newest first, and of the messages on phones, oldest first.
    pub(super) fn collect<'v>(rows: impl Iterator<Item = &'v Value>, messages: &[PhoneMessage]) -> Self {
        let mut people = Self::default();
        for row in rows {
            if let Some(contact) = row["to"].as_str() {
                let person = people.meet(contact, row["updated_at"].as_i64().unwrap_or_default());
                if person.name.is_none() {
                    person.name = row["name"].as_str().map(str::to_owned);
                }
            }
        }
        for message in messages {
            people.meet(&message.contact, message.queued_at);
        }
        people
    }

    fn meet(&mut self, contact: &str, at: i64) -> &mut Person {
        let person = self.0.entry(contact.to_owned()).or_insert_with(|| Person {
            id: person_id(contact),
            contact: contact.to_owned(),
            name: None,
            last_at: at,
        });
        person.last_at = person.last_at.max(at);
        person
    }

    /// The customer of a number.
    pub(super) fn of_contact(&self, contact: &str) -> Option<&Person> {
        self.0.get(contact)
    }

    /// The customer of an id.
    pub(super) fn of_id(&self, id: &str) -> Option<&Person> {
        self.0.values().find(|person| person.id == id)
    }

    /// All customers, the latest first.
    pub(super) fn latest_first(&self) -> Vec<&Person> {
        let mut all: Vec<&Person> = self.0.values().collect();
        all.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.contact.cmp(&b.contact)));
        all
    }
}

/// The same number has the same id in every run.
fn person_id(contact: &str) -> String {
    let mut hasher = DefaultHasher::new();
    contact.hash(&mut hasher);
    format!("{:012x}", hasher.finish() >> 16)
}

/// The digits of the shortest local number that is compared with one that has a country code.
const MIN_LOCAL_DIGITS: usize = 8;

/// Whether a text that a person typed is in one of the values. Digits match digits, so that a
/// number is found however it is written: 054-555-0199 finds +972545550199.
pub(super) fn matches_search(search: &str, values: &[Option<&str>]) -> bool {
    let wanted = search.trim().to_lowercase();
    if wanted.is_empty() {
        return true;
    }
    let digits: String = wanted.chars().filter(char::is_ascii_digit).collect();
    let is_number = digits.len() >= 4 && wanted.chars().all(|c| c.is_ascii_digit() || "+-() ".contains(c));
    values.iter().flatten().any(|value| {
        value.to_lowercase().contains(&wanted)
            || is_number && {
                let known: String = value.chars().filter(char::is_ascii_digit).collect();
                let (known, digits) = (known.trim_start_matches('0'), digits.trim_start_matches('0'));
                // A number with its country code ends in the same number without it.
                known.contains(digits) || known.len() >= MIN_LOCAL_DIGITS && digits.ends_with(known)
            }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_number_is_one_person_with_the_newest_name() {
        let rows = [
            json!({"to": "+972545550199", "name": "Noa", "updated_at": 9}),
            json!({"to": "+972545550199", "name": "N. Levi", "updated_at": 5}),
            json!({"to": "+972525550101", "updated_at": 7}),
        ];
        let people = People::collect(rows.iter(), &[]);
        let contacts: Vec<_> = people.latest_first().iter().map(|person| person.contact.clone()).collect();
        assert_eq!(contacts, ["+972545550199", "+972525550101"]);
        let noa = people.of_contact("+972545550199").unwrap();
        assert_eq!(noa.name.as_deref(), Some("Noa"));
        assert!(!noa.id.contains("5550199") && people.of_id(&noa.id).is_some());
    }

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let values = [Some("order:1001:ready"), Some("+972545550199"), Some("Noa Levi"), None];
        for found in ["", "054-555-0199", "+972 54 555 0199", "5550199", "noa", "1001", "ready"] {
            assert!(matches_search(found, &values), "{found}");
        }
        for missing in ["1002", "054-555-0198", "dana"] {
            assert!(!matches_search(missing, &values), "{missing}");
        }
    }
}
