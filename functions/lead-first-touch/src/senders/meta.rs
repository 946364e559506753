//! Lead ads of Meta: a delivery holds one or more ids, and each lead is looked up.
//!
//! Shape: developers.facebook.com, "Webhooks for Leads" and "Retrieving Leads".

use serde::Deserialize;
use tellonce_core::{
    json::{self, RawJson},
    telemetry::LogLabel,
};

use super::body::parse_unix_seconds;
use crate::{
    facts,
    lead::{LeadDelivery, LeadReference},
    lead_outcome::LeadSkipReason,
    submission::{LeadSubmission, SubmittedField, field_names, field_values},
};

/// The beginning of an answer of a test lead.
const TEST_VALUE_PREFIX: &str = "<test lead:";

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetaWebhook<'a> {
    #[serde(borrow)]
    entry: RawJson<'a>,
}

/// The leads that a delivery names.
pub(crate) fn parse_references(delivery: &LeadDelivery<'_>) -> Result<Vec<LeadReference>, LeadSkipReason> {
    let batch: MetaWebhook<'_> = json::parse_object(delivery.body).map_err(LeadSkipReason::NotUnderstood)?;
    let entries = batch.entry.list_elements().ok_or_else(|| LeadSkipReason::missing_field("/entry"))?;
    let mut references: Vec<LeadReference> = Vec::new();
    let mut first_skip = None;
    for change in entries.into_iter().flat_map(|entry| entry.at_pointer("/changes").list_elements().unwrap_or_default())
    {
        let field_name = change.at_pointer("/field").text().unwrap_or_default();
        if field_name != "leadgen" {
            first_skip = first_skip.or(Some(LeadSkipReason::UnknownEvent(LogLabel::new(&field_name))));
            continue;
        }
        let value = change.at_pointer("/value");
        if !facts::is_expected_form(delivery.form, value.at_pointer("/form_id").text().as_deref()) {
            first_skip = first_skip.or(Some(LeadSkipReason::OtherForm));
            continue;
        }
        match value.at_pointer("/leadgen_id").owned_text() {
            Some(id) if references.iter().any(|known| known.id == id) => {}
            Some(id) => {
                references
                    .push(LeadReference { id, created_at: parse_unix_seconds(value.at_pointer("/created_time")) });
            }
            None => first_skip = Some(LeadSkipReason::missing_field("/entry/…/leadgen_id")),
        }
    }
    if references.is_empty() {
        return Err(first_skip.unwrap_or_else(|| LeadSkipReason::missing_field("/entry/…/changes")));
    }
    Ok(references)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetaLead<'a> {
    #[serde(borrow)]
    id: RawJson<'a>,
    form_id: RawJson<'a>,
    created_time: RawJson<'a>,
    field_data: RawJson<'a>,
    custom_disclaimer_responses: RawJson<'a>,
}

/// Parses the lead in the lookup response.
pub(crate) fn parse_response(reference: &LeadReference, response: &[u8]) -> Result<LeadSubmission, LeadSkipReason> {
    let meta_lead: MetaLead<'_> = json::parse_object(response).map_err(LeadSkipReason::NotUnderstood)?;
    if meta_lead.id.text().is_some_and(|id| id != reference.id) {
        return Err(LeadSkipReason::missing_field("/id"));
    }
    let data = meta_lead.field_data.list_elements().ok_or_else(|| LeadSkipReason::missing_field("/field_data"))?;
    let data = data.iter().map(|field| {
        SubmittedField::new(field_names([field.at_pointer("/name")]), field_values(field.at_pointer("/values")))
    });
    let checkboxes = meta_lead.custom_disclaimer_responses.list_elements().unwrap_or_default();
    let checkboxes = checkboxes.iter().map(|checkbox| {
        SubmittedField::new(
            field_names([checkbox.at_pointer("/checkbox_key")]),
            field_values(checkbox.at_pointer("/is_checked")),
        )
    });
    let fields: Vec<SubmittedField> = data.chain(checkboxes).collect();
    Ok(LeadSubmission {
        id: Some(reference.id.clone()),
        form_id: meta_lead.form_id.owned_text(),
        submitted_at: meta_lead.created_time.as_time().or(reference.created_at),
        is_test: fields.iter().flat_map(|field| &field.values).any(|value| value.starts_with(TEST_VALUE_PREFIX)),
        fields,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        lead::ParsedLead,
        lead_parser::parse_lead_response,
        samples::{build_delivery, expect_skip, parse_as, sample_config, sample_json},
    };

    fn parse_found(response: &Value) -> Result<crate::lead::Lead, LeadSkipReason> {
        let reference = LeadReference { id: "444444444444000".to_owned(), created_at: None };
        parse_lead_response(
            &build_delivery(sample_config(), "meta", b"{}"),
            &reference,
            response.to_string().as_bytes(),
        )
    }

    #[test]
    fn each_lead_of_an_expected_form_is_referenced_once() {
        let change = |id: Value, form: Value| json!({"field": "leadgen", "value": {"leadgen_id": id, "form_id": form, "created_time": "1795082400"}});
        let body = json!({"object": "page", "entry": [
            {"changes": [change(json!(444_444_444_444_001_u64), json!(123_123_123_000_u64)), change(json!("444444444444001"), json!("123123123000"))]},
            {"changes": [change(json!("7"), json!("999")), change(json!("8"), Value::Null), {"field": "feed", "value": {"leadgen_id": "9"}}]},
            {"changes": [change(json!("12345678901234567890123"), json!("123123123000"))]},
        ]});
        let ParsedLead::NeedsLookup(references) = parse_as("meta", body.to_string()) else { panic!() };
        let ids: Vec<_> = references.iter().map(|reference| &*reference.id).collect();
        assert_eq!(ids, ["444444444444001", "12345678901234567890123"]);
        assert_eq!(references[0].created_at, Some("2026-11-19T10:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_batch_without_leads_has_a_reason() {
        let of =
            |changes: Value| expect_skip(parse_as("meta", json!({"entry": [{"changes": changes}]}).to_string())).code();
        assert_eq!(of(json!([{"field": "feed"}])), "unknown-event");
        assert_eq!(of(json!([{"field": "leadgen", "value": {"leadgen_id": "1", "form_id": "2"}}])), "other-form");
        assert_eq!(of(json!([{"field": "leadgen", "value": {"form_id": "123123123000"}}])), "not-understood");
        assert_eq!(of(json!([])), "not-understood");
    }

    #[test]
    fn a_test_lead_of_meta_is_never_greeted() {
        let mut response = sample_json("meta", "_graph_lead.response");
        response["field_data"][1]["values"][0] = json!("<test lead: dummy data for phone_number>");
        assert_eq!(parse_found(&response), Err(LeadSkipReason::Test));
    }

    #[test]
    fn an_unticked_box_is_not_consent() {
        let mut response = sample_json("meta", "_graph_lead.response");
        assert!(parse_found(&response).is_ok());
        for unticked in ["", "0", "false"] {
            response["custom_disclaimer_responses"][0]["is_checked"] = json!(unticked);
            assert_eq!(parse_found(&response), Err(LeadSkipReason::NoConsent), "{unticked:?}");
        }
    }

    #[test]
    fn a_response_about_another_lead_is_not_understood() {
        let mut response = sample_json("meta", "_graph_lead.response");
        response["id"] = json!("1");
        assert_eq!(parse_found(&response).unwrap_err().code(), "not-understood");
        assert_eq!(parse_found(&json!({"error": {"message": "054-5550199"}})).unwrap_err().code(), "not-understood");
        let mut response = sample_json("meta", "_graph_lead.response");
        response["form_id"] = json!("1");
        assert_eq!(parse_found(&response), Err(LeadSkipReason::OtherForm));
    }
}
