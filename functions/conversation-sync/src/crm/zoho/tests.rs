//! The client against a peer that answers as Zoho documents it.

use loopback::response;
use serde_json::Value;
use shared::{
    client_config::CrmKind,
    fault::{Fault, Faulty as _},
};

use super::{
    super::{entry::tests::item, testing::*},
    *,
};

const LEADS: CrmKind = CrmKind::Zoho { data_centre: DataCentre::Eu, module: ZohoModule::Leads };
const CREDENTIAL: &str = r#"{"client_id":"1000.ID","client_secret":"hunter2","refresh_token":"1000.refresh+hunter2"}"#;

fn token(value: &str) -> String {
    ok(
        &json!({ "access_token": value, "api_domain": "https://www.zohoapis.eu", "token_type": "Bearer", "expires_in": 3600 }),
    )
}

fn row(code: &str, details: &Value) -> Value {
    json!({ "data": [{ "code": code, "details": details, "message": "Noa", "status": "x" }] })
}

#[tokio::test]
async fn the_oldest_record_with_the_number_is_taken_from_all_pages_and_left_as_it_is() {
    let bench = Bench::start().await;
    let client = bench.client(&LEADS, CREDENTIAL);
    let record = |id: &str, created: &str, mobile: Value, phone: Value| json!({ "id": id, "Created_Time": created, "Mobile": mobile, "Phone": phone });
    let first = json!({ "data": [
        record("3652397000009851001", "2026-11-02T12:00:00+02:00", json!("+972545550199"), Value::Null),
        record("3652397000009851002", "2020-11-01T12:00:00+02:00", json!("+972525550101"), Value::Null),
    ], "info": { "page": 1, "more_records": true } });
    let second = json!({ "data": [
        record("3652397000009850009", "2026-11-01T12:00:00+02:00", Value::Null, json!("054-5550199")),
    ], "info": { "page": 2, "more_records": false } });
    let answers = [token("access-1"), ok(&first), ok(&second)];
    let (requests, person) = bench.hears(&answers, client.person(&phone(), Some("Noa"), now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("3652397000009850009"));
    assert_eq!(line(&requests[0]), "POST /oauth/v2/token");
    let form = "refresh_token=1000.refresh%2Bhunter2&client_id=1000.ID&client_secret=hunter2&grant_type=refresh_token";
    assert!(requests[0].ends_with(form));
    assert_eq!(
        line(&requests[1]),
        "GET /crm/v8/Leads/search?phone=%2B972545550199&fields=Created_Time%2CMobile%2CPhone&page=1&per_page=50"
    );
    assert!(head(&requests[1]).contains("authorization: Zoho-oauthtoken access-1"));
    assert!(line(&requests[2]).contains("&page=2&"));
}

#[tokio::test]
async fn who_is_unknown_is_upserted_by_mobile_with_the_least_that_a_record_needs() {
    let bench = Bench::start().await;
    let client = bench.client(&LEADS, CREDENTIAL);
    let nobody = response("204 No Content", "");
    let made = ok(&row("SUCCESS", &json!({ "id": "3652397000009851001" })));
    let answers = [token("access-1"), nobody.clone(), made.clone()];
    let (requests, person) = bench.hears(&answers, client.person(&phone(), Some("Noa Levi"), now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("3652397000009851001"));
    assert_eq!(line(&requests[2]), "POST /crm/v8/Leads/upsert");
    assert_eq!(
        body(&requests[2]),
        json!({
            "data": [{ "Last_Name": "Levi", "First_Name": "Noa", "Company": "-", "Mobile": "+972545550199" }],
            "duplicate_check_fields": ["Mobile"],
            "trigger": [],
        })
    );
    let contacts = CrmKind::Zoho { data_centre: DataCentre::Ca, module: ZohoModule::Contacts };
    let client = bench.client(&contacts, CREDENTIAL);
    let (requests, person) = bench.hears(&[nobody, made], client.person(&phone(), None, now())).await;
    assert!(person.is_ok());
    assert_eq!(line(&requests[1]), "POST /crm/v8/Contacts/upsert");
    assert_eq!(body(&requests[1])["data"], json!([{ "Last_Name": "+972545550199", "Mobile": "+972545550199" }]));
}

#[tokio::test]
async fn each_row_has_a_result_of_its_own_whatever_the_status() {
    let bench = Bench::start().await;
    let client = bench.client(&LEADS, CREDENTIAL);
    let item = item("Hello");
    let mut first = vec![token("access-1")];
    for (head, answer, fault, says) in [
        (
            "207 Multi-Status",
            row("MANDATORY_NOT_FOUND", &json!({ "api_name": "Company" })),
            Fault::Permanent,
            "MANDATORY_NOT_FOUND",
        ),
        ("202 Accepted", row("INVALID_DATA", &json!({})), Fault::Permanent, "INVALID_DATA"),
        ("200 OK", row("a sentence of Noa", &json!({})), Fault::Permanent, "(HTTP 200)"),
        ("400 Bad Request", row("INVALID_DATA", &json!({})), Fault::Permanent, "INVALID_DATA"),
        (
            "400 Bad Request",
            json!({ "code": "INVALID_DATA", "message": "the related id given seems to be invalid" }),
            Fault::Transient,
            "no longer there",
        ),
        ("403 Forbidden", json!({ "code": "LIMIT_EXCEEDED" }), Fault::Transient, "patience"),
        ("429 Too Many Requests", json!({ "code": "TOO_MANY_REQUESTS" }), Fault::Transient, "patience"),
        ("403 Forbidden", json!({ "code": "NO_PERMISSION" }), Fault::Transient, SECRET),
        ("500 Internal Server Error", json!({ "code": "INTERNAL_ERROR" }), Fault::Ambiguous, "500"),
        ("200 OK", json!({ "data": [] }), Fault::Ambiguous, "means nothing"),
        ("200 OK", row("SUCCESS", &json!({})), Fault::Ambiguous, "means nothing"),
    ] {
        let answers: Vec<_> = first.drain(..).chain([response(head, &answer.to_string())]).collect();
        let (_, entry) = bench.hears(&answers, client.create_entry(Some("7"), &item, now())).await;
        let error = entry.unwrap_err();
        assert_eq!(error.fault(), fault, "{head} {answer}");
        assert!(error.to_string().contains(says), "{head}: {error}");
        reveals_nothing(&error);
    }
    let (_, lost) = bench.hears(&["HTTP/1.1 2".to_owned()], client.create_entry(Some("7"), &item, now())).await;
    assert_eq!(lost.unwrap_err().fault(), Fault::Ambiguous);
    let duplicate = row("DUPLICATE_DATA", &json!({ "api_name": "Mobile", "duplicate_record": { "id": "41" } }));
    let answers = [response("204 No Content", ""), response("202 Accepted", &duplicate.to_string())];
    let (_, person) = bench.hears(&answers, client.person(&phone(), None, now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("41"));
}

#[tokio::test]
async fn an_entry_is_a_note_and_is_looked_for_through_all_pages() {
    let bench = Bench::start().await;
    let client = bench.client(&LEADS, CREDENTIAL);
    let item = item("<b>Hello</b>");
    let answers = [token("access-1"), response("201 Created", &row("SUCCESS", &json!({ "id": "99" })).to_string())];
    let (requests, entry) = bench.hears(&answers, client.create_entry(Some("7"), &item, now())).await;
    assert_eq!(entry.unwrap().as_deref(), Some("99"));
    assert_eq!(line(&requests[1]), "POST /crm/v8/Leads/7/Notes");
    assert_eq!(body(&requests[1]), json!({ "data": [{ "Note_Title": "WhatsApp", "Note_Content": plain(&item) }] }));
    let first = json!({ "data": [{ "id": "1", "Note_Content": "Hello" }], "info": { "more_records": true } });
    let second = json!({ "data": [{ "id": "2", "Note_Content": plain(&item) }], "info": { "more_records": false } });
    let (requests, found) = bench.hears(&[ok(&first), ok(&second)], client.find_entry(Some("7"), &item, now())).await;
    assert_eq!(found.unwrap().as_deref(), Some("2"));
    assert_eq!(line(&requests[0]), "GET /crm/v8/Leads/7/Notes?fields=Note_Content&page=1&per_page=50");
    let (_, none) = bench.hears(&[response("204 No Content", "")], client.find_entry(Some("7"), &item, now())).await;
    assert_eq!(none.unwrap(), None);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_a_young_one_is_not() {
    let bench = Bench::start().await;
    let client = bench.client(&LEADS, CREDENTIAL);
    let item = item("Hello");
    let refused = response("401 Unauthorized", r#"{"code":"INVALID_TOKEN","details":{},"status":"error"}"#);
    let made = response("201 Created", &row("SUCCESS", &json!({ "id": "99" })).to_string());
    let answers = [token("access-1"), made.clone()];
    bench.hears(&answers, client.create_entry(Some("7"), &item, now())).await.1.unwrap();
    let later = now() + SignedDuration::from_mins(5);
    let answers = [refused.clone(), token("access-2"), made];
    let (requests, entry) = bench.hears(&answers, client.create_entry(Some("7"), &item, later)).await;
    assert!(entry.is_ok());
    assert!(head(&requests[0]).contains("access-1") && head(&requests[2]).contains("access-2"));
    let (_, entry) = bench.hears(&[refused], client.create_entry(Some("7"), &item, later)).await;
    let error = entry.unwrap_err();
    assert!(error.is_systems() && matches!(error, CallError::Credential { status: 401, .. }));
    reveals_nothing(&error);
}

#[tokio::test]
async fn a_token_that_is_not_given_or_counts_elsewhere_is_trouble_of_the_whole_system() {
    let bench = Bench::start().await;
    let evil =
        json!({ "access_token": "a", "api_domain": "https://www.zohoapis.com.evil.example", "expires_in": 3600 });
    let client = bench.client(&LEADS, CREDENTIAL);
    for (answer, says) in [
        (ok(&json!({ "error": "invalid_code" })), SECRET),
        (
            response("400 Bad Request", r#"{"error":"Access Denied","error_description":"too many requests"}"#),
            "patience",
        ),
        (response("503 Service Unavailable", ""), "patience"),
        (ok(&json!({})), "patience"),
        (ok(&evil), "none of Zoho's"),
    ] {
        let (_, person) = bench.hears(&[answer], client.person(&phone(), None, now())).await;
        let error = person.unwrap_err();
        assert!(error.to_string().contains(says) && error.is_systems(), "{error}");
        assert_eq!(error.fault(), Fault::Transient);
        reveals_nothing(&error);
    }
    let error = bench.client(&LEADS, "{\"client_id\":\"hunter2\"}").person(&phone(), None, now()).await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { .. }));
    reveals_nothing(&error);
}

#[test]
fn an_api_domain_is_zohos_own_and_secure() {
    for good in [
        "https://www.zohoapis.com",
        "https://www.zohoapis.com.au",
        "https://sandbox.zohoapis.eu",
        "https://www.zohocloud.ca",
    ] {
        assert!(is_zohos(good), "{good}");
    }
    for bad in [
        "http://www.zohoapis.com",
        "https://zohoapis.com.evil.example",
        "https://evilzohoapis.com",
        "https://www.zohoapis.com:8443",
        "https://www.zohoapis.com@evil.example",
        "www.zohoapis.com",
        "",
    ] {
        assert!(!is_zohos(bad), "{bad}");
    }
}
