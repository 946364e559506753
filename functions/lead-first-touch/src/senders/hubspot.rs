//! `HubSpot`: an app's subscription sends events with a contact's id and source. A workflow's own
//! step posts the contact.
//!
//! Shape: developers.hubspot.com, "Webhooks API" and "Retrieve a record"; knowledge.hubspot.com,
//! "Use webhooks in workflows". A contact that no form created is not looked up, because cold lists
//! are a boundary.

use std::borrow::Cow;

use serde::Deserialize;
use tellonce_core::{
    json::{self, RawJson},
    telemetry::LogLabel,
};

use super::body::parse_unix_millis;
use crate::{
    facts, form_body,
    lead::{LeadDelivery, LeadReference},
    lead_outcome::LeadSkipReason,
    submission::{DeliveryContent, LeadSubmission, SubmittedField, field_values},
};

/// The values of `changeSource` for a contact that submitted a form.
const FORM_SOURCES: [&str; 2] = ["FORM", "FORMS"];
/// The event of a new contact.
const CONTACT_CREATION: &str = "contact.creation";
/// The id of contacts among the types of objects.
const CONTACT_TYPE_ID: &str = "0-1";

pub(crate) fn parse_delivery(delivery: &LeadDelivery<'_>) -> Result<DeliveryContent, LeadSkipReason> {
    let document = json::parse_document(delivery.body).map_err(LeadSkipReason::NotUnderstood)?;
    match document.list_elements() {
        Some(events) => parse_references(delivery, &events).map(DeliveryContent::References),
        None if document.at_pointer("/subscriptionType").text().is_some() => {
            parse_references(delivery, &[document]).map(DeliveryContent::References)
        }
        None => parse_contact(delivery, document).map(DeliveryContent::Submission),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HubspotEvent<'a> {
    #[serde(borrow)]
    subscription_type: RawJson<'a>,
    object_type_id: RawJson<'a>,
    change_source: RawJson<'a>,
    object_id: RawJson<'a>,
    occurred_at: RawJson<'a>,
}

impl HubspotEvent<'_> {
    /// What happened to which kind of object. A subscription to all objects names the kind by an
    /// id (developers.hubspot.com, "Object type IDs").
    fn kind(&self) -> Option<Cow<'_, str>> {
        let kind = self.subscription_type.text()?;
        let Some(event) = kind.strip_prefix("object.") else { return Some(kind) };
        let object = self.object_type_id.text().unwrap_or_default();
        Some(if object == CONTACT_TYPE_ID {
            format!("contact.{event}").into()
        } else {
            format!("{kind}:{object}").into()
        })
    }
}

/// The contacts in an app's events that a form created.
fn parse_references(delivery: &LeadDelivery<'_>, events: &[RawJson<'_>]) -> Result<Vec<LeadReference>, LeadSkipReason> {
    let mut references: Vec<LeadReference> = Vec::new();
    let mut first_skip = None;
    for event in events {
        let event: HubspotEvent<'_> = event.deserialize_as().unwrap_or_default();
        let HubspotEvent { change_source, object_id, occurred_at, .. } = event;
        let source = change_source.text().unwrap_or_default();
        let skip_reason = match (event.kind().as_deref(), object_id.owned_text()) {
            // An element that is not an event means a list of something else.
            (None, _) => LeadSkipReason::List,
            (Some(CONTACT_CREATION), _) if !FORM_SOURCES.contains(&&*source) => {
                LeadSkipReason::NotFromAForm(LogLabel::new(&source))
            }
            // The event does not name the form.
            (Some(CONTACT_CREATION), _) if !facts::is_expected_form(delivery.form, None) => LeadSkipReason::OtherForm,
            (Some(CONTACT_CREATION), None) => LeadSkipReason::missing_field("/0/objectId"),
            (Some(CONTACT_CREATION), Some(id)) => {
                if references.iter().all(|known| known.id != id) {
                    references.push(LeadReference {
                        id,
                        created_at: occurred_at.text().and_then(|at| parse_unix_millis(&at)),
                    });
                }
                continue;
            }
            (Some(other), _) => LeadSkipReason::UnknownEvent(LogLabel::new(other)),
        };
        first_skip = first_skip.or(Some(skip_reason));
    }
    if references.is_empty() { Err(first_skip.unwrap_or(LeadSkipReason::List)) } else { Ok(references) }
}

/// A contact as a workflow posts it: plain properties, properties with history, or a custom body.
///
/// The contact's id is not the submission's id. A contact who submits a form again next year is the
/// same contact and a new lead.
fn parse_contact(delivery: &LeadDelivery<'_>, document: RawJson<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    let fields = match document.at_pointer("/properties").object_members() {
        Some(properties) => properties.into_iter().map(|(name, value)| parse_property(name, value)).collect(),
        None => form_body::parse_single_lead(document, delivery.form)?,
    };
    if fields.is_empty() {
        return Err(LeadSkipReason::missing_field("/properties"));
    }
    Ok(LeadSubmission { fields, ..LeadSubmission::default() })
}

/// A property with its value, or with its history.
fn parse_property(name: String, value: RawJson<'_>) -> SubmittedField {
    let value = if value.object_members().is_some() { value.at_pointer("/value") } else { value };
    let path = format!("properties.{name}");
    SubmittedField::new([Cow::Owned(name), Cow::Owned(path)], field_values(value))
}

/// Parses the contact in the lookup response.
pub(crate) fn parse_response(
    delivery: &LeadDelivery<'_>,
    reference: &LeadReference,
    response: &[u8],
) -> Result<LeadSubmission, LeadSkipReason> {
    let document = json::parse_document(response).map_err(LeadSkipReason::NotUnderstood)?;
    if document.at_pointer("/id").text().is_some_and(|id| id != reference.id) {
        return Err(LeadSkipReason::missing_field("/id"));
    }
    if document.at_pointer("/properties").object_members().is_none() {
        return Err(LeadSkipReason::missing_field("/properties"));
    }
    let contact = parse_contact(delivery, document)?;
    Ok(LeadSubmission { id: Some(reference.id.clone()), submitted_at: reference.created_at, ..contact })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        lead::ParsedLead,
        lead_parser::parse_lead_response,
        samples::{build_delivery, expect_lead, expect_skip, parse_as, sample_config},
    };

    fn event_json(id: u64, kind: &str, source: &str) -> Value {
        json!({"eventId": 1, "subscriptionType": kind, "objectId": id, "changeSource": source, "occurredAt": 1_795_079_400_000_i64})
    }

    #[test]
    fn only_contacts_created_by_a_form_are_looked_up() {
        let batch = json!([
            event_json(123, "contact.creation", "FORM"),
            event_json(124, "contact.creation", "IMPORT"),
            event_json(123, "contact.creation", "FORM"),
            event_json(125, "contact.propertyChange", "FORM"),
            event_json(126, "contact.creation", "FORMS"),
        ]);
        let ParsedLead::NeedsLookup(references) = parse_as("hubspot", batch.to_string()) else { panic!() };
        let ids: Vec<_> = references.iter().map(|reference| &*reference.id).collect();
        assert_eq!(ids, ["123", "126"]);
        assert_eq!(references[0].created_at, Some("2026-11-19T09:10:00Z".parse().unwrap()));
        for source in ["IMPORT", "CRM_UI", "INTEGRATION", "API", ""] {
            let reason =
                expect_skip(parse_as("hubspot", json!([event_json(124, "contact.creation", source)]).to_string()));
            assert_eq!(reason, LeadSkipReason::NotFromAForm(LogLabel::new(source)));
        }
    }

    #[test]
    fn a_new_object_is_a_contact_only_if_its_type_says_so() {
        let object = |id: u64, kind: &str, object_type: Value| {
            let mut event = event_json(id, kind, "FORM");
            event["objectTypeId"] = object_type;
            event
        };
        let batch = json!([
            object(1, "object.creation", json!("0-2")),
            object(2, "object.creation", json!("0-1")),
            object(3, "object.propertyChange", json!("0-1")),
            object(4, "contact.creation", json!("0-1")),
        ]);
        let ParsedLead::NeedsLookup(references) = parse_as("hubspot", batch.to_string()) else { panic!() };
        let ids: Vec<_> = references.iter().map(|reference| &*reference.id).collect();
        assert_eq!(ids, ["2", "4"]);
        for (kind, object_type, named) in [
            ("object.creation", json!("0-2"), "object.creation:0-2"),
            ("object.creation", Value::Null, "object.creation:"),
            ("object.deletion", json!("0-1"), "contact.deletion"),
        ] {
            let reason = expect_skip(parse_as("hubspot", json!([object(1, kind, object_type)]).to_string()));
            assert_eq!(reason, LeadSkipReason::UnknownEvent(LogLabel::new(named)), "{kind}");
        }
        let imported = json!([{"subscriptionType": "object.creation", "objectTypeId": "0-1", "objectId": 1, "changeSource": "IMPORT"}]);
        assert_eq!(expect_skip(parse_as("hubspot", imported.to_string())).code(), "not-from-a-form");
    }

    #[test]
    fn other_events_and_other_lists_are_skipped() {
        let code = |body: Value| expect_skip(parse_as("hubspot", body.to_string())).code();
        assert_eq!(code(json!([event_json(1, "contact.deletion", "FORM")])), "unknown-event");
        assert_eq!(code(event_json(1, "deal.creation", "FORM")), "unknown-event");
        assert_eq!(code(json!([{"subscriptionType": "contact.creation", "changeSource": "FORM"}])), "not-understood");
        assert_eq!(code(json!([{"phone": "054-5550199"}])), "list");
        assert_eq!(code(json!([])), "list");
        assert_eq!(code(json!({"properties": {}})), "not-understood");
        assert_eq!(code(json!({"contacts": [{"phone": "054-5550199"}]})), "list");
    }

    #[test]
    fn a_workflow_may_post_the_contact_in_three_shapes() {
        let first = json!({"vid": 123, "properties": {
            "phone": {"value": "054-5550199", "versions": [{"value": "052-5550101"}]}, "firstname": {"value": "Noa"}}});
        let plain = json!({"properties": {"hs_object_id": "123", "mobilephone": "054-5550199", "firstname": "Noa", "email": null}});
        let own = json!({"id": 123, "mobile": "054-5550199", "First name": "Noa", "lastname": ""});
        for body in [first, plain, own] {
            let lead = expect_lead(parse_as("hubspot", body.to_string()));
            assert_eq!((lead.phone.expose(), lead.name.as_deref()), ("+972545550199", Some("Noa")));
            assert!(
                lead.id.starts_with("derived:"),
                "the same contact may submit again and is a new lead: {}",
                lead.id
            );
        }
    }

    #[test]
    fn a_looked_up_contact_completes_its_reference() {
        let created_at = Some("2026-11-19T09:10:00Z".parse().unwrap());
        let reference = LeadReference { id: "123".to_owned(), created_at };
        let parse_found = |body: &Value| {
            parse_lead_response(
                &build_delivery(sample_config(), "hubspot", b"[]"),
                &reference,
                body.to_string().as_bytes(),
            )
        };
        let mut response = json!({"id": "123", "createdAt": "2019-01-01T00:00:00Z",
            "properties": {"phone": "03-5550123", "mobilephone": "054-5550199", "firstname": "Noa", "lastname": "Levi"}});
        let lead = parse_found(&response).unwrap();
        assert_eq!((&*lead.id, lead.phone.expose()), ("123", "+972545550199"));
        assert_eq!((lead.name.as_deref(), Some(lead.submitted_at)), (Some("Noa Levi"), created_at));
        response["properties"]["mobilephone"] = Value::Null;
        assert_eq!(parse_found(&response).unwrap_err().code(), "phone-unusable");
        response["id"] = json!("124");
        assert_eq!(parse_found(&response).unwrap_err().code(), "not-understood");
        assert_eq!(parse_found(&json!({"status": "error"})).unwrap_err().code(), "not-understood");
    }
}
