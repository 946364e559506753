//! The ids that CRMs have for phone numbers, in memory and in the ledger's table.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tellonce_core::fault::error_chain;

use crate::record_store::{ItemKey, Persisted, RecordStore, RecordUpdate};

/// The most ids in memory.
const MAX_CACHED_PEOPLE: usize = 5_000;
/// How long an id is kept after it was last written.
const PERSON_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The ids of persons. If the table fails, the CRM is asked once more. No entry is lost.
pub(super) struct PersonIds {
    store: RecordStore,
    cache: Mutex<HashMap<ItemKey, CrmPerson>>,
}

/// The id that a CRM has for a number.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CrmPerson {
    pub(super) id: String,
    /// When the CRM gave the id.
    pub(super) saved_at: Timestamp,
}

impl Persisted for CrmPerson {
    fn due_in_queue(&self) -> Option<(String, Timestamp)> {
        None
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.saved_at.saturating_add(PERSON_RETENTION).ok()
    }
}

impl PersonIds {
    pub(super) fn new(store: RecordStore) -> Self {
        Self { store, cache: Mutex::default() }
    }

    /// The person as far as this instance knows. After a failure with that one, `from_table` reads
    /// what another instance may have saved since.
    pub(super) async fn load(&self, key: &ItemKey, from_table: bool) -> Option<CrmPerson> {
        if !from_table && let Some(person) = self.lock_cache().get(key) {
            return Some(person.clone());
        }
        let person = match self.store.get_record::<CrmPerson>(key).await {
            Ok(stored) => stored?.value,
            Err(error) => {
                tracing::warn!("could not read person {key}: {}", error_chain(&error));
                return None;
            }
        };
        self.remember(key, person.clone());
        Some(person)
    }

    pub(super) async fn save(&self, key: &ItemKey, id: &str, now: Timestamp) {
        let person = CrmPerson { id: id.to_owned(), saved_at: now };
        let write = |_: Option<&CrmPerson>| RecordUpdate::write(person.clone(), ());
        if let Err(error) = self.store.update_record(key, write).await {
            tracing::warn!("could not save person {key}: {}", error_chain(&error));
        }
        self.remember(key, person);
    }

    fn remember(&self, key: &ItemKey, person: CrmPerson) {
        let mut cache = self.lock_cache();
        if cache.len() >= MAX_CACHED_PEOPLE {
            cache.clear();
        }
        cache.insert(key.clone(), person);
    }

    fn lock_cache(&self) -> MutexGuard<'_, HashMap<ItemKey, CrmPerson>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
