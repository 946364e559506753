//! CRMs: each receives every message once.
//!
//! Main types: a [`CrmEntry`] is one message. A [`CrmClient`] finds or creates its person, and
//! writes it; `entry` renders its text. [`AccessTokenStore`] keeps the access tokens of Zoho and
//! Google, which last an hour.
//!
//! No CRM has an idempotency key. So each can be searched for an entry (`find_entry`) by the
//! [reference](CrmEntry::reference) in it. The search runs when an earlier attempt may have
//! arrived. A webhook's destination cannot be searched: it receives the same id again, by which
//! Standard Webhooks lets it recognise a repeat. No client writes an owner or an assignment.
//!
//! Not promised: that a number never gets two persons. Some systems find a new person only moments
//! after they created it. Therefore each CRM has one writer at a time, which remembers the person's
//! id.

mod access_tokens;
mod entry;
mod hubspot;
mod pipedrive;
mod sheets;
#[cfg(test)]
mod testing;
mod webhook;
mod zoho;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tellonce_core::{
    client_config::{CrmKind, GoogleSheetsCrm, PipedriveCrm, UnknownContactRule, ZohoCrm},
    contact::Phone,
    secret::Secret,
};

pub use self::access_tokens::AccessTokenStore;
use self::{hubspot::HubSpotClient, pipedrive::PipedriveClient, sheets::SheetsClient, zoho::ZohoClient};
use crate::{
    api_client::{ApiClient, ApiError},
    line_event::MessageDirection,
    record_store::e164,
};

/// The most pages of one search. A CRM with more probably returns the same page again and again.
const MAX_PAGES: usize = 1000;

/// One CRM of the client.
pub struct CrmClient<'a> {
    /// Its name in `client.toml`.
    pub name: &'a str,
    /// The system and its settings.
    pub kind: &'a CrmKind,
    /// Calls the CRM within its rate limit.
    pub api_client: ApiClient<'a>,
    /// The value of the CRM's secret.
    pub credential: Secret,
    /// The access tokens of all CRMs.
    pub access_tokens: &'a AccessTokenStore,
}

impl CrmClient<'_> {
    /// The id of the person with this number, found or created. None if the CRM has no such person
    /// and `unknown` is `skip`, and always for CRMs without persons.
    pub async fn find_or_create_person(
        &self,
        phone: &Phone,
        name: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        match self.kind {
            CrmKind::HubSpot(settings) => {
                let hubspot = self.build_hubspot();
                let found = find_in_either_form(phone, async |phone: &Phone| hubspot.find_person(phone).await).await?;
                or_create(found, settings.unknown, async || hubspot.create_person(phone, name).await).await
            }
            CrmKind::Pipedrive(settings) => {
                let pipedrive = self.build_pipedrive(settings);
                let found =
                    find_in_either_form(phone, async |phone: &Phone| pipedrive.find_person(phone).await).await?;
                or_create(found, settings.unknown, async || pipedrive.create_person(phone, name).await).await
            }
            CrmKind::Zoho(settings) => {
                self.build_zoho(settings).find_or_create_person(phone, name, now).await.map(Some)
            }
            CrmKind::GoogleSheets(_) | CrmKind::Webhook(_) => Ok(None),
        }
    }

    /// The id that a person has now, after a refused entry. None if the person was deleted; another
    /// id if the person was merged into another.
    ///
    /// A request by id, because a search finds a deletion only after a while. Zoho refuses an
    /// entry on a deleted record with a reason of its own ([`ApiError::Gone`]), so it is not asked.
    pub async fn find_current_id(&self, person: &str) -> Result<Option<String>, ApiError> {
        let found = match self.kind {
            CrmKind::HubSpot(_) => self.build_hubspot().read_person_id(person).await,
            CrmKind::Pipedrive(settings) => self.build_pipedrive(settings).read_person_id(person).await,
            CrmKind::Zoho(_) | CrmKind::GoogleSheets(_) | CrmKind::Webhook(_) => Ok(Some(person.to_owned())),
        };
        match found {
            Err(ApiError::Gone) => Ok(None),
            found => found,
        }
    }

    /// The id of this message's entry, if the CRM has it. Needed only if an earlier attempt may
    /// have arrived.
    pub async fn find_entry(
        &self,
        person: Option<&str>,
        entry: &CrmEntry,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        match self.kind {
            CrmKind::HubSpot(_) => self.build_hubspot().find_entry(require_person(person)?, entry).await,
            CrmKind::Pipedrive(settings) => {
                self.build_pipedrive(settings).find_entry(require_person(person)?, entry).await
            }
            CrmKind::Zoho(settings) => self.build_zoho(settings).find_entry(require_person(person)?, entry, now).await,
            CrmKind::GoogleSheets(settings) => self.build_sheets(settings).find_entry(entry, now).await,
            CrmKind::Webhook(_) => Ok(None),
        }
    }

    /// Writes the entry. Returns its id if the CRM gives one.
    pub async fn create_entry(
        &self,
        person: Option<&str>,
        entry: &CrmEntry,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        match self.kind {
            CrmKind::HubSpot(_) => self.build_hubspot().create_entry(require_person(person)?, entry).await.map(Some),
            CrmKind::Pipedrive(settings) => {
                self.build_pipedrive(settings).create_entry(require_person(person)?, entry).await.map(Some)
            }
            CrmKind::Zoho(settings) => {
                self.build_zoho(settings).create_entry(require_person(person)?, entry, now).await.map(Some)
            }
            CrmKind::GoogleSheets(settings) => self.build_sheets(settings).create_entry(entry, now).await.map(Some),
            CrmKind::Webhook(settings) => {
                webhook::create_entry(&self.api_client, &settings.url, &self.credential, entry, now)
                    .await
                    .map(|()| None)
            }
        }
    }

    fn build_hubspot(&self) -> HubSpotClient<'_> {
        HubSpotClient { api_client: &self.api_client, token: &self.credential }
    }

    fn build_pipedrive<'s>(&'s self, settings: &'s PipedriveCrm) -> PipedriveClient<'s> {
        PipedriveClient { api_client: &self.api_client, token: &self.credential, company: &settings.company }
    }

    fn build_zoho(&self, settings: &ZohoCrm) -> ZohoClient<'_> {
        let Self { name, api_client, credential, access_tokens, .. } = self;
        let ZohoCrm { data_centre, module } = *settings;
        ZohoClient { api_client, credential, access_tokens, crm_name: name, data_centre, module }
    }

    fn build_sheets<'s>(&'s self, settings: &'s GoogleSheetsCrm) -> SheetsClient<'s> {
        let Self { name, api_client, credential, access_tokens, .. } = self;
        let GoogleSheetsCrm { spreadsheet, sheet } = settings;
        SheetsClient { api_client, credential, access_tokens, crm_name: name, spreadsheet, sheet_name: sheet }
    }
}

/// The person with a number, or with its other form.
async fn find_in_either_form(
    phone: &Phone,
    find: impl AsyncFn(&Phone) -> Result<Option<String>, ApiError>,
) -> Result<Option<String>, ApiError> {
    match (find(phone).await?, phone.other_form()) {
        (None, Some(other)) => find(&other).await,
        (found, _) => Ok(found),
    }
}

/// The person that was found, or a new one if `unknown` is `create`.
async fn or_create(
    found: Option<String>,
    unknown: UnknownContactRule,
    create_person: impl AsyncFnOnce() -> Result<String, ApiError>,
) -> Result<Option<String>, ApiError> {
    match (found, unknown) {
        (None, UnknownContactRule::Create) => create_person().await.map(Some),
        (found, _) => Ok(found),
    }
}

/// The person of an entry. Without one the caller searches again, as for a deleted person.
fn require_person(person: Option<&str>) -> Result<&str, ApiError> {
    person.ok_or(ApiError::Gone)
}

/// One message for a CRM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrmEntry {
    /// The reference by which it is found again, unique among the client's lines: `{line}:{message
    /// id}`.
    pub reference: String,
    /// The line, by its name in `client.toml`.
    pub line: String,
    /// The provider's id of the conversation.
    pub conversation_id: Option<String>,
    /// The customer's number.
    #[serde(with = "e164")]
    pub phone: Phone,
    /// The customer's name, if it is known.
    pub name: Option<String>,
    /// Who wrote.
    pub direction: MessageDirection,
    /// `text`, `image`, …
    pub kind: String,
    /// When it was written.
    pub sent_at: Timestamp,
    /// As much of the text as the CRM's `text` setting allows.
    pub text: Option<String>,
}

impl fmt::Debug for CrmEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrmEntry").field("reference", &self.reference).field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_person_is_found_by_either_form_of_a_number_and_others_cost_one_search() {
        let searched = std::sync::Mutex::new(Vec::new());
        let find = async |phone: &Phone| {
            searched.lock().unwrap().push(phone.expose().to_owned());
            Ok((phone.expose() == "+5511987654321").then(|| "7".to_owned()))
        };
        for (number, found) in [("+551187654321", Some("7")), ("+5511987654321", Some("7")), ("+972545550199", None)] {
            let person = find_in_either_form(&Phone::from_e164(number).unwrap(), find).await.unwrap();
            assert_eq!(person.as_deref(), found, "{number}");
        }
        let expected = ["+551187654321", "+5511987654321", "+5511987654321", "+972545550199"];
        assert_eq!(*searched.lock().unwrap(), expected);
    }
}
