//! Writes an entry into a CRM, with the person that it belongs to.

use tellonce_core::{clock::Clock, hash::sha256_hex, ledger::Ledger};

use super::person_ids::{CrmPerson, PersonIds};
use crate::{
    api_client::ApiError,
    crm::{CrmClient, CrmEntry},
    record_store::ItemKey,
    task::AttemptOutcome,
};

/// What the writing of an entry may touch.
pub(super) struct EntryWriter<'a> {
    pub(super) client: CrmClient<'a>,
    pub(super) queue: &'a str,
    pub(super) person_ids: &'a PersonIds,
    pub(super) ledger: &'a Ledger,
    pub(super) clock: &'a Clock,
    /// Whether an earlier attempt may have written the entry. If so, the CRM is asked first.
    pub(super) may_have_arrived: bool,
}

impl EntryWriter<'_> {
    pub(super) async fn deliver_entry(&self, entry: &CrmEntry) -> Result<AttemptOutcome, ApiError> {
        if !self.client.kind.facts().has_people {
            return self.write_entry(None, entry).await.map(AttemptOutcome::Done);
        }
        let contact = self.ledger.contact_subject(&entry.phone);
        // Another account of the same system has other people under the same ids. After a mere
        // rotation of the credential each person costs one look-up.
        let account = format!("{:?} {}", self.client.kind, self.client.credential.expose());
        let account = sha256_hex(account.as_bytes(), 4);
        let key = ItemKey::new(contact, format!("{}-{account}", self.queue));
        let now = self.clock.now();
        let mut failed: Option<(CrmPerson, ApiError)> = None;
        // Another instance may have saved a newer id.
        for from_table in [false, true] {
            let Some(person) = self.person_ids.load(&key, from_table).await else { break };
            if failed.as_ref().is_some_and(|(tried, _)| tried.id == person.id) {
                break;
            }
            match self.write_entry(Some(&person.id), entry).await {
                Err(error @ (ApiError::Gone | ApiError::Refused { .. })) => failed = Some((person, error)),
                result => return result.map(AttemptOutcome::Done),
            }
        }
        // Some CRMs refuse an entry on a deleted person with the code of a wrong request. So the
        // person is read. As long as it is there, the entry is wrong, and no new person is made.
        let gone_id = match failed {
            Some((person, refusal @ ApiError::Refused { .. })) => match self.client.find_current_id(&person.id).await {
                Ok(Some(id)) if id == person.id => return Err(refusal),
                Ok(Some(id)) => return self.write_to_person(&key, &id, entry).await,
                Ok(None) => Some(person.id),
                Err(ApiError::Refused { .. }) => return Err(refusal),
                Err(error) => return Err(error),
            },
            Some((person, _)) => Some(person.id),
            None => None,
        };
        let Some(person) = self.client.find_or_create_person(&entry.phone, entry.name.as_deref(), now).await? else {
            return Ok(AttemptOutcome::Skipped("the CRM has no person with this number, and `unknown` is `skip`"));
        };
        // The search still finds a person who is gone. It is asked again later.
        if gone_id.as_ref() == Some(&person) {
            return Err(ApiError::Gone);
        }
        self.write_to_person(&key, &person, entry).await
    }

    async fn write_to_person(&self, key: &ItemKey, person: &str, entry: &CrmEntry) -> Result<AttemptOutcome, ApiError> {
        self.person_ids.save(key, person, self.clock.now()).await;
        self.write_entry(Some(person), entry).await.map(AttemptOutcome::Done)
    }

    async fn write_entry(&self, person: Option<&str>, entry: &CrmEntry) -> Result<Option<String>, ApiError> {
        let now = self.clock.now();
        if self.may_have_arrived
            && let Some(existing_id) = self.client.find_entry(person, entry, now).await?
        {
            return Ok(Some(existing_id));
        }
        self.client.create_entry(person, entry, now).await
    }
}
