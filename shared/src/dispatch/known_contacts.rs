//! The contacts that are known not to be new, in memory.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// The most contacts in memory.
const MAX_KNOWN_CONTACTS: usize = 10_000;

/// The contacts that this process knows not to be new, by their subjects. A contact never becomes
/// new again while a process lives, so their rows need no further read.
#[derive(Debug, Default)]
pub(super) struct KnownContacts(Mutex<HashSet<String>>);

impl KnownContacts {
    /// Whether this contact is known.
    pub(super) fn contains(&self, contact: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(contact)
    }

    /// Adds a contact.
    pub(super) fn add(&self, contact: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN_CONTACTS {
            known.clear();
        }
        known.insert(contact);
    }
}
