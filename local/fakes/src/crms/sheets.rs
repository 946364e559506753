//! The responses of Google's token endpoint and of Google Sheets.
//!
//! `services/descriptions/google_sheets.json` has the shapes. Behaviour:
//! <https://developers.google.com/identity/protocols/oauth2/service-account>,
//! <https://developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values/append>,
//! <https://developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values/get>.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use http::{Method, StatusCode};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use super::{records::FakeCrmRecords, tokens::TOKEN_LIFETIME_MS};
use crate::services::{FakeReply, FakeRequest};

/// The grant type of a token request with a signed claim.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/spreadsheets";
/// How far a claim's time may be ahead of the clock, in seconds. Google allows for different clocks
/// without a published limit.
const MAX_CLOCK_SKEW_S: i64 = 300;

/// Verifies a signed claim for a token of the service account. `credential` is the account's JSON
/// key. The error is Google's text.
pub(super) fn verify_grant(request: &FakeRequest, credential: Option<&str>, now_s: i64) -> Result<(), &'static str> {
    if request.form_value("grant_type").as_deref() != Some(JWT_BEARER) {
        return Err("grant_type is not that of a JWT");
    }
    let account: Value = credential.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let assertion = request.form_value("assertion").unwrap_or_default();
    let (signed, signature) = assertion.rsplit_once('.').ok_or("Invalid JWT: three parts are needed")?;
    let (head, claims) = signed.split_once('.').ok_or("Invalid JWT: three parts are needed")?;
    let read = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (head, claims) = (
        read(head).ok_or("Invalid JWT: its head is not JSON")?,
        read(claims).ok_or("Invalid JWT: its claims are not JSON")?,
    );
    if head["alg"] != "RS256" {
        return Err("Invalid JWT: alg must be RS256");
    }
    let email = account["client_email"].as_str().ok_or("Invalid JWT: no such service account")?;
    if claims["iss"] != email {
        return Err("Invalid JWT: no such service account");
    }
    let key = read_public_key(account["private_key"].as_str().unwrap_or_default())
        .ok_or("the account's key is unreadable")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "Invalid JWT Signature.")?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "Invalid JWT Signature.")?;
    if claims["aud"] != AUDIENCE {
        return Err("Invalid JWT: aud is not the token's address");
    }
    if !claims["scope"].as_str().is_some_and(|scopes| scopes.split(' ').any(|scope| scope == SCOPE)) {
        return Err("Invalid OAuth scope or ID token audience provided.");
    }
    let (Some(from), Some(until)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else {
        return Err("Invalid JWT: iat and exp are needed");
    };
    if until - from > 3600 || until <= now_s || from > now_s + MAX_CLOCK_SKEW_S {
        return Err("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.");
    }
    Ok(())
}

/// The public half of a private key in PEM.
fn read_public_key(pem: &str) -> Option<Vec<u8>> {
    let inner: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let pair = RsaKeyPair::from_pkcs8(&BASE64.decode(inner).ok()?).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}

pub(super) fn token_body(token: &str) -> Value {
    json!({"access_token": token, "expires_in": TOKEN_LIFETIME_MS / 1000 - 1, "token_type": "Bearer"})
}

pub(super) fn invalid_grant_body(description: &str) -> Value {
    json!({"error": "invalid_grant", "error_description": description})
}

fn error_body(code: u16, status: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message, "status": status}})
}

pub(super) fn unauthorized_body() -> Value {
    error_body(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
}

pub(super) fn invalid_argument(message: &str) -> FakeReply {
    FakeReply::json(StatusCode::BAD_REQUEST, &error_body(400, "INVALID_ARGUMENT", message))
}

pub(super) fn not_found_reply() -> FakeReply {
    FakeReply::json(StatusCode::NOT_FOUND, &error_body(404, "NOT_FOUND", "Requested entity was not found."))
}

/// A call to the Sheets API.
pub(super) struct SheetRequest {
    pub(super) spreadsheet: String,
    pub(super) range: SheetRange,
    /// The range as the caller wrote it.
    text: String,
    is_append: bool,
}

impl SheetRequest {
    /// Parses the path. Returns `None` for an unknown path.
    pub(super) fn from_request(request: &FakeRequest) -> Option<Self> {
        let steps = request.path_segments();
        let [_, _, spreadsheet, values, range] = steps.as_slice() else { return None };
        let (text, appends) = match (&request.method, range.strip_suffix(":append")) {
            (&Method::POST, Some(range)) => (range, true),
            (&Method::GET, None) => (range.as_str(), false),
            _ => return None,
        };
        let (spreadsheet, text) = (spreadsheet.clone(), text.to_owned());
        let range = SheetRange::parse(&text)?;
        (values == "values").then_some(Self { spreadsheet, range, text, is_append: appends })
    }

    pub(super) fn reply_to_request(
        &self,
        request: &FakeRequest,
        records: &mut FakeCrmRecords,
        now_ms: i64,
    ) -> FakeReply {
        if self.is_append { self.append_rows(request, records, now_ms) } else { self.get_values(request, records) }
    }
}

/// A range of a sheet. Columns and rows count from zero, and both ends are included.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SheetRange {
    pub(super) sheet: String,
    columns: (usize, usize),
    rows: (usize, usize),
}

impl SheetRange {
    /// `Sheet`, `Sheet!A:A`, `'A sheet'!A2:K`, `Sheet!B7`.
    fn parse(text: &str) -> Option<Self> {
        let (sheet, cells) = text.rsplit_once('!').map_or((text, None), |(sheet, cells)| (sheet, Some(cells)));
        let quoted = sheet.strip_prefix('\'').and_then(|sheet| sheet.strip_suffix('\''));
        let sheet = quoted.map_or_else(|| sheet.to_owned(), |sheet| sheet.replace("''", "'"));
        let whole = ((None, None), (None, None));
        let (from, to) = match cells {
            None => whole,
            Some(cells) => match cells.split_once(':') {
                Some((from, to)) => (parse_corner(from)?, parse_corner(to)?),
                None => (parse_corner(cells)?, parse_corner(cells)?),
            },
        };
        let columns = (from.0.unwrap_or(0), to.0.unwrap_or(usize::MAX));
        let rows = (from.1.unwrap_or(0), to.1.unwrap_or(usize::MAX));
        (!sheet.is_empty() && columns.0 <= columns.1 && rows.0 <= rows.1).then_some(Self { sheet, columns, rows })
    }
}

/// Column and row of `B7`, `B` or `7`, from zero.
fn parse_corner(text: &str) -> Option<(Option<usize>, Option<usize>)> {
    let split = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (letters, digits) = text.split_at(split);
    let column = letters.bytes().try_fold(0_usize, |column, letter| {
        letter.is_ascii_uppercase().then(|| column * 26 + usize::from(letter - b'A') + 1)
    })?;
    let row = if digits.is_empty() { None } else { Some(digits.parse::<usize>().ok()?.checked_sub(1)?) };
    (!text.is_empty()).then_some((column.checked_sub(1), row))
}

impl SheetRequest {
    fn append_rows(&self, request: &FakeRequest, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
        // Other options would evaluate a customer's text as a formula, or overwrite the cells below
        // the table.
        if request.query_value("valueInputOption") != Some("RAW")
            || request.query_value("insertDataOption") != Some("INSERT_ROWS")
        {
            return invalid_argument("the fake takes valueInputOption=RAW and insertDataOption=INSERT_ROWS");
        }
        let body = request.json_body();
        let rows = body["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        let first = records.entries.len() + 1;
        for row in rows {
            records.add_entry(None, row.clone(), now_ms);
        }
        let columns = rows.iter().filter_map(Value::as_array).map(Vec::len).max().unwrap_or_default();
        let cells: usize = rows.iter().filter_map(Value::as_array).map(Vec::len).sum();
        let rows_range = format!("{}!A{first}:{}{}", self.range.sheet, column_letter(columns), records.entries.len());
        let updates = json!({
            "spreadsheetId": self.spreadsheet, "updatedRange": rows_range, "updatedRows": rows.len(), "updatedColumns": columns,
            "updatedCells": cells,
        });
        FakeReply::json(StatusCode::OK, &json!({"spreadsheetId": self.spreadsheet, "updates": updates}))
    }

    fn get_values(&self, request: &FakeRequest, records: &FakeCrmRecords) -> FakeReply {
        let range = &self.range;
        let within = |place: usize, (from, to): (usize, usize)| (from..=to).contains(&place);
        let rows = records.entries.iter().enumerate().filter(|(place, _)| within(*place, range.rows));
        let mut rows: Vec<Vec<Value>> = rows
            .map(|(_, written)| {
                let cells = written.fields.as_array().into_iter().flatten().enumerate();
                cells.filter(|(place, _)| within(*place, range.columns)).map(|(_, cell)| formatted_cell(cell)).collect()
            })
            .collect();
        let by_columns = request.query_value("majorDimension") == Some("COLUMNS");
        if by_columns {
            let width = rows.iter().map(Vec::len).max().unwrap_or_default();
            let cell = |row: &Vec<Value>, column: usize| row.get(column).cloned().unwrap_or_else(|| json!(""));
            rows = (0..width).map(|column| rows.iter().map(|row| cell(row, column)).collect()).collect();
        }
        let mut response = json!({"range": self.text, "majorDimension": if by_columns { "COLUMNS" } else { "ROWS" }});
        // For an empty range Google leaves the field out and sends no empty list.
        if !rows.is_empty() {
            response["values"] = json!(rows);
        }
        FakeReply::json(StatusCode::OK, &response)
    }
}

/// The letter of the last of `columns` columns.
fn column_letter(columns: usize) -> char {
    u8::try_from(columns.clamp(1, 26) - 1).map_or('Z', |place| char::from(b'A' + place))
}

/// The formatted value of a cell, always a text.
fn formatted_cell(cell: &Value) -> Value {
    match cell {
        Value::Null => json!(""),
        Value::String(_) => cell.clone(),
        other => json!(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_sheets_writes_them() {
        let end = usize::MAX;
        for (text, sheet, columns, rows) in [
            ("Log", "Log", (0, end), (0, end)),
            ("Log!A:A", "Log", (0, 0), (0, end)),
            ("'My ''log'''!B2:AA", "My 'log'", (1, 26), (1, end)),
            ("Log!K7", "Log", (10, 10), (6, 6)),
            ("Log!2:3", "Log", (0, end), (1, 2)),
        ] {
            assert_eq!(SheetRange::parse(text), Some(SheetRange { sheet: sheet.to_owned(), columns, rows }), "{text}");
        }
        for text in ["", "Log!", "Log!a:b", "Log!A0", "Log!C:A", "Log!A:"] {
            assert_eq!(SheetRange::parse(text), None, "{text}");
        }
    }
}
