//! The client against a fake API that replies as Zoho documents.

use loopback::http_response;
use serde_json::Value;
use tellonce_core::{
    client_config::{CrmKind, ZohoCrm},
    fault::{ClassifyFault as _, Fault},
};

use super::{
    super::{entry::tests::sample_entry, testing::*},
    *,
};

const LEADS_KIND: CrmKind = CrmKind::Zoho(ZohoCrm { data_centre: DataCentre::Eu, module: ZohoModule::Leads });
const CREDENTIAL: &str = r#"{"client_id":"1000.ID","client_secret":"hunter2","refresh_token":"1000.refresh+hunter2"}"#;

fn token_reply(value: &str) -> String {
    ok_reply(
        &json!({ "access_token": value, "api_domain": "https://www.zohoapis.eu", "token_type": "Bearer", "expires_in": 3600 }),
    )
}

fn row_json(code: &str, details: &Value) -> Value {
    json!({ "data": [{ "code": code, "details": details, "message": "Noa", "status": "x" }] })
}

#[tokio::test]
async fn the_oldest_record_with_the_number_is_taken_from_all_pages_and_left_as_it_is() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    let record = |id: &str, created: &str, mobile: Value, phone: Value| json!({ "id": id, "Created_Time": created, "Mobile": mobile, "Phone": phone });
    let first = json!({ "data": [
        record("3652397000009851001", "2026-11-02T12:00:00+02:00", json!("+972545550199"), Value::Null),
        record("3652397000009851002", "2020-11-01T12:00:00+02:00", json!("+972525550101"), Value::Null),
    ], "info": { "page": 1, "more_records": true } });
    let second = json!({ "data": [
        record("3652397000009850009", "2026-11-01T12:00:00+02:00", Value::Null, json!("054-5550199")),
    ], "info": { "page": 2, "more_records": false } });
    let replies = [token_reply("access-1"), ok_reply(&first), ok_reply(&second)];
    let (requests, person) =
        fixture.serve_replies(&replies, client.find_or_create_person(&test_phone(), Some("Noa"), test_now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("3652397000009850009"));
    assert_eq!(request_line(&requests[0]), "POST /oauth/v2/token");
    let form = "refresh_token=1000.refresh%2Bhunter2&client_id=1000.ID&client_secret=hunter2&grant_type=refresh_token";
    assert!(requests[0].ends_with(form));
    assert_eq!(
        request_line(&requests[1]),
        "GET /crm/v8/Leads/search?phone=%2B972545550199&fields=Created_Time%2CMobile%2CPhone&page=1&per_page=50"
    );
    assert!(request_head(&requests[1]).contains("authorization: Zoho-oauthtoken access-1"));
    assert!(request_line(&requests[2]).contains("&page=2&"));
}

#[tokio::test]
async fn an_unknown_person_is_searched_queried_and_then_inserted_with_the_minimum_fields() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    let not_found = http_response("204 No Content", "");
    let row = row_json("SUCCESS", &json!({ "id": "3652397000009851001" }));
    let made = http_response("201 Created", &row.to_string());
    let replies = [token_reply("access-1"), not_found.clone(), not_found.clone(), made.clone()];
    let (requests, person) = fixture
        .serve_replies(&replies, client.find_or_create_person(&test_phone(), Some("Noa Levi"), test_now()))
        .await;
    assert_eq!(person.unwrap().as_deref(), Some("3652397000009851001"));
    assert_eq!(request_line(&requests[2]), "POST /crm/v8/coql");
    let query = "select id, Created_Time, Mobile, Phone from Leads \
                 where Mobile = '+972545550199' or Phone = '+972545550199' limit 200";
    assert_eq!(request_body(&requests[2]), json!({ "select_query": query }));
    assert_eq!(request_line(&requests[3]), "POST /crm/v8/Leads");
    assert_eq!(
        request_body(&requests[3]),
        json!({
            "data": [{ "Last_Name": "Levi", "First_Name": "Noa", "Company": "-", "Mobile": "+972545550199" }],
            "trigger": [],
        })
    );
    let contacts = CrmKind::Zoho(ZohoCrm { data_centre: DataCentre::Ca, module: ZohoModule::Contacts });
    let client = fixture.build_client(&contacts, CREDENTIAL);
    let replies = [not_found.clone(), not_found, made];
    let (requests, person) =
        fixture.serve_replies(&replies, client.find_or_create_person(&test_phone(), None, test_now())).await;
    assert!(person.is_ok());
    assert_eq!(request_line(&requests[2]), "POST /crm/v8/Contacts");
    assert_eq!(
        request_body(&requests[2])["data"],
        json!([{ "Last_Name": "+972545550199", "Mobile": "+972545550199" }])
    );
}

#[tokio::test]
async fn a_person_is_found_by_the_other_form_of_the_number() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    let found = json!({ "data": [{ "id": "11", "Mobile": "+551187654321" }], "info": { "more_records": false } });
    let replies = [token_reply("access-1"), http_response("204 No Content", ""), ok_reply(&found)];
    let phone = Phone::from_e164("+5511987654321").unwrap();
    let (requests, person) =
        fixture.serve_replies(&replies, client.find_or_create_person(&phone, None, test_now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("11"));
    let searched: Vec<_> = requests[1..].iter().map(|request| request_line(request)).collect();
    assert!(searched[0].contains("phone=%2B5511987654321&"), "{searched:?}");
    assert!(searched[1].contains("phone=%2B551187654321&"), "{searched:?}");
}

#[tokio::test]
async fn a_record_that_only_the_query_finds_is_not_inserted_again() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    let record = |id: &str, created: &str| json!({ "id": id, "Created_Time": created, "Mobile": "+972545550199" });
    let found = json!({ "data": [
        record("12", "2026-11-19T12:00:04+02:00"), record("11", "2026-11-19T12:00:03+02:00"),
        json!({ "id": "1", "Mobile": "+972525550101" }),
    ], "info": { "count": 3, "more_records": false } });
    let replies = [token_reply("access-1"), http_response("204 No Content", ""), ok_reply(&found)];
    let (_, person) =
        fixture.serve_replies(&replies, client.find_or_create_person(&test_phone(), None, test_now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("11"));
}

#[tokio::test]
async fn no_page_is_requested_that_zoho_gives_only_for_a_token() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    let page = |row: Value| ok_reply(&json!({ "data": [row], "info": { "more_records": true } }));
    let person = json!({ "id": "7", "Mobile": "+972545550199" });
    let replies: Vec<String> =
        std::iter::once(token_reply("access-1")).chain((0..40).map(|_| page(person.clone()))).collect();
    let (requests, found) =
        fixture.serve_replies(&replies, client.find_or_create_person(&test_phone(), None, test_now())).await;
    assert_eq!(found.unwrap().as_deref(), Some("7"));
    assert!(request_line(&requests[40]).ends_with("&page=40&per_page=50"));
    let note = json!({ "id": "1", "Note_Content": "Hello" });
    let replies: Vec<String> = (0..40).map(|_| page(note.clone())).collect();
    let (_, found) =
        fixture.serve_replies(&replies, client.find_entry(Some("7"), &sample_entry("Hello"), test_now())).await;
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn each_row_has_its_own_result_whatever_the_status() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    let entry = sample_entry("Hello");
    let mut first = vec![token_reply("access-1")];
    for (head, reply_json, fault, expected) in [
        (
            "207 Multi-Status",
            row_json("MANDATORY_NOT_FOUND", &json!({ "api_name": "Company" })),
            Fault::Permanent,
            "MANDATORY_NOT_FOUND",
        ),
        ("202 Accepted", row_json("INVALID_DATA", &json!({})), Fault::Permanent, "INVALID_DATA"),
        (
            "202 Accepted",
            row_json("INVALID_DATA", &json!({ "api_name": "id", "json_path": "$.data[0].Parent_Id.id" })),
            Fault::Transient,
            "no longer exists",
        ),
        (
            "400 Bad Request",
            row_json("INVALID_DATA", &json!({ "api_name": "Parent_Id" })),
            Fault::Transient,
            "no longer exists",
        ),
        ("200 OK", row_json("a sentence of Noa", &json!({})), Fault::Permanent, "(HTTP 200)"),
        ("400 Bad Request", row_json("INVALID_DATA", &json!({})), Fault::Permanent, "INVALID_DATA"),
        (
            "400 Bad Request",
            json!({ "code": "INVALID_DATA", "message": "the related id given seems to be invalid" }),
            Fault::Transient,
            "no longer exists",
        ),
        ("403 Forbidden", json!({ "code": "LIMIT_EXCEEDED" }), Fault::Transient, "retry later"),
        ("429 Too Many Requests", json!({ "code": "TOO_MANY_REQUESTS" }), Fault::Transient, "retry later"),
        ("403 Forbidden", json!({ "code": "NO_PERMISSION" }), Fault::Transient, SECRET_NAME),
        ("500 Internal Server Error", json!({ "code": "INTERNAL_ERROR" }), Fault::Ambiguous, "500"),
        ("200 OK", json!({ "data": [] }), Fault::Ambiguous, "unexpected response"),
        ("200 OK", row_json("SUCCESS", &json!({})), Fault::Ambiguous, "unexpected response"),
    ] {
        let replies: Vec<_> = first.drain(..).chain([http_response(head, &reply_json.to_string())]).collect();
        let (_, entry) = fixture.serve_replies(&replies, client.create_entry(Some("7"), &entry, test_now())).await;
        let error = entry.unwrap_err();
        assert_eq!(error.fault(), fault, "{head} {reply_json}");
        assert!(error.to_string().contains(expected), "{head}: {error}");
        assert_reveals_nothing(&error);
    }
    let (_, lost) =
        fixture.serve_replies(&["HTTP/1.1 2".to_owned()], client.create_entry(Some("7"), &entry, test_now())).await;
    assert_eq!(lost.unwrap_err().fault(), Fault::Ambiguous);
    let duplicate = row_json("DUPLICATE_DATA", &json!({ "api_name": "Mobile", "duplicate_record": { "id": "41" } }));
    let not_found = http_response("204 No Content", "");
    let replies = [not_found.clone(), not_found, http_response("202 Accepted", &duplicate.to_string())];
    let (_, person) =
        fixture.serve_replies(&replies, client.find_or_create_person(&test_phone(), None, test_now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("41"));
}

#[tokio::test]
async fn an_entry_is_a_note_and_is_searched_on_all_pages() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    let entry = sample_entry("<b>Hello</b>");
    let replies = [
        token_reply("access-1"),
        http_response("201 Created", &row_json("SUCCESS", &json!({ "id": "99" })).to_string()),
    ];
    let (requests, created) = fixture.serve_replies(&replies, client.create_entry(Some("7"), &entry, test_now())).await;
    assert_eq!(created.unwrap().as_deref(), Some("99"));
    assert_eq!(request_line(&requests[1]), "POST /crm/v8/Notes");
    assert_eq!(
        request_body(&requests[1]),
        json!({ "data": [{
            "Note_Title": "WhatsApp",
            "Note_Content": render_without_tags(&entry),
            "Parent_Id": { "module": { "api_name": "Leads" }, "id": "7" },
        }] })
    );
    let first = json!({ "data": [{ "id": "1", "Note_Content": "Hello" }], "info": { "more_records": true } });
    let second = json!({ "data": [{ "id": "2", "Note_Content": render_without_tags(&entry) }], "info": { "more_records": false } });
    let (requests, found) = fixture
        .serve_replies(&[ok_reply(&first), ok_reply(&second)], client.find_entry(Some("7"), &entry, test_now()))
        .await;
    assert_eq!(found.unwrap().as_deref(), Some("2"));
    assert_eq!(request_line(&requests[0]), "GET /crm/v8/Leads/7/Notes?fields=Note_Content&page=1&per_page=50");
    let (_, none) = fixture
        .serve_replies(&[http_response("204 No Content", "")], client.find_entry(Some("7"), &entry, test_now()))
        .await;
    assert_eq!(none.unwrap(), None);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_a_young_one_is_not() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    let entry = sample_entry("Hello");
    let refused = http_response("401 Unauthorized", r#"{"code":"INVALID_TOKEN","details":{},"status":"error"}"#);
    let made = http_response("201 Created", &row_json("SUCCESS", &json!({ "id": "99" })).to_string());
    let replies = [token_reply("access-1"), made.clone()];
    fixture.serve_replies(&replies, client.create_entry(Some("7"), &entry, test_now())).await.1.unwrap();
    let later = test_now() + SignedDuration::from_mins(5);
    let replies = [refused.clone(), token_reply("access-2"), made];
    let (requests, created) = fixture.serve_replies(&replies, client.create_entry(Some("7"), &entry, later)).await;
    assert!(created.is_ok());
    assert!(request_head(&requests[0]).contains("access-1") && request_head(&requests[2]).contains("access-2"));
    let (_, entry) = fixture.serve_replies(&[refused], client.create_entry(Some("7"), &entry, later)).await;
    let error = entry.unwrap_err();
    assert!(error.is_system_wide() && matches!(error, ApiError::CredentialRejected { status: 401, .. }));
    assert_reveals_nothing(&error);
}

#[tokio::test]
async fn a_missing_token_or_one_for_another_domain_is_a_system_wide_error() {
    let fixture = CrmClientFixture::start().await;
    let evil =
        json!({ "access_token": "a", "api_domain": "https://www.zohoapis.com.evil.example", "expires_in": 3600 });
    let client = fixture.build_client(&LEADS_KIND, CREDENTIAL);
    for (reply, expected) in [
        (ok_reply(&json!({ "error": "invalid_code" })), SECRET_NAME),
        (
            http_response("400 Bad Request", r#"{"error":"Access Denied","error_description":"too many requests"}"#),
            "retry later",
        ),
        (http_response("503 Service Unavailable", ""), "retry later"),
        (ok_reply(&json!({})), "retry later"),
        (ok_reply(&evil), "does not belong to Zoho"),
    ] {
        let (_, person) =
            fixture.serve_replies(&[reply], client.find_or_create_person(&test_phone(), None, test_now())).await;
        let error = person.unwrap_err();
        assert!(error.to_string().contains(expected) && error.is_system_wide(), "{error}");
        assert_eq!(error.fault(), Fault::Transient);
        assert_reveals_nothing(&error);
    }
    let error = fixture
        .build_client(&LEADS_KIND, "{\"client_id\":\"hunter2\"}")
        .find_or_create_person(&test_phone(), None, test_now())
        .await
        .unwrap_err();
    assert!(matches!(error, ApiError::MalformedSecret { .. }));
    assert_reveals_nothing(&error);
}

#[test]
fn only_secure_zoho_origins_are_accepted_as_api_domains() {
    for good in [
        "https://www.zohoapis.com",
        "https://www.zohoapis.com.au",
        "https://sandbox.zohoapis.eu",
        "https://www.zohocloud.ca",
    ] {
        assert!(is_zoho_origin(good), "{good}");
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
        assert!(!is_zoho_origin(bad), "{bad}");
    }
}
