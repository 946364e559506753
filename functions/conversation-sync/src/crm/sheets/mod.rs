//! Google Sheets: a row for each message.
//!
//! The columns are reference, time (UTC), line, conversation, phone, name, direction, kind and text. Everything is
//! written as it is (`RAW`): nothing that a customer writes becomes a formula, and a number keeps its plus.
//!
//! Sources: developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values (append, get),
//! developers.google.com/identity/protocols/oauth2/service-account.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64_URL},
};
use jiff::Timestamp;
use reqwest::{RequestBuilder, StatusCode, Url, header::CONTENT_TYPE};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde::Deserialize;
use serde_json::json;
use shared::{
    json::{self, Raw},
    secret::Secret,
};

use super::{
    Item, MOST_PAGES,
    entry::{code, text},
    tokens::{AccessToken, Tokens},
};
use crate::call::{CallError, Caller, Reply};

const ORIGIN: &str = "https://sheets.googleapis.com";
const TOKENS: &str = "https://oauth2.googleapis.com";
/// The one address that a service account's key is used at, whatever the key's file says.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/spreadsheets";
/// How long what we sign is valid, in seconds: the longest there may be.
const SIGNED_FOR: i64 = 3600;
/// How many rows are looked at in one call: their references stay below what we read of an answer.
const ROWS_AT_ONCE: usize = 10_000;

pub(super) struct Sheet<'a> {
    pub(super) caller: &'a Caller<'a>,
    pub(super) credential: &'a Secret,
    pub(super) tokens: &'a Tokens,
    /// The CRM's name in `client.toml`.
    pub(super) crm: &'a str,
    pub(super) spreadsheet: &'a str,
    /// The sheet's name in it.
    pub(super) tab: &'a str,
}

#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: String,
}

#[derive(Deserialize)]
struct NewToken<'a> {
    #[serde(borrow)]
    access_token: Raw<'a>,
    #[serde(borrow, default)]
    expires_in: Raw<'a>,
}

#[derive(Deserialize)]
struct Column<'a> {
    /// Absent if all cells are empty.
    #[serde(borrow, default)]
    values: Raw<'a>,
}

#[derive(Deserialize)]
struct Appended<'a> {
    #[serde(borrow, default)]
    updates: Raw<'a>,
}

impl Sheet<'_> {
    /// Looks through the first column. Rows are appended where the table at the sheet's top ends, so a part that is not full is
    /// the last. The reference is the row's id: its number changes when somebody sorts.
    pub(super) async fn find_entry(&self, item: &Item, now: Timestamp) -> Result<Option<String>, CallError> {
        for part in 0..MOST_PAGES {
            let first = part * ROWS_AT_ONCE + 1;
            let range = self.range(&format!("A{first}:A{}", first + ROWS_AT_ONCE - 1));
            let address = self.address(&range, &[("majorDimension", "COLUMNS")])?;
            let column = self.call(now, || self.caller.http.get(address.clone())).await;
            let reply = match column {
                Ok(reply) => reply,
                Err(CallError::Refused { code: Some(code), .. }) if part > 0 && code == BEYOND => return Ok(None),
                Err(error) => return Err(error),
            };
            let column: Column<'_> = reply.json()?;
            let cells = column.values.at("/0").elements().unwrap_or_default();
            if cells.iter().any(|cell| cell.text().is_some_and(|cell| cell == item.reference.trim())) {
                return Ok(Some(item.reference.clone()));
            }
            if cells.len() < ROWS_AT_ONCE {
                return Ok(None);
            }
        }
        Err(CallError::Unexpected { status: 200 })
    }

    pub(super) async fn create_entry(&self, item: &Item, now: Timestamp) -> Result<String, CallError> {
        let row = json!([
            item.reference,
            item.at.to_string(),
            item.line,
            item.conversation.as_deref().unwrap_or_default(),
            item.phone.expose(),
            item.name.as_deref().unwrap_or_default(),
            item.direction.name(),
            item.kind,
            text(item).unwrap_or_default(),
        ]);
        let body = json!({ "majorDimension": "ROWS", "values": [row] });
        let query = [("valueInputOption", "RAW"), ("insertDataOption", "INSERT_ROWS")];
        let address = self.address(&format!("{}:append", self.range("A1")), &query)?;
        let reply = self.call(now, || self.caller.http.post(address.clone()).json(&body)).await?;
        let appended: Appended<'_> = reply.json()?;
        match appended.updates.at("/updatedRows").text().as_deref() {
            Some("1") => Ok(item.reference.clone()),
            _ => Err(CallError::Unexpected { status: reply.status }),
        }
    }

    /// Cells of the sheet in A1 notation, where a name stands in quotes and a quote in it is doubled.
    fn range(&self, cells: &str) -> String {
        format!("'{}'!{cells}", self.tab.replace('\'', "''"))
    }

    fn address(&self, range: &str, query: &[(&str, &str)]) -> Result<Url, CallError> {
        let mut address = self.caller.address(ORIGIN, &["v4", "spreadsheets", self.spreadsheet, "values", range])?;
        address.query_pairs_mut().extend_pairs(query).append_pair("prettyPrint", "false");
        Ok(address)
    }

    async fn call(&self, now: Timestamp, request: impl Fn() -> RequestBuilder) -> Result<Reply, CallError> {
        let once = async |token: &AccessToken| {
            let request = request().bearer_auth(&token.value);
            self.caller.call_or(request, |status, body| Err(self.refused(status, body))).await
        };
        self.tokens.call(self.crm, self.credential, now, async || self.new_token(now).await, once).await
    }

    async fn new_token(&self, now: Timestamp) -> Result<AccessToken, CallError> {
        let malformed = || CallError::Malformed {
            secret: self.caller.secret.to_owned(),
            what: "the JSON key of a service account, with an RSA key and Google's token address",
        };
        let account: ServiceAccount = serde_json::from_str(self.credential.expose()).map_err(|_| malformed())?;
        let assertion = assertion(&account, now).ok_or_else(malformed)?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion)
            .finish();
        let address = self.caller.address(TOKENS, &["token"])?;
        let request =
            self.caller.http.post(address).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let reply = self.caller.call_or(request, |status, body| {
            // `invalid_grant`, `invalid_client`: the key was deleted, or the account.
            let word = json::document(body).ok().and_then(|body| body.at("/error").string());
            Err(match self.caller.by_status(status) {
                CallError::Refused { status, .. } if word.is_some_and(|word| word.starts_with("invalid_")) => {
                    CallError::Credential { status, secret: self.caller.secret.to_owned() }
                }
                error => error,
            })
        });
        let reply = reply.await?;
        let token: NewToken<'_> = reply.json()?;
        let value = token.access_token.string().ok_or(CallError::Unexpected { status: reply.status })?;
        let seconds = token.expires_in.text().and_then(|seconds| seconds.parse().ok());
        Ok(AccessToken::new(value, None, seconds, now))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> CallError {
        let error = json::document(body).unwrap_or_default().at("/error");
        let word = error.at("/status").text();
        let message = error.at("/message").text().unwrap_or_default();
        let reasons = ["/errors/0/reason", "/details/0/reason"].map(|pointer| error.at(pointer).text());
        let too_many =
            word.as_deref() == Some("RESOURCE_EXHAUSTED") || reasons.iter().flatten().any(|word| is_quota(word));
        match (status.as_u16(), self.caller.by_status(status)) {
            // Older quotas answer so.
            (status @ 403, _) if too_many => CallError::Throttled { status, retry_after: None },
            // What somebody renamed or deleted is put back, or `client.toml` changed. Until then nothing is lost.
            (404, _) => CallError::Address("there is no such spreadsheet"),
            (400, _) if message.starts_with("Unable to parse range") => {
                CallError::Address("the spreadsheet has no sheet of that name")
            }
            (status @ 400, _) if message.contains("exceeds grid limits") => {
                CallError::Refused { status, code: Some(BEYOND.to_owned()) }
            }
            (_, CallError::Refused { status, .. }) => CallError::Refused { status, code: code(word) },
            (_, error) => error,
        }
    }
}

/// Our word for rows that the sheet does not have. Google has none but a sentence.
const BEYOND: &str = "beyond-the-grid";

/// Whether a reason is one of too many calls. Source: developers.google.com, "Resolve errors" of several APIs.
fn is_quota(reason: &str) -> bool {
    let reason = reason.replace('_', "").to_ascii_lowercase();
    ["ratelimitexceeded", "userratelimitexceeded", "quotaexceeded", "dailylimitexceeded"].contains(&reason.as_str())
}

/// What a token is asked for with: who we are, signed with the account's key (RFC 7523). None if the key is not usable.
fn assertion(account: &ServiceAccount, now: Timestamp) -> Option<String> {
    if account.token_uri != TOKEN_URI {
        return None;
    }
    let base64: String = account.private_key.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_pkcs8(&BASE64.decode(base64.trim()).ok()?).ok()?;
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = &account.private_key_id {
        header["kid"] = id.as_str().into();
    }
    let issued = now.as_second();
    let claims = json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": TOKEN_URI,
        "iat": issued,
        "exp": issued + SIGNED_FOR,
    });
    let encode = |part: &serde_json::Value| BASE64_URL.encode(part.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
    Some(format!("{signed}.{}", BASE64_URL.encode(signature)))
}

#[cfg(test)]
mod tests;
