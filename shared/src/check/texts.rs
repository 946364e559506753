//! The texts: every one is made with examples, in every language, the way it will be made for a customer.

use jiff::SignedDuration;

use super::{Findings, Severity, instead, stores::can_report};
use crate::{
    client_config::{ClientConfig, MediaMode, MessageRule, Milestone, QuietHours},
    contact::Phone,
    line::EzwError,
    wording::{self, Kind, VARIABLES, Values, Variable, WordingError, variable_named},
};

/// News that is older than this is rarely news.
const RARELY_NEWS_HOURS: i64 = 14 * 24;
/// A message that is useful for less than this does not outlive the shortest outage.
const HARDLY_ANY_MINUTES: i64 = 15;
/// The longest text and the longest link that a value can be, in characters.
const LONGEST_VALUE: usize = 120;
const LONGEST_LINK: usize = 1000;

pub(super) fn look(config: &ClientConfig, findings: &mut Findings<'_>) {
    if config.messages.is_empty() {
        findings.warn(&[], "there is no message, so nothing will ever be told", "add [messages.ready]");
    }
    for (milestone, rule) in &config.messages {
        let name = milestone.name();
        if !config.stores.is_empty() && !config.stores.values().any(|it| can_report(it).contains(milestone)) {
            let remedy = "map a status or event of a store to it, or remove the message";
            findings.warn(&["messages", name], format!("no store ever reports `{name}`"), remedy);
        }
        timing(config, *milestone, rule, findings);
        let good_links = links(name, rule, findings);
        languages(config, name, "text", rule.text.keys(), findings);
        if let Some(button) = &rule.button {
            languages(config, name, "button", button.text.keys(), findings);
        }
        for language in config.languages.iter().filter(|_| good_links) {
            Text { config, name, rule, language }.look(findings);
        }
    }
}

fn timing(config: &ClientConfig, milestone: Milestone, rule: &MessageRule, findings: &mut Findings<'_>) {
    let path = ["messages", milestone.name(), "useful_for"];
    let span = rule.useful_for.0;
    if span.as_hours() / 24 >= i64::from(config.keep.ledger_days) {
        let what = "a message that waits so long is forgotten before it is sent";
        findings.error(
            &path,
            what,
            format!("make it shorter than keep.ledger_days ({} days)", config.keep.ledger_days),
        );
    } else if span > SignedDuration::from_hours(RARELY_NEWS_HOURS) {
        let what = format!("after {} days this is hardly news any more", span.as_hours() / 24);
        findings.warn(&path, what, "think of a customer who hears it after a long outage; 14 days are plenty");
    }
    if span < SignedDuration::from_mins(HARDLY_ANY_MINUTES) {
        let what = "a message that is useful for so short a time expires in the shortest outage";
        findings.warn(&path, what, "write at least 15m");
    }
    if let Some(hours) = config.quiet_hours
        && !rule.even_in_quiet_hours
        && span <= length(hours)
    {
        findings.warn(
            &path,
            "what happens when the quiet hours begin is no longer useful when they end, and is told to nobody",
            "make it longer than the quiet hours, or write even_in_quiet_hours = true",
        );
    }
    if rule.priority.is_some_and(|priority| priority > 100) {
        let remedy = "write 0 to 100; higher goes first after an outage";
        findings.error(&["messages", milestone.name(), "priority"], "a priority cannot be more than 100", remedy);
    }
}

fn length(hours: QuietHours) -> SignedDuration {
    let day = SignedDuration::from_hours(24);
    let span = hours.to.0.duration_since(hours.from.0);
    if span.is_negative() { span + day } else { span }
}

/// Whether button and document name variables that hold links; reports where not.
fn links(name: &str, rule: &MessageRule, findings: &mut Findings<'_>) -> bool {
    let links = || VARIABLES.iter().filter(|variable| variable.kind == Kind::Link).map(|variable| variable.name);
    let mut good = |path: &[&str], variable: &str| {
        match variable_named(variable) {
            Some(Variable { kind: Kind::Link, .. }) => return true,
            Some(_) => {
                let all: Vec<_> = links().map(|link| format!("`{link}`")).collect();
                findings.error(path, format!("`{variable}` holds no link"), format!("write one of {}", all.join(", ")));
            }
            None => findings.error(path, format!("there is no variable `{variable}`"), instead(variable, links())),
        }
        false
    };
    let button = rule.button.as_ref().is_none_or(|button| good(&["messages", name, "button", "url"], &button.url));
    let document = rule.document.as_ref().is_none_or(|document| good(&["messages", name, "document"], document));
    button && document
}

fn languages<'n>(
    config: &ClientConfig,
    name: &str,
    field: &str,
    there: impl Iterator<Item = &'n String> + Clone,
    findings: &mut Findings<'_>,
) {
    let (what, path) = if field == "text" {
        ("text", vec!["messages", name, "text"])
    } else {
        ("button", vec!["messages", name, "button", "text"])
    };
    for language in &config.languages {
        if !there.clone().any(|known| known == language) {
            let missing = format!("the {what} of `{name}` is missing in `{language}`");
            findings.error(&path, missing, "write it: a customer of that language gets no message otherwise");
        }
    }
    for extra in there.filter(|known| !config.languages.contains(known)) {
        let mut path = path.clone();
        path.push(extra);
        let remedy = format!("add `{extra}` to languages, or remove this {what}");
        findings.warn(&path, format!("nobody is written to in `{extra}`"), remedy);
    }
}

/// One message in one language.
#[derive(Clone, Copy)]
struct Text<'a> {
    config: &'a ClientConfig,
    name: &'a str,
    rule: &'a MessageRule,
    language: &'a str,
}

impl<'a> Text<'a> {
    fn look(self, findings: &mut Findings<'_>) {
        let text_path = ["messages", self.name, "text", self.language];
        let label_path = ["messages", self.name, "button", "text", self.language];
        let label = self.rule.button.as_ref().map(|button| button.text.get(self.language));
        // A text that is missing has been reported; there is nothing to make.
        let Some(text) = self.rule.text.get(self.language) else { return };
        let templates = match label {
            None => vec![(text, &text_path[..])],
            Some(Some(label)) => vec![(text, &text_path[..]), (label, &label_path[..])],
            Some(None) => return,
        };
        let all = Values::examples(true);
        if !templates.iter().fold(true, |good, (template, path)| compiles(template, &all, path, findings) && good) {
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
            bare(template, path, findings);
        }
        let nothing_left = wording::fill(text, &Values::examples(false)).is_ok_and(|text| text.is_empty());
        if nothing_left {
            let remedy = "keep at least one sentence outside of every {% if … %}";
            findings.warn(
                &text_path,
                "for an order that has none of the values asked for, nothing is left to say",
                remedy,
            );
        }
        if let Some(Err(error)) = self.payload(&longest(), MediaMode::Link) {
            let (path, _) = self.explain(error);
            let remedy = "leave out what comes from outside, or cut it: {{ tracking_company[:12] }}";
            findings.warn(&path, format!("{error} when a store sends long values; then nothing is sent"), remedy);
        }
    }

    /// The very message as `EZWhatsApp` would get it, if it can be made with these values.
    fn payload(self, values: &Values, media: MediaMode) -> Option<Result<(), EzwError>> {
        let message = wording::message(self.rule, self.language, values, media).ok()?;
        let somebody = Phone::from_e164("+972501234567").ok()?;
        Some(message.payload(&somebody).map(drop))
    }

    /// Where a message that would not be taken is wrong, and what to do.
    fn explain(self, error: EzwError) -> (Vec<&'a str>, &'static str) {
        match error {
            EzwError::EmptyText => {
                (vec!["messages", self.name, "text", self.language], "write what the customer shall read")
            }
            EzwError::LongText => (vec!["messages", self.name, "text", self.language], "shorten it"),
            EzwError::ButtonText => {
                (vec!["messages", self.name, "button", "text", self.language], "shorten it, like \"Track parcel\"")
            }
            EzwError::Link => (vec!["messages", self.name, "button", "url"], "name a variable that holds a link"),
        }
    }
}

/// Whether a template can be filled for an order that has every value; reports why not.
fn compiles(template: &str, all: &Values, path: &[&str], findings: &mut Findings<'_>) -> bool {
    let used = match wording::names_used(template) {
        Ok(used) => used,
        Err(error) => return wrong(&error, path, findings),
    };
    let mut known = true;
    for name in used.iter().filter(|name| variable_named(name).is_none()) {
        let line = template.lines().position(|line| holds_word(line, name)).map_or(1, |line| line + 1);
        let line = findings.source.line_in_text(path, line);
        let names = VARIABLES.iter().map(|variable| variable.name);
        findings.add(Severity::Error, line, format!("texts know no variable `{name}`"), instead(name, names));
        known = false;
    }
    known && wording::fill(template, all).map_or_else(|error| wrong(&error, path, findings), |_| true)
}

fn wrong(error: &WordingError, path: &[&str], findings: &mut Findings<'_>) -> bool {
    let (line, what) = match error {
        WordingError::Template { line, kind } => (*line, format!("the template is wrong here: {kind}")),
        WordingError::ValueMissing(line) => (*line, "this has no value even when an order has them all".to_owned()),
        WordingError::NoText(_) | WordingError::DocumentMissing(_) => (1, error.to_string()),
    };
    let line = findings.source.line_in_text(path, line);
    let remedy = "write values as {{ name }} and conditions as {% if name %}…{% endif %} (docs/configuration.md)";
    findings.add(Severity::Error, line, what, remedy.to_owned());
    false
}

fn holds_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// Warns of values that a template prints without asking for them: orders that lack one get no message.
fn bare(template: &str, path: &[&str], findings: &mut Findings<'_>) {
    let used = wording::names_used(template).unwrap_or_default();
    for variable in
        VARIABLES.iter().filter(|variable| !variable.always && used.iter().any(|name| name == variable.name))
    {
        let mut without = Values::new();
        for other in VARIABLES.iter().filter(|other| other.name != variable.name) {
            without.set(other.name, other.example);
        }
        if let Err(WordingError::ValueMissing(line)) = wording::fill(template, &without) {
            let line = findings.source.line_in_text(path, line);
            let name = variable.name;
            let what = format!("an order without `{name}` ({}) gets no message at all", variable.meaning);
            let remedy =
                format!("if that shall not be, ask first: {{% if {name} %}} … {{{{ {name} }}}} … {{% endif %}}");
            findings.add(Severity::Warning, line, what, remedy);
        }
    }
}

/// A value for every variable, as long as a store can make it.
fn longest() -> Values {
    let mut values = Values::new();
    for variable in VARIABLES {
        match variable.kind {
            Kind::Name | Kind::Text => values.set(variable.name, &"x".repeat(LONGEST_VALUE)),
            Kind::Link => values.set(variable.name, &format!("https://shop.example/{}", "x".repeat(LONGEST_LINK))),
        }
    }
    values
}
