use axum::Router;
use serde_json::{Value, json};

use super::*;
use crate::{
    host::test_host::TestHost,
    services::{FakeAccount, FakeFault},
};

/// The fakes, served as the stack serves them.
struct LeadFixture {
    leads: Arc<FakeLeadApis>,
    services: Arc<FakeServices>,
    host: Arc<TestHost>,
    url: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

fn start_fixture() -> LeadFixture {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(TestHost::new(r#"{"ads": "page", "crm": "app"}"#));
    let account = |peer, secret: &str| FakeAccount { service: peer, user_id: String::new(), secret: secret.to_owned() };
    let accounts = vec![account(FakeService::Graph, "ads"), account(FakeService::HubSpot, "crm")];
    let services = Arc::new(FakeServices::new(accounts, host.clone()));
    let leads = Arc::new(FakeLeadApis::open(Some(folder.path().join("leads.json")), services.clone()).unwrap());
    let first = axum::middleware::from_fn_with_state(leads.clone(), route_lead_requests);
    let app = Router::new().fallback(async || "another service").layer(first);
    let listener = crate::server::bind_port(0, "a test", "").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    crate::server::serve_router(app, listener, "a test");
    let http = tellonce_core::bootstrap::build_http_client().unwrap();
    LeadFixture { leads, services, host, url, http, folder }
}

impl LeadFixture {
    async fn get_text(&self, path: &str, token: &str) -> (u16, String) {
        let response = self.http.get(format!("{}{path}", self.url)).bearer_auth(token).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn get_json(&self, path: &str, token: &str) -> (u16, Value) {
        let (status, text) = self.get_text(path, token).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }
}

fn meta_lead() -> FakeMetaLead {
    FakeMetaLead {
        id: "444444444444000".to_owned(),
        form_id: "123123123000".to_owned(),
        created_at: "2026-11-19T10:00:00Z".parse().unwrap(),
        fields: vec![("phone_number".to_owned(), vec!["+972525550101".to_owned()])],
        disclaimers: [("optional_1".to_owned(), true)].into(),
    }
}

fn hubspot_contact() -> FakeHubspotContact {
    FakeHubspotContact {
        id: "123".to_owned(),
        created_at: "2026-11-19T10:00:00Z".parse().unwrap(),
        properties: [("phone", "+972545550199"), ("firstname", "Noa"), ("whatsapp_ok", "true")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    }
}

#[tokio::test]
async fn graph_returns_a_lead_only_to_its_token() {
    let served = start_fixture();
    let path = "/v26.0/444444444444000?fields=created_time%2Cfield_data%2Ccustom_disclaimer_responses";
    let (status, answer) = served.get_json(path, "page").await;
    assert_eq!((status, &answer["error"]["code"], &answer["error"]["error_subcode"]), (400, &json!(100), &json!(33)));
    served.leads.put_lead(meta_lead()).unwrap();
    let (status, answer) = served.get_json(path, "page").await;
    let wanted = json!({
        "id": "444444444444000", "created_time": "2026-11-19T10:00:00+0000",
        "field_data": [{"name": "phone_number", "values": ["+972525550101"]}],
        "custom_disclaimer_responses": [{"checkbox_key": "optional_1", "is_checked": "1"}],
    });
    assert_eq!((status, answer), (200, wanted));
    for wrong in ["app", "", "pag"] {
        let (status, answer) = served.get_json(path, wrong).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(190)), "{wrong}");
    }
    served.leads.forget_lead("444444444444000").unwrap();
    assert_eq!(served.get_json(path, "page").await.0, 400);
    assert_eq!(served.services.replies_by_status(FakeService::Graph), [(200, 1), (400, 5)].into());
}

#[tokio::test]
async fn graph_returns_the_requested_fields_and_refuses_unknown_ones() {
    let served = start_fixture();
    served.leads.put_lead(meta_lead()).unwrap();
    let (_, answer) = served.get_json("/v26.0/444444444444000", "page").await;
    assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["created_time", "field_data", "id"]);
    let (status, answer) = served.get_json("/v26.0/444444444444000?fields=id,fields_data", "page").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(100)));
    assert!(answer["error"].get("error_subcode").is_none(), "{answer}");
}

#[tokio::test]
async fn hubspot_returns_a_contact_only_to_its_current_token() {
    let served = start_fixture();
    let path = "/crm/v3/objects/contacts/123?properties=phone%2Cmobilephone%2Cwhatsapp_ok";
    let (status, answer) = served.get_json(path, "app").await;
    assert_eq!((status, &answer["category"]), (404, &json!("OBJECT_NOT_FOUND")));
    served.leads.put_contact(hubspot_contact()).unwrap();
    let (status, answer) = served.get_json(path, "app").await;
    let expected_properties = json!({
        "phone": "+972545550199", "mobilephone": null, "whatsapp_ok": "true", "hs_object_id": "123",
        "createdate": "2026-11-19T10:00:00.000Z", "lastmodifieddate": "2026-11-19T10:00:00.000Z",
    });
    assert_eq!((status, &answer["id"], &answer["properties"]), (200, &json!("123"), &expected_properties));
    served.host.set_secret("crm", "newer");
    let (status, answer) = served.get_json(path, "app").await;
    assert_eq!((status, &answer["category"]), (401, &json!("INVALID_AUTHENTICATION")));
    assert_eq!(served.get_json(path, "newer").await.0, 200);
    served.leads.forget_contact("123").unwrap();
    assert_eq!(served.get_json(path, "newer").await.0, 404);
}

#[tokio::test]
async fn requests_for_other_paths_are_passed_on() {
    let served = start_fixture();
    for path in ["/stores/shop", "/v26.0", "/v26.0/1/leads", "/v26/1", "/versions.0/1", "/crm/v3/objects/contacts"] {
        assert_eq!(served.get_text(path, "page").await.1, "another service", "{path}");
    }
    let post = served.http.post(format!("{}/v26.0/1", served.url)).send().await.unwrap();
    assert_eq!(post.text().await.unwrap(), "another service");
}

#[tokio::test]
async fn a_fault_affects_one_service_and_then_passes() {
    let served = start_fixture();
    served.leads.put_contact(hubspot_contact()).unwrap();
    served.services.fail_next(FakeService::Graph, FakeFault::Status(500), 1);
    served.services.fail_next(FakeService::HubSpot, FakeFault::HalfBody, 1);
    let whole = "/crm/v3/objects/contacts/123";
    assert_eq!(served.get_json(whole, "app").await, (200, Value::Null));
    assert_eq!(served.get_json(whole, "app").await.1["id"], "123");
    assert_eq!(served.get_text("/v26.0/1", "page").await, (500, String::new()));
    assert_eq!(served.get_text("/v26.0/1", "page").await.0, 400);
    assert_eq!(
        (served.services.request_count(FakeService::Graph), served.services.request_count(FakeService::HubSpot)),
        (2, 2)
    );
}

#[tokio::test]
async fn stored_items_survive_a_restart() {
    let served = start_fixture();
    served.leads.put_lead(meta_lead()).unwrap();
    served.leads.put_contact(hubspot_contact()).unwrap();
    let again = FakeLeadApis::open(Some(served.folder.path().join("leads.json")), served.services.clone()).unwrap();
    assert_eq!(again.storage.lock().leads["444444444444000"], meta_lead());
    assert_eq!(again.storage.lock().contacts["123"], hubspot_contact());
}
