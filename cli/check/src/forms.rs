//! The forms: names, proofs, fields, consent, limits and first touches.

use std::{collections::BTreeSet, ops::RangeInclusive};

use jiff::SignedDuration;

use super::{
    FindingCollector, Severity, client,
    id_scopes::{self, IdScopeTable, SenderIdScope},
    kind_settings::check_kind_settings,
    messages::{self, LatenessRule},
    names::{add_shared_name, check_name, check_shown_name, suggest_name},
    stores::check_header_name,
    texts,
};
use tellonce_core::{
    client_config::{
        ChoiceRule, ClientConfig, ConsentRule, FormConfig, FormFields, FormLimits, FormScheme, LeadLimit, NO_ANSWERS,
        RepeatScope, TimeSpan,
    },
    wording::{self, TemplateTopic},
};

/// Possible numbers of leads in a limit.
const LEADS_RANGE: RangeInclusive<u32> = 1..=100_000;
const LIMIT_WINDOW_RANGE: RangeInclusive<SignedDuration> =
    SignedDuration::from_mins(1)..=SignedDuration::from_hours(7 * 24);
/// How long a greeting can prevent another one.
const REPEAT_WINDOW_RANGE: RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(1)..=SignedDuration::from_hours(90 * 24);
/// A lead has forgotten the form after a week, or has asked a competitor.
const FIRST_TOUCH_LATENESS: LatenessRule = LatenessRule {
    days: 7,
    description: "too late for an answer",
    advice: "the lead has probably gone elsewhere by then; a day or two is usual, 7 days are the most",
};

pub(super) fn check_forms(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    for (name, form) in &config.forms {
        check_names(config, name, form, findings);
        check_proof(config, name, form, findings);
        check_fields(name, form, findings);
        let at = |field: &'static str| ["forms", name.as_str(), field];
        client::check_line_exists(config, &form.line, &at("line"), findings);
        check_countries_and_language(config, name, form, findings);
        check_consent(form, &at("consent"), findings);
        check_limits(config, name, form, findings);
        check_first_touch(config, name, form, findings);
    }
    id_scopes::check_id_scopes(&id_scope_table(config), findings);
}

fn check_names(config: &ClientConfig, name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    check_name(["forms", name], "a form", "its URL and of a secret's name", findings);
    let others = [("store", config.stores.contains_key(name)), ("calendar", config.calendars.contains_key(name))];
    for (other, _) in others.iter().filter(|(_, there)| *there) {
        add_shared_name(config, ["forms", name], other, findings);
    }
    check_shown_name(["forms", name], "form", form.name.as_deref(), findings);
}

/// Checks the proof of deliveries, and that the inbox recognises their repeats.
fn check_proof(config: &ClientConfig, name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    let path = ["forms", name, "verify"];
    let facts = form.kind.facts();
    match &form.verify {
        FormScheme::StaticHeader { header } => check_header_name(header, &path, findings),
        FormScheme::SecretPath if facts.handshake_secret.is_some() => findings.add_error(
            &path,
            format!("{} tests an address before it posts, and a secret address cannot answer the test", facts.label),
            format!("write {{ scheme = \"signature\" }}, or leave `verify` out: {} signs every delivery", facts.label),
        ),
        FormScheme::SecretPath if facts.own_proof.is_some() => findings.add_warning(
            &path,
            format!("a {} form has a better proof than a secret address, which appears in many logs", form.kind),
            "write { scheme = \"signature\" }, unless the sender cannot be configured to sign",
        ),
        FormScheme::Signature | FormScheme::StandardWebhooks | FormScheme::SecretPath => {}
    }
    let is_browsers = form.verify == FormScheme::SecretPath;
    if form.thanks_url.is_some() && !is_browsers {
        findings.add_warning(
            &["forms", name, "thanks_url"],
            "a browser sends no secret header and no signature, so only scripts can post this form",
            "write verify = { scheme = \"secret-path\" }, or remove this and let the script show its page",
        );
    }
    check_kind_settings(["forms", name], facts.label, facts.settings, findings);
    if let Some(repeats) = form.sender().repeats {
        client::check_inbox_retention(config, repeats, &format!("the form `{name}`"), findings);
    }
}

/// Checks the fields of a submission's facts.
fn check_fields(name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    for (field, _) in named_fields(&form.fields).filter(|(_, written)| written.is_some_and(|it| it.trim().is_empty())) {
        findings.add_error(
            &["forms", name, "fields", field],
            format!("the field of {field} has no name"),
            "write the field's name, id, key or label as the sender has it, or remove this",
        );
    }
    if form.form_ids.iter().any(|id| id.trim().is_empty()) {
        let remedy = "copy the form's id from the sender, or remove it: submissions of all its forms count then";
        findings.add_error(&["forms", name, "form_ids"], "a form's id is empty", remedy);
    }
    if !form.form_ids.is_empty()
        && let Some(why) = missing_form_id_warning(form)
    {
        findings.add_warning(&["forms", name, "form_ids"], why.0, why.1);
    }
    if form.kind.facts().numbers_its_fields {
        check_numbered_fields(name, form, findings);
    }
}

/// Why deliveries of this form may lack the id of the sender's form, and what to do. `None` if they
/// always have it. With `form_ids`, a delivery without an id is skipped.
fn missing_form_id_warning(form: &FormConfig) -> Option<(String, &'static str)> {
    let facts = form.kind.facts();
    if facts.posts_contacts && form.verify == FormScheme::Signature {
        return Some((
            format!("{}'s events do not name the form, so all of them are skipped", facts.label),
            "remove it, or let a workflow post, which one form alone can start",
        ));
    }
    (!facts.names_its_form).then(|| (
        "a submission does not name its form unless the sender is configured to name it; one without a name is skipped".to_owned(),
        "post the form's id along as `form_id`, or remove this: submissions of all forms at this address count then",
    ))
}

fn named_fields(fields: &FormFields) -> impl Iterator<Item = (&'static str, Option<&String>)> {
    // The pattern has no `..`, so a new field must be added here.
    let FormFields { phone, name, first_name, last_name, country, language, id, submitted_at, test } = fields;
    let all = [
        ("phone", phone),
        ("name", name),
        ("first_name", first_name),
        ("last_name", last_name),
        ("country", country),
        ("language", language),
        ("id", id),
        ("submitted_at", submitted_at),
        ("test", test),
    ];
    all.into_iter().map(|(name, written)| (name, written.as_ref()))
}

/// Gravity Forms posts the numbers of its fields, which do not describe their content.
fn check_numbered_fields(name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    let path = ["forms", name, "fields"];
    let (label, fields) = (form.kind.facts().label, &form.fields);
    if fields.phone.is_none() {
        findings.add_error(
            &path,
            format!("{label} posts numbers instead of field names, so no phone number is found"),
            format!("add the number of its field to [forms.{name}.fields], like phone = \"3\""),
        );
    }
    if fields.name.is_none() && fields.first_name.is_none() {
        findings.add_warning(
            &path,
            format!("{label} posts numbers instead of field names, so no lead is greeted by name"),
            format!("add the number of its field to [forms.{name}.fields], like first_name = \"1.3\""),
        );
    }
}

/// Checks the countries of greeted leads, and the language of the greeting.
fn check_countries_and_language(
    config: &ClientConfig,
    name: &str,
    form: &FormConfig,
    findings: &mut FindingCollector<'_>,
) {
    let at = |field: &'static str| ["forms", name, field];
    if let Some(country) = &form.country {
        client::check_country(country, &at("country"), findings);
    }
    for (place, country) in form.countries.iter().enumerate() {
        client::check_country(country, &at("countries"), findings);
        if country.len() == 2 && country.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let remedy = format!("write `{}`", country.to_ascii_uppercase());
            findings.add_error(
                &at("countries"),
                format!("no number matches `{country}`, because it is in lower-case letters"),
                remedy,
            );
        }
        if form.countries[..place].contains(country) {
            findings.add_warning(&at("countries"), format!("`{country}` is listed twice"), "remove one of them");
        }
    }
    let own = form.country.as_ref().unwrap_or(&config.country);
    if !form.countries.is_empty() && !form.countries.contains(own) {
        findings.add_warning(
            &at("countries"),
            format!(
                "a number without a country code counts as one of `{own}`, and leads of that country are not greeted"
            ),
            format!("add `{own}`, or write the form's own `country`"),
        );
    }
    if let Some(language) = form.language.as_ref().filter(|language| !config.languages.contains(language))
        && client::has_language_codes(config)
    {
        let what = format!("no message is sent in `{language}`");
        findings.add_error(&at("language"), what, suggest_name(language, config.languages.iter().map(String::as_str)));
    }
}

/// Checks the rule of consent. An empty rule would greet all leads or none.
fn check_consent(form: &FormConfig, at: &[&str], findings: &mut FindingCollector<'_>) {
    let facts = form.kind.facts();
    match &form.consent {
        ConsentRule::Stated(stated) if stated.trim().is_empty() => findings.add_error(
            at,
            "the sentence is empty, so no lead consents",
            "copy the sentence from the form; docs/configuration.md says what it must contain",
        ),
        // A contact of another form has not read that sentence.
        ConsentRule::Stated(_) if facts.posts_contacts => findings.add_error(
            at,
            format!("every contact that {} posts would count as consent, imported ones too", facts.label),
            "name the contact's property that holds the consent: { field = \"whatsapp_consent\" }",
        ),
        ConsentRule::Stated(_) if facts.posts_for_many_forms && form.form_ids.is_empty() => findings.add_error(
            at,
            format!("a {} webhook posts for every form, and the sentence is on one of them", form.kind),
            "list that form's id in `form_ids`, or name a checkbox: { field = \"…\" }",
        ),
        ConsentRule::Stated(_) => {}
        ConsentRule::Field { field, accepts } => {
            if field.trim().is_empty() {
                let remedy = "write the name, id, key or label of the checkbox";
                findings.add_error(at, "the consent's field has no name", remedy);
            }
            if accepts.iter().any(|answer| answer.trim().is_empty()) {
                let remedy = "write the words that the sender posts when the checkbox is ticked";
                findings.add_error(at, "an empty field would count as consent", remedy);
            }
            for answer in accepts.iter().filter(|answer| NO_ANSWERS.contains(&answer.trim().to_lowercase().as_str())) {
                let what = format!("`{answer}` means that the checkbox was not ticked");
                findings.add_error(at, what, "remove it: a lead who refused would be greeted");
            }
        }
    }
}

/// Checks how often a number is greeted, and how many leads are greeted before an operator decides.
fn check_limits(config: &ClientConfig, name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    check_limit(form.per_phone, &["forms", name, "per_phone"], findings);
    let FormLimits { burst, sustained } = form.limits;
    check_limit(burst, &["forms", name, "burst"], findings);
    let at = ["forms", name, "sustained"];
    if findings.source.has_key(&at) {
        check_limit(sustained, &at, findings);
    }
    if findings.source.has_key(&at) && sustained.within <= burst.within {
        let what = "the window of `sustained` is not longer than that of `burst`";
        findings.add_warning(&at, what, "write a longer window, such as { leads = 200, within = \"24h\" }");
    }
    let path = ["forms", name, "repeat", "within"];
    let TimeSpan(within) = form.repeat.within;
    if !REPEAT_WINDOW_RANGE.contains(&within) {
        let what = "the window of a repeat must be an hour to 90 days";
        findings.add_error(&path, what, "write \"1h\" to \"90d\"; \"7d\" is usual");
    } else if within > SignedDuration::from_hours(24 * i64::from(config.retention.ledger_days)) {
        let what = "the ledger forgets the greeting earlier, and the lead is greeted again";
        findings.add_error(
            &path,
            what,
            format!("write at most retention.ledger_days ({} days)", config.retention.ledger_days),
        );
    }
    if form.repeat.across == RepeatScope::Forms && findings.source.has_key(&["forms", name, "per_phone"]) {
        findings.add_warning(
            &["forms", name, "per_phone"],
            "this has no effect: one greeting counts for all forms, so no number gets a second one",
            "remove it, or write across = \"form\" in `repeat` if each form shall greet separately",
        );
    }
}

fn check_limit(limit: LeadLimit, path: &[&str], findings: &mut FindingCollector<'_>) {
    let below = |field: &'static str| [path, &[field]].concat();
    if !LEADS_RANGE.contains(&limit.leads) {
        let what = format!("a limit of {} leads is not possible", limit.leads);
        findings.add_error(&below("leads"), what, "write 1 to 100000");
    }
    if !LIMIT_WINDOW_RANGE.contains(&limit.within.0) {
        let what = "the window of a limit must be a minute to a week";
        findings.add_error(&below("within"), what, "write \"1m\" to \"7d\"");
    }
}

/// Checks the text of the first touch, and the choice that it may contain.
fn check_first_touch(config: &ClientConfig, name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    let at = ["forms", name, "first_touch"];
    let rule = &form.first_touch;
    messages::check_useful_for(config, rule, &at, &FIRST_TOUCH_LATENESS, findings);
    texts::check_priority(rule.priority, &at, findings);
    texts::check_templates(config, TemplateTopic::Lead, &at, rule.templates(), findings);
    match &form.choice {
        Some(rule) => check_choice(rule, &["forms", name, "choice"], findings),
        None => check_missing_choice(name, form, findings),
    }
}

fn check_choice(rule: &ChoiceRule, at: &[&str], findings: &mut FindingCollector<'_>) {
    let below = |field: &'static str| [at, &[field]].concat();
    if rule.field.trim().is_empty() {
        let remedy = "write the name, id, key or label of the question";
        findings.add_error(&below("field"), "the choice's field has no name", remedy);
    }
    if rule.of.is_empty() {
        let remedy = "list the answers word for word, or remove `choice`: an answer that is not listed is never sent";
        findings.add_error(&below("of"), "the choice has no answers", remedy);
    }
    let mut seen = BTreeSet::new();
    for answer in &rule.of {
        if answer.trim().is_empty() {
            findings.add_error(&below("of"), "an answer is empty", "write it word for word, or remove it");
        } else if !seen.insert(answer.trim()) {
            findings.add_error(&below("of"), format!("`{answer}` is listed twice"), "remove one of them");
        }
    }
}

/// Reports texts with `choice` if the form has no choice.
fn check_missing_choice(name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    for (language, template) in &form.first_touch.text {
        if wording::used_variable_names(template).is_ok_and(|names| names.iter().any(|name| name == "choice")) {
            let path = ["forms", name, "first_touch", "text", language];
            let line = texts::line_of_name(template, "choice", &path, findings);
            let what = "`choice` has no value: this form has no choice configured".to_owned();
            let remedy = format!(
                "add [forms.{name}.choice] with the question's `field` and the answers in `of`, or leave it out here"
            );
            findings.add_finding(Severity::Error, line, what, remedy);
        }
    }
}

fn id_scope_table(config: &ClientConfig) -> IdScopeTable<'_> {
    IdScopeTable {
        table: "forms",
        sender: "form",
        setting: "id_scope",
        entity: "lead",
        danger: "only one of them is greeted",
        scopes: config
            .forms
            .iter()
            .map(|(name, form)| SenderIdScope {
                sender: name,
                name: form.id_scope(),
                is_explicit: form.id_scope.is_some(),
            })
            .collect(),
    }
}
