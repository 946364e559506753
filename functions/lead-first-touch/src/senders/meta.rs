//! Lead ads of Meta: a delivery holds ids, several of them at times, and each lead is asked for.
//!
//! Shape: developers.facebook.com, "Webhooks for Leads" and "Retrieving Leads".

use serde::Deserialize;
use shared::{
    json::{self, Raw},
    observe::Label,
};

use super::unix_seconds;
use crate::{
    facts,
    lead::{Delivery, NothingBecause, Reference},
    submission::{Field, Submission, answers, names},
};

/// What an answer of a trial begins with.
const DUMMY: &str = "<test lead:";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Batch<'a> {
    #[serde(borrow)]
    entry: Raw<'a>,
}

/// The leads that a delivery names.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Vec<Reference>, NothingBecause> {
    let batch: Batch<'_> = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let entries = batch.entry.elements().ok_or_else(|| NothingBecause::missing("/entry"))?;
    let mut references: Vec<Reference> = Vec::new();
    let mut nothing = None;
    for change in entries.into_iter().flat_map(|entry| entry.at("/changes").elements().unwrap_or_default()) {
        let of = change.at("/field").text().unwrap_or_default();
        if of != "leadgen" {
            nothing = nothing.or(Some(NothingBecause::UnknownEvent(Label::new(&of))));
            continue;
        }
        let value = change.at("/value");
        if !facts::is_of_form(delivery.form, value.at("/form_id").text().as_deref()) {
            nothing = nothing.or(Some(NothingBecause::OtherForm));
            continue;
        }
        match value.at("/leadgen_id").string() {
            Some(id) if references.iter().any(|known| known.id == id) => {}
            Some(id) => references.push(Reference { id, created_at: unix_seconds(value.at("/created_time")) }),
            None => nothing = Some(NothingBecause::missing("/entry/…/leadgen_id")),
        }
    }
    if references.is_empty() {
        return Err(nothing.unwrap_or_else(|| NothingBecause::missing("/entry/…/changes")));
    }
    Ok(references)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    form_id: Raw<'a>,
    created_time: Raw<'a>,
    field_data: Raw<'a>,
    custom_disclaimer_responses: Raw<'a>,
}

/// The lead that was asked for.
pub(crate) fn answer(reference: &Reference, answer: &[u8]) -> Result<Submission, NothingBecause> {
    let answer: Answer<'_> = json::parse(answer).map_err(NothingBecause::NotUnderstood)?;
    if answer.id.text().is_some_and(|id| id != reference.id) {
        return Err(NothingBecause::missing("/id"));
    }
    let data = answer.field_data.elements().ok_or_else(|| NothingBecause::missing("/field_data"))?;
    let data = data.iter().map(|field| Field::new(names([field.at("/name")]), answers(field.at("/values"))));
    let boxes = answer.custom_disclaimer_responses.elements().unwrap_or_default();
    let boxes = boxes.iter().map(|tick| Field::new(names([tick.at("/checkbox_key")]), answers(tick.at("/is_checked"))));
    let fields: Vec<Field> = data.chain(boxes).collect();
    Ok(Submission {
        id: Some(reference.id.clone()),
        form_id: answer.form_id.string(),
        submitted_at: answer.created_time.time().or(reference.created_at),
        test: fields.iter().flat_map(|field| &field.answers).any(|said| said.starts_with(DUMMY)),
        fields,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        lead::{Reading, read_answer},
        samples::{config, delivery, read_as, reason, sample},
    };

    fn asked(answer: &Value) -> Result<crate::lead::Lead, NothingBecause> {
        let reference = Reference { id: "444444444444000".to_owned(), created_at: None };
        read_answer(&delivery(config(), "meta", b"{}"), &reference, answer.to_string().as_bytes())
    }

    #[test]
    fn each_lead_is_named_once_and_only_those_of_the_forms_that_are_meant() {
        let change = |id: Value, form: Value| json!({"field": "leadgen", "value": {"leadgen_id": id, "form_id": form, "created_time": "1795082400"}});
        let body = json!({"object": "page", "entry": [
            {"changes": [change(json!(444_444_444_444_001_u64), json!(123_123_123_000_u64)), change(json!("444444444444001"), json!("123123123000"))]},
            {"changes": [change(json!("7"), json!("999")), change(json!("8"), Value::Null), {"field": "feed", "value": {"leadgen_id": "9"}}]},
            {"changes": [change(json!("12345678901234567890123"), json!("123123123000"))]},
        ]});
        let Reading::References(references) = read_as("meta", body.to_string()) else { panic!() };
        let ids: Vec<_> = references.iter().map(|reference| &*reference.id).collect();
        assert_eq!(ids, ["444444444444001", "12345678901234567890123"]);
        assert_eq!(references[0].created_at, Some("2026-11-19T10:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_batch_without_leads_says_why() {
        let of = |changes: Value| reason(read_as("meta", json!({"entry": [{"changes": changes}]}).to_string())).code();
        assert_eq!(of(json!([{"field": "feed"}])), "unknown-event");
        assert_eq!(of(json!([{"field": "leadgen", "value": {"leadgen_id": "1", "form_id": "2"}}])), "other-form");
        assert_eq!(of(json!([{"field": "leadgen", "value": {"form_id": "123123123000"}}])), "not-understood");
        assert_eq!(of(json!([])), "not-understood");
    }

    #[test]
    fn a_trial_of_metas_is_never_written_to() {
        let mut answer = sample("meta", "_graph_lead.response");
        answer["field_data"][1]["values"][0] = json!("<test lead: dummy data for phone_number>");
        assert_eq!(asked(&answer), Err(NothingBecause::Test));
    }

    #[test]
    fn a_box_that_is_not_ticked_is_no_consent() {
        let mut answer = sample("meta", "_graph_lead.response");
        assert!(asked(&answer).is_ok());
        for unticked in ["", "0", "false"] {
            answer["custom_disclaimer_responses"][0]["is_checked"] = json!(unticked);
            assert_eq!(asked(&answer), Err(NothingBecause::NoConsent), "{unticked:?}");
        }
    }

    #[test]
    fn an_answer_about_something_else_is_not_understood() {
        let mut answer = sample("meta", "_graph_lead.response");
        answer["id"] = json!("1");
        assert_eq!(asked(&answer).unwrap_err().code(), "not-understood");
        assert_eq!(asked(&json!({"error": {"message": "054-5550199"}})).unwrap_err().code(), "not-understood");
        let mut answer = sample("meta", "_graph_lead.response");
        answer["form_id"] = json!("1");
        assert_eq!(asked(&answer), Err(NothingBecause::OtherForm));
    }
}
