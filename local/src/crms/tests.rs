use std::time::Duration;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use ring::{hmac, rand::SystemRandom, signature};
use serde_json::json;

use super::*;
use crate::{
    cord::{Cord, CordedListener},
    peers::{self, Trouble},
};

/// The demo's own secrets, with the key of its service account.
const DEMO: &str = include_str!("../../../clients/demo/secrets.json");
const PHONE: &str = "+972545550199";

/// The stand-ins, served as the stack serves them.
struct Served {
    crms: Arc<Crms>,
    peers: Arc<Peers>,
    secrets: Arc<Secrets>,
    clock: Arc<Clock>,
    url: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

fn accounts() -> Vec<Account> {
    let account =
        |name: &str, kind| Account { name: name.to_owned(), kind, secret: format!("tellonce/demo/crms/{name}") };
    let sheet = |sheet: &str| Kind::Sheets { spreadsheet: "1Demo".to_owned(), sheet: sheet.to_owned() };
    vec![
        account("hubspot", Kind::HubSpot),
        account("second", Kind::HubSpot),
        account("pipedrive", Kind::Pipedrive),
        account("zoho", Kind::Zoho),
        account("sheet", sheet("Log")),
        Account { secret: "tellonce/demo/crms/sheet".to_owned(), ..account("other", sheet("My sheet")) },
        account("own", Kind::Webhook { path: "/hooks/whatsapp".to_owned() }),
    ]
}

async fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Clock::open(&folder.path().join("clock")).unwrap());
    let secrets = Arc::new(Secrets::parse(DEMO, clock.clone()).unwrap());
    secrets.rotate("tellonce/demo/crms/second", "second-token");
    let peers = Arc::new(Peers::new(Vec::new(), secrets.clone()));
    let around = (peers.clone(), secrets.clone(), clock.clone());
    let kept = Some(folder.path().join("crms.json"));
    let crms = Arc::new(Crms::open(kept, accounts(), vec!["main".to_owned()], around).unwrap());
    let app = Router::new()
        .fallback(async || "somebody else")
        .layer(from_fn_with_state(crms.clone(), crms_first))
        .layer(from_fn(peers::break_off));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = app.into_make_service_with_connect_info::<Cord>();
    tokio::spawn(async move { axum::serve(CordedListener(listener), service).await });
    let http = shared::cold_start::http_client().unwrap();
    Served { crms, peers, secrets, clock, url, http, folder }
}

impl Served {
    fn request(&self, method: Method, path: &str, authorization: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url)).header("authorization", authorization);
        request.timeout(Duration::from_secs(5))
    }

    async fn done(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, path: &str, authorization: &str) -> (u16, Value) {
        self.done(self.request(Method::GET, path, authorization)).await
    }

    async fn post(&self, path: &str, authorization: &str, body: &Value) -> (u16, Value) {
        self.done(self.request(Method::POST, path, authorization).json(body)).await
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.url)).body(body);
        self.done(request.header("content-type", "application/x-www-form-urlencoded")).await
    }
}

const HUBSPOT: &str = "Bearer demo-hubspot-crm-token";

fn search_for(phone: &str, national: &str) -> Value {
    let filter =
        |name: &str, value: &str| json!({"filters": [{"propertyName": name, "operator": "EQ", "value": value}]});
    json!({
        "filterGroups": [filter("hs_searchable_calculated_phone_number", national), filter("mobilephone", phone)],
        "properties": ["phone", "mobilephone"], "limit": 1,
    })
}

fn communication(contact: &Value, reference: &str) -> Value {
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
async fn hubspot_finds_a_number_in_any_group_page_by_page_and_not_before_its_lag() {
    let served = served().await;
    let path = "/crm/v3/objects/contacts/search";
    let search = search_for(PHONE, "545550199");
    assert_eq!(served.post(path, HUBSPOT, &search).await, (200, json!({"total": 0, "results": []})));
    served.crms.put_person("hubspot", json!({"phone": "054-555-0199"})).unwrap();
    served.crms.set_search_lag(60_000);
    let made = served.post("/crm/v3/objects/contacts", HUBSPOT, &json!({"properties": {"mobilephone": PHONE}})).await;
    assert_eq!((made.0, &made.1["properties"]["mobilephone"]), (201, &json!(PHONE)));
    let (_, page) = served.post(path, HUBSPOT, &search).await;
    assert_eq!((&page["total"], &page["results"][0]["properties"]["phone"]), (&json!(1), &json!("054-555-0199")));
    served.clock.advance(Duration::from_secs(61)).unwrap();
    let (_, page) = served.post(path, HUBSPOT, &search).await;
    assert_eq!((&page["total"], &page["paging"]["next"]["after"]), (&json!(2), &json!("1")));
    let mut next = search.clone();
    next["after"] = json!("1");
    let (_, page) = served.post(path, HUBSPOT, &next).await;
    assert_eq!((&page["results"][0]["id"], page.get("paging")), (&made.1["id"], None));
    for wrong in
        [json!({"limit": 201}), json!({"filterGroups": [{"filters": [{"propertyName": "a", "operator": "LIKE"}]}]})]
    {
        assert_eq!(served.post(path, HUBSPOT, &wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(served.post(path, "Bearer second-token", &search).await.1["total"], 0, "a CRM of its own");
    let (status, refusal) = served.post(path, "Bearer hubspot", &search).await;
    assert_eq!((status, &refusal["category"]), (401, &json!("INVALID_AUTHENTICATION")));
}

#[tokio::test]
async fn hubspot_keeps_communications_with_their_contact_and_tells_them_in_pages() {
    let served = served().await;
    let path = "/crm/v3/objects/communications";
    let (_, contact) = served.post("/crm/v3/objects/contacts", HUBSPOT, &json!({"properties": {"phone": PHONE}})).await;
    for number in 0..3 {
        let body = communication(&contact["id"], &format!("main:wamid_{number}"));
        assert_eq!(served.post(path, HUBSPOT, &body).await.0, 201);
    }
    let references: Vec<_> = served.crms.entries("hubspot").into_iter().filter_map(|entry| entry.reference).collect();
    assert_eq!(references, ["main:wamid_0", "main:wamid_1", "main:wamid_2"]);
    let list = format!("/crm/v4/objects/contacts/{}/associations/communications", contact["id"].as_str().unwrap());
    let (_, first) = served.get(&format!("{list}?limit=2"), HUBSPOT).await;
    assert_eq!(first["results"].as_array().unwrap().len(), 2);
    let after = first["paging"]["next"]["after"].as_str().unwrap();
    let (_, rest) = served.get(&format!("{list}?limit=2&after={after}"), HUBSPOT).await;
    assert_eq!((rest["results"].as_array().unwrap().len(), rest.get("paging")), (1, None));
    let id = rest["results"][0]["toObjectId"].as_u64().unwrap().to_string();
    let batch = json!({"properties": ["hs_communication_body"], "inputs": [{"id": id}]});
    let (status, read) = served.post(&format!("{path}/batch/read"), HUBSPOT, &batch).await;
    let body = &read["results"][0]["properties"]["hs_communication_body"];
    assert_eq!((status, body), (200, &json!("Hello<br>main:wamid_2")));
    let gone = json!({"inputs": [{"id": id}, {"id": "7"}]});
    assert_eq!(served.post(&format!("{path}/batch/read"), HUBSPOT, &gone).await.0, 207);
    let mut wrong = communication(&contact["id"], "main:x");
    wrong["associations"][0]["types"][0]["associationTypeId"] = json!(202);
    assert_eq!(served.post(path, HUBSPOT, &wrong).await.0, 400);
    assert_eq!(served.post(path, HUBSPOT, &communication(&json!("7"), "main:x")).await.0, 400);
    assert_eq!((served.crms.entries("hubspot").len(), served.crms.owners_set()), (3, 0));
    wrong["properties"]["hubspot_owner_id"] = json!("1");
    served.post(path, HUBSPOT, &wrong).await;
    assert_eq!(served.crms.owners_set(), 1);
}

#[tokio::test]
async fn pipedrive_searches_digits_and_pages_notes() {
    let served = served().await;
    let get = async |path: &str| {
        served
            .done(served.http.get(format!("{}{path}", served.url)).header("x-api-token", "demo-pipedrive-token"))
            .await
    };
    let post = async |path: &str, body: Value| {
        let request = served.http.post(format!("{}{path}", served.url)).header("x-api-token", "demo-pipedrive-token");
        served.done(request.json(&body)).await
    };
    assert_eq!(served.get("/api/v2/persons/search?term=55", "").await.0, 401);
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
    assert_eq!(post("/api/v2/persons", json!({"phones": []})).await.0, 400);
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

async fn zoho_token(served: &Served) -> (u16, Value) {
    let secret: Value = serde_json::from_str(&served.secrets.current("tellonce/demo/crms/zoho").unwrap()).unwrap();
    let field = |name: &str| secret[name].as_str().unwrap().to_owned();
    let (id, hush, refresh) = (field("client_id"), field("client_secret"), field("refresh_token"));
    let fields =
        [("grant_type", "refresh_token"), ("client_id", &id), ("client_secret", &hush), ("refresh_token", &refresh)];
    served.form("/oauth/v2/token", &fields).await
}

#[tokio::test]
async fn zoho_mints_tokens_for_its_own_credential_and_not_too_many() {
    let served = served().await;
    let wrong = [("grant_type", "refresh_token"), ("client_id", "x"), ("client_secret", "x"), ("refresh_token", "x")];
    assert_eq!(served.form("/oauth/v2/token", &wrong).await, (200, json!({"error": "invalid_code"})));
    let (_, first) = zoho_token(&served).await;
    let token = format!("Zoho-oauthtoken {}", first["access_token"].as_str().unwrap());
    let search = "/crm/v8/Leads/search?phone=%2B972545550199";
    assert_eq!(served.get(search, &token).await.0, 204);
    served.clock.advance(Duration::from_secs(3601)).unwrap();
    assert_eq!(served.get(search, &token).await.1["code"], "INVALID_TOKEN");
    for _ in 0..10 {
        assert_eq!(zoho_token(&served).await.0, 200);
    }
    assert_eq!(zoho_token(&served).await.1["error"], "Access Denied");
    assert_eq!(served.crms.tokens("zoho"), 11);
}

#[tokio::test]
async fn zoho_upserts_by_the_fields_it_is_told_and_says_of_each_row_what_became_of_it() {
    let served = served().await;
    let (_, token) = zoho_token(&served).await;
    let token = format!("Zoho-oauthtoken {}", token["access_token"].as_str().unwrap());
    let upsert = |rows: Value| json!({"data": rows, "duplicate_check_fields": ["Mobile"], "trigger": []});
    let row = json!({"Last_Name": "Levi", "Company": "-", "Mobile": PHONE});
    let path = "/crm/v8/Leads/upsert";
    let (status, made) = served.post(path, &token, &upsert(json!([row, {"Mobile": "+972"}]))).await;
    assert_eq!(
        (status, &made["data"][0]["action"], &made["data"][1]["code"]),
        (207, &json!("insert"), &json!("MANDATORY_NOT_FOUND"))
    );
    let (status, same) = served.post(path, &token, &upsert(json!([row]))).await;
    assert_eq!(
        (status, &same["data"][0]["action"], &same["data"][0]["duplicate_field"]),
        (200, &json!("update"), &json!("Mobile"))
    );
    assert_eq!(same["data"][0]["details"]["id"], made["data"][0]["details"]["id"]);
    assert_eq!(served.post(path, &token, &upsert(json!([{"Mobile": "+1"}]))).await.0, 400);
    let id = same["data"][0]["details"]["id"].as_str().unwrap();
    let (_, found) = served
        .get("/crm/v8/Leads/search?criteria=((Mobile:equals:%2B972545550199)or(Phone:equals:%2B1))", &token)
        .await;
    assert_eq!((&found["data"][0]["id"], &found["info"]["more_records"]), (&json!(id), &json!(false)));
    assert_eq!(served.get("/crm/v8/Contacts/search?phone=972545550199", &token).await.0, 204, "another module");
    let notes = format!("/crm/v8/Leads/{id}/Notes");
    let fields = format!("{notes}?fields=Note_Content&per_page=2");
    assert_eq!(served.get(&fields, &token).await.0, 204);
    for number in 0..3 {
        let note = json!({"data": [{"Note_Title": "WhatsApp", "Note_Content": format!("Hi main:{number}")}]});
        assert_eq!(served.post(&notes, &token, &note).await.0, 201);
    }
    let (_, first) = served.get(&fields, &token).await;
    assert_eq!(
        (&first["data"][0]["Note_Content"], &first["info"]["more_records"]),
        (&json!("Hi main:2"), &json!(true))
    );
    let (_, rest) = served.get(&format!("{fields}&page=2"), &token).await;
    assert_eq!((&rest["info"]["count"], &rest["info"]["more_records"]), (&json!(1), &json!(false)));
    assert_eq!(served.get(&notes, &token).await.1["code"], "REQUIRED_PARAM_MISSING");
    assert_eq!(served.post("/crm/v8/Leads/7/Notes", &token, &json!({"data": [{"Note_Content": "x"}]})).await.0, 400);
}

/// A claim for a token, signed with the demo's key.
fn claim(served: &Served, change: impl FnOnce(&mut Value)) -> String {
    let account: Value = serde_json::from_str(&served.secrets.current("tellonce/demo/crms/sheet").unwrap()).unwrap();
    let now = served.clock.now_ms() / 1000;
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

async fn google_token(served: &Served, assertion: &str) -> (u16, Value) {
    let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    served.form("/token", &[("grant_type", kind), ("assertion", assertion)]).await
}

#[tokio::test]
async fn google_gives_a_token_for_a_short_claim_that_the_account_signed() {
    let served = served().await;
    let (status, token) = google_token(&served, &claim(&served, |_| {})).await;
    assert_eq!((status, &token["expires_in"]), (200, &json!(3599)));
    let now = served.clock.now_ms() / 1000;
    let mut forged = claim(&served, |_| {});
    forged.replace_range(forged.len() - 8..forged.len() - 4, "AAAA");
    let wrong = [
        claim(&served, |claims| claims["exp"] = json!(now + 3700)),
        claim(&served, |claims| (claims["iat"], claims["exp"]) = (json!(now - 3601), json!(now - 1))),
        claim(&served, |claims| claims["aud"] = json!("https://sheets.googleapis.com/")),
        claim(&served, |claims| claims["iss"] = json!("somebody@else.example")),
        claim(&served, |claims| claims["scope"] = json!("https://www.googleapis.com/auth/drive")),
        forged,
        "x.y.z".to_owned(),
    ];
    for claim in wrong {
        let (status, refusal) = google_token(&served, &claim).await;
        assert_eq!((status, &refusal["error"]), (400, &json!("invalid_grant")), "{refusal}");
    }
}

#[tokio::test]
async fn a_sheet_takes_raw_rows_and_tells_a_column_of_them() {
    let served = served().await;
    let (_, token) = google_token(&served, &claim(&served, |_| {})).await;
    let token = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let append = "/v4/spreadsheets/1Demo/values/Log!A1:append?valueInputOption=RAW&insertDataOption=INSERT_ROWS";
    let column = "/v4/spreadsheets/1Demo/values/Log!B:B?majorDimension=COLUMNS";
    assert!(served.get(column, &token).await.1.get("values").is_none());
    for number in 0..2 {
        let row = json!({"values": [["=HYPERLINK(1)", format!("main:{number}"), null, 7]]});
        let (status, done) = served.post(append, &token, &row).await;
        assert_eq!((status, &done["updates"]["updatedRange"]), (200, &json!(format!("Log!A{0}:D{0}", number + 1))));
    }
    assert_eq!(served.get(column, &token).await.1["values"], json!([["main:0", "main:1"]]));
    let rows = served.get("/v4/spreadsheets/1Demo/values/Log!A2:D", &token).await.1;
    assert_eq!(rows["values"], json!([["=HYPERLINK(1)", "main:1", "", "7"]]));
    assert_eq!(served.crms.entries("sheet")[1].reference.as_deref(), Some("main:1"));
    let computed = append.replace("RAW", "USER_ENTERED");
    assert_eq!(served.post(&computed, &token, &json!({"values": [["x"]]})).await.0, 400);
    assert_eq!(served.post(&append.replace("1Demo", "2Demo"), &token, &json!({"values": [["x"]]})).await.0, 404);
    let other = append.replace("Log!A1", "%27My%20sheet%27%21A1");
    assert_eq!(served.post(&other, &token, &json!({"values": [["main:x"]]})).await.0, 200);
    assert_eq!((served.crms.entries("sheet").len(), served.crms.entries("other").len()), (2, 1));
    served.crms.revoke_tokens("sheet");
    assert_eq!(served.get(column, &token).await.1["error"]["status"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn an_address_takes_a_signed_call_once_and_counts_its_repeats() {
    let served = served().await;
    let call = async |id: &str, secret: &str| {
        let (body, at) = (r#"{"data":{"reference":"main:1","text":"Hi"}}"#, (served.clock.now_ms() / 1000).to_string());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(secret).unwrap());
        let signature = BASE64.encode(hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes()));
        let request = served.http.post(format!("{}/hooks/whatsapp", served.url)).body(body);
        let request = request.header("webhook-id", id).header("webhook-timestamp", at);
        served.done(request.header("webhook-signature", format!("v1,{signature}"))).await.0
    };
    let secret = served.secrets.current("tellonce/demo/crms/own").unwrap().replace("whsec_", "");
    assert_eq!(call("one", "AAAA").await, 401);
    assert_eq!([call("one", &secret).await, call("one", &secret).await, call("two", &secret).await], [204; 3]);
    let entries = served.crms.entries("own");
    assert_eq!(
        entries.iter().map(|entry| (entry.id.as_str(), entry.repeats)).collect::<Vec<_>>(),
        [("one", 1), ("two", 0)]
    );
    assert_eq!(entries[0].reference.as_deref(), Some("main:1"));
    assert_eq!(served.get("/hooks/whatsapp", "").await.0, 200, "nobody's business but a POST");
}

#[tokio::test]
async fn a_trouble_comes_before_the_effect_or_after_it() {
    let served = served().await;
    let path = "/crm/v3/objects/contacts";
    let body = json!({"properties": {"phone": PHONE}});
    let known = || served.crms.people("hubspot").len();
    served.peers.fail_next(Peer::HubSpotCrm, Trouble::Status(503), 1);
    assert_eq!((served.post(path, HUBSPOT, &body).await.0, known()), (503, 0));
    served.peers.fail_next(Peer::HubSpotCrm, Trouble::Throttled, 1);
    let throttled = served.request(Method::POST, path, HUBSPOT).json(&body).send().await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), throttled.headers()["retry-after"].to_str().unwrap(), known()),
        (429, "0", 0)
    );
    served.peers.fail_next(Peer::HubSpotCrm, Trouble::FailedAfter, 1);
    assert_eq!((served.post(path, HUBSPOT, &body).await.0, known()), (500, 1));
    served.peers.fail_next(Peer::HubSpotCrm, Trouble::DroppedAfter, 1);
    let error = served.request(Method::POST, path, HUBSPOT).json(&body).send().await.unwrap_err();
    assert!(!error.is_timeout() && known() == 2, "{error:?}");
    served.peers.hang(Peer::HubSpotCrm, true);
    let hung = served.request(Method::POST, path, HUBSPOT).json(&body).timeout(Duration::from_millis(200));
    assert!(hung.send().await.unwrap_err().is_timeout() && known() == 2);
    served.peers.hang(Peer::HubSpotCrm, false);
    assert_eq!((served.post(path, HUBSPOT, &body).await.0, known()), (201, 3));
    assert_eq!(served.peers.answers(Peer::HubSpotCrm), [(0, 2), (201, 1), (429, 1), (500, 1), (503, 1)].into());
}

#[tokio::test]
async fn what_is_for_nobody_passes_and_what_was_written_is_kept() {
    let served = served().await;
    assert_eq!(
        served.request(Method::GET, "/crm/v3/objects/contacts/1", "").send().await.unwrap().text().await.unwrap(),
        "somebody else"
    );
    served.post("/crm/v3/objects/contacts", HUBSPOT, &json!({"properties": {"phone": PHONE}})).await;
    let around = (served.peers.clone(), served.secrets.clone(), served.clock.clone());
    let kept = Some(served.folder.path().join("crms.json"));
    let again = Crms::open(kept, accounts(), vec!["main".to_owned()], around).unwrap();
    assert_eq!((again.people("hubspot").len(), again.people("hubspot")), (1, served.crms.people("hubspot")));
    let id = &again.people("hubspot")[0].id;
    again.remove_person("hubspot", id).unwrap();
    assert!(again.people("hubspot").is_empty());
}
