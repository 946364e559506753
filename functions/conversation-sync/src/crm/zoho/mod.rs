//! Zoho CRM: a note on the lead or contact.
//!
//! The credential needs the scopes `ZohoCRM.modules.ALL`, `ZohoCRM.coql.READ` and
//! `ZohoSearch.securesearch.READ`.
//!
//! A phone number is not a unique field, so Zoho refuses it in `duplicate_check_fields`. Therefore
//! a person is looked up, and inserted if no record is found. The search finds a new record only
//! after a while. So before an insert the records are also queried (COQL) for the number as
//! tellonce writes it. A record whose response was lost is found by that.
//!
//! Sources: zoho.com/crm/developer/docs/api/v8: multi-dc.html, search-records.html,
//! COQL-Overview.html, insert-records.html, create-notes.html, get-notes.html, status-codes.html;
//! Zoho's own specification (github.com/zoho/crm-oas, v8.0);
//! zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html.

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode, Url, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use tellonce_core::{
    client_config::{DataCentre, ZohoModule},
    contact::Phone,
    json::RawJson,
    secret::Secret,
};

use super::{
    CrmEntry,
    access_tokens::{AccessToken, AccessTokenStore},
    entry::{is_entry_of, is_same_number, parse_reason_code, pick_oldest, render_without_tags, split_name},
};
use crate::api_client::{ApiClient, ApiError, ApiResponse};

/// The records or notes on a page. 200 are allowed; a quarter stays below our size limit.
const RECORDS_PER_PAGE: &str = "50";
/// The pages that Zoho gives by number: 2,000 records.
const NUMBERED_PAGES: u32 = 40;
/// The longest first and last name of a record, in characters.
const MAX_FIRST_NAME_CHARS: usize = 40;
const MAX_LAST_NAME_CHARS: usize = 80;
/// The company of a lead, which is required and not known.
const UNKNOWN_COMPANY: &str = "-";
/// How long Zoho issues no tokens after too many requests.
const TOKEN_LIMIT_PAUSE: SignedDuration = SignedDuration::from_mins(10);
/// Endings of the hosts of Zoho's API.
const API_HOST_SUFFIXES: [&str; 9] = [
    ".zohoapis.com",
    ".zohoapis.eu",
    ".zohoapis.in",
    ".zohoapis.com.au",
    ".zohoapis.jp",
    ".zohoapis.com.cn",
    ".zohoapis.sa",
    ".zohoapis.ca",
    ".zohocloud.ca",
];

pub(super) struct ZohoClient<'a> {
    pub(super) api_client: &'a ApiClient<'a>,
    pub(super) credential: &'a Secret,
    pub(super) access_tokens: &'a AccessTokenStore,
    /// The CRM's name in `client.toml`.
    pub(super) crm_name: &'a str,
    pub(super) data_centre: DataCentre,
    pub(super) module: ZohoModule,
}

#[derive(Deserialize)]
struct ZohoCredential {
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

#[derive(Deserialize)]
struct ZohoToken<'a> {
    #[serde(borrow, default)]
    access_token: RawJson<'a>,
    #[serde(borrow, default)]
    api_domain: RawJson<'a>,
    #[serde(borrow, default)]
    expires_in: RawJson<'a>,
    #[serde(borrow, default)]
    error: RawJson<'a>,
}

#[derive(Deserialize)]
struct ZohoResponse<'a> {
    #[serde(borrow, default)]
    data: RawJson<'a>,
    #[serde(borrow, default)]
    info: RawJson<'a>,
}

impl ZohoClient<'_> {
    pub(super) async fn find_or_create_person(
        &self,
        phone: &Phone,
        name: Option<&str>,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        for form in [Some(phone.clone()), phone.other_form()].into_iter().flatten() {
            if let Some(id) = self.search_person(&form, now).await? {
                return Ok(id);
            }
        }
        match self.query_person(phone, now).await? {
            Some(id) => Ok(id),
            None => self.create_person(phone, name, now).await,
        }
    }

    /// The record with this number in one of its phone fields; of several the oldest. Zoho compares
    /// the number as typed, so it does not find a number in another notation.
    async fn search_person(&self, phone: &Phone, now: Timestamp) -> Result<Option<String>, ApiError> {
        let mut hits = Vec::new();
        for page in 1..=NUMBERED_PAGES {
            let page = page.to_string();
            let query = [
                ("phone", phone.expose()),
                ("fields", "Created_Time,Mobile,Phone"),
                ("page", &page),
                ("per_page", RECORDS_PER_PAGE),
            ];
            let reply = self.send_request(Method::GET, &[self.module_name(), "search"], &query, None, now).await?;
            let Some(response) = parse_response(&reply)? else { break };
            hits.extend(list_records_of(&response, phone));
            if !response.info.at_pointer("/more_records").is_true() {
                break;
            }
        }
        Ok(pick_oldest(hits))
    }

    /// The oldest record with the number exactly as tellonce writes it. Zoho answers from the
    /// records themselves, so it finds one that was inserted a moment ago.
    async fn query_person(&self, phone: &Phone, now: Timestamp) -> Result<Option<String>, ApiError> {
        // A plus and digits, so that nothing in it ends the text.
        let number = phone.expose();
        let query = format!(
            "select id, Created_Time, Mobile, Phone from {} where Mobile = '{number}' or Phone = '{number}' limit 200",
            self.module_name()
        );
        let body = json!({ "select_query": query });
        let reply = self.send_request(Method::POST, &["coql"], &[], Some(&body), now).await?;
        let response = parse_response(&reply)?;
        Ok(pick_oldest(response.map(|response| list_records_of(&response, phone)).unwrap_or_default()))
    }

    /// Inserts a record. If a field of the client's own must be unique and has the same value in
    /// another record, Zoho names that record, and it is taken.
    async fn create_person(&self, phone: &Phone, name: Option<&str>, now: Timestamp) -> Result<String, ApiError> {
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        let (first, last) = split_name(name.unwrap_or(phone.expose()));
        let up_to = |most: usize, name: &str| name.chars().take(most).collect::<String>();
        let mut record = json!({ "Last_Name": up_to(MAX_LAST_NAME_CHARS, last), "Mobile": phone.expose() });
        if let Some(first) = first {
            record["First_Name"] = up_to(MAX_FIRST_NAME_CHARS, first).into();
        }
        if self.module == ZohoModule::Leads {
            record["Company"] = UNKNOWN_COMPANY.into();
        }
        // No trigger: the client's workflows are meant for leads of other sources.
        let body = json!({ "data": [record], "trigger": [] });
        let reply = self.send_request(Method::POST, &[self.module_name()], &[], Some(&body), now).await?;
        parse_written_id(&reply)
    }

    /// Searches the record's notes, which Zoho lists from the newest on. An entry in doubt is a new
    /// one, so it is among those that have a page.
    pub(super) async fn find_entry(
        &self,
        person: &str,
        entry: &CrmEntry,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        for page in 1..=NUMBERED_PAGES {
            let page = page.to_string();
            let query = [("fields", "Note_Content"), ("page", &page), ("per_page", RECORDS_PER_PAGE)];
            let reply =
                self.send_request(Method::GET, &[self.module_name(), person, "Notes"], &query, None, now).await?;
            let Some(response) = parse_response(&reply)? else { return Ok(None) };
            let notes = response.data.list_elements().unwrap_or_default();
            let ours = |note: &&RawJson<'_>| {
                note.at_pointer("/Note_Content").text().is_some_and(|content| is_entry_of(&content, entry))
            };
            if let Some(note) = notes.iter().find(ours) {
                return Ok(note.at_pointer("/id").owned_text());
            }
            if !response.info.at_pointer("/more_records").is_true() {
                break;
            }
        }
        Ok(None)
    }

    pub(super) async fn create_entry(
        &self,
        person: &str,
        entry: &CrmEntry,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let body = json!({ "data": [{
            "Note_Title": "WhatsApp",
            "Note_Content": render_without_tags(entry),
            "Parent_Id": { "module": { "api_name": self.module_name() }, "id": person },
        }] });
        parse_written_id(&self.send_request(Method::POST, &["Notes"], &[], Some(&body), now).await?)
    }

    const fn module_name(&self) -> &'static str {
        match self.module {
            ZohoModule::Leads => "Leads",
            ZohoModule::Contacts => "Contacts",
        }
    }

    /// The domain after `zohoapis.` and, except for Canada, after `accounts.zoho.`.
    const fn domain_suffix(&self) -> &'static str {
        match self.data_centre {
            DataCentre::Us => "com",
            DataCentre::Eu => "eu",
            DataCentre::In => "in",
            DataCentre::Au => "com.au",
            DataCentre::Jp => "jp",
            DataCentre::Cn => "com.cn",
            DataCentre::Sa => "sa",
            DataCentre::Ca => "ca",
        }
    }

    async fn send_request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&serde_json::Value>,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let path = [&["crm", "v8"], path].concat();
        let send_once = async |token: &AccessToken| {
            let usual = format!("https://www.zohoapis.{}", self.domain_suffix());
            let mut address = self.api_client.build_url(token.api_origin.as_deref().unwrap_or(&usual), &path)?;
            if !query.is_empty() {
                address.query_pairs_mut().extend_pairs(query);
            }
            let authorization = format!("Zoho-oauthtoken {}", token.value);
            let request = self.api_client.http.request(method.clone(), address).header("authorization", authorization);
            let request = if let Some(body) = body { request.json(body) } else { request };
            self.api_client.send_with_fallback(request, |status, body| Err(self.map_error_response(status, body))).await
        };
        self.access_tokens
            .call_with_token(self.crm_name, self.credential, now, async || self.request_token(now).await, send_once)
            .await
    }

    async fn request_token(&self, now: Timestamp) -> Result<AccessToken, ApiError> {
        let credential: ZohoCredential =
            serde_json::from_str(self.credential.expose()).map_err(|_| ApiError::MalformedSecret {
                secret: self.api_client.secret_name.to_owned(),
                expected: "a JSON object with client_id, client_secret and refresh_token",
            })?;
        let origin = match self.data_centre {
            DataCentre::Ca => "https://accounts.zohocloud.ca".to_owned(),
            _ => format!("https://accounts.zoho.{}", self.domain_suffix()),
        };
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("refresh_token", &credential.refresh_token)
            .append_pair("client_id", &credential.client_id)
            .append_pair("client_secret", &credential.client_secret)
            .append_pair("grant_type", "refresh_token")
            .finish();
        let address = self.api_client.build_url(&origin, &["oauth", "v2", "token"])?;
        let request =
            self.api_client.http.post(address).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let reply = self.api_client.send_with_fallback(request, |status, body| {
            // The body explains a refusal, whatever the status.
            if status.is_client_error() {
                Ok(ApiResponse { status: status.as_u16(), body: body.to_vec() })
            } else {
                Err(self.api_client.error_for_status(status))
            }
        });
        let reply = reply.await?;
        let token: ZohoToken<'_> = reply.parse_json()?;
        let Some(value) = token.access_token.owned_text() else {
            return Err(match token.error.text() {
                // Zoho's message for more than ten tokens in ten minutes.
                Some(error) if error.eq_ignore_ascii_case("access denied") => {
                    ApiError::Throttled { status: reply.status, retry_after: Some(TOKEN_LIMIT_PAUSE) }
                }
                // A refusal comes with a 200.
                Some(_) => ApiError::CredentialRejected { status: 401, secret: self.api_client.secret_name.to_owned() },
                None => ApiError::UnexpectedResponse { status: reply.status },
            });
        };
        let origin = token.api_domain.owned_text();
        if origin.as_deref().is_some_and(|origin| !is_zoho_origin(origin)) {
            return Err(ApiError::AddressNotAllowed("the token's API domain does not belong to Zoho"));
        }
        let seconds = token.expires_in.text().and_then(|seconds| seconds.parse().ok());
        Ok(AccessToken::new(value, origin, seconds, now))
    }

    fn map_error_response(&self, status: StatusCode, body: &[u8]) -> ApiError {
        let body = tellonce_core::json::parse_document(body).unwrap_or_default();
        let row = body.at_pointer("/data/0");
        let word = [body, row].into_iter().find_map(|answer| answer.at_pointer("/code").text());
        match (status.as_u16(), word.as_deref(), self.api_client.error_for_status(status)) {
            (status, Some("LIMIT_EXCEEDED" | "TOO_MANY_REQUESTS"), _) => {
                ApiError::Throttled { status, retry_after: None }
            }
            _ if is_about_parent(body) || is_about_parent(row) => ApiError::Gone,
            (_, _, ApiError::Refused { status, .. }) => ApiError::Refused { status, code: parse_reason_code(word) },
            (.., error) => error,
        }
    }
}

/// The body of a 2xx; none for 204, Zoho's status for an empty result.
fn parse_response(reply: &ApiResponse) -> Result<Option<ZohoResponse<'_>>, ApiError> {
    if reply.status == StatusCode::NO_CONTENT.as_u16() { Ok(None) } else { reply.parse_json().map(Some) }
}

/// The records of a page that have this number, with the time of their creation.
fn list_records_of(response: &ZohoResponse<'_>, phone: &Phone) -> Vec<(Option<Timestamp>, String)> {
    let of_person = |record: &RawJson<'_>| {
        let typed = ["/Mobile", "/Phone"].map(|field| record.at_pointer(field).text());
        let is_theirs = typed.into_iter().flatten().any(|typed| is_same_number(&typed, phone));
        let since = record.at_pointer("/Created_Time").as_time();
        record.at_pointer("/id").owned_text().filter(|_| is_theirs).map(|id| (since, id))
    };
    response.data.list_elements().unwrap_or_default().iter().filter_map(of_person).collect()
}

/// Whether an error or a row's result says that the record of a note does not exist. Zoho has no
/// separate code for it.
fn is_about_parent(answer: RawJson<'_>) -> bool {
    let has = |pointer: &str, part: &str| answer.at_pointer(pointer).text().is_some_and(|text| text.contains(part));
    has("/code", "INVALID_DATA")
        && (has("/message", "related id")
            || has("/details/api_name", "Parent_Id")
            || has("/details/json_path", "Parent_Id"))
}

/// The id of the written record. Each row has its own result, whatever the status.
fn parse_written_id(reply: &ApiResponse) -> Result<String, ApiError> {
    let unexpected = || ApiError::UnexpectedResponse { status: reply.status };
    let row = parse_response(reply)?.ok_or_else(unexpected)?.data.at_pointer("/0");
    let word = row.at_pointer("/code").text().ok_or_else(unexpected)?;
    match word.as_ref() {
        "SUCCESS" => row.at_pointer("/details/id").owned_text().ok_or_else(unexpected),
        // Another field must be unique, and an existing record has the same value.
        "DUPLICATE_DATA" => {
            let theirs =
                ["/details/id", "/details/duplicate_record/id"].map(|pointer| row.at_pointer(pointer).owned_text());
            theirs
                .into_iter()
                .flatten()
                .next()
                .ok_or(ApiError::Refused { status: reply.status, code: parse_reason_code(Some(word)) })
        }
        _ if is_about_parent(row) => Err(ApiError::Gone),
        _ => Err(ApiError::Refused { status: reply.status, code: parse_reason_code(Some(word)) }),
    }
}

/// Whether an origin belongs to Zoho's API, which receives our token.
fn is_zoho_origin(origin: &str) -> bool {
    Url::parse(origin).is_ok_and(|url| {
        let ends = |host: &str| API_HOST_SUFFIXES.iter().any(|ending| host.ends_with(ending));
        url.scheme() == "https" && url.port().is_none() && url.host_str().is_some_and(ends)
    })
}

#[cfg(test)]
mod tests;
