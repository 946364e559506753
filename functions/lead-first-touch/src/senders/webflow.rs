//! Webflow: answers under the labels that the designer chose, in both versions of its webhooks.
//!
//! Shape: developers.webflow.com, "Working with webhooks", `form_submission`. The first version has
//! neither an event nor the form's id, so the form is identified by its name.

use serde::Deserialize;
use tellonce_core::json::{self, RawJson};

use super::body::expect_event;
use crate::{
    lead::LeadDelivery,
    lead_outcome::LeadSkipReason,
    submission::{LeadSubmission, SubmittedField, field_values},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct WebflowWebhook<'a> {
    #[serde(rename = "triggerType", borrow)]
    trigger: RawJson<'a>,
    payload: RawJson<'a>,
    name: RawJson<'a>,
    data: RawJson<'a>,
    d: RawJson<'a>,
    #[serde(rename = "_id")]
    id: RawJson<'a>,
}

pub(crate) fn parse_submission(delivery: &LeadDelivery<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    let body: WebflowWebhook<'_> = json::parse_object(delivery.body).map_err(LeadSkipReason::NotUnderstood)?;
    let (data, at) = match body.data.object_members() {
        Some(first) if body.trigger.text().is_none() => (Some(first), [body.id, body.name, body.d]),
        _ => {
            expect_event(body.trigger, "form_submission")?;
            let payload = body.payload;
            (
                payload.at_pointer("/data").object_members(),
                [payload.at_pointer("/id"), payload.at_pointer("/formId"), payload.at_pointer("/submittedAt")],
            )
        }
    };
    let data = data.ok_or_else(|| LeadSkipReason::missing_field("/payload/data"))?;
    let [id, form_id, submitted_at] = at;
    Ok(LeadSubmission {
        id: id.owned_text(),
        form_id: form_id.owned_text(),
        submitted_at: submitted_at.as_time(),
        is_test: false,
        fields: data
            .into_iter()
            .map(|(label, value)| SubmittedField::new([label.into()], field_values(value)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::samples::{expect_lead, expect_skip, parse_as, sample_json};

    #[test]
    fn the_first_webhook_version_is_parsed_too() {
        let mut body = sample_json("webflow", "form_submission_v1");
        assert_eq!(expect_skip(parse_as("webflow", body.to_string())).code(), "consent-field-missing");
        body["data"]["WhatsApp consent"] = json!(true);
        let lead = expect_lead(parse_as("webflow", body.to_string()));
        assert_eq!((&*lead.id, lead.phone.expose()), ("6321ca84df3949bfc6752327", "+972545550199"));
        assert_eq!(lead.name.as_deref(), Some("Tamar Golan"), "not the form's name");
        assert_eq!(lead.submitted_at.to_string(), "2026-11-19T09:00:00.117Z");
    }

    #[test]
    fn a_phone_may_be_a_json_number() {
        let body = sample_json("webflow", "form_submission");
        assert!(body["payload"]["data"]["Phone Number"].is_number());
        assert_eq!(expect_lead(parse_as("webflow", body.to_string())).phone.expose(), "+972545550199");
    }

    #[test]
    fn other_events_of_a_site_are_skipped() {
        let mut body = sample_json("webflow", "form_submission");
        body["triggerType"] = json!("site_publish");
        assert_eq!(expect_skip(parse_as("webflow", body.to_string())).code(), "unknown-event");
        assert_eq!(expect_skip(parse_as("webflow", "{}")).code(), "not-understood");
    }
}
