//! Google Sheets: a row for each message.
//!
//! The columns are reference, time (UTC), line, conversation, phone, name, direction, kind and
//! text. Everything is written as it is (`RAW`): no customer text becomes a formula, and a number
//! keeps its plus. A text that would be a formula in an exported file gets an apostrophe.
//!
//! Sources: developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values
//! (append, get), developers.google.com/identity/protocols/oauth2/service-account.

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
use tellonce_core::{
    json::{self, RawJson},
    secret::Secret,
};

use super::{
    CrmEntry, MAX_PAGES,
    access_tokens::{AccessToken, AccessTokenStore},
    entry::{inert_cell, parse_reason_code, printable_text},
};
use crate::api_client::{ApiClient, ApiError, ApiResponse};

const API_ORIGIN: &str = "https://sheets.googleapis.com";
const TOKEN_ORIGIN: &str = "https://oauth2.googleapis.com";
/// The only address that receives assertions, whatever the key's file names.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/spreadsheets";
/// How long an assertion is valid, in seconds: the maximum.
const ASSERTION_SECONDS: i64 = 3600;
/// The rows of one read: their references stay below our size limit.
const ROWS_PER_READ: usize = 10_000;

pub(super) struct SheetsClient<'a> {
    pub(super) api_client: &'a ApiClient<'a>,
    pub(super) credential: &'a Secret,
    pub(super) access_tokens: &'a AccessTokenStore,
    /// The CRM's name in `client.toml`.
    pub(super) crm_name: &'a str,
    pub(super) spreadsheet: &'a str,
    /// The sheet's name in it.
    pub(super) sheet_name: &'a str,
}

#[derive(Deserialize)]
struct GoogleServiceAccount {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: String,
}

#[derive(Deserialize)]
struct GoogleToken<'a> {
    #[serde(borrow)]
    access_token: RawJson<'a>,
    #[serde(borrow, default)]
    expires_in: RawJson<'a>,
}

#[derive(Deserialize)]
struct SheetColumn<'a> {
    /// Absent if all cells are empty.
    #[serde(borrow, default)]
    values: RawJson<'a>,
}

#[derive(Deserialize)]
struct SheetsAppendResponse<'a> {
    #[serde(borrow, default)]
    updates: RawJson<'a>,
}

impl SheetsClient<'_> {
    /// Searches the first column. Rows are appended where the table at the sheet's top ends, so a
    /// part that is not full is the last. The reference is the row's id: its number changes with
    /// sorting.
    pub(super) async fn find_entry(&self, entry: &CrmEntry, now: Timestamp) -> Result<Option<String>, ApiError> {
        for part in 0..MAX_PAGES {
            let first = part * ROWS_PER_READ + 1;
            let range = self.build_range(&format!("A{first}:A{}", first + ROWS_PER_READ - 1));
            let address = self.build_url(&range, &[("majorDimension", "COLUMNS")])?;
            let column = self.send_request(now, || self.api_client.http.get(address.clone())).await;
            let reply = match column {
                Ok(reply) => reply,
                Err(ApiError::Refused { code: Some(code), .. }) if part > 0 && code == BEYOND_GRID => return Ok(None),
                Err(error) => return Err(error),
            };
            let column: SheetColumn<'_> = reply.parse_json()?;
            let cells = column.values.at_pointer("/0").list_elements().unwrap_or_default();
            if cells.iter().any(|cell| cell.text().is_some_and(|cell| cell == entry.reference.trim())) {
                return Ok(Some(entry.reference.clone()));
            }
            if cells.len() < ROWS_PER_READ {
                return Ok(None);
            }
        }
        Err(ApiError::UnexpectedResponse { status: 200 })
    }

    pub(super) async fn create_entry(&self, entry: &CrmEntry, now: Timestamp) -> Result<String, ApiError> {
        let row = json!([
            entry.reference,
            entry.sent_at.to_string(),
            entry.line,
            inert_cell(entry.conversation_id.as_deref().unwrap_or_default()),
            // A verified number: its plus starts no formula that does anything.
            entry.phone.expose(),
            inert_cell(entry.name.as_deref().unwrap_or_default()),
            entry.direction.name(),
            inert_cell(&entry.kind),
            inert_cell(&printable_text(entry).unwrap_or_default()),
        ]);
        let body = json!({ "majorDimension": "ROWS", "values": [row] });
        let query = [("valueInputOption", "RAW"), ("insertDataOption", "INSERT_ROWS")];
        let address = self.build_url(&format!("{}:append", self.build_range("A1")), &query)?;
        let reply = self.send_request(now, || self.api_client.http.post(address.clone()).json(&body)).await?;
        let appended: SheetsAppendResponse<'_> = reply.parse_json()?;
        match appended.updates.at_pointer("/updatedRows").text().as_deref() {
            Some("1") => Ok(entry.reference.clone()),
            _ => Err(ApiError::UnexpectedResponse { status: reply.status }),
        }
    }

    /// Cells of the sheet in A1 notation, where a name stands in quotes and a quote in it is
    /// doubled.
    fn build_range(&self, cells: &str) -> String {
        format!("'{}'!{cells}", self.sheet_name.replace('\'', "''"))
    }

    fn build_url(&self, range: &str, query: &[(&str, &str)]) -> Result<Url, ApiError> {
        let mut address =
            self.api_client.build_url(API_ORIGIN, &["v4", "spreadsheets", self.spreadsheet, "values", range])?;
        address.query_pairs_mut().extend_pairs(query).append_pair("prettyPrint", "false");
        Ok(address)
    }

    async fn send_request(
        &self,
        now: Timestamp,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<ApiResponse, ApiError> {
        let once = async |token: &AccessToken| {
            let request = request().bearer_auth(&token.value);
            self.api_client.send_with_fallback(request, |status, body| Err(self.map_error_response(status, body))).await
        };
        self.access_tokens
            .call_with_token(self.crm_name, self.credential, now, async || self.request_token(now).await, once)
            .await
    }

    async fn request_token(&self, now: Timestamp) -> Result<AccessToken, ApiError> {
        let malformed = || ApiError::MalformedSecret {
            secret: self.api_client.secret_name.to_owned(),
            expected: "the JSON key of a service account, with an RSA key and Google's token address",
        };
        let account: GoogleServiceAccount = serde_json::from_str(self.credential.expose()).map_err(|_| malformed())?;
        let assertion = build_assertion(&account, now).ok_or_else(malformed)?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion)
            .finish();
        let address = self.api_client.build_url(TOKEN_ORIGIN, &["token"])?;
        let request =
            self.api_client.http.post(address).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let reply = self.api_client.send_with_fallback(request, |status, body| {
            // `invalid_grant_body`, `invalid_client`: the key was deleted, or the account.
            let word = json::parse_document(body).ok().and_then(|body| body.at_pointer("/error").owned_text());
            Err(match self.api_client.error_for_status(status) {
                ApiError::Refused { status, .. } if word.is_some_and(|word| word.starts_with("invalid_")) => {
                    ApiError::CredentialRejected { status, secret: self.api_client.secret_name.to_owned() }
                }
                error => error,
            })
        });
        let reply = reply.await?;
        let token: GoogleToken<'_> = reply.parse_json()?;
        let value = token.access_token.owned_text().ok_or(ApiError::UnexpectedResponse { status: reply.status })?;
        let seconds = token.expires_in.text().and_then(|seconds| seconds.parse().ok());
        Ok(AccessToken::new(value, None, seconds, now))
    }

    fn map_error_response(&self, status: StatusCode, body: &[u8]) -> ApiError {
        let error = json::parse_document(body).unwrap_or_default().at_pointer("/error");
        let word = error.at_pointer("/status").text();
        let message = error.at_pointer("/message").text().unwrap_or_default();
        let reasons = ["/errors/0/reason", "/details/0/reason"].map(|pointer| error.at_pointer(pointer).text());
        let too_many =
            word.as_deref() == Some("RESOURCE_EXHAUSTED") || reasons.iter().flatten().any(|word| is_quota_reason(word));
        match (status.as_u16(), self.api_client.error_for_status(status)) {
            // Older quotas reply like this.
            (status @ 403, _) if too_many => ApiError::Throttled { status, retry_after: None },
            // Until the sheet is restored or `client.toml` is changed, nothing is lost.
            (404, _) => ApiError::AddressNotAllowed("no such spreadsheet"),
            (400, _) if message.starts_with("Unable to parse range") => {
                ApiError::AddressNotAllowed("the spreadsheet has no sheet of that name")
            }
            (status @ 400, _) if message.contains("exceeds grid limits") => {
                ApiError::Refused { status, code: Some(BEYOND_GRID.to_owned()) }
            }
            (_, ApiError::Refused { status, .. }) => ApiError::Refused { status, code: parse_reason_code(word) },
            (_, error) => error,
        }
    }
}

/// Our code for rows that the sheet does not have. Google only has a sentence for it.
const BEYOND_GRID: &str = "beyond-the-grid";

/// Whether a reason code means too many calls. Source: developers.google.com, "Resolve errors" of
/// several APIs.
fn is_quota_reason(reason: &str) -> bool {
    let reason = reason.replace('_', "").to_ascii_lowercase();
    ["ratelimitexceeded", "userratelimitexceeded", "quotaexceeded", "dailylimitexceeded"].contains(&reason.as_str())
}

/// The signed assertion that requests a token (RFC 7523). None if the key is not usable.
fn build_assertion(account: &GoogleServiceAccount, now: Timestamp) -> Option<String> {
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
        "exp": issued + ASSERTION_SECONDS,
    });
    let encode = |part: &serde_json::Value| BASE64_URL.encode(part.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
    Some(format!("{signed}.{}", BASE64_URL.encode(signature)))
}

#[cfg(test)]
mod tests;
