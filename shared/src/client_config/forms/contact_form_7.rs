//! Contact Form 7, with a plugin that posts.

use super::FormFacts;

pub(super) static FACTS: FormFacts = FormFacts {
    name: "contact-form-7",
    label: "Contact Form 7",
    names_its_form: false,
    samples: "wordpress",
    ..FormFacts::PLAIN
};
