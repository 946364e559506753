//! The responses of `HubSpot` as a CRM.
//!
//! `services/descriptions/hubspot.json` has the shapes. Behaviour:
//! <https://developers.hubspot.com/docs/api-reference/search/guide>,
//! <https://developers.hubspot.com/docs/api-reference/crm-communications-v3/guide>,
//! <https://developers.hubspot.com/docs/api-reference/crm-associations-v4/guide>.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::records::{FakeCrmPerson, FakeCrmRecords, FakeCrmStoredEntry};
use crate::services::{FakeReply, FakeRequest};

/// Most results of one search, on all its pages.
const LARGEST_SEARCH: usize = 10_000;
/// The associations of a page, unless the request says how many.
const DEFAULT_LIST: usize = 500;
/// The association type between a communication and a contact, the same in both directions.
const TO_CONTACT: u64 = 81;
const TO_COMMUNICATION: u64 = 82;
/// The properties of a contact in a response without a property list.
const DEFAULT_PROPERTIES: [&str; 3] = ["email", "firstname", "lastname"];
/// The country codes of the numbers in tests and in the demo.
const COUNTRY_CODES: [&str; 10] = ["972", "970", "1", "7", "33", "39", "44", "46", "49", "61"];

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
        (&Method::POST, ["crm", "v3", "objects", "contacts", "search"]) => search_contacts(&body, records, found_until),
        (&Method::POST, ["crm", "v3", "objects", "contacts"]) => create_contact(&body, records, now_ms),
        (&Method::POST, ["crm", "v3", "objects", "contacts", "batch", "read"]) => read_contacts(&body, records),
        (&Method::POST, ["crm", "v3", "objects", "communications"]) => create_communication(&body, records, now_ms),
        (&Method::POST, ["crm", "v3", "objects", "communications", "batch", "read"]) => {
            read_communications(&body, records)
        }
        (
            &Method::GET,
            ["crm", "v4", "objects", "contact" | "contacts", id, "associations", "communication" | "communications"],
        ) => list_associations(request, id, records),
        _ => error_reply(StatusCode::NOT_FOUND, "OBJECT_NOT_FOUND", "unknown path"),
    }
}

fn error_body(category: &str, message: &str) -> Value {
    json!({"status": "error", "message": message, "correlationId": crate::generate_id(), "category": category})
}

fn error_reply(status: StatusCode, category: &str, message: &str) -> FakeReply {
    FakeReply::json(status, &error_body(category, message))
}

pub(super) fn validation_error(message: &str) -> FakeReply {
    error_reply(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message)
}

pub(super) fn unauthorized_body() -> Value {
    error_body("INVALID_AUTHENTICATION", "Authentication credentials not found.")
}

fn format_time(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// An object with the requested properties and those that are always present.
fn object_json(id: &str, fields: &Value, made_ms: i64, wanted: &[&str]) -> Value {
    let made = format_time(made_ms);
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

fn wanted_properties(body: &Value) -> Vec<&str> {
    match body["properties"].as_array() {
        Some(names) => names.iter().filter_map(Value::as_str).collect(),
        None => DEFAULT_PROPERTIES.to_vec(),
    }
}

fn search_contacts(body: &Value, records: &FakeCrmRecords, found_until: i64) -> FakeReply {
    let limit = body["limit"].as_u64().map_or(10, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let groups = body["filterGroups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let after: usize = body["after"].as_str().and_then(|after| after.parse().ok()).unwrap_or_default();
    if after + limit > LARGEST_SEARCH {
        return validation_error("a search has at most 10,000 results");
    }
    let mut found = Vec::new();
    for person in records.people.iter().filter(|person| person.created_ms <= found_until) {
        match groups.iter().try_fold(false, |any, group| Ok(any || matches_filters(group, person)?)) {
            Ok(true) => found.push(person),
            Ok(false) => {}
            Err(reason) => return validation_error(reason),
        }
    }
    let total = found.len();
    let page: Vec<Value> = found
        .into_iter()
        .skip(after)
        .take(limit)
        .map(|person| object_json(&person.id, &person.fields, person.created_ms, &wanted_properties(body)))
        .collect();
    let mut response = json!({"total": total, "results": page});
    if after + limit < total {
        response["paging"] = json!({"next": {"after": (after + limit).to_string()}});
    }
    FakeReply::json(StatusCode::OK, &response)
}

/// Whether a contact matches all filters of a group.
fn matches_filters(group: &Value, person: &FakeCrmPerson) -> Result<bool, &'static str> {
    group["filters"].as_array().into_iter().flatten().try_fold(true, |all, filter| {
        let has = property_value(person, filter["propertyName"].as_str().unwrap_or_default());
        let holds = match filter["operator"].as_str() {
            Some("EQ") => filter["value"].as_str().is_some_and(|value| has.as_deref() == Some(value)),
            Some("IN") => {
                let mut values = filter["values"].as_array().into_iter().flatten();
                values.any(|value| value.as_str().is_some() && value.as_str() == has.as_deref())
            }
            _ => return Err("the fake knows the operators EQ and IN"),
        };
        Ok(all && holds)
    })
}

fn property_value(person: &FakeCrmPerson, name: &str) -> Option<String> {
    let text = |name: &str| person.fields[name].as_str().filter(|text| !text.is_empty());
    match name {
        "hs_searchable_calculated_phone_number" => text("phone").map(national_digits),
        "hs_searchable_calculated_mobile_number" => text("mobilephone").map(national_digits),
        _ => text(name).map(str::to_owned),
    }
}

/// The digits of a number without the country code, or without the leading zero. HubSpot publishes
/// no more about its own computation.
fn national_digits(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let code = COUNTRY_CODES.iter().find(|code| phone.starts_with('+') && digits.starts_with(**code));
    code.map_or(digits.trim_start_matches('0'), |code| &digits[code.len()..]).to_owned()
}

fn create_contact(body: &Value, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    let fields = &body["properties"];
    let same_email = |person: &&FakeCrmPerson| fields["email"].is_string() && person.fields["email"] == fields["email"];
    if let Some(known) = records.people.iter().find(same_email) {
        let message = format!("Contact already exists. Existing ID: {}", known.id);
        return error_reply(StatusCode::CONFLICT, "CONFLICT", &message);
    }
    let names: Vec<&str> = fields.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let person = records.add_person(body["properties"].clone(), now_ms);
    FakeReply::json(StatusCode::CREATED, &object_json(&person.id, &person.fields, now_ms, &names))
}

fn create_communication(body: &Value, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    let fields = &body["properties"];
    let mut contact = None;
    for association in body["associations"].as_array().into_iter().flatten() {
        let id = association["to"]["id"].as_str().unwrap_or_default();
        if association["types"][0]["associationTypeId"] != TO_CONTACT || records.find_person(id).is_none() {
            return validation_error("one of the associated objects does not exist");
        }
        contact = Some(id);
    }
    let names: Vec<&str> = fields.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let FakeCrmStoredEntry { id, .. } = records.add_entry(contact, fields.clone(), now_ms);
    FakeReply::json(StatusCode::CREATED, &object_json(id, fields, now_ms, &names))
}

fn list_associations(request: &FakeRequest, id: &str, records: &FakeCrmRecords) -> FakeReply {
    if records.find_person(id).is_none() {
        return error_reply(StatusCode::NOT_FOUND, "OBJECT_NOT_FOUND", "Object not found.");
    }
    let (after, limit) = (request.query_number("after", 0), request.query_number("limit", DEFAULT_LIST));
    let kind = json!([{"category": "HUBSPOT_DEFINED", "typeId": TO_COMMUNICATION, "label": null}]);
    let all: Vec<&str> = records.entries_about(id).map(|written| written.id.as_str()).collect();
    let page = all.iter().skip(after).take(limit);
    let page: Vec<Value> = page.map(|id| json!({"toObjectId": id, "associationTypes": kind})).collect();
    let mut response = json!({"results": page});
    if after + limit < all.len() {
        let next = (after + limit).to_string();
        response["paging"] =
            json!({"next": {"after": next, "link": format!("https://api.hubapi.com{}?after={next}", request.path)}});
    }
    FakeReply::json(StatusCode::OK, &response)
}

fn read_contacts(body: &Value, records: &FakeCrmRecords) -> FakeReply {
    read_batch(body, |id| {
        let person = records.find_person(id)?;
        Some(object_json(id, &person.fields, person.created_ms.max(0), &wanted_properties(body)))
    })
}

fn read_communications(body: &Value, records: &FakeCrmRecords) -> FakeReply {
    read_batch(body, |id| {
        let written = records.entries.iter().find(|written| written.id == id)?;
        Some(object_json(id, &written.fields, written.created_ms, &wanted_properties(body)))
    })
}

fn read_batch(body: &Value, read: impl Fn(&str) -> Option<Value>) -> FakeReply {
    let inputs = body["inputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    for id in inputs.iter().filter_map(|input| input["id"].as_str()) {
        match read(id) {
            Some(object) => results.push(object),
            None => missing.push(id),
        }
    }
    let now = format_time(crate::system_now_ms());
    let mut response = json!({"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now});
    if missing.is_empty() {
        return FakeReply::json(StatusCode::OK, &response);
    }
    let mut error = error_body("OBJECT_NOT_FOUND", "Could not get some objects, they may be deleted or not exist.");
    error["context"] = json!({"ids": missing});
    error["errors"] = json!([]);
    error["links"] = json!({});
    response["numErrors"] = json!(1);
    response["errors"] = json!([error]);
    FakeReply::json(StatusCode::MULTI_STATUS, &response)
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
            assert_eq!(national_digits(phone), national_number, "{phone}");
        }
    }
}
