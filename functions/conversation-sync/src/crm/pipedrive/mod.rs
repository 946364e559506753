//! Pipedrive: a note on the person.
//!
//! Sources: developers.pipedrive.com/docs/api/v1 (Persons of v2, Notes of v1), and the vendor's own client
//! (github.com/pipedrive/client-nodejs).

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use shared::{contact::Phone, json::Raw, secret::Secret};

use super::{
    Item, MOST_PAGES,
    entry::{by_number, code, html, is_number, is_of},
};
use crate::call::{CallError, Caller, Reply};

/// How many of a number's last digits are searched for: what is the same in all ways of writing it. People write the rest with
/// a country's prefix, a zero or nothing. Shorter national numbers are searched for whole.
const LAST_DIGITS: usize = 9;
/// How many people a page of a search has; 500 are allowed.
const PEOPLE_A_PAGE: &str = "100";
/// How many notes a page has. 500 are allowed; a tenth stays small enough for us.
const NOTES_A_PAGE: &str = "50";

pub(super) struct Pipedrive<'a> {
    pub(super) caller: &'a Caller<'a>,
    pub(super) token: &'a Secret,
    /// The company's part of `{company}.pipedrive.com`.
    pub(super) company: &'a str,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    success: Raw<'a>,
    #[serde(borrow, default)]
    data: Raw<'a>,
    #[serde(borrow, default)]
    additional_data: Raw<'a>,
}

impl Pipedrive<'_> {
    /// The person with this number; of several the one with the smallest id, who is the oldest.
    pub(super) async fn find_person(&self, phone: &Phone) -> Result<Option<String>, CallError> {
        let national = phone.national();
        let last = national.get(national.len().saturating_sub(LAST_DIGITS)..).unwrap_or(national);
        let mut hits = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut address = self.address(&["api", "v2", "persons", "search"])?;
            address.query_pairs_mut().extend_pairs([("term", last), ("fields", "phone"), ("limit", PEOPLE_A_PAGE)]);
            if let Some(cursor) = &cursor {
                address.query_pairs_mut().append_pair("cursor", cursor);
            }
            let reply = self.call(self.request(Method::GET, address)).await?;
            let answer = Self::read(&reply)?;
            let items = answer.data.at("/items").elements().unwrap_or_default();
            hits.extend(items.iter().filter_map(|hit| {
                let phones = hit.at("/item/phones").elements().unwrap_or_default();
                let is_theirs = phones.iter().filter_map(|typed| typed.text()).any(|typed| is_number(&typed, phone));
                hit.at("/item/id").string().filter(|_| is_theirs)
            }));
            cursor = answer.additional_data.at("/next_cursor").string();
            if cursor.is_none() {
                return Ok(hits.into_iter().min_by(|one, other| by_number(one, other)));
            }
        }
        Err(CallError::Unexpected { status: 200 })
    }

    pub(super) async fn make_person(&self, phone: &Phone, name: Option<&str>) -> Result<String, CallError> {
        let name = name.map(str::trim).filter(|name| !name.is_empty()).unwrap_or(phone.expose());
        let body = json!({
            "name": name,
            "phones": [{ "value": phone.expose(), "primary": true, "label": "mobile" }],
        });
        let address = self.address(&["api", "v2", "persons"])?;
        Self::made(&self.call(self.request(Method::POST, address).json(&body)).await?)
    }

    /// Asks for the person's notes, the newest first.
    pub(super) async fn find_entry(&self, person: &str, item: &Item) -> Result<Option<String>, CallError> {
        let mut start = "0".to_owned();
        for _ in 0..MOST_PAGES {
            let mut address = self.address(&["api", "v1", "notes"])?;
            address.query_pairs_mut().extend_pairs([
                ("person_id", person),
                ("sort", "add_time DESC"),
                ("start", &start),
                ("limit", NOTES_A_PAGE),
            ]);
            let reply = self.call(self.request(Method::GET, address)).await?;
            let answer = Self::read(&reply)?;
            let notes = answer.data.elements().unwrap_or_default();
            let ours = |note: &&Raw<'_>| note.at("/content").text().is_some_and(|content| is_of(&content, item));
            if let Some(note) = notes.iter().find(ours) {
                return Ok(note.at("/id").string());
            }
            let more = answer.additional_data.at("/pagination");
            match more.at("/next_start").string() {
                Some(next) if more.at("/more_items_in_collection").is_true() => start = next,
                _ => return Ok(None),
            }
        }
        Err(CallError::Unexpected { status: 200 })
    }

    pub(super) async fn create_entry(&self, person: &str, item: &Item) -> Result<String, CallError> {
        // It takes no text here. Whatever is no number is no id of theirs, and must be looked up again.
        let person: u64 = person.parse().map_err(|_| CallError::Gone)?;
        let body = json!({
            "content": html(item),
            "person_id": person,
            // UTC, and without a zone.
            "add_time": item.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        });
        let address = self.address(&["api", "v1", "notes"])?;
        Self::made(&self.call(self.request(Method::POST, address).json(&body)).await?)
    }

    fn address(&self, path: &[&str]) -> Result<Url, CallError> {
        // The name stands in the host: what belongs in no host's name would lead the token elsewhere.
        if self.company.is_empty() || !self.company.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(CallError::Address("the company is no part of a host's name"));
        }
        self.caller.address(&format!("https://{}.pipedrive.com", self.company), path)
    }

    fn request(&self, method: Method, address: Url) -> RequestBuilder {
        self.caller.http.request(method, address).header("x-api-token", self.token.expose())
    }

    async fn call(&self, request: RequestBuilder) -> Result<Reply, CallError> {
        let refused = |status, body: &[u8]| Err(self.refused(status, body));
        self.caller.call_or(request, refused).await
    }

    /// A 2xx can say no all the same.
    fn read(reply: &Reply) -> Result<Answer<'_>, CallError> {
        let answer: Answer<'_> = reply.json()?;
        if answer.success.is_true() { Ok(answer) } else { Err(CallError::Unexpected { status: reply.status }) }
    }

    fn made(reply: &Reply) -> Result<String, CallError> {
        Self::read(reply)?.data.at("/id").string().ok_or(CallError::Unexpected { status: reply.status })
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> CallError {
        let body = shared::json::document(body).ok();
        match (status.as_u16(), self.caller.by_status(status)) {
            // The company's account is not paid for. That is mended, and until then nothing is lost.
            (status @ 402, _) => CallError::Throttled { status, retry_after: None },
            // Who goes on although told to wait is shut out for a while, by what stands before the API: that speaks no JSON.
            // Source: pipedrive.readme.io/docs/core-api-concepts-rate-limiting.
            (status @ 403, _) if body.is_none() => CallError::Throttled { status, retry_after: None },
            (_, CallError::Refused { status, .. }) => {
                let code = body.and_then(|body| code(body.at("/code").text()));
                CallError::Refused { status, code }
            }
            (_, error) => error,
        }
    }
}

#[cfg(test)]
mod tests;
