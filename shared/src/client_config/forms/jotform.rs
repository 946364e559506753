//! Jotform.

use super::{super::BodyTypes, FormFacts};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "jotform",
    label: "Jotform",
    supports_headers: false,
    body: BodyTypes {
        description: "a form (multipart/form-data or application/x-www-form-urlencoded)",
        multipart: true,
        ..BodyTypes::FORM
    },
    samples: "jotform",
    ..FormFacts::PLAIN
};
