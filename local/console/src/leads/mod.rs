//! Sample leads: the recordings of `events/leads` with the client's field names, signed with the
//! secrets of this run. If a sender posts only the id of a lead, the lead is added to the fakes.
//!
//! The lead is always the same person with the given number. A flood has many people. The receiver
//! accepts the deliveries, and lead-first-touch finds the fields, for any client with such a form.

mod payloads;
mod submission;

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tellonce_core::client_config::{ClientConfig, ConsentRule, FormConfig, FormKind, FormScheme};

use super::{
    sample_values::{UniqueNumbers, read_webhook_secret},
    samples::DeliveryBatch,
};
use payloads::SubmissionPayload;
use submission::{SimulatedSubmission, is_event_subscription};
use tellonce_samples::{SenderProof, WebhookPost};

/// Submissions of one crowd.
const CROWD_SIZE: usize = 200;
/// A flood has this many leads more than the form's `burst`.
const FLOOD_EXCESS: u32 = 5;
/// A larger flood takes too long.
const MAX_FLOOD: u32 = 500;
/// How many last digits differ between the numbers of a flood.
const VARIED_DIGITS: usize = 4;

pub use submission::LeadSampleContext;

/// An action on a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeadAction {
    /// A person submits the form.
    Submit,
    /// The last delivery once more.
    Repeat,
    /// The last person submits the form once more.
    SamePerson,
    /// The sender marks the submission as a test.
    Test,
    /// The checkbox is not ticked.
    WithoutConsent,
    /// Two hundred submissions of one number at the same time.
    Crowd,
    /// More leads than the form's `burst`, each with another number.
    Flood,
}

/// The last submission of a form.
#[derive(Clone)]
struct SubmittedLead {
    payload: SubmissionPayload,
    phone: String,
}

/// Remembers the last submission of each form, and gives each submission a unique number.
#[derive(Default)]
pub struct LeadSampleFactory(Mutex<LeadSampleState>);

#[derive(Default)]
struct LeadSampleState {
    numbers: UniqueNumbers,
    submissions: BTreeMap<String, SubmittedLead>,
}

impl LeadSampleFactory {
    /// Performs an action on a form: updates the fakes and returns the deliveries to post.
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
                .with_context(|| format!("{name} has no submission yet; submit the form first"))
        };
        let submit = |phone: &str, agrees: bool, test: bool| {
            let submission = SimulatedSubmission {
                context,
                name,
                form,
                phone,
                has_consent: agrees,
                is_test: test,
                number: tellonce_fakes::lock_mutex(&self.0).numbers.next(now.as_millisecond()),
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
        ensure!(!phone.is_empty(), "the phone number is empty; type one");
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
                ensure!(can_flag_tests(form), "a {} form marks no tests, and `fields.test` names no field", form.kind);
                (vec![submit(phone, true, true)?], format!("a test of {name}"))
            }
            LeadAction::WithoutConsent => {
                ensure!(
                    can_withhold_consent(form),
                    "every lead of this form consents, because a sentence on the form states it"
                );
                (vec![submit(phone, false, false)?], format!("a lead of {name} without consent"))
            }
            LeadAction::Crowd => {
                let all = (0..CROWD_SIZE).map(|_| submit(phone, true, false)).collect::<anyhow::Result<_>>()?;
                (all, format!("{CROWD_SIZE} submissions of one number at {name}"))
            }
            LeadAction::Flood => {
                let leads = form.limits.burst.leads + FLOOD_EXCESS;
                ensure!(
                    leads <= MAX_FLOOD,
                    "{name} accepts {} leads, which is too many to try a flood; lower its `burst`",
                    form.limits.burst.leads
                );
                let numbers = vary_last_digits(phone, leads)?;
                let all = numbers.iter().map(|phone| submit(phone, true, false)).collect::<anyhow::Result<_>>()?;
                (all, format!("{leads} leads of {name}"))
            }
        };
        Ok(DeliveryBatch { deliveries, about, at_once: matches!(action, LeadAction::Crowd | LeadAction::Flood) })
    }

    /// Whether the form has a submission in this run.
    pub fn has_submission(&self, name: &str) -> bool {
        tellonce_fakes::lock_mutex(&self.0).submissions.contains_key(name)
    }
}

/// Whether leads of this form can be posted: the secrets of its proof and of its lookup are known.
pub fn can_post_leads(config: &ClientConfig, name: &str, form: &FormConfig, has_secret: impl Fn(&str) -> bool) -> bool {
    let asked = form.kind.facts().handshake_secret.is_some() || is_event_subscription(form);
    has_secret(&config.webhook_secret_name(name)) && (!asked || has_secret(&config.form_secret_name(name)))
}

/// Whether a delivery of this form can mark a test.
pub fn can_flag_tests(form: &FormConfig) -> bool {
    matches!(form.kind, FormKind::GoogleAds | FormKind::Meta) || form.fields.test.is_some()
}

/// Whether a person can submit this form without consent.
pub fn can_withhold_consent(form: &FormConfig) -> bool {
    matches!(form.consent, ConsentRule::Field { .. })
}

/// Numbers like this one with other last digits.
fn vary_last_digits(phone: &str, count: u32) -> anyhow::Result<Vec<String>> {
    let digits = phone.bytes().rev().take(VARIED_DIGITS).filter(u8::is_ascii_digit).count();
    ensure!(digits == VARIED_DIGITS, "the number has to end in {VARIED_DIGITS} digits, because a flood changes them");
    let (same, last) = phone.split_at(phone.len() - VARIED_DIGITS);
    let last: u32 = last.parse()?;
    Ok((0..count).map(|step| format!("{same}{:04}", (last + step) % 10_000)).collect())
}

/// A delivery with a proof for `now`. A repeated delivery is signed again.
fn sign_delivery(
    context: &LeadSampleContext<'_>,
    name: &str,
    form: &FormConfig,
    payload: &SubmissionPayload,
    now: Timestamp,
) -> anyhow::Result<WebhookPost> {
    let proof = match &form.verify {
        FormScheme::StandardWebhooks => SenderProof::StandardWebhooks { id: &payload.id, at: now },
        FormScheme::StaticHeader { header } => SenderProof::StaticHeader { header },
        FormScheme::SecretPath => SenderProof::SecretPath,
        FormScheme::Signature => match form.kind {
            FormKind::Typeform => SenderProof::Typeform,
            FormKind::GoogleAds => SenderProof::GoogleAds,
            FormKind::Meta => SenderProof::Meta,
            FormKind::Webflow => SenderProof::Webflow { at: now },
            FormKind::Tally => SenderProof::Tally,
            FormKind::HubSpot => {
                let notification_url = form.notification_url.as_deref().unwrap_or_default();
                SenderProof::HubSpot { notification_url, at: now }
            }
            FormKind::Jotform
            | FormKind::Elementor
            | FormKind::GravityForms
            | FormKind::WpForms
            | FormKind::ContactForm7
            | FormKind::Web => bail!("a {} form signs no deliveries", form.kind),
        },
    };
    payload.post.clone().sign(proof, &read_webhook_secret(context.config, context.secret, name)?)
}

#[cfg(test)]
mod tests;
