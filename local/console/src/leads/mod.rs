//! Sample leads: the recordings of `events/leads` with the client's field names, signed with the secrets
//! of this run, and added to the fakes where a sender only names a lead.
//!
//! The lead is always the same person with the given number; a flood has many people. The receiver
//! accepts the deliveries and lead-first-touch finds the fields, for any client with such a form.

mod payloads;

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tellonce_core::client_config::{ClientConfig, ConsentRule, FormConfig, FormKind, FormScheme};

use super::{
    sample_delivery::SampleDelivery,
    sample_rewriting::{hmac_base64, hmac_hex},
    samples::DeliveryBatch,
};
use payloads::SubmissionPayload;
use tellonce_fakes::leads::FakeLeadApis;

/// Who fills in the forms.
const PERSON: (&str, &str) = ("Noa", "Levi");
/// Submissions at once.
const CROWD_SIZE: usize = 200;
/// So many leads more than a form takes.
const FLOOD_EXCESS: u32 = 5;
/// A flood of more than this takes too long to watch.
const MAX_FLOOD: u32 = 500;
/// By how many of its last digits the numbers of a flood differ.
const VARIED_DIGITS: usize = 4;

/// What can be done with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeadAction {
    /// Somebody leaves a number.
    Submit,
    /// The last delivery once more.
    Repeat,
    /// Whoever was last fills in the form once more.
    SamePerson,
    /// A trial of the sender's.
    Test,
    /// The box is not ticked.
    WithoutConsent,
    /// Two hundred submissions of one number at once.
    Crowd,
    /// More leads than the form takes, each of another number.
    Flood,
}

/// The forms of a client with what is known to sign for them.
pub struct LeadSampleContext<'a> {
    /// The client.
    pub config: &'a ClientConfig,
    /// Secrets by their full name.
    pub secret: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The stand-ins.
    pub leads: &'a FakeLeadApis,
}

/// What was sent last.
#[derive(Clone)]
struct SubmittedLead {
    payload: SubmissionPayload,
    phone: String,
}

/// Remembers the last submission of each form, and gives numbers to all.
#[derive(Default)]
pub struct LeadSampleFactory(Mutex<LeadSampleState>);

#[derive(Default)]
struct LeadSampleState {
    last_number: i64,
    submissions: BTreeMap<String, SubmittedLead>,
}

/// One submission.
struct SimulatedSubmission<'a> {
    context: &'a LeadSampleContext<'a>,
    name: &'a str,
    form: &'a FormConfig,
    phone: &'a str,
    has_consent: bool,
    is_test: bool,
    /// Nothing else has it.
    number: i64,
    now: Timestamp,
}

impl LeadSampleFactory {
    /// Does something with a form: changes what the stand-ins know, and says what is to be posted for it.
    pub fn apply_action(
        &self,
        context: &LeadSampleContext<'_>,
        name: &str,
        action: LeadAction,
        phone: &str,
        now: Timestamp,
    ) -> anyhow::Result<DeliveryBatch> {
        let form = context.config.forms.get(name).with_context(|| format!("this client has no form {name}"))?;
        let last_submission = || {
            let state = tellonce_fakes::lock_mutex(&self.0);
            state
                .submissions
                .get(name)
                .cloned()
                .with_context(|| format!("no lead has used {name} yet; leave a number first"))
        };
        let submit = |phone: &str, agrees: bool, test: bool| {
            let submission = SimulatedSubmission {
                context,
                name,
                form,
                phone,
                has_consent: agrees,
                is_test: test,
                number: self.next_number(now),
                now,
            };
            let payload = submission.build_payload()?;
            let delivery = sign_delivery(context, name, form, &payload, now)?;
            tellonce_fakes::lock_mutex(&self.0)
                .submissions
                .insert(name.to_owned(), SubmittedLead { payload, phone: phone.to_owned() });
            anyhow::Ok(delivery)
        };
        let phone = phone.trim();
        ensure!(!phone.is_empty(), "type the number that is left");
        let (deliveries, about) = match action {
            LeadAction::Submit => (vec![submit(phone, true, false)?], format!("a lead of {name}")),
            LeadAction::Repeat => {
                let last = last_submission()?;
                (vec![sign_delivery(context, name, form, &last.payload, now)?], format!("the last delivery of {name}"))
            }
            LeadAction::SamePerson => {
                let last = last_submission()?;
                (vec![submit(&last.phone, true, false)?], format!("the same person on {name}"))
            }
            LeadAction::Test => {
                ensure!(can_flag_tests(form), "a {} form marks no trials, and `fields.test` names no field", form.kind);
                (vec![submit(phone, true, true)?], format!("a trial of {name}"))
            }
            LeadAction::WithoutConsent => {
                ensure!(
                    can_withhold_consent(form),
                    "every lead who sends this form consents: a sentence on the form says so"
                );
                (vec![submit(phone, false, false)?], format!("a lead of {name} without consent"))
            }
            LeadAction::Crowd => {
                let all = (0..CROWD_SIZE).map(|_| submit(phone, true, false)).collect::<anyhow::Result<_>>()?;
                (all, format!("{CROWD_SIZE} submissions of one number at {name}"))
            }
            LeadAction::Flood => {
                let leads = form.burst.leads + FLOOD_EXCESS;
                ensure!(leads <= MAX_FLOOD, "{name} takes {} leads; lower its `burst` to try", form.burst.leads);
                let numbers = vary_last_digits(phone, leads)?;
                let all = numbers.iter().map(|phone| submit(phone, true, false)).collect::<anyhow::Result<_>>()?;
                (all, format!("{leads} leads of {name}"))
            }
        };
        Ok(DeliveryBatch { deliveries, about, at_once: matches!(action, LeadAction::Crowd | LeadAction::Flood) })
    }

    /// Whether somebody was on this form.
    pub fn has_submission(&self, name: &str) -> bool {
        tellonce_fakes::lock_mutex(&self.0).submissions.contains_key(name)
    }

    /// A number nothing else has: the time in milliseconds, or one more than the last.
    fn next_number(&self, now: Timestamp) -> i64 {
        let mut state = tellonce_fakes::lock_mutex(&self.0);
        state.last_number = now.as_millisecond().max(state.last_number + 1);
        state.last_number
    }
}

/// Whether leads of this form can be posted: whether what proves them, and what they are asked for with, is known.
pub fn can_post_leads(config: &ClientConfig, name: &str, form: &FormConfig, has_secret: impl Fn(&str) -> bool) -> bool {
    let asked = form.kind == FormKind::Meta || is_event_subscription(form);
    has_secret(&config.webhook_secret_name(name)) && (!asked || has_secret(&config.form_secret_name(name)))
}

/// Whether a delivery of this form can say that it is a trial.
pub fn can_flag_tests(form: &FormConfig) -> bool {
    matches!(form.kind, FormKind::GoogleAds | FormKind::Meta) || form.fields.test.is_some()
}

/// Whether somebody can send this form without agreeing.
pub fn can_withhold_consent(form: &FormConfig) -> bool {
    matches!(form.consent, ConsentRule::Field { .. })
}

/// Whether `HubSpot` posts an event of an app's subscription, and no contact.
fn is_event_subscription(form: &FormConfig) -> bool {
    form.kind == FormKind::HubSpot && form.verify == FormScheme::Signature
}

/// Numbers like this one that differ in their last digits.
fn vary_last_digits(phone: &str, count: u32) -> anyhow::Result<Vec<String>> {
    let digits = phone.bytes().rev().take(VARIED_DIGITS).filter(u8::is_ascii_digit).count();
    ensure!(digits == VARIED_DIGITS, "the number has to end in {VARIED_DIGITS} digits, which a flood changes");
    let (same, last) = phone.split_at(phone.len() - VARIED_DIGITS);
    let last: u32 = last.parse()?;
    Ok((0..count).map(|step| format!("{same}{:04}", (last + step) % 10_000)).collect())
}

/// A delivery with its proof as of now: whoever posts again signs again.
fn sign_delivery(
    context: &LeadSampleContext<'_>,
    name: &str,
    form: &FormConfig,
    payload: &SubmissionPayload,
    now: Timestamp,
) -> anyhow::Result<SampleDelivery> {
    let secret = read_webhook_secret(context, name)?;
    let SubmissionPayload { id, headers, body } = payload.clone();
    let mut delivery = SampleDelivery { path: format!("/leads/{name}"), headers, body };
    let (key, millis) = (secret.as_bytes(), now.as_millisecond());
    match &form.verify {
        FormScheme::StandardWebhooks => delivery.sign_standard_webhooks(&secret, &id, millis)?,
        FormScheme::StaticHeader { header } => delivery.set_header(header, &secret),
        FormScheme::SecretPath => delivery.path = format!("/leads/{name}/{secret}"),
        FormScheme::Signature => match form.kind {
            FormKind::Typeform => {
                let signature = hmac_base64(key, delivery.body.as_bytes());
                delivery.set_header("typeform-signature", &format!("sha256={signature}"));
            }
            FormKind::Meta => {
                let signature = hmac_hex(key, delivery.body.as_bytes());
                delivery.set_header("x-hub-signature-256", &format!("sha256={signature}"));
            }
            FormKind::Webflow => {
                let signature = hmac_hex(key, format!("{millis}:{}", delivery.body).as_bytes());
                delivery.set_header("x-webflow-timestamp", &millis.to_string());
                delivery.set_header("x-webflow-signature", &signature);
            }
            FormKind::Tally => delivery.set_header("tally-signature", &hmac_base64(key, delivery.body.as_bytes())),
            FormKind::HubSpot => {
                let url = form.notification_url.as_deref().unwrap_or_default();
                let signature = hmac_base64(key, format!("POST{url}{}{millis}", delivery.body).as_bytes());
                delivery.set_header("x-hubspot-request-timestamp", &millis.to_string());
                delivery.set_header("x-hubspot-signature-v3", &signature);
            }
            // Its key stands in the body.
            FormKind::GoogleAds => {}
            FormKind::Jotform
            | FormKind::Elementor
            | FormKind::GravityForms
            | FormKind::WpForms
            | FormKind::ContactForm7
            | FormKind::Web => bail!("a {} form signs nothing", form.kind),
        },
    }
    Ok(delivery)
}

fn read_webhook_secret(context: &LeadSampleContext<'_>, name: &str) -> anyhow::Result<String> {
    let secret = context.config.webhook_secret_name(name);
    (context.secret)(&secret).with_context(|| format!("the secret {secret} is missing"))
}

#[cfg(test)]
mod tests;
