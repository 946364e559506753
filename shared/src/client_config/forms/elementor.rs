//! Elementor Pro, action "Webhook".

use super::FormFacts;

pub(super) static FACTS: FormFacts = FormFacts {
    name: "elementor",
    label: "Elementor",
    supports_headers: false,
    samples: "wordpress",
    ..FormFacts::PLAIN
};
