use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use shared::{
    delivery::{Checked, Proof, Refusal, Unverified, verify},
    secret::Secret,
};

use super::*;
use crate::{clock::Clock, peers::Peers, secrets::Secrets};

const PHONE: &str = "052-555-0101";

fn demo() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../clients/demo/client.toml");
    std::fs::read_to_string(path).unwrap()
}

fn secret_of(name: &str) -> Option<String> {
    Some(format!("test-secret-of-{}", name.rsplit('/').next()?))
}

fn now() -> Timestamp {
    "2026-11-20T08:00:00.250Z".parse().unwrap()
}

/// A client's console at work, without a stack.
struct Fixture {
    config: ClientConfig,
    leads: Leads,
    book: LeadBook,
}

impl Fixture {
    fn new() -> Self {
        Self::of(&demo())
    }

    fn of(client: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock::open(&folder.path().join("clock")).unwrap());
        let peers = Arc::new(Peers::new(Vec::new(), Arc::new(Secrets::parse("{}", clock).unwrap())));
        let leads = Leads::open(None, peers).unwrap();
        Self { config: ClientConfig::parse(client).unwrap(), leads, book: LeadBook::default() }
    }

    fn make(&self, form: &str, deed: Deed) -> anyhow::Result<Vec<Delivery>> {
        let desk = Desk { config: &self.config, secret: &secret_of, leads: &self.leads };
        Ok(self.book.make(&desk, form, deed, PHONE, now())?.deliveries)
    }

    fn one(&self, form: &str, deed: Deed) -> Delivery {
        let mut deliveries = self.make(form, deed).unwrap();
        assert_eq!(deliveries.len(), 1, "{form} {deed:?}");
        deliveries.remove(0)
    }

    /// What the receiver calls a delivery that it believes.
    fn believed(&self, delivery: &Delivery) -> Result<String, Refusal> {
        let name = delivery.sender();
        let secret = Secret::new(secret_of(&self.config.webhook_secret(name)).unwrap());
        let pair = |(name, value): &(String, String)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let headers: HeaderMap = delivery.headers.iter().map(pair).collect();
        let unverified = Unverified { headers: &headers, body: delivery.body.as_bytes() };
        let at = delivery.path.split('/').nth(3);
        let proof = Proof::of_form(&self.config.forms[name]).at(at).unwrap();
        match verify(name, proof, &secret, unverified, now())? {
            Checked::Verified(verified) => Ok(verified.delivery_id),
            Checked::Ping => panic!("a lead is no ping"),
        }
    }
}

fn json_of(delivery: &Delivery) -> Value {
    serde_json::from_str(&delivery.body).unwrap()
}

#[test]
fn whatever_is_left_on_any_form_of_the_demo_is_believed_by_the_receiver() {
    let fixture = Fixture::new();
    for name in fixture.config.forms.keys() {
        let first = fixture.one(name, Deed::Leave);
        let id = fixture.believed(&first).unwrap();
        assert_eq!(fixture.believed(&fixture.one(name, Deed::Again)), Ok(id.clone()), "{name}");
        assert_ne!(fixture.believed(&fixture.one(name, Deed::SamePerson)), Ok(id), "{name}");
    }
}

#[test]
fn the_same_again_is_signed_anew_and_needs_something_before_it() {
    let fixture = Fixture::new();
    assert!(fixture.make("webflow", Deed::Again).err().unwrap().to_string().contains("leave a number first"));
    assert!(fixture.make("nobody", Deed::Leave).err().unwrap().to_string().contains("no form nobody"));
    let first = fixture.one("webflow", Deed::Leave);
    let desk = Desk { config: &fixture.config, secret: &secret_of, leads: &fixture.leads };
    let later = now() + jiff::SignedDuration::from_hours(1);
    let again = fixture.book.make(&desk, "webflow", Deed::Again, PHONE, later).unwrap().deliveries.remove(0);
    assert_eq!(first.body, again.body);
    assert_ne!(first.header("x-webflow-signature"), again.header("x-webflow-signature"));
}

#[test]
fn a_crowd_is_of_one_number_and_a_flood_of_many() {
    let fixture = Fixture::new();
    let crowd = fixture.make("website", Deed::Crowd).unwrap();
    let bodies: BTreeSet<_> = crowd.iter().map(|delivery| delivery.body.as_str()).collect();
    assert_eq!((crowd.len(), bodies.len()), (200, 200));
    assert!(crowd.iter().all(|delivery| delivery.body.contains("phone=052-555-0101&")));
    let flood = fixture.make("website", Deed::Flood).unwrap();
    let phone =
        |delivery: &Delivery| delivery.body.split("phone=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let phones: BTreeSet<_> = flood.iter().map(phone).collect();
    assert_eq!((flood.len(), phones.len()), (35, 35), "five more than the form takes");
    assert_eq!(phones.first().map(String::as_str), Some("052-555-0101"));
    let wide = Fixture::of(&demo().replacen(
        "[forms.website]",
        "[forms.website]\nburst = { leads = 900, within = \"1h\" }",
        1,
    ));
    assert!(wide.make("website", Deed::Flood).err().unwrap().to_string().contains("lower its `burst`"));
}

#[test]
fn a_trial_and_a_refusal_are_only_where_a_form_can_say_so() {
    let fixture = Fixture::new();
    assert_eq!(json_of(&fixture.one("google", Deed::Test))["is_test"], true);
    assert!(fixture.make("google", Deed::Refuse).is_err(), "a sentence stands on it");
    assert!(fixture.make("tally", Deed::Test).is_err(), "Tally marks none");
    let tally = |deed| {
        let fields = json_of(&fixture.one("tally", deed))["data"]["fields"].clone();
        let consent = fields.as_array().unwrap().iter().find(|field| field["label"] == "Consent (WhatsApp updates)");
        consent.unwrap()["value"].clone()
    };
    assert_eq!((tally(Deed::Leave), tally(Deed::Refuse)), (json!(true), json!(false)));
    let named = Fixture::of(
        &demo().replace("fields = { id = \"lead_id\" }", "fields = { id = \"lead_id\", test = \"trial\" }"),
    );
    assert!(named.one("website", Deed::Test).body.ends_with("&trial=true"));
}

#[test]
fn a_form_is_filled_in_under_the_names_that_the_client_has() {
    let fixture = Fixture::new();
    let zapier = json_of(&fixture.one("zapier", Deed::Leave));
    assert_eq!((&zapier["firstName"], &zapier["phone"]), (&json!("Noa"), &json!(PHONE)));
    assert_eq!(
        (&zapier["consent"]["whatsapp"], &zapier["createdAt"]),
        (&json!(true), &json!("2026-11-20T08:00:00.250Z"))
    );
    let gravity = json_of(&fixture.one("gravity", Deed::Leave));
    assert_eq!((&gravity["3"], &gravity["1.6"], &gravity["4.1"]), (&json!(PHONE), &json!("Levi"), &json!("1")));
    assert_eq!(gravity["date_created"], "2026-11-20 08:00:00");
    let contact = json_of(&fixture.one("hubspot", Deed::Leave));
    assert_eq!(contact["properties"]["whatsapp_consent"]["value"], "true");
    assert!(
        fixture
            .one("elementor", Deed::Leave)
            .body
            .ends_with("&WhatsApp=on&form_id=a1b2c3d&form_name=Request+an+appointment")
    );
    let jotform = fixture.one("jotform", Deed::Leave).body;
    assert!(jotform.contains(r#""q5_phoneNumber":{"full":"052-555-0101"}"#));
    assert!(!jotform.replace("\r\n", "").contains('\n'), "its lines end as they did");
    assert!(jotform.contains(r#""q6_consent":["I agree to WhatsApp messages"]"#), "{jotform}");
    for recorded in ["6100000000000000001", "Lior", "(054) 555-0199"] {
        assert!(!jotform.contains(recorded), "{recorded}");
    }
}

#[test]
fn what_a_sender_only_names_is_in_its_stand_in() {
    let fixture = Fixture::new();
    let body = json_of(&fixture.one("meta", Deed::Leave));
    let named = &body["entry"][0]["changes"][0]["value"];
    let lead = fixture.leads.known_lead(named["leadgen_id"].as_str().unwrap()).unwrap();
    assert_eq!((lead.form_id.as_str(), lead.disclaimers["optional_1"]), (named["form_id"].as_str().unwrap(), true));
    assert!(lead.fields.contains(&("phone_number".to_owned(), vec![PHONE.to_owned()])));
    let (before, hubspot) = demo().split_once("[forms.hubspot]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let header = "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }";
    let signed = "notification_url = \"https://hooks.example.com/leads/hubspot\"";
    let signs = Fixture::of(&format!("{before}[forms.hubspot]{}", hubspot.replacen(header, signed, 1)));
    let event = signs.one("hubspot", Deed::Refuse);
    assert!(signs.believed(&event).is_ok());
    let id = json_of(&event)[0]["objectId"].to_string();
    let contact = signs.leads.known_contact(&id).unwrap();
    assert_eq!((contact.properties["phone"].as_str(), contact.properties["whatsapp_consent"].as_str()), (PHONE, ""));
}
