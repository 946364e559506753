//! Parses the unusual submissions of `events/unusual` and compares each with its manifest.

use std::collections::BTreeMap;

use tellonce_samples::{assert_all_files_listed, sample_deliveries};

use crate::{
    lead::{LeadDelivery, ParsedLead},
    lead_parser::parse_lead,
    samples::{build_delivery, sample_config},
};

#[test]
fn every_unusual_submission_is_parsed_as_its_manifest_says() {
    let mut checked = 0;
    for (system, form) in [("browser", "site"), ("hubspot", "hubspot")] {
        let folder = format!("unusual/{system}");
        assert_all_files_listed(&folder, &[]);
        for sample in sample_deliveries(&folder) {
            let name = sample.full_name();
            checked += 1;
            let headers: BTreeMap<String, String> =
                sample.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
            let delivery = LeadDelivery { headers: &headers, ..build_delivery(sample_config(), form, &sample.body) };
            match parse_lead(&delivery) {
                ParsedLead::Lead(lead) => {
                    assert_eq!(lead.name.as_deref(), sample.text_fact("name"), "{name}");
                    assert_eq!(Some(lead.phone.expose()), sample.text_fact("phone"), "{name}");
                    assert!(!lead.has_unreadable_name, "{name}");
                }
                ParsedLead::NeedsLookup(references) => {
                    let ids: Vec<&str> = references.iter().map(|reference| &*reference.id).collect();
                    assert_eq!(serde_json::json!(ids), sample.facts["contact_ids"], "{name}");
                }
                ParsedLead::Skipped(reason) => panic!("{name}: {reason}"),
            }
        }
    }
    assert_eq!(checked, 7);
}

#[test]
fn two_numbers_without_a_mapping_are_ambiguous_and_a_mapping_decides() {
    let parse = |fields: &str, body: &str| {
        let extra = "consent = { field = \"ok\" }";
        let client = format!(
            "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\nlanguages = [\"en\"]\n\
             [lines.main]\nline_id = \"line-1\"\n[forms.site]\nkind = \"web\"\nline = \"main\"\n{extra}\n{fields}\n\
             verify = {{ scheme = \"secret-path\" }}\nfirst_touch = {{ useful_for = \"1d\", text = {{ en = \"Hi\" }} }}\n"
        );
        let config = tellonce_core::client_config::ClientConfig::parse(&client).unwrap();
        let headers = BTreeMap::from([("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())]);
        match parse_lead(&LeadDelivery { headers: &headers, ..build_delivery(&config, "site", body.as_bytes()) }) {
            ParsedLead::Lead(lead) => lead.phone.expose().to_owned(),
            ParsedLead::Skipped(reason) => reason.code().to_owned(),
            ParsedLead::NeedsLookup(_) => panic!("nothing to look up"),
        }
    };
    for (pairs, expected) in [
        ("phone=054-555-0199&mobile=052-555-0101", "phone-ambiguous"),
        ("phone=054-555-0199&phone=052-555-0101", "phone-ambiguous"),
        ("tel=054-555-0199&whatsapp+number=052-555-0101", "phone-ambiguous"),
        ("phone=054-555-0199&mobile=%2B972545550199", "+972545550199"),
        ("phone=03-555-0123&mobile=054-555-0199", "+972545550199"),
        ("phone=054-555-0199&emergency_contact=052-555-0101", "+972545550199"),
        ("phone=054-555-0199&phone2=052-555-0101", "phone-ambiguous"),
        ("phone1=054-555-0199&phone2=052-555-0101", "phone-ambiguous"),
        ("home_phone=054-555-0199&work_phone=052-555-0101", "phone-ambiguous"),
        ("phone=054-555-0199&alternative_phone=052-555-0101", "phone-ambiguous"),
        ("phone=054-555-0199&secondary+phone=052-555-0101", "phone-ambiguous"),
        ("phone=054-555-0199&partner_mobile=052-555-0101", "phone-ambiguous"),
        ("phone=054-555-0199&spouseTel=052-555-0101", "phone-ambiguous"),
        (
            "%D7%98%D7%9C%D7%A4%D7%95%D7%9F=054-555-0199&%D7%98%D7%9C%D7%A4%D7%95%D7%9F+%D7%A0%D7%95%D7%A1%D7%A3=052-555-0101",
            "phone-ambiguous",
        ),
        ("phone=054-555-0199&confirm_phone=054-555-0198", "phone-ambiguous"),
        ("phone=054-555-0199&confirm_phone=054-555-019", "phone-ambiguous"),
        ("phone=054-555-0199&confirm_phone=0545550199", "+972545550199"),
        ("phone=054-555-0199&confirm_phone=yes", "+972545550199"),
        ("phone=054-555-0199&phone2=", "+972545550199"),
        ("phone=054-555-0199&phone2=03-555-0123", "+972545550199"),
        ("phone=054-555-0199&hotel=052-555-0101", "+972545550199"),
        ("phone=054-555-0199&agent[phone]=052-555-0101", "+972545550199"),
        ("phone1=054-555-0199", "+972545550199"),
        ("contact_phone=054-555-0199", "+972545550199"),
        ("customer_phone=054-555-0199", "+972545550199"),
        ("billing_phone=054-555-0199", "+972545550199"),
        ("telefon=054-555-0199", "+972545550199"),
    ] {
        assert_eq!(parse("", &format!("{pairs}&ok=on")), expected, "{pairs}");
    }
    let both = "phone=054-555-0199&mobile=052-555-0101&ok=on";
    assert_eq!(parse("fields = { phone = \"mobile\" }", both), "+972525550101");
}

#[test]
fn a_national_number_beside_a_foreign_country_is_the_forms_or_none() {
    let parse = |body: &str| {
        let headers = BTreeMap::from([("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())]);
        match parse_lead(&LeadDelivery {
            headers: &headers,
            ..build_delivery(sample_config(), "site", body.as_bytes())
        }) {
            ParsedLead::Lead(lead) => lead.phone.expose().to_owned(),
            ParsedLead::Skipped(reason) => reason.code().to_owned(),
            ParsedLead::NeedsLookup(_) => panic!("nothing to look up"),
        }
    };
    for (pairs, expected) in [
        ("phone=0545550199&country=US", "+972545550199"),
        ("phone=0545550199&country_code=%2B1", "+972545550199"),
        ("phone=00972545550199&country=US", "+972545550199"),
        ("phone=0545550199&country_code=972", "+972545550199"),
        ("phone=1545550199&country=US", "phone-unusable"),
        ("phone=%2B10545550199&country=US", "phone-unusable"),
        ("phone=7400123456&country_code=44", "country-not-allowed"),
    ] {
        assert_eq!(parse(&format!("{pairs}&whatsapp_consent=on")), expected, "{pairs}");
    }
}

#[test]
fn a_name_with_lost_characters_is_left_out() {
    let delivery = |body: &str| {
        let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
        match parse_lead(&LeadDelivery {
            headers: &headers,
            ..build_delivery(sample_config(), "site", body.as_bytes())
        }) {
            ParsedLead::Lead(lead) => (lead.name.clone(), lead.has_unreadable_name),
            other => panic!("{other:?}"),
        }
    };
    let body = |name: &str| format!(r#"{{"name":"{name}","phone":"054-5550199","whatsapp_consent":true}}"#);
    assert_eq!(delivery(&body("No\u{fffd}a")), (None, true));
    assert_eq!(delivery(&body("Noa")), (Some("Noa".to_owned()), false));
}
