//! The texts. Each one is rendered with example values in every language, as it is for a customer.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{FindingCollector, Severity, client::has_language_codes, suggest_name};
use tellonce_core::{
    client_config::{ClientConfig, MediaMode, MessageTemplates},
    contact::Phone,
    provider::MessageRejected,
    wording::{
        self, TemplateTopic, TemplateValues, TemplateVariable, VariableKind, WordingError, find_variable_by_name,
    },
};

/// A message that is useful for a shorter time expires in the shortest outage.
const MIN_USEFUL_MINUTES: i64 = 15;
/// The longest text and the longest link of a value, in characters.
const MAX_VALUE_CHARS: usize = 120;
const MAX_LINK_CHARS: usize = 1000;
/// The start of the example appointment, 10:30 in Israel. Its texts are nearly as long as they can
/// be.
const EXAMPLE_START: Timestamp = Timestamp::constant(1_795_509_000, 0);

/// Checks the templates of a rule. `at` is the keys that lead to the rule.
pub(super) fn check_templates(
    config: &ClientConfig,
    topic: TemplateTopic,
    at: &[&str],
    texts: MessageTemplates<'_>,
    findings: &mut FindingCollector<'_>,
) {
    let good_links = check_links(topic, at, texts, findings);
    if !has_language_codes(config) {
        return;
    }
    check_languages(config, at, &["text"], texts.text.keys(), findings);
    if let Some(button) = texts.button {
        check_languages(config, at, &["button", "text"], button.text.keys(), findings);
    }
    for language in config.languages.iter().filter(|_| good_links) {
        RuleText { config, topic, at, templates: texts, language }.check(findings);
    }
}

/// Checks the priority after an outage.
pub(super) fn check_priority(priority: Option<u8>, at: &[&str], findings: &mut FindingCollector<'_>) {
    if priority.is_some_and(|priority| priority > 100) {
        let remedy = "write 0 to 100; a higher one is sent first after an outage";
        findings.add_error(&join_path(at, &["priority"]), "a priority cannot be more than 100", remedy);
    }
}

/// Reports a duration that is too short.
pub(super) fn check_minimum_duration(useful_for: SignedDuration, path: &[&str], findings: &mut FindingCollector<'_>) {
    if useful_for < SignedDuration::from_mins(MIN_USEFUL_MINUTES) {
        let what = "a message that is useful for so short a time expires in the shortest outage";
        findings.add_warning(path, what, "write at least 15m");
    }
}

fn join_path<'a>(at: &[&'a str], keys: &[&'a str]) -> Vec<&'a str> {
    [at, keys].concat()
}

/// Whether a text can be rendered with its button and document. Reports a button or document whose
/// variable is not a link.
fn check_links(
    topic: TemplateTopic,
    at: &[&str],
    texts: MessageTemplates<'_>,
    findings: &mut FindingCollector<'_>,
) -> bool {
    if topic.variables().all(|variable| variable.kind != VariableKind::Link) {
        let there = [("button", texts.button.is_some()), ("document", texts.document.is_some())];
        for (key, _) in there.iter().filter(|(_, there)| *there) {
            let what = format!("{} has no link, so it can have no {key}", topic.with_article());
            findings.add_error(&join_path(at, &[key]), what, "remove it; write a link of your own into the text");
        }
        // The text is rendered without button and document, so it can still be checked.
        return true;
    }
    let links =
        || topic.variables().filter(|variable| variable.kind == VariableKind::Link).map(|variable| variable.name);
    let mut good = |keys: &[&str], variable: &str| {
        let path = join_path(at, keys);
        match topic.find_variable(variable) {
            Some(TemplateVariable { kind: VariableKind::Link, .. }) => return true,
            Some(_) => {
                let all: Vec<_> = links().map(|link| format!("`{link}`")).collect();
                let remedy =
                    if let [only] = all.as_slice() { only.clone() } else { format!("one of {}", all.join(", ")) };
                findings.add_error(&path, format!("`{variable}` is not a link"), format!("write {remedy}"));
            }
            None => {
                findings.add_error(&path, unknown_variable_problem(topic, variable), suggest_name(variable, links()));
            }
        }
        false
    };
    let button = texts.button.is_none_or(|button| good(&["button", "url"], &button.url));
    let document = texts.document.is_none_or(|document| good(&["document"], document));
    button && document
}

/// Checks the languages of a text, or of a button's text.
fn check_languages<'n>(
    config: &ClientConfig,
    at: &[&str],
    keys: &[&str],
    there: impl Iterator<Item = &'n String> + Clone,
    findings: &mut FindingCollector<'_>,
) {
    let what = keys.first().copied().unwrap_or_default();
    let name = at.last().copied().unwrap_or_default();
    let path = join_path(at, keys);
    for language in &config.languages {
        if !there.clone().any(|known| known == language) {
            let missing = format!("the {what} of `{name}` is missing in `{language}`");
            findings.add_error(&path, missing, "write it: a customer of that language gets no message otherwise");
        }
    }
    for extra in there.filter(|known| !config.languages.contains(known)) {
        let remedy = format!("add `{extra}` to languages, or remove this {what}");
        findings.add_warning(&join_path(&path, &[extra]), format!("no message is sent in `{extra}`"), remedy);
    }
}

/// The templates of one rule in one language.
#[derive(Clone, Copy)]
struct RuleText<'a> {
    config: &'a ClientConfig,
    topic: TemplateTopic,
    at: &'a [&'a str],
    templates: MessageTemplates<'a>,
    language: &'a str,
}

impl<'a> RuleText<'a> {
    fn check(self, findings: &mut FindingCollector<'_>) {
        let text_path = self.text_path();
        let label_path = self.label_path();
        let label = self.templates.button.map(|button| button.text.get(self.language));
        // A missing text has a finding already.
        let Some(text) = self.templates.text.get(self.language) else { return };
        let templates = match label {
            None => vec![(text, &text_path)],
            Some(Some(label)) => vec![(text, &text_path), (label, &label_path)],
            Some(None) => return,
        };
        let all = self.with_start(TemplateValues::from_examples(self.topic, true));
        if !templates
            .iter()
            .fold(true, |good, (template, path)| self.check_compiles(template, &all, path, findings) && good)
        {
            return;
        }
        for media in [MediaMode::Link, MediaMode::AttachmentExperimental] {
            let used = media == MediaMode::Link || self.config.lines.values().any(|line| line.media == media);
            if let (true, Some(Err(error))) = (used, self.build_payload(&all, media)) {
                let (path, remedy) = self.explain_error(error);
                findings.add_error(&path, format!("{error}, made with example values"), remedy);
                return;
            }
        }
        for (template, path) in &templates {
            self.warn_unguarded_values(template, path, findings);
        }
        let nothing_left = wording::render_template(text, &TemplateValues::from_examples(self.topic, false))
            .is_ok_and(|text| text.is_empty());
        if nothing_left {
            let what = format!("for {} without any of these values, the text is empty", self.topic.with_article());
            findings.add_warning(&text_path, what, "keep at least one sentence outside of every {% if … %}");
        }
        if let Some(Err(error)) = self.build_payload(&self.longest_values(), MediaMode::Link) {
            let (path, _) = self.explain_error(error);
            let remedy = "leave out received values, or cut them, like {{ name[:12] }}";
            findings.add_warning(
                &path,
                format!("{error} when the values in it are long; then the message is not sent"),
                remedy,
            );
        }
    }

    fn text_path(self) -> Vec<&'a str> {
        join_path(self.at, &["text", self.language])
    }

    fn label_path(self) -> Vec<&'a str> {
        join_path(self.at, &["button", "text", self.language])
    }

    /// The rendered message as the provider would receive it, if these values can render it.
    fn build_payload(self, values: &TemplateValues, media: MediaMode) -> Option<Result<(), MessageRejected>> {
        let message = wording::build_message(self.templates, self.language, values, media).ok()?;
        let recipient = Phone::from_e164("+972501234567").ok()?;
        Some(message.build_payload(&recipient).map(drop))
    }

    /// The place of a problem that the provider would refuse, and the remedy.
    fn explain_error(self, error: MessageRejected) -> (Vec<&'a str>, &'static str) {
        match error {
            MessageRejected::EmptyText => (self.text_path(), "write what the customer shall read"),
            MessageRejected::TextTooLong { .. } => (self.text_path(), "shorten it"),
            MessageRejected::InvalidButtonText { .. } => (self.label_path(), "shorten it, like \"Track parcel\""),
            MessageRejected::InvalidLink => (join_path(self.at, &["button", "url"]), "name a variable that is a link"),
        }
    }

    /// Whether a template renders with all values. Reports the reason if it does not.
    fn check_compiles(
        self,
        template: &str,
        all: &TemplateValues,
        path: &[&str],
        findings: &mut FindingCollector<'_>,
    ) -> bool {
        let used = match wording::used_variable_names(template) {
            Ok(used) => used,
            Err(error) => return report_template_error(&error, path, findings),
        };
        let mut known = true;
        for name in used.iter().filter(|name| self.topic.find_variable(name).is_none()) {
            let line = line_of_name(template, name, path, findings);
            let names = self.topic.variables().map(|variable| variable.name);
            findings.add_finding(
                Severity::Error,
                line,
                unknown_variable_problem(self.topic, name),
                suggest_name(name, names),
            );
            known = false;
        }
        known
            && wording::render_template(template, all)
                .map_or_else(|error| report_template_error(&error, path, findings), |_| true)
    }

    /// Warns of values that a template prints without a condition. A customer without such a value
    /// gets no message.
    fn warn_unguarded_values(self, template: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
        let used = wording::used_variable_names(template).unwrap_or_default();
        let printed =
            |variable: &&TemplateVariable| !variable.always_present && used.iter().any(|name| name == variable.name);
        for variable in self.topic.variables().filter(printed) {
            let mut without = TemplateValues::new();
            for other in self.topic.variables().filter(|other| other.name != variable.name) {
                without.set(other.name, other.example);
            }
            if let Err(WordingError::ValueMissing(line)) = wording::render_template(template, &without) {
                let line = findings.source.line_in_text(path, line);
                let (one, name, meaning) = (self.topic.with_article(), variable.name, variable.meaning);
                let what = format!("{one} without `{name}` ({meaning}) gets no message at all");
                let remedy = format!(
                    "to send it anyway, write a condition: {{% if {name} %}} … {{{{ {name} }}}} … {{% endif %}}"
                );
                findings.add_finding(Severity::Warning, line, what, remedy);
            }
        }
    }

    /// A value for every variable, as long as a sender can make it.
    fn longest_values(self) -> TemplateValues {
        let mut values = TemplateValues::new();
        for variable in self.topic.variables() {
            match variable.kind {
                VariableKind::Name | VariableKind::Text => values.set(variable.name, &"x".repeat(MAX_VALUE_CHARS)),
                VariableKind::Link => {
                    values.set(variable.name, &format!("https://shop.example/{}", "x".repeat(MAX_LINK_CHARS)));
                }
            }
        }
        self.with_start(values)
    }

    /// Adds the times of an appointment in this language.
    fn with_start(self, mut values: TemplateValues) -> TemplateValues {
        if self.topic == TemplateTopic::Appointment {
            let zone = TimeZone::get(&self.config.time_zone).unwrap_or(TimeZone::UTC);
            values.set_start(EXAMPLE_START, &zone, self.language, &self.config.country);
        }
        values
    }
}

/// The problem of a name that texts about this topic do not have.
fn unknown_variable_problem(topic: TemplateTopic, name: &str) -> String {
    if find_variable_by_name(name).is_some() {
        format!("`{name}` has no value in texts about {}", topic.with_article())
    } else {
        format!("texts have no variable `{name}`")
    }
}

fn report_template_error(error: &WordingError, path: &[&str], findings: &mut FindingCollector<'_>) -> bool {
    let (line, what) = match error {
        WordingError::Template { line, kind } => (*line, format!("the template is wrong here: {kind}")),
        WordingError::ValueMissing(line) => (*line, "this has no value even if all values are known".to_owned()),
        WordingError::NoText(_) | WordingError::DocumentMissing(_) => (1, error.to_string()),
    };
    let line = findings.source.line_in_text(path, line);
    let remedy = "write values as {{ name }} and conditions as {% if name %}…{% endif %} (docs/configuration.md)";
    findings.add_finding(Severity::Error, line, what, remedy.to_owned());
    false
}

/// The line of the file on which a template first uses a name.
pub(super) fn line_of_name(template: &str, name: &str, path: &[&str], findings: &FindingCollector<'_>) -> usize {
    let holds = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == name);
    let line = template.lines().position(holds).map_or(1, |line| line + 1);
    findings.source.line_in_text(path, line)
}
