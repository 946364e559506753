//! Pipedrive: a note on the person.
//!
//! Sources: developers.pipedrive.com/docs/api/v1 (Persons of v2, Notes of v1), and the vendor's own
//! client (github.com/pipedrive/client-nodejs).

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use tellonce_core::{contact::Phone, json::RawJson, secret::Secret};

use super::{
    CrmEntry, MAX_PAGES,
    entry::{compare_ids, is_entry_of, is_same_number, parse_reason_code, render_html},
};
use crate::api_client::{ApiClient, ApiError, ApiResponse};

/// How many last digits of a number are searched: all notations share them. People write the rest
/// with a country code, a zero or nothing. Shorter national numbers are searched whole.
const SEARCHED_DIGITS: usize = 9;
/// The persons on a page of a search; 500 are allowed.
const PEOPLE_PER_PAGE: &str = "100";
/// The notes on a page. 500 are allowed; a tenth stays below our size limit.
const NOTES_PER_PAGE: &str = "50";

pub(super) struct PipedriveClient<'a> {
    pub(super) api_client: &'a ApiClient<'a>,
    pub(super) token: &'a Secret,
    /// The company's part of `{company}.pipedrive.com`.
    pub(super) company: &'a str,
}

#[derive(Deserialize)]
struct PipedriveResponse<'a> {
    #[serde(borrow, default)]
    success: RawJson<'a>,
    #[serde(borrow, default)]
    data: RawJson<'a>,
    #[serde(borrow, default)]
    additional_data: RawJson<'a>,
}

impl PipedriveClient<'_> {
    /// The person with this number; of several the one with the smallest id, who is the oldest.
    pub(super) async fn find_person(&self, phone: &Phone) -> Result<Option<String>, ApiError> {
        let national = phone.national_digits();
        let last = national.get(national.len().saturating_sub(SEARCHED_DIGITS)..).unwrap_or(national);
        let mut hits = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut address = self.build_url(&["api", "v2", "persons", "search"])?;
            address.query_pairs_mut().extend_pairs([("term", last), ("fields", "phone"), ("limit", PEOPLE_PER_PAGE)]);
            if let Some(cursor) = &cursor {
                address.query_pairs_mut().append_pair("cursor", cursor);
            }
            let reply = self.send_request(self.build_request(Method::GET, address)).await?;
            let response = Self::parse_response(&reply)?;
            let items = response.data.at_pointer("/items").list_elements().unwrap_or_default();
            hits.extend(items.iter().filter_map(|hit| {
                let phones = hit.at_pointer("/item/phones").list_elements().unwrap_or_default();
                let is_theirs =
                    phones.iter().filter_map(|typed| typed.text()).any(|typed| is_same_number(&typed, phone));
                hit.at_pointer("/item/id").owned_text().filter(|_| is_theirs)
            }));
            cursor = response.additional_data.at_pointer("/next_cursor").owned_text();
            if cursor.is_none() {
                return Ok(hits.into_iter().min_by(|one, other| compare_ids(one, other)));
            }
        }
        Err(ApiError::UnexpectedResponse { status: 200 })
    }

    pub(super) async fn create_person(&self, phone: &Phone, name: Option<&str>) -> Result<String, ApiError> {
        let name = name.map(str::trim).filter(|name| !name.is_empty()).unwrap_or(phone.expose());
        let body = json!({
            "name": name,
            "phones": [{ "value": phone.expose(), "primary": true, "label": "mobile" }],
        });
        let address = self.build_url(&["api", "v2", "persons"])?;
        Self::parse_created_id(&self.send_request(self.build_request(Method::POST, address).json(&body)).await?)
    }

    /// The id of a person. Pipedrive keeps a deleted person for some days, and says so.
    pub(super) async fn read_person_id(&self, person: &str) -> Result<Option<String>, ApiError> {
        let address = self.build_url(&["api", "v2", "persons", person])?;
        let reply = self.send_request(self.build_request(Method::GET, address)).await?;
        if Self::parse_response(&reply)?.data.at_pointer("/is_deleted").is_true() {
            return Ok(None);
        }
        Self::parse_created_id(&reply).map(Some)
    }

    /// Searches the person's notes, the newest first.
    pub(super) async fn find_entry(&self, person: &str, entry: &CrmEntry) -> Result<Option<String>, ApiError> {
        let mut start = "0".to_owned();
        for _ in 0..MAX_PAGES {
            let mut address = self.build_url(&["api", "v1", "notes"])?;
            address.query_pairs_mut().extend_pairs([
                ("person_id", person),
                ("sort", "add_time DESC"),
                ("start", &start),
                ("limit", NOTES_PER_PAGE),
            ]);
            let reply = self.send_request(self.build_request(Method::GET, address)).await?;
            let response = Self::parse_response(&reply)?;
            let notes = response.data.list_elements().unwrap_or_default();
            let ours = |note: &&RawJson<'_>| {
                note.at_pointer("/content").text().is_some_and(|content| is_entry_of(&content, entry))
            };
            if let Some(note) = notes.iter().find(ours) {
                return Ok(note.at_pointer("/id").owned_text());
            }
            let more = response.additional_data.at_pointer("/pagination");
            match more.at_pointer("/next_start").owned_text() {
                Some(next) if more.at_pointer("/more_items_in_collection").is_true() => start = next,
                _ => return Ok(None),
            }
        }
        Err(ApiError::UnexpectedResponse { status: 200 })
    }

    pub(super) async fn create_entry(&self, person: &str, entry: &CrmEntry) -> Result<String, ApiError> {
        // Pipedrive requires a number here. Another id is not Pipedrive's, and is searched again.
        let person: u64 = person.parse().map_err(|_| ApiError::Gone)?;
        let body = json!({
            "content": render_html(entry),
            "person_id": person,
            // UTC, and without a zone.
            "add_time": entry.sent_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        });
        let address = self.build_url(&["api", "v1", "notes"])?;
        Self::parse_created_id(&self.send_request(self.build_request(Method::POST, address).json(&body)).await?)
    }

    fn build_url(&self, path: &[&str]) -> Result<Url, ApiError> {
        // The name is part of the host: other characters could send the token to another host.
        if self.company.is_empty() || !self.company.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(ApiError::AddressNotAllowed("the company is not a valid part of a host name"));
        }
        self.api_client.build_url(&format!("https://{}.pipedrive.com", self.company), path)
    }

    fn build_request(&self, method: Method, address: Url) -> RequestBuilder {
        self.api_client.http.request(method, address).header("x-api-token", self.token.expose())
    }

    async fn send_request(&self, request: RequestBuilder) -> Result<ApiResponse, ApiError> {
        let map_error = |status, body: &[u8]| Err(self.map_error_response(status, body));
        self.api_client.send_with_fallback(request, map_error).await
    }

    /// A 2xx can report a failure, too.
    fn parse_response(reply: &ApiResponse) -> Result<PipedriveResponse<'_>, ApiError> {
        let response: PipedriveResponse<'_> = reply.parse_json()?;
        if response.success.is_true() {
            Ok(response)
        } else {
            Err(ApiError::UnexpectedResponse { status: reply.status })
        }
    }

    fn parse_created_id(reply: &ApiResponse) -> Result<String, ApiError> {
        Self::parse_response(reply)?
            .data
            .at_pointer("/id")
            .owned_text()
            .ok_or(ApiError::UnexpectedResponse { status: reply.status })
    }

    fn map_error_response(&self, status: StatusCode, body: &[u8]) -> ApiError {
        let body = tellonce_core::json::parse_document(body).ok();
        match (status.as_u16(), self.api_client.error_for_status(status)) {
            // The company's account is not paid. Until it is, nothing is lost.
            (status @ 402, _) => ApiError::Throttled { status, retry_after: None },
            // A client that ignores a 429 is blocked for a while, by a proxy that does not reply in
            // JSON. Source: pipedrive.readme.io/docs/core-api-concepts-rate-limiting.
            (status @ 403, _) if body.is_none() => ApiError::Throttled { status, retry_after: None },
            (_, ApiError::Refused { status, .. }) => {
                let code = body.and_then(|body| parse_reason_code(body.at_pointer("/code").text()));
                ApiError::Refused { status, code }
            }
            (_, error) => error,
        }
    }
}

#[cfg(test)]
mod tests;
