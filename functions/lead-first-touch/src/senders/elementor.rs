//! Elementor Pro, action "Webhook". Keys are the labels of the fields. With "Advanced data" the
//! body holds all attributes of each field.
//!
//! Shape: captured by several consumers of the webhook. Elementor documents the action and not the
//! body. `form[name]` and `form_name` hold the form's name and not the lead's. The submission has
//! no id.

use std::collections::BTreeMap;

use crate::{
    form_body,
    lead::LeadDelivery,
    lead_outcome::LeadSkipReason,
    submission::{LeadSubmission, SubmittedField},
};

/// Paths of the form's own attributes, which are not fields.
const FORM_ID_PATHS: [&str; 2] = ["form.id", "form_id"];
const FORM_NAME_PATHS: [&str; 2] = ["form.name", "form_name"];

pub(crate) fn parse_submission(delivery: &LeadDelivery<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    let mut fields = form_body::parse_fields(delivery)?;
    let is_form_id = |field: &SubmittedField| FORM_ID_PATHS.contains(&field.body_path());
    let form_id = fields.iter().find(|field| is_form_id(field)).and_then(|field| field.values.first().cloned());
    fields.retain(|field| !is_form_id(field) && !FORM_NAME_PATHS.contains(&field.body_path()));
    if fields.iter().any(|field| split_advanced_path(field.body_path()).is_some()) {
        fields = group_advanced_fields(&fields);
    }
    Ok(LeadSubmission { form_id, fields, ..LeadSubmission::default() })
}

/// The field and the attribute that a path names: `fields.phone.value`.
fn split_advanced_path(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("fields.")?
        .rsplit_once('.')
        .filter(|(_, attribute)| ["id", "type", "title", "value"].contains(attribute))
}

/// The fields of "Advanced data". `meta` describes the visit and contains no fields.
fn group_advanced_fields(attributes: &[SubmittedField]) -> Vec<SubmittedField> {
    let mut keys: Vec<&str> = Vec::new();
    let mut values_by_attribute: BTreeMap<(&str, &str), &[String]> = BTreeMap::new();
    for attribute in attributes {
        let Some((key, attribute_name)) = split_advanced_path(attribute.body_path()) else { continue };
        if !keys.contains(&key) {
            keys.push(key);
        }
        values_by_attribute.insert((key, attribute_name), &attribute.values);
    }
    let field = |key: &str| {
        let values_of = |what| values_by_attribute.get(&(key, what)).copied().unwrap_or_default();
        let names = values_of("id").iter().chain(values_of("title")).map(|name| name.as_str().into());
        let telephone = values_of("type").iter().any(|kind| kind == "tel");
        SubmittedField::new([key.into()].into_iter().chain(names), values_of("value").to_vec())
            .with_telephone(telephone)
    };
    keys.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use crate::samples::{expect_lead, expect_skip, parse_as};

    #[test]
    fn the_forms_name_is_not_the_leads_name() {
        for body in [
            "phone=0545550199&WhatsApp=on&form_id=a1b2c3d&form_name=Contact",
            "form[id]=a1b2c3d&form[name]=Contact&fields[p][type]=tel&fields[p][value]=0545550199&fields[w][title]=WhatsApp&fields[w][value]=on",
        ] {
            assert_eq!(expect_lead(parse_as("elementor", body)).name, None);
        }
    }

    #[test]
    fn a_telephone_field_is_recognized_by_its_type_and_not_by_a_whatsapp_label() {
        let body = "form[id]=a1b2c3d&fields[whatsapp][type]=acceptance&fields[whatsapp][value]=on&fields[x.y][type]=tel&fields[x.y][value]=054-5550199";
        assert_eq!(expect_lead(parse_as("elementor", body)).phone.expose(), "+972545550199");
        let nowhere = "WhatsApp=on&form_id=a1b2c3d";
        assert_eq!(expect_skip(parse_as("elementor", nowhere)).code(), "no-phone");
    }

    #[test]
    fn a_form_outside_form_ids_is_skipped() {
        assert_eq!(expect_skip(parse_as("elementor", "Phone=0545550199&WhatsApp=on&form_id=zzz")).code(), "other-form");
        assert_eq!(expect_skip(parse_as("elementor", "Phone=0545550199&WhatsApp=on")).code(), "other-form");
    }
}
