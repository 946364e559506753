//! `HubSpot`: a `WhatsApp` communication on the contact.
//!
//! Sources: developers.hubspot.com/docs/api/crm/contacts, …/crm/search, …/crm/communications, …/crm/associations (v4), and
//! the API's published specification (github.com/HubSpot/HubSpot-public-api-spec-collection).

use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;
use shared::{contact::Phone, json::Raw, secret::Secret};

use super::{
    Item, MOST_PAGES,
    entry::{by_number, code, html, is_number, is_of, oldest, split_name},
};
use crate::call::{CallError, Caller, Reply};

const ORIGIN: &str = "https://api.hubapi.com";
/// Communication to contact, among the associations that `HubSpot` defines.
const COMMUNICATION_TO_CONTACT: u16 = 81;
/// How many contacts a page of a search has.
const CONTACTS_A_PAGE: u16 = 100;
/// How many associations a page has: the most there may be.
const ASSOCIATIONS_A_PAGE: &str = "500";
/// How many communications are read at once. A hundred are allowed; half of them stay small enough for us.
const BODIES_AT_ONCE: usize = 50;
/// The properties that a search by number looks in for the national number: `HubSpot` derives them from what people typed.
/// Not documented as such; seen in many accounts.
const NATIONAL: [&str; 2] = ["hs_searchable_calculated_phone_number", "hs_searchable_calculated_mobile_number"];
/// The properties that hold what people typed.
const TYPED: [&str; 2] = ["phone", "mobilephone"];

pub(super) struct HubSpot<'a> {
    pub(super) caller: &'a Caller<'a>,
    pub(super) token: &'a Secret,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    results: Vec<Raw<'a>>,
    #[serde(borrow, default)]
    paging: Raw<'a>,
}

impl Page<'_> {
    fn after(&self) -> Option<String> {
        self.paging.at("/next/after").string()
    }
}

#[derive(Deserialize)]
struct Made<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
}

impl HubSpot<'_> {
    /// The contact with this number; of several the oldest.
    pub(super) async fn find_person(&self, phone: &Phone) -> Result<Option<String>, CallError> {
        let national = phone.national();
        let filters = NATIONAL
            .iter()
            .map(|property| (property, national))
            .chain(TYPED.iter().map(|property| (property, phone.expose())));
        let filters: Vec<_> = filters
            .map(|(property, value)| json!({ "filters": [{ "propertyName": property, "operator": "EQ", "value": value }] }))
            .collect();
        let mut body = json!({
            "filterGroups": filters,
            "properties": ["createdate", "phone", "mobilephone"],
            "limit": CONTACTS_A_PAGE,
        });
        let mut hits = Vec::new();
        for _ in 0..MOST_PAGES {
            let reply = self.post(&["contacts", "search"], &body).await?;
            let page: Page<'_> = reply.json()?;
            hits.extend(page.results.iter().filter_map(|contact| {
                let typed = |name: &str| contact.at(&format!("/properties/{name}")).text();
                let is_theirs = TYPED.into_iter().filter_map(typed).any(|typed| is_number(&typed, phone));
                let since = contact.at("/properties/createdate").time();
                contact.at("/id").string().filter(|_| is_theirs).map(|id| (since, id))
            }));
            let Some(after) = page.after() else { return Ok(oldest(hits)) };
            body["after"] = after.into();
        }
        Err(CallError::Unexpected { status: 200 })
    }

    pub(super) async fn make_person(&self, phone: &Phone, name: Option<&str>) -> Result<String, CallError> {
        let mut properties = json!({ "phone": phone.expose() });
        if let Some(name) = name.filter(|name| !name.trim().is_empty()) {
            let (first, last) = split_name(name);
            // One name alone is rather the first.
            properties["firstname"] = first.unwrap_or(last).into();
            if first.is_some() {
                properties["lastname"] = last.into();
            }
        }
        let request = self.request(&["contacts"])?.json(&json!({ "properties": properties }));
        let reply = self.caller.call_or(request, |status, body| {
            if status == StatusCode::CONFLICT && existing(body).is_some() {
                return Ok(Reply { status: status.as_u16(), body: body.to_vec() });
            }
            Err(self.refused(status, body))
        });
        let reply = reply.await?;
        if reply.status == StatusCode::CONFLICT.as_u16() {
            return existing(&reply.body).ok_or(CallError::Unexpected { status: reply.status });
        }
        made(&reply)
    }

    /// Asks for all communications of the contact, the newest first. A search would be one call, but finds a communication only
    /// some time after it was written; lists of associations are not said to lag.
    pub(super) async fn find_entry(&self, person: &str, item: &Item) -> Result<Option<String>, CallError> {
        let mut ids = self.communications(person).await?;
        ids.sort_by(|one, other| by_number(other, one));
        ids.dedup();
        for ids in ids.chunks(BODIES_AT_ONCE) {
            let inputs: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
            let body = json!({ "inputs": inputs, "properties": ["hs_communication_body"] });
            let reply = self.post(&["communications", "batch", "read"], &body).await?;
            let errors = Errors::of(&reply);
            let page: Page<'_> = reply.json()?;
            let ours = |entry: &&Raw<'_>| {
                entry.at("/properties/hs_communication_body").text().is_some_and(|content| is_of(&content, item))
            };
            if let Some(entry) = page.results.iter().find(ours) {
                return Ok(entry.at("/id").string());
            }
            // What could not be read may be what we look for, unless it was deleted.
            if errors == Errors::Others {
                return Err(CallError::Trouble { status: reply.status });
            }
        }
        Ok(None)
    }

    /// The ids of a contact's communications.
    async fn communications(&self, person: &str) -> Result<Vec<String>, CallError> {
        let path = ["crm", "v4", "objects", "contacts", person, "associations", "communications"];
        let mut ids = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut address = self.caller.address(ORIGIN, &path)?;
            address.query_pairs_mut().append_pair("limit", ASSOCIATIONS_A_PAGE);
            if let Some(after) = &after {
                address.query_pairs_mut().append_pair("after", after);
            }
            let request = self.caller.http.get(address).bearer_auth(self.token.expose());
            let reply = self.caller.call_or(request, |status, body| Err(self.refused(status, body))).await?;
            let page: Page<'_> = reply.json()?;
            ids.extend(page.results.iter().filter_map(|to| to.at("/toObjectId").string()));
            after = page.after();
            if after.is_none() {
                return Ok(ids);
            }
        }
        Err(CallError::Unexpected { status: 200 })
    }

    /// The body is rich text to `HubSpot`'s own pages, although the reference calls it text: so it is escaped.
    pub(super) async fn create_entry(&self, person: &str, item: &Item) -> Result<String, CallError> {
        let types =
            json!([{ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": COMMUNICATION_TO_CONTACT }]);
        let body = json!({
            "properties": {
                "hs_communication_channel_type": "WHATS_APP",
                "hs_communication_logged_from": "CRM",
                "hs_communication_body": html(item),
                "hs_timestamp": item.at,
            },
            "associations": [{ "to": { "id": person }, "types": types }],
        });
        made(&self.post(&["communications"], &body).await?)
    }

    async fn post(&self, path: &[&str], body: &serde_json::Value) -> Result<Reply, CallError> {
        let request = self.request(path)?.json(body);
        self.caller.call_or(request, |status, body| Err(self.refused(status, body))).await
    }

    fn request(&self, path: &[&str]) -> Result<RequestBuilder, CallError> {
        let address = self.caller.address(ORIGIN, &[&["crm", "v3", "objects"], path].concat())?;
        Ok(self.caller.http.post(address).bearer_auth(self.token.expose()))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> CallError {
        match (status.as_u16(), self.caller.by_status(status)) {
            // Locked for a moment, and being moved to another data centre.
            // Source: developers.hubspot.com/docs/api/error-handling.
            (status @ (423 | 477), _) => CallError::Trouble { status },
            (_, CallError::Refused { status, .. }) => CallError::Refused { status, code: category(body) },
            (_, error) => error,
        }
    }
}

fn made(reply: &Reply) -> Result<String, CallError> {
    reply.json::<Made<'_>>()?.id.string().ok_or(CallError::Unexpected { status: reply.status })
}

/// What kind of error it is, in `HubSpot`'s word.
fn category(body: &[u8]) -> Option<String> {
    code(shared::json::document(body).ok()?.at("/category").text())
}

/// The id of the contact that is in the way, from the sentence that says so: there is no field for it.
fn existing(body: &[u8]) -> Option<String> {
    let message = shared::json::document(body).ok()?.at("/message").string()?;
    let (_, rest) = message.split_once("Existing ID:")?;
    let id: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    Some(id).filter(|id| !id.is_empty())
}

/// What a batch could not read.
#[derive(PartialEq, Eq)]
enum Errors {
    /// Nothing, or only what is not there any more.
    None,
    Others,
}

impl Errors {
    fn of(reply: &Reply) -> Self {
        let errors = shared::json::document(&reply.body).ok().and_then(|body| body.at("/errors").elements());
        let is_gone = |error: &Raw<'_>| error.at("/category").text().is_some_and(|word| word == "OBJECT_NOT_FOUND");
        if errors.unwrap_or_default().iter().all(is_gone) { Self::None } else { Self::Others }
    }
}

#[cfg(test)]
mod tests;
