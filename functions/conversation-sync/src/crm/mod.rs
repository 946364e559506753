//! CRMs: each is told of every message once.
//!
//! The cast: an [`CrmEntry`] is one message; a [`CrmClient`] finds or makes the person it belongs to, and writes it; `entry` says in
//! what words. [`AccessTokenStore`] keeps the access tokens that Zoho and Google give out for an hour.
//!
//! None of them has an idempotency key. So each can be asked whether it has an entry already (`find_entry`), by
//! the [reference](Item::reference) that stands in it, and is asked whenever an earlier try may have arrived. Owners and
//! assignments are never written. A webhook's receiver can't be asked: it is told the same id again, which is what
//! Standard Webhooks gives it to recognise a repeat by.
//!
//! Not promised: that two people are never made for one number. Some of these systems find a new person only moments after
//! they made it; whoever writes keeps one writer per CRM, and remembers the person's id.

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

pub use self::{access_tokens::AccessTokenStore, webhook::post_signed};
use self::{hubspot::HubSpotClient, pipedrive::PipedriveClient, sheets::SheetsClient, zoho::ZohoClient};
use crate::{
    api_client::{ApiClient, ApiError},
    e164,
};

/// How many pages of anything are asked for. Whoever has more gives us the same page again and again.
const MAX_PAGES: usize = 1000;

/// How often a CRM of this kind is asked in a minute, at most, unless `client.toml` says otherwise. Below what the vendors
/// allow, since the client's other integrations use the same allowance.
pub const fn default_requests_per_minute(kind: &CrmKind) -> u32 {
    match kind {
        // Searches: 4 to 5 a second in an account. Everything else: 100 in ten seconds for an app.
        // Source: developers.hubspot.com/docs/api/usage-details.
        CrmKind::HubSpot { .. } => 200,
        // Pipedrive: 10 searches in two seconds, and a daily budget that the whole company shares
        // (pipedrive.readme.io/docs/core-api-concepts-rate-limiting). Zoho: few calls at a time, and credits by the day
        // (zoho.com/crm/developer/docs/api/v8/api-limits.html).
        CrmKind::Pipedrive { .. } | CrmKind::Zoho { .. } => 100,
        // Writes: 60 a minute for each user of a project, and a service account is one.
        // Source: developers.google.com/workspace/sheets/api/limits.
        CrmKind::GoogleSheets { .. } => 50,
        // Nobody says. Five a second is what a small server takes.
        CrmKind::Webhook { .. } => 300,
    }
}

/// One CRM of the client, ready to be written to.
pub struct CrmClient<'a> {
    /// Its name in `client.toml`.
    pub name: &'a str,
    /// Which system it is.
    pub kind: &'a CrmKind,
    /// Makes the calls.
    pub api_client: ApiClient<'a>,
    /// The value of its secret.
    pub credential: Secret,
    /// The access tokens of all CRMs.
    pub access_tokens: &'a AccessTokenStore,
}

impl CrmClient<'_> {
    /// Whether entries hang on a person there, or stand by themselves.
    pub fn has_people(&self) -> bool {
        match self.kind {
            CrmKind::HubSpot { .. } | CrmKind::Pipedrive { .. } | CrmKind::Zoho { .. } => true,
            CrmKind::GoogleSheets { .. } | CrmKind::Webhook { .. } => false,
        }
    }

    /// The id of the person with this number: found, or made if need be. None if the CRM doesn't know the number and
    /// `client.toml` says to leave such out, and always where there are no people.
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

    /// The id of the entry of this message, if it is there. Asked only if an earlier try may have arrived.
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

    /// Writes the entry. Gives its id where the CRM has one.
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

/// The person who was found, or is made if that is wanted.
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

/// The person that an entry hangs on. Without one it is looked up first, as if this one were gone.
fn require_person(person: Option<&str>) -> Result<&str, ApiError> {
    person.ok_or(ApiError::Gone)
}

/// One message, as a CRM is to have it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrmEntry {
    /// What it is found by again, unique in all of the client's lines: `{request_line}:{message id}`.
    pub reference: String,
    /// The line, by our name.
    pub line: String,
    /// `EZWhatsApp`'s id of the conversation.
    pub conversation_id: Option<String>,
    /// The customer.
    #[serde(with = "e164")]
    pub phone: Phone,
    /// Their name, if we know it.
    pub name: Option<String>,
    /// Who wrote.
    pub direction: MessageDirection,
    /// What it is: `printable_text`, `image`, …
    pub kind: String,
    /// When it was written.
    pub sent_at: Timestamp,
    /// As much of its text as this CRM is told.
    pub text: Option<String>,
}

impl fmt::Debug for CrmEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("reference", &self.reference).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageDirection {
    /// The customer.
    In,
    /// The line: the team, or we.
    Out,
}

impl MessageDirection {
    /// Its name in the table and for customers' systems.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}
