//! `HubSpot`: an app's subscription, whose events hold a contact's id and who made the contact; or a workflow's own step,
//! which posts the contact.
//!
//! Shape: developers.hubspot.com, "Webhooks API" and "Retrieve a record"; knowledge.hubspot.com, "Use webhooks in
//! workflows". A contact that no form made is not asked for: cold lists are a boundary.

use std::borrow::Cow;

use serde::Deserialize;
use shared::{
    json::{self, Raw},
    observe::Label,
};

use super::{Said, unix_millis};
use crate::{
    body, facts,
    lead::{Delivery, NothingBecause, Reference},
    submission::{Field, Submission, answers},
};

/// What makes a contact that has filled in a form, in the words of `changeSource`.
const FORMS: [&str; 2] = ["FORM", "FORMS"];
/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Said, NothingBecause> {
    let document = json::document(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    match document.elements() {
        Some(events) => references(delivery, &events).map(Said::References),
        None if document.at("/subscriptionType").text().is_some() => {
            references(delivery, &[document]).map(Said::References)
        }
        None => contact(delivery, document).map(Said::Submission),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    subscription_type: Raw<'a>,
    change_source: Raw<'a>,
    object_id: Raw<'a>,
    occurred_at: Raw<'a>,
}

/// The contacts of an app's events that a form made.
fn references(delivery: &Delivery<'_>, events: &[Raw<'_>]) -> Result<Vec<Reference>, NothingBecause> {
    let mut references: Vec<Reference> = Vec::new();
    let mut nothing = None;
    for event in events {
        let Event { subscription_type, change_source, object_id, occurred_at } = event.as_shape().unwrap_or_default();
        let source = change_source.text().unwrap_or_default();
        let why = match (subscription_type.text().as_deref(), object_id.string()) {
            // What is no event is a list of something else.
            (None, _) => NothingBecause::List,
            (Some("contact.creation"), _) if !FORMS.contains(&&*source) => {
                NothingBecause::NotFromAForm(Label::new(&source))
            }
            // The event does not say which form it was.
            (Some("contact.creation"), _) if !facts::is_of_form(delivery.form, None) => NothingBecause::OtherForm,
            (Some("contact.creation"), None) => NothingBecause::missing("/0/objectId"),
            (Some("contact.creation"), Some(id)) => {
                if references.iter().all(|known| known.id != id) {
                    references.push(Reference { id, created_at: occurred_at.text().and_then(|at| unix_millis(&at)) });
                }
                continue;
            }
            (Some(other), _) => NothingBecause::UnknownEvent(Label::new(other)),
        };
        nothing = nothing.or(Some(why));
    }
    if references.is_empty() { Err(nothing.unwrap_or(NothingBecause::List)) } else { Ok(references) }
}

/// A contact as a workflow posts it: its properties, plain or each with its history, or a body of one's own.
///
/// Its id is not taken for the submission's: whoever fills in a form again next year is the same contact, and another lead.
fn contact(delivery: &Delivery<'_>, document: Raw<'_>) -> Result<Submission, NothingBecause> {
    let properties = document.at("/properties").members();
    let fields = match &properties {
        Some(_) => Vec::new(),
        None => body::one_lead(document, delivery.form)?,
    };
    let submission = Submission { fields, ..Submission::default() };
    let submission = properties.into_iter().flatten().fold(submission, |mut submission, (name, value)| {
        let said = if value.members().is_some() { answers(value.at("/value")) } else { answers(value) };
        let path = format!("properties.{name}");
        submission.fields.push(Field::new([Cow::Owned(name), Cow::Owned(path)], said));
        submission
    });
    if submission.fields.is_empty() { Err(NothingBecause::missing("/properties")) } else { Ok(submission) }
}

/// The contact that was asked for.
pub(crate) fn answer(
    delivery: &Delivery<'_>,
    reference: &Reference,
    answer: &[u8],
) -> Result<Submission, NothingBecause> {
    let document = json::document(answer).map_err(NothingBecause::NotUnderstood)?;
    if document.at("/id").text().is_some_and(|id| id != reference.id) {
        return Err(NothingBecause::missing("/id"));
    }
    if document.at("/properties").members().is_none() {
        return Err(NothingBecause::missing("/properties"));
    }
    let contact = contact(delivery, document)?;
    Ok(Submission { id: Some(reference.id.clone()), submitted_at: reference.created_at, ..contact })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        lead::{Reading, read_answer},
        samples::{config, delivery, lead, read_as, reason},
    };

    fn event(id: u64, kind: &str, source: &str) -> Value {
        json!({"eventId": 1, "subscriptionType": kind, "objectId": id, "changeSource": source, "occurredAt": 1_795_079_400_000_i64})
    }

    #[test]
    fn only_contacts_that_a_form_made_are_asked_for() {
        let batch = json!([
            event(123, "contact.creation", "FORM"),
            event(124, "contact.creation", "IMPORT"),
            event(123, "contact.creation", "FORM"),
            event(125, "contact.propertyChange", "FORM"),
            event(126, "contact.creation", "FORMS"),
        ]);
        let Reading::References(references) = read_as("hubspot", batch.to_string()) else { panic!() };
        let ids: Vec<_> = references.iter().map(|reference| &*reference.id).collect();
        assert_eq!(ids, ["123", "126"]);
        assert_eq!(references[0].created_at, Some("2026-11-19T09:10:00Z".parse().unwrap()));
        for source in ["IMPORT", "CRM_UI", "INTEGRATION", "API", ""] {
            let reason = reason(read_as("hubspot", json!([event(124, "contact.creation", source)]).to_string()));
            assert_eq!(reason, NothingBecause::NotFromAForm(Label::new(source)));
        }
    }

    #[test]
    fn other_events_and_other_lists_are_nobody() {
        let code = |body: Value| reason(read_as("hubspot", body.to_string())).code();
        assert_eq!(code(json!([event(1, "contact.deletion", "FORM")])), "unknown-event");
        assert_eq!(code(event(1, "deal.creation", "FORM")), "unknown-event");
        assert_eq!(code(json!([{"subscriptionType": "contact.creation", "changeSource": "FORM"}])), "not-understood");
        assert_eq!(code(json!([{"phone": "054-5550199"}])), "list");
        assert_eq!(code(json!([])), "list");
        assert_eq!(code(json!({"properties": {}})), "not-understood");
        assert_eq!(code(json!({"contacts": [{"phone": "054-5550199"}]})), "list");
    }

    #[test]
    fn a_workflow_posts_the_contact_in_any_of_three_shapes() {
        let first = json!({"vid": 123, "properties": {
            "phone": {"value": "054-5550199", "versions": [{"value": "052-5550101"}]}, "firstname": {"value": "Noa"}}});
        let plain = json!({"properties": {"hs_object_id": "123", "mobilephone": "054-5550199", "firstname": "Noa", "email": null}});
        let own = json!({"id": 123, "mobile": "054-5550199", "First name": "Noa", "lastname": ""});
        for body in [first, plain, own] {
            let lead = lead(read_as("hubspot", body.to_string()));
            assert_eq!((lead.phone.expose(), lead.name.as_deref()), ("+972545550199", Some("Noa")));
            assert!(
                lead.id.starts_with("derived:"),
                "the same contact may come again, and is another lead: {}",
                lead.id
            );
        }
    }

    #[test]
    fn the_contact_that_is_asked_for_completes_its_reference() {
        let created_at = Some("2026-11-19T09:10:00Z".parse().unwrap());
        let reference = Reference { id: "123".to_owned(), created_at };
        let asked = |answer: &Value| {
            read_answer(&delivery(config(), "hubspot", b"[]"), &reference, answer.to_string().as_bytes())
        };
        let mut answer = json!({"id": "123", "createdAt": "2019-01-01T00:00:00Z",
            "properties": {"phone": "03-5550123", "mobilephone": "054-5550199", "firstname": "Noa", "lastname": "Levi"}});
        let lead = asked(&answer).unwrap();
        assert_eq!((&*lead.id, lead.phone.expose()), ("123", "+972545550199"));
        assert_eq!((lead.name.as_deref(), Some(lead.submitted_at)), (Some("Noa Levi"), created_at));
        answer["properties"]["mobilephone"] = Value::Null;
        assert_eq!(asked(&answer).unwrap_err().code(), "phone-unusable");
        answer["id"] = json!("124");
        assert_eq!(asked(&answer).unwrap_err().code(), "not-understood");
        assert_eq!(asked(&json!({"status": "error"})).unwrap_err().code(), "not-understood");
    }
}
