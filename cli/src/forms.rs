//! Where a client's forms are looked at for what we need to know, in words: what is named, by what people agree, whose numbers
//! are greeted and how often. Beside what is wrong with a form, somebody wants to see what was meant.

use std::fmt::{self, Write as _};

use lead_first_touch::facts::{Fact, looked_for};
use shared::client_config::{Across, ClientConfig, ConsentRule, Form, Limit, OnRepeat, Span};

/// So many of the names that a fact is looked for under are shown.
const SHOWN: usize = 3;

/// Two lines for each form, after what is true of all of them.
pub(crate) fn list(config: &ClientConfig, text: &mut String) -> fmt::Result {
    if config.forms.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "Forms of `{}`. What is not named is taken from where its sender always has it, else found",
        config.client
    )?;
    writeln!(text, "by its usual names; `tellonce preview` shows in which field of a recorded submission:\n")?;
    for fact in Fact::ALL {
        let names = looked_for(fact);
        let more = if names.len() > SHOWN { ", …" } else { "" };
        writeln!(text, "  {:<13} {}{more}", fact.name(), names[..names.len().min(SHOWN)].join(", "))?;
    }
    writeln!(text)?;
    for (name, form) in &config.forms {
        writeln!(text, "  {name} ({}): {}", form.kind, named(form))?;
        writeln!(text, "      {}; {}", agreed(&form.consent), greeted(config, form))?;
    }
    writeln!(text)
}

/// Which facts stand where the client says.
fn named(form: &Form) -> String {
    let fields = Fact::ALL.iter().filter_map(|fact| Some((fact.name(), fact.configured(&form.fields)?)));
    let test = form.fields.test.as_deref().map(|field| ("test", field));
    let choice = form.choice.as_ref().map(|rule| ("choice", rule.field.as_str()));
    let named: Vec<_> = fields.chain(test).chain(choice).map(|(fact, field)| format!("{fact} in `{field}`")).collect();
    if named.is_empty() { "everything by its usual names".to_owned() } else { named.join(", ") }
}

fn agreed(rule: &ConsentRule) -> String {
    match rule {
        ConsentRule::Field { field, accepts } if accepts.is_empty() => format!("agreed by a yes in `{field}`"),
        ConsentRule::Field { field, accepts } => {
            let words: Vec<_> = accepts.iter().map(|word| format!("\"{word}\"")).collect();
            format!("agreed by a yes or {} in `{field}`", words.join(", "))
        }
        ConsentRule::Stated(stated) => format!("agreed by sending what says \"{stated}\""),
    }
}

/// Whose numbers, and how often.
fn greeted(config: &ClientConfig, form: &Form) -> String {
    let own = [form.country.as_ref().unwrap_or(&config.country).clone()];
    let countries = if form.countries.is_empty() { &own[..] } else { &form.countries };
    let across = match form.repeat.across {
        Across::Form => {
            let Limit { leads, within } = form.per_phone;
            format!("over this form, and {leads} times in {} over all", span(within))
        }
        Across::Forms => "over all forms".to_owned(),
    };
    let told = if form.repeat.then == OnRepeat::Escalate { ", else a human is told" } else { "" };
    let ids = if form.form_ids.is_empty() {
        String::new()
    } else {
        format!("; only of its forms {}", form.form_ids.join(", "))
    };
    format!(
        "numbers of {}, once in {} {across}{told}; held beyond {} leads in {}{ids}",
        countries.join(", "),
        span(form.repeat.within),
        form.burst.leads,
        span(form.burst.within)
    )
}

/// As somebody would write it in the file: `7d`.
fn span(Span(span): Span) -> String {
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
            assert_eq!(span(written.parse().unwrap()), written);
        }
        assert_eq!(span("24h".parse().unwrap()), "1d");
    }
}
