//! Any website's own form, and the HTTP steps of Zapier, Make and n8n: JSON, urlencoded or
//! multipart.

use super::{super::RepeatWindow, FormFacts};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "web",
    label: "any website",
    names_its_form: false,
    repeats: Some(RepeatWindow::BY_HAND),
    samples: "web",
    ..FormFacts::PLAIN
};
