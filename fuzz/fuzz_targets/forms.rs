//! Bodies of forms, in each format.

#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use lead_first_touch::{
    lead::{LeadDelivery, LeadReference, ParsedLead},
    lead_parser::{find_facts, parse_lead, parse_lead_response},
};
use libfuzzer_sys::fuzz_target;
use tellonce_core::{
    pseudonym::PseudonymKey,
    wording::{clean_name, is_hidden_char},
};
use tellonce_fuzz::{CONFIG, NOW, assert_complete_number, choose};

const CONTENT_TYPES: [&str; 5] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=\"----b\"",
    "",
];

static PSEUDONYMS: LazyLock<PseudonymKey> = LazyLock::new(|| PseudonymKey::from_bytes(&[7; 32]));
static FORM_NAMES: LazyLock<Vec<String>> = LazyLock::new(|| CONFIG.forms.keys().cloned().collect());

fuzz_target!(|input: &[u8]| {
    let Some((form_name, rest)) = choose(&FORM_NAMES, input) else { return };
    let Some((content_type, body)) = choose(&CONTENT_TYPES, rest) else { return };
    let headers = BTreeMap::from([("content-type".to_owned(), (*content_type).to_owned())]);
    let delivery = LeadDelivery {
        form_name,
        form: &CONFIG.forms[form_name],
        config: &CONFIG,
        pseudonyms: &PSEUDONYMS,
        headers: &headers,
        body,
        received_at: *NOW,
    };
    if let ParsedLead::Lead(lead) = parse_lead(&delivery) {
        assert_complete_number(&lead.phone);
        assert!(!lead.id.is_empty() && lead.submitted_at <= *NOW);
        // A name goes out only as the cleaner leaves it.
        let name = lead.name.as_deref().and_then(clean_name).unwrap_or_default();
        assert!(!name.chars().any(|c| c.is_control() || is_hidden_char(c)));
    }
    // The other two readers do much of the same work, so half of the inputs skip them.
    if input.first().is_some_and(|choice| choice % 2 == 1) {
        drop(find_facts(&delivery));
        let reference = LeadReference { id: "444444444444000".to_owned(), created_at: None };
        drop(parse_lead_response(&delivery, &reference, body));
    }
});
