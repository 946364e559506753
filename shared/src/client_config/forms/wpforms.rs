//! `WPForms`, Webhooks addon.

use super::FormFacts;

pub(super) static FACTS: FormFacts =
    FormFacts { name: "wpforms", label: "WPForms", names_its_form: false, samples: "wordpress", ..FormFacts::PLAIN };
