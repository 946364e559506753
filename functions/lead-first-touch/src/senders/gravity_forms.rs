//! Gravity Forms, Webhooks add-on: the entry as it is stored. Its keys are numbers, so the client
//! must map them in `fields`.
//!
//! Shape: docs.gravityforms.com/entry-object. Times are UTC without an offset.

use jiff::{civil::DateTime, tz::TimeZone};
use tellonce_core::telemetry::LogLabel;

use crate::{form_body, lead::LeadDelivery, lead_outcome::LeadSkipReason, submission::LeadSubmission};

pub(crate) fn parse_submission(delivery: &LeadDelivery<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    let fields = form_body::parse_fields(delivery)?;
    let entry_value = |name: &str| fields.iter().find(|field| field.body_path() == name)?.values.first().cloned();
    match entry_value("status") {
        Some(status) if status != "active" => return Err(LeadSkipReason::NotActive(LogLabel::new(&status))),
        _ => {}
    }
    // The Partial Entries add-on stores unfinished forms. Such an entry is active as well.
    if entry_value("partial_entry_id").is_some() {
        return Err(LeadSkipReason::Partial);
    }
    let submitted_at =
        entry_value("date_created").and_then(|at| at.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok());
    Ok(LeadSubmission {
        id: entry_value("id"),
        form_id: entry_value("form_id"),
        submitted_at: submitted_at.map(|at| at.timestamp()),
        is_test: false,
        fields,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::samples::{expect_lead, expect_skip, parse_as, sample_json};

    #[test]
    fn an_entry_in_spam_or_trash_is_skipped() {
        let mut body = sample_json("wordpress", "gravityforms_entry");
        for status in ["spam", "trash"] {
            body["status"] = json!(status);
            let reason = expect_skip(parse_as("gravity", body.to_string()));
            let text = format!("entry has status `{status}` and is not active");
            assert_eq!((reason.code(), reason.to_string()), ("not-active", text));
        }
    }

    #[test]
    fn a_partial_entry_is_skipped() {
        let mut body = sample_json("wordpress", "gravityforms_entry");
        body["partial_entry_id"] = json!("6f1c");
        assert_eq!(expect_skip(parse_as("gravity", body.to_string())).code(), "partial");
        body["partial_entry_id"] = json!("");
        expect_lead(parse_as("gravity", body.to_string()));
    }

    #[test]
    fn times_are_utc_and_an_empty_consent_box_is_not_ticked() {
        let mut body = sample_json("wordpress", "gravityforms_entry");
        assert_eq!(expect_lead(parse_as("gravity", body.to_string())).submitted_at.to_string(), "2026-11-19T09:20:00Z");
        body["4.1"] = json!("");
        assert_eq!(expect_skip(parse_as("gravity", body.to_string())).code(), "no-consent");
        body["form_id"] = json!(5);
        assert_eq!(expect_skip(parse_as("gravity", body.to_string())).code(), "other-form");
    }
}
