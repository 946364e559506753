//! Leads to try things with: the recorded submissions of `events/leads`, filled in anew under the names that the client's form
//! has for its fields, proven with the secrets of this run, and put into the stand-ins where a sender only names them.
//!
//! Whoever fills in a form is always the same person with the number that is asked for, but for a flood, which is of many.
//! Promises that what it builds is believed by the receiver and found by the reader, for any client that has such a form.

mod shapes;

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::client_config::{ClientConfig, ConsentRule, Form, FormKind, FormScheme};

use super::{
    freshen::{hmac_base64, hmac_hex},
    renew::Delivery,
    samples::Batch,
};
use crate::leads::Leads;
use shapes::Content;

/// Who fills in the forms.
const PERSON: (&str, &str) = ("Noa", "Levi");
/// Submissions at once.
const CROWD: usize = 200;
/// So many leads more than a form takes.
const OVER: u32 = 5;
/// A flood of more than this takes too long to watch.
const LARGEST_FLOOD: u32 = 500;
/// By how many of its last digits the numbers of a flood differ.
const DIFFERENT_DIGITS: usize = 4;

/// What can be done with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Somebody leaves a number.
    Leave,
    /// The last delivery once more.
    Again,
    /// Whoever was last fills in the form once more.
    SamePerson,
    /// A trial of the sender's.
    Test,
    /// The box is not ticked.
    Refuse,
    /// Two hundred submissions of one number at once.
    Crowd,
    /// More leads than the form takes, each of another number.
    Flood,
}

/// The forms of a client with what is known to sign for them.
pub struct Desk<'a> {
    /// The client.
    pub config: &'a ClientConfig,
    /// Secrets by their full name.
    pub secret: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The stand-ins.
    pub leads: &'a Leads,
}

/// What was sent last.
#[derive(Clone)]
struct Sent {
    content: Content,
    phone: String,
}

/// Remembers the last submission of each form, and gives numbers to all.
#[derive(Default)]
pub struct LeadBook(Mutex<Known>);

#[derive(Default)]
struct Known {
    last_number: i64,
    sent: BTreeMap<String, Sent>,
}

/// One submission.
struct Submission<'a> {
    desk: &'a Desk<'a>,
    name: &'a str,
    form: &'a Form,
    phone: &'a str,
    agrees: bool,
    test: bool,
    /// Nothing else has it.
    number: i64,
    now: Timestamp,
}

impl LeadBook {
    /// Does something with a form: changes what the stand-ins know, and says what is to be posted for it.
    pub fn make(&self, desk: &Desk<'_>, name: &str, deed: Deed, phone: &str, now: Timestamp) -> anyhow::Result<Batch> {
        let form = desk.config.forms.get(name).with_context(|| format!("this client has no form {name}"))?;
        let known = || {
            let known = crate::lock(&self.0);
            known.sent.get(name).cloned().with_context(|| format!("nobody was on {name} yet; leave a number first"))
        };
        let one = |phone: &str, agrees: bool, test: bool| {
            let submission = Submission { desk, name, form, phone, agrees, test, number: self.fresh(now), now };
            let content = submission.content()?;
            let delivery = proven(desk, name, form, &content, now)?;
            crate::lock(&self.0).sent.insert(name.to_owned(), Sent { content, phone: phone.to_owned() });
            anyhow::Ok(delivery)
        };
        let phone = phone.trim();
        ensure!(!phone.is_empty(), "type the number that is left");
        let (deliveries, about) = match deed {
            Deed::Leave => (vec![one(phone, true, false)?], format!("a lead of {name}")),
            Deed::Again => {
                let last = known()?;
                (vec![proven(desk, name, form, &last.content, now)?], format!("the last delivery of {name}"))
            }
            Deed::SamePerson => {
                let last = known()?;
                (vec![one(&last.phone, true, false)?], format!("the same person on {name}"))
            }
            Deed::Test => {
                ensure!(marks_tests(form), "a {} form marks no trials, and `fields.test` names no field", form.kind);
                (vec![one(phone, true, true)?], format!("a trial of {name}"))
            }
            Deed::Refuse => {
                ensure!(can_refuse(form), "whoever sends this form agrees: a sentence on it says so");
                (vec![one(phone, false, false)?], format!("a lead of {name} without consent"))
            }
            Deed::Crowd => {
                let all = (0..CROWD).map(|_| one(phone, true, false)).collect::<anyhow::Result<_>>()?;
                (all, format!("{CROWD} submissions of one number at {name}"))
            }
            Deed::Flood => {
                let leads = form.burst.leads + OVER;
                ensure!(leads <= LARGEST_FLOOD, "{name} takes {} leads; lower its `burst` to try", form.burst.leads);
                let numbers = different(phone, leads)?;
                let all = numbers.iter().map(|phone| one(phone, true, false)).collect::<anyhow::Result<_>>()?;
                (all, format!("{leads} leads of {name}"))
            }
        };
        Ok(Batch { deliveries, about, at_once: matches!(deed, Deed::Crowd | Deed::Flood) })
    }

    /// Whether somebody was on this form.
    pub fn was_on(&self, name: &str) -> bool {
        crate::lock(&self.0).sent.contains_key(name)
    }

    /// A number nothing else has: the time in milliseconds, or one more than the last.
    fn fresh(&self, now: Timestamp) -> i64 {
        let mut known = crate::lock(&self.0);
        known.last_number = now.as_millisecond().max(known.last_number + 1);
        known.last_number
    }
}

/// Whether leads of this form can be posted: whether what proves them, and what they are asked for with, is known.
pub fn is_ready(config: &ClientConfig, name: &str, form: &Form, knows: impl Fn(&str) -> bool) -> bool {
    let asked = form.kind == FormKind::Meta || is_event(form);
    knows(&config.webhook_secret(name)) && (!asked || knows(&config.form_secret(name)))
}

/// Whether a delivery of this form can say that it is a trial.
pub fn marks_tests(form: &Form) -> bool {
    matches!(form.kind, FormKind::GoogleAds | FormKind::Meta) || form.fields.test.is_some()
}

/// Whether somebody can send this form without agreeing.
pub fn can_refuse(form: &Form) -> bool {
    matches!(form.consent, ConsentRule::Field { .. })
}

/// Whether `HubSpot` posts an event of an app's subscription, and no contact.
fn is_event(form: &Form) -> bool {
    form.kind == FormKind::HubSpot && form.verify == FormScheme::Signature
}

/// Numbers like this one that differ in their last digits.
fn different(phone: &str, count: u32) -> anyhow::Result<Vec<String>> {
    let digits = phone.bytes().rev().take(DIFFERENT_DIGITS).filter(u8::is_ascii_digit).count();
    ensure!(digits == DIFFERENT_DIGITS, "the number has to end in {DIFFERENT_DIGITS} digits, which a flood changes");
    let (same, last) = phone.split_at(phone.len() - DIFFERENT_DIGITS);
    let last: u32 = last.parse()?;
    Ok((0..count).map(|step| format!("{same}{:04}", (last + step) % 10_000)).collect())
}

/// A delivery with its proof as of now: whoever posts again signs again.
fn proven(desk: &Desk<'_>, name: &str, form: &Form, content: &Content, now: Timestamp) -> anyhow::Result<Delivery> {
    let secret = webhook_secret(desk, name)?;
    let Content { id, headers, body } = content.clone();
    let mut delivery = Delivery { path: format!("/leads/{name}"), headers, body };
    let (key, millis) = (secret.as_bytes(), now.as_millisecond());
    match &form.verify {
        FormScheme::StandardWebhooks => delivery.sign_by_standard_webhooks(&secret, &id, millis)?,
        FormScheme::StaticHeader { header } => delivery.set(header, &secret),
        FormScheme::SecretPath => delivery.path = format!("/leads/{name}/{secret}"),
        FormScheme::Signature => match form.kind {
            FormKind::Typeform => {
                let signature = hmac_base64(key, delivery.body.as_bytes());
                delivery.set("typeform-signature", &format!("sha256={signature}"));
            }
            FormKind::Meta => {
                let signature = hmac_hex(key, delivery.body.as_bytes());
                delivery.set("x-hub-signature-256", &format!("sha256={signature}"));
            }
            FormKind::Webflow => {
                let signature = hmac_hex(key, format!("{millis}:{}", delivery.body).as_bytes());
                delivery.set("x-webflow-timestamp", &millis.to_string());
                delivery.set("x-webflow-signature", &signature);
            }
            FormKind::Tally => delivery.set("tally-signature", &hmac_base64(key, delivery.body.as_bytes())),
            FormKind::HubSpot => {
                let url = form.notification_url.as_deref().unwrap_or_default();
                let signature = hmac_base64(key, format!("POST{url}{}{millis}", delivery.body).as_bytes());
                delivery.set("x-hubspot-request-timestamp", &millis.to_string());
                delivery.set("x-hubspot-signature-v3", &signature);
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

fn webhook_secret(desk: &Desk<'_>, name: &str) -> anyhow::Result<String> {
    let secret = desk.config.webhook_secret(name);
    (desk.secret)(&secret).with_context(|| format!("the secret {secret} is missing"))
}

#[cfg(test)]
mod tests;
