use std::{collections::BTreeSet, sync::Arc};

use serde_json::json;
use tellonce_core::delivery::Refusal;

use super::*;
use tellonce_fakes::leads::FakeLeadApis;
use tellonce_fakes::services::FakeServices;

use crate::test_host::{IdleHost, body_json, demo_config_text, verify_post};

const PHONE: &str = "052-555-0101";

fn test_secret(name: &str) -> Option<String> {
    Some(format!("test-secret-of-{}", name.rsplit('/').next()?))
}

fn test_now() -> Timestamp {
    "2026-11-20T08:00:00.250Z".parse().unwrap()
}

/// The samples of a client, without a stack.
struct LeadSampleFixture {
    config: ClientConfig,
    leads: FakeLeadApis,
    samples: LeadSampleFactory,
}

impl LeadSampleFixture {
    fn new() -> Self {
        Self::from_config_text(&demo_config_text())
    }

    fn from_config_text(client: &str) -> Self {
        let services = Arc::new(FakeServices::new(Vec::new(), Arc::new(IdleHost)));
        let leads = FakeLeadApis::open(None, services).unwrap();
        Self { config: ClientConfig::parse(client).unwrap(), leads, samples: LeadSampleFactory::default() }
    }

    fn apply_action(&self, form: &str, action: LeadAction) -> anyhow::Result<Vec<WebhookPost>> {
        let context = LeadSampleContext { config: &self.config, secret: &test_secret, leads: &self.leads };
        Ok(self.samples.apply_action(&context, form, action, PHONE, test_now())?.deliveries)
    }

    fn apply_single_action(&self, form: &str, action: LeadAction) -> WebhookPost {
        let mut deliveries = self.apply_action(form, action).unwrap();
        assert_eq!(deliveries.len(), 1, "{form} {action:?}");
        deliveries.remove(0)
    }

    /// Verifies a delivery as the receiver does. Returns its id.
    fn verify_delivery(&self, delivery: &WebhookPost) -> Result<String, Refusal> {
        let name = delivery.sender_name();
        let at = delivery.path.split('/').nth(3);
        let proof = self.config.forms[name].proof().with_path_secret(at).unwrap();
        verify_post(delivery, proof, test_secret(&self.config.webhook_secret_name(name)), test_now())
    }
}

#[test]
fn the_receiver_accepts_a_submission_of_every_demo_form() {
    let fixture = LeadSampleFixture::new();
    for name in fixture.config.forms.keys() {
        let first = fixture.apply_single_action(name, LeadAction::Submit);
        let id = fixture.verify_delivery(&first).unwrap();
        assert_eq!(
            fixture.verify_delivery(&fixture.apply_single_action(name, LeadAction::Repeat)),
            Ok(id.clone()),
            "{name}"
        );
        assert_ne!(
            fixture.verify_delivery(&fixture.apply_single_action(name, LeadAction::SamePerson)),
            Ok(id),
            "{name}"
        );
    }
}

#[test]
fn a_repeat_is_signed_anew_and_needs_an_earlier_submission() {
    let fixture = LeadSampleFixture::new();
    assert!(
        fixture
            .apply_action("webflow", LeadAction::Repeat)
            .err()
            .unwrap()
            .to_string()
            .contains("submit the form first")
    );
    assert!(fixture.apply_action("missing", LeadAction::Submit).err().unwrap().to_string().contains("no form missing"));
    let first = fixture.apply_single_action("webflow", LeadAction::Submit);
    let context = LeadSampleContext { config: &fixture.config, secret: &test_secret, leads: &fixture.leads };
    let later = test_now() + jiff::SignedDuration::from_hours(1);
    let again = fixture
        .samples
        .apply_action(&context, "webflow", LeadAction::Repeat, PHONE, later)
        .unwrap()
        .deliveries
        .remove(0);
    assert_eq!(first.body, again.body);
    assert_ne!(first.header("x-webflow-signature"), again.header("x-webflow-signature"));
}

#[test]
fn a_crowd_shares_one_number_and_a_flood_has_many() {
    let fixture = LeadSampleFixture::new();
    let crowd = fixture.apply_action("website", LeadAction::Crowd).unwrap();
    let bodies: BTreeSet<_> = crowd.iter().map(|delivery| &delivery.body).collect();
    assert_eq!((crowd.len(), bodies.len()), (200, 200));
    assert!(crowd.iter().all(|delivery| delivery.body_text().contains("phone=052-555-0101&")));
    let flood = fixture.apply_action("website", LeadAction::Flood).unwrap();
    let phone = |delivery: &WebhookPost| {
        delivery.body_text().split("phone=").nth(1).unwrap().split('&').next().unwrap().to_owned()
    };
    let phones: BTreeSet<_> = flood.iter().map(phone).collect();
    assert_eq!((flood.len(), phones.len()), (35, 35), "five more than the form accepts");
    assert_eq!(phones.first().map(String::as_str), Some("052-555-0101"));
    let wide = LeadSampleFixture::from_config_text(&demo_config_text().replacen(
        "[forms.website]",
        "[forms.website]\nburst = { leads = 900, within = \"1h\" }",
        1,
    ));
    assert!(wide.apply_action("website", LeadAction::Flood).err().unwrap().to_string().contains("lower its `burst`"));
}

#[test]
fn tests_and_missing_consent_need_a_form_that_supports_them() {
    let fixture = LeadSampleFixture::new();
    assert_eq!(body_json(&fixture.apply_single_action("google", LeadAction::Test))["is_test"], true);
    assert!(fixture.apply_action("google", LeadAction::WithoutConsent).is_err(), "the form states consent");
    assert!(fixture.apply_action("tally", LeadAction::Test).is_err(), "Tally marks no tests");
    let tally = |action| {
        let fields = body_json(&fixture.apply_single_action("tally", action))["data"]["fields"].clone();
        let consent = fields.as_array().unwrap().iter().find(|field| field["label"] == "Consent (WhatsApp updates)");
        consent.unwrap()["value"].clone()
    };
    assert_eq!((tally(LeadAction::Submit), tally(LeadAction::WithoutConsent)), (json!(true), json!(false)));
    let named = LeadSampleFixture::from_config_text(
        &demo_config_text().replace("fields = { id = \"lead_id\" }", "fields = { id = \"lead_id\", test = \"trial\" }"),
    );
    assert!(named.apply_single_action("website", LeadAction::Test).body_text().ends_with("&trial=true"));
}

#[test]
fn a_form_uses_the_field_names_of_the_client_config() {
    let fixture = LeadSampleFixture::new();
    let zapier = body_json(&fixture.apply_single_action("zapier", LeadAction::Submit));
    assert_eq!((&zapier["firstName"], &zapier["phone"]), (&json!("Noa"), &json!(PHONE)));
    assert_eq!(
        (&zapier["consent"]["whatsapp"], &zapier["createdAt"]),
        (&json!(true), &json!("2026-11-20T08:00:00.250Z"))
    );
    let gravity = body_json(&fixture.apply_single_action("gravity", LeadAction::Submit));
    assert_eq!((&gravity["3"], &gravity["1.6"], &gravity["4.1"]), (&json!(PHONE), &json!("Levi"), &json!("1")));
    assert_eq!(gravity["date_created"], "2026-11-20 08:00:00");
    let contact = body_json(&fixture.apply_single_action("hubspot", LeadAction::Submit));
    assert_eq!(contact["properties"]["whatsapp_consent"]["value"], "true");
    assert!(
        fixture
            .apply_single_action("elementor", LeadAction::Submit)
            .body_text()
            .ends_with("&WhatsApp=on&form_id=a1b2c3d&form_name=Request+an+appointment")
    );
    let jotform = fixture.apply_single_action("jotform", LeadAction::Submit).body_text().into_owned();
    assert!(jotform.contains(r#""q5_phoneNumber":{"full":"052-555-0101"}"#));
    assert!(!jotform.replace("\r\n", "").contains('\n'), "its line breaks stay");
    assert!(jotform.contains(r#""q6_consent":["I agree to WhatsApp messages"]"#), "{jotform}");
    for recorded in ["6100000000000000001", "Lior", "(054) 555-0199"] {
        assert!(!jotform.contains(recorded), "{recorded}");
    }
}

#[test]
fn a_lead_that_a_delivery_only_references_is_in_its_fake_api() {
    let fixture = LeadSampleFixture::new();
    let body = body_json(&fixture.apply_single_action("meta", LeadAction::Submit));
    let named = &body["entry"][0]["changes"][0]["value"];
    let lead = fixture.leads.find_lead(named["leadgen_id"].as_str().unwrap()).unwrap();
    assert_eq!((lead.form_id.as_str(), lead.disclaimers["optional_1"]), (named["form_id"].as_str().unwrap(), true));
    assert!(lead.fields.contains(&("phone_number".to_owned(), vec![PHONE.to_owned()])));
    let (before, hubspot) =
        demo_config_text().split_once("[forms.hubspot]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let header = "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }";
    let signed = "notification_url = \"https://hooks.example.com/leads/hubspot\"";
    let signs =
        LeadSampleFixture::from_config_text(&format!("{before}[forms.hubspot]{}", hubspot.replacen(header, signed, 1)));
    let event = signs.apply_single_action("hubspot", LeadAction::WithoutConsent);
    assert!(signs.verify_delivery(&event).is_ok());
    let id = body_json(&event)[0]["objectId"].to_string();
    let contact = signs.leads.find_contact(&id).unwrap();
    assert_eq!((contact.properties["phone"].as_str(), contact.properties["whatsapp_consent"].as_str()), (PHONE, ""));
}
