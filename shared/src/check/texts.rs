//! The texts: every one is made with examples, in every language, the way it will be made for a customer.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{Findings, Severity, instead};
use crate::{
    client_config::{ClientConfig, MediaMode, Texts},
    contact::Phone,
    line::EzwError,
    wording::{self, Kind, Topic, Values, Variable, WordingError, variable_named},
};

/// What is useful for less than this does not outlive the shortest outage.
const HARDLY_ANY_MINUTES: i64 = 15;
/// The longest text and the longest link that a value can be, in characters.
const LONGEST_VALUE: usize = 120;
const LONGEST_LINK: usize = 1000;
/// When the appointment of the examples begins, 10:30 in Israel: its texts are as long as they get, or nearly.
const EXAMPLE_START: Timestamp = Timestamp::constant(1_795_509_000, 0);

/// Looks at what a rule says, by the keys that lead to the rule.
pub(super) fn look(config: &ClientConfig, topic: Topic, at: &[&str], texts: Texts<'_>, findings: &mut Findings<'_>) {
    let good_links = links(topic, at, texts, findings);
    languages(config, at, &["text"], texts.text.keys(), findings);
    if let Some(button) = texts.button {
        languages(config, at, &["button", "text"], button.text.keys(), findings);
    }
    for language in config.languages.iter().filter(|_| good_links) {
        Text { config, topic, at, texts, language }.look(findings);
    }
}

/// Looks at who goes first after an outage.
pub(super) fn priority(priority: Option<u8>, at: &[&str], findings: &mut Findings<'_>) {
    if priority.is_some_and(|priority| priority > 100) {
        let remedy = "write 0 to 100; higher goes first after an outage";
        findings.error(&below(at, &["priority"]), "a priority cannot be more than 100", remedy);
    }
}

/// Looks at how long something is worth saying.
pub(super) fn lasts(useful_for: SignedDuration, path: &[&str], findings: &mut Findings<'_>) {
    if useful_for < SignedDuration::from_mins(HARDLY_ANY_MINUTES) {
        let what = "a message that is useful for so short a time expires in the shortest outage";
        findings.warn(path, what, "write at least 15m");
    }
}

fn below<'a>(at: &[&'a str], keys: &[&'a str]) -> Vec<&'a str> {
    [at, keys].concat()
}

/// Whether a text can be made with its button and document; reports where they name nothing that holds a link.
fn links(topic: Topic, at: &[&str], texts: Texts<'_>, findings: &mut Findings<'_>) -> bool {
    if topic.variables().all(|variable| variable.kind != Kind::Link) {
        let there = [("button", texts.button.is_some()), ("document", texts.document.is_some())];
        for (key, _) in there.iter().filter(|(_, there)| *there) {
            let what = format!("{} brings no link, so there is no {key}", topic.one());
            findings.error(&below(at, &[key]), what, "remove it; a link of your own can stand in the text");
        }
        // Neither takes part in making a text then, so the text can be looked at all the same.
        return true;
    }
    let links = || topic.variables().filter(|variable| variable.kind == Kind::Link).map(|variable| variable.name);
    let mut good = |keys: &[&str], variable: &str| {
        let path = below(at, keys);
        match topic.variable(variable) {
            Some(Variable { kind: Kind::Link, .. }) => return true,
            Some(_) => {
                let all: Vec<_> = links().map(|link| format!("`{link}`")).collect();
                let remedy =
                    if let [only] = all.as_slice() { only.clone() } else { format!("one of {}", all.join(", ")) };
                findings.error(&path, format!("`{variable}` holds no link"), format!("write {remedy}"));
            }
            None => findings.error(&path, unknown(topic, variable), instead(variable, links())),
        }
        false
    };
    let button = texts.button.is_none_or(|button| good(&["button", "url"], &button.url));
    let document = texts.document.is_none_or(|document| good(&["document"], document));
    button && document
}

/// Looks at which languages a text, or a button's text, is there in.
fn languages<'n>(
    config: &ClientConfig,
    at: &[&str],
    keys: &[&str],
    there: impl Iterator<Item = &'n String> + Clone,
    findings: &mut Findings<'_>,
) {
    let what = keys.first().copied().unwrap_or_default();
    let name = at.last().copied().unwrap_or_default();
    let path = below(at, keys);
    for language in &config.languages {
        if !there.clone().any(|known| known == language) {
            let missing = format!("the {what} of `{name}` is missing in `{language}`");
            findings.error(&path, missing, "write it: a customer of that language gets no message otherwise");
        }
    }
    for extra in there.filter(|known| !config.languages.contains(known)) {
        let remedy = format!("add `{extra}` to languages, or remove this {what}");
        findings.warn(&below(&path, &[extra]), format!("nobody is written to in `{extra}`"), remedy);
    }
}

/// What one rule says in one language.
#[derive(Clone, Copy)]
struct Text<'a> {
    config: &'a ClientConfig,
    topic: Topic,
    at: &'a [&'a str],
    texts: Texts<'a>,
    language: &'a str,
}

impl<'a> Text<'a> {
    fn look(self, findings: &mut Findings<'_>) {
        let text_path = self.text_path();
        let label_path = self.label_path();
        let label = self.texts.button.map(|button| button.text.get(self.language));
        // A text that is missing has been reported; there is nothing to make.
        let Some(text) = self.texts.text.get(self.language) else { return };
        let templates = match label {
            None => vec![(text, &text_path)],
            Some(Some(label)) => vec![(text, &text_path), (label, &label_path)],
            Some(None) => return,
        };
        let all = self.with_start(Values::examples(self.topic, true));
        if !templates.iter().fold(true, |good, (template, path)| self.compiles(template, &all, path, findings) && good)
        {
            return;
        }
        for media in [MediaMode::Link, MediaMode::Assumed] {
            let used = media == MediaMode::Link || self.config.lines.values().any(|line| line.media == media);
            if let (true, Some(Err(error))) = (used, self.payload(&all, media)) {
                let (path, remedy) = self.explain(error);
                findings.error(&path, format!("{error}, made with example values"), remedy);
                return;
            }
        }
        for (template, path) in &templates {
            self.bare(template, path, findings);
        }
        let nothing_left = wording::fill(text, &Values::examples(self.topic, false)).is_ok_and(|text| text.is_empty());
        if nothing_left {
            let what =
                format!("for {} that has none of the values asked for, nothing is left to say", self.topic.one());
            findings.warn(&text_path, what, "keep at least one sentence outside of every {% if … %}");
        }
        if let Some(Err(error)) = self.payload(&self.longest(), MediaMode::Link) {
            let (path, _) = self.explain(error);
            let remedy = "leave out what comes from outside, or cut it, like {{ name[:12] }}";
            findings.warn(&path, format!("{error} when the values in it are long; then nothing is sent"), remedy);
        }
    }

    fn text_path(self) -> Vec<&'a str> {
        below(self.at, &["text", self.language])
    }

    fn label_path(self) -> Vec<&'a str> {
        below(self.at, &["button", "text", self.language])
    }

    /// The very message as `EZWhatsApp` would get it, if it can be made with these values.
    fn payload(self, values: &Values, media: MediaMode) -> Option<Result<(), EzwError>> {
        let message = wording::message(self.texts, self.language, values, media).ok()?;
        let somebody = Phone::from_e164("+972501234567").ok()?;
        Some(message.payload(&somebody).map(drop))
    }

    /// Where a message that would not be taken is wrong, and what to do.
    fn explain(self, error: EzwError) -> (Vec<&'a str>, &'static str) {
        match error {
            EzwError::EmptyText => (self.text_path(), "write what the customer shall read"),
            EzwError::LongText => (self.text_path(), "shorten it"),
            EzwError::ButtonText => (self.label_path(), "shorten it, like \"Track parcel\""),
            EzwError::Link => (below(self.at, &["button", "url"]), "name a variable that holds a link"),
        }
    }

    /// Whether a template can be filled where every value is known; reports why not.
    fn compiles(self, template: &str, all: &Values, path: &[&str], findings: &mut Findings<'_>) -> bool {
        let used = match wording::names_used(template) {
            Ok(used) => used,
            Err(error) => return wrong(&error, path, findings),
        };
        let mut known = true;
        for name in used.iter().filter(|name| self.topic.variable(name).is_none()) {
            let line = line_of_name(template, name, path, findings);
            let names = self.topic.variables().map(|variable| variable.name);
            findings.add(Severity::Error, line, unknown(self.topic, name), instead(name, names));
            known = false;
        }
        known && wording::fill(template, all).map_or_else(|error| wrong(&error, path, findings), |_| true)
    }

    /// Warns of values that a template prints without asking for them: who lacks one gets no message.
    fn bare(self, template: &str, path: &[&str], findings: &mut Findings<'_>) {
        let used = wording::names_used(template).unwrap_or_default();
        let printed = |variable: &&Variable| !variable.always && used.iter().any(|name| name == variable.name);
        for variable in self.topic.variables().filter(printed) {
            let mut without = Values::new();
            for other in self.topic.variables().filter(|other| other.name != variable.name) {
                without.set(other.name, other.example);
            }
            if let Err(WordingError::ValueMissing(line)) = wording::fill(template, &without) {
                let line = findings.source.line_in_text(path, line);
                let (one, name, meaning) = (self.topic.one(), variable.name, variable.meaning);
                let what = format!("{one} without `{name}` ({meaning}) gets no message at all");
                let remedy =
                    format!("if that shall not be, ask first: {{% if {name} %}} … {{{{ {name} }}}} … {{% endif %}}");
                findings.add(Severity::Warning, line, what, remedy);
            }
        }
    }

    /// A value for every variable, as long as a sender can make it.
    fn longest(self) -> Values {
        let mut values = Values::new();
        for variable in self.topic.variables() {
            match variable.kind {
                Kind::Name | Kind::Text => values.set(variable.name, &"x".repeat(LONGEST_VALUE)),
                Kind::Link => values.set(variable.name, &format!("https://shop.example/{}", "x".repeat(LONGEST_LINK))),
            }
        }
        self.with_start(values)
    }

    /// With the times of an appointment as this language writes them.
    fn with_start(self, mut values: Values) -> Values {
        if self.topic == Topic::Appointment {
            let zone = TimeZone::get(&self.config.time_zone).unwrap_or(TimeZone::UTC);
            values.set_start(EXAMPLE_START, &zone, self.language, &self.config.country);
        }
        values
    }
}

/// What to say of a name that texts about this topic do not know.
fn unknown(topic: Topic, name: &str) -> String {
    if variable_named(name).is_some() {
        format!("`{name}` has no value where {} is spoken of", topic.one())
    } else {
        format!("texts know no variable `{name}`")
    }
}

fn wrong(error: &WordingError, path: &[&str], findings: &mut Findings<'_>) -> bool {
    let (line, what) = match error {
        WordingError::Template { line, kind } => (*line, format!("the template is wrong here: {kind}")),
        WordingError::ValueMissing(line) => (*line, "this has no value even when all are there".to_owned()),
        WordingError::NoText(_) | WordingError::DocumentMissing(_) => (1, error.to_string()),
    };
    let line = findings.source.line_in_text(path, line);
    let remedy = "write values as {{ name }} and conditions as {% if name %}…{% endif %} (docs/configuration.md)";
    findings.add(Severity::Error, line, what, remedy.to_owned());
    false
}

/// The line of the file on which a template first uses a name.
pub(super) fn line_of_name(template: &str, name: &str, path: &[&str], findings: &Findings<'_>) -> usize {
    let holds = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == name);
    let line = template.lines().position(holds).map_or(1, |line| line + 1);
    findings.source.line_in_text(path, line)
}
