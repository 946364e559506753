//! Elementor Pro, action "Webhook": the labels of the fields as keys, or with "Advanced data" everything about each field.
//!
//! Shape: as several consumers of the webhook have captured it; Elementor documents the action and not the body.
//! `form[name]` and `form_name` are the form's name and nobody's. There is no id of the submission.

use std::collections::BTreeMap;

use crate::{
    body,
    lead::{Delivery, NothingBecause},
    submission::{Field, Submission},
};

/// What is about the form, and no field of it.
const FORM_ID: [&str; 2] = ["form.id", "form_id"];
const FORM_NAME: [&str; 2] = ["form.name", "form_name"];

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Submission, NothingBecause> {
    let mut fields = body::fields(delivery)?;
    let of_form = |field: &Field| FORM_ID.contains(&field.path());
    let form_id = fields.iter().find(|field| of_form(field)).and_then(|field| field.answers.first().cloned());
    fields.retain(|field| !of_form(field) && !FORM_NAME.contains(&field.path()));
    if fields.iter().any(|field| advanced(field.path()).is_some()) {
        fields = described(&fields);
    }
    Ok(Submission { form_id, fields, ..Submission::default() })
}

/// The field and the attribute that a path names: `fields.phone.value`.
fn advanced(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("fields.")?
        .rsplit_once('.')
        .filter(|(_, attribute)| ["id", "type", "title", "value"].contains(attribute))
}

/// The fields of "Advanced data". Those of `meta` are about the visit.
fn described(attributes: &[Field]) -> Vec<Field> {
    let mut keys: Vec<&str> = Vec::new();
    let mut described: BTreeMap<(&str, &str), &[String]> = BTreeMap::new();
    for attribute in attributes {
        let Some((key, what)) = advanced(attribute.path()) else { continue };
        if !keys.contains(&key) {
            keys.push(key);
        }
        described.insert((key, what), &attribute.answers);
    }
    let field = |key: &str| {
        let all = |what| described.get(&(key, what)).copied().unwrap_or_default();
        let names = all("id").iter().chain(all("title")).map(|name| name.as_str().into());
        let telephone = all("type").iter().any(|kind| kind == "tel");
        Field::new([key.into()].into_iter().chain(names), all("value").to_vec()).known_as(telephone)
    };
    keys.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use crate::samples::{lead, read_as, reason};

    #[test]
    fn the_forms_name_is_nobodys() {
        for body in [
            "phone=0545550199&WhatsApp=on&form_id=a1b2c3d&form_name=Contact",
            "form[id]=a1b2c3d&form[name]=Contact&fields[p][type]=tel&fields[p][value]=0545550199&fields[w][title]=WhatsApp&fields[w][value]=on",
        ] {
            assert_eq!(lead(read_as("elementor", body)).name, None);
        }
    }

    #[test]
    fn a_telephone_is_one_by_its_type_and_a_box_called_whatsapp_is_none() {
        let body = "form[id]=a1b2c3d&fields[whatsapp][type]=acceptance&fields[whatsapp][value]=on&fields[x.y][type]=tel&fields[x.y][value]=054-5550199";
        assert_eq!(lead(read_as("elementor", body)).phone.expose(), "+972545550199");
        let nowhere = "WhatsApp=on&form_id=a1b2c3d";
        assert_eq!(reason(read_as("elementor", nowhere)).code(), "no-phone");
    }

    #[test]
    fn a_form_that_is_not_meant_is_left_alone() {
        assert_eq!(reason(read_as("elementor", "Phone=0545550199&WhatsApp=on&form_id=zzz")).code(), "other-form");
        assert_eq!(reason(read_as("elementor", "Phone=0545550199&WhatsApp=on")).code(), "other-form");
    }
}
