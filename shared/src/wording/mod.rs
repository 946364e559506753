//! Words: from a client's template and the values of an event to the text a customer reads.
//!
//! Templates are Jinja (`minijinja`) and strict: a variable that we do not know is an error when the configuration is
//! checked, and one that has no value when the text is made means that nothing is sent, with a recorded reason.
//! `{% if name %}` asks whether there is one.
//!
//! Values come from outside and are data, never markup: control and direction characters are taken out, lengths
//! limited, and a name that holds a link, an address or a number is dropped: else a form would let anybody write over
//! the client's line. For the same reason nothing that somebody typed into a form has a variable, but for their name:
//! of the rest only `choice` is told, which is an answer that the client wrote down beforehand.

mod dates;

use std::{collections::BTreeMap, sync::OnceLock};

use icu_properties::{
    CodePointMapData,
    props::{GeneralCategory, GeneralCategoryGroup},
};
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use crate::{
    client_config::{Acknowledgement, MediaMode, Texts},
    line::Message,
};

/// What a text is about, and so which variables it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// An order: the texts of milestones.
    Order,
    /// An appointment: the texts of reminders.
    Appointment,
    /// Somebody who left their number on a form: the first thing they hear.
    Lead,
    /// Somebody who wrote on the line: what they are answered at once.
    Conversation,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Order, Self::Appointment, Self::Lead, Self::Conversation];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Appointment => "appointment",
            Self::Lead => "lead",
            Self::Conversation => "conversation",
        }
    }

    /// What one of them is called.
    pub const fn one(self) -> &'static str {
        match self {
            Self::Order => "an order",
            Self::Appointment => "an appointment",
            Self::Lead => "a lead",
            Self::Conversation => "a conversation",
        }
    }

    /// The variables that texts about it may use.
    pub fn variables(self) -> impl Iterator<Item = &'static Variable> + Clone {
        VARIABLES.iter().filter(move |variable| variable.topics.contains(&self))
    }

    /// The variable of a name, if texts about it may use it.
    pub fn variable(self, name: &str) -> Option<&'static Variable> {
        variable_named(name).filter(|variable| variable.topics.contains(&self))
    }
}

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
    /// Which texts may use it.
    pub topics: &'static [Topic],
    /// What it holds.
    pub kind: Kind,
    /// Whether it is always there.
    pub always: bool,
    /// What it is, for people.
    pub meaning: &'static str,
    /// An example, for checks and previews.
    pub example: &'static str,
}

const ORDERS: &[Topic] = &[Topic::Order];
const APPOINTMENTS: &[Topic] = &[Topic::Appointment];
const LEADS: &[Topic] = &[Topic::Lead];
const NO_SHOP: &[Topic] = &[Topic::Appointment, Topic::Lead, Topic::Conversation];
const ALL: &[Topic] = &Topic::ALL;

/// A variable that is always there.
const fn always(
    topics: &'static [Topic],
    name: &'static str,
    kind: Kind,
    meaning: &'static str,
    example: &'static str,
) -> Variable {
    Variable { name, topics, kind, always: true, meaning, example }
}

/// A variable that may be missing.
const fn maybe(
    topics: &'static [Topic],
    name: &'static str,
    kind: Kind,
    meaning: &'static str,
    example: &'static str,
) -> Variable {
    Variable { name, topics, kind, always: false, meaning, example }
}

/// All variables, in the order of the documentation.
pub const VARIABLES: &[Variable] = &[
    always(ORDERS, "store_name", Kind::Text, "the shop's name", "Demo Ceramics"),
    always(ORDERS, "order_number", Kind::Text, "the number that the customer knows", "#1042"),
    always(NO_SHOP, "business_name", Kind::Text, "the business's name", "Demo Ceramics"),
    always(APPOINTMENTS, "start", Kind::Text, "weekday, date and time", "Tuesday 24 November at 10:30"),
    always(APPOINTMENTS, "weekday", Kind::Text, "the day of the week on which it begins", "Tuesday"),
    always(APPOINTMENTS, "date", Kind::Text, "the day on which it begins", "24 November"),
    always(APPOINTMENTS, "time", Kind::Text, "the time at which it begins", "10:30"),
    maybe(ALL, "name", Kind::Name, "the customer's name", "Noa Levi"),
    maybe(ALL, "first_name", Kind::Name, "the customer's first name", "Noa"),
    maybe(LEADS, "choice", Kind::Text, "what they chose, of the answers that are configured", "Wheel throwing"),
    maybe(APPOINTMENTS, "title", Kind::Text, "what it is about", "Consultation"),
    maybe(APPOINTMENTS, "place", Kind::Text, "where it takes place", "99 Dizengoff St, Tel Aviv"),
    maybe(
        APPOINTMENTS,
        "place_url",
        Kind::Link,
        "where it takes place, if that is a link (a video meeting)",
        "https://meet.example.com/abc-defg",
    ),
    maybe(ORDERS, "total", Kind::Text, "the order's total", "118.00"),
    maybe(ORDERS, "currency", Kind::Text, "the total's currency", "ILS"),
    maybe(ORDERS, "tracking_number", Kind::Text, "the parcel's number", "RR123456785IL"),
    maybe(
        ORDERS,
        "tracking_url",
        Kind::Link,
        "where the parcel can be followed",
        "https://track.example.com/RR123456785IL",
    ),
    maybe(ORDERS, "tracking_company", Kind::Text, "who carries it", "Israel Post"),
    maybe(ORDERS, "pickup_location", Kind::Text, "where to pick up", "Dizengoff store"),
    maybe(ORDERS, "pickup_address", Kind::Text, "its address", "99 Dizengoff St, Tel Aviv"),
    maybe(ORDERS, "pickup_until", Kind::Text, "until when it is kept", "2026-11-26"),
    maybe(ORDERS, "delivery_status", Kind::Text, "what changed", "rescheduled"),
    maybe(ORDERS, "delivery_from", Kind::Text, "when it was planned", "2026-11-20 09:00"),
    maybe(ORDERS, "delivery_to", Kind::Text, "when it is planned now", "2026-11-21 09:00"),
    maybe(ORDERS, "cancel_reason", Kind::Text, "why it was cancelled", "customer"),
    maybe(ORDERS, "refund_amount", Kind::Text, "how much was paid back", "59.00"),
    maybe(ORDERS, "invoice_id", Kind::Text, "the invoice's number", "INV-2026-1188"),
    maybe(
        ORDERS,
        "invoice_url",
        Kind::Link,
        "the invoice as a document",
        "https://store.example.com/invoices/INV-2026-1188.pdf",
    ),
    maybe(ORDERS, "order_url", Kind::Link, "the order's page", "https://store.example.com/orders/1042"),
];

/// The variable of a name, whatever texts may use it.
pub fn variable_named(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// A text could not be made. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordingError {
    /// There is no text in this language.
    #[error("there is no text in `{0}`")]
    NoText(String),
    /// The template uses a value that is not there.
    #[error("the text needs a value that is not known here (line {0} of the text)")]
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
    #[error("the message sends a document, and there is no `{0}`")]
    DocumentMissing(String),
}

impl WordingError {
    /// What is recorded: stable, kebab-case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ValueMissing(_) | Self::DocumentMissing(_) => "value-missing",
            Self::NoText(_) | Self::Template { .. } => "text-unusable",
        }
    }
}

/// The values of an event or appointment, cleaned, by variable name.
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

    /// Adds when an appointment begins, as people of the language and country write it, by the clocks of the zone.
    pub fn set_start(&mut self, start: Timestamp, zone: &TimeZone, language: &str, country: &str) {
        let dates::Written { date, time, weekday, start } = dates::written(start, zone, language, country);
        for (name, value) in [("start", start), ("weekday", weekday), ("date", date), ("time", time)] {
            self.set(name, &value);
        }
    }

    /// Adds where an appointment takes place, and its link if the place is one.
    pub fn set_place(&mut self, place: &str) {
        self.set("place", place);
        self.set("place_url", place);
    }

    /// A value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// An example for every variable of a topic, or only for those that are always there.
    pub fn examples(topic: Topic, all: bool) -> Self {
        let shown = topic.variables().filter(|variable| all || variable.always);
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

/// Whether a character is a mark above, below or beside a letter: of scripts that write vowels so, it is part of a word.
pub fn is_mark(c: char) -> bool {
    GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}

/// Characters that are not seen: controls, and those that turn the direction of what follows. The two joiners stay:
/// Persian and emoji need them.
pub fn is_hidden(c: char) -> bool {
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

/// What to say by the texts of a rule, in a language, with these values.
///
/// A button whose link has no value is left out; a document's link goes into the text and onto the button unless the
/// line sends documents as such.
pub fn message(texts: Texts<'_>, language: &str, values: &Values, media: MediaMode) -> Result<Message, WordingError> {
    let template = texts.text.get(language).ok_or_else(|| WordingError::NoText(language.to_owned()))?;
    let mut text = fill(template, values)?;
    let button = match texts.button {
        Some(button) => match values.get(&button.url) {
            Some(url) => {
                let label = button.text.get(language).ok_or_else(|| WordingError::NoText(language.to_owned()))?;
                Some((fill(label, values)?, url.to_owned()))
            }
            None => None,
        },
        None => None,
    };
    let document = match texts.document {
        Some(name) => Some(values.get(name).ok_or_else(|| WordingError::DocumentMissing(name.to_owned()))?),
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

/// What somebody who wrote on the line is answered at once, in a language. `business` is the client's name; `name` is the
/// customer's, if it is known.
pub fn acknowledgement(
    rule: &Acknowledgement,
    language: &str,
    business: &str,
    name: Option<&str>,
) -> Result<Message, WordingError> {
    let mut values = Values::new();
    values.set("business_name", business);
    if let Some(name) = name {
        values.set_customer(name);
    }
    // It has no document, so how the line sends one doesn't matter.
    message(rule.texts(), language, &values, MediaMode::Link)
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

    #[test]
    fn each_topic_has_its_own_variables_and_shares_the_customer() {
        assert!(
            Topic::Order.variable("order_number").is_some() && Topic::Appointment.variable("order_number").is_none()
        );
        assert!(Topic::Appointment.variable("start").is_some() && Topic::Order.variable("start").is_none());
        assert!(Topic::ALL.iter().all(|topic| topic.variable("first_name").is_some()));
        let examples = Values::examples(Topic::Appointment, false);
        assert_eq!(
            (examples.get("time"), examples.get("place"), examples.get("store_name")),
            (Some("10:30"), None, None)
        );
    }

    #[test]
    fn of_what_a_lead_typed_only_their_name_is_told() {
        let names: Vec<_> = Topic::Lead.variables().map(|variable| variable.name).collect();
        assert_eq!(names, ["business_name", "name", "first_name", "choice"]);
        assert!(Topic::Lead.variables().all(|variable| variable.kind != Kind::Link));
    }

    #[test]
    fn an_acknowledgement_knows_the_business_and_the_customers_name_and_nothing_they_wrote() {
        let names: Vec<_> = Topic::Conversation.variables().map(|variable| variable.name).collect();
        assert_eq!(names, ["business_name", "name", "first_name"]);
        let rule = |text: &str| -> Acknowledgement { toml::from_str(&format!("text.en = '{text}'")).unwrap() };
        let asks = rule("{% if first_name %}{{ first_name }}, t{% else %}T{% endif %}hanks! {{ business_name }}");
        let said = |name| acknowledgement(&asks, "en", "Demo Ceramics", name).unwrap().text;
        assert_eq!(said(Some("Noa Levi")), "Noa, thanks! Demo Ceramics");
        assert_eq!(said(Some("win at evil.com")), "Thanks! Demo Ceramics");
        assert_eq!(said(None), "Thanks! Demo Ceramics");
        let bare = acknowledgement(&rule("{{ name }}"), "en", "Demo Ceramics", None);
        assert_eq!(bare, Err(WordingError::ValueMissing(1)));
        assert_eq!(acknowledgement(&asks, "he", "Demo", None), Err(WordingError::NoText("he".to_owned())));
    }

    #[test]
    fn a_start_is_four_values_without_odd_spaces_or_marks() {
        let mut values = Values::new();
        values.set_start("2026-11-24T08:30:00Z".parse().unwrap(), &TimeZone::UTC, "en", "US");
        let text = fill("{{ weekday }}, {{ date }}, {{ time }} ({{ start }})", &values).unwrap();
        assert_eq!(text, "Tuesday, November 24, 8:30 AM (Tuesday, November 24 at 8:30 AM)");
        values.set_start("2026-11-24T08:30:00Z".parse().unwrap(), &TimeZone::UTC, "ar", "EG");
        assert!(values.0.values().all(|value| !value.chars().any(|c| is_hidden(c) || c.is_whitespace() && c != ' ')));
    }

    #[test]
    fn a_place_that_is_a_link_is_both() {
        let mut meeting = Values::new();
        meeting.set_place("https://meet.example.com/abc");
        assert_eq!(meeting.get("place_url"), Some("https://meet.example.com/abc"));
        let mut street = Values::new();
        street.set_place("99 Dizengoff St");
        assert_eq!((street.get("place"), street.get("place_url")), (Some("99 Dizengoff St"), None));
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
            let _told = fill(&template, &Values::examples(Topic::Order, true));
        }
    }
}
