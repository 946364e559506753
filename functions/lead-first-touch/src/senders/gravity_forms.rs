//! Gravity Forms, Webhooks add-on: the entry as it is stored. Its keys are numbers, so that the client has to say which is
//! which.
//!
//! Shape: docs.gravityforms.com/entry-object. Times are UTC and don't say so.

use jiff::{civil::DateTime, tz::TimeZone};
use shared::observe::Label;

use crate::{
    body,
    lead::{Delivery, NothingBecause},
    submission::Submission,
};

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Submission, NothingBecause> {
    let fields = body::fields(delivery)?;
    let of_entry = |name: &str| fields.iter().find(|field| field.path() == name)?.answers.first().cloned();
    match of_entry("status") {
        Some(status) if status != "active" => return Err(NothingBecause::NotActive(Label::new(&status))),
        _ => {}
    }
    // Of the add-on that keeps what somebody has begun to fill in; such an entry is active as well.
    if of_entry("partial_entry_id").is_some() {
        return Err(NothingBecause::Partial);
    }
    let submitted_at =
        of_entry("date_created").and_then(|at| at.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok());
    Ok(Submission {
        id: of_entry("id"),
        form_id: of_entry("form_id"),
        submitted_at: submitted_at.map(|at| at.timestamp()),
        test: false,
        fields,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::samples::{lead, read_as, reason, sample};

    #[test]
    fn an_entry_in_the_spam_or_in_the_bin_is_nobody() {
        let mut body = sample("wordpress", "gravityforms_entry");
        for status in ["spam", "trash"] {
            body["status"] = json!(status);
            let reason = reason(read_as("gravity", body.to_string()));
            assert_eq!(reason.record(), format!("not-active: the entry is not active but `{status}`"));
        }
    }

    #[test]
    fn what_somebody_has_only_begun_is_nobody() {
        let mut body = sample("wordpress", "gravityforms_entry");
        body["partial_entry_id"] = json!("6f1c");
        assert_eq!(reason(read_as("gravity", body.to_string())).code(), "partial");
        body["partial_entry_id"] = json!("");
        lead(read_as("gravity", body.to_string()));
    }

    #[test]
    fn its_times_are_utc_and_a_consent_box_that_is_empty_is_not_ticked() {
        let mut body = sample("wordpress", "gravityforms_entry");
        assert_eq!(lead(read_as("gravity", body.to_string())).submitted_at.to_string(), "2026-11-19T09:20:00Z");
        body["4.1"] = json!("");
        assert_eq!(reason(read_as("gravity", body.to_string())).code(), "no-consent");
        body["form_id"] = json!(5);
        assert_eq!(reason(read_as("gravity", body.to_string())).code(), "other-form");
    }
}
