//! The wording of messages: renders a client's templates with the values of an event.
//!
//! Templates are Jinja (`minijinja`) and strict:
//! - An unknown variable is an error of `tellonce check`.
//! - If a variable has no value, nothing is sent, and the reason is recorded. `{% if name %}` asks
//!   whether there is a value.
//!
//! Values come from outside and are data, never markup:
//! - [`clean_line`] and [`clean_name`] clean every text from outside. Lengths are limited.
//! - A name that contains a link, an address or a number is dropped. Otherwise a form would let
//!   strangers send their own text over the client's line.
//! - For the same reason no other text that a lead types has a variable. `choice` holds only
//!   answers that the client listed beforehand.

mod dates;
mod outside_text;

use std::{collections::BTreeMap, sync::OnceLock};

use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

pub use self::dates::format_month;
pub use self::outside_text::{clean_line, clean_name, is_combining_mark, is_hidden_char, visible_line};
use crate::{
    client_config::{AcknowledgementRule, MediaMode, MessageTemplates},
    provider::RenderedMessage,
};

/// What a text is about. It decides which variables the text may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateTopic {
    /// An order: messages at milestones.
    Order,
    /// An appointment: reminders.
    Appointment,
    /// A lead: the first touch.
    Lead,
    /// A conversation: the acknowledgement of a customer's message.
    Conversation,
}

impl TemplateTopic {
    /// All topics.
    pub const ALL: [Self; 4] = [Self::Order, Self::Appointment, Self::Lead, Self::Conversation];

    /// The name: `order`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Appointment => "appointment",
            Self::Lead => "lead",
            Self::Conversation => "conversation",
        }
    }

    /// The name with its article: `an order`.
    pub const fn with_article(self) -> &'static str {
        match self {
            Self::Order => "an order",
            Self::Appointment => "an appointment",
            Self::Lead => "a lead",
            Self::Conversation => "a conversation",
        }
    }

    /// The variables that texts of this topic may use.
    pub fn variables(self) -> impl Iterator<Item = &'static TemplateVariable> + Clone {
        VARIABLES.iter().filter(move |variable| variable.topics.contains(&self))
    }

    /// The variable with this name; `None` if texts of this topic may not use it.
    pub fn find_variable(self, name: &str) -> Option<&'static TemplateVariable> {
        find_variable_by_name(name).filter(|variable| variable.topics.contains(&self))
    }
}

/// The kind of value that a variable holds. It decides how a value is cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableKind {
    /// A person's name: at most 40 characters, without links, addresses and numbers.
    Name,
    /// A short text or number: at most 120 characters.
    Text,
    /// An absolute https link of at most 1024 bytes, without credentials.
    Link,
}

/// A variable that templates may use.
#[derive(Debug, Clone, Copy)]
pub struct TemplateVariable {
    /// Its name.
    pub name: &'static str,
    /// The topics whose texts may use it.
    pub topics: &'static [TemplateTopic],
    /// The kind of its value.
    pub kind: VariableKind,
    /// Whether it always has a value.
    pub always_present: bool,
    /// What it is, for the documentation.
    pub meaning: &'static str,
    /// An example value, for checks and previews.
    pub example: &'static str,
}

const ORDER_TEXTS: &[TemplateTopic] = &[TemplateTopic::Order];
const APPOINTMENT_TEXTS: &[TemplateTopic] = &[TemplateTopic::Appointment];
const LEAD_TEXTS: &[TemplateTopic] = &[TemplateTopic::Lead];
const NON_ORDER_TEXTS: &[TemplateTopic] =
    &[TemplateTopic::Appointment, TemplateTopic::Lead, TemplateTopic::Conversation];
const ALL_TEXTS: &[TemplateTopic] = &TemplateTopic::ALL;

/// A variable that always has a value.
const fn required_variable(
    topics: &'static [TemplateTopic],
    name: &'static str,
    kind: VariableKind,
    meaning: &'static str,
    example: &'static str,
) -> TemplateVariable {
    TemplateVariable { name, topics, kind, always_present: true, meaning, example }
}

/// A variable that may have no value.
const fn optional_variable(
    topics: &'static [TemplateTopic],
    name: &'static str,
    kind: VariableKind,
    meaning: &'static str,
    example: &'static str,
) -> TemplateVariable {
    TemplateVariable { name, topics, kind, always_present: false, meaning, example }
}

/// All variables, in the order of the documentation.
pub const VARIABLES: &[TemplateVariable] = &[
    required_variable(ORDER_TEXTS, "store_name", VariableKind::Text, "the shop's name", "Demo Ceramics"),
    required_variable(ORDER_TEXTS, "order_number", VariableKind::Text, "the number that the customer knows", "#1042"),
    required_variable(NON_ORDER_TEXTS, "business_name", VariableKind::Text, "the business's name", "Demo Ceramics"),
    required_variable(
        APPOINTMENT_TEXTS,
        "start",
        VariableKind::Text,
        "weekday, date and time of the start",
        "Tuesday 24 November at 10:30",
    ),
    required_variable(
        APPOINTMENT_TEXTS,
        "weekday",
        VariableKind::Text,
        "the day of the week on which the appointment begins",
        "Tuesday",
    ),
    required_variable(
        APPOINTMENT_TEXTS,
        "date",
        VariableKind::Text,
        "the day on which the appointment begins",
        "24 November",
    ),
    required_variable(
        APPOINTMENT_TEXTS,
        "time",
        VariableKind::Text,
        "the time at which the appointment begins",
        "10:30",
    ),
    optional_variable(ALL_TEXTS, "name", VariableKind::Name, "the customer's name", "Noa Levi"),
    optional_variable(ALL_TEXTS, "first_name", VariableKind::Name, "the customer's first name", "Noa"),
    optional_variable(
        LEAD_TEXTS,
        "choice",
        VariableKind::Text,
        "the answer that the lead chose, if it is configured",
        "Wheel throwing",
    ),
    optional_variable(APPOINTMENT_TEXTS, "title", VariableKind::Text, "what it is about", "Consultation"),
    optional_variable(
        APPOINTMENT_TEXTS,
        "place",
        VariableKind::Text,
        "where it takes place",
        "99 Dizengoff St, Tel Aviv",
    ),
    optional_variable(
        APPOINTMENT_TEXTS,
        "place_url",
        VariableKind::Link,
        "where it takes place, if that is a link (a video meeting)",
        "https://meet.example.com/abc-defg",
    ),
    optional_variable(ORDER_TEXTS, "total", VariableKind::Text, "the order's total", "118.00"),
    optional_variable(ORDER_TEXTS, "currency", VariableKind::Text, "the total's currency", "ILS"),
    optional_variable(ORDER_TEXTS, "tracking_number", VariableKind::Text, "the parcel's number", "RR123456785IL"),
    optional_variable(
        ORDER_TEXTS,
        "tracking_url",
        VariableKind::Link,
        "where the parcel can be followed",
        "https://track.example.com/RR123456785IL",
    ),
    optional_variable(ORDER_TEXTS, "tracking_company", VariableKind::Text, "the carrier", "Israel Post"),
    optional_variable(ORDER_TEXTS, "pickup_location", VariableKind::Text, "where to pick up", "Dizengoff store"),
    optional_variable(
        ORDER_TEXTS,
        "pickup_address",
        VariableKind::Text,
        "the address of the pickup location",
        "99 Dizengoff St, Tel Aviv",
    ),
    optional_variable(ORDER_TEXTS, "pickup_until", VariableKind::Text, "the last day of pickup", "2026-11-26"),
    optional_variable(
        ORDER_TEXTS,
        "delivery_status",
        VariableKind::Text,
        "what changed about the delivery",
        "rescheduled",
    ),
    optional_variable(
        ORDER_TEXTS,
        "delivery_from",
        VariableKind::Text,
        "when the delivery was planned before",
        "2026-11-20 09:00",
    ),
    optional_variable(
        ORDER_TEXTS,
        "delivery_to",
        VariableKind::Text,
        "when the delivery is planned now",
        "2026-11-21 09:00",
    ),
    optional_variable(ORDER_TEXTS, "cancel_reason", VariableKind::Text, "why the order was cancelled", "customer"),
    optional_variable(ORDER_TEXTS, "refund_amount", VariableKind::Text, "the amount paid back", "59.00"),
    optional_variable(ORDER_TEXTS, "invoice_id", VariableKind::Text, "the invoice's number", "INV-2026-1188"),
    optional_variable(
        ORDER_TEXTS,
        "invoice_url",
        VariableKind::Link,
        "the invoice as a document",
        "https://store.example.com/invoices/INV-2026-1188.pdf",
    ),
    optional_variable(
        ORDER_TEXTS,
        "order_url",
        VariableKind::Link,
        "the order's page",
        "https://store.example.com/orders/1042",
    ),
];

/// The variable with this name, of any topic.
pub fn find_variable_by_name(name: &str) -> Option<&'static TemplateVariable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// A text could not be made. Holds no value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordingError {
    /// The rule has no text in this language.
    #[error("the text in language `{0}` is missing from client.toml")]
    NoText(String),
    /// The template prints a variable without a value. Holds the line in the template, from 1.
    #[error("a variable on line {0} of the text has no value; print it only inside {{% if … %}}")]
    ValueMissing(usize),
    /// The template does not parse or render.
    #[error("the template has an error on line {line}: {kind}; run `tellonce check`")]
    Template {
        /// The line in the template, from 1.
        line: usize,
        /// The kind of error.
        kind: String,
    },
    /// The variable of the document's link has no value. Holds its name.
    #[error("the document of the message has no link: `{0}` has no value")]
    DocumentMissing(String),
}

impl WordingError {
    /// The outcome to record: stable, in kebab-case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ValueMissing(_) | Self::DocumentMissing(_) => "value-missing",
            Self::NoText(_) | Self::Template { .. } => "text-unusable",
        }
    }
}

/// The cleaned values of an event or appointment, by variable name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TemplateValues(BTreeMap<&'static str, String>);

impl TemplateValues {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cleans and adds a value. Unknown variables and unusable values are left out.
    pub fn set(&mut self, name: &str, value: &str) {
        if let Some(variable) = find_variable_by_name(name)
            && let Some(value) = clean_value(variable.kind, value)
        {
            self.0.insert(variable.name, value);
        }
    }

    /// Adds the customer's name and first name.
    pub fn set_customer(&mut self, name: &str) {
        if let Some(name) = clean_value(VariableKind::Name, name) {
            let first = name.split(' ').next().unwrap_or_default().to_owned();
            self.0.insert("first_name", first);
            self.0.insert("name", name);
        }
    }

    /// Adds the start of an appointment, in the style of the language and country, on the clock of
    /// the zone.
    pub fn set_start(&mut self, start: Timestamp, zone: &TimeZone, language: &str, country: &str) {
        let dates::FormattedMoment { date, time, weekday, start } =
            dates::format_moment(start, zone, language, country);
        for (name, value) in [("start", start), ("weekday", weekday), ("date", date), ("time", time)] {
            self.set(name, &value);
        }
    }

    /// Adds the place of an appointment, and its link if the place is a link.
    pub fn set_place(&mut self, place: &str) {
        self.set("place", place);
        self.set("place_url", place);
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Example values for all variables of a topic, or only for those that always have a value.
    pub fn from_examples(topic: TemplateTopic, all: bool) -> Self {
        let variables = topic.variables().filter(|variable| all || variable.always_present);
        Self(variables.map(|variable| (variable.name, variable.example.to_owned())).collect())
    }
}

/// The longest text, in characters.
const MAX_TEXT_CHARS: usize = 120;
/// The longest link, in bytes.
const MAX_LINK_BYTES: usize = 1024;

/// The value in the form that its variable allows; `None` if it is unusable.
fn clean_value(kind: VariableKind, value: &str) -> Option<String> {
    match kind {
        VariableKind::Name => clean_name(value),
        VariableKind::Text => {
            let text: String = clean_line(value).chars().take(MAX_TEXT_CHARS).collect();
            Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
        }
        // A link keeps its form: another normal form may lead elsewhere.
        VariableKind::Link => {
            let visible: String = value.trim().chars().filter(|c| !is_hidden_char(*c)).collect();
            let url = url::Url::parse(&visible).ok().filter(|url| url.scheme() == "https" && url.has_host())?;
            (url.as_str().len() <= MAX_LINK_BYTES && url.username().is_empty() && url.password().is_none())
                .then(|| url.as_str().to_owned())
        }
    }
}

fn template_environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        // `{% if name %}` may ask for a missing value. Printing a missing value is an error.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment
    })
}

/// Fills a template.
pub fn render_template(template: &str, values: &TemplateValues) -> Result<String, WordingError> {
    let to_wording_error = |error: &minijinja::Error| {
        let line = error.line().unwrap_or(1);
        match error.kind() {
            ErrorKind::UndefinedError => WordingError::ValueMissing(line),
            // Only the kind, because the detail may quote a value.
            kind => WordingError::Template { line, kind: kind.to_string() },
        }
    };
    let template = template_environment().template_from_str(template).map_err(|error| to_wording_error(&error))?;
    template.render(&values.0).map(|text| text.trim().to_owned()).map_err(|error| to_wording_error(&error))
}

/// The names that a template uses, for `tellonce check`.
pub fn used_variable_names(template: &str) -> Result<Vec<String>, WordingError> {
    let template = template_environment().template_from_str(template).map_err(|error| WordingError::Template {
        line: error.line().unwrap_or(1),
        kind: error.detail().unwrap_or("syntax error").to_owned(),
    })?;
    let mut names: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    names.sort_unstable();
    Ok(names)
}

/// Renders the text, button and document of a message in a language.
///
/// A button is left out if its link has no value. With [`MediaMode::Link`] the document's link is
/// added below the text, unless the text contains it.
pub fn build_message(
    texts: MessageTemplates<'_>,
    language: &str,
    values: &TemplateValues,
    media: MediaMode,
) -> Result<RenderedMessage, WordingError> {
    let template = texts.text.get(language).ok_or_else(|| WordingError::NoText(language.to_owned()))?;
    let mut text = render_template(template, values)?;
    let button = match texts.button {
        Some(button) => match values.get(&button.url) {
            Some(url) => {
                let label = button.text.get(language).ok_or_else(|| WordingError::NoText(language.to_owned()))?;
                Some((render_template(label, values)?, url.to_owned()))
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
            // A button may not show on every phone, so the link stands in the text as well.
            if !text.contains(url) {
                text = format!("{text}\n{url}");
            }
            Ok(RenderedMessage { text, button, document: None })
        }
        (document, _) => Ok(RenderedMessage { text, button, document: document.map(str::to_owned) }),
    }
}

/// Renders an acknowledgement in a language. `business` is the client's name. `name` is the
/// customer's, if known.
pub fn build_acknowledgement(
    rule: &AcknowledgementRule,
    language: &str,
    business: &str,
    name: Option<&str>,
) -> Result<RenderedMessage, WordingError> {
    let mut values = TemplateValues::new();
    values.set("business_name", business);
    if let Some(name) = name {
        values.set_customer(name);
    }
    // An acknowledgement has no document, so the media mode does not matter.
    build_message(rule.templates(), language, &values, MediaMode::Link)
}

#[cfg(test)]
mod tests;
