//! What Pipedrive answers.
//!
//! Shapes: <https://developers.pipedrive.com/docs/api/v1/Persons>, <https://developers.pipedrive.com/docs/api/v1/Notes>.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::book::{Book, Person, Written};
use crate::peers::{Asked, Said};

/// Most results of one page.
const LARGEST_PAGE: usize = 500;

pub(super) fn said(asked: &Asked, book: &mut Book, now_ms: i64, found_until: i64) -> Said {
    match (&asked.method, asked.path.as_str()) {
        (&Method::GET, "/api/v2/persons/search") => search(asked, book, found_until),
        (&Method::POST, "/api/v2/persons") => create(&asked.json(), book, now_ms),
        (&Method::POST, "/api/v1/notes") => note(&asked.json(), book, now_ms),
        (&Method::GET, "/api/v1/notes") => notes(asked, book),
        _ => refused(StatusCode::NOT_FOUND, "there is nothing at this path"),
    }
}

fn refused(status: StatusCode, error: &str) -> Said {
    Said::json(status, &json!({"success": false, "error": error, "error_info": "", "data": null}))
}

pub(super) fn unauthorized() -> Value {
    let info = "Please check developers.pipedrive.com";
    json!({"success": false, "error": "unauthorized access", "errorCode": 401, "error_info": info})
}

fn phones(person: &Person) -> Vec<&str> {
    person.fields["phones"].as_array().into_iter().flatten().filter_map(|phone| phone["value"].as_str()).collect()
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn search(asked: &Asked, book: &Book, found_until: i64) -> Said {
    let (term, exact) = (asked.query("term").unwrap_or_default(), asked.query("exact_match") == Some("true"));
    if term.chars().count() < if exact { 1 } else { 2 } {
        return refused(StatusCode::BAD_REQUEST, "The search term must be at least 2 characters long.");
    }
    if asked.query("fields") != Some("phone") {
        return refused(StatusCode::BAD_REQUEST, "the stand-in searches phones alone: fields=phone");
    }
    let limit = asked.number("limit", 100);
    if limit == 0 || limit > LARGEST_PAGE {
        return refused(StatusCode::BAD_REQUEST, "limit must be from 1 to 500");
    }
    let wanted = digits(term);
    let is_meant =
        |phone: &str| if exact { phone == term } else { !wanted.is_empty() && digits(phone).contains(&wanted) };
    let known = book.people.iter().filter(|person| person.made_ms <= found_until);
    let found: Vec<&Person> = known.filter(|person| phones(person).into_iter().any(is_meant)).collect();
    let start = asked.number("cursor", 0);
    let item = |person: &&Person| {
        json!({"result_score": 0.5, "item": {
            "id": number(&person.id), "type": "person", "name": person.fields["name"], "phones": phones(person),
            "emails": [], "primary_email": null, "visible_to": 3, "owner": {"id": 1}, "organization": null,
            "custom_fields": [], "notes": [], "update_time": time(person.made_ms.max(0)),
        }})
    };
    let items: Vec<Value> = found.iter().skip(start).take(limit).map(item).collect();
    let next = (start + limit < found.len()).then(|| (start + limit).to_string());
    let answer = json!({"success": true, "data": {"items": items}, "additional_data": {"next_cursor": next}});
    Said::json(StatusCode::OK, &answer)
}

/// Ids are numbers here.
fn number(id: &str) -> Value {
    json!(id.parse::<u64>().unwrap_or_default())
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn create(body: &Value, book: &mut Book, now_ms: i64) -> Said {
    if body["name"].as_str().is_none_or(|name| name.trim().is_empty()) {
        return refused(StatusCode::BAD_REQUEST, "name is required");
    }
    if !body["phones"].is_null()
        && body["phones"].as_array().is_none_or(|all| all.iter().any(|one| !one["value"].is_string()))
    {
        return refused(StatusCode::BAD_REQUEST, "phones must be a list of objects with a value");
    }
    let person = book.add_person(body.clone(), now_ms);
    let data = json!({"id": number(&person.id), "name": person.fields["name"], "phones": person.fields["phones"]});
    Said::json(StatusCode::CREATED, &json!({"success": true, "data": data}))
}

fn note(body: &Value, book: &mut Book, now_ms: i64) -> Said {
    if body["content"].as_str().is_none_or(|content| content.trim().is_empty()) {
        return refused(StatusCode::BAD_REQUEST, "content is required");
    }
    let Some(person) = body["person_id"].as_u64().map(|id| id.to_string()).filter(|id| book.person(id).is_some())
    else {
        return refused(StatusCode::BAD_REQUEST, "the person does not exist");
    };
    let shown = shown(book.write(Some(&person), body.clone(), now_ms));
    Said::json(StatusCode::OK, &json!({"success": true, "data": shown}))
}

fn shown(note: &Written) -> Value {
    let person = number(note.person.as_deref().unwrap_or_default());
    let add_time = note.fields["add_time"].as_str().map_or_else(|| time(note.made_ms), str::to_owned);
    json!({
        "id": number(&note.id), "content": note.fields["content"], "person_id": person, "add_time": add_time,
        "update_time": time(note.made_ms), "active_flag": true, "deal_id": null, "org_id": null, "lead_id": null, "user_id": 1,
    })
}

/// The notes on a person, oldest first unless `sort` says otherwise. A page without any has no list but null, as every list
/// of the first version of this API.
fn notes(asked: &Asked, book: &Book) -> Said {
    let person = asked.query("person_id").unwrap_or_default();
    let (start, limit) = (asked.number("start", 0), asked.number("limit", 100).clamp(1, LARGEST_PAGE));
    let mut all: Vec<Value> = book.about(person).map(shown).collect();
    if asked.query("sort").is_some_and(|sort| sort.to_ascii_uppercase().ends_with(" DESC")) {
        all.reverse();
    }
    let more = start + limit < all.len();
    let page: Vec<&Value> = all.iter().skip(start).take(limit).collect();
    let mut pagination = json!({"start": start, "limit": limit, "more_items_in_collection": more});
    if more {
        pagination["next_start"] = json!(start + limit);
    }
    let data = if page.is_empty() { Value::Null } else { json!(page) };
    Said::json(StatusCode::OK, &json!({"success": true, "data": data, "additional_data": {"pagination": pagination}}))
}
