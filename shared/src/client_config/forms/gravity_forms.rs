//! Gravity Forms, Webhooks add-on.

use super::FormFacts;

pub(super) static FACTS: FormFacts = FormFacts {
    name: "gravity-forms",
    label: "Gravity Forms",
    posts_unchecked_boxes: true,
    numbers_its_fields: true,
    samples: "wordpress",
    ..FormFacts::PLAIN
};
