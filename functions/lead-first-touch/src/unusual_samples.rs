//! Parses the unusual submissions of `events/unusual` and compares each with its manifest.

use std::collections::BTreeMap;

use tellonce_samples::{assert_all_files_listed, sample_deliveries};

use tellonce_core::inbox::MAX_BODY_BYTES;

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

/// The number or the outcome of a urlencoded body.
fn parse_urlencoded(body: &str) -> String {
    let headers = BTreeMap::from([("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())]);
    match parse_lead(&LeadDelivery { headers: &headers, ..build_delivery(sample_config(), "site", body.as_bytes()) }) {
        ParsedLead::Lead(lead) => lead.phone.expose().to_owned(),
        ParsedLead::Skipped(reason) => reason.code().to_owned(),
        ParsedLead::NeedsLookup(_) => panic!("nothing to look up"),
    }
}

#[test]
fn a_national_number_beside_a_foreign_country_is_the_forms_or_none() {
    for (pairs, expected) in [
        ("phone=0545550199&country=US", "+972545550199"),
        ("phone=0545550199&country_code=%2B1", "+972545550199"),
        ("phone=00972545550199&country=US", "+972545550199"),
        ("phone=0545550199&country_code=972", "+972545550199"),
        ("phone=1545550199&country=US", "phone-unusable"),
        ("phone=%2B10545550199&country=US", "phone-unusable"),
        ("phone=7400123456&country_code=44", "country-not-allowed"),
    ] {
        assert_eq!(parse_urlencoded(&format!("{pairs}&whatsapp_consent=on")), expected, "{pairs}");
    }
}

#[test]
fn a_calling_code_means_what_its_country_means() {
    // Landlines of Germany and France, a mistyped number of America, a code of no country.
    for (phone, country, calling_codes, expected) in [
        ("0545550199", "DE", ["%2B49", "49", "0049", "Germany (%2B49)"], "phone-unusable"),
        ("0545550199", "FR", ["%2B33", "33", "0033", "FR %2B33"], "phone-unusable"),
        ("545550199", "US", ["%2B1", "1", "001", "%2B1868"], "phone-unusable"),
        ("545550199", "XX", ["%2B999", "999", "00999", "%2B800"], "phone-unusable"),
        ("0545550199", "US", ["%2B1", "1", "001", "%2B1-868"], "+972545550199"),
        ("972545550199", "US", ["%2B1", "1", "001", "United States (%2B1)"], "+972545550199"),
        ("0545550199", "IL", ["%2B972", "972", "00972", "Israel (%2B972)"], "+972545550199"),
        ("545550199", "IL", ["%2B972", "972", "00972", "972"], "+972545550199"),
        ("%2B972545550199", "DE", ["%2B49", "49", "0049", "49"], "+972545550199"),
        ("017139200123", "DE", ["%2B49", "49", "0049", "49"], "+4917139200123"),
        ("17612345678", "DE", ["%2B49", "49", "0049", "49"], "+4917612345678"),
        ("4917612345678", "DE", ["%2B49", "49", "0049", "49"], "+4917612345678"),
        ("07400123456", "GB", ["%2B44", "44", "0044", "UK (%2B44)"], "country-not-allowed"),
    ] {
        for country in [country].into_iter().chain(calling_codes) {
            let body = format!("phone={phone}&country_code={country}&whatsapp_consent=on");
            assert_eq!(parse_urlencoded(&body), expected, "{phone} {country}");
        }
    }
    // The name of a country is not a code, so the number is one of the form's country.
    assert_eq!(parse_urlencoded("phone=545550199&country=Israel&whatsapp_consent=on"), "+972545550199");
}

#[test]
fn one_number_in_two_forms_is_one_persons() {
    for (pairs, expected) in [
        ("phone=%2B5215512345678&mobile=%2B525512345678", "country-not-allowed"),
        ("phone=%2B5511987654321&mobile=%2B551187654321", "country-not-allowed"),
        ("phone=054-555-0199&mobile=972545550199&tel=00972+54+5550199", "+972545550199"),
        ("phone=%2B5215512345678&mobile=%2B525512345679", "phone-ambiguous"),
        ("phone=054-555-0199&mobile=%2B972545550198", "phone-ambiguous"),
    ] {
        assert_eq!(parse_urlencoded(&format!("{pairs}&whatsapp_consent=on")), expected, "{pairs}");
    }
}

#[test]
fn a_form_with_a_cut_letter_keeps_its_other_fields() {
    let parse = |content_type: &str, body: &[u8]| {
        let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
        match parse_lead(&LeadDelivery { headers: &headers, ..build_delivery(sample_config(), "site", body) }) {
            ParsedLead::Lead(lead) => (lead.name.clone(), lead.has_unreadable_name),
            other => panic!("{other:?}"),
        }
    };
    let pairs = "phone=0545550199&whatsapp_consent=כן&name=נועה לוי&message=שלום";
    let cut = &pairs.as_bytes()[..pairs.len() - 1];
    for content_type in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-8",
        "application/x-www-form-urlencoded; charset=windows-1255",
    ] {
        assert_eq!(parse(content_type, cut), (Some("נועה לוי".to_owned()), false), "{content_type}");
        let cut_name = [b"name=\xd7&", &cut[..pairs.find("&name").unwrap()]].concat();
        assert_eq!(parse(content_type, &cut_name), (None, true), "{content_type}");
    }
    let parts = [
        &b"--b\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n\xd7\xa9\xd7\r\n"[..],
        "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nנועה\r\n".as_bytes(),
        "--b\r\nContent-Disposition: form-data; name=\"whatsapp_consent\"\r\n\r\nכן\r\n".as_bytes(),
        b"--b\r\nContent-Disposition: form-data; name=\"phone\"\r\n\r\n0545550199\r\n--b--\r\n",
    ];
    assert_eq!(parse("multipart/form-data; boundary=b", &parts.concat()), (Some("נועה".to_owned()), false));
}

/// The processor time of this thread, which other work on the machine does not lengthen. Source:
/// the Linux kernel's documentation, "Scheduler Statistics": nanoseconds on the processor come
/// first. On other systems it is the time since the first call.
fn processor_time() -> std::time::Duration {
    static FIRST_CALL: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split(' ').next().and_then(|text| text.parse().ok());
    nanoseconds.map_or_else(|| FIRST_CALL.elapsed(), std::time::Duration::from_nanos)
}

/// Bodies of 1 MiB that cost the square of their length if a loop searches their rest again and
/// again.
#[test]
fn no_body_takes_long() {
    let fill = |text: &str| text.repeat(MAX_BODY_BYTES / text.len());
    let half = MAX_BODY_BYTES / 2;
    let part = |headers: &str| format!("--b\r\nContent-Disposition: form-data; name=\"a\"{headers}\r\n\r\n1\r\n");
    let urlencoded = ["&#", "%26%23", "a[", "a&", "%ff", "a.", "א"]
        .into_iter()
        .map(|text| format!("phone={}", fill(text)))
        .chain([(0..100_000).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join("&"), fill("a=%ff%d7&")]);
    let json = [
        fill("[{},"),
        format!("[{}1]", fill("{},")),
        format!("[{}1]", fill("{\"a\":1},")),
        format!("{{\"{}\":{{{}\"b\":1}}}}", "k".repeat(half), "\"a\":1,".repeat(half / 6)),
        format!("{{\"{}\":[{}1]}}", "k".repeat(half), "{},".repeat(half / 3)),
        format!("{{\"{}\":{{{}\"b\":[]}}}}", "k.".repeat(900), "\"a\":{},".repeat(half / 7)),
        format!("{{\"a\":\"{}\"}}", fill("&#")),
    ];
    let parts = [
        format!("{}--b--\r\n", part("").repeat(15_000)),
        format!("{}--b--\r\n", part("; filename=\"x\"").repeat(12_000)),
        format!("{}\r\n--b--\r\n", part("") + &fill("--b")),
        format!("{}{}--b--\r\n", part(&"; a=\"".repeat(half / 5)), part("")),
        format!("{}{}\r\n--b--\r\n", "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n", fill("\r\n--")),
        fill("--b\r\n"),
        fill("\r\n"),
    ];
    let bodies = urlencoded
        .map(|body| ("application/x-www-form-urlencoded", body))
        .chain(json.map(|body| ("application/json", body)))
        .chain(parts.map(|body| ("multipart/form-data; boundary=b", body)));
    for (content_type, body) in bodies {
        let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
        for form in ["site", "jotform"] {
            let begin = processor_time();
            let delivery = LeadDelivery { headers: &headers, ..build_delivery(sample_config(), form, body.as_bytes()) };
            drop(parse_lead(&delivery));
            let took = processor_time().saturating_sub(begin);
            assert!(took.as_secs() < 5, "{took:?}: {form} {}", body.chars().take(60).collect::<String>());
        }
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
