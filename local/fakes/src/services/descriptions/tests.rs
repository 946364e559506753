use super::*;

const HUBSPOT: FakeService = FakeService::Crm("hubspot");
const PIPEDRIVE: FakeService = FakeService::Crm("pipedrive");
const ZOHO: FakeService = FakeService::Crm("zoho");
const SHEETS: FakeService = FakeService::Crm("google-sheets");
const SLACK: FakeService = FakeService::Target("slack");
const TEAMS: FakeService = FakeService::Target("teams");

async fn fake_request(method: &str, path: &str, body: Option<Value>) -> FakeRequest {
    let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    FakeRequest::from_http(request.body(axum::body::Body::from(body)).unwrap()).await.unwrap()
}

/// Service, method, address and body.
type DescribedRequest = (FakeService, &'static str, &'static str, Option<Value>);

/// A request of each operation as functions make it.
fn right_requests() -> Vec<DescribedRequest> {
    [hubspot_requests(), other_requests()].concat()
}

fn hubspot_requests() -> Vec<DescribedRequest> {
    let contact_filter = json!({"propertyName": "phone", "operator": "EQ", "value": "+972545550199"});
    let association = json!({"to": {"id": "7"}, "types": [
        {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 81},
    ]});
    vec![
        (
            HUBSPOT,
            "POST",
            "/crm/v3/objects/contacts/search",
            Some(json!({
                "filterGroups": [{"filters": [contact_filter]}], "properties": ["createdate"], "sorts": [],
                "limit": 100, "after": "0",
            })),
        ),
        (
            HUBSPOT,
            "POST",
            "/crm/v3/objects/contacts",
            Some(json!({"properties": {"phone": "+972545550199"}, "associations": []})),
        ),
        (
            HUBSPOT,
            "POST",
            "/crm/v3/objects/communications",
            Some(json!({"associations": [association], "properties": {
                "hs_communication_channel_type": "WHATS_APP", "hs_communication_logged_from": "CRM",
                "hs_communication_body": "Hi", "hs_timestamp": "2026-11-19T10:00:00.000Z",
            }})),
        ),
        (
            HUBSPOT,
            "POST",
            "/crm/v3/objects/communications/batch/read",
            Some(json!({
                "inputs": [{"id": "7"}], "properties": ["hs_communication_body"], "propertiesWithHistory": [],
            })),
        ),
        (HUBSPOT, "GET", "/crm/v4/objects/contacts/7/associations/communications?limit=500", None),
        (
            HUBSPOT,
            "POST",
            "/crm/v3/objects/contacts/batch/read",
            Some(json!({"inputs": [{"id": "7"}], "properties": [], "propertiesWithHistory": []})),
        ),
    ]
}

fn other_requests() -> Vec<DescribedRequest> {
    let zoho_record = json!({"Last_Name": "Levi", "Company": "-", "Mobile": "+972545550199"});
    let teams_path = "/a/workflows/b/triggers/manual/paths/invoke?api-version=1&sp=x&sv=1.0&sig=y";
    let card = json!({"type": "AdaptiveCard", "version": "1.2", "body": [
        {"type": "RichTextBlock", "spacing": "Default", "inlines": [{"type": "TextRun", "text": "Hi", "weight": "Bolder"}]},
    ]});
    vec![
        (PIPEDRIVE, "GET", "/api/v2/persons/search?term=545550199&fields=phone&limit=100", None),
        (
            PIPEDRIVE,
            "POST",
            "/api/v2/persons",
            Some(json!({"name": "Noa", "phones": [{"value": "+972545550199", "primary": true, "label": "mobile"}]})),
        ),
        (PIPEDRIVE, "GET", "/api/v2/persons/7", None),
        (PIPEDRIVE, "GET", "/api/v1/notes?person_id=7&sort=add_time%20DESC&start=0&limit=50", None),
        (
            PIPEDRIVE,
            "POST",
            "/api/v1/notes",
            Some(json!({"content": "Hi", "person_id": 7, "add_time": "2026-11-19 10:00:00"})),
        ),
        (
            ZOHO,
            "GET",
            "/crm/v8/Leads/search?phone=%2B972545550199&fields=Created_Time%2CMobile%2CPhone&page=1&per_page=50",
            None,
        ),
        (
            ZOHO,
            "POST",
            "/crm/v8/coql",
            Some(json!({"select_query": "select id from Leads where Mobile = '+972545550199' limit 200"})),
        ),
        (ZOHO, "POST", "/crm/v8/Leads", Some(json!({"data": [zoho_record], "trigger": []}))),
        (
            ZOHO,
            "POST",
            "/crm/v8/Leads/upsert",
            Some(json!({"data": [zoho_record], "duplicate_check_fields": ["Email"]})),
        ),
        (
            ZOHO,
            "POST",
            "/crm/v8/Notes",
            Some(json!({"data": [{
                "Note_Title": "WhatsApp", "Note_Content": "Hi", "Parent_Id": {"module": {"api_name": "Leads"}, "id": "7"},
            }]})),
        ),
        (ZOHO, "GET", "/crm/v8/Leads/7/Notes?fields=Note_Content&page=1&per_page=50", None),
        (
            SHEETS,
            "POST",
            "/v4/spreadsheets/1A/values/'Log'!A1:append?valueInputOption=RAW&insertDataOption=INSERT_ROWS&prettyPrint=false",
            Some(json!({"majorDimension": "ROWS", "values": [["main:1", "Hi"]]})),
        ),
        (SHEETS, "GET", "/v4/spreadsheets/1A/values/'Log'!A1:A10000?majorDimension=COLUMNS&prettyPrint=false", None),
        (
            SLACK,
            "POST",
            "/services/T0/B0/x",
            Some(json!({"text": "Hi", "mrkdwn": false, "unfurl_links": false, "unfurl_media": false})),
        ),
        (
            TEAMS,
            "POST",
            teams_path,
            Some(json!({"type": "message", "attachments": [
                {"contentType": "application/vnd.microsoft.card.adaptive", "content": card},
            ]})),
        ),
    ]
}

#[tokio::test]
async fn every_operation_has_a_request_that_its_description_accepts() {
    let mut seen = std::collections::BTreeSet::new();
    for (service, method, path, body) in right_requests() {
        let request = fake_request(method, path, body).await;
        assert_eq!(check_request(service, &request), Ok(()), "{method} {path}");
        let description = find_description(service, &request).unwrap().unwrap();
        let (operation, _) = description.find_operation(&request).unwrap();
        seen.insert((service, operation.method.to_string(), operation.path.to_string()));
    }
    let forms = ["/oauth/v2/token", "/token"];
    for (service, text) in FILES {
        for operation in ApiDescription::read(text).unwrap().operations {
            let name = (service, operation.method.to_string(), operation.path.to_string());
            assert!(seen.contains(&name) || forms.contains(&name.2.as_str()), "no request shows {name:?}");
        }
    }
}

/// Replaces or removes a part of a body.
fn change(body: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(fields), Some(value)) => drop(fields.insert(name.to_owned(), value)),
        (Value::Object(fields), None) => assert!(fields.remove(name).is_some(), "{pointer}"),
        (Value::Array(items), Some(value)) => items[name.parse::<usize>().unwrap()] = value,
        (parent, _) => panic!("{parent}"),
    }
    body
}

#[tokio::test]
async fn a_wrong_request_is_a_violation_that_names_the_field_and_no_value() {
    let cases: Vec<(FakeService, &str, &str, Option<Value>)> = vec![
        (HUBSPOT, "/crm/v3/objects/contacts/search", "/after", None),
        (HUBSPOT, "/crm/v3/objects/contacts/search", "/sorts", None),
        (HUBSPOT, "/crm/v3/objects/contacts/search", "/limit", Some(json!(201))),
        (HUBSPOT, "/crm/v3/objects/contacts/search", "/filterGroups/0/filters/0/operator", Some(json!("LIKE"))),
        (HUBSPOT, "/crm/v3/objects/contacts/search", "/filterGroups/0/filters/0/value", None),
        (HUBSPOT, "/crm/v3/objects/contacts", "/associations", None),
        (HUBSPOT, "/crm/v3/objects/contacts", "/properties/mobile_phone", Some(json!("+972545550199"))),
        (HUBSPOT, "/crm/v3/objects/contacts", "/properties/phone", Some(json!(972_545_550_199_u64))),
        (HUBSPOT, "/crm/v3/objects/communications", "/properties/hs_timestamp", None),
        (HUBSPOT, "/crm/v3/objects/communications", "/properties/hs_timestamp", Some(json!("2026-11-19 10:00"))),
        (HUBSPOT, "/crm/v3/objects/communications", "/properties/hs_communication_logged_from", None),
        (HUBSPOT, "/crm/v3/objects/communications", "/associations/0/to/id", Some(json!(7))),
        (HUBSPOT, "/crm/v3/objects/communications", "/associations/0/types/0/associationCategory", None),
        (HUBSPOT, "/crm/v3/objects/communications", "/associations/0/types/0/associationTypeId", Some(json!(202))),
        (HUBSPOT, "/crm/v3/objects/communications/batch/read", "/propertiesWithHistory", None),
        (PIPEDRIVE, "/api/v2/persons", "/name", None),
        (PIPEDRIVE, "/api/v2/persons", "/phone", Some(json!("+972545550199"))),
        (PIPEDRIVE, "/api/v1/notes", "/content", None),
        (PIPEDRIVE, "/api/v1/notes", "/person_id", Some(json!("7"))),
        (PIPEDRIVE, "/api/v1/notes", "/add_time", Some(json!("2026-11-19T10:00:00Z"))),
        (ZOHO, "/crm/v8/coql", "/select_query", None),
        (ZOHO, "/crm/v8/Leads", "/data/0/Last_Name", None),
        (ZOHO, "/crm/v8/Leads", "/duplicate_check_fields", Some(json!(["Mobile"]))),
        (ZOHO, "/crm/v8/Leads/upsert", "/duplicate_check_fields/0", Some(json!("Mobile"))),
        (ZOHO, "/crm/v8/Notes", "/data/0/Parent_Id", None),
        (ZOHO, "/crm/v8/Notes", "/data/0/Parent_Id", Some(json!("7"))),
        (ZOHO, "/crm/v8/Notes", "/data/0/Parent_Id/module", None),
        (ZOHO, "/crm/v8/Notes", "/data/0/Note_Content", Some(json!("x".repeat(32_001)))),
        (SHEETS, ":append", "/values/0", Some(json!("main:1"))),
        (SHEETS, ":append", "/majorDimension", Some(json!("RAW"))),
        (SLACK, "/services/", "/text", Some(json!("x".repeat(40_001)))),
        (SLACK, "/services/", "/channel", Some(json!("#general"))),
        (TEAMS, "/invoke", "/attachments/0/content/version", None),
        (TEAMS, "/invoke", "/attachments/0/content/body/0/inlines/0/text", None),
        (TEAMS, "/invoke", "/attachments/0/content/body/0/inlines/0/weight", Some(json!("Heavy"))),
        (TEAMS, "/invoke", "/attachments/0/content/body/0/wrap", Some(json!(true))),
    ];
    let right = right_requests();
    for (service, part, pointer, value) in cases {
        let is_meant = |request: &&DescribedRequest| {
            let path = request.2.split('?').next().unwrap_or_default();
            let matches =
                if part.starts_with("/crm") || part.starts_with("/api") { path == part } else { path.contains(part) };
            request.0 == service && request.1 == "POST" && matches
        };
        let (_, method, path, body) = right.iter().find(is_meant).unwrap_or_else(|| panic!("{part}"));
        let body = change(body.as_ref().unwrap(), pointer, value);
        let violation = check_request(service, &fake_request(method, path, Some(body)).await).unwrap_err();
        let place = format!("/body{pointer}");
        assert!(violation.problems.iter().any(|(at, _)| *at == place), "{part} {pointer}: {violation}");
        assert!(!violation.to_string().contains("9725455"), "{violation}");
    }
}

#[tokio::test]
async fn a_query_is_checked_by_its_types_and_an_unknown_operation_is_a_violation() {
    for (service, path, place) in [
        (HUBSPOT, "/crm/v4/objects/contacts/7/associations/communications?limit=501", "/query/limit"),
        (PIPEDRIVE, "/api/v2/persons/search?fields=phone", "/query/term"),
        (PIPEDRIVE, "/api/v2/persons/search?term=5&fields=phone", "/query/term"),
        (PIPEDRIVE, "/api/v2/persons/search?term=55&fields=mobile", "/query/fields"),
        (PIPEDRIVE, "/api/v1/notes?person_id=x", "/query/person_id"),
        (PIPEDRIVE, "/api/v1/notes?sort=title%20DESC", "/query/sort"),
        (ZOHO, "/crm/v8/Leads/search?fields=Mobile", "/query/phone"),
        (ZOHO, "/crm/v8/Leads/search?phone=55&per_page=201", "/query/per_page"),
        (ZOHO, "/crm/v8/Leads/search?phone=55&phone=56", "/query/phone"),
        (ZOHO, "/crm/v8/Leads/7/Notes?page=1", "/query/fields"),
        (ZOHO, "/crm/v8/Deals/search?phone=55", "/parameters/module"),
        (SHEETS, "/v4/spreadsheets/1A/values/Log!a1?majorDimension=COLUMNS", "/parameters/range"),
        (SHEETS, "/v4/spreadsheets/1A/values/Log?majorDimension=ALL", "/query/majorDimension"),
        (ZOHO, "/crm/v2/Leads/search?phone=55", "path"),
    ] {
        let violation = check_request(service, &fake_request("GET", path, None).await).unwrap_err();
        assert!(violation.problems.iter().any(|(at, _)| at == place), "{path}: {violation}");
    }
    let exact = "/api/v2/persons/search?term=5&fields=phone&exact_match=true";
    assert_eq!(check_request(PIPEDRIVE, &fake_request("GET", exact, None).await), Ok(()));
    let unsorted =
        fake_request("POST", "/v4/spreadsheets/1A/values/Log!A1:append", Some(json!({"values": [[]]}))).await;
    let violation = check_request(SHEETS, &unsorted).unwrap_err();
    assert_eq!(violation.problems, [("/query/valueInputOption".to_owned(), "is required".to_owned())]);
}

#[tokio::test]
async fn a_reply_of_a_fake_is_checked_too() {
    let (_, method, path, body) = right_requests().swap_remove(1);
    let request = fake_request(method, path, body).await;
    let check = |status: u16, body: &Value| {
        let status = StatusCode::from_u16(status).unwrap();
        check_reply(HUBSPOT, &request, status, body.to_string().as_bytes()).map_err(|found| found.to_string())
    };
    let times = "2026-11-19T10:00:00.000Z";
    let made =
        json!({"id": "7", "properties": {"phone": null}, "createdAt": times, "updatedAt": times, "archived": false});
    assert_eq!(check(201, &made), Ok(()));
    assert!(check(201, &json!({"id": 7})).unwrap_err().contains("reply 201/id"));
    assert!(check(200, &made).unwrap_err().contains("reply 200: is not described"));
    assert!(check(400, &json!({"message": "x"})).unwrap_err().contains("reply 400/category: is required"));
    assert_eq!(check_reply(HUBSPOT, &request, StatusCode::TOO_MANY_REQUESTS, b""), Ok(()));
}

#[tokio::test]
async fn the_documented_examples_of_webhooks_are_as_the_schema_says() {
    let docs = include_str!("../../../../../docs/configuration.md");
    let examples = docs.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let events: Vec<Value> = examples
        .map(|example| serde_json::from_str::<Value>(example).unwrap())
        .filter(|example| example["type"].as_str().is_some_and(|kind| kind.starts_with("conversation.")))
        .collect();
    assert_eq!(events.len(), WEBHOOKS.len());
    let schema: Value = serde_json::from_str(WEBHOOK_SCHEMA).unwrap();
    let whole = SchemaValidator::build(&json!({ "oneOf": schema["oneOf"] }), &schema["$defs"]).unwrap();
    for (event, (service, _)) in events.into_iter().zip(WEBHOOKS) {
        assert_eq!(whole.find_problems(&event), [], "{event}");
        let request = fake_request("POST", "/any/address?a=b", Some(event.clone())).await;
        assert_eq!(check_request(service, &request), Ok(()));
        for (pointer, value) in [
            ("/data/line", None),
            ("/data/customer/phone", Some(json!("054-555-0199"))),
            ("/data/conversationId", Some(json!("conv_01"))),
            ("/timestamp", Some(json!("2026-11-19 10:05"))),
        ] {
            let wrong = change(&event, pointer, value);
            let request = fake_request("POST", "/any/address", Some(wrong)).await;
            let violation = check_request(service, &request).unwrap_err();
            let place = format!("/body{pointer}");
            assert!(violation.problems.iter().any(|(at, _)| *at == place), "{pointer}: {violation}");
        }
    }
}
