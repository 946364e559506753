//! Words: from a client's template and the values of an event to the text a customer reads.
//!
//! Templates are Jinja (`minijinja`) and strict: a variable that we do not know is an error when the configuration is
//! checked, and one that has no value when the text is made means that nothing is sent, with a recorded reason.
//! `{% if name %}` asks whether there is one.
//!
//! Values come from outside and are data, never markup: control and direction characters are taken out, lengths
//! limited, and a name that holds a link, an address or a number is dropped, so that nobody makes a client's line
//! carry their message by typing it into a form.

use std::{collections::BTreeMap, sync::OnceLock};

use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use crate::{
    client_config::{MediaMode, MessageRule},
    line::Message,
};

/// What kind of thing a variable holds, and so what may stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person's name: short, no links, no addresses, no numbers.
    Name,
    /// A short text or number.
    Text,
    /// An absolute https link.
    Link,
}

/// A variable that templates may use.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether every event has it.
    pub always: bool,
    /// What it is, for people.
    pub meaning: &'static str,
    /// An example, for checks and previews.
    pub example: &'static str,
}

const fn variable(
    name: &'static str,
    kind: Kind,
    always: bool,
    meaning: &'static str,
    example: &'static str,
) -> Variable {
    Variable { name, kind, always, meaning, example }
}

/// The variables of order messages.
pub const VARIABLES: &[Variable] = &[
    variable("store_name", Kind::Text, true, "the shop's name", "Demo Ceramics"),
    variable("order_number", Kind::Text, true, "the number that the customer knows", "#1042"),
    variable("name", Kind::Name, false, "the customer's name", "Noa Levi"),
    variable("first_name", Kind::Name, false, "the customer's first name", "Noa"),
    variable("total", Kind::Text, false, "the order's total", "118.00"),
    variable("currency", Kind::Text, false, "the total's currency", "ILS"),
    variable("tracking_number", Kind::Text, false, "the parcel's number", "RR123456785IL"),
    variable(
        "tracking_url",
        Kind::Link,
        false,
        "where the parcel can be followed",
        "https://track.example.com/RR123456785IL",
    ),
    variable("tracking_company", Kind::Text, false, "who carries it", "Israel Post"),
    variable("pickup_location", Kind::Text, false, "where to pick up", "Dizengoff store"),
    variable("pickup_address", Kind::Text, false, "its address", "99 Dizengoff St, Tel Aviv"),
    variable("pickup_until", Kind::Text, false, "until when it is kept", "2026-11-26"),
    variable("delivery_status", Kind::Text, false, "what changed", "rescheduled"),
    variable("delivery_from", Kind::Text, false, "when it was planned", "2026-11-20 09:00"),
    variable("delivery_to", Kind::Text, false, "when it is planned now", "2026-11-21 09:00"),
    variable("cancel_reason", Kind::Text, false, "why it was cancelled", "customer"),
    variable("refund_amount", Kind::Text, false, "how much was paid back", "59.00"),
    variable("invoice_id", Kind::Text, false, "the invoice's number", "INV-2026-1188"),
    variable(
        "invoice_url",
        Kind::Link,
        false,
        "the invoice as a document",
        "https://store.example.com/invoices/INV-2026-1188.pdf",
    ),
    variable("order_url", Kind::Link, false, "the order's page", "https://store.example.com/orders/1042"),
];

/// The variable of a name.
pub fn variable_named(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// A text could not be made. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordingError {
    /// There is no text in this language.
    #[error("there is no text in `{0}`")]
    NoText(String),
    /// The template uses a value that this event has not.
    #[error("the text needs a value that this order has not (line {0} of the text)")]
    ValueMissing(usize),
    /// The template cannot be used.
    #[error("the template is wrong on its line {line}: {kind}")]
    Template {
        /// The line in the template, from 1.
        line: usize,
        /// What kind of error.
        kind: String,
    },
    /// The document's link is missing.
    #[error("the message sends a document, and this order has no `{0}`")]
    DocumentMissing(String),
}

/// The values of an event, cleaned, by variable name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, cleaned for its variable; unknown variables and unusable values are left out.
    pub fn set(&mut self, name: &str, value: &str) {
        if let Some(variable) = variable_named(name)
            && let Some(value) = clean(variable.kind, value)
        {
            self.0.insert(variable.name, value);
        }
    }

    /// Adds the customer's name, and their first name.
    pub fn set_customer(&mut self, name: &str) {
        if let Some(name) = clean(Kind::Name, name) {
            let first = name.split(' ').next().unwrap_or_default().to_owned();
            self.0.insert("first_name", first);
            self.0.insert("name", name);
        }
    }

    /// A value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// An example for every variable, or only for those that every event has.
    pub fn examples(all: bool) -> Self {
        let shown = VARIABLES.iter().filter(|variable| all || variable.always);
        Self(shown.map(|variable| (variable.name, variable.example.to_owned())).collect())
    }
}

/// A value in the form its variable allows, if it has one.
fn clean(kind: Kind, value: &str) -> Option<String> {
    let visible: String =
        value.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !is_hidden(*c)).collect();
    let value = visible.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let limit = match kind {
        Kind::Name => 40,
        Kind::Text => 120,
        Kind::Link => 1024,
    };
    if value.is_empty() {
        return None;
    }
    match kind {
        Kind::Name if carries_a_message(&value) => None,
        Kind::Name | Kind::Text => Some(value.chars().take(limit).collect::<String>().trim_end().to_owned()),
        Kind::Link => {
            let url = url::Url::parse(&value).ok().filter(|url| url.scheme() == "https" && url.has_host())?;
            (url.as_str().len() <= limit && url.username().is_empty() && url.password().is_none())
                .then(|| url.as_str().to_owned())
        }
    }
}

/// Characters that are not seen: controls, and those that turn the direction of what follows. The two joiners stay:
/// Persian and emoji need them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a "name" holds a link, an address or a number to call.
fn carries_a_message(name: &str) -> bool {
    let digits = name.chars().filter(|c| c.is_numeric()).count();
    let domain = |word: &str| {
        word.split('.').skip(1).any(|label| label.chars().take_while(|c| c.is_alphanumeric()).count() >= 2)
    };
    digits >= 5
        || name.contains("://")
        || name.to_ascii_lowercase().contains("www.")
        || name.contains('@')
        || name.contains('/')
        || name.split(' ').any(domain)
}

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        // Asking `{% if name %}` is allowed, printing what is not there is not.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment
    })
}

/// Fills a template.
pub fn fill(template: &str, values: &Values) -> Result<String, WordingError> {
    let told = |error: &minijinja::Error| {
        let line = error.line().unwrap_or(1);
        match error.kind() {
            ErrorKind::UndefinedError => WordingError::ValueMissing(line),
            // The kind only: the detail may quote a value.
            kind => WordingError::Template { line, kind: kind.to_string() },
        }
    };
    let template = environment().template_from_str(template).map_err(|error| told(&error))?;
    template.render(&values.0).map(|text| text.trim().to_owned()).map_err(|error| told(&error))
}

/// The names that a template uses, for [`crate::check`].
pub fn names_used(template: &str) -> Result<Vec<String>, WordingError> {
    let template = environment().template_from_str(template).map_err(|error| WordingError::Template {
        line: error.line().unwrap_or(1),
        kind: error.detail().unwrap_or("it does not parse").to_owned(),
    })?;
    let mut names: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    names.sort_unstable();
    Ok(names)
}

/// What to say by a rule, in a language, with these values.
///
/// A button whose link has no value is left out; a document's link goes into the text and onto the button unless the
/// line sends documents as such.
pub fn message(rule: &MessageRule, language: &str, values: &Values, media: MediaMode) -> Result<Message, WordingError> {
    let template = rule.text.get(language).ok_or_else(|| WordingError::NoText(language.to_owned()))?;
    let mut text = fill(template, values)?;
    let button = match &rule.button {
        Some(button) => match values.get(&button.url) {
            Some(url) => {
                let label = button.text.get(language).ok_or_else(|| WordingError::NoText(language.to_owned()))?;
                Some((fill(label, values)?, url.to_owned()))
            }
            None => None,
        },
        None => None,
    };
    let document = match &rule.document {
        Some(name) => Some(values.get(name).ok_or_else(|| WordingError::DocumentMissing(name.clone()))?),
        None => None,
    };
    match (document, media) {
        (Some(url), MediaMode::Link) => {
            // A button may not show everywhere, so the link stands in the text as well.
            if !text.contains(url) {
                text = format!("{text}\n{url}");
            }
            Ok(Message { text, button, document: None })
        }
        (document, _) => Ok(Message { text, button, document: document.map(str::to_owned) }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        let mut values = Values::new();
        for (name, value) in pairs {
            if *name == "name" { values.set_customer(value) } else { values.set(name, value) }
        }
        values
    }

    #[test]
    fn a_missing_value_means_no_text_unless_it_is_asked_for() {
        let none = values(&[("order_number", "#1")]);
        assert_eq!(fill("Hi {{ name }}, {{ order_number }}", &none), Err(WordingError::ValueMissing(1)));
        let asked = "{% if name %}Hi {{ name }}, {% endif %}order {{ order_number }}";
        assert_eq!(fill(asked, &none).unwrap(), "order #1");
        assert_eq!(fill(asked, &values(&[("order_number", "#1"), ("name", "Noa")])).unwrap(), "Hi Noa, order #1");
    }

    #[test]
    fn values_are_data_and_never_markup() {
        let odd = values(&[("name", "{{ order_number }}"), ("order_number", "<b>&\"{% raw %}")]);
        assert_eq!(fill("{{ name }}|{{ order_number }}", &odd).unwrap(), "{{ order_number }}|<b>&\"{% raw %}");
    }

    #[test]
    fn a_name_that_carries_a_message_is_dropped() {
        for name in [
            "Win at evil.com",
            "x.y.evil.com",
            ".evil.com",
            "٠٥٠١٢٣٤٥٦٧",
            "https://a.example",
            "call 0501234567",
            "a@b.c",
            "x/y",
            "www.a.b",
            "\u{202e}\u{200b}",
        ] {
            assert_eq!(values(&[("name", name)]).get("name"), None, "{name}");
        }
        for (name, kept) in [
            ("Noa Levi", "Noa Levi"),
            ("J. R. R. Tolkien", "J. R. R. Tolkien"),
            ("  נועה\u{200f}\n לוי ", "נועה לוי"),
            ("O'Brien-Smith Jr.", "O'Brien-Smith Jr."),
            ("Renée\u{7}", "Renée"),
        ] {
            assert_eq!(values(&[("name", name)]).get("name"), Some(kept));
        }
    }

    #[test]
    fn only_https_links_without_credentials_are_links() {
        for (link, usable) in [
            ("https://track.example.com/1", true),
            ("http://track.example.com/1", false),
            ("javascript:alert(1)", false),
            ("https://user:pw@track.example.com/", false),
            ("//track.example.com", false),
        ] {
            assert_eq!(values(&[("tracking_url", link)]).get("tracking_url").is_some(), usable, "{link}");
        }
    }

    #[test]
    fn the_examples_are_clean_themselves() {
        for variable in VARIABLES {
            assert_eq!(clean(variable.kind, variable.example).as_deref(), Some(variable.example), "{}", variable.name);
        }
    }

    proptest! {
        #[test]
        fn no_value_breaks_out_of_its_place(value in ".{0,200}") {
            let mut values = Values::new();
            values.set("order_number", &value);
            values.set_customer(&value);
            for kept in values.0.values() {
                prop_assert!(!kept.chars().any(is_hidden));
                prop_assert!(!kept.contains('\n'));
                prop_assert!(kept.chars().count() <= 120);
            }
            if values.get("order_number").is_some() {
                let text = fill("<{{ order_number }}>", &values).unwrap();
                prop_assert_eq!(text, format!("<{}>", values.get("order_number").unwrap()));
            }
        }

        #[test]
        fn no_template_panics(template in ".{0,80}|(\\{\\{|\\}\\}|\\{%|%\\}|name|if|endif| |\\|){0,12}") {
            let _told = fill(&template, &Values::examples(true));
        }
    }
}
