use axum::Router;
use serde_json::{Value, json};

use super::*;
use crate::{
    clock::Clock,
    peers::{Account, Trouble},
    secrets::Secrets,
};

/// The stand-ins, served as the stack serves them.
struct Served {
    leads: Arc<Leads>,
    peers: Arc<Peers>,
    secrets: Arc<Secrets>,
    url: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

async fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Clock::open(&folder.path().join("clock")).unwrap());
    let secrets = Arc::new(Secrets::parse(r#"{"ads": "page", "crm": "app"}"#, clock).unwrap());
    let account = |peer, secret: &str| Account { peer, user: String::new(), secret: secret.to_owned() };
    let accounts = vec![account(Peer::Graph, "ads"), account(Peer::HubSpot, "crm")];
    let peers = Arc::new(Peers::new(accounts, secrets.clone()));
    let leads = Arc::new(Leads::open(Some(folder.path().join("leads.json")), peers.clone()).unwrap());
    let first = axum::middleware::from_fn_with_state(leads.clone(), leads_first);
    let app = Router::new().fallback(async || "somebody else").layer(first);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let http = shared::cold_start::http_client().unwrap();
    Served { leads, peers, secrets, url, http, folder }
}

impl Served {
    async fn text(&self, path: &str, token: &str) -> (u16, String) {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn json(&self, path: &str, token: &str) -> (u16, Value) {
        let (status, text) = self.text(path, token).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }
}

fn lead() -> Lead {
    Lead {
        id: "444444444444000".to_owned(),
        form_id: "123123123000".to_owned(),
        created_at: "2026-11-19T10:00:00Z".parse().unwrap(),
        fields: vec![("phone_number".to_owned(), vec!["+972525550101".to_owned()])],
        disclaimers: [("optional_1".to_owned(), true)].into(),
    }
}

fn contact() -> Contact {
    Contact {
        id: "123".to_owned(),
        created_at: "2026-11-19T10:00:00Z".parse().unwrap(),
        properties: [("phone", "+972545550199"), ("firstname", "Noa"), ("whatsapp_ok", "true")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    }
}

#[tokio::test]
async fn graph_tells_a_lead_to_its_token_alone() {
    let served = served().await;
    let path = "/v26.0/444444444444000?fields=created_time%2Cfield_data%2Ccustom_disclaimer_responses";
    let (status, answer) = served.json(path, "page").await;
    assert_eq!((status, &answer["error"]["code"], &answer["error"]["error_subcode"]), (400, &json!(100), &json!(33)));
    served.leads.put_lead(lead()).unwrap();
    let (status, answer) = served.json(path, "page").await;
    let wanted = json!({
        "id": "444444444444000", "created_time": "2026-11-19T10:00:00+0000",
        "field_data": [{"name": "phone_number", "values": ["+972525550101"]}],
        "custom_disclaimer_responses": [{"checkbox_key": "optional_1", "is_checked": "1"}],
    });
    assert_eq!((status, answer), (200, wanted));
    for wrong in ["app", "", "pag"] {
        let (status, answer) = served.json(path, wrong).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(190)), "{wrong}");
    }
    served.leads.forget_lead("444444444444000").unwrap();
    assert_eq!(served.json(path, "page").await.0, 400);
    assert_eq!(served.peers.answers(Peer::Graph), [(200, 1), (400, 5)].into());
}

#[tokio::test]
async fn graph_tells_what_it_is_asked_for_and_refuses_what_a_lead_does_not_have() {
    let served = served().await;
    served.leads.put_lead(lead()).unwrap();
    let (_, answer) = served.json("/v26.0/444444444444000", "page").await;
    assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["created_time", "field_data", "id"]);
    let (status, answer) = served.json("/v26.0/444444444444000?fields=id,fields_data", "page").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(100)));
    assert!(answer["error"].get("error_subcode").is_none(), "{answer}");
}

#[tokio::test]
async fn hubspot_tells_a_contact_to_its_token_alone_until_the_token_is_another() {
    let served = served().await;
    let path = "/crm/v3/objects/contacts/123?properties=phone%2Cmobilephone%2Cwhatsapp_ok";
    let (status, answer) = served.json(path, "app").await;
    assert_eq!((status, &answer["category"]), (404, &json!("OBJECT_NOT_FOUND")));
    served.leads.put_contact(contact()).unwrap();
    let (status, answer) = served.json(path, "app").await;
    let told = json!({
        "phone": "+972545550199", "mobilephone": null, "whatsapp_ok": "true", "hs_object_id": "123",
        "createdate": "2026-11-19T10:00:00.000Z", "lastmodifieddate": "2026-11-19T10:00:00.000Z",
    });
    assert_eq!((status, &answer["id"], &answer["properties"]), (200, &json!("123"), &told));
    served.secrets.rotate("crm", "newer");
    let (status, answer) = served.json(path, "app").await;
    assert_eq!((status, &answer["category"]), (401, &json!("INVALID_AUTHENTICATION")));
    assert_eq!(served.json(path, "newer").await.0, 200);
    served.leads.forget_contact("123").unwrap();
    assert_eq!(served.json(path, "newer").await.0, 404);
}

#[tokio::test]
async fn everything_else_is_somebody_else_s() {
    let served = served().await;
    for path in ["/stores/shop", "/v26.0", "/v26.0/1/leads", "/v26/1", "/versions.0/1", "/crm/v3/objects/contacts"] {
        assert_eq!(served.text(path, "page").await.1, "somebody else", "{path}");
    }
    let post = served.http.post(format!("{}/v26.0/1", served.url)).send().await.unwrap();
    assert_eq!(post.text().await.unwrap(), "somebody else");
}

#[tokio::test]
async fn a_trouble_is_one_peer_s_and_passes() {
    let served = served().await;
    served.leads.put_contact(contact()).unwrap();
    served.peers.fail_next(Peer::Graph, Trouble::Status(500), 1);
    served.peers.fail_next(Peer::HubSpot, Trouble::Half, 1);
    let whole = "/crm/v3/objects/contacts/123";
    assert_eq!(served.json(whole, "app").await, (200, Value::Null));
    assert_eq!(served.json(whole, "app").await.1["id"], "123");
    assert_eq!(served.text("/v26.0/1", "page").await, (500, String::new()));
    assert_eq!(served.text("/v26.0/1", "page").await.0, 400);
    assert_eq!((served.peers.requests(Peer::Graph), served.peers.requests(Peer::HubSpot)), (2, 2));
}

#[tokio::test]
async fn what_was_put_in_is_kept() {
    let served = served().await;
    served.leads.put_lead(lead()).unwrap();
    served.leads.put_contact(contact()).unwrap();
    let again = Leads::open(Some(served.folder.path().join("leads.json")), served.peers.clone()).unwrap();
    assert_eq!(again.known.lock().leads["444444444444000"], lead());
    assert_eq!(again.known.lock().contacts["123"], contact());
}
