//! What Zoho CRM and Zoho's accounts answer.
//!
//! Shapes: <https://www.zoho.com/crm/developer/docs/api/v8/refresh.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/search-records.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/upsert-records.html>,
//! <https://www.zoho.com/crm/developer/docs/api/v8/get-notes.html>.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    book::{Book, Person, Written},
    tokens::LIFE_MS,
};
use crate::peers::{Asked, Said};

/// Most records of one call, and of one page.
const LARGEST_CALL: usize = 100;
const LARGEST_PAGE: usize = 200;

/// Whether a request for a token comes with this credential.
pub(super) fn owns(asked: &Asked, credential: Option<&str>) -> bool {
    let Some(credential) = credential.and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return false };
    let right = |name: &str| credential[name].is_string() && asked.form(name).as_deref() == credential[name].as_str();
    asked.form("grant_type").as_deref() == Some("refresh_token")
        && ["client_id", "client_secret", "refresh_token"].into_iter().all(right)
}

pub(super) fn token(token: &str) -> Value {
    json!({
        "access_token": token, "scope": "ZohoCRM.modules.ALL", "api_domain": "https://www.zohoapis.com",
        "token_type": "Bearer", "expires_in": LIFE_MS / 1000,
    })
}

/// A credential that is wrong is told with 200.
pub(super) fn invalid_code() -> Value {
    json!({"error": "invalid_code"})
}

pub(super) fn too_many_tokens() -> Value {
    let description = "You have made too many requests continuously. Please try again after some time.";
    json!({"error": "Access Denied", "error_description": description, "status": "failure"})
}

pub(super) fn unauthorized() -> Value {
    problem("INVALID_TOKEN", &json!({}), "invalid oauth token")
}

fn problem(code: &str, details: &Value, message: &str) -> Value {
    json!({"code": code, "details": details, "message": message, "status": "error"})
}

fn refused(status: StatusCode, code: &str, details: &Value, message: &str) -> Said {
    Said::json(status, &problem(code, details, message))
}

pub(super) fn said(asked: &Asked, book: &mut Book, now_ms: i64) -> Said {
    let steps = asked.steps();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    match (&asked.method, steps.as_slice()) {
        (&Method::GET, ["crm", "v8", module, "search"]) => search(asked, module, book),
        (&Method::POST, ["crm", "v8", module, "upsert"]) => upsert(&asked.json(), module, book, now_ms),
        (&Method::POST, ["crm", "v8", module, id, "Notes"]) => note(&asked.json(), module, id, book, now_ms),
        (&Method::GET, ["crm", "v8", module, id, "Notes"]) => notes(asked, module, id, book),
        _ => refused(
            StatusCode::NOT_FOUND,
            "INVALID_URL_PATTERN",
            &json!({}),
            "Please check if the URL trying to access is a correct one",
        ),
    }
}

/// The module that a record is in, kept among its fields.
const MODULE: &str = "$module";

fn is_in(person: &Person, module: &str) -> bool {
    // Whom a test put in says nothing of it.
    person.fields[MODULE].is_null() || person.fields[MODULE] == module
}

fn shown(person: &Person) -> Value {
    let mut shown = person.fields.clone();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove(MODULE);
    }
    shown["id"] = json!(person.id);
    shown["Created_Time"] = json!(time(person.made_ms));
    shown
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// A page of what was found; 204 when there is nothing on it.
fn page(asked: &Asked, found: &[Value]) -> Said {
    let (number, size) =
        (asked.number("page", 1).max(1), asked.number("per_page", LARGEST_PAGE).clamp(1, LARGEST_PAGE));
    let data: Vec<&Value> = found.iter().skip((number - 1) * size).take(size).collect();
    if data.is_empty() {
        return Said::empty(StatusCode::NO_CONTENT);
    }
    let more = number * size < found.len();
    let info = json!({"per_page": size, "count": data.len(), "page": number, "more_records": more});
    Said::json(StatusCode::OK, &json!({"data": data, "info": info}))
}

/// By `phone`, whose digits any of the record's numbers has to have, or by `criteria` of which any has to hold:
/// `((Mobile:equals:+972…)or(Phone:equals:+972…))`.
fn search(asked: &Asked, module: &str, book: &Book) -> Said {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let holds = |person: &&Person| -> bool {
        let fields = &person.fields;
        if let Some(phone) = asked.query("phone") {
            return ["Phone", "Mobile"]
                .iter()
                .any(|name| fields[name].as_str().is_some_and(|own| digits(own) == digits(phone)));
        }
        let criteria = asked.query("criteria").unwrap_or_default();
        criteria.split(['(', ')']).any(|one| {
            let mut parts = one.splitn(3, ':');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), Some("equals"), Some(value)) => fields[name] == value.trim_matches('"'),
                _ => false,
            }
        })
    };
    if asked.query("phone").is_none() && asked.query("criteria").is_none() {
        let details = json!({"expected_fields": ["criteria", "email", "phone", "word"]});
        return refused(
            StatusCode::BAD_REQUEST,
            "MANDATORY_NOT_FOUND",
            &details,
            "One of the expected parameter is missing",
        );
    }
    let found: Vec<Value> =
        book.people.iter().filter(|person| is_in(person, module)).filter(holds).map(shown).collect();
    page(asked, &found)
}

fn upsert(body: &Value, module: &str, book: &mut Book, now_ms: i64) -> Said {
    let rows = body["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() || rows.len() > LARGEST_CALL {
        return refused(
            StatusCode::BAD_REQUEST,
            "INVALID_DATA",
            &json!({"api_name": "data"}),
            "data holds 1 to 100 records",
        );
    }
    let checked: Vec<&str> =
        body["duplicate_check_fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let done: Vec<Value> =
        rows.iter().enumerate().map(|(place, row)| upsert_row(row, place, module, &checked, book, now_ms)).collect();
    let failed = done.iter().filter(|row| row["status"] == "error").count();
    let status = match failed {
        0 => StatusCode::OK,
        all if all == done.len() => StatusCode::BAD_REQUEST,
        _ => StatusCode::MULTI_STATUS,
    };
    Said::json(status, &json!({"data": done}))
}

fn upsert_row(row: &Value, place: usize, module: &str, checked: &[&str], book: &mut Book, now_ms: i64) -> Value {
    let needed: &[&str] = if module == "Leads" { &["Last_Name", "Company"] } else { &["Last_Name"] };
    let is_blank = |name: &&&str| row[**name].as_str().is_none_or(|text| text.trim().is_empty());
    let duplicate = |person: &Person| {
        let mut same = checked.iter().filter(|name| row[**name].is_string() && person.fields[**name] == row[**name]);
        same.next().map(|name| (*name).to_owned())
    };
    let found = book.people.iter_mut().filter(|person| is_in(person, module)).find_map(|person| {
        let field = duplicate(person)?;
        Some((person, field))
    });
    let done = |action: &str, id: &str, field: Option<String>| {
        let details = json!({"Modified_Time": time(now_ms), "Created_Time": time(now_ms), "id": id});
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
        let details = json!({"api_name": missing, "json_path": format!("$.data[{place}].{missing}")});
        return problem("MANDATORY_NOT_FOUND", &details, "required field not found");
    }
    let mut fields = row.clone();
    fields[MODULE] = json!(module);
    done("insert", &book.add_person(fields, now_ms).id, None)
}

fn note(body: &Value, module: &str, id: &str, book: &mut Book, now_ms: i64) -> Said {
    if !book.person(id).is_some_and(|person| is_in(person, module)) {
        let message = "the id given seems to be invalid";
        return refused(StatusCode::BAD_REQUEST, "INVALID_DATA", &json!({"api_name": "Parent_Id"}), message);
    }
    let mut done = Vec::new();
    for row in body["data"].as_array().into_iter().flatten() {
        if row["Note_Content"].as_str().is_none_or(|content| content.trim().is_empty()) {
            let details = json!({"api_name": "Note_Content", "json_path": "$.data[0].Note_Content"});
            done.push(problem("MANDATORY_NOT_FOUND", &details, "required field not found"));
            continue;
        }
        let Written { id, .. } = book.write(Some(id), row.clone(), now_ms);
        done.push(json!({"code": "SUCCESS", "details": {"id": id}, "message": "record added", "status": "success"}));
    }
    let right = !done.is_empty() && done.iter().all(|row| row["status"] == "success");
    Said::json(if right { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }, &json!({"data": done}))
}

/// The notes on a record, newest first, with the fields that are asked for by name.
fn notes(asked: &Asked, module: &str, id: &str, book: &Book) -> Said {
    let Some(wanted) = asked.query("fields") else {
        let message = "One of the expected parameter is missing";
        return refused(StatusCode::BAD_REQUEST, "REQUIRED_PARAM_MISSING", &json!({"param_name": "fields"}), message);
    };
    if !book.person(id).is_some_and(|person| is_in(person, module)) {
        let message = "the related id given seems to be invalid";
        return refused(StatusCode::BAD_REQUEST, "INVALID_DATA", &json!({}), message);
    }
    let shown = |note: &Written| {
        let mut shown = json!({"id": note.id});
        for name in wanted.split(',') {
            shown[name] = if name == "id" { json!(note.id) } else { note.fields[name].clone() };
        }
        shown
    };
    page(asked, &book.about(id).rev().map(shown).collect::<Vec<_>>())
}
