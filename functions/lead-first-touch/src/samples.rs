//! Parses every sample delivery of `events/leads` and compares it with the facts of its manifest.
//! Also parses corrupted samples.
//!
//! Long because it compares every sender of leads with its manifest.

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tellonce_core::{client_config::ClientConfig, inbox::DeliveryOutcome, pseudonym::PseudonymKey};

use crate::{
    facts::{FactSource, LeadFact, LeadFacts, usual_names},
    lead::{Lead, LeadDelivery, LeadReference, ParsedLead},
    lead_outcome::{LeadOutcome, LeadSkipReason},
    lead_parser::{
        find_facts, find_facts_in_response, parse_content, parse_lead, parse_lead_response, parse_submission_response,
    },
    submission::{DeliveryContent, LeadSubmission},
};

/// A client with a form of each kind.
const CLIENT_TOML: &str = r#"
client = "demo"
name = "Demo"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["he", "en"]

[lines.main]
line_id = "line-1"

[forms.typeform]
kind = "typeform"
line = "main"
consent = { field = "consent" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.google]
kind = "google-ads"
line = "main"
consent = { stated = "By sending this you agree" }
choice = { field = "WHICH_BRANCH?", of = ["Haifa", "Eilat"] }
countries = ["IL", "DE"]
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.meta]
kind = "meta"
line = "main"
form_ids = ["123123123000"]
consent = { field = "optional_1" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.webflow]
kind = "webflow"
line = "main"
consent = { field = "whatsapp consent" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.tally]
kind = "tally"
line = "main"
consent = { field = "Consent (WhatsApp updates)" }
choice = { field = "branch", of = ["Haifa"] }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.jotform]
kind = "jotform"
line = "main"
form_ids = ["263221000000001"]
countries = ["IL", "DE"]
consent = { field = "consent", accepts = ["I agree to WhatsApp messages"] }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.elementor]
kind = "elementor"
line = "main"
form_ids = ["a1b2c3d"]
consent = { field = "WhatsApp" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.gravity]
kind = "gravity-forms"
line = "main"
verify = { scheme = "static-header", header = "Authorization" }
form_ids = ["4"]
fields = { first_name = "1.3", last_name = "1.6", phone = "3" }
consent = { field = "4.1" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.wpforms]
kind = "wpforms"
line = "main"
verify = { scheme = "secret-path" }
consent = { stated = "By sending this you agree" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.cf7]
kind = "contact-form-7"
line = "main"
verify = { scheme = "secret-path" }
consent = { field = "acceptance-whatsapp" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.hubspot]
kind = "hubspot"
line = "main"
notification_url = "https://hooks.example.com/t/demo/hubspot"
consent = { stated = "By sending this you agree" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.landing]
kind = "web"
line = "main"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
consent = { field = "consent.whatsapp" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.site]
kind = "web"
line = "main"
verify = { scheme = "secret-path" }
countries = ["IL", "DE"]
consent = { field = "whatsapp_consent" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }

[forms.numbered]
kind = "web"
line = "main"
verify = { scheme = "secret-path" }
form_ids = ["5"]
consent = { stated = "By sending this you agree" }
first_touch = { useful_for = "1d", text = { en = "Hi" } }
"#;

const SAMPLE_FOLDERS: [&str; 9] =
    ["google_ads", "hubspot", "jotform", "meta", "tally", "typeform", "web", "webflow", "wordpress"];

pub(crate) fn sample_config() -> &'static ClientConfig {
    static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| ClientConfig::parse(CLIENT_TOML).unwrap());
    &CONFIG
}

/// The client with `lines` inserted at the beginning of one form's table.
pub(crate) fn config_with(form: &str, lines: &str) -> ClientConfig {
    let table = format!("[forms.{form}]\n");
    assert!(CLIENT_TOML.contains(&table));
    ClientConfig::parse(&CLIENT_TOML.replace(&table, &format!("{table}{lines}\n"))).unwrap()
}

/// The time of receipt in the tests. It is later than every time in the samples.
pub(crate) fn received_at() -> Timestamp {
    "2026-11-21T00:00:42Z".parse().unwrap()
}

/// A delivery without headers.
pub(crate) fn build_delivery<'a>(config: &'a ClientConfig, form: &'a str, body: &'a [u8]) -> LeadDelivery<'a> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    static PSEUDONYMS: LazyLock<PseudonymKey> = LazyLock::new(|| PseudonymKey::from_bytes(&[7; 32]));
    LeadDelivery {
        form_name: form,
        form: &config.forms[form],
        config,
        pseudonyms: &PSEUDONYMS,
        headers: &NONE,
        body,
        received_at: received_at(),
    }
}

/// A delivery with its headers.
pub(crate) struct PostedForm {
    form: &'static str,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

pub(crate) fn build_posted_form(form: &'static str, content_type: &str, body: &[u8]) -> PostedForm {
    let headers = [("Content-Type".to_owned(), content_type.to_owned())];
    let headers = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    PostedForm { form, headers, body: body.to_vec() }
}

impl PostedForm {
    fn as_delivery(&self) -> LeadDelivery<'_> {
        LeadDelivery { headers: &self.headers, ..build_delivery(sample_config(), self.form, &self.body) }
    }
}

/// The id without the pseudonym of the number, which an id from a field ends in.
pub(crate) fn field_id(lead: &Lead) -> &str {
    let is_pseudonym = |end: &str| end.len() == 16 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    lead.id.rsplit_once('-').filter(|(_, end)| is_pseudonym(end)).map_or(&lead.id, |(id, _)| id)
}

pub(crate) fn parse_posted_form(posted: &PostedForm) -> ParsedLead {
    parse_lead(&posted.as_delivery())
}

/// Parses a body as a delivery to one of the client's forms.
pub(crate) fn parse_as(form: &str, body: impl AsRef<[u8]>) -> ParsedLead {
    parse_lead(&build_delivery(sample_config(), form, body.as_ref()))
}

pub(crate) fn expect_lead(parsed: ParsedLead) -> Lead {
    match parsed {
        ParsedLead::Lead(lead) => *lead,
        other => panic!("expected a lead: {other:?}"),
    }
}

pub(crate) fn expect_skip(parsed: ParsedLead) -> LeadSkipReason {
    match parsed {
        ParsedLead::Skipped(reason) => reason,
        other => panic!("expected a skip reason: {other:?}"),
    }
}

/// The code and the explanation.
fn describe_skip(parsed: ParsedLead) -> String {
    DeliveryOutcome::from(LeadOutcome::Skipped(expect_skip(parsed))).to_string()
}

fn sample_folder(system: &str) -> String {
    format!("leads/{system}")
}

/// A sample's body as JSON, for changes.
pub(crate) fn sample_json(system: &str, case: &str) -> Value {
    tellonce_samples::read_sample_json(&format!("{}/{case}.json", sample_folder(system)))
}

/// The form of the client that receives a case.
fn form_for_case(case: &tellonce_samples::SampleDelivery) -> &'static str {
    match (&*case.system, case.name.split('_').next().unwrap()) {
        ("google_ads", _) => "google",
        ("hubspot", _) => "hubspot",
        ("jotform", _) => "jotform",
        ("meta", _) => "meta",
        ("tally", _) => "tally",
        ("typeform", _) => "typeform",
        ("webflow", _) => "webflow",
        ("web", _) if case.name == "lead_json" => "landing",
        ("web", _) => "site",
        ("wordpress", "elementor") => "elementor",
        ("wordpress", "gravityforms") => "gravity",
        ("wordpress", "wpforms") => "wpforms",
        ("wordpress", "contactform7") => "cf7",
        _ => panic!("{} has no form", case.full_name()),
    }
}

/// The samples whose verification succeeds.
fn sample_cases() -> Vec<(tellonce_samples::SampleDelivery, PostedForm)> {
    let cases = SAMPLE_FOLDERS.iter().flat_map(|system| tellonce_samples::sample_deliveries(&sample_folder(system)));
    let cases = cases.filter(|case| case.facts["verify"] != json!(false));
    cases
        .map(|case| {
            let headers = case.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
            let posted = PostedForm { form: form_for_case(&case), headers: headers.collect(), body: case.body.clone() };
            (case, posted)
        })
        .collect()
}

fn expect_submission(posted: &PostedForm) -> LeadSubmission {
    match parse_content(&posted.as_delivery()) {
        Ok(DeliveryContent::Submission(submission)) => submission,
        Ok(DeliveryContent::References(_)) => panic!("expected a submission and got references"),
        Err(reason) => panic!("{reason}"),
    }
}

#[test]
fn every_sample_parses_to_the_facts_of_its_manifest() {
    let mut checked = 0;
    for (case, posted) in sample_cases() {
        let title = case.full_name();
        match (parse_posted_form(&posted), case.text_fact("kind").unwrap()) {
            (ParsedLead::Lead(lead), "lead.created") => {
                checked += 1;
                check_lead(&case, &posted, &lead);
            }
            (ParsedLead::NeedsLookup(references), "lead.reference") => {
                checked += 1;
                let ids: Vec<_> = references.iter().map(|reference| reference.id.as_str()).collect();
                let expected_ids: Vec<_> = match case.facts["leadgen_ids"].as_array() {
                    Some(ids) => ids.iter().map(|id| id.as_str().unwrap()).collect(),
                    None => vec![case.text_fact("entity_id").unwrap()],
                };
                assert_eq!(ids, expected_ids, "{title}");
                if let Some(at) = case.text_fact("occurred_at") {
                    assert_eq!(references[0].created_at, Some(at.parse().unwrap()), "{title}");
                }
            }
            (ParsedLead::Skipped(reason), "lead.test") => assert_eq!(reason, LeadSkipReason::Test, "{title}"),
            (other, kind) => panic!("{title}: {kind} is parsed as {other:?}"),
        }
    }
    assert!(checked >= 13, "only {checked} samples were checked");
}

fn check_lead(case: &tellonce_samples::SampleDelivery, posted: &PostedForm, lead: &Lead) {
    let title = case.full_name();
    match case.text_fact("entity_id") {
        Some(id) => assert_eq!(field_id(lead), id, "{title}"),
        None => assert!(lead.id.starts_with("derived:"), "{title}: {}", lead.id),
    }
    assert_eq!(Some(lead.phone.expose()), case.text_fact("phone_e164"), "{title}");
    assert_eq!(lead.name.as_deref(), case.text_fact("customer_name"), "{title}");
    match case.text_fact("occurred_at") {
        Some(at) => assert_eq!(lead.submitted_at, at.parse().unwrap(), "{title}"),
        None => assert!(lead.submitted_at <= received_at(), "{title}"),
    }
    if case.facts["opt_in"] == json!(true) {
        assert!(lead.consent.source.starts_with("field "), "{title}: {:?}", lead.consent);
    }
    let submission = expect_submission(posted);
    if let Some(form_id) = case.text_fact("form_id") {
        assert_eq!(submission.form_id.as_deref(), Some(form_id), "{title}");
    }
    let email = case.text_fact("email").unwrap();
    assert!(submission.fields.iter().any(|field| field.values == [email]), "{title}: no {email}");
}

#[test]
fn the_sample_response_of_meta_completes_the_sample_reference() {
    let response = sample_json("meta", "_graph_lead.response").to_string();
    let (_, posted) = sample_cases().into_iter().find(|(case, _)| case.full_name() == "meta/leadgen").unwrap();
    let ParsedLead::NeedsLookup(references) = parse_posted_form(&posted) else { panic!() };
    let lead = parse_lead_response(&posted.as_delivery(), &references[0], response.as_bytes()).unwrap();
    assert_eq!((&*lead.id, lead.phone.expose()), ("444444444444000", "+972525550101"));
    assert_eq!(lead.name.as_deref(), Some("שירה כהן"));
    assert_eq!(lead.submitted_at.to_string(), "2026-11-19T10:00:00Z");
    assert_eq!(lead.consent.source, "field optional_1");
    let email =
        |submission: LeadSubmission| submission.fields.iter().any(|field| field.values == ["shira@example.com"]);
    assert!(parse_submission_response(&posted.as_delivery(), &references[0], response.as_bytes()).is_ok_and(email));
}

/// The sources of a submission's facts: `phone: Your phone?`, and so on.
fn describe_sources(facts: &LeadFacts) -> String {
    let describe = |(fact, place): (&&str, &FactSource)| match place {
        FactSource::Field(field) => format!("{fact}: {field}"),
        FactSource::Sender => format!("{fact} as always"),
        FactSource::Form => format!("{fact} on the form"),
    };
    facts.sources.iter().map(describe).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_fact_names_the_field_it_was_found_in() {
    let sources_of = |title: &str| {
        let (_, posted) = sample_cases().into_iter().find(|(case, _)| case.full_name() == title).unwrap();
        describe_sources(&find_facts(&posted.as_delivery()).unwrap())
    };
    for (title, expected) in [
        (
            "typeform/form_response",
            "consent: consent, form_id as always, id as always, language: lang, name: full_name, phone: phone, submitted_at as always",
        ),
        (
            "google_ads/lead",
            "choice: which_branch?, consent on the form, form_id as always, id as always, name: FULL_NAME, phone: PHONE_NUMBER, \
             submitted_at as always",
        ),
        (
            "webflow/form_submission",
            "consent: whatsapp consent, form_id as always, id as always, name: First Name + Last Name, phone: Phone Number, \
             submitted_at as always",
        ),
        (
            "jotform/submission",
            "consent: consent, form_id as always, id as always, name: fullName, phone: q5_phoneNumber, submitted_at as always",
        ),
        ("wordpress/elementor_simple", "consent: WhatsApp, form_id as always, name: Name, phone: Phone"),
        (
            "wordpress/gravityforms_entry",
            "consent: 4.1, form_id as always, id as always, name: 1.3 + 1.6, phone: 3, submitted_at as always",
        ),
        ("wordpress/contactform7_json", "consent: acceptance-whatsapp, name: your-name, phone: your-tel"),
        (
            "web/lead_json",
            "consent: consent.whatsapp, id: leadId, name: firstName + lastName, phone: phone, submitted_at: createdAt",
        ),
    ] {
        assert_eq!(sources_of(title), expected, "{title}");
    }
    let response = sample_json("meta", "_graph_lead.response").to_string();
    let (_, posted) = sample_cases().into_iter().find(|(case, _)| case.full_name() == "meta/leadgen").unwrap();
    let ParsedLead::NeedsLookup(references) = parse_posted_form(&posted) else { panic!() };
    assert!(find_facts(&posted.as_delivery()).is_none(), "ids only");
    let facts = find_facts_in_response(&posted.as_delivery(), &references[0], response.as_bytes()).unwrap();
    assert!(
        describe_sources(&facts)
            .starts_with("consent: optional_1, form_id as always, id as always, name: full_name, phone: phone_number")
    );
}

#[test]
fn the_source_of_a_fact_is_known_even_for_a_skipped_lead() {
    let body = br#"{"consent": {"whatsapp": "no"}, "phone": "12", "mobile": "", "contact": {"name": "Noa"}}"#;
    let facts = find_facts(&build_delivery(sample_config(), "landing", body)).unwrap();
    assert_eq!(describe_sources(&facts), "consent: consent.whatsapp, name: contact.name, phone: phone");
    assert_eq!(facts.consent, Err(LeadSkipReason::NoConsent));
    assert!(matches!(facts.phone, Err(LeadSkipReason::PhoneUnusable(_))));
    assert_eq!(facts.fields, [["consent.whatsapp"], ["phone"], ["mobile"], ["contact.name"]]);
    let nothing = find_facts(&build_delivery(sample_config(), "landing", br#"{"e-mail": "noa@example.com"}"#)).unwrap();
    assert_eq!((describe_sources(&nothing).as_str(), nothing.consent), ("", Err(LeadSkipReason::NoConsent)));
}

#[test]
fn every_sample_file_is_tested() {
    for system in SAMPLE_FOLDERS {
        let unlisted: &[&str] = match system {
            "meta" => &["_graph_lead.response.json"],
            // The earlier version, which the tests of its parser use.
            "webflow" => &["form_submission_v1.json"],
            _ => &[],
        };
        tellonce_samples::assert_all_files_listed(&sample_folder(system), unlisted);
    }
    tellonce_samples::assert_all_folders_known("leads", &SAMPLE_FOLDERS);
}

#[test]
fn a_repeated_delivery_derives_the_same_id_within_its_minute() {
    for (case, posted) in sample_cases() {
        assert_eq!(parse_posted_form(&posted), parse_posted_form(&posted), "{}", case.full_name());
    }
    let id = |form: &str, body: &str, received_at: &str| {
        let delivery = LeadDelivery {
            received_at: received_at.parse().unwrap(),
            ..build_delivery(sample_config(), form, body.as_bytes())
        };
        expect_lead(parse_lead(&delivery)).id
    };
    let body = "phone=0545550199&name=Noa&whatsapp_consent=on";
    let first = id("site", body, "2026-11-21T00:00:00Z");
    assert_eq!(id("site", "name=Noa&phone=%2B972+54+5550199&whatsapp_consent=yes", "2026-11-21T00:00:59Z"), first);
    for (form, body, at) in [
        ("site", body, "2026-11-21T00:01:00Z"),
        ("site", "phone=0545550199&name=Gil&whatsapp_consent=on", "2026-11-21T00:00:00Z"),
        ("site", "phone=0525550101&name=Noa&whatsapp_consent=on", "2026-11-21T00:00:00Z"),
        ("wpforms", body, "2026-11-21T00:00:00Z"),
    ] {
        assert_ne!(id(form, body, at), first, "{form} {body} {at}");
    }
}

#[test]
fn only_leads_of_configured_countries_are_greeted() {
    let read = |lines: &str, phone: &str| {
        let config = config_with("wpforms", lines);
        let body = json!({"phone": phone}).to_string();
        match parse_lead(&build_delivery(&config, "wpforms", body.as_bytes())) {
            ParsedLead::Lead(lead) => Ok(lead.phone.expose().to_owned()),
            other => Err(describe_skip(other)),
        }
    };
    assert_eq!(read("", "054-5550199").as_deref(), Ok("+972545550199"));
    assert!(read("", "+12025550123").unwrap_err().starts_with("country-not-allowed: the number belongs to US"));
    assert!(read("", "+80012345678").is_err());
    assert_eq!(read("country = \"US\"", "(202) 555-0123").as_deref(), Ok("+12025550123"));
    assert!(
        read("country = \"US\"", "+972545550199").unwrap_err().contains("to IL"),
        "the form's country overrides the client's"
    );
    assert_eq!(read("countries = [\"US\", \"il\"]", "+12025550123").as_deref(), Ok("+12025550123"));
    assert!(read("countries = [\"US\"]", "054-5550199").unwrap_err().contains("to IL"), "only the listed countries");
    assert_eq!(read("countries = [\"PS\"]", "0599123456").as_deref(), Ok("+972599123456"));
    assert_eq!(read("countries = [\"UK\"]", "+447400123456").as_deref(), Ok("+447400123456"));
}

#[test]
fn a_consent_value_is_a_yes_a_no_or_unclear() {
    let read = |consent: &Value| {
        let body = json!({"phone": "054-5550199", "WHATSAPP_consent": consent}).to_string();
        match parse_as("site", body) {
            ParsedLead::Lead(lead) => lead.consent.source,
            other => expect_skip(other).code().to_owned(),
        }
    };
    for yes in [json!(true), json!(1), json!("ON"), json!(" yes "), json!("כן"), json!(["x", "Y"]), json!("checked")]
    {
        assert_eq!(read(&yes), "field whatsapp_consent", "{yes}");
    }
    for no in [
        json!(false),
        json!(0),
        json!("Off"),
        json!("no"),
        json!(""),
        Value::Null,
        json!([]),
        json!(["", "no"]),
        json!("לא"),
    ] {
        assert_eq!(read(&no), "no-consent", "{no}");
    }
    for unclear in
        [json!("maybe"), json!(2), json!({"x": true}), json!(["no", "maybe"]), json!("yes, but not on WhatsApp")]
    {
        assert_eq!(read(&unclear), "consent-unclear", "{unclear}");
    }
    assert_eq!(expect_skip(parse_as("site", "phone=054-5550199")).code(), "no-consent");
    for (answer, code) in [("i agree to whatsapp messages ", None), ("I agree", Some("consent-unclear"))] {
        let raw = json!({"q5_phone": {"full": "0545550199"}, "q6_consent": [answer]});
        let body = json!({"formID": "263221000000001", "rawRequest": raw.to_string()}).to_string();
        match (parse_as("jotform", body), code) {
            (ParsedLead::Lead(_), None) => {}
            (other, Some(code)) => assert_eq!(expect_skip(other).code(), code),
            (other, None) => panic!("{other:?}"),
        }
    }
}

#[test]
fn usual_field_names_are_found_in_any_spelling() {
    let phone = |name: &str| {
        let body = json!({name: "054-5550199"}).to_string();
        matches!(parse_as("wpforms", body), ParsedLead::Lead(_))
    };
    for name in [
        "Phone",
        "phone_number",
        "Phone-Number:",
        "phoneNumber",
        "PHONE NUMBER *",
        "your-tel",
        "your-phone",
        "Tel.",
        "Mobile",
        "cell",
        "טלפון",
        "מספר טלפון:",
        "נייד",
        "\u{200f}טלפון נייד",
        "contact.phone",
        "data.customer.mobile_number",
        "WhatsApp",
    ] {
        assert!(phone(name), "{name}");
    }
    for name in ["agent.phone", "company.tel", "phone2", "0.phone", "fax", "number", "telegram"] {
        assert!(!phone(name), "{name}");
    }
    for fact in LeadFact::ALL {
        assert!(!usual_names(fact).is_empty());
        for name in usual_names(fact) {
            assert_eq!(*name, name.to_lowercase(), "{fact:?}");
        }
    }
}

#[test]
fn names_are_assembled_from_the_available_parts() {
    let name = |members: &str| expect_lead(parse_as("wpforms", format!("{{\"phone\":\"0545550199\",{members}}}"))).name;
    for (members, expected) in [
        (r#""name":"Noa Levi""#, Some("Noa Levi")),
        (r#""First Name":"Noa","lastName":"Levi","name":"Landing page 3""#, Some("Noa Levi")),
        (r#""first_name":"Noa","full_name":"Noa Levi""#, Some("Noa Levi")),
        (r#""שם פרטי":"נועה","שם משפחה":"לוי""#, Some("נועה לוי")),
        (r#""name":{"first":"Noa","last":"Levi"}"#, Some("Noa Levi")),
        (r#""first_name":"Noa","last_name":null"#, Some("Noa")),
        (r#""form_name":"Contact","company":{"name":"Acme"}"#, None),
    ] {
        assert_eq!(name(members).as_deref(), expected, "{members}");
    }
}

#[test]
fn a_configured_field_is_the_only_source_of_its_fact() {
    let config = config_with(
        "wpforms",
        "countries = [\"US\", \"IL\"]\n\
         fields = { phone = \"Our.Line\", name = \"who\", country = \"land\", language = \"tongue\", id = \"ref\", \
         submitted_at = \"when\", test = \"trial\" }",
    );
    let read = |body: Value| parse_lead(&build_delivery(&config, "wpforms", body.to_string().as_bytes()));
    let all = json!({
        "our": {"line": "(202) 555-0123"}, "phone": "0545550199", "who": "Noa", "full name": "Gil", "land": "US",
        "country": "IL", "tongue": "en-GB", "language": "he", "ref": 7, "entry_id": 8, "trial": "no",
        "when": "2026-11-20T00:00:00+02:00", "created_at": "2026-11-18T00:00:00Z",
    });
    let lead = expect_lead(read(all));
    assert_eq!((field_id(&lead), lead.phone.expose(), lead.name.as_deref()), ("7", "+12025550123", Some("Noa")));
    assert_eq!(lead.locale.as_deref(), Some("en-GB"));
    assert_eq!(lead.submitted_at.to_string(), "2026-11-19T22:00:00Z");
    assert_eq!(lead.consent.at, lead.submitted_at);
    assert_eq!(expect_skip(read(json!({"phone": "0545550199"}))).code(), "no-phone");
    assert_eq!(expect_skip(read(json!({"our.line": "0545550199", "trial": true}))).code(), "test");
}

#[test]
fn a_future_or_unreadable_time_becomes_the_time_of_receipt() {
    for (at, expected) in [
        ("2026-11-20T23:59:59Z", "2026-11-20T23:59:59Z"),
        ("2026-11-21T00:00:43Z", "2026-11-21T00:00:42Z"),
        ("2027-01-01T00:00:00Z", "2026-11-21T00:00:42Z"),
        ("19/11/2026", "2026-11-21T00:00:42Z"),
        ("", "2026-11-21T00:00:42Z"),
    ] {
        let lead = expect_lead(parse_as("wpforms", json!({"phone": "0545550199", "created_at": at}).to_string()));
        assert_eq!((lead.submitted_at.to_string().as_str(), lead.consent.at), (expected, lead.submitted_at), "{at}");
    }
}

#[test]
fn the_first_number_that_can_be_messaged_is_used() {
    let phone = |body: &str| match parse_as("wpforms", body) {
        ParsedLead::Lead(lead) => lead.phone.expose().to_owned(),
        other => describe_skip(other),
    };
    assert_eq!(phone(r#"{"phone":"03-5550123","mobile":"054-5550199"}"#), "+972545550199");
    assert_eq!(phone(r#"{"phone":["03-5550123","054-5550199"]}"#), "+972545550199");
    assert_eq!(
        phone(r#"{"phone":"03-5550123"}"#),
        "phone-unusable: could not use the phone number: the number is not a mobile number"
    );
    assert!(phone(r#"{"phone":"-"}"#).starts_with("no-phone"));
    assert!(phone(r#"{"phone":"054-5550199 / 052-5550101"}"#).contains("two numbers"));
    assert_eq!(phone(r#"{"WhatsApp":"on","phone":"054-5550199"}"#), "+972545550199");
    assert!(phone(r#"{"WhatsApp":"on"}"#).starts_with("no-phone"));
    assert_eq!(phone(r#"{"phone":"054-5550199","country":"Israel","country code":"972"}"#), "+972545550199");
    assert_eq!(phone(r#"{"phone":"545550199","country code":"+972"}"#), "+972545550199");
    assert!(phone(r#"{"phone":"07400123456","country code":"44"}"#).starts_with("country-not-allowed"), "GB");
}

#[test]
fn a_number_that_may_be_another_persons_is_not_used() {
    let code = |form: &str, body: String| match parse_as(form, body) {
        ParsedLead::Lead(lead) => lead.phone.expose().to_owned(),
        other => expect_skip(other).code().to_owned(),
    };
    let mut two = sample_json("tally", "form_response");
    let fields = two["data"]["fields"].as_array_mut().unwrap();
    let emergency_contact =
        json!({"key": "q9", "label": "Emergency contact", "type": "INPUT_PHONE_NUMBER", "value": "+972545550177"});
    fields.insert(0, emergency_contact);
    assert_eq!(code("tally", two.to_string()), "phone-ambiguous");
    // The same if the lead's own number cannot receive messages.
    two["data"]["fields"][2]["value"] = json!("03-5550123");
    assert_eq!(code("tally", two.to_string()), "phone-ambiguous");
    let nested = json!({"customer": {"phone": "0545550199"}, "person": {"phone": "0525550101"}});
    assert_eq!(code("wpforms", nested.to_string()), "phone-ambiguous");
    let shop = json!({"client": {"phone": "0525550101"}, "lead": {"phone": "0545550199"}});
    assert_eq!(
        code("wpforms", shop.to_string()),
        "+972545550199",
        "`shop` often describes the client, so it does not name another person"
    );
}

#[test]
fn a_missing_or_personal_id_is_replaced_by_a_derived_one() {
    let lead =
        |phone: &str, id: &str| expect_lead(parse_as("wpforms", json!({"phone": phone, "entry_id": id}).to_string()));
    let id = |id: &str| lead("0545550199", id).id;
    assert_eq!(field_id(&lead("0545550199", "512")), "512");
    assert_ne!(lead("0545550199", "512").id, lead("0525550101", "512").id, "a visitor can write any id into a field");
    for odd in ["0", "noa@example.com", "+972545550199"] {
        assert!(id(odd).starts_with("derived:"), "{odd}: {}", id(odd));
    }
    assert_ne!(id("noa@example.com"), id("adi@example.com"));
}

#[test]
fn a_language_must_be_a_tag_and_a_choice_must_be_configured() {
    let locale = |language: &str| {
        expect_lead(parse_as("wpforms", json!({"phone": "0545550199", "lang": language}).to_string())).locale
    };
    for tag in ["he", "en-GB", "pt_BR", "zh-Hant"] {
        assert_eq!(locale(tag).as_deref(), Some(tag));
    }
    for other in ["Hebrew", "עברית", "e", "en GB", "he; DROP", "http://x"] {
        assert_eq!(locale(other), None, "{other}");
    }
    let config = config_with("wpforms", "choice = { field = \"Branch\", of = [\"Haifa\", \"Tel Aviv\"] }");
    let choice = |choice: &str| {
        let body = json!({"phone": "0545550199", "branch": choice}).to_string();
        expect_lead(parse_lead(&build_delivery(&config, "wpforms", body.as_bytes()))).choice
    };
    assert_eq!(choice(" tel aviv").as_deref(), Some("Tel Aviv"));
    assert_eq!(choice("Haifa and win a prize"), None);
}

#[test]
fn unparsable_bodies_are_never_quoted() {
    let bodies: [&[u8]; 4] =
        [b"{\"secret-5\":\"secret-5\"", b"{\"x\":\"secret-5\xff\"}", b"[\"secret-5\"", b"\xef\xbb\xbf{"];
    for body in bodies {
        for form in sample_config().forms.keys() {
            let reason = expect_skip(parse_as(form, body));
            assert_eq!(reason.code(), "not-understood", "{form}: {body:?}");
            assert!(reason.needs_attention() && !format!("{reason} {reason:?}").contains("secret"), "{reason}");
        }
    }
}

fn check_lead_promises(lead: &Lead) {
    assert!(!lead.id.is_empty() && lead.submitted_at <= received_at() && lead.consent.at == lead.submitted_at);
    assert!(lead.name.as_deref().is_none_or(|name| !name.trim().is_empty()));
    // The id may appear in `Debug`, whatever it contains.
    let debug_text = format!("{lead:?}").replace(&format!("{:?}", lead.id), "");
    assert!(!debug_text.contains(lead.phone.expose()), "{debug_text}");
}

fn check_promises(parsed: &ParsedLead) {
    match parsed {
        ParsedLead::Lead(lead) => check_lead_promises(lead),
        ParsedLead::NeedsLookup(references) => {
            assert!(!references.is_empty() && references.iter().all(|reference| !reference.id.is_empty()));
        }
        ParsedLead::Skipped(reason) => assert!(!reason.to_string().is_empty() && !reason.code().is_empty()),
    }
}

/// The content types under which each body is parsed.
const CONTENT_TYPES: [&str; 4] = [
    "",
    "application/json; charset=UTF-8",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=------------------------9051914041544843",
];

/// Parses a body under every form and every content type, and as a lookup response.
fn check_all_forms(body: &[u8]) {
    let reference = LeadReference { id: "444444444444000".to_owned(), created_at: None };
    for form in sample_config().forms.keys() {
        for content_type in CONTENT_TYPES {
            let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
            check_promises(&parse_lead(&LeadDelivery {
                headers: &headers,
                ..build_delivery(sample_config(), form, body)
            }));
        }
        match parse_lead_response(&build_delivery(sample_config(), form, b""), &reference, body) {
            Ok(lead) => check_lead_promises(&lead),
            Err(reason) => assert!(!reason.code().is_empty()),
        }
    }
}

fn sample_bodies() -> &'static [Vec<u8>] {
    static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let others = [sample_json("meta", "_graph_lead.response"), sample_json("webflow", "form_submission_v1")];
        sample_cases()
            .into_iter()
            .map(|(_, posted)| posted.body)
            .chain(others.map(|body| body.to_string().into()))
            .collect()
    });
    &BODIES
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn corrupted_bodies_never_panic_or_break_the_promises(body in tellonce_samples::corrupted_body(sample_bodies())) {
        check_all_forms(&body);
    }

    #[test]
    fn any_value_in_any_field_never_panics_or_breaks_a_promise(
        which in any::<prop::sample::Index>(),
        at in 0_usize..80,
        with in prop::sample::select(vec![
            "null", "[]", "{}", "\"\"", "true", "-1", "1e400", "\"1.0E+6\"", "\"<b>\\u202e&amp;\"", "[null]", "[[{}]]",
            "\"99999-12-31T23:59:60Z\"", "\"http://x.example/\"", "123456789012345678901234567890", "{\"a\":{\"b\":[]}}",
            "\"2026-11-24\"", "\"+972545550199\"", "[{\"phone\":\"0545550199\"}]", "\"<test lead: x>\"", "\"FULL_NAME\"",
            "\"\\ud83d\"", "-9223372036854775808", "\" 972545550199\"",
        ]),
    ) {
        let body: &Vec<u8> = which.get(sample_bodies());
        if let Some(body) = tellonce_samples::replace_nth_value(body, at, with) {
            check_all_forms(body.as_bytes());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        check_all_forms(&body);
    }

    #[test]
    fn arbitrary_forms_never_panic(
        pairs in prop::collection::vec(("[a-z\\[\\].0-9_ ]{0,12}|phone|consent|fields\\[x\\]\\[value\\]", "\\PC{0,20}"), 0..12),
    ) {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        check_all_forms(body.extend_pairs(pairs).finish().as_bytes());
    }

    #[test]
    fn an_id_of_any_length_preserves_its_digits(id in "[1-9][0-9]{16,38}") {
        let raw = |mut sample: Value, pointer: &str| {
            *sample.pointer_mut(pointer).unwrap() = json!("@@");
            sample.to_string().replace("\"@@\"", &id)
        };
        for (form, system, case, pointer) in [
            ("typeform", "typeform", "form_response", "/form_response/token"),
            ("google", "google_ads", "lead", "/lead_id"),
            ("webflow", "webflow", "form_submission", "/payload/id"),
            ("tally", "tally", "form_response", "/data/responseId"),
            ("gravity", "wordpress", "gravityforms_entry", "/id"),
            ("wpforms", "wordpress", "wpforms_json", "/entry_id"),
            ("landing", "web", "lead_json", "/leadId"),
        ] {
            let lead = expect_lead(parse_as(form, raw(sample_json(system, case), pointer)));
            prop_assert_eq!(field_id(&lead), &id);
        }
        for (form, system, case, pointer) in [
            ("meta", "meta", "leadgen", "/entry/0/changes/0/value/leadgen_id"),
            ("hubspot", "hubspot", "contact_creation", "/0/objectId"),
        ] {
            let ParsedLead::NeedsLookup(references) = parse_as(form, raw(sample_json(system, case), pointer)) else { panic!() };
            prop_assert_eq!(&references[0].id, &id);
        }
        let (_, mut jotform) = sample_cases().into_iter().find(|(case, _)| case.system == "jotform").unwrap();
        jotform.body = String::from_utf8(jotform.body).unwrap().replace("6100000000000000001", &id).into_bytes();
        let lead = expect_lead(parse_posted_form(&jotform));
        prop_assert_eq!(field_id(&lead), &id);
    }
}
