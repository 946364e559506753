//! Lead forms of Google Ads: columns, some of them of well-known ids.
//!
//! Shape: developers.google.com/google-ads/webhook/docs/implementation. There `column_id` is what was asked and
//! `string_value` what was answered; deliveries with the two the other way round are about as well. Which way it is, is
//! decided for the whole delivery: by the side on which more of the well-known ids stand.

use serde::Deserialize;
use shared::json::{self, Raw};

use crate::{
    lead::{Delivery, NothingBecause},
    submission::{Field, Submission, names},
};

/// The ids of Google's own columns that decide which side is which.
const KNOWN: [&str; 14] = [
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

/// Those of telephone numbers, the likelier first.
const TELEPHONES: [&str; 2] = ["PHONE_NUMBER", "WORK_PHONE"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    lead_id: Raw<'a>,
    form_id: Raw<'a>,
    is_test: Raw<'a>,
    lead_submit_time: Raw<'a>,
    user_column_data: Raw<'a>,
}

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Submission, NothingBecause> {
    let body: Body<'_> = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let test = body.is_test.is_true();
    let columns = body.user_column_data.elements();
    // A trial is one whatever else is missing.
    let columns = if test {
        columns.unwrap_or_default()
    } else {
        columns.ok_or_else(|| NothingBecause::missing("/user_column_data"))?
    };
    let known = |side: &str| {
        let known = |column: &&Raw<'_>| column.at(side).text().is_some_and(|text| KNOWN.contains(&&*text));
        columns.iter().filter(known).count()
    };
    let (asked, answered) = if known("/string_value") > known("/column_id") {
        ("/string_value", "/column_id")
    } else {
        ("/column_id", "/string_value")
    };
    let telephone = |column: &Raw<'_>| {
        let asked = column.at(asked).text();
        TELEPHONES.iter().position(|telephone| asked.as_deref() == Some(*telephone))
    };
    let mut columns = columns;
    columns.sort_by_key(|column| telephone(column).unwrap_or(TELEPHONES.len()));
    let fields = columns.iter().map(|column| {
        let answers = column.at(answered).string().into_iter().collect();
        Field::new(names([column.at(asked), column.at("/column_name")]), answers).known_as(telephone(column).is_some())
    });
    Ok(Submission {
        id: body.lead_id.string(),
        form_id: body.form_id.string(),
        submitted_at: body.lead_submit_time.time(),
        test,
        fields: fields.collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::samples::{lead, read_as, reason, sample};

    /// As Google documents it: the other way round than the samples.
    fn documented() -> Value {
        let mut body = sample("google_ads", "lead");
        for column in body["user_column_data"].as_array_mut().unwrap() {
            let (asked, answered) = (column["string_value"].clone(), column["column_id"].clone());
            column["column_id"] = asked;
            column["string_value"] = answered;
        }
        body
    }

    #[test]
    fn columns_are_read_either_way_round() {
        let sample = lead(read_as("google", sample("google_ads", "lead").to_string()));
        assert_eq!(lead(read_as("google", documented().to_string())), sample);
        assert_eq!(sample.choice.as_deref(), Some("Haifa"), "a question of one's own");
        let mut unnamed = documented();
        for column in unnamed["user_column_data"].as_array_mut().unwrap() {
            column.as_object_mut().unwrap().remove("column_name");
        }
        assert_eq!(lead(read_as("google", unnamed.to_string())), sample);
    }

    #[test]
    fn one_answer_that_reads_like_a_column_turns_nothing_round() {
        let mut body = documented();
        body["user_column_data"][3]["string_value"] = json!("CITY");
        assert_eq!(lead(read_as("google", body.to_string())).phone.expose(), "+972545550199");
    }

    #[test]
    fn the_phone_at_work_is_the_second_to_be_tried() {
        let mut body = documented();
        let work = json!({"column_id": "WORK_PHONE", "string_value": "+972525550101"});
        body["user_column_data"].as_array_mut().unwrap().insert(0, work);
        assert_eq!(lead(read_as("google", body.to_string())).phone.expose(), "+972545550199");
        body["user_column_data"][2]["string_value"] = json!("03-5550123");
        assert_eq!(lead(read_as("google", body.to_string())).phone.expose(), "+972525550101");
    }

    #[test]
    fn a_trial_is_one_even_when_nothing_else_is_there() {
        for test in ["true", "\"true\"", "1"] {
            assert_eq!(reason(read_as("google", format!("{{\"is_test\":{test}}}"))).code(), "test");
        }
        assert_eq!(reason(read_as("google", "{\"is_test\":false}")).code(), "not-understood");
    }
}
