//! The client against a fake API that replies as `HubSpot` documents.

use loopback::http_response;
use serde_json::Value;
use tellonce_core::{
    client_config::{CrmKind, HubSpotCrm, UnknownContactRule},
    fault::{ClassifyFault as _, Fault},
};

use super::{
    super::{entry::tests::sample_entry, testing::*},
    *,
};

const HUBSPOT_KIND: CrmKind = CrmKind::HubSpot(HubSpotCrm { unknown: UnknownContactRule::Create });

fn contact_json(id: &str, created: &str, phone: Option<&str>, mobile: Option<&str>) -> Value {
    json!({ "id": id, "properties": { "createdate": created, "phone": phone, "mobilephone": mobile } })
}

#[tokio::test]
async fn the_oldest_contact_with_the_number_is_taken_from_all_pages_however_it_was_typed() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&HUBSPOT_KIND, "hunter2");
    let first = json!({ "results": [
        contact_json("9", "2026-11-03T08:00:00Z", Some("054-555-0199"), None),
        contact_json("1", "2020-01-01T08:00:00Z", Some("+1 545-550-199"), Some("+972 52 555 0101")),
    ], "paging": { "next": { "after": "100" } } });
    let second = json!({ "results": [
        contact_json("8", "2026-11-01T08:00:00.000Z", None, Some("00972-54-555-0199")),
        contact_json("12", "2026-11-01T08:00:00.000Z", Some("+972545550199"), None),
    ] });
    let (requests, person) = fixture
        .serve_replies(
            &[ok_reply(&first), ok_reply(&second)],
            client.find_or_create_person(&test_phone(), None, test_now()),
        )
        .await;
    assert_eq!(person.unwrap().as_deref(), Some("8"));
    assert_eq!(request_line(&requests[0]), "POST /crm/v3/objects/contacts/search");
    assert!(request_head(&requests[0]).contains("authorization: Bearer hunter2"));
    let asked = request_body(&requests[0]);
    let groups: Vec<_> = asked["filterGroups"].as_array().unwrap().iter().map(|group| &group["filters"][0]).collect();
    let of = |name: &str| groups.iter().find(|filter| filter["propertyName"] == name).unwrap()["value"].clone();
    assert_eq!(
        (of("hs_searchable_calculated_phone_number"), of("phone")),
        (json!("545550199"), json!("+972545550199"))
    );
    assert_eq!(
        (of("hs_searchable_calculated_mobile_number"), of("mobilephone")),
        (json!("545550199"), json!("+972545550199"))
    );
    assert_eq!((&asked["after"], &request_body(&requests[1])["after"]), (&json!("0"), &json!("100")));
    assert_eq!(asked["sorts"], json!([]), "the specification requires it");
}

#[tokio::test]
async fn an_unknown_person_is_created_or_skipped() {
    let fixture = CrmClientFixture::start().await;
    let none = ok_reply(&json!({ "total": 0, "results": [] }));
    let skip = CrmKind::HubSpot(HubSpotCrm { unknown: UnknownContactRule::Skip });
    let (_, person) = fixture
        .serve_replies(
            std::slice::from_ref(&none),
            fixture.build_client(&skip, "hunter2").find_or_create_person(&test_phone(), None, test_now()),
        )
        .await;
    assert_eq!(person.unwrap(), None);
    let client = fixture.build_client(&HUBSPOT_KIND, "hunter2");
    let made = http_response("201 Created", r#"{"id":"512","properties":{}}"#);
    let replies = [none.clone(), made];
    let (requests, person) = fixture
        .serve_replies(&replies, client.find_or_create_person(&test_phone(), Some("Noa bat Levi"), test_now()))
        .await;
    assert_eq!(person.unwrap().as_deref(), Some("512"));
    assert_eq!(request_line(&requests[1]), "POST /crm/v3/objects/contacts");
    let properties = json!({ "phone": "+972545550199", "firstname": "Noa bat", "lastname": "Levi" });
    assert_eq!(request_body(&requests[1]), json!({ "properties": properties, "associations": [] }));

    let there = r#"{"status":"error","message":"Contact already exists. Existing ID: 77","category":"CONFLICT"}"#;
    let replies = [none.clone(), http_response("409 Conflict", there)];
    let (_, person) =
        fixture.serve_replies(&replies, client.find_or_create_person(&test_phone(), None, test_now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("77"));
    let replies = [none, http_response("409 Conflict", r#"{"message":"Noa exists","category":"CONFLICT"}"#)];
    let (_, person) =
        fixture.serve_replies(&replies, client.find_or_create_person(&test_phone(), None, test_now())).await;
    let error = person.unwrap_err();
    assert!(matches!(&error, ApiError::ServerError { status: 409 }), "it is searched again: {error}");
    assert_reveals_nothing(&error);
}

#[tokio::test]
async fn an_entry_is_a_whatsapp_communication_on_the_contact_at_the_messages_time() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&HUBSPOT_KIND, "hunter2");
    let hostile = sample_entry("<script>\"Hello\"</script>");
    let replies = [http_response("201 Created", r#"{"id":"65400001"}"#)];
    let (requests, entry) =
        fixture.serve_replies(&replies, client.create_entry(Some("512"), &hostile, test_now())).await;
    assert_eq!(entry.unwrap().as_deref(), Some("65400001"));
    assert_eq!(request_line(&requests[0]), "POST /crm/v3/objects/communications");
    let sent = request_body(&requests[0]);
    assert_eq!(
        sent["associations"],
        json!([{
            "to": { "id": "512" },
            "types": [{ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 81 }],
        }])
    );
    let properties = &sent["properties"];
    assert_eq!(properties.as_object().unwrap().len(), 4);
    assert_eq!(properties["hs_communication_channel_type"], "WHATS_APP");
    assert_eq!(properties["hs_communication_logged_from"], "CRM");
    assert_eq!(properties["hs_timestamp"], "2026-11-19T10:00:00.000Z");
    let text = properties["hs_communication_body"].as_str().unwrap();
    assert!(
        text.starts_with("Customer: &lt;script&gt;\"Hello\"&lt;/script&gt;<br>") && text.contains("conv-1"),
        "{text}"
    );
}

#[tokio::test]
async fn an_entry_is_searched_on_all_pages_and_the_newest_is_read_first() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&HUBSPOT_KIND, "hunter2");
    let to = |ids: std::ops::Range<u32>| ids.map(|id| json!({ "toObjectId": id })).collect::<Vec<_>>();
    let first = json!({ "results": to(1..31), "paging": { "next": { "after": "MzA=" } } });
    let second = json!({ "results": to(31..61) });
    let entry = |id: &str, content: &str| json!({ "id": id, "properties": { "hs_communication_body": content } });
    let others = json!({ "status": "COMPLETE", "results": [entry("60", "Hello"), entry("59", "")],
        "numErrors": 1, "errors": [{ "category": "OBJECT_NOT_FOUND" }] });
    let ours = json!({ "results": [entry("7", &format!("<p>{}</p>", render_html(&sample_entry("Hello"))))] });
    let replies =
        [ok_reply(&first), ok_reply(&second), http_response("207 Multi-Status", &others.to_string()), ok_reply(&ours)];
    let entry = sample_entry("Hello");
    let (requests, found) = fixture.serve_replies(&replies, client.find_entry(Some("512"), &entry, test_now())).await;
    assert_eq!(found.unwrap().as_deref(), Some("7"));
    assert_eq!(request_line(&requests[0]), "GET /crm/v4/objects/contacts/512/associations/communications?limit=500");
    assert!(request_line(&requests[1]).ends_with("?limit=500&after=MzA%3D"));
    assert_eq!(request_line(&requests[2]), "POST /crm/v3/objects/communications/batch/read");
    assert_eq!(request_body(&requests[2])["propertiesWithHistory"], json!([]), "the specification requires it");
    let asked = |request: &str| request_body(request)["inputs"].as_array().unwrap().len();
    assert_eq!(
        (request_body(&requests[2])["inputs"][0]["id"].clone(), asked(&requests[2]), asked(&requests[3])),
        (json!("60"), 50, 10)
    );

    let (_, none) = fixture
        .serve_replies(&[ok_reply(&json!({ "results": [] }))], client.find_entry(Some("512"), &entry, test_now()))
        .await;
    assert_eq!(none.unwrap(), None);
    // The unread communication may be ours.
    let unread = json!({ "results": [], "errors": [{ "category": "INTERNAL_ERROR" }] });
    let replies = [ok_reply(&second), http_response("207 Multi-Status", &unread.to_string())];
    let (_, unknown) = fixture.serve_replies(&replies, client.find_entry(Some("512"), &entry, test_now())).await;
    assert_eq!(unknown.unwrap_err().fault(), Fault::Ambiguous);
}

#[tokio::test]
async fn every_refusal_states_whether_to_retry_and_reveals_nothing() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&HUBSPOT_KIND, "hunter2");
    let entry = sample_entry("Hello");
    for (head, body, fault) in [
        ("429 Too Many Requests\r\nretry-after: 10", r#"{"policyName":"TEN_SECONDLY_ROLLING"}"#, Fault::Transient),
        ("401 Unauthorized", "hunter2", Fault::Transient),
        ("403 Forbidden", r#"{"category":"MISSING_SCOPES"}"#, Fault::Transient),
        ("404 Not Found", "", Fault::Transient),
        ("423 Locked", "", Fault::Ambiguous),
        ("477 Migration in Progress", "", Fault::Ambiguous),
        ("502 Bad Gateway", "<html>", Fault::Ambiguous),
        ("201 Created", "{", Fault::Ambiguous),
        ("400 Bad Request", r#"{"category":"VALIDATION_ERROR","message":"Noa"}"#, Fault::Permanent),
    ] {
        let (_, entry) = fixture
            .serve_replies(&[http_response(head, body)], client.create_entry(Some("512"), &entry, test_now()))
            .await;
        let error = entry.unwrap_err();
        assert_eq!(error.fault(), fault, "{head}");
        assert_reveals_nothing(&error);
        if let ApiError::Throttled { retry_after, .. } = error {
            assert_eq!(retry_after, Some(jiff::SignedDuration::from_secs(10)));
        }
    }
    let (_, lost) =
        fixture.serve_replies(&["HTTP/1.1 2".to_owned()], client.create_entry(Some("512"), &entry, test_now())).await;
    let lost = lost.unwrap_err();
    assert_eq!(lost.fault(), Fault::Ambiguous);
    assert_reveals_nothing(&lost);
    let (base, http, rate_limiter) = fixture.stop_serving();
    let unreachable_client =
        ApiClient { http: &http, base_url: Some(&base), rate_limiter: &rate_limiter, secret_name: SECRET_NAME };
    let error = HubSpotClient { api_client: &unreachable_client, token: &Secret::new("hunter2") }
        .create_entry("512", &entry)
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Fault::Transient);
    assert_reveals_nothing(&error);
}

#[tokio::test]
async fn a_contact_is_there_deleted_or_merged_into_another() {
    let fixture = CrmClientFixture::start().await;
    let client = fixture.build_client(&HUBSPOT_KIND, "hunter2");
    let batch = |results: Value| json!({ "status": "COMPLETE", "results": results });
    let missing = |category: &str| {
        let body = json!({ "status": "COMPLETE", "results": [], "numErrors": 1, "errors": [{ "category": category }] });
        http_response("207 Multi-Status", &body.to_string())
    };
    for (reply, expected) in [
        (ok_reply(&batch(json!([{ "id": "512", "properties": {}, "archived": false }]))), Some("512")),
        (ok_reply(&batch(json!([{ "id": "77", "properties": {} }]))), Some("77")),
        (ok_reply(&batch(json!([]))), None),
        (missing("OBJECT_NOT_FOUND"), None),
        (http_response("404 Not Found", r#"{"category":"OBJECT_NOT_FOUND"}"#), None),
    ] {
        let (requests, found) = fixture.serve_replies(&[reply], client.find_current_id("512")).await;
        assert_eq!(found.unwrap().as_deref(), expected);
        assert_eq!(request_line(&requests[0]), "POST /crm/v3/objects/contacts/batch/read");
        let expected = json!({ "inputs": [{ "id": "512" }], "properties": [], "propertiesWithHistory": [] });
        assert_eq!(request_body(&requests[0]), expected);
    }
    let (_, unread) = fixture.serve_replies(&[missing("INTERNAL_ERROR")], client.find_current_id("512")).await;
    assert_eq!(unread.unwrap_err().fault(), Fault::Ambiguous, "it may be there");
}
