//! The client against a peer that answers as `HubSpot` documents it.

use loopback::response;
use serde_json::Value;
use shared::{
    client_config::{CrmKind, Unknown},
    fault::{Fault, Faulty as _},
};

use super::{
    super::{entry::tests::item, testing::*},
    *,
};

const HUBSPOT: CrmKind = CrmKind::HubSpot { unknown: Unknown::Create };

fn contact(id: &str, created: &str, phone: Option<&str>, mobile: Option<&str>) -> Value {
    json!({ "id": id, "properties": { "createdate": created, "phone": phone, "mobilephone": mobile } })
}

#[tokio::test]
async fn the_oldest_contact_with_the_number_is_taken_from_all_pages_however_it_was_typed() {
    let bench = Bench::start().await;
    let client = bench.client(&HUBSPOT, "hunter2");
    let first = json!({ "results": [
        contact("9", "2026-11-03T08:00:00Z", Some("054-555-0199"), None),
        contact("1", "2020-01-01T08:00:00Z", Some("+1 545-550-199"), Some("+972 52 555 0101")),
    ], "paging": { "next": { "after": "100" } } });
    let second = json!({ "results": [
        contact("8", "2026-11-01T08:00:00.000Z", None, Some("00972-54-555-0199")),
        contact("12", "2026-11-01T08:00:00.000Z", Some("+972545550199"), None),
    ] });
    let (requests, person) = bench.hears(&[ok(&first), ok(&second)], client.person(&phone(), None, now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("8"));
    assert_eq!(line(&requests[0]), "POST /crm/v3/objects/contacts/search");
    assert!(head(&requests[0]).contains("authorization: Bearer hunter2"));
    let asked = body(&requests[0]);
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
    assert_eq!((&asked["after"], &body(&requests[1])["after"]), (&Value::Null, &json!("100")));
}

#[tokio::test]
async fn who_is_unknown_is_made_or_left_out() {
    let bench = Bench::start().await;
    let none = ok(&json!({ "total": 0, "results": [] }));
    let skip = CrmKind::HubSpot { unknown: Unknown::Skip };
    let (_, person) =
        bench.hears(std::slice::from_ref(&none), bench.client(&skip, "hunter2").person(&phone(), None, now())).await;
    assert_eq!(person.unwrap(), None);
    let client = bench.client(&HUBSPOT, "hunter2");
    let made = response("201 Created", r#"{"id":"512","properties":{}}"#);
    let answers = [none.clone(), made];
    let (requests, person) = bench.hears(&answers, client.person(&phone(), Some("Noa bat Levi"), now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("512"));
    assert_eq!(line(&requests[1]), "POST /crm/v3/objects/contacts");
    let properties = json!({ "phone": "+972545550199", "firstname": "Noa bat", "lastname": "Levi" });
    assert_eq!(body(&requests[1]), json!({ "properties": properties }));

    let there = r#"{"status":"error","message":"Contact already exists. Existing ID: 77","category":"CONFLICT"}"#;
    let answers = [none.clone(), response("409 Conflict", there)];
    let (_, person) = bench.hears(&answers, client.person(&phone(), None, now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("77"));
    let answers = [none, response("409 Conflict", r#"{"message":"Noa exists","category":"CONFLICT"}"#)];
    let (_, person) = bench.hears(&answers, client.person(&phone(), None, now())).await;
    let error = person.unwrap_err();
    assert!(matches!(&error, CallError::Trouble { status: 409 }), "looked for again: {error}");
    reveals_nothing(&error);
}

#[tokio::test]
async fn an_entry_is_a_whatsapp_communication_on_the_contact_at_the_messages_time() {
    let bench = Bench::start().await;
    let client = bench.client(&HUBSPOT, "hunter2");
    let hostile = item("<script>\"Hello\"</script>");
    let answers = [response("201 Created", r#"{"id":"65400001"}"#)];
    let (requests, entry) = bench.hears(&answers, client.create_entry(Some("512"), &hostile, now())).await;
    assert_eq!(entry.unwrap().as_deref(), Some("65400001"));
    assert_eq!(line(&requests[0]), "POST /crm/v3/objects/communications");
    let sent = body(&requests[0]);
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
    assert_eq!(properties["hs_timestamp"], "2026-11-19T10:00:00Z");
    let text = properties["hs_communication_body"].as_str().unwrap();
    assert!(
        text.starts_with("Customer: &lt;script&gt;\"Hello\"&lt;/script&gt;<br>") && text.contains("conv-1"),
        "{text}"
    );
}

#[tokio::test]
async fn an_entry_is_looked_for_through_all_pages_and_the_newest_is_read_first() {
    let bench = Bench::start().await;
    let client = bench.client(&HUBSPOT, "hunter2");
    let to = |ids: std::ops::Range<u32>| ids.map(|id| json!({ "toObjectId": id })).collect::<Vec<_>>();
    let first = json!({ "results": to(1..31), "paging": { "next": { "after": "MzA=" } } });
    let second = json!({ "results": to(31..61) });
    let entry = |id: &str, content: &str| json!({ "id": id, "properties": { "hs_communication_body": content } });
    let others = json!({ "status": "COMPLETE", "results": [entry("60", "Hello"), entry("59", "")],
        "numErrors": 1, "errors": [{ "category": "OBJECT_NOT_FOUND" }] });
    let ours = json!({ "results": [entry("7", &format!("<p>{}</p>", html(&item("Hello"))))] });
    let answers = [ok(&first), ok(&second), response("207 Multi-Status", &others.to_string()), ok(&ours)];
    let item = item("Hello");
    let (requests, found) = bench.hears(&answers, client.find_entry(Some("512"), &item, now())).await;
    assert_eq!(found.unwrap().as_deref(), Some("7"));
    assert_eq!(line(&requests[0]), "GET /crm/v4/objects/contacts/512/associations/communications?limit=500");
    assert!(line(&requests[1]).ends_with("?limit=500&after=MzA%3D"));
    assert_eq!(line(&requests[2]), "POST /crm/v3/objects/communications/batch/read");
    let asked = |request: &str| body(request)["inputs"].as_array().unwrap().len();
    assert_eq!(
        (body(&requests[2])["inputs"][0]["id"].clone(), asked(&requests[2]), asked(&requests[3])),
        (json!("60"), 50, 10)
    );

    let (_, none) = bench.hears(&[ok(&json!({ "results": [] }))], client.find_entry(Some("512"), &item, now())).await;
    assert_eq!(none.unwrap(), None);
    // What was not read may be ours.
    let unread = json!({ "results": [], "errors": [{ "category": "INTERNAL_ERROR" }] });
    let answers = [ok(&second), response("207 Multi-Status", &unread.to_string())];
    let (_, unknown) = bench.hears(&answers, client.find_entry(Some("512"), &item, now())).await;
    assert_eq!(unknown.unwrap_err().fault(), Fault::Ambiguous);
}

#[tokio::test]
async fn every_refusal_says_whether_to_try_again_and_shows_nothing() {
    let bench = Bench::start().await;
    let client = bench.client(&HUBSPOT, "hunter2");
    let item = item("Hello");
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
        let (_, entry) = bench.hears(&[response(head, body)], client.create_entry(Some("512"), &item, now())).await;
        let error = entry.unwrap_err();
        assert_eq!(error.fault(), fault, "{head}");
        reveals_nothing(&error);
        if let CallError::Throttled { retry_after, .. } = error {
            assert_eq!(retry_after, Some(jiff::SignedDuration::from_secs(10)));
        }
    }
    let (_, lost) = bench.hears(&["HTTP/1.1 2".to_owned()], client.create_entry(Some("512"), &item, now())).await;
    let lost = lost.unwrap_err();
    assert_eq!(lost.fault(), Fault::Ambiguous);
    reveals_nothing(&lost);
    let (base, http, pace) = bench.leave();
    let away = Caller { http: &http, base_url: Some(&base), pace: &pace, secret: SECRET };
    let away = HubSpot { caller: &away, token: &Secret::new("hunter2") }.create_entry("512", &item).await.unwrap_err();
    assert_eq!(away.fault(), Fault::Transient);
    reveals_nothing(&away);
}
