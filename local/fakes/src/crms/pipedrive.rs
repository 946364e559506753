//! The responses of Pipedrive.
//!
//! `services/descriptions/pipedrive.json` has the shapes. Behaviour:
//! <https://developers.pipedrive.com/docs/api/v1/Persons>,
//! <https://developers.pipedrive.com/docs/api/v1/Notes>.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::records::{FakeCrmPerson, FakeCrmRecords, FakeCrmStoredEntry};
use crate::services::{FakeReply, FakeRequest};

pub(super) fn reply_to_request(
    request: &FakeRequest,
    records: &mut FakeCrmRecords,
    now_ms: i64,
    found_until: i64,
) -> FakeReply {
    if let (&Method::GET, Some(id)) = (&request.method, read_person_id(&request.path)) {
        return read_person(id, records);
    }
    match (&request.method, request.path.as_str()) {
        (&Method::GET, "/api/v2/persons/search") => search_persons(request, records, found_until),
        (&Method::POST, "/api/v2/persons") => create_person(&request.json_body(), records, now_ms),
        (&Method::POST, "/api/v1/notes") => create_note(&request.json_body(), records, now_ms),
        (&Method::GET, "/api/v1/notes") => list_notes(request, records),
        _ => error_reply(StatusCode::NOT_FOUND, "unknown path"),
    }
}

pub(super) fn error_reply(status: StatusCode, error: &str) -> FakeReply {
    FakeReply::json(status, &json!({"success": false, "error": error, "error_info": "", "data": null}))
}

pub(super) fn unauthorized_body() -> Value {
    let info = "Please check developers.pipedrive.com";
    json!({"success": false, "error": "unauthorized access", "errorCode": 401, "error_info": info})
}

fn phone_numbers(person: &FakeCrmPerson) -> Vec<&str> {
    person.fields["phones"].as_array().into_iter().flatten().filter_map(|phone| phone["value"].as_str()).collect()
}

fn digits_only(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn search_persons(request: &FakeRequest, records: &FakeCrmRecords, found_until: i64) -> FakeReply {
    let (term, exact) =
        (request.query_value("term").unwrap_or_default(), request.query_value("exact_match") == Some("true"));
    if request.query_value("fields") != Some("phone") {
        return error_reply(StatusCode::BAD_REQUEST, "the fake searches only by phone: fields=phone");
    }
    let limit = request.query_number("limit", 100);
    let wanted = digits_only(term);
    let is_meant =
        |phone: &str| if exact { phone == term } else { !wanted.is_empty() && digits_only(phone).contains(&wanted) };
    let known = records.people.iter().filter(|person| person.created_ms <= found_until);
    let found: Vec<&FakeCrmPerson> = known.filter(|person| phone_numbers(person).into_iter().any(is_meant)).collect();
    let start = request.query_number("cursor", 0);
    let item = |person: &&FakeCrmPerson| {
        json!({"result_score": 0.5, "item": {
            "id": id_number(&person.id), "type": "person", "name": person.fields["name"], "phones": phone_numbers(person),
            "emails": [], "primary_email": null, "visible_to": 3, "owner": {"id": 1}, "organization": null,
            "custom_fields": [], "notes": [], "update_time": format_time(person.created_ms.max(0)),
        }})
    };
    let items: Vec<Value> = found.iter().skip(start).take(limit).map(item).collect();
    let next = (start + limit < found.len()).then(|| (start + limit).to_string());
    let response = json!({"success": true, "data": {"items": items}, "additional_data": {"next_cursor": next}});
    FakeReply::json(StatusCode::OK, &response)
}

/// Pipedrive's ids are numbers.
fn id_number(id: &str) -> Value {
    json!(id.parse::<u64>().unwrap_or_default())
}

fn format_time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn create_person(body: &Value, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    let person = records.add_person(body.clone(), now_ms);
    let data = json!({"id": id_number(&person.id), "name": person.fields["name"], "phones": person.fields["phones"]});
    FakeReply::json(StatusCode::CREATED, &json!({"success": true, "data": data}))
}

/// The id in `/api/v2/persons/{id}`.
fn read_person_id(path: &str) -> Option<&str> {
    path.strip_prefix("/api/v2/persons/").filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
}

fn read_person(id: &str, records: &FakeCrmRecords) -> FakeReply {
    let Some(person) = records.find_person(id) else {
        return error_reply(StatusCode::NOT_FOUND, "Person not found");
    };
    let data = json!({
        "id": id_number(&person.id), "name": person.fields["name"], "phones": person.fields["phones"], "is_deleted": false,
    });
    FakeReply::json(StatusCode::OK, &json!({"success": true, "data": data}))
}

fn create_note(body: &Value, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    let Some(person) =
        body["person_id"].as_u64().map(|id| id.to_string()).filter(|id| records.find_person(id).is_some())
    else {
        return error_reply(StatusCode::BAD_REQUEST, "the person does not exist");
    };
    let shown = note_json(records.add_entry(Some(&person), body.clone(), now_ms));
    FakeReply::json(StatusCode::OK, &json!({"success": true, "data": shown}))
}

fn note_json(note: &FakeCrmStoredEntry) -> Value {
    let person = id_number(note.person.as_deref().unwrap_or_default());
    let add_time = note.fields["add_time"].as_str().map_or_else(|| format_time(note.created_ms), str::to_owned);
    json!({
        "id": id_number(&note.id), "content": note.fields["content"], "person_id": person, "add_time": add_time,
        "update_time": format_time(note.created_ms), "active_flag": true, "deal_id": null, "org_id": null, "lead_id": null, "user_id": 1,
    })
}

/// The notes on a person, oldest first unless `sort` says otherwise. An empty page has null instead
/// of a list, as in all of version 1 of this API.
fn list_notes(request: &FakeRequest, records: &FakeCrmRecords) -> FakeReply {
    let person = request.query_value("person_id").unwrap_or_default();
    let (start, limit) = (request.query_number("start", 0), request.query_number("limit", 100));
    let mut all: Vec<Value> = records.entries_about(person).map(note_json).collect();
    if request.query_value("sort").is_some_and(|sort| sort.to_ascii_uppercase().ends_with(" DESC")) {
        all.reverse();
    }
    let more = start + limit < all.len();
    let page: Vec<&Value> = all.iter().skip(start).take(limit).collect();
    let mut pagination = json!({"start": start, "limit": limit, "more_items_in_collection": more});
    if more {
        pagination["next_start"] = json!(start + limit);
    }
    let data = if page.is_empty() { Value::Null } else { json!(page) };
    FakeReply::json(
        StatusCode::OK,
        &json!({"success": true, "data": data, "additional_data": {"pagination": pagination}}),
    )
}
