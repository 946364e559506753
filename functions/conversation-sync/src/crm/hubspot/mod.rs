//! `HubSpot`: a `WhatsApp` communication on the contact.
//!
//! Sources: developers.hubspot.com/docs/api/crm/contacts, …/crm/search, …/crm/communications,
//! …/crm/associations (v4), HubSpot's own client (`@hubspot/api-client`), and the API's published
//! specification (github.com/HubSpot/HubSpot-public-api-spec-collection).
//!
//! The token needs the scopes `crm.objects.contacts.read` and `crm.objects.contacts.write`.

use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tellonce_core::{contact::Phone, json::RawJson, secret::Secret};

use super::{
    CrmEntry, MAX_PAGES,
    entry::{compare_ids, is_entry_of, is_same_number, parse_reason_code, pick_oldest, render_html, split_name},
};
use crate::api_client::{ApiClient, ApiError, ApiResponse};

const API_ORIGIN: &str = "https://api.hubapi.com";
/// The association type "communication to contact", as `HubSpot` defines it.
const COMMUNICATION_TO_CONTACT: u16 = 81;
/// The contacts on a page of a search.
const CONTACTS_PER_PAGE: u16 = 100;
/// The pages of a search. `HubSpot` gives 10,000 results of a search, the oldest contacts first.
const MAX_SEARCH_PAGES: u16 = 100;
/// The cursor of a search's first page.
const FIRST_PAGE: &str = "0";
/// The associations on a page: the maximum.
const ASSOCIATIONS_PER_PAGE: &str = "500";
/// The communications of one read. A hundred are allowed; half stay below our size limit.
const BODIES_PER_READ: usize = 50;
/// The properties that are searched for the national number. `HubSpot` derives them from what
/// people typed. Not documented as such; seen in many accounts.
const NATIONAL_NUMBER_PROPERTIES: [&str; 2] =
    ["hs_searchable_calculated_phone_number", "hs_searchable_calculated_mobile_number"];
/// The properties that hold the number as typed.
const TYPED_NUMBER_PROPERTIES: [&str; 2] = ["phone", "mobilephone"];

pub(super) struct HubSpotClient<'a> {
    pub(super) api_client: &'a ApiClient<'a>,
    pub(super) token: &'a Secret,
}

#[derive(Deserialize)]
struct HubSpotPage<'a> {
    #[serde(borrow, default)]
    results: Vec<RawJson<'a>>,
    #[serde(borrow, default)]
    paging: RawJson<'a>,
}

impl HubSpotPage<'_> {
    fn next_cursor(&self) -> Option<String> {
        self.paging.at_pointer("/next/after").owned_text()
    }
}

#[derive(Deserialize)]
struct HubSpotCreated<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
}

impl HubSpotClient<'_> {
    /// The contact with this number; of several the oldest.
    pub(super) async fn find_person(&self, phone: &Phone) -> Result<Option<String>, ApiError> {
        let national = phone.national_digits();
        let filters = NATIONAL_NUMBER_PROPERTIES
            .iter()
            .map(|property| (property, national))
            .chain(TYPED_NUMBER_PROPERTIES.iter().map(|property| (property, phone.expose())));
        let filters: Vec<_> = filters
            .map(|(property, value)| json!({ "filters": [{ "propertyName": property, "operator": "EQ", "value": value }] }))
            .collect();
        // The specification requires all five members, though HubSpot's own client leaves some out.
        let mut body = json!({
            "filterGroups": filters,
            "properties": ["createdate", "phone", "mobilephone"],
            "sorts": [],
            "limit": CONTACTS_PER_PAGE,
            "after": FIRST_PAGE,
        });
        let mut hits = Vec::new();
        for _ in 0..MAX_SEARCH_PAGES {
            let reply = self.post_json(&["contacts", "search"], &body).await?;
            let page: HubSpotPage<'_> = reply.parse_json()?;
            hits.extend(page.results.iter().filter_map(|contact| {
                let typed = |name: &str| contact.at_pointer(&format!("/properties/{name}")).text();
                let is_theirs =
                    TYPED_NUMBER_PROPERTIES.into_iter().filter_map(typed).any(|typed| is_same_number(&typed, phone));
                let since = contact.at_pointer("/properties/createdate").as_time();
                contact.at_pointer("/id").owned_text().filter(|_| is_theirs).map(|id| (since, id))
            }));
            let Some(after) = page.next_cursor() else { break };
            body["after"] = after.into();
        }
        Ok(pick_oldest(hits))
    }

    pub(super) async fn create_person(&self, phone: &Phone, name: Option<&str>) -> Result<String, ApiError> {
        let mut properties = json!({ "phone": phone.expose() });
        if let Some(name) = name.filter(|name| !name.trim().is_empty()) {
            let (first, last) = split_name(name);
            // A single name is more likely a first name.
            properties["firstname"] = first.unwrap_or(last).into();
            if first.is_some() {
                properties["lastname"] = last.into();
            }
        }
        let body = json!({ "properties": properties, "associations": [] });
        let request = self.build_request(&["contacts"])?.json(&body);
        let reply = self.api_client.send_with_fallback(request, |status, body| {
            if status == StatusCode::CONFLICT && parse_existing_id(body).is_some() {
                return Ok(ApiResponse { status: status.as_u16(), body: body.to_vec() });
            }
            Err(self.map_error_response(status, body))
        });
        let reply = reply.await?;
        if reply.status == StatusCode::CONFLICT.as_u16() {
            return parse_existing_id(&reply.body).ok_or(ApiError::UnexpectedResponse { status: reply.status });
        }
        parse_created_id(&reply)
    }

    /// The id of a contact, and none if it was deleted. `HubSpot` may name another contact after a
    /// merge.
    pub(super) async fn read_person_id(&self, person: &str) -> Result<Option<String>, ApiError> {
        let body = json!({ "inputs": [{ "id": person }], "properties": [], "propertiesWithHistory": [] });
        let reply = self.post_json(&["contacts", "batch", "read"], &body).await?;
        let errors = BatchErrors::from_response(&reply);
        let page: HubSpotPage<'_> = reply.parse_json()?;
        match (page.results.first(), errors) {
            (Some(contact), _) => {
                let id = contact.at_pointer("/id").owned_text();
                id.map(Some).ok_or(ApiError::UnexpectedResponse { status: reply.status })
            }
            (None, BatchErrors::OnlyMissing) => Ok(None),
            (None, BatchErrors::Unreadable) => Err(ApiError::ServerError { status: reply.status }),
        }
    }

    /// Reads all communications of the contact, the newest first. A search would be one call, but
    /// finds a communication only some time after it was written. Lists of associations have no
    /// documented lag.
    pub(super) async fn find_entry(&self, person: &str, entry: &CrmEntry) -> Result<Option<String>, ApiError> {
        let mut ids = self.list_communications(person).await?;
        ids.sort_by(|one, other| compare_ids(other, one));
        ids.dedup();
        for ids in ids.chunks(BODIES_PER_READ) {
            let inputs: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
            let body = json!({
                "inputs": inputs,
                "properties": ["hs_communication_body"],
                "propertiesWithHistory": [],
            });
            let reply = self.post_json(&["communications", "batch", "read"], &body).await?;
            let errors = BatchErrors::from_response(&reply);
            let page: HubSpotPage<'_> = reply.parse_json()?;
            let ours = |communication: &&RawJson<'_>| {
                communication
                    .at_pointer("/properties/hs_communication_body")
                    .text()
                    .is_some_and(|content| is_entry_of(&content, entry))
            };
            if let Some(communication) = page.results.iter().find(ours) {
                return Ok(communication.at_pointer("/id").owned_text());
            }
            // A communication that could not be read may be this one, unless it was deleted.
            if errors == BatchErrors::Unreadable {
                return Err(ApiError::ServerError { status: reply.status });
            }
        }
        Ok(None)
    }

    /// The ids of a contact's communications.
    async fn list_communications(&self, person: &str) -> Result<Vec<String>, ApiError> {
        let path = ["crm", "v4", "objects", "contacts", person, "associations", "communications"];
        let mut ids = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut address = self.api_client.build_url(API_ORIGIN, &path)?;
            address.query_pairs_mut().append_pair("limit", ASSOCIATIONS_PER_PAGE);
            if let Some(after) = &after {
                address.query_pairs_mut().append_pair("after", after);
            }
            let request = self.api_client.http.get(address).bearer_auth(self.token.expose());
            let reply = self
                .api_client
                .send_with_fallback(request, |status, body| Err(self.map_error_response(status, body)))
                .await?;
            let page: HubSpotPage<'_> = reply.parse_json()?;
            ids.extend(page.results.iter().filter_map(|to| to.at_pointer("/toObjectId").owned_text()));
            after = page.next_cursor();
            if after.is_none() {
                return Ok(ids);
            }
        }
        Err(ApiError::UnexpectedResponse { status: 200 })
    }

    /// The reference calls the body text, but `HubSpot`'s pages render it as rich text. So it is
    /// escaped.
    pub(super) async fn create_entry(&self, person: &str, entry: &CrmEntry) -> Result<String, ApiError> {
        let types =
            json!([{ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": COMMUNICATION_TO_CONTACT }]);
        let body = json!({
            "properties": {
                "hs_communication_channel_type": "WHATS_APP",
                "hs_communication_logged_from": "CRM",
                "hs_communication_body": render_html(entry),
                // HubSpot knows no more than milliseconds.
                "hs_timestamp": entry.sent_at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            },
            "associations": [{ "to": { "id": person }, "types": types }],
        });
        parse_created_id(&self.post_json(&["communications"], &body).await?)
    }

    async fn post_json(&self, path: &[&str], body: &serde_json::Value) -> Result<ApiResponse, ApiError> {
        let request = self.build_request(path)?.json(body);
        self.api_client.send_with_fallback(request, |status, body| Err(self.map_error_response(status, body))).await
    }

    fn build_request(&self, path: &[&str]) -> Result<RequestBuilder, ApiError> {
        let address = self.api_client.build_url(API_ORIGIN, &[&["crm", "v3", "objects"], path].concat())?;
        Ok(self.api_client.http.post(address).bearer_auth(self.token.expose()))
    }

    fn map_error_response(&self, status: StatusCode, body: &[u8]) -> ApiError {
        match (status.as_u16(), self.api_client.error_for_status(status)) {
            // Locked for a moment, and being moved to another data centre.
            // Source: developers.hubspot.com/docs/api/error-handling.
            (status @ (423 | 477), _) => ApiError::ServerError { status },
            (_, ApiError::Refused { status, .. }) => ApiError::Refused { status, code: parse_category(body) },
            (_, error) => error,
        }
    }
}

fn parse_created_id(reply: &ApiResponse) -> Result<String, ApiError> {
    reply
        .parse_json::<HubSpotCreated<'_>>()?
        .id
        .owned_text()
        .ok_or(ApiError::UnexpectedResponse { status: reply.status })
}

/// `HubSpot`'s category of the error.
fn parse_category(body: &[u8]) -> Option<String> {
    parse_reason_code(tellonce_core::json::parse_document(body).ok()?.at_pointer("/category").text())
}

/// The id of the existing contact, from the error's message: no field holds it.
fn parse_existing_id(body: &[u8]) -> Option<String> {
    let message = tellonce_core::json::parse_document(body).ok()?.at_pointer("/message").owned_text()?;
    let (_, rest) = message.split_once("Existing ID:")?;
    let id: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    Some(id).filter(|id| !id.is_empty())
}

/// What a batch read could not read.
#[derive(PartialEq, Eq)]
enum BatchErrors {
    /// Nothing, or only deleted records.
    OnlyMissing,
    Unreadable,
}

impl BatchErrors {
    fn from_response(reply: &ApiResponse) -> Self {
        let errors = tellonce_core::json::parse_document(&reply.body)
            .ok()
            .and_then(|body| body.at_pointer("/errors").list_elements());
        let is_gone =
            |error: &RawJson<'_>| error.at_pointer("/category").text().is_some_and(|word| word == "OBJECT_NOT_FOUND");
        if errors.unwrap_or_default().iter().all(is_gone) { Self::OnlyMissing } else { Self::Unreadable }
    }
}

#[cfg(test)]
mod tests;
