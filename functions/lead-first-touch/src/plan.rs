//! Plans the first touch of a lead: key, text, language and expiry. Pure.

use icu_locale::{LanguageIdentifier, LocaleExpander};
use jiff::Timestamp;
use tellonce_core::{
    client_config::{ClientConfig, FormConfig, Precedence, QuietHoursRule},
    ledger::{Content, IdempotencyKey, MessageContext, OutboundMessage},
    wording::{self, TemplateValues},
};

use crate::{lead::Lead, lead_outcome::LeadOutcome};

/// The default priority of a first touch, 0 to 100: a lead who just left a number still has the
/// phone in hand, and a ready order can wait.
const DEFAULT_PRIORITY: u8 = 85;

/// The longest name that is stored, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// Builds the first touch of a lead. `delivery` is the key of its delivery in the inbox.
pub fn plan_greeting(
    config: &ClientConfig,
    form: &FormConfig,
    lead: &Lead,
    delivery: &str,
    now: Timestamp,
) -> Result<OutboundMessage, LeadOutcome> {
    let rule = &form.first_touch;
    let mut values = TemplateValues::new();
    values.set("business_name", form.name.as_deref().unwrap_or(&config.name));
    let name = lead.name.as_deref().and_then(wording::clean_name);
    if let Some(name) = name.as_deref().filter(|name| is_plain_name(name)) {
        values.set_customer(name);
    }
    if let Some(choice) = &lead.choice {
        values.set("choice", choice);
    }
    let media = config.lines.get(&form.line).map(|line| line.media).unwrap_or_default();
    let message = wording::build_message(rule.templates(), choose_language(config, form, lead), &values, media)?;
    let ignores_quiet_hours = rule.quiet_hours == QuietHoursRule::Ignore;
    Ok(OutboundMessage {
        key: IdempotencyKey::for_greeting(form.id_scope(), &lead.id),
        precedence: Precedence::independent(),
        instance: None,
        generation: None,
        zone: None,
        text_zone: None,
        consent: Some(lead.consent.clone()),
        released_at: None,
        occurred_at: lead.submitted_at,
        line: form.line.clone(),
        to: Some(lead.phone.clone()),
        content: Content::Send(message.build_payload(&lead.phone)?),
        useful_until: lead.submitted_at + rule.useful_for.0,
        priority: rule.priority.unwrap_or(DEFAULT_PRIORITY),
        ignores_quiet_hours,
        not_before: if ignores_quiet_hours { None } else { config.quiet_hours_end(now) },
        delivery: delivery.to_owned(),
        context: MessageContext {
            name: lead.name.clone().filter(|name| name.len() <= MAX_NAME_BYTES),
            ..MessageContext::default()
        },
    })
}

/// Whether a text is only a name: at most four words of letters. A form accepts any text for any
/// number, so a stranger's message must not go out over the client's line.
fn is_plain_name(text: &str) -> bool {
    let fits = |c: char| {
        c.is_alphabetic() || matches!(c, '\'' | '-' | '.' | '’' | '׳' | '״' | '"') || wording::is_combining_mark(c)
    };
    text.split_whitespace().count() <= 4 && text.chars().all(|c| c.is_whitespace() || fits(c))
}

/// The language of the greeting: the lead's choice, else the form's language, else the language of
/// the number's country, else the client's first language.
fn choose_language<'a>(config: &'a ClientConfig, form: &'a FormConfig, lead: &Lead) -> &'a str {
    let chosen = lead.locale.as_deref().and_then(|locale| config.find_language(locale));
    chosen
        .or_else(|| config.find_language(form.language.as_deref()?))
        .or_else(|| config.find_language(&language_of_country(&lead.phone.country_code()?)?))
        .unwrap_or_else(|| config.language_for(None))
}

/// The language of most people in a country, according to CLDR.
fn language_of_country(country: &str) -> Option<String> {
    let mut id: LanguageIdentifier = format!("und-{country}").parse().ok()?;
    LocaleExpander::new_common().maximize(&mut id);
    (!id.language.is_unknown()).then(|| id.language.to_string())
}

#[cfg(test)]
mod tests {
    use tellonce_core::{contact::Phone, ledger::Consent};

    use super::*;

    const CLIENT_TOML: &str = r#"
client = "story"
name = "Shop"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en", "he", "de"]
quiet_hours = { from = "22:00", to = "08:00" }
[lines.main]
line_id = "line_1"
[forms.site]
kind = "web"
verify = { scheme = "secret-path" }
line = "main"
id_scope = "site"
consent = { stated = "…" }
choice = { field = "topic", of = ["Haifa"] }
first_touch.useful_for = "12h"
first_touch.text.en = "Hi{% if first_name %} {{ first_name }}{% endif %}, {{ business_name }}{% if choice %} {{ choice }}{% endif %}"
first_touch.text.he = "היי {{ business_name }}"
first_touch.text.de = "Hallo {{ business_name }}"
"#;

    fn build_lead(phone: &str) -> Lead {
        let at = "2026-11-19T10:00:00Z".parse().unwrap();
        Lead {
            id: "88".into(),
            phone: Phone::from_e164(phone).unwrap(),
            name: Some("Dana Levi".into()),
            has_unreadable_name: false,
            locale: None,
            choice: None,
            consent: Consent { source: "stated on the form".into(), at },
            submitted_at: at,
        }
    }

    fn plan_message(client: &str, lead: &Lead, now: &str) -> OutboundMessage {
        let config = ClientConfig::parse(client).unwrap();
        plan_greeting(&config, &config.forms["site"], lead, "site#1", now.parse().unwrap()).unwrap()
    }

    fn planned_text(client: &str, lead: &Lead) -> String {
        let Content::Send(payload) = plan_message(client, lead, "2026-11-19T10:00:01Z").content else { panic!() };
        serde_json::from_str::<serde_json::Value>(&payload.body).unwrap()["body"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_first_touch_has_its_own_key_an_expiry_and_the_consent() {
        let message = plan_message(CLIENT_TOML, &build_lead("+972545550199"), "2026-11-19T10:00:01Z");
        assert_eq!(message.key.to_string(), "lead:site..88:first-touch");
        assert_eq!(message.useful_until.to_string(), "2026-11-19T22:00:00Z");
        assert_eq!((message.not_before, message.priority), (None, DEFAULT_PRIORITY));
        let consent = message.consent.unwrap();
        assert_eq!(consent.source, "stated on the form");
        assert_eq!(consent.at.to_string(), "2026-11-19T10:00:00Z");
    }

    #[test]
    fn a_first_touch_at_night_waits_for_the_morning() {
        let message = plan_message(CLIENT_TOML, &build_lead("+972545550199"), "2026-11-19T21:00:00Z");
        assert_eq!(message.not_before.unwrap().to_string(), "2026-11-20T06:00:00Z");
    }

    #[test]
    fn the_language_is_the_leads_choice_then_the_forms_then_that_of_the_phones_country() {
        let german = build_lead("+4917139200123");
        assert!(planned_text(CLIENT_TOML, &german).starts_with("Hallo"));
        assert!(planned_text(CLIENT_TOML, &build_lead("+972545550199")).starts_with("היי"));
        assert!(planned_text(CLIENT_TOML, &build_lead("+12025550123")).starts_with("Hi Dana"));
        assert!(
            planned_text(CLIENT_TOML, &build_lead("+33639981234")).starts_with("Hi Dana"),
            "the client has no French texts"
        );
        let fixed = CLIENT_TOML.replace("id_scope = \"site\"", "id_scope = \"site\"\nlanguage = \"he\"");
        assert!(planned_text(&fixed, &german).starts_with("היי"));
        let chose = Lead { locale: Some("en-GB".into()), ..german };
        assert!(planned_text(&fixed, &chose).starts_with("Hi Dana"));
    }

    #[test]
    fn a_name_that_carries_a_message_is_left_out() {
        let mut spam = build_lead("+12025550123");
        spam.name = Some("Win now www.example.com".into());
        spam.choice = Some("Haifa".into());
        assert_eq!(planned_text(CLIENT_TOML, &spam), "Hi, Shop Haifa");
        for message in
            ["Call *2700 now", "Your parcel is held reply", "evil。com", "Noa 5", "Noa ५", "Noa ๕", "Noa/Levi", "a@b"]
        {
            spam.name = Some(message.into());
            assert_eq!(planned_text(CLIENT_TOML, &spam), "Hi, Shop Haifa", "{message}");
        }
        for name in ["נֹעָה", "नोआ", "นภา", "Anne-Marie O’Neil", "Nguyễn", "ד״ר כהן", "محمد"]
        {
            spam.name = Some(name.into());
            assert!(
                planned_text(CLIENT_TOML, &spam).starts_with(&format!("Hi {}", name.split(' ').next().unwrap())),
                "{name}"
            );
        }
    }
}
