//! Lead forms of Google Ads: columns, some with well-known ids.
//!
//! Shape: developers.google.com/google-ads/webhook/docs/implementation. There `column_id` holds the
//! question and `string_value` the answer. Some deliveries swap the two. The orientation is decided
//! for the whole delivery: the side with more well-known ids holds the questions.

use serde::Deserialize;
use tellonce_core::json::{self, RawJson};

use crate::{
    lead::LeadDelivery,
    lead_outcome::LeadSkipReason,
    submission::{LeadSubmission, SubmittedField, field_names},
};

/// The ids of Google's own columns, which decide the orientation.
const WELL_KNOWN_COLUMNS: [&str; 14] = [
    "FULL_NAME",
    "FIRST_NAME",
    "LAST_NAME",
    "EMAIL",
    "PHONE_NUMBER",
    "WORK_EMAIL",
    "WORK_PHONE",
    "STREET_ADDRESS",
    "POSTAL_CODE",
    "CITY",
    "REGION",
    "COUNTRY",
    "COMPANY_NAME",
    "JOB_TITLE",
];

/// The columns of phone numbers, the most likely first.
const PHONE_COLUMNS: [&str; 2] = ["PHONE_NUMBER", "WORK_PHONE"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct GoogleAdsLead<'a> {
    #[serde(borrow)]
    lead_id: RawJson<'a>,
    form_id: RawJson<'a>,
    is_test: RawJson<'a>,
    lead_submit_time: RawJson<'a>,
    user_column_data: RawJson<'a>,
}

pub(crate) fn parse_submission(delivery: &LeadDelivery<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    let body: GoogleAdsLead<'_> = json::parse_object(delivery.body).map_err(LeadSkipReason::NotUnderstood)?;
    let test = body.is_test.is_true();
    let columns = body.user_column_data.list_elements();
    // A test lead is recognised even if other fields are missing.
    let columns = if test {
        columns.unwrap_or_default()
    } else {
        columns.ok_or_else(|| LeadSkipReason::missing_field("/user_column_data"))?
    };
    let count_known = |side: &str| {
        let is_known = |column: &&RawJson<'_>| {
            column.at_pointer(side).text().is_some_and(|text| WELL_KNOWN_COLUMNS.contains(&&*text))
        };
        columns.iter().filter(is_known).count()
    };
    let (name_pointer, value_pointer) = if count_known("/string_value") > count_known("/column_id") {
        ("/string_value", "/column_id")
    } else {
        ("/column_id", "/string_value")
    };
    let phone_rank = |column: &RawJson<'_>| {
        let column_name = column.at_pointer(name_pointer).text();
        PHONE_COLUMNS.iter().position(|telephone| column_name.as_deref() == Some(*telephone))
    };
    let mut columns = columns;
    columns.sort_by_key(|column| phone_rank(column).unwrap_or(PHONE_COLUMNS.len()));
    let fields = columns.iter().map(|column| {
        let values = column.at_pointer(value_pointer).owned_text().into_iter().collect();
        SubmittedField::new(field_names([column.at_pointer(name_pointer), column.at_pointer("/column_name")]), values)
            .with_telephone(phone_rank(column).is_some())
    });
    Ok(LeadSubmission {
        id: body.lead_id.owned_text(),
        form_id: body.form_id.owned_text(),
        submitted_at: body.lead_submit_time.as_time(),
        is_test: test,
        fields: fields.collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::samples::{expect_lead, expect_skip, parse_as, sample_json};

    /// The orientation that Google documents, which is the reverse of the samples.
    fn documented_body() -> Value {
        let mut body = sample_json("google_ads", "lead");
        for column in body["user_column_data"].as_array_mut().unwrap() {
            let (name_value, text_value) = (column["string_value"].clone(), column["column_id"].clone());
            column["column_id"] = name_value;
            column["string_value"] = text_value;
        }
        body
    }

    #[test]
    fn columns_are_parsed_in_either_orientation() {
        let sample = expect_lead(parse_as("google", sample_json("google_ads", "lead").to_string()));
        assert_eq!(expect_lead(parse_as("google", documented_body().to_string())), sample);
        assert_eq!(sample.choice.as_deref(), Some("Haifa"), "a custom question");
        let mut unnamed = documented_body();
        for column in unnamed["user_column_data"].as_array_mut().unwrap() {
            column.as_object_mut().unwrap().remove("column_name");
        }
        assert_eq!(expect_lead(parse_as("google", unnamed.to_string())), sample);
    }

    #[test]
    fn one_value_that_looks_like_a_column_id_does_not_swap_the_columns() {
        let mut body = documented_body();
        body["user_column_data"][3]["string_value"] = json!("CITY");
        assert_eq!(expect_lead(parse_as("google", body.to_string())).phone.expose(), "+972545550199");
    }

    #[test]
    fn the_work_phone_is_tried_second() {
        let mut body = documented_body();
        let work = json!({"column_id": "WORK_PHONE", "string_value": "+972525550101"});
        body["user_column_data"].as_array_mut().unwrap().insert(0, work);
        assert_eq!(expect_lead(parse_as("google", body.to_string())).phone.expose(), "+972545550199");
        body["user_column_data"][2]["string_value"] = json!("03-5550123");
        assert_eq!(expect_lead(parse_as("google", body.to_string())).phone.expose(), "+972525550101");
    }

    #[test]
    fn a_test_lead_is_recognized_without_any_other_field() {
        for test in ["true", "\"true\"", "1"] {
            assert_eq!(expect_skip(parse_as("google", format!("{{\"is_test\":{test}}}"))).code(), "test");
        }
        assert_eq!(expect_skip(parse_as("google", "{\"is_test\":false}")).code(), "not-understood");
    }
}
