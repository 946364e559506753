//! Zoho CRM: a note on the lead or contact.
//!
//! The credential needs the scopes `ZohoCRM.modules.ALL` and `ZohoSearch.securesearch.READ`.
//!
//! Sources: zoho.com/crm/developer/docs/api/v8: multi-dc.html, search-records.html, upsert-records.html, create-notes.html,
//! get-notes.html, status-codes.html; zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html.

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode, Url, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use shared::{
    client_config::{DataCentre, ZohoModule},
    contact::Phone,
    json::Raw,
    secret::Secret,
};

use super::{
    Item, MOST_PAGES,
    entry::{code, is_number, is_of, oldest, plain, split_name},
    tokens::{AccessToken, Tokens},
};
use crate::call::{CallError, Caller, Reply};

/// How many records or notes a page has. 200 are allowed; a quarter stays small enough for us.
const A_PAGE: &str = "50";
/// How many characters of a first and of a last name a record takes.
const FIRST_NAME: usize = 40;
const LAST_NAME: usize = 80;
/// A lead must have a company, and a person on a phone has none that we know.
const NO_COMPANY: &str = "-";
/// For so long Zoho makes no more tokens for who asked for too many.
const NO_MORE_TOKENS: SignedDuration = SignedDuration::from_mins(10);
/// The endings of the hosts that its API is at.
const HOSTS: [&str; 9] = [
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

pub(super) struct Zoho<'a> {
    pub(super) caller: &'a Caller<'a>,
    pub(super) credential: &'a Secret,
    pub(super) tokens: &'a Tokens,
    /// The CRM's name in `client.toml`.
    pub(super) crm: &'a str,
    pub(super) data_centre: DataCentre,
    pub(super) module: ZohoModule,
}

#[derive(Deserialize)]
struct Credential {
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

#[derive(Deserialize)]
struct NewToken<'a> {
    #[serde(borrow, default)]
    access_token: Raw<'a>,
    #[serde(borrow, default)]
    api_domain: Raw<'a>,
    #[serde(borrow, default)]
    expires_in: Raw<'a>,
    #[serde(borrow, default)]
    error: Raw<'a>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    data: Raw<'a>,
    #[serde(borrow, default)]
    info: Raw<'a>,
}

impl Zoho<'_> {
    pub(super) async fn person(&self, phone: &Phone, name: Option<&str>, now: Timestamp) -> Result<String, CallError> {
        match self.find_person(phone, now).await? {
            Some(id) => Ok(id),
            None => self.make_person(phone, name, now).await,
        }
    }

    /// The record that has this number in one of its fields for numbers; of several the oldest. What is compared there is
    /// the number as it was typed, so a record with another way of writing it is not found.
    async fn find_person(&self, phone: &Phone, now: Timestamp) -> Result<Option<String>, CallError> {
        let mut hits = Vec::new();
        for page in 1..=MOST_PAGES {
            let page = page.to_string();
            let query = [
                ("phone", phone.expose()),
                ("fields", "Created_Time,Mobile,Phone"),
                ("page", &page),
                ("per_page", A_PAGE),
            ];
            let reply = self.call(Method::GET, &[self.module(), "search"], &query, None, now).await?;
            let Some(answer) = read(&reply)? else { break };
            for record in answer.data.elements().unwrap_or_default() {
                let typed = ["/Mobile", "/Phone"].map(|field| record.at(field).text());
                if typed.into_iter().flatten().any(|typed| is_number(&typed, phone)) {
                    let since = record.at("/Created_Time").time();
                    hits.extend(record.at("/id").string().map(|id| (since, id)));
                }
            }
            if !answer.info.at("/more_records").is_true() {
                break;
            }
        }
        Ok(oldest(hits))
    }

    /// An upsert, since a search finds a new record only after a while: who was made moments ago is met again by the number.
    /// Whoever else makes a record of this number in those moments has its name overwritten; Zoho offers nothing narrower.
    async fn make_person(&self, phone: &Phone, name: Option<&str>, now: Timestamp) -> Result<String, CallError> {
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        let (first, last) = split_name(name.unwrap_or(phone.expose()));
        let up_to = |most: usize, name: &str| name.chars().take(most).collect::<String>();
        let mut record = json!({ "Last_Name": up_to(LAST_NAME, last), "Mobile": phone.expose() });
        if let Some(first) = first {
            record["First_Name"] = up_to(FIRST_NAME, first).into();
        }
        if self.module == ZohoModule::Leads {
            record["Company"] = NO_COMPANY.into();
        }
        // No trigger: the client's workflows are for people who came by themselves.
        let body = json!({ "data": [record], "duplicate_check_fields": ["Mobile"], "trigger": [] });
        let reply = self.call(Method::POST, &[self.module(), "upsert"], &[], Some(&body), now).await?;
        made(&reply)
    }

    /// Asks for the record's notes.
    pub(super) async fn find_entry(
        &self,
        person: &str,
        item: &Item,
        now: Timestamp,
    ) -> Result<Option<String>, CallError> {
        for page in 1..=MOST_PAGES {
            let page = page.to_string();
            let query = [("fields", "Note_Content"), ("page", &page), ("per_page", A_PAGE)];
            let reply = self.call(Method::GET, &[self.module(), person, "Notes"], &query, None, now).await?;
            let Some(answer) = read(&reply)? else { return Ok(None) };
            let notes = answer.data.elements().unwrap_or_default();
            let ours = |note: &&Raw<'_>| note.at("/Note_Content").text().is_some_and(|content| is_of(&content, item));
            if let Some(note) = notes.iter().find(ours) {
                return Ok(note.at("/id").string());
            }
            if !answer.info.at("/more_records").is_true() {
                return Ok(None);
            }
        }
        Err(CallError::Unexpected { status: 200 })
    }

    pub(super) async fn create_entry(&self, person: &str, item: &Item, now: Timestamp) -> Result<String, CallError> {
        let body = json!({ "data": [{ "Note_Title": "WhatsApp", "Note_Content": plain(item) }] });
        made(&self.call(Method::POST, &[self.module(), person, "Notes"], &[], Some(&body), now).await?)
    }

    const fn module(&self) -> &'static str {
        match self.module {
            ZohoModule::Leads => "Leads",
            ZohoModule::Contacts => "Contacts",
        }
    }

    /// What comes behind `zohoapis.` and, but for Canada, `accounts.zoho.`.
    const fn top(&self) -> &'static str {
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

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&serde_json::Value>,
        now: Timestamp,
    ) -> Result<Reply, CallError> {
        let path = [&["crm", "v8"], path].concat();
        let once = async |token: &AccessToken| {
            let usual = format!("https://www.zohoapis.{}", self.top());
            let mut address = self.caller.address(token.origin.as_deref().unwrap_or(&usual), &path)?;
            if !query.is_empty() {
                address.query_pairs_mut().extend_pairs(query);
            }
            let authorization = format!("Zoho-oauthtoken {}", token.value);
            let request = self.caller.http.request(method.clone(), address).header("authorization", authorization);
            let request = if let Some(body) = body { request.json(body) } else { request };
            self.caller.call_or(request, |status, body| Err(self.refused(status, body))).await
        };
        self.tokens.call(self.crm, self.credential, now, async || self.new_token(now).await, once).await
    }

    async fn new_token(&self, now: Timestamp) -> Result<AccessToken, CallError> {
        let credential: Credential =
            serde_json::from_str(self.credential.expose()).map_err(|_| CallError::Malformed {
                secret: self.caller.secret.to_owned(),
                what: "a JSON object with client_id, client_secret and refresh_token",
            })?;
        let origin = match self.data_centre {
            DataCentre::Ca => "https://accounts.zohocloud.ca".to_owned(),
            _ => format!("https://accounts.zoho.{}", self.top()),
        };
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("refresh_token", &credential.refresh_token)
            .append_pair("client_id", &credential.client_id)
            .append_pair("client_secret", &credential.client_secret)
            .append_pair("grant_type", "refresh_token")
            .finish();
        let address = self.caller.address(&origin, &["oauth", "v2", "token"])?;
        let request =
            self.caller.http.post(address).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let reply = self.caller.call_or(request, |status, body| {
            // What it says of a refusal stands in the body, whatever the status.
            if status.is_client_error() {
                Ok(Reply { status: status.as_u16(), body: body.to_vec() })
            } else {
                Err(self.caller.by_status(status))
            }
        });
        let reply = reply.await?;
        let token: NewToken<'_> = reply.json()?;
        let Some(value) = token.access_token.string() else {
            return Err(match token.error.text() {
                // Its words for more than ten in ten minutes.
                Some(error) if error.eq_ignore_ascii_case("access denied") => {
                    CallError::Throttled { status: reply.status, retry_after: Some(NO_MORE_TOKENS) }
                }
                // A refusal comes with a 200.
                Some(_) => CallError::Credential { status: 401, secret: self.caller.secret.to_owned() },
                None => CallError::Unexpected { status: reply.status },
            });
        };
        let origin = token.api_domain.string();
        if origin.as_deref().is_some_and(|origin| !is_zohos(origin)) {
            return Err(CallError::Address("the token's API domain is none of Zoho's"));
        }
        let seconds = token.expires_in.text().and_then(|seconds| seconds.parse().ok());
        Ok(AccessToken::new(value, origin, seconds, now))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> CallError {
        let body = shared::json::document(body).unwrap_or_default();
        let row = body.at("/data/0");
        let field = |name: &str| body.at(name).text().or_else(|| row.at(name).text());
        let (word, message) = (field("/code"), field("/message").unwrap_or_default());
        match (status.as_u16(), word.as_deref(), self.caller.by_status(status)) {
            (status, Some("LIMIT_EXCEEDED" | "TOO_MANY_REQUESTS"), _) => {
                CallError::Throttled { status, retry_after: None }
            }
            // Of a note on somebody who was deleted: there is no word of its own for it.
            (_, Some("INVALID_DATA"), _) if message.contains("related id") => CallError::Gone,
            (_, _, CallError::Refused { status, .. }) => CallError::Refused { status, code: code(word) },
            (.., error) => error,
        }
    }
}

/// The body of a 2xx; none if there was nothing to give, which has a status of its own.
fn read(reply: &Reply) -> Result<Option<Answer<'_>>, CallError> {
    if reply.status == StatusCode::NO_CONTENT.as_u16() { Ok(None) } else { reply.json().map(Some) }
}

/// The id of what was written. Each row has a result of its own, whatever the status.
fn made(reply: &Reply) -> Result<String, CallError> {
    let unexpected = || CallError::Unexpected { status: reply.status };
    let row = read(reply)?.ok_or_else(unexpected)?.data.at("/0");
    let word = row.at("/code").text().ok_or_else(unexpected)?;
    match word.as_ref() {
        "SUCCESS" => row.at("/details/id").string().ok_or_else(unexpected),
        // Another field than the number has to be unique, and somebody has the same in it.
        "DUPLICATE_DATA" => {
            let theirs = ["/details/id", "/details/duplicate_record/id"].map(|pointer| row.at(pointer).string());
            theirs
                .into_iter()
                .flatten()
                .next()
                .ok_or(CallError::Refused { status: reply.status, code: code(Some(word)) })
        }
        _ => Err(CallError::Refused { status: reply.status, code: code(Some(word)) }),
    }
}

/// Whether an origin is of Zoho's API: our token goes there.
fn is_zohos(origin: &str) -> bool {
    Url::parse(origin).is_ok_and(|url| {
        let ends = |host: &str| HOSTS.iter().any(|ending| host.ends_with(ending));
        url.scheme() == "https" && url.port().is_none() && url.host_str().is_some_and(ends)
    })
}

#[cfg(test)]
mod tests;
