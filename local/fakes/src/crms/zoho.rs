//! The responses of Zoho CRM and of Zoho's token endpoint.
//!
//! `services/descriptions/zoho.json` has the shapes. Behaviour:
//! <https://www.zoho.com/crm/developer/docs/api/v8/refresh.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/search-records.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/COQL-Overview.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/insert-records.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/create-notes.html>. A search finds a new record
//! only after a while. A query (COQL) finds it at once.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    records::{FakeCrmPerson, FakeCrmRecords, FakeCrmStoredEntry},
    tokens::TOKEN_LIFETIME_MS,
};
use crate::services::{DescriptionViolation, FakeReply, FakeRequest};

/// What a token may do.
const SCOPES: &str = "ZohoCRM.modules.ALL ZohoCRM.coql.READ ZohoSearch.securesearch.READ";
/// The records of a page, unless the request says how many.
const DEFAULT_PAGE: usize = 200;
/// Most records that have a page by number. Further ones need a token that functions do not use.
const NUMBERED_RECORDS: usize = 2_000;
/// The one field that must be unique in a new account.
const UNIQUE_FIELD: &str = "Email";
/// The fields that a search for a phone number compares.
const PHONE_FIELDS: [&str; 2] = ["Phone", "Mobile"];

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
        "access_token": token, "scope": SCOPES, "api_domain": "https://www.zohoapis.com",
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

/// The refusal of a request that contradicts the description.
pub(super) fn refuse_request(violation: &DescriptionViolation) -> FakeReply {
    let (place, problem) = violation.problems.first().map_or(("", ""), |(place, problem)| (place, problem));
    let (inside, name) = place.rsplit_once('/').unwrap_or_default();
    let (code, details) = match (problem, inside) {
        ("is required", "/query") => ("REQUIRED_PARAM_MISSING", json!({"param_name": name})),
        ("is required", _) => ("MANDATORY_NOT_FOUND", json!({"api_name": name, "json_path": json_path(place)})),
        _ => ("INVALID_DATA", json!({"api_name": name, "json_path": json_path(place)})),
    };
    error_reply(StatusCode::BAD_REQUEST, code, &details, &violation.to_string())
}

/// `$.data[0].Parent_Id` of `/body/data/0/Parent_Id`.
fn json_path(pointer: &str) -> String {
    let steps = pointer.strip_prefix("/body").unwrap_or(pointer).split('/').skip(1);
    let step = |step: &str| if step.parse::<usize>().is_ok() { format!("[{step}]") } else { format!(".{step}") };
    std::iter::once("$".to_owned()).chain(steps.map(step)).collect()
}

pub(super) fn reply_to_request(
    request: &FakeRequest,
    records: &mut FakeCrmRecords,
    now_ms: i64,
    found_until: i64,
) -> FakeReply {
    let steps = request.path_segments();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let body = request.json_body();
    match (&request.method, steps.as_slice()) {
        (&Method::GET, ["crm", "v8", module, "search"]) => search_records(request, module, records, found_until),
        (&Method::POST, ["crm", "v8", "coql"]) => query_records(&body, records),
        (&Method::POST, ["crm", "v8", "Notes"]) => create_notes(&body, records, now_ms),
        (&Method::GET, ["crm", "v8", module, id, "Notes"]) => list_notes(request, module, id, records),
        (&Method::POST, ["crm", "v8", module, "upsert"]) => {
            write_records(&body, module, records, now_ms, StatusCode::OK)
        }
        (&Method::POST, ["crm", "v8", module]) => write_records(&body, module, records, now_ms, StatusCode::CREATED),
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
    let (number, size) = (request.query_number("page", 1), request.query_number("per_page", DEFAULT_PAGE));
    if number * size > NUMBERED_RECORDS {
        let message = "more than 2000 records need a page_token";
        return error_reply(
            StatusCode::BAD_REQUEST,
            "DISCRETE_PAGINATION_LIMIT_EXCEEDED",
            &json!({"page": number, "per_page": size}),
            message,
        );
    }
    let data: Vec<&Value> = found.iter().skip((number - 1) * size).take(size).collect();
    if data.is_empty() {
        return FakeReply::empty(StatusCode::NO_CONTENT);
    }
    let more = number * size < found.len();
    let info = json!({"per_page": size, "count": data.len(), "page": number, "more_records": more});
    FakeReply::json(StatusCode::OK, &json!({"data": data, "info": info}))
}

/// Searches by `phone`, which matches the digits of any number of a record.
fn search_records(request: &FakeRequest, module: &str, records: &FakeCrmRecords, found_until: i64) -> FakeReply {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let Some(phone) = request.query_value("phone").map(digits) else {
        return error_reply(StatusCode::BAD_REQUEST, "NOT_SUPPORTED", &json!({}), "the fake searches by phone");
    };
    let has_number = |person: &&FakeCrmPerson| {
        PHONE_FIELDS.iter().any(|name| person.fields[*name].as_str().is_some_and(|own| digits(own) == phone))
    };
    let known = records.people.iter().filter(|person| is_in_module(person, module) && person.created_ms <= found_until);
    page_reply(request, &known.filter(has_number).map(record_json).collect::<Vec<_>>())
}

/// `select id, Mobile from Leads where Mobile = '+972…' or Phone = '+972…' limit 200`: conditions
/// of which one must hold.
fn query_records(body: &Value, records: &FakeCrmRecords) -> FakeReply {
    let Some((module, conditions)) = parse_query(body["select_query"].as_str().unwrap_or_default()) else {
        let details = json!({"line": 1, "column": 1, "near": "where"});
        return error_reply(StatusCode::BAD_REQUEST, "SYNTAX_ERROR", &details, "error in query");
    };
    let is_meant = |person: &&FakeCrmPerson| {
        is_in_module(person, module) && conditions.iter().any(|(name, value)| person.fields[*name] == **value)
    };
    let found: Vec<Value> = records.people.iter().filter(is_meant).map(record_json).collect();
    if found.is_empty() {
        return FakeReply::empty(StatusCode::NO_CONTENT);
    }
    let info = json!({"count": found.len(), "more_records": false});
    FakeReply::json(StatusCode::OK, &json!({"data": found, "info": info}))
}

/// The module, and the fields with the values that they must equal.
fn parse_query(query: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (_, rest) = query.split_once(" from ")?;
    let (module, rest) = rest.split_once(" where ")?;
    let (conditions, _) = rest.split_once(" limit ").unwrap_or((rest, ""));
    let conditions = conditions.split(" or ").map(|condition| condition.strip_suffix('\'')?.split_once(" = '"));
    Some((module, conditions.collect::<Option<_>>()?))
}

/// Inserts records. With `duplicate_check_fields` it updates those that exist.
fn write_records(
    body: &Value,
    module: &str,
    records: &mut FakeCrmRecords,
    now_ms: i64,
    written: StatusCode,
) -> FakeReply {
    let checked: Vec<&str> =
        body["duplicate_check_fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let rows = body["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let done: Vec<Value> =
        rows.iter().enumerate().map(|(index, row)| write_row(row, index, module, &checked, records, now_ms)).collect();
    rows_reply(written, &done)
}

/// The results of the rows. If one failed, the status is not the usual one.
fn rows_reply(written: StatusCode, done: &[Value]) -> FakeReply {
    let is_done = done.iter().all(|row| row["status"] == "success");
    FakeReply::json(if is_done { written } else { StatusCode::ACCEPTED }, &json!({"data": done}))
}

fn write_row(
    row: &Value,
    index: usize,
    module: &str,
    checked: &[&str],
    records: &mut FakeCrmRecords,
    now_ms: i64,
) -> Value {
    let same = |person: &FakeCrmPerson, name: &str| row[name].is_string() && person.fields[name] == row[name];
    let mut known = records.people.iter_mut().filter(|person| is_in_module(person, module));
    if let Some(person) = known.find(|person| same(person, UNIQUE_FIELD)) {
        if !checked.contains(&UNIQUE_FIELD) {
            let details = json!({"api_name": UNIQUE_FIELD, "duplicate_record": {"id": person.id}, "id": person.id});
            return error_body("DUPLICATE_DATA", &details, "duplicate data");
        }
        for (name, value) in row.as_object().into_iter().flat_map(Map::iter) {
            person.fields[name] = value.clone();
        }
        return success_body("update", "record updated", &person.id, now_ms);
    }
    let needed: &[&str] = if module == "Leads" { &["Last_Name", "Company"] } else { &["Last_Name"] };
    let is_blank = |name: &&&str| row[**name].as_str().is_none_or(|text| text.trim().is_empty());
    if let Some(missing) = needed.iter().find(is_blank) {
        let details = json!({"api_name": missing, "json_path": format!("$.data[{index}].{missing}")});
        return error_body("MANDATORY_NOT_FOUND", &details, "required field not found");
    }
    let mut fields = row.clone();
    fields[MODULE_FIELD] = json!(module);
    success_body("insert", "record added", &records.add_person(fields, now_ms).id, now_ms)
}

fn success_body(action: &str, message: &str, id: &str, now_ms: i64) -> Value {
    let details = json!({"Modified_Time": format_time(now_ms), "Created_Time": format_time(now_ms), "id": id});
    json!({"code": "SUCCESS", "action": action, "details": details, "message": message, "status": "success"})
}

fn create_notes(body: &Value, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    let rows = body["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let done = rows.iter().enumerate().map(|(index, row)| {
        let parent = &row["Parent_Id"];
        let (id, module) = (parent["id"].as_str().unwrap_or_default(), parent["module"]["api_name"].as_str());
        let is_known = |person: &FakeCrmPerson| module.is_some_and(|module| is_in_module(person, module));
        if !records.find_person(id).is_some_and(is_known) {
            let details = json!({"api_name": "Parent_Id", "json_path": format!("$.data[{index}].Parent_Id.id")});
            return error_body("INVALID_DATA", &details, "the related id given seems to be invalid");
        }
        let mut fields = row.clone();
        if let Some(fields) = fields.as_object_mut() {
            fields.remove("Parent_Id");
        }
        let FakeCrmStoredEntry { id, .. } = records.add_entry(Some(id), fields, now_ms);
        success_body("insert", "record added", id, now_ms)
    });
    let done: Vec<Value> = done.collect();
    rows_reply(StatusCode::CREATED, &done)
}

/// The notes on a record, newest first, with the requested fields.
fn list_notes(request: &FakeRequest, module: &str, id: &str, records: &FakeCrmRecords) -> FakeReply {
    let wanted = request.query_value("fields").unwrap_or_default();
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
