//! What `HubSpot` answers as a CRM.
//!
//! Shapes: <https://developers.hubspot.com/docs/api-reference/search/guide>,
//! <https://developers.hubspot.com/docs/api-reference/crm-communications-v3/guide>,
//! <https://developers.hubspot.com/docs/api-reference/crm-associations-v4/guide>.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::book::{Book, Person, Written};
use crate::peers::{Asked, Said};

/// Most results of one page of a search, and of one batch.
const LARGEST_PAGE: usize = 200;
const LARGEST_BATCH: usize = 100;
/// Most associations of one page.
const LARGEST_LIST: usize = 500;
/// What associates a communication with a contact, and a contact with a communication.
const TO_CONTACT: u64 = 81;
const TO_COMMUNICATION: u64 = 82;
/// What `HubSpot` tells of a contact when it isn't asked for anything by name.
const BY_ITSELF: [&str; 3] = ["email", "firstname", "lastname"];
/// Country codes, as far as the numbers of tests and of the demo begin with them.
const COUNTRY_CODES: [&str; 10] = ["972", "970", "1", "7", "33", "39", "44", "46", "49", "61"];

pub(super) fn said(asked: &Asked, book: &mut Book, now_ms: i64, found_until: i64) -> Said {
    let steps = asked.steps();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let body = asked.json();
    match (&asked.method, steps.as_slice()) {
        (&Method::POST, ["crm", "v3", "objects", "contacts", "search"]) => search(&body, book, found_until),
        (&Method::POST, ["crm", "v3", "objects", "contacts"]) => create_contact(&body, book, now_ms),
        (&Method::POST, ["crm", "v3", "objects", "communications"]) => communicate(&body, book, now_ms),
        (&Method::POST, ["crm", "v3", "objects", "communications", "batch", "read"]) => read(&body, book),
        (
            &Method::GET,
            ["crm", "v4", "objects", "contact" | "contacts", id, "associations", "communication" | "communications"],
        ) => associations(asked, id, book),
        _ => refused(StatusCode::NOT_FOUND, "OBJECT_NOT_FOUND", "there is nothing at this path"),
    }
}

fn error(category: &str, message: &str) -> Value {
    json!({"status": "error", "message": message, "correlationId": crate::new_id(), "category": category})
}

fn refused(status: StatusCode, category: &str, message: &str) -> Said {
    Said::json(status, &error(category, message))
}

fn invalid(message: &str) -> Said {
    refused(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message)
}

pub(super) fn unauthorized() -> Value {
    error("INVALID_AUTHENTICATION", "Authentication credentials not found.")
}

fn written_at(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// An object with those of its properties that are asked for, and with those that are always told.
fn object(id: &str, fields: &Value, made_ms: i64, wanted: &[&str]) -> Value {
    let made = written_at(made_ms);
    let mut properties = Map::new();
    for name in wanted {
        properties.insert((*name).to_owned(), fields[name].clone());
    }
    let times =
        ["createdate", "hs_createdate", "hs_lastmodifieddate", "lastmodifieddate"].map(|name| (name, made.as_str()));
    for (name, value) in times.into_iter().chain([("hs_object_id", id)]) {
        properties.insert(name.to_owned(), json!(value));
    }
    json!({"id": id, "properties": properties, "createdAt": made, "updatedAt": made, "archived": false})
}

fn wanted(body: &Value) -> Vec<&str> {
    match body["properties"].as_array() {
        Some(names) => names.iter().filter_map(Value::as_str).collect(),
        None => BY_ITSELF.to_vec(),
    }
}

fn search(body: &Value, book: &Book, found_until: i64) -> Said {
    let limit = body["limit"].as_u64().map_or(10, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if limit > LARGEST_PAGE {
        return invalid("limit must be at most 200");
    }
    let groups = body["filterGroups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let after: usize = body["after"].as_str().and_then(|after| after.parse().ok()).unwrap_or_default();
    let mut found = Vec::new();
    for person in book.people.iter().filter(|person| person.made_ms <= found_until) {
        match groups.iter().try_fold(false, |any, group| Ok(any || all_hold(group, person)?)) {
            Ok(true) => found.push(person),
            Ok(false) => {}
            Err(reason) => return invalid(reason),
        }
    }
    let total = found.len();
    let page: Vec<Value> = found
        .into_iter()
        .skip(after)
        .take(limit)
        .map(|person| object(&person.id, &person.fields, person.made_ms, &wanted(body)))
        .collect();
    let mut answer = json!({"total": total, "results": page});
    if after + limit < total {
        answer["paging"] = json!({"next": {"after": (after + limit).to_string()}});
    }
    Said::json(StatusCode::OK, &answer)
}

/// Whether all filters of a group hold for a contact.
fn all_hold(group: &Value, person: &Person) -> Result<bool, &'static str> {
    let Some(filters) = group["filters"].as_array() else { return Err("a filter group has no filters") };
    filters.iter().try_fold(true, |all, filter| {
        let Some(name) = filter["propertyName"].as_str() else { return Err("a filter has no propertyName") };
        let has = property(person, name);
        let holds = match filter["operator"].as_str() {
            Some("EQ") => filter["value"].as_str().is_some_and(|value| has.as_deref() == Some(value)),
            Some("IN") => {
                let mut values = filter["values"].as_array().into_iter().flatten();
                values.any(|value| value.as_str().is_some() && value.as_str() == has.as_deref())
            }
            _ => return Err("the stand-in knows the operators EQ and IN"),
        };
        Ok(all && holds)
    })
}

fn property(person: &Person, name: &str) -> Option<String> {
    let text = |name: &str| person.fields[name].as_str().filter(|text| !text.is_empty());
    match name {
        "hs_searchable_calculated_phone_number" => text("phone").map(national),
        "hs_searchable_calculated_mobile_number" => text("mobilephone").map(national),
        _ => text(name).map(str::to_owned),
    }
}

/// A number's digits without the country's code, or without the zero that stands in its place. What `HubSpot` computes is
/// not published further than that.
fn national(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let code = COUNTRY_CODES.iter().find(|code| phone.starts_with('+') && digits.starts_with(**code));
    code.map_or(digits.trim_start_matches('0'), |code| &digits[code.len()..]).to_owned()
}

fn create_contact(body: &Value, book: &mut Book, now_ms: i64) -> Said {
    let Some(fields) = body["properties"].as_object().filter(|fields| !fields.is_empty()) else {
        return invalid("properties are required");
    };
    let email = fields.get("email").filter(|email| email.is_string());
    if let Some(known) = email.and_then(|email| book.people.iter().find(|person| person.fields["email"] == *email)) {
        let message = format!("Contact already exists. Existing ID: {}", known.id);
        return refused(StatusCode::CONFLICT, "CONFLICT", &message);
    }
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let person = book.add_person(body["properties"].clone(), now_ms);
    Said::json(StatusCode::CREATED, &object(&person.id, &person.fields, now_ms, &names))
}

fn communicate(body: &Value, book: &mut Book, now_ms: i64) -> Said {
    let fields = &body["properties"];
    if fields["hs_communication_channel_type"] != "WHATS_APP" || fields["hs_communication_logged_from"] != "CRM" {
        return invalid("hs_communication_channel_type must be WHATS_APP and hs_communication_logged_from CRM");
    }
    let at = &fields["hs_timestamp"];
    if at.as_i64().is_none()
        && at.as_str().is_none_or(|at| at.parse::<jiff::Timestamp>().is_err() && at.parse::<i64>().is_err())
    {
        return invalid("hs_timestamp must be a time");
    }
    let mut contact = None;
    for association in body["associations"].as_array().into_iter().flatten() {
        let kind = &association["types"][0];
        let id = &association["to"]["id"];
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        if kind["associationCategory"] != "HUBSPOT_DEFINED" || kind["associationTypeId"] != TO_CONTACT {
            return invalid("the association is of no type that a communication has with a contact");
        }
        if book.person(&id).is_none() {
            return invalid("one of the associated objects does not exist");
        }
        contact = Some(id);
    }
    let names: Vec<&str> = fields.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let Written { id, .. } = book.write(contact.as_deref(), fields.clone(), now_ms);
    Said::json(StatusCode::CREATED, &object(id, fields, now_ms, &names))
}

fn associations(asked: &Asked, id: &str, book: &Book) -> Said {
    if book.person(id).is_none() {
        return refused(StatusCode::NOT_FOUND, "OBJECT_NOT_FOUND", "Object not found.");
    }
    let (after, limit) = (asked.number("after", 0), asked.number("limit", LARGEST_LIST).clamp(1, LARGEST_LIST));
    let kind = json!([{"category": "HUBSPOT_DEFINED", "typeId": TO_COMMUNICATION, "label": null}]);
    let all: Vec<u64> = book.about(id).filter_map(|written| written.id.parse().ok()).collect();
    let page = all.iter().skip(after).take(limit);
    let page: Vec<Value> = page.map(|id| json!({"toObjectId": id, "associationTypes": kind})).collect();
    let mut answer = json!({"results": page});
    if after + limit < all.len() {
        let next = (after + limit).to_string();
        answer["paging"] =
            json!({"next": {"after": next, "link": format!("https://api.hubapi.com{}?after={next}", asked.path)}});
    }
    Said::json(StatusCode::OK, &answer)
}

fn read(body: &Value, book: &Book) -> Said {
    let inputs = body["inputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if inputs.is_empty() || inputs.len() > LARGEST_BATCH {
        return invalid("a batch holds 1 to 100 inputs");
    }
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    for id in inputs.iter().filter_map(|input| input["id"].as_str()) {
        match book.written.iter().find(|written| written.id == id) {
            Some(written) => results.push(object(id, &written.fields, written.made_ms, &wanted(body))),
            None => missing.push(id),
        }
    }
    let now = written_at(crate::clock::system_now_ms());
    let mut answer = json!({"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now});
    if missing.is_empty() {
        return Said::json(StatusCode::OK, &answer);
    }
    let mut error = error("OBJECT_NOT_FOUND", "Could not get some objects, they may be deleted or not exist.");
    error["context"] = json!({"ids": missing});
    answer["numErrors"] = json!(1);
    answer["errors"] = json!([error]);
    Said::json(StatusCode::MULTI_STATUS, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_national_number_has_neither_code_nor_zero() {
        for (phone, national_number) in [
            ("+972545550199", "545550199"),
            ("+972 (54) 555-0199", "545550199"),
            ("054-555-0199", "545550199"),
            ("+12025550123", "2025550123"),
        ] {
            assert_eq!(national(phone), national_number, "{phone}");
        }
    }
}
