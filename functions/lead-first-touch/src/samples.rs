//! Every sample delivery of `events/leads`, read and held against the facts of its manifest; and samples torn apart.

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::client_config::ClientConfig;

use crate::{
    facts::{Fact, Facts, Place, looked_for},
    lead::{Delivery, Lead, NothingBecause, Reading, Reference, found, found_in_answer, read, read_answer},
    senders::{self, Said},
    submission::Submission,
};

/// A client with a form of each kind.
const CLIENT: &str = r#"
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

/// The folders of the samples.
const SYSTEMS: [&str; 9] =
    ["google_ads", "hubspot", "jotform", "meta", "tally", "typeform", "web", "webflow", "wordpress"];

pub(crate) fn config() -> &'static ClientConfig {
    static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| ClientConfig::parse(CLIENT).unwrap());
    &CONFIG
}

/// The client with one form changed: lines that stand before those of the form.
pub(crate) fn config_with(form: &str, lines: &str) -> ClientConfig {
    let table = format!("[forms.{form}]\n");
    assert!(CLIENT.contains(&table));
    ClientConfig::parse(&CLIENT.replace(&table, &format!("{table}{lines}\n"))).unwrap()
}

/// When the deliveries of the tests are received: after everything in the samples.
pub(crate) fn received_at() -> Timestamp {
    "2026-11-21T00:00:42Z".parse().unwrap()
}

/// A delivery without headers.
pub(crate) fn delivery<'a>(config: &'a ClientConfig, form: &'a str, body: &'a [u8]) -> Delivery<'a> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    Delivery { name: form, form: &config.forms[form], config, headers: &NONE, body, received_at: received_at() }
}

/// A delivery as it came in.
pub(crate) struct Posted {
    form: &'static str,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

pub(crate) fn form_delivery(form: &'static str, content_type: &str, body: &[u8]) -> Posted {
    let headers = [("Content-Type".to_owned(), content_type.to_owned())];
    let headers = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    Posted { form, headers, body: body.to_vec() }
}

impl Posted {
    fn delivery(&self) -> Delivery<'_> {
        Delivery { headers: &self.headers, ..delivery(config(), self.form, &self.body) }
    }
}

pub(crate) fn read_delivery(posted: &Posted) -> Reading {
    read(&posted.delivery())
}

/// Reads a body as a delivery to one of the client's forms.
pub(crate) fn read_as(form: &str, body: impl AsRef<[u8]>) -> Reading {
    read(&delivery(config(), form, body.as_ref()))
}

/// The lead that was read.
pub(crate) fn lead(reading: Reading) -> Lead {
    match reading {
        Reading::Lead(lead) => *lead,
        other => panic!("no lead: {other:?}"),
    }
}

/// Why there is none.
pub(crate) fn reason(reading: Reading) -> NothingBecause {
    match reading {
        Reading::Nothing(reason) => reason,
        other => panic!("not nothing: {other:?}"),
    }
}

fn of(system: &str) -> String {
    format!("leads/{system}")
}

/// A sample's body as JSON, to be changed.
pub(crate) fn sample(system: &str, case: &str) -> Value {
    events::json(&of(system), case)
}

/// The form of the client that a case is sent to.
fn form_of(case: &events::Case) -> &'static str {
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
        _ => panic!("{} is for no form", case.title()),
    }
}

/// The samples that get through the door.
fn cases() -> Vec<(events::Case, Posted)> {
    let cases = SYSTEMS.iter().flat_map(|system| events::cases(&of(system)));
    let cases = cases.filter(|case| case.facts["verify"] != json!(false));
    cases
        .map(|case| {
            let headers = case.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
            let posted = Posted { form: form_of(&case), headers: headers.collect(), body: case.body.clone() };
            (case, posted)
        })
        .collect()
}

fn submission(posted: &Posted) -> Submission {
    match senders::read(&posted.delivery()) {
        Ok(Said::Submission(submission)) => submission,
        Ok(Said::References(_)) => panic!("only references"),
        Err(reason) => panic!("{reason}"),
    }
}

#[test]
fn every_sample_says_what_its_manifest_says() {
    let mut said = 0;
    for (case, posted) in cases() {
        let title = case.title();
        match (read_delivery(&posted), case.fact("kind").unwrap()) {
            (Reading::Lead(lead), "lead.created") => {
                said += 1;
                check_lead(&case, &posted, &lead);
            }
            (Reading::References(references), "lead.reference") => {
                said += 1;
                let ids: Vec<_> = references.iter().map(|reference| reference.id.as_str()).collect();
                let of_manifest: Vec<_> = match case.facts["leadgen_ids"].as_array() {
                    Some(ids) => ids.iter().map(|id| id.as_str().unwrap()).collect(),
                    None => vec![case.fact("entity_id").unwrap()],
                };
                assert_eq!(ids, of_manifest, "{title}");
                if let Some(at) = case.fact("occurred_at") {
                    assert_eq!(references[0].created_at, Some(at.parse().unwrap()), "{title}");
                }
            }
            (Reading::Nothing(reason), "lead.test") => assert_eq!(reason, NothingBecause::Test, "{title}"),
            (other, kind) => panic!("{title}: {kind} is read as {other:?}"),
        }
    }
    assert!(said >= 13, "only {said} samples say something");
}

fn check_lead(case: &events::Case, posted: &Posted, lead: &Lead) {
    let title = case.title();
    match case.fact("entity_id") {
        Some(id) => assert_eq!(lead.id, id, "{title}"),
        None => assert!(lead.id.starts_with("derived:"), "{title}: {}", lead.id),
    }
    assert_eq!(Some(lead.phone.expose()), case.fact("phone_e164"), "{title}");
    assert_eq!(lead.name.as_deref(), case.fact("customer_name"), "{title}");
    match case.fact("occurred_at") {
        Some(at) => assert_eq!(lead.submitted_at, at.parse().unwrap(), "{title}"),
        None => assert!(lead.submitted_at <= received_at(), "{title}"),
    }
    if case.facts["opt_in"] == json!(true) {
        assert!(lead.consent.source.starts_with("field "), "{title}: {:?}", lead.consent);
    }
    let submission = submission(posted);
    if let Some(form_id) = case.fact("form_id") {
        assert_eq!(submission.form_id.as_deref(), Some(form_id), "{title}");
    }
    let email = case.fact("email").unwrap();
    assert!(submission.fields.iter().any(|field| field.answers == [email]), "{title}: no {email}");
}

#[test]
fn the_sample_of_what_meta_answers_completes_the_sample_reference() {
    let answer = sample("meta", "_graph_lead.response").to_string();
    let (_, posted) = cases().into_iter().find(|(case, _)| case.title() == "meta/leadgen").unwrap();
    let Reading::References(references) = read_delivery(&posted) else { panic!() };
    let lead = read_answer(&posted.delivery(), &references[0], answer.as_bytes()).unwrap();
    assert_eq!((&*lead.id, lead.phone.expose()), ("444444444444000", "+972525550101"));
    assert_eq!(lead.name.as_deref(), Some("שירה כהן"));
    assert_eq!(lead.submitted_at.to_string(), "2026-11-19T10:00:00Z");
    assert_eq!(lead.consent.source, "field optional_1");
    let email = |submission: Submission| submission.fields.iter().any(|field| field.answers == ["shira@example.com"]);
    assert!(senders::read_answer(&posted.delivery(), &references[0], answer.as_bytes()).is_ok_and(email));
}

/// Where the facts of a submission stand: `phone: Your phone?`, and so on.
fn places(facts: &Facts) -> String {
    let place = |(fact, place): (&&str, &Place)| match place {
        Place::Field(field) => format!("{fact}: {field}"),
        Place::Sender => format!("{fact} as always"),
        Place::Form => format!("{fact} on the form"),
    };
    facts.places.iter().map(place).collect::<Vec<_>>().join(", ")
}

#[test]
fn of_every_sample_it_is_known_in_which_field_a_fact_was_found() {
    let of = |title: &str| {
        let (_, posted) = cases().into_iter().find(|(case, _)| case.title() == title).unwrap();
        places(&found(&posted.delivery()).unwrap())
    };
    for (title, wanted) in [
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
        assert_eq!(of(title), wanted, "{title}");
    }
    let answer = sample("meta", "_graph_lead.response").to_string();
    let (_, posted) = cases().into_iter().find(|(case, _)| case.title() == "meta/leadgen").unwrap();
    let Reading::References(references) = read_delivery(&posted) else { panic!() };
    assert!(found(&posted.delivery()).is_none(), "ids only");
    let answered = found_in_answer(&posted.delivery(), &references[0], answer.as_bytes()).unwrap();
    assert!(
        places(&answered)
            .starts_with("consent: optional_1, form_id as always, id as always, name: full_name, phone: phone_number")
    );
}

#[test]
fn what_was_taken_for_a_fact_is_known_even_where_nobody_is_greeted_for_it() {
    let body = br#"{"consent": {"whatsapp": "no"}, "phone": "12", "mobile": "", "contact": {"name": "Noa"}}"#;
    let facts = found(&delivery(config(), "landing", body)).unwrap();
    assert_eq!(places(&facts), "consent: consent.whatsapp, name: contact.name, phone: phone");
    assert_eq!(facts.consent, Err(NothingBecause::NoConsent));
    assert!(matches!(facts.phone, Err(NothingBecause::PhoneUnusable(_))));
    assert_eq!(facts.fields, [["consent.whatsapp"], ["phone"], ["mobile"], ["contact.name"]]);
    let nothing = found(&delivery(config(), "landing", br#"{"e-mail": "noa@example.com"}"#)).unwrap();
    assert_eq!((places(&nothing).as_str(), nothing.consent), ("", Err(NothingBecause::NoConsent)));
}

#[test]
fn no_sample_is_left_unread() {
    for system in SYSTEMS {
        let besides: &[&str] = match system {
            "meta" => &["_graph_lead.response.json"],
            // Of the version before, and read by the tests of its reader.
            "webflow" => &["form_submission_v1.json"],
            _ => &[],
        };
        events::assert_all_listed(&of(system), besides);
    }
    events::assert_all_known("leads", &SYSTEMS);
}

#[test]
fn a_repeated_delivery_reads_the_same_and_derives_the_same_id_within_its_minute() {
    for (case, posted) in cases() {
        assert_eq!(read_delivery(&posted), read_delivery(&posted), "{}", case.title());
    }
    let id = |form: &str, body: &str, received_at: &str| {
        let delivery =
            Delivery { received_at: received_at.parse().unwrap(), ..delivery(config(), form, body.as_bytes()) };
        lead(read(&delivery)).id
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
fn only_countries_that_are_meant_are_written_to() {
    let read = |lines: &str, phone: &str| {
        let config = config_with("wpforms", lines);
        let body = json!({"phone": phone}).to_string();
        match read(&delivery(&config, "wpforms", body.as_bytes())) {
            Reading::Lead(lead) => Ok(lead.phone.expose().to_owned()),
            other => Err(reason(other).record()),
        }
    };
    assert_eq!(read("", "054-5550199").as_deref(), Ok("+972545550199"));
    assert!(read("", "+12025550123").unwrap_err().starts_with("country-not-allowed: the number is of US"));
    assert!(read("", "+80012345678").is_err());
    assert_eq!(read("country = \"US\"", "(202) 555-0123").as_deref(), Ok("+12025550123"));
    assert!(
        read("country = \"US\"", "+972545550199").unwrap_err().contains("of IL"),
        "the form's own, not the client's"
    );
    assert_eq!(read("countries = [\"US\", \"il\"]", "+12025550123").as_deref(), Ok("+12025550123"));
    assert!(read("countries = [\"US\"]", "054-5550199").unwrap_err().contains("of IL"), "those, and no other");
    assert_eq!(read("countries = [\"PS\"]", "0599123456").as_deref(), Ok("+972599123456"));
    assert_eq!(read("countries = [\"UK\"]", "+447400123456").as_deref(), Ok("+447400123456"));
}

#[test]
fn an_answer_is_a_yes_a_no_or_unclear() {
    let read = |consent: &Value| {
        let body = json!({"phone": "054-5550199", "WHATSAPP_consent": consent}).to_string();
        match read_as("site", body) {
            Reading::Lead(lead) => lead.consent.source,
            other => reason(other).code().to_owned(),
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
    assert_eq!(reason(read_as("site", "phone=054-5550199")).code(), "no-consent");
    for (said, code) in [("i agree to whatsapp messages ", None), ("I agree", Some("consent-unclear"))] {
        let raw = json!({"q5_phone": {"full": "0545550199"}, "q6_consent": [said]});
        let body = json!({"formID": "263221000000001", "rawRequest": raw.to_string()}).to_string();
        match (read_as("jotform", body), code) {
            (Reading::Lead(_), None) => {}
            (other, Some(code)) => assert_eq!(reason(other).code(), code),
            (other, None) => panic!("{other:?}"),
        }
    }
}

#[test]
fn usual_names_are_found_however_they_are_written() {
    let phone = |name: &str| {
        let body = json!({name: "054-5550199"}).to_string();
        matches!(read_as("wpforms", body), Reading::Lead(_))
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
    for fact in Fact::ALL {
        assert!(!looked_for(fact).is_empty());
        for name in looked_for(fact) {
            assert_eq!(*name, name.to_lowercase(), "{fact:?}");
        }
    }
}

#[test]
fn names_are_put_together_from_what_there_is() {
    let name = |members: &str| lead(read_as("wpforms", format!("{{\"phone\":\"0545550199\",{members}}}"))).name;
    for (members, means) in [
        (r#""name":"Noa Levi""#, Some("Noa Levi")),
        (r#""First Name":"Noa","lastName":"Levi","name":"Landing page 3""#, Some("Noa Levi")),
        (r#""first_name":"Noa","full_name":"Noa Levi""#, Some("Noa Levi")),
        (r#""שם פרטי":"נועה","שם משפחה":"לוי""#, Some("נועה לוי")),
        (r#""name":{"first":"Noa","last":"Levi"}"#, Some("Noa Levi")),
        (r#""first_name":"Noa","last_name":null"#, Some("Noa")),
        (r#""form_name":"Contact","company":{"name":"Acme"}"#, None),
    ] {
        assert_eq!(name(members).as_deref(), means, "{members}");
    }
}

#[test]
fn what_the_client_names_is_there_or_nowhere() {
    let config = config_with(
        "wpforms",
        "countries = [\"US\", \"IL\"]\n\
         fields = { phone = \"Our.Line\", name = \"who\", country = \"land\", language = \"tongue\", id = \"ref\", \
         submitted_at = \"when\", test = \"trial\" }",
    );
    let read = |body: Value| read(&delivery(&config, "wpforms", body.to_string().as_bytes()));
    let all = json!({
        "our": {"line": "(202) 555-0123"}, "phone": "0545550199", "who": "Noa", "full name": "Gil", "land": "US",
        "country": "IL", "tongue": "en-GB", "language": "he", "ref": 7, "entry_id": 8, "trial": "no",
        "when": "2026-11-20T00:00:00+02:00", "created_at": "2026-11-18T00:00:00Z",
    });
    let lead = lead(read(all));
    assert_eq!((&*lead.id, lead.phone.expose(), lead.name.as_deref()), ("7", "+12025550123", Some("Noa")));
    assert_eq!(lead.locale.as_deref(), Some("en-GB"));
    assert_eq!(lead.submitted_at.to_string(), "2026-11-19T22:00:00Z");
    assert_eq!(lead.consent.at, lead.submitted_at);
    assert_eq!(reason(read(json!({"phone": "0545550199"}))).code(), "no-phone");
    assert_eq!(reason(read(json!({"our.line": "0545550199", "trial": true}))).code(), "test");
}

#[test]
fn a_time_that_is_to_come_or_unreadable_is_the_time_of_receipt() {
    for (at, means) in [
        ("2026-11-20T23:59:59Z", "2026-11-20T23:59:59Z"),
        ("2026-11-21T00:00:43Z", "2026-11-21T00:00:42Z"),
        ("2027-01-01T00:00:00Z", "2026-11-21T00:00:42Z"),
        ("19/11/2026", "2026-11-21T00:00:42Z"),
        ("", "2026-11-21T00:00:42Z"),
    ] {
        let lead = lead(read_as("wpforms", json!({"phone": "0545550199", "created_at": at}).to_string()));
        assert_eq!((lead.submitted_at.to_string().as_str(), lead.consent.at), (means, lead.submitted_at), "{at}");
    }
}

#[test]
fn of_several_numbers_the_first_that_can_be_messaged_counts() {
    let phone = |body: &str| match read_as("wpforms", body) {
        Reading::Lead(lead) => lead.phone.expose().to_owned(),
        other => reason(other).record(),
    };
    assert_eq!(phone(r#"{"phone":"03-5550123","mobile":"054-5550199"}"#), "+972545550199");
    assert_eq!(phone(r#"{"phone":["03-5550123","054-5550199"]}"#), "+972545550199");
    assert_eq!(
        phone(r#"{"phone":"03-5550123"}"#),
        "phone-unusable: the phone number can't be used: it is not a mobile number"
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
fn a_number_that_may_be_somebody_elses_is_nobodys() {
    let code = |form: &str, body: String| match read_as(form, body) {
        Reading::Lead(lead) => lead.phone.expose().to_owned(),
        other => reason(other).code().to_owned(),
    };
    let mut two = sample("tally", "form_response");
    let fields = two["data"]["fields"].as_array_mut().unwrap();
    let director =
        json!({"key": "q9", "label": "Emergency contact", "type": "INPUT_PHONE_NUMBER", "value": "+972545550177"});
    fields.insert(0, director);
    assert_eq!(code("tally", two.to_string()), "phone-unclear");
    // Even if theirs can't be messaged.
    two["data"]["fields"][2]["value"] = json!("03-5550123");
    assert_eq!(code("tally", two.to_string()), "phone-unclear");
    let nested = json!({"customer": {"phone": "0545550199"}, "person": {"phone": "0525550101"}});
    assert_eq!(code("wpforms", nested.to_string()), "phone-unclear");
    let shop = json!({"client": {"phone": "0525550101"}, "lead": {"phone": "0545550199"}});
    assert_eq!(code("wpforms", shop.to_string()), "+972545550199", "the client is the shop as often as not");
}

#[test]
fn an_id_that_is_none_or_says_who_it_is_is_not_taken_as_it_is() {
    let id = |id: &str| lead(read_as("wpforms", json!({"phone": "0545550199", "entry_id": id}).to_string())).id;
    assert_eq!(id("512"), "512");
    for odd in ["0", "noa@example.com", "+972545550199"] {
        assert!(id(odd).starts_with("derived:"), "{odd}: {}", id(odd));
    }
    assert_ne!(id("noa@example.com"), id("adi@example.com"));
}

#[test]
fn a_language_is_a_tag_and_a_choice_is_one_of_the_clients() {
    let locale = |said: &str| lead(read_as("wpforms", json!({"phone": "0545550199", "lang": said}).to_string())).locale;
    for tag in ["he", "en-GB", "pt_BR", "zh-Hant"] {
        assert_eq!(locale(tag).as_deref(), Some(tag));
    }
    for other in ["Hebrew", "עברית", "e", "en GB", "he; DROP", "http://x"] {
        assert_eq!(locale(other), None, "{other}");
    }
    let config = config_with("wpforms", "choice = { field = \"Branch\", of = [\"Haifa\", \"Tel Aviv\"] }");
    let choice = |said: &str| {
        let body = json!({"phone": "0545550199", "branch": said}).to_string();
        lead(read(&delivery(&config, "wpforms", body.as_bytes()))).choice
    };
    assert_eq!(choice(" tel aviv").as_deref(), Some("Tel Aviv"));
    assert_eq!(choice("Haifa and win a prize"), None);
}

#[test]
fn bodies_that_are_not_understood_are_quoted_by_nobody() {
    let bodies: [&[u8]; 4] =
        [b"{\"secret-5\":\"secret-5\"", b"{\"x\":\"secret-5\xff\"}", b"[\"secret-5\"", b"\xef\xbb\xbf{"];
    for body in bodies {
        for form in config().forms.keys() {
            let reason = reason(read_as(form, body));
            assert_eq!(reason.code(), "not-understood", "{form}: {body:?}");
            assert!(reason.needs_attention() && !format!("{reason} {reason:?}").contains("secret"), "{reason}");
        }
    }
}

fn check_lead_promises(lead: &Lead) {
    assert!(!lead.id.is_empty() && lead.submitted_at <= received_at() && lead.consent.at == lead.submitted_at);
    assert!(lead.name.as_deref().is_none_or(|name| !name.trim().is_empty()));
    // An id is shown, whatever it is.
    let shown = format!("{lead:?}").replace(&format!("{:?}", lead.id), "");
    assert!(!shown.contains(lead.phone.expose()), "{shown}");
}

fn check_promises(reading: &Reading) {
    match reading {
        Reading::Lead(lead) => check_lead_promises(lead),
        Reading::References(references) => {
            assert!(!references.is_empty() && references.iter().all(|reference| !reference.id.is_empty()));
        }
        Reading::Nothing(reason) => assert!(reason.record().starts_with(reason.code())),
    }
}

/// The ways to say what a body is.
const CONTENT_TYPES: [&str; 4] = [
    "",
    "application/json; charset=UTF-8",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=------------------------9051914041544843",
];

/// Reads under every form and every content type, and as what was answered.
fn check_everywhere(body: &[u8]) {
    let reference = Reference { id: "444444444444000".to_owned(), created_at: None };
    for form in config().forms.keys() {
        for content_type in CONTENT_TYPES {
            let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
            check_promises(&read(&Delivery { headers: &headers, ..delivery(config(), form, body) }));
        }
        match read_answer(&delivery(config(), form, b""), &reference, body) {
            Ok(lead) => check_lead_promises(&lead),
            Err(reason) => assert!(!reason.code().is_empty()),
        }
    }
}

fn bodies() -> &'static [Vec<u8>] {
    static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let others = [sample("meta", "_graph_lead.response"), sample("webflow", "form_submission_v1")];
        cases().into_iter().map(|(_, posted)| posted.body).chain(others.map(|body| body.to_string().into())).collect()
    });
    &BODIES
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn torn_bytes_never_make_it_panic_or_promise_too_much(body in events::torn(bodies())) {
        check_everywhere(&body);
    }

    #[test]
    fn any_value_in_any_place_never_makes_it_panic_or_promise_too_much(
        which in any::<prop::sample::Index>(),
        at in 0_usize..80,
        with in prop::sample::select(vec![
            "null", "[]", "{}", "\"\"", "true", "-1", "1e400", "\"1.0E+6\"", "\"<b>\\u202e&amp;\"", "[null]", "[[{}]]",
            "\"99999-12-31T23:59:60Z\"", "\"http://x.example/\"", "123456789012345678901234567890", "{\"a\":{\"b\":[]}}",
            "\"2026-11-24\"", "\"+972545550199\"", "[{\"phone\":\"0545550199\"}]", "\"<test lead: x>\"", "\"FULL_NAME\"",
            "\"\\ud83d\"", "-9223372036854775808", "\" 972545550199\"",
        ]),
    ) {
        let body: &Vec<u8> = which.get(bodies());
        if let Some(body) = events::with_value(body, at, with) {
            check_everywhere(body.as_bytes());
        }
    }

    #[test]
    fn any_bytes_never_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        check_everywhere(&body);
    }

    #[test]
    fn any_form_never_makes_it_panic(
        pairs in prop::collection::vec(("[a-z\\[\\].0-9_ ]{0,12}|phone|consent|fields\\[x\\]\\[value\\]", "\\PC{0,20}"), 0..12),
    ) {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        check_everywhere(body.extend_pairs(pairs).finish().as_bytes());
    }

    #[test]
    fn an_id_of_any_length_stays_the_digits_it_was_written_as(id in "[1-9][0-9]{16,38}") {
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
            prop_assert_eq!(&lead(read_as(form, raw(sample(system, case), pointer))).id, &id);
        }
        for (form, system, case, pointer) in [
            ("meta", "meta", "leadgen", "/entry/0/changes/0/value/leadgen_id"),
            ("hubspot", "hubspot", "contact_creation", "/0/objectId"),
        ] {
            let Reading::References(references) = read_as(form, raw(sample(system, case), pointer)) else { panic!() };
            prop_assert_eq!(&references[0].id, &id);
        }
        let (_, mut jotform) = cases().into_iter().find(|(case, _)| case.system == "jotform").unwrap();
        jotform.body = String::from_utf8(jotform.body).unwrap().replace("6100000000000000001", &id).into_bytes();
        prop_assert_eq!(&lead(read_delivery(&jotform)).id, &id);
    }
}
