//! Parses a delivery of a form to a [`ParsedLead`], with the parser of the form's kind.
//!
//! Flow: [`parse_lead`] turns a verified delivery into a [`ParsedLead`]. If the delivery only names
//! leads, [`parse_lead_response`] parses the sender's response to the lookup of one lead. Both are
//! pure functions of the delivery and the client's configuration. They never panic. A delivery that
//! cannot be used becomes a [`LeadSkipReason`], which is recorded.

use tellonce_core::{client_config::FormKind, inbox};

use crate::{
    charset,
    facts::{self, LeadFacts},
    lead::{Lead, LeadDelivery, LeadReference, ParsedLead},
    lead_outcome::LeadSkipReason,
    senders::{elementor, google_ads, gravity_forms, hubspot, jotform, meta, tally, typeform, web, webflow},
    submission::{DeliveryContent, LeadSubmission},
};

/// Parses a verified delivery.
pub fn parse_lead(delivery: &LeadDelivery<'_>) -> ParsedLead {
    let parsed = parse_content(delivery).and_then(|content| match content {
        DeliveryContent::References(references) => Ok(ParsedLead::NeedsLookup(references)),
        DeliveryContent::Submission(submission) => {
            facts::check_form(delivery, &submission)?;
            facts::build_lead(delivery, &submission).map(Box::new).map(ParsedLead::Lead)
        }
    });
    parsed.unwrap_or_else(ParsedLead::Skipped)
}

/// Parses the sender's response to the lookup of a lead: Meta's Graph API at `/{leadgen_id}`, or
/// `HubSpot` at `/crm/v3/objects/contacts/{id}`.
pub fn parse_lead_response(
    delivery: &LeadDelivery<'_>,
    reference: &LeadReference,
    response: &[u8],
) -> Result<Lead, LeadSkipReason> {
    let submission = parse_submission_response(delivery, reference, response)?;
    // The delivery already passed the form check. If the response names a form too, it must pass as
    // well.
    if submission.form_id.is_some() {
        facts::check_form(delivery, &submission)?;
    }
    facts::build_lead(delivery, &submission)
}

/// The facts of the submission in a delivery, even if the lead is skipped. `None` if the delivery
/// contains no submission. `tellonce preview` shows them, so that the client can configure
/// `fields`.
pub fn find_facts(delivery: &LeadDelivery<'_>) -> Option<LeadFacts> {
    match parse_content(delivery) {
        Ok(DeliveryContent::Submission(submission)) => Some(LeadFacts::from_submission(delivery, &submission)),
        Ok(DeliveryContent::References(_)) | Err(_) => None,
    }
}

/// The same for the response to the lookup of a lead.
pub fn find_facts_in_response(
    delivery: &LeadDelivery<'_>,
    reference: &LeadReference,
    response: &[u8],
) -> Option<LeadFacts> {
    let submission = parse_submission_response(delivery, reference, response).ok()?;
    Some(LeadFacts::from_submission(delivery, &submission))
}

/// Parses a delivery with the parser of its form's kind.
pub(crate) fn parse_content(delivery: &LeadDelivery<'_>) -> Result<DeliveryContent, LeadSkipReason> {
    let content_type = inbox::find_header(delivery.headers, "content-type").unwrap_or_default();
    let body = charset::recode_json(delivery.body, content_type);
    let delivery = &LeadDelivery { body: &body, ..*delivery };
    let submission = match delivery.form.kind {
        FormKind::Meta => return meta::parse_references(delivery).map(DeliveryContent::References),
        FormKind::HubSpot => return hubspot::parse_delivery(delivery),
        FormKind::Typeform => typeform::parse_submission(delivery),
        FormKind::GoogleAds => google_ads::parse_submission(delivery),
        FormKind::Webflow => webflow::parse_submission(delivery),
        FormKind::Tally => tally::parse_submission(delivery),
        FormKind::Jotform => jotform::parse_submission(delivery),
        FormKind::Elementor => elementor::parse_submission(delivery),
        FormKind::GravityForms => gravity_forms::parse_submission(delivery),
        FormKind::WpForms | FormKind::ContactForm7 | FormKind::Web => web::parse_submission(delivery),
    };
    submission.map(DeliveryContent::Submission)
}

/// Parses the response to the lookup of a lead.
pub(crate) fn parse_submission_response(
    delivery: &LeadDelivery<'_>,
    reference: &LeadReference,
    response: &[u8],
) -> Result<LeadSubmission, LeadSkipReason> {
    match delivery.form.kind {
        FormKind::Meta => meta::parse_response(reference, response),
        FormKind::HubSpot => hubspot::parse_response(delivery, reference, response),
        // Other senders have no lookup.
        _ => Err(LeadSkipReason::LookupFailed),
    }
}
