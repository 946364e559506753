//! CRMs: each receives every message once.
//!
//! Main types: a [`CrmEntry`] is one message. A [`CrmClient`] finds or creates its person, and
//! writes it; `entry` renders its text. [`AccessTokenStore`] keeps the access tokens of Zoho and
//! Google, which last an hour.
//!
//! No CRM has an idempotency key. So each can be searched for an entry (`find_entry`) by the
//! [reference](CrmEntry::reference) in it. The search runs when an earlier attempt may have
//! arrived. A webhook's receiver cannot be searched: it receives the same id again, by which
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
    client_config::{CrmKind, DataCentre, UnknownContactRule, ZohoModule},
    contact::Phone,
    secret::Secret,
};

pub use self::access_tokens::AccessTokenStore;
use self::{hubspot::HubSpotClient, pipedrive::PipedriveClient, sheets::SheetsClient, zoho::ZohoClient};
use crate::{
    api_client::{ApiClient, ApiError},
    e164,
    line_event::MessageDirection,
};

/// The most pages of one search. A CRM with more probably returns the same page again and again.
const MAX_PAGES: usize = 1000;

/// The most calls to a CRM of this kind in a minute, unless `client.toml` sets another limit. Below
/// the vendors' limits, because the client's other integrations share them.
pub const fn default_requests_per_minute(kind: &CrmKind) -> u32 {
    match kind {
        // Searches: 4 to 5 a second in an account. Everything else: 100 in ten seconds for an app.
        // Source: developers.hubspot.com/docs/api/usage-details.
        CrmKind::HubSpot { .. } => 200,
        // Pipedrive: 10 searches in two seconds, and a daily budget that the whole company shares
        // (pipedrive.readme.io/docs/core-api-concepts-rate-limiting). Zoho: few calls at a time,
        // and credits by the day (zoho.com/crm/developer/docs/api/v8/api-limits.html).
        CrmKind::Pipedrive { .. } | CrmKind::Zoho { .. } => 100,
        // Writes: 60 a minute for each user of a project, and a service account is one.
        // Source: developers.google.com/workspace/sheets/api/limits.
        CrmKind::GoogleSheets { .. } => 50,
        // Not documented. A small server takes five a second.
        CrmKind::Webhook { .. } => 300,
    }
}

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
    /// Whether entries belong to persons in this CRM.
    pub fn has_people(&self) -> bool {
        match self.kind {
            CrmKind::HubSpot { .. } | CrmKind::Pipedrive { .. } | CrmKind::Zoho { .. } => true,
            CrmKind::GoogleSheets { .. } | CrmKind::Webhook { .. } => false,
        }
    }

    /// The id of the person with this number, found or created. None if the CRM has no such person
    /// and `unknown` is `skip`, and always for CRMs without persons.
    pub async fn find_or_create_person(
        &self,
        phone: &Phone,
        name: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        match self.kind {
            CrmKind::HubSpot { unknown } => {
                let hubspot = self.build_hubspot();
                let found = hubspot.find_person(phone).await?;
                or_create(found, *unknown, async || hubspot.create_person(phone, name).await).await
            }
            CrmKind::Pipedrive { company, unknown } => {
                let pipedrive = self.build_pipedrive(company);
                let found = pipedrive.find_person(phone).await?;
                or_create(found, *unknown, async || pipedrive.create_person(phone, name).await).await
            }
            CrmKind::Zoho { data_centre, module } => {
                self.build_zoho(*data_centre, *module).find_or_create_person(phone, name, now).await.map(Some)
            }
            CrmKind::GoogleSheets { .. } | CrmKind::Webhook { .. } => Ok(None),
        }
    }

    /// The id of this message's entry, if the CRM has it. Needed only if an earlier attempt may
    /// have arrived.
    pub async fn find_entry(
        &self,
        person: Option<&str>,
        item: &CrmEntry,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        match self.kind {
            CrmKind::HubSpot { .. } => self.build_hubspot().find_entry(require_person(person)?, item).await,
            CrmKind::Pipedrive { company, .. } => {
                self.build_pipedrive(company).find_entry(require_person(person)?, item).await
            }
            CrmKind::Zoho { data_centre, module } => {
                self.build_zoho(*data_centre, *module).find_entry(require_person(person)?, item, now).await
            }
            CrmKind::GoogleSheets { spreadsheet, sheet } => {
                self.build_sheets(spreadsheet, sheet).find_entry(item, now).await
            }
            CrmKind::Webhook { .. } => Ok(None),
        }
    }

    /// Writes the entry. Returns its id if the CRM gives one.
    pub async fn create_entry(
        &self,
        person: Option<&str>,
        item: &CrmEntry,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        match self.kind {
            CrmKind::HubSpot { .. } => self.build_hubspot().create_entry(require_person(person)?, item).await.map(Some),
            CrmKind::Pipedrive { company, .. } => {
                self.build_pipedrive(company).create_entry(require_person(person)?, item).await.map(Some)
            }
            CrmKind::Zoho { data_centre, module } => {
                self.build_zoho(*data_centre, *module).create_entry(require_person(person)?, item, now).await.map(Some)
            }
            CrmKind::GoogleSheets { spreadsheet, sheet } => {
                self.build_sheets(spreadsheet, sheet).create_entry(item, now).await.map(Some)
            }
            CrmKind::Webhook { url } => {
                webhook::create_entry(&self.api_client, url, &self.credential, item, now).await.map(|()| None)
            }
        }
    }

    fn build_hubspot(&self) -> HubSpotClient<'_> {
        HubSpotClient { api_client: &self.api_client, token: &self.credential }
    }

    fn build_pipedrive<'s>(&'s self, company: &'s str) -> PipedriveClient<'s> {
        PipedriveClient { api_client: &self.api_client, token: &self.credential, company }
    }

    fn build_zoho(&self, data_centre: DataCentre, module: ZohoModule) -> ZohoClient<'_> {
        let Self { name, api_client, credential, access_tokens, .. } = self;
        ZohoClient { api_client, credential, access_tokens, crm_name: name, data_centre, module }
    }

    fn build_sheets<'s>(&'s self, spreadsheet: &'s str, sheet_name: &'s str) -> SheetsClient<'s> {
        let Self { name, api_client, credential, access_tokens, .. } = self;
        SheetsClient { api_client, credential, access_tokens, crm_name: name, spreadsheet, sheet_name }
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
    /// `EZWhatsApp`'s id of the conversation.
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
