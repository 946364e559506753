//! The responses of Zoho CRM and of Zoho's token endpoint.
//!
//! Shapes: <https://www.zoho.com/crm/developer/docs/api/v8/refresh.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/search-records.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/upsert-records.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/get-notes.html>.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    records::{FakeCrmPerson, FakeCrmRecords, FakeCrmStoredEntry},
    tokens::TOKEN_LIFETIME_MS,
};
use crate::services::{FakeReply, FakeRequest};

/// Most records of one call, and of one page.
const LARGEST_CALL: usize = 100;
const LARGEST_PAGE: usize = 200;

/// Whether a token request has this credential.
pub(super) fn matches_credential(request: &FakeRequest, credential: Option<&str>) -> bool {
    let Some(credential) = credential.and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return false };
    let right =
        |name: &str| credential[name].is_string() && request.form_value(name).as_deref() == credential[name].as_str();
    request.form_value("grant_type").as_deref() == Some("refresh_token")
        && ["client_id", "client_secret", "refresh_token"].into_iter().all(right)
}

pub(super) fn token_body(token: &str) -> Value {
    json!({
        "access_token": token, "scope": "ZohoCRM.modules.ALL", "api_domain": "https://www.zohoapis.com",
        "token_type": "Bearer", "expires_in": TOKEN_LIFETIME_MS / 1000,
    })
}

/// Zoho reports a wrong credential with status 200.
pub(super) fn invalid_code_body() -> Value {
    json!({"error": "invalid_code"})
}

pub(super) fn too_many_tokens_body() -> Value {
    let description = "You have made too many requests continuously. Please try again after some time.";
    json!({"error": "Access Denied", "error_description": description, "status": "failure"})
}

pub(super) fn unauthorized_body() -> Value {
    error_body("INVALID_TOKEN", &json!({}), "invalid oauth token")
}

fn error_body(code: &str, details: &Value, message: &str) -> Value {
    json!({"code": code, "details": details, "message": message, "status": "error"})
}

fn error_reply(status: StatusCode, code: &str, details: &Value, message: &str) -> FakeReply {
    FakeReply::json(status, &error_body(code, details, message))
}

pub(super) fn reply_to_request(request: &FakeRequest, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    let steps = request.path_segments();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    match (&request.method, steps.as_slice()) {
        (&Method::GET, ["crm", "v8", module, "search"]) => search_records(request, module, records),
        (&Method::POST, ["crm", "v8", module, "upsert"]) => {
            upsert_records(&request.json_body(), module, records, now_ms)
        }
        (&Method::POST, ["crm", "v8", module, id, "Notes"]) => {
            create_notes(&request.json_body(), module, id, records, now_ms)
        }
        (&Method::GET, ["crm", "v8", module, id, "Notes"]) => list_notes(request, module, id, records),
        _ => error_reply(
            StatusCode::NOT_FOUND,
            "INVALID_URL_PATTERN",
            &json!({}),
            "Please check if the URL trying to access is a correct one",
        ),
    }
}

/// The field with a record's module.
const MODULE_FIELD: &str = "$module";

fn is_in_module(person: &FakeCrmPerson, module: &str) -> bool {
    // A person that a test added has no module.
    person.fields[MODULE_FIELD].is_null() || person.fields[MODULE_FIELD] == module
}

fn record_json(person: &FakeCrmPerson) -> Value {
    let mut record = person.fields.clone();
    if let Some(fields) = record.as_object_mut() {
        fields.remove(MODULE_FIELD);
    }
    record["id"] = json!(person.id);
    record["Created_Time"] = json!(format_time(person.created_ms));
    record
}

fn format_time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// A page of results, or 204 if the page is empty.
fn page_reply(request: &FakeRequest, found: &[Value]) -> FakeReply {
    let (number, size) =
        (request.query_number("page", 1).max(1), request.query_number("per_page", LARGEST_PAGE).clamp(1, LARGEST_PAGE));
    let data: Vec<&Value> = found.iter().skip((number - 1) * size).take(size).collect();
    if data.is_empty() {
        return FakeReply::empty(StatusCode::NO_CONTENT);
    }
    let more = number * size < found.len();
    let info = json!({"per_page": size, "count": data.len(), "page": number, "more_records": more});
    FakeReply::json(StatusCode::OK, &json!({"data": data, "info": info}))
}

/// Searches by `phone`, which matches the digits of any number of a record, or by `criteria`, of
/// which one has to match: `((Mobile:equals:+972…)or(PhoneRequest:equals:+972…))`.
fn search_records(request: &FakeRequest, module: &str, records: &FakeCrmRecords) -> FakeReply {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let holds = |person: &&FakeCrmPerson| -> bool {
        let fields = &person.fields;
        if let Some(phone) = request.query_value("phone") {
            return ["Phone", "Mobile"]
                .iter()
                .any(|name| fields[name].as_str().is_some_and(|own| digits(own) == digits(phone)));
        }
        let criteria = request.query_value("criteria").unwrap_or_default();
        criteria.split(['(', ')']).any(|one| {
            let mut parts = one.splitn(3, ':');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), Some("equals"), Some(value)) => fields[name] == value.trim_matches('"'),
                _ => false,
            }
        })
    };
    if request.query_value("phone").is_none() && request.query_value("criteria").is_none() {
        let details = json!({"expected_fields": ["criteria", "email", "phone", "word"]});
        return error_reply(
            StatusCode::BAD_REQUEST,
            "MANDATORY_NOT_FOUND",
            &details,
            "One of the expected parameter is missing",
        );
    }
    let found: Vec<Value> =
        records.people.iter().filter(|person| is_in_module(person, module)).filter(holds).map(record_json).collect();
    page_reply(request, &found)
}

fn upsert_records(body: &Value, module: &str, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    let rows = body["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() || rows.len() > LARGEST_CALL {
        return error_reply(
            StatusCode::BAD_REQUEST,
            "INVALID_DATA",
            &json!({"api_name": "data"}),
            "data holds 1 to 100 records",
        );
    }
    let checked: Vec<&str> =
        body["duplicate_check_fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let done: Vec<Value> =
        rows.iter().enumerate().map(|(index, row)| upsert_row(row, index, module, &checked, records, now_ms)).collect();
    let failed = done.iter().filter(|row| row["status"] == "error").count();
    let status = match failed {
        0 => StatusCode::OK,
        all if all == done.len() => StatusCode::BAD_REQUEST,
        _ => StatusCode::MULTI_STATUS,
    };
    FakeReply::json(status, &json!({"data": done}))
}

fn upsert_row(
    row: &Value,
    index: usize,
    module: &str,
    checked: &[&str],
    records: &mut FakeCrmRecords,
    now_ms: i64,
) -> Value {
    let needed: &[&str] = if module == "Leads" { &["Last_Name", "Company"] } else { &["Last_Name"] };
    let is_blank = |name: &&&str| row[**name].as_str().is_none_or(|text| text.trim().is_empty());
    let duplicate = |person: &FakeCrmPerson| {
        let mut same = checked.iter().filter(|name| row[**name].is_string() && person.fields[**name] == row[**name]);
        same.next().map(|name| (*name).to_owned())
    };
    let found = records.people.iter_mut().filter(|person| is_in_module(person, module)).find_map(|person| {
        let field = duplicate(person)?;
        Some((person, field))
    });
    let done = |action: &str, id: &str, field: Option<String>| {
        let details = json!({"Modified_Time": format_time(now_ms), "Created_Time": format_time(now_ms), "id": id});
        let message = format!("record {}", if action == "insert" { "added" } else { "updated" });
        json!({
            "code": "SUCCESS", "duplicate_field": field, "action": action, "details": details, "message": message,
            "status": "success",
        })
    };
    if let Some((person, field)) = found {
        for (name, value) in row.as_object().into_iter().flat_map(Map::iter) {
            person.fields[name] = value.clone();
        }
        return done("update", &person.id, Some(field));
    }
    if let Some(missing) = needed.iter().find(is_blank) {
        let details = json!({"api_name": missing, "json_path": format!("$.data[{index}].{missing}")});
        return error_body("MANDATORY_NOT_FOUND", &details, "required field not found");
    }
    let mut fields = row.clone();
    fields[MODULE_FIELD] = json!(module);
    done("insert", &records.add_person(fields, now_ms).id, None)
}

fn create_notes(body: &Value, module: &str, id: &str, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    if !records.find_person(id).is_some_and(|person| is_in_module(person, module)) {
        let message = "the id given seems to be invalid";
        return error_reply(StatusCode::BAD_REQUEST, "INVALID_DATA", &json!({"api_name": "Parent_Id"}), message);
    }
    let mut done = Vec::new();
    for row in body["data"].as_array().into_iter().flatten() {
        if row["Note_Content"].as_str().is_none_or(|content| content.trim().is_empty()) {
            let details = json!({"api_name": "Note_Content", "json_path": "$.data[0].Note_Content"});
            done.push(error_body("MANDATORY_NOT_FOUND", &details, "required field not found"));
            continue;
        }
        let FakeCrmStoredEntry { id, .. } = records.add_entry(Some(id), row.clone(), now_ms);
        done.push(json!({"code": "SUCCESS", "details": {"id": id}, "message": "record added", "status": "success"}));
    }
    let right = !done.is_empty() && done.iter().all(|row| row["status"] == "success");
    FakeReply::json(if right { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }, &json!({"data": done}))
}

/// The notes on a record, newest first, with the requested fields.
fn list_notes(request: &FakeRequest, module: &str, id: &str, records: &FakeCrmRecords) -> FakeReply {
    let Some(wanted) = request.query_value("fields") else {
        let message = "One of the expected parameter is missing";
        return error_reply(
            StatusCode::BAD_REQUEST,
            "REQUIRED_PARAM_MISSING",
            &json!({"param_name": "fields"}),
            message,
        );
    };
    if !records.find_person(id).is_some_and(|person| is_in_module(person, module)) {
        let message = "the related id given seems to be invalid";
        return error_reply(StatusCode::BAD_REQUEST, "INVALID_DATA", &json!({}), message);
    }
    let shown = |note: &FakeCrmStoredEntry| {
        let mut shown = json!({"id": note.id});
        for name in wanted.split(',') {
            shown[name] = if name == "id" { json!(note.id) } else { note.fields[name].clone() };
        }
        shown
    };
    page_reply(request, &records.entries_about(id).rev().map(shown).collect::<Vec<_>>())
}
