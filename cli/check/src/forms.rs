//! The forms: who they are, who may be greeted and how often, and the first thing they hear.

use std::{collections::BTreeSet, ops::RangeInclusive};

use jiff::SignedDuration;

use super::{
    FindingCollector, Severity, client,
    id_scopes::{self, IdScopeTable, SenderIdScope},
    is_plain_name,
    messages::{self, LatenessRule},
    stores::{MANUAL_RETRY_WINDOW, STANDARD_RETRY_WINDOW, check_header_name},
    suggest_name, texts,
};
use tellonce_core::{
    client_config::{
        ChoiceRule, ClientConfig, ConsentRule, FormConfig, FormFields, FormKind, FormScheme, LeadLimit, NO_ANSWERS,
        RepeatScope, TimeSpan,
    },
    wording::{self, TemplateTopic},
};

/// How many leads a limit can be of, and in which time.
const LEADS_RANGE: RangeInclusive<u32> = 1..=100_000;
const LIMIT_WINDOW_RANGE: RangeInclusive<SignedDuration> =
    SignedDuration::from_mins(1)..=SignedDuration::from_hours(7 * 24);
/// For how long a greeting may stand for the next one.
const REPEAT_WINDOW_RANGE: RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(1)..=SignedDuration::from_hours(90 * 24);
/// Of a first touch: whoever left a number a week ago has forgotten it, or asked elsewhere.
const FIRST_TOUCH_LATENESS: LatenessRule = LatenessRule {
    days: 7,
    description: "hardly an answer any more",
    advice: "the lead has probably gone elsewhere by then; a day or two is usual, 7 days are the most",
};

pub(super) fn check_forms(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    for (name, form) in &config.forms {
        check_name(config, name, form, findings);
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

fn check_name(config: &ClientConfig, name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    if !is_plain_name(name, 40) {
        findings.add_error(
            &["forms", name],
            format!("`{name}` cannot be the name of a form: it becomes part of its URL and of a secret's name"),
            "use lower-case letters, digits, `-` and `_`, at most 40",
        );
    }
    let others = [("store", config.stores.contains_key(name)), ("calendar", config.calendars.contains_key(name))];
    for (other, _) in others.iter().filter(|(_, there)| *there) {
        findings.add_error(
            &["forms", name],
            format!(
                "there is a {other} `{name}` too: both would be verified with the secret {}",
                config.webhook_secret_name(name)
            ),
            "give one of them another name",
        );
    }
    if form.name.as_deref().is_some_and(|shown| shown.trim().is_empty()) {
        let remedy = "write it, or remove it: the client's name is used then";
        findings.add_error(&["forms", name, "name"], "the form's name is empty", remedy);
    }
}

/// How deliveries prove where they come from, and for how long they repeat.
fn check_proof(config: &ClientConfig, name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    let path = ["forms", name, "verify"];
    match &form.verify {
        FormScheme::StaticHeader { header } => check_header_name(header, &path, findings),
        FormScheme::SecretPath if form.kind == FormKind::Meta => findings.add_error(
            &path,
            "Meta asks whether the address is ours before it posts, and an address that ends in a secret has no answer",
            "write { scheme = \"signature\" }, or leave `verify` out: Meta signs every delivery",
        ),
        FormScheme::SecretPath if form.kind.has_own_proof() => findings.add_warning(
            &path,
            format!("a {} form has a better proof of its own than an address, which stands in many logs", form.kind),
            "write { scheme = \"signature\" }, unless this one cannot be made to sign",
        ),
        FormScheme::Signature | FormScheme::StandardWebhooks | FormScheme::SecretPath => {}
    }
    if let Some(address) = &form.notification_url {
        let path = ["forms", name, "notification_url"];
        client::check_registered_address(address, "HubSpot", &format!("/leads/{name}"), &path, findings);
    }
    if let Some((days, why)) = retry_window(form.kind, &form.verify) {
        client::check_inbox_retention(config, days, why, &format!("the form `{name}`"), findings);
    }
}

/// How many days a sender may take to send the same delivery again, and why; none where nothing repeats by itself.
/// Sources: `docs/senders.md`.
fn retry_window(kind: FormKind, verify: &FormScheme) -> Option<(u16, &'static str)> {
    match kind {
        FormKind::Typeform => Some((1, "Typeform repeats for up to 10 hours")),
        FormKind::GoogleAds => Some((7, "Google does not say for how long it repeats")),
        FormKind::Meta => Some((2, "Meta repeats for up to 36 hours")),
        FormKind::Webflow => Some((1, "Webflow repeats for half an hour")),
        FormKind::Tally => Some((2, "Tally repeats for more than a day")),
        FormKind::HubSpot => Some((4, "HubSpot repeats for up to 3 days")),
        FormKind::Jotform
        | FormKind::Elementor
        | FormKind::GravityForms
        | FormKind::WpForms
        | FormKind::ContactForm7 => (*verify == FormScheme::StandardWebhooks).then_some(STANDARD_RETRY_WINDOW),
        FormKind::Web if *verify == FormScheme::StandardWebhooks => Some(STANDARD_RETRY_WINDOW),
        FormKind::Web => Some(MANUAL_RETRY_WINDOW),
    }
}

/// Where the facts of a submission stand.
fn check_fields(name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    for (field, _) in named_fields(&form.fields).filter(|(_, written)| written.is_some_and(|it| it.trim().is_empty())) {
        findings.add_error(
            &["forms", name, "fields", field],
            format!("nothing says where the {field} stands"),
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
    if form.kind == FormKind::GravityForms {
        check_numbered_fields(name, &form.fields, findings);
    }
}

/// Why deliveries of this form may not say which of the sender's forms they are of, and what to do; none where they always do.
/// What names no form is nobody's where only some are meant.
fn missing_form_id_warning(form: &FormConfig) -> Option<(&'static str, &'static str)> {
    match form.kind {
        FormKind::HubSpot if form.verify == FormScheme::Signature => Some((
            "HubSpot's events do not say which form a contact filled in: all of them are left alone",
            "remove it; or let a workflow post, which can be started by one form alone",
        )),
        FormKind::HubSpot | FormKind::WpForms | FormKind::ContactForm7 | FormKind::Web => Some((
            "a submission does not name its form unless the sender is configured to name it; one without a name is skipped",
            "post the form's id along as `form_id`, or remove this: submissions of all forms at this address count then",
        )),
        FormKind::Typeform
        | FormKind::GoogleAds
        | FormKind::Meta
        | FormKind::Webflow
        | FormKind::Tally
        | FormKind::Jotform
        | FormKind::Elementor
        | FormKind::GravityForms => None,
    }
}

fn named_fields(fields: &FormFields) -> impl Iterator<Item = (&'static str, Option<&String>)> {
    // Whatever is added has to be looked at.
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

/// Gravity Forms posts its fields under their numbers, which say nothing of what is in them.
fn check_numbered_fields(name: &str, fields: &FormFields, findings: &mut FindingCollector<'_>) {
    let path = ["forms", name, "fields"];
    if fields.phone.is_none() {
        findings.add_error(
            &path,
            "Gravity Forms posts numbers for names, so no phone number is found by itself",
            format!("add the number of its field to [forms.{name}.fields], like phone = \"3\""),
        );
    }
    if fields.name.is_none() && fields.first_name.is_none() {
        findings.add_warning(
            &path,
            "Gravity Forms posts numbers for names, so no lead is greeted by name",
            format!("add the number of its field to [forms.{name}.fields], like first_name = \"1.3\""),
        );
    }
}

/// Whose numbers are greeted, and in which language.
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
            findings.add_error(&at("countries"), format!("no number is one of `{country}`, in small letters"), remedy);
        }
        if form.countries[..place].contains(country) {
            findings.add_warning(&at("countries"), format!("`{country}` is there twice"), "remove one of them");
        }
    }
    let own = form.country.as_ref().unwrap_or(&config.country);
    if !form.countries.is_empty() && !form.countries.contains(own) {
        findings.add_warning(
            &at("countries"),
            format!("a number without a country code counts as one of `{own}`, and leads from there are not greeted"),
            format!("add `{own}`, or write the form's own `country`"),
        );
    }
    if let Some(language) = form.language.as_ref().filter(|language| !config.languages.contains(language)) {
        let what = format!("no message is sent in `{language}`");
        findings.add_error(&at("language"), what, suggest_name(language, config.languages.iter().map(String::as_str)));
    }
}

/// By what somebody agrees: without it nobody may be greeted, so an empty rule greets all or none.
fn check_consent(form: &FormConfig, at: &[&str], findings: &mut FindingCollector<'_>) {
    match &form.consent {
        ConsentRule::Stated(stated) if stated.trim().is_empty() => findings.add_error(
            at,
            "the form shows no sentence, so no lead consents",
            "copy the sentence from the form; what it has to say is in docs/configuration.md",
        ),
        // Whoever fills in another form of theirs has not read that sentence.
        ConsentRule::Stated(_) if form.kind == FormKind::HubSpot => findings.add_error(
            at,
            "whatever contact HubSpot posts would count as agreed, those that were imported as well",
            "name the contact's property that says they agreed: { field = \"whatsapp_consent\" }",
        ),
        ConsentRule::Stated(_) if form.kind.posts_for_many_forms() && form.form_ids.is_empty() => findings.add_error(
            at,
            format!("a {} webhook posts for every form there is, and the sentence stands on one", form.kind),
            "list that form's id in `form_ids`, or name a box that is ticked: { field = \"…\" }",
        ),
        ConsentRule::Stated(_) => {}
        ConsentRule::Field { field, accepts } => {
            if field.trim().is_empty() {
                let remedy = "write the name, id, key or label of the box that is ticked";
                findings.add_error(at, "the consent's field has no name", remedy);
            }
            if accepts.iter().any(|answer| answer.trim().is_empty()) {
                let remedy = "write the words that the sender posts when the box is ticked";
                findings.add_error(at, "an empty field would count as consent", remedy);
            }
            for answer in accepts.iter().filter(|answer| NO_ANSWERS.contains(&answer.trim().to_lowercase().as_str())) {
                let what = format!("`{answer}` is how a box says that it was not ticked");
                findings.add_error(at, what, "remove it: a lead who refused would be greeted");
            }
        }
    }
}

/// How often somebody is greeted, and how many are before a human looks.
fn check_limits(config: &ClientConfig, name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    check_limit(form.per_phone, &["forms", name, "per_phone"], findings);
    check_limit(form.burst, &["forms", name, "burst"], findings);
    let path = ["forms", name, "repeat", "within"];
    let TimeSpan(within) = form.repeat.within;
    if !REPEAT_WINDOW_RANGE.contains(&within) {
        let what = "a greeting stands for those that follow for an hour to 90 days";
        findings.add_error(&path, what, "write \"1h\" to \"90d\"; \"7d\" is usual");
    } else if within > SignedDuration::from_hours(24 * i64::from(config.retention.ledger_days)) {
        let what = "a greeting is forgotten sooner than that, and is then given again";
        findings.add_error(
            &path,
            what,
            format!("write at most retention.ledger_days ({} days)", config.retention.ledger_days),
        );
    }
    if form.repeat.across == RepeatScope::Forms && findings.source.has_key(&["forms", name, "per_phone"]) {
        findings.add_warning(
            &["forms", name, "per_phone"],
            "this means nothing: one greeting counts for all forms here, so no number gets a second",
            "remove it, or write across = \"form\" in `repeat` if each form shall greet for itself",
        );
    }
}

fn check_limit(limit: LeadLimit, path: &[&str], findings: &mut FindingCollector<'_>) {
    let below = |field: &'static str| [path, &[field]].concat();
    if !LEADS_RANGE.contains(&limit.leads) {
        let what = format!("a limit cannot be of {} leads", limit.leads);
        findings.add_error(&below("leads"), what, "write 1 to 100000");
    }
    if !LIMIT_WINDOW_RANGE.contains(&limit.within.0) {
        let what = "leads are counted within a minute to a week";
        findings.add_error(&below("within"), what, "write \"1m\" to \"7d\"");
    }
}

/// What is said, and of which answers it may speak.
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
        findings.add_error(&below("of"), "there is no answer to choose", remedy);
    }
    let mut seen = BTreeSet::new();
    for answer in &rule.of {
        if answer.trim().is_empty() {
            findings.add_error(&below("of"), "an answer is empty", "write it word for word, or remove it");
        } else if !seen.insert(answer.trim()) {
            findings.add_error(&below("of"), format!("`{answer}` is there twice"), "remove one of them");
        }
    }
}

/// Texts that speak of a choice where nobody has one.
fn check_missing_choice(name: &str, form: &FormConfig, findings: &mut FindingCollector<'_>) {
    for (language, template) in &form.first_touch.text {
        if wording::used_variable_names(template).is_ok_and(|names| names.iter().any(|name| name == "choice")) {
            let path = ["forms", name, "first_touch", "text", language];
            let line = texts::line_of_name(template, "choice", &path, findings);
            let what = "`choice` has no value: this form does not say what there is to choose".to_owned();
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
