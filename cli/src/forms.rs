//! The settings of a client's forms in words: the field of each fact, the proof of consent, and
//! which numbers are greeted how often. An agency developer compares them with what was meant.

use std::fmt::{self, Write as _};

use lead_first_touch::facts::{LeadFact, usual_names};
use tellonce_core::client_config::{
    ClientConfig, ConsentRule, FormConfig, LeadLimit, RepeatAction, RepeatScope, TimeSpan,
};

/// Usual names shown for each fact.
const MAX_SHOWN_NAMES: usize = 3;

/// Writes the usual names of each fact, then two lines for each form.
pub(crate) fn list_forms(config: &ClientConfig, text: &mut String) -> fmt::Result {
    if config.forms.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "Forms of `{}`. A fact without a configured field is read from the sender's standard field, else by its",
        config.client
    )?;
    writeln!(text, "usual names. `tellonce preview` shows the field in a recorded submission:\n")?;
    for fact in LeadFact::ALL {
        let names = usual_names(fact);
        let more = if names.len() > MAX_SHOWN_NAMES { ", …" } else { "" };
        writeln!(text, "  {:<13} {}{more}", fact.config_name(), names[..names.len().min(MAX_SHOWN_NAMES)].join(", "))?;
    }
    writeln!(text)?;
    for (name, form) in &config.forms {
        writeln!(text, "  {name} ({}): {}", form.kind, describe_fields(form))?;
        writeln!(text, "      {}; {}", describe_consent(&form.consent), describe_greetings(config, form))?;
    }
    writeln!(text)
}

/// The facts with a configured field.
fn describe_fields(form: &FormConfig) -> String {
    let fields =
        LeadFact::ALL.iter().filter_map(|fact| Some((fact.config_name(), fact.configured_field(&form.fields)?)));
    let test = form.fields.test.as_deref().map(|field| ("test", field));
    let choice = form.choice.as_ref().map(|rule| ("choice", rule.field.as_str()));
    let named: Vec<_> = fields.chain(test).chain(choice).map(|(fact, field)| format!("{fact} in `{field}`")).collect();
    if named.is_empty() { "all facts by their usual names".to_owned() } else { named.join(", ") }
}

fn describe_consent(rule: &ConsentRule) -> String {
    match rule {
        ConsentRule::Field { field, accepts } if accepts.is_empty() => format!("consent: a yes in `{field}`"),
        ConsentRule::Field { field, accepts } => {
            let words: Vec<_> = accepts.iter().map(|word| format!("\"{word}\"")).collect();
            format!("consent: a yes or {} in `{field}`", words.join(", "))
        }
        ConsentRule::Stated(stated) => format!("consent: submitting the form, which states \"{stated}\""),
    }
}

/// Which numbers are greeted, and how often.
fn describe_greetings(config: &ClientConfig, form: &FormConfig) -> String {
    let own = [form.country.as_ref().unwrap_or(&config.country).clone()];
    let countries = if form.countries.is_empty() { &own[..] } else { &form.countries };
    let across = match form.repeat.across {
        RepeatScope::Form => {
            let LeadLimit { leads, within } = form.per_phone;
            format!("by this form, and {leads} times in {} by all forms", format_span(within))
        }
        RepeatScope::Forms => "by all forms".to_owned(),
    };
    let escalation = if form.repeat.then == RepeatAction::Escalate { ", repeats alert the team" } else { "" };
    let ids =
        if form.form_ids.is_empty() { String::new() } else { format!("; only form ids {}", form.form_ids.join(", ")) };
    format!(
        "numbers of {}, greeted once in {} {across}{escalation}; held after {} leads in {} or {} in {}{ids}",
        countries.join(", "),
        format_span(form.repeat.within),
        form.limits.burst.leads,
        format_span(form.limits.burst.within),
        form.limits.sustained.leads,
        format_span(form.limits.sustained.within)
    )
}

/// A time span as in client.toml: `7d`.
fn format_span(TimeSpan(span): TimeSpan) -> String {
    let minutes = span.as_mins();
    match (minutes % 1440, minutes % 60) {
        (0, _) => format!("{}d", minutes / 1440),
        (_, 0) => format!("{}h", minutes / 60),
        _ => format!("{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_in_the_file() {
        for written in ["7d", "36h", "90m", "10m", "1d"] {
            assert_eq!(format_span(written.parse().unwrap()), written);
        }
        assert_eq!(format_span("24h".parse().unwrap()), "1d");
    }
}
