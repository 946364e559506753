//! The client against a fake API that replies as Pipedrive documents.

use loopback::http_response;
use serde_json::Value;
use tellonce_core::{
    client_config::{CrmKind, PipedriveCrm, UnknownContactRule},
    fault::{ClassifyFault as _, Fault},
};

use super::{
    super::{entry::tests::sample_entry, testing::*},
    *,
};

fn pipedrive_kind(unknown: UnknownContactRule) -> CrmKind {
    CrmKind::Pipedrive(PipedriveCrm { company: "demo".to_owned(), unknown })
}

fn people_json(people: &[(u64, &[&str])], cursor: Option<&str>) -> Value {
    let items: Vec<_> = people
        .iter()
        .map(|(id, phones)| json!({ "item": { "id": id, "phones": phones, "owner": { "id": 1 } } }))
        .collect();
    json!({ "success": true, "data": { "items": items }, "additional_data": { "next_cursor": cursor } })
}

#[tokio::test]
async fn the_person_with_the_smallest_id_is_taken_from_all_pages_however_the_number_was_typed() {
    let fixture = CrmClientFixture::start().await;
    let kind = pipedrive_kind(UnknownContactRule::Create);
    let client = fixture.build_client(&kind, "hunter2");
    let first = people_json(&[(10, &["+972 54-555-0199"]), (2, &["+1 545550199"])], Some("eyJh=="));
    let second = people_json(&[(9, &["03-5550123", "054 555 0199"]), (11, &["0545550199"])], None);
    let (requests, person) = fixture
        .serve_replies(
            &[ok_reply(&first), ok_reply(&second)],
            client.find_or_create_person(&test_phone(), None, test_now()),
        )
        .await;
    assert_eq!(person.unwrap().as_deref(), Some("9"));
    assert_eq!(request_line(&requests[0]), "GET /api/v2/persons/search?term=545550199&fields=phone&limit=100");
    assert!(request_line(&requests[1]).ends_with("&cursor=eyJh%3D%3D"));
    assert!(request_head(&requests[0]).contains("x-api-token: hunter2"));
}

#[tokio::test]
async fn an_unknown_person_is_created_or_skipped() {
    let fixture = CrmClientFixture::start().await;
    let none = ok_reply(&people_json(&[], None));
    let skip = pipedrive_kind(UnknownContactRule::Skip);
    let (_, person) = fixture
        .serve_replies(
            std::slice::from_ref(&none),
            fixture.build_client(&skip, "t").find_or_create_person(&test_phone(), None, test_now()),
        )
        .await;
    assert_eq!(person.unwrap(), None);
    let create = pipedrive_kind(UnknownContactRule::Create);
    let client = fixture.build_client(&create, "t");
    let made = http_response("201 Created", r#"{"success":true,"data":{"id":9}}"#);
    for (name, written) in [(Some("Noa Levi"), "Noa Levi"), (Some(" "), "+972545550199"), (None, "+972545550199")] {
        let replies = [none.clone(), made.clone()];
        let (requests, person) =
            fixture.serve_replies(&replies, client.find_or_create_person(&test_phone(), name, test_now())).await;
        assert_eq!(person.unwrap().as_deref(), Some("9"));
        assert_eq!(request_line(&requests[1]), "POST /api/v2/persons");
        let phones = json!([{ "value": "+972545550199", "primary": true, "label": "mobile" }]);
        assert_eq!(request_body(&requests[1]), json!({ "name": written, "phones": phones }));
    }
}

#[tokio::test]
async fn an_entry_is_a_note_in_which_html_stays_text() {
    let fixture = CrmClientFixture::start().await;
    let kind = pipedrive_kind(UnknownContactRule::Create);
    let client = fixture.build_client(&kind, "t");
    let hostile = sample_entry("<img src=x onerror=alert(1)>\n&lt;");
    let replies = [ok_reply(&json!({ "success": true, "data": { "id": 77 } }))];
    let (requests, entry) = fixture.serve_replies(&replies, client.create_entry(Some("9"), &hostile, test_now())).await;
    assert_eq!(entry.unwrap().as_deref(), Some("77"));
    assert_eq!(request_line(&requests[0]), "POST /api/v1/notes");
    let sent = request_body(&requests[0]);
    assert_eq!((&sent["person_id"], &sent["add_time"]), (&json!(9), &json!("2026-11-19 10:00:00")));
    let content = sent["content"].as_str().unwrap();
    assert!(content.starts_with("Customer: &lt;img src=x onerror=alert(1)&gt;<br>&amp;lt;<br>WhatsApp"), "{content}");
}

#[tokio::test]
async fn an_entry_is_searched_on_all_pages() {
    let fixture = CrmClientFixture::start().await;
    let kind = pipedrive_kind(UnknownContactRule::Create);
    let client = fixture.build_client(&kind, "t");
    let entry = sample_entry("Hello");
    let page = |notes: Value, more: Value| json!({ "success": true, "data": notes, "additional_data": { "pagination": more } });
    let first = page(
        json!([{ "id": 80, "content": "Hello" }, { "id": 79, "content": null }]),
        json!({ "start": 0, "limit": 50, "more_items_in_collection": true, "next_start": 50 }),
    );
    let last = json!({ "start": 50, "limit": 50, "more_items_in_collection": false });
    let second = page(json!([{ "id": 12, "content": format!("<div>{}</div>", render_html(&entry)) }]), last.clone());
    let (requests, found) = fixture
        .serve_replies(&[ok_reply(&first), ok_reply(&second)], client.find_entry(Some("9"), &entry, test_now()))
        .await;
    assert_eq!(found.unwrap().as_deref(), Some("12"));
    assert_eq!(request_line(&requests[0]), "GET /api/v1/notes?person_id=9&sort=add_time+DESC&start=0&limit=50");
    assert!(request_line(&requests[1]).contains("&start=50&"));
    let none = [ok_reply(&first), ok_reply(&page(Value::Null, last))];
    let (_, none) = fixture.serve_replies(&none, client.find_entry(Some("9"), &entry, test_now())).await;
    assert_eq!(none.unwrap(), None);
}

#[tokio::test]
async fn every_refusal_states_whether_to_retry_and_reveals_nothing() {
    let fixture = CrmClientFixture::start().await;
    let kind = pipedrive_kind(UnknownContactRule::Create);
    let client = fixture.build_client(&kind, "hunter2");
    let entry = sample_entry("Hello");
    for (head, body, fault, expected) in [
        ("429 Too Many Requests\r\nretry-after: 2", "", Fault::Transient, "retry later"),
        ("403 Forbidden", "<html>hunter2</html>", Fault::Transient, "retry later"),
        ("402 Payment Required", r#"{"success":false}"#, Fault::Transient, "retry later"),
        ("403 Forbidden", r#"{"success":false,"error":"Noa"}"#, Fault::Transient, SECRET_NAME),
        ("401 Unauthorized", r#"{"success":false}"#, Fault::Transient, SECRET_NAME),
        ("404 Not Found", r#"{"success":false}"#, Fault::Transient, "no longer exists"),
        ("500 Internal Server Error", "", Fault::Ambiguous, "500"),
        ("200 OK", r#"{"success":false,"data":{"id":1}}"#, Fault::Ambiguous, "unexpected response"),
        (
            "400 Bad Request",
            r#"{"success":false,"code":"ERR_SCHEMA_VALIDATION_FAILED","error":"Noa"}"#,
            Fault::Permanent,
            "ERR_SCHEMA",
        ),
    ] {
        let (_, entry) = fixture
            .serve_replies(&[http_response(head, body)], client.create_entry(Some("9"), &entry, test_now()))
            .await;
        let error = entry.unwrap_err();
        assert_eq!(error.fault(), fault, "{head}");
        assert!(error.to_string().contains(expected), "{head}: {error}");
        assert_reveals_nothing(&error);
    }
    let (_, lost) =
        fixture.serve_replies(&["HTTP/1.1 2".to_owned()], client.create_entry(Some("9"), &entry, test_now())).await;
    assert_eq!(lost.unwrap_err().fault(), Fault::Ambiguous);
}

#[tokio::test]
async fn a_company_that_is_not_part_of_a_host_name_gets_no_token() {
    let fixture = CrmClientFixture::start().await;
    for company in ["evil.example/", "a.b", "", "demo@evil.example#"] {
        let kind = CrmKind::Pipedrive(PipedriveCrm { company: company.to_owned(), unknown: UnknownContactRule::Skip });
        let error =
            fixture.build_client(&kind, "t").find_or_create_person(&test_phone(), None, test_now()).await.unwrap_err();
        assert!(matches!(error, ApiError::AddressNotAllowed(_)), "{company}");
    }
}

#[tokio::test]
async fn a_person_is_there_or_was_deleted() {
    let fixture = CrmClientFixture::start().await;
    let kind = pipedrive_kind(UnknownContactRule::Create);
    let client = fixture.build_client(&kind, "hunter2");
    let person = |is_deleted: bool| {
        ok_reply(&json!({ "success": true, "data": { "id": 512, "name": "Noa Levi", "is_deleted": is_deleted } }))
    };
    let missing = http_response("404 Not Found", r#"{"success":false,"error":"Person not found","data":null}"#);
    for (reply, expected) in [(person(false), Some("512")), (person(true), None), (missing, None)] {
        let (requests, found) = fixture.serve_replies(&[reply], client.find_current_id("512")).await;
        assert_eq!(found.unwrap().as_deref(), expected);
        assert_eq!(request_line(&requests[0]), "GET /api/v2/persons/512");
    }
}
