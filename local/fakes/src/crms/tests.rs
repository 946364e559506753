//! The fake CRMs over HTTP, as functions call them.
//!
//! Long because every kind of CRM has answers of its own.

use std::time::Duration;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use ring::{rand::SystemRandom, signature};
use serde_json::json;
use tellonce_core::client_config::{DataCentre, HubSpotCrm, PipedriveCrm, UnknownContactRule, ZohoCrm, ZohoModule};

use super::*;
use crate::{
    FakeHost as _,
    host::test_host::TestHost,
    server::serve_router,
    services::{self, FakeFault},
};

/// The demo's own secrets, with the key of its service account.
const DEMO: &str = include_str!("../../../../clients/demo/secrets.json");
const PHONE: &str = "+972545550199";

/// The fakes, served as the stack serves them.
struct CrmFixture {
    crms: Arc<FakeCrms>,
    services: Arc<FakeServices>,
    host: Arc<TestHost>,
    url: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

fn demo_accounts() -> Vec<FakeCrmAccount> {
    let account =
        |name: &str, kind| FakeCrmAccount { name: name.to_owned(), kind, secret: format!("tellonce/demo/crms/{name}") };
    let unknown = UnknownContactRule::Create;
    let sheet = |sheet: &str| {
        CrmKind::GoogleSheets(GoogleSheetsCrm { spreadsheet: "1Demo".to_owned(), sheet: sheet.to_owned() })
    };
    let url = "https://crm.example/hooks/whatsapp".to_owned();
    vec![
        account("hubspot", CrmKind::HubSpot(HubSpotCrm { unknown })),
        account("second", CrmKind::HubSpot(HubSpotCrm { unknown })),
        account("pipedrive", CrmKind::Pipedrive(PipedriveCrm { company: "demo".to_owned(), unknown })),
        account("zoho", CrmKind::Zoho(ZohoCrm { data_centre: DataCentre::Eu, module: ZohoModule::Leads })),
        account("sheet", sheet("Log")),
        FakeCrmAccount { secret: "tellonce/demo/crms/sheet".to_owned(), ..account("other", sheet("My sheet")) },
        account("own", CrmKind::Webhook(WebhookCrm { url })),
    ]
}

async fn start_fixture() -> CrmFixture {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(TestHost::new(DEMO));
    host.set_secret("tellonce/demo/crms/second", "second-token");
    let services = Arc::new(FakeServices::new(Vec::new(), host.clone()));
    let state_file = Some(folder.path().join("crms.json"));
    let lines = vec!["main".to_owned()];
    let crms = Arc::new(FakeCrms::open(state_file, demo_accounts(), lines, services.clone()).unwrap());
    let app = Router::new()
        .fallback(async || "another service")
        .layer(from_fn_with_state(crms.clone(), route_crm_requests))
        .layer(from_fn(services::abort_dropped_replies));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    serve_router(app, listener, "the fake CRMs");
    let http = tellonce_core::bootstrap::build_http_client().unwrap();
    CrmFixture { crms, services, host, url, http, folder }
}

impl CrmFixture {
    fn build_request(&self, method: Method, path: &str, authorization: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url)).header("authorization", authorization);
        request.timeout(Duration::from_secs(5))
    }

    async fn send_request(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        (response.status().as_u16(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn get_json(&self, path: &str, authorization: &str) -> (u16, Value) {
        self.send_request(self.build_request(Method::GET, path, authorization)).await
    }

    async fn post_json(&self, path: &str, authorization: &str, body: &Value) -> (u16, Value) {
        self.send_request(self.build_request(Method::POST, path, authorization).json(body)).await
    }

    async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.url)).body(body);
        self.send_request(request.header("content-type", "application/x-www-form-urlencoded")).await
    }
}

const HUBSPOT: &str = "Bearer demo-hubspot-crm-token";

fn search_body(phone: &str, national: &str) -> Value {
    let filter =
        |name: &str, value: &str| json!({"filters": [{"propertyName": name, "operator": "EQ", "value": value}]});
    json!({
        "filterGroups": [filter("hs_searchable_calculated_phone_number", national), filter("mobilephone", phone)],
        "properties": ["phone", "mobilephone"], "sorts": [], "limit": 1, "after": "0",
    })
}

fn contact_body(property: &str, value: &str) -> Value {
    json!({"properties": {property: value}, "associations": []})
}

fn communication_body(contact: &Value, reference: &str) -> Value {
    json!({
        "properties": {
            "hs_communication_channel_type": "WHATS_APP", "hs_communication_logged_from": "CRM",
            "hs_communication_body": format!("Hello<br>{reference}"), "hs_timestamp": "2026-11-19T10:00:00Z",
        },
        "associations": [{
            "to": {"id": contact}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 81}],
        }],
    })
}

#[tokio::test]
async fn hubspot_finds_a_number_in_any_filter_group_by_pages_and_after_its_search_lag() {
    let served = start_fixture().await;
    let path = "/crm/v3/objects/contacts/search";
    let search = search_body(PHONE, "545550199");
    assert_eq!(served.post_json(path, HUBSPOT, &search).await, (200, json!({"total": 0, "results": []})));
    served.crms.put_person("hubspot", json!({"phone": "054-555-0199"})).unwrap();
    served.crms.set_search_lag(60_000);
    let made = served.post_json("/crm/v3/objects/contacts", HUBSPOT, &contact_body("mobilephone", PHONE)).await;
    assert_eq!((made.0, &made.1["properties"]["mobilephone"]), (201, &json!(PHONE)));
    let (_, page) = served.post_json(path, HUBSPOT, &search).await;
    assert_eq!((&page["total"], &page["results"][0]["properties"]["phone"]), (&json!(1), &json!("054-555-0199")));
    served.host.advance(Duration::from_secs(61));
    let (_, page) = served.post_json(path, HUBSPOT, &search).await;
    assert_eq!((&page["total"], &page["paging"]["next"]["after"]), (&json!(2), &json!("1")));
    let mut next = search.clone();
    next["after"] = json!("1");
    let (_, page) = served.post_json(path, HUBSPOT, &next).await;
    assert_eq!((&page["results"][0]["id"], page.get("paging")), (&made.1["id"], None));
    next["after"] = json!("10000");
    assert_eq!(served.post_json(path, HUBSPOT, &next).await.0, 400, "a search has 10,000 results");
    assert_eq!(served.services.violations(), []);
    next["limit"] = json!(201);
    let (status, refusal) = served.post_json(path, HUBSPOT, &next).await;
    assert_eq!((status, &refusal["category"]), (400, &json!("VALIDATION_ERROR")));
    assert!(refusal["message"].as_str().unwrap().contains("/body/limit"), "{refusal}");
    assert_eq!(
        served.post_json(path, "Bearer second-token", &search).await.1["total"],
        0,
        "each CRM has its own records"
    );
    let (status, refusal) = served.post_json(path, "Bearer hubspot", &search).await;
    assert_eq!((status, &refusal["category"]), (401, &json!("INVALID_AUTHENTICATION")));
}

#[tokio::test]
async fn hubspot_stores_communications_with_their_contact_and_lists_them_in_pages() {
    let served = start_fixture().await;
    let path = "/crm/v3/objects/communications";
    let (_, contact) = served.post_json("/crm/v3/objects/contacts", HUBSPOT, &contact_body("phone", PHONE)).await;
    for number in 0..3 {
        let body = communication_body(&contact["id"], &format!("main:wamid_{number}"));
        assert_eq!(served.post_json(path, HUBSPOT, &body).await.0, 201);
    }
    let references: Vec<_> = served.crms.entries("hubspot").into_iter().filter_map(|entry| entry.reference).collect();
    assert_eq!(references, ["main:wamid_0", "main:wamid_1", "main:wamid_2"]);
    let list = format!("/crm/v4/objects/contacts/{}/associations/communications", contact["id"].as_str().unwrap());
    let (_, first) = served.get_json(&format!("{list}?limit=2"), HUBSPOT).await;
    assert_eq!(first["results"].as_array().unwrap().len(), 2);
    let after = first["paging"]["next"]["after"].as_str().unwrap();
    let (_, rest) = served.get_json(&format!("{list}?limit=2&after={after}"), HUBSPOT).await;
    assert_eq!((rest["results"].as_array().unwrap().len(), rest.get("paging")), (1, None));
    let id = rest["results"][0]["toObjectId"].as_str().unwrap();
    let batch_body =
        |ids: Value| json!({"properties": ["hs_communication_body"], "propertiesWithHistory": [], "inputs": ids});
    let batch = batch_body(json!([{"id": id}]));
    let (status, read) = served.post_json(&format!("{path}/batch/read"), HUBSPOT, &batch).await;
    let body = &read["results"][0]["properties"]["hs_communication_body"];
    assert_eq!((status, body), (200, &json!("Hello<br>main:wamid_2")));
    let gone = batch_body(json!([{"id": id}, {"id": "7"}]));
    assert_eq!(served.post_json(&format!("{path}/batch/read"), HUBSPOT, &gone).await.0, 207);
    assert_eq!(served.post_json(path, HUBSPOT, &communication_body(&json!("7"), "main:x")).await.0, 400);
    assert_eq!(served.services.violations(), []);
    let mut wrong = communication_body(&contact["id"], "main:x");
    wrong["associations"][0]["types"][0]["associationTypeId"] = json!(202);
    assert_eq!(served.post_json(path, HUBSPOT, &wrong).await.0, 400);
    assert_eq!((served.crms.entries("hubspot").len(), served.crms.owner_assignments()), (3, 0));
    wrong["properties"]["hubspot_owner_id"] = json!("1");
    served.post_json(path, HUBSPOT, &wrong).await;
    assert_eq!(served.crms.owner_assignments(), 1);
}

#[tokio::test]
async fn pipedrive_searches_digits_and_pages_notes() {
    let served = start_fixture().await;
    let get = async |path: &str| {
        served
            .send_request(
                served.http.get(format!("{}{path}", served.url)).header("x-api-token", "demo-pipedrive-token"),
            )
            .await
    };
    let post = async |path: &str, body: Value| {
        let request = served.http.post(format!("{}{path}", served.url)).header("x-api-token", "demo-pipedrive-token");
        served.send_request(request.json(&body)).await
    };
    assert_eq!(served.get_json("/api/v2/persons/search?term=55", "").await.0, 401);
    let (status, made) = post("/api/v2/persons", json!({"name": "Noa", "phones": [{"value": "054-555-0199"}]})).await;
    assert_eq!(status, 201);
    let id = made["data"]["id"].as_u64().unwrap();
    let found = async |term: &str| {
        let (_, answer) = get(&format!("/api/v2/persons/search?fields=phone&term={term}")).await;
        answer["data"]["items"].as_array().unwrap().iter().map(|item| item["item"]["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(found("45550199").await, [json!(id)]);
    assert_eq!(found("45550198").await, Vec::<Value>::new());
    assert_eq!(found("45550199&exact_match=true").await, Vec::<Value>::new());
    assert_eq!(get("/api/v2/persons/search?fields=phone&term=4").await.0, 400);
    let (status, refusal) = post("/api/v2/persons", json!({"phones": []})).await;
    assert_eq!((status, &refusal["success"]), (400, &json!(false)));
    assert!(refusal["error"].as_str().unwrap().contains("/body/name: is required"), "{refusal}");
    let notes = format!("/api/v1/notes?person_id={id}&limit=2");
    assert_eq!(get(&notes).await.1["data"], Value::Null);
    for number in 0..3 {
        let note = json!({"content": format!("<b>Hi</b> main:{number}"), "person_id": id});
        assert_eq!(post("/api/v1/notes", note).await.0, 200);
    }
    let (_, first) = get(&notes).await;
    let pagination = &first["additional_data"]["pagination"];
    assert_eq!((&pagination["more_items_in_collection"], &pagination["next_start"]), (&json!(true), &json!(2)));
    let (_, rest) = get(&format!("{notes}&start=2")).await;
    assert_eq!(rest["data"][0]["content"], "<b>Hi</b> main:2");
    assert_eq!(rest["additional_data"]["pagination"]["more_items_in_collection"], false);
    assert_eq!(post("/api/v1/notes", json!({"content": "x", "person_id": 7})).await.0, 400);
    assert_eq!(served.crms.entries("pipedrive")[2].reference.as_deref(), Some("main:2"));
}

async fn request_zoho_token(served: &CrmFixture) -> (u16, Value) {
    let secret: Value = serde_json::from_str(&served.host.secret_value("tellonce/demo/crms/zoho").unwrap()).unwrap();
    let field = |name: &str| secret[name].as_str().unwrap().to_owned();
    let (id, hush, refresh) = (field("client_id"), field("client_secret"), field("refresh_token"));
    let fields =
        [("grant_type", "refresh_token"), ("client_id", &id), ("client_secret", &hush), ("refresh_token", &refresh)];
    served.post_form("/oauth/v2/token", &fields).await
}

#[tokio::test]
async fn zoho_mints_tokens_for_its_own_credential_and_not_too_many() {
    let served = start_fixture().await;
    let wrong = [("grant_type", "refresh_token"), ("client_id", "x"), ("client_secret", "x"), ("refresh_token", "x")];
    assert_eq!(served.post_form("/oauth/v2/token", &wrong).await, (200, json!({"error": "invalid_code"})));
    let (_, first) = request_zoho_token(&served).await;
    let token = format!("Zoho-oauthtoken {}", first["access_token"].as_str().unwrap());
    let search = "/crm/v8/Leads/search?phone=%2B972545550199";
    assert_eq!(served.get_json(search, &token).await.0, 204);
    served.host.advance(Duration::from_secs(3601));
    assert_eq!(served.get_json(search, &token).await.1["code"], "INVALID_TOKEN");
    for _ in 0..10 {
        assert_eq!(request_zoho_token(&served).await.0, 200);
    }
    assert_eq!(request_zoho_token(&served).await.1["error"], "Access Denied");
    assert_eq!(served.crms.minted_token_count("zoho"), 11);
}

#[tokio::test]
async fn zoho_inserts_records_and_finds_a_new_one_at_once_only_by_a_query() {
    let served = start_fixture().await;
    let (_, token) = request_zoho_token(&served).await;
    let token = format!("Zoho-oauthtoken {}", token["access_token"].as_str().unwrap());
    let row = json!({"Last_Name": "Levi", "Company": "-", "Mobile": PHONE});
    let insert = json!({"data": [row, {"Last_Name": "Levi", "Mobile": "+972"}], "trigger": []});
    served.crms.set_search_lag(60_000);
    let (status, made) = served.post_json("/crm/v8/Leads", &token, &insert).await;
    assert_eq!(
        (status, &made["data"][0]["action"], &made["data"][1]["code"]),
        (202, &json!("insert"), &json!("MANDATORY_NOT_FOUND"))
    );
    let search = "/crm/v8/Leads/search?phone=972545550199&fields=Created_Time,Mobile";
    assert_eq!(served.get_json(search, &token).await.0, 204, "the search lags");
    let query = |module: &str| {
        let query = format!("select id, Mobile from {module} where Mobile = '{PHONE}' or Phone = '{PHONE}' limit 200");
        json!({ "select_query": query })
    };
    let (status, found) = served.post_json("/crm/v8/coql", &token, &query("Leads")).await;
    assert_eq!((status, &found["data"][0]["id"]), (200, &made["data"][0]["details"]["id"]));
    assert_eq!(served.post_json("/crm/v8/coql", &token, &query("Contacts")).await.0, 204, "another module");
    let odd = json!({"select_query": "select id from Leads where Mobile like '%199'"});
    assert_eq!(served.post_json("/crm/v8/coql", &token, &odd).await.1["code"], "SYNTAX_ERROR");
    served.host.advance(Duration::from_secs(61));
    let (_, found) = served.get_json(search, &token).await;
    assert_eq!((&found["data"][0]["Mobile"], &found["info"]["more_records"]), (&json!(PHONE), &json!(false)));
    let far = format!("{search}&page=11");
    assert_eq!(served.get_json(&far, &token).await.1["code"], "DISCRETE_PAGINATION_LIMIT_EXCEEDED");
    assert_eq!(served.services.violations(), []);
}

#[tokio::test]
async fn zoho_checks_for_duplicates_only_by_a_unique_field() {
    let served = start_fixture().await;
    let (_, token) = request_zoho_token(&served).await;
    let token = format!("Zoho-oauthtoken {}", token["access_token"].as_str().unwrap());
    let row = json!({"Last_Name": "Levi", "Company": "-", "Mobile": PHONE, "Email": "noa@example.com"});
    let upsert = |field: &str| json!({"data": [row], "duplicate_check_fields": [field], "trigger": []});
    let path = "/crm/v8/Leads/upsert";
    assert_eq!(served.post_json(path, &token, &upsert("Email")).await.1["data"][0]["action"], "insert");
    assert_eq!(served.post_json(path, &token, &upsert("Email")).await.1["data"][0]["action"], "update");
    let (status, refusal) = served.post_json("/crm/v8/Leads", &token, &json!({"data": [row]})).await;
    assert_eq!((status, &refusal["data"][0]["code"]), (202, &json!("DUPLICATE_DATA")));
    assert_eq!(served.services.violations(), []);
    let (status, refusal) = served.post_json(path, &token, &upsert("Mobile")).await;
    assert_eq!((status, &refusal["code"]), (400, &json!("INVALID_DATA")));
    assert_eq!(refusal["details"]["json_path"], "$.duplicate_check_fields[0]");
    assert_eq!(served.crms.people("zoho").len(), 1);
}

#[tokio::test]
async fn zoho_writes_notes_on_a_parent_and_lists_them_in_pages() {
    let served = start_fixture().await;
    let (_, token) = request_zoho_token(&served).await;
    let token = format!("Zoho-oauthtoken {}", token["access_token"].as_str().unwrap());
    let id = served.crms.put_person("zoho", json!({"Last_Name": "Levi", "Mobile": PHONE})).unwrap();
    let notes = format!("/crm/v8/Leads/{id}/Notes");
    let fields = format!("{notes}?fields=Note_Content&per_page=2");
    assert_eq!(served.get_json(&fields, &token).await.0, 204);
    let note = |parent: &str, text: &str| {
        let parent = json!({"module": {"api_name": "Leads"}, "id": parent});
        json!({"data": [{"Note_Title": "WhatsApp", "Note_Content": text, "Parent_Id": parent}]})
    };
    for number in 0..3 {
        let note = note(&id, &format!("Hi main:{number}"));
        assert_eq!(served.post_json("/crm/v8/Notes", &token, &note).await.0, 201);
    }
    let (_, first) = served.get_json(&fields, &token).await;
    assert_eq!(
        (&first["data"][0]["Note_Content"], &first["info"]["more_records"]),
        (&json!("Hi main:2"), &json!(true))
    );
    let (_, rest) = served.get_json(&format!("{fields}&page=2"), &token).await;
    assert_eq!((&rest["info"]["count"], &rest["info"]["more_records"]), (&json!(1), &json!(false)));
    let (status, refusal) = served.post_json("/crm/v8/Notes", &token, &note("7", "x")).await;
    assert_eq!((status, &refusal["data"][0]["details"]["api_name"]), (202, &json!("Parent_Id")));
    assert_eq!(served.services.violations(), []);
    assert_eq!(served.get_json(&notes, &token).await.1["code"], "REQUIRED_PARAM_MISSING");
    let orphan = json!({"data": [{"Note_Content": "x"}]});
    let (status, refusal) = served.post_json("/crm/v8/Notes", &token, &orphan).await;
    assert_eq!((status, &refusal["code"]), (400, &json!("MANDATORY_NOT_FOUND")));
    assert_eq!(refusal["details"]["json_path"], "$.data[0].Parent_Id");
}

/// A claim for a token, signed with the demo's key.
fn sign_claim(served: &CrmFixture, change: impl FnOnce(&mut Value)) -> String {
    let account: Value = serde_json::from_str(&served.host.secret_value("tellonce/demo/crms/sheet").unwrap()).unwrap();
    let now = served.host.now_ms() / 1000;
    let mut claims = json!({
        "iss": account["client_email"], "scope": "https://www.googleapis.com/auth/spreadsheets",
        "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600,
    });
    change(&mut claims);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT"})), part(&claims));
    let pem: String = account["private_key"].as_str().unwrap().lines().filter(|line| !line.starts_with('-')).collect();
    let pair = signature::RsaKeyPair::from_pkcs8(&BASE64.decode(pem).unwrap()).unwrap();
    let mut made = vec![0; pair.public().modulus_len()];
    pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut made).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(made))
}

async fn request_google_token(served: &CrmFixture, assertion: &str) -> (u16, Value) {
    let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    served.post_form("/token", &[("grant_type", kind), ("assertion", assertion)]).await
}

#[tokio::test]
async fn google_gives_a_token_for_a_short_claim_that_the_account_signed() {
    let served = start_fixture().await;
    let (status, token) = request_google_token(&served, &sign_claim(&served, |_| {})).await;
    assert_eq!((status, &token["expires_in"]), (200, &json!(3599)));
    let now = served.host.now_ms() / 1000;
    let mut forged = sign_claim(&served, |_| {});
    forged.replace_range(forged.len() - 8..forged.len() - 4, "AAAA");
    let wrong = [
        sign_claim(&served, |claims| claims["exp"] = json!(now + 3700)),
        sign_claim(&served, |claims| (claims["iat"], claims["exp"]) = (json!(now - 3601), json!(now - 1))),
        sign_claim(&served, |claims| claims["aud"] = json!("https://sheets.googleapis.com/")),
        sign_claim(&served, |claims| claims["iss"] = json!("somebody@else.example")),
        sign_claim(&served, |claims| claims["scope"] = json!("https://www.googleapis.com/auth/drive")),
        forged,
        "x.y.z".to_owned(),
    ];
    for claim in wrong {
        let (status, refusal) = request_google_token(&served, &claim).await;
        assert_eq!((status, &refusal["error"]), (400, &json!("invalid_grant")), "{refusal}");
    }
}

#[tokio::test]
async fn a_sheet_accepts_raw_rows_and_returns_a_column_of_them() {
    let served = start_fixture().await;
    let (_, token) = request_google_token(&served, &sign_claim(&served, |_| {})).await;
    let token = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let append = "/v4/spreadsheets/1Demo/values/Log!A1:append?valueInputOption=RAW&insertDataOption=INSERT_ROWS";
    let column = "/v4/spreadsheets/1Demo/values/Log!B:B?majorDimension=COLUMNS";
    assert!(served.get_json(column, &token).await.1.get("values").is_none());
    for number in 0..2 {
        let row = json!({"values": [["=HYPERLINK(1)", format!("main:{number}"), null, 7]]});
        let (status, done) = served.post_json(append, &token, &row).await;
        assert_eq!((status, &done["updates"]["updatedRange"]), (200, &json!(format!("Log!A{0}:D{0}", number + 1))));
    }
    assert_eq!(served.get_json(column, &token).await.1["values"], json!([["main:0", "main:1"]]));
    let rows = served.get_json("/v4/spreadsheets/1Demo/values/Log!A2:D", &token).await.1;
    assert_eq!(rows["values"], json!([["=HYPERLINK(1)", "main:1", "", "7"]]));
    assert_eq!(served.crms.entries("sheet")[1].reference.as_deref(), Some("main:1"));
    assert_eq!(served.services.violations(), []);
    let computed = append.replace("RAW", "USER_ENTERED");
    assert_eq!(served.post_json(&computed, &token, &json!({"values": [["x"]]})).await.0, 400);
    assert_eq!(served.post_json(&append.replace("1Demo", "2Demo"), &token, &json!({"values": [["x"]]})).await.0, 404);
    let other = append.replace("Log!A1", "%27My%20sheet%27%21A1");
    assert_eq!(served.post_json(&other, &token, &json!({"values": [["main:x"]]})).await.0, 200);
    assert_eq!((served.crms.entries("sheet").len(), served.crms.entries("other").len()), (2, 1));
    served.crms.revoke_tokens("sheet");
    assert_eq!(served.get_json(column, &token).await.1["error"]["status"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_webhook_accepts_a_signed_call_once_and_counts_its_repeats() {
    let served = start_fixture().await;
    let body = json!({"type": "conversation.message", "timestamp": "2026-11-19T10:00:00Z", "data": {
        "id": "main:1", "line": "main", "conversation_id": null, "customer": {"phone": PHONE, "private_id": null, "name": null},
        "message": {"direction": "in", "kind": "text", "sent_at": "2026-11-19T10:00:00Z", "text": "Hi"},
    }});
    let call = async |id: &str, secret: &str, body: &Value| {
        let (body, at) = (body.to_string(), served.host.now_ms() / 1000);
        let signature = tellonce_samples::sign_standard_webhooks(secret, id, at, body.as_bytes()).unwrap();
        let request = served.http.post(format!("{}/hooks/whatsapp", served.url)).body(body);
        let request =
            request.header("content-type", "application/json").header("webhook-id", id).header("webhook-timestamp", at);
        served.send_request(request.header("webhook-signature", signature)).await.0
    };
    let secret = served.host.secret_value("tellonce/demo/crms/own").unwrap();
    assert_eq!(call("one", "AAAA", &body).await, 401);
    assert_eq!(
        [call("one", &secret, &body).await, call("one", &secret, &body).await, call("two", &secret, &body).await],
        [204; 3]
    );
    let mut wrong = body.clone();
    wrong["data"]["conversationId"] = json!("conv_1");
    assert_eq!((call("three", &secret, &wrong).await, served.services.violations().len()), (400, 1));
    let entries = served.crms.entries("own");
    assert_eq!(
        entries.iter().map(|entry| (entry.id.as_str(), entry.repeats)).collect::<Vec<_>>(),
        [("one", 1), ("two", 0)]
    );
    assert_eq!(entries[0].reference.as_deref(), Some("main:1"));
    assert_eq!(served.get_json("/hooks/whatsapp", "").await.0, 200, "only a POST is for the fake");
}

#[tokio::test]
async fn a_fault_occurs_before_the_effect_or_after_it() {
    let served = start_fixture().await;
    let path = "/crm/v3/objects/contacts";
    let body = contact_body("phone", PHONE);
    let known = || served.crms.people("hubspot").len();
    served.services.fail_next(FakeService::Crm("hubspot"), FakeFault::Status(503), 1);
    assert_eq!((served.post_json(path, HUBSPOT, &body).await.0, known()), (503, 0));
    served.services.fail_next(FakeService::Crm("hubspot"), FakeFault::Throttled, 1);
    let throttled = served.build_request(Method::POST, path, HUBSPOT).json(&body).send().await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), throttled.headers()["retry-after"].to_str().unwrap(), known()),
        (429, "0", 0)
    );
    served.services.fail_next(FakeService::Crm("hubspot"), FakeFault::FailedAfter, 1);
    assert_eq!((served.post_json(path, HUBSPOT, &body).await.0, known()), (500, 1));
    served.services.fail_next(FakeService::Crm("hubspot"), FakeFault::DroppedAfter, 1);
    let error = served.build_request(Method::POST, path, HUBSPOT).json(&body).send().await.unwrap_err();
    assert!(!error.is_timeout() && known() == 2, "{error:?}");
    served.services.set_hanging(FakeService::Crm("hubspot"), true);
    let hung = served.build_request(Method::POST, path, HUBSPOT).json(&body).timeout(Duration::from_millis(200));
    assert!(hung.send().await.unwrap_err().is_timeout() && known() == 2);
    served.services.set_hanging(FakeService::Crm("hubspot"), false);
    assert_eq!((served.post_json(path, HUBSPOT, &body).await.0, known()), (201, 3));
    assert_eq!(
        served.services.replies_by_status(FakeService::Crm("hubspot")),
        [(0, 2), (201, 1), (429, 1), (500, 1), (503, 1)].into()
    );
}

#[tokio::test]
async fn unknown_requests_are_passed_on_and_written_entries_survive_a_restart() {
    let served = start_fixture().await;
    assert_eq!(
        served.build_request(Method::GET, "/crm/v3/objects/contacts/1", "").send().await.unwrap().text().await.unwrap(),
        "another service"
    );
    served.post_json("/crm/v3/objects/contacts", HUBSPOT, &contact_body("phone", PHONE)).await;
    let state_file = Some(served.folder.path().join("crms.json"));
    let again = FakeCrms::open(state_file, demo_accounts(), vec!["main".to_owned()], served.services.clone()).unwrap();
    assert_eq!((again.people("hubspot").len(), again.people("hubspot")), (1, served.crms.people("hubspot")));
    let id = &again.people("hubspot")[0].id;
    again.remove_person("hubspot", id).unwrap();
    assert!(again.people("hubspot").is_empty());
}
