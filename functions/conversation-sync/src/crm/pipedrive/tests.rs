//! The client against a peer that answers as Pipedrive documents it.

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

fn kind(unknown: Unknown) -> CrmKind {
    CrmKind::Pipedrive { company: "demo".to_owned(), unknown }
}

fn people(people: &[(u64, &[&str])], cursor: Option<&str>) -> Value {
    let items: Vec<_> = people
        .iter()
        .map(|(id, phones)| json!({ "item": { "id": id, "phones": phones, "owner": { "id": 1 } } }))
        .collect();
    json!({ "success": true, "data": { "items": items }, "additional_data": { "next_cursor": cursor } })
}

#[tokio::test]
async fn the_person_with_the_smallest_id_is_taken_from_all_pages_however_the_number_was_typed() {
    let bench = Bench::start().await;
    let kind = kind(Unknown::Create);
    let client = bench.client(&kind, "hunter2");
    let first = people(&[(10, &["+972 54-555-0199"]), (2, &["+1 545550199"])], Some("eyJh=="));
    let second = people(&[(9, &["03-5550123", "054 555 0199"]), (11, &["0545550199"])], None);
    let (requests, person) = bench.hears(&[ok(&first), ok(&second)], client.person(&phone(), None, now())).await;
    assert_eq!(person.unwrap().as_deref(), Some("9"));
    assert_eq!(line(&requests[0]), "GET /api/v2/persons/search?term=545550199&fields=phone&limit=100");
    assert!(line(&requests[1]).ends_with("&cursor=eyJh%3D%3D"));
    assert!(head(&requests[0]).contains("x-api-token: hunter2"));
}

#[tokio::test]
async fn who_is_unknown_is_made_or_left_out() {
    let bench = Bench::start().await;
    let none = ok(&people(&[], None));
    let skip = kind(Unknown::Skip);
    let (_, person) =
        bench.hears(std::slice::from_ref(&none), bench.client(&skip, "t").person(&phone(), None, now())).await;
    assert_eq!(person.unwrap(), None);
    let create = kind(Unknown::Create);
    let client = bench.client(&create, "t");
    let made = response("201 Created", r#"{"success":true,"data":{"id":9}}"#);
    for (name, written) in [(Some("Noa Levi"), "Noa Levi"), (Some(" "), "+972545550199"), (None, "+972545550199")] {
        let answers = [none.clone(), made.clone()];
        let (requests, person) = bench.hears(&answers, client.person(&phone(), name, now())).await;
        assert_eq!(person.unwrap().as_deref(), Some("9"));
        assert_eq!(line(&requests[1]), "POST /api/v2/persons");
        let phones = json!([{ "value": "+972545550199", "primary": true, "label": "mobile" }]);
        assert_eq!(body(&requests[1]), json!({ "name": written, "phones": phones }));
    }
}

#[tokio::test]
async fn an_entry_is_a_note_in_which_html_stays_text() {
    let bench = Bench::start().await;
    let kind = kind(Unknown::Create);
    let client = bench.client(&kind, "t");
    let hostile = item("<img src=x onerror=alert(1)>\n&lt;");
    let answers = [ok(&json!({ "success": true, "data": { "id": 77 } }))];
    let (requests, entry) = bench.hears(&answers, client.create_entry(Some("9"), &hostile, now())).await;
    assert_eq!(entry.unwrap().as_deref(), Some("77"));
    assert_eq!(line(&requests[0]), "POST /api/v1/notes");
    let sent = body(&requests[0]);
    assert_eq!((&sent["person_id"], &sent["add_time"]), (&json!(9), &json!("2026-11-19 10:00:00")));
    let content = sent["content"].as_str().unwrap();
    assert!(content.starts_with("Customer: &lt;img src=x onerror=alert(1)&gt;<br>&amp;lt;<br>WhatsApp"), "{content}");
}

#[tokio::test]
async fn an_entry_is_looked_for_through_all_pages() {
    let bench = Bench::start().await;
    let kind = kind(Unknown::Create);
    let client = bench.client(&kind, "t");
    let item = item("Hello");
    let page = |notes: Value, more: Value| json!({ "success": true, "data": notes, "additional_data": { "pagination": more } });
    let first = page(
        json!([{ "id": 80, "content": "Hello" }, { "id": 79, "content": null }]),
        json!({ "start": 0, "limit": 50, "more_items_in_collection": true, "next_start": 50 }),
    );
    let last = json!({ "start": 50, "limit": 50, "more_items_in_collection": false });
    let second = page(json!([{ "id": 12, "content": format!("<div>{}</div>", html(&item)) }]), last.clone());
    let (requests, found) = bench.hears(&[ok(&first), ok(&second)], client.find_entry(Some("9"), &item, now())).await;
    assert_eq!(found.unwrap().as_deref(), Some("12"));
    assert_eq!(line(&requests[0]), "GET /api/v1/notes?person_id=9&sort=add_time+DESC&start=0&limit=50");
    assert!(line(&requests[1]).contains("&start=50&"));
    let none = [ok(&first), ok(&page(Value::Null, last))];
    let (_, none) = bench.hears(&none, client.find_entry(Some("9"), &item, now())).await;
    assert_eq!(none.unwrap(), None);
}

#[tokio::test]
async fn every_refusal_says_whether_to_try_again_and_shows_nothing() {
    let bench = Bench::start().await;
    let kind = kind(Unknown::Create);
    let client = bench.client(&kind, "hunter2");
    let item = item("Hello");
    for (head, body, fault, says) in [
        ("429 Too Many Requests\r\nretry-after: 2", "", Fault::Transient, "patience"),
        ("403 Forbidden", "<html>hunter2</html>", Fault::Transient, "patience"),
        ("402 Payment Required", r#"{"success":false}"#, Fault::Transient, "patience"),
        ("403 Forbidden", r#"{"success":false,"error":"Noa"}"#, Fault::Transient, SECRET),
        ("401 Unauthorized", r#"{"success":false}"#, Fault::Transient, SECRET),
        ("404 Not Found", r#"{"success":false}"#, Fault::Transient, "no longer there"),
        ("500 Internal Server Error", "", Fault::Ambiguous, "500"),
        ("200 OK", r#"{"success":false,"data":{"id":1}}"#, Fault::Ambiguous, "means nothing"),
        (
            "400 Bad Request",
            r#"{"success":false,"code":"ERR_SCHEMA_VALIDATION_FAILED","error":"Noa"}"#,
            Fault::Permanent,
            "ERR_SCHEMA",
        ),
    ] {
        let (_, entry) = bench.hears(&[response(head, body)], client.create_entry(Some("9"), &item, now())).await;
        let error = entry.unwrap_err();
        assert_eq!(error.fault(), fault, "{head}");
        assert!(error.to_string().contains(says), "{head}: {error}");
        reveals_nothing(&error);
    }
    let (_, lost) = bench.hears(&["HTTP/1.1 2".to_owned()], client.create_entry(Some("9"), &item, now())).await;
    assert_eq!(lost.unwrap_err().fault(), Fault::Ambiguous);
}

#[tokio::test]
async fn a_company_that_is_no_part_of_a_host_gets_no_token() {
    let bench = Bench::start().await;
    for company in ["evil.example/", "a.b", "", "demo@evil.example#"] {
        let kind = CrmKind::Pipedrive { company: company.to_owned(), unknown: Unknown::Skip };
        let error = bench.client(&kind, "t").person(&phone(), None, now()).await.unwrap_err();
        assert!(matches!(error, CallError::Address(_)), "{company}");
    }
}
