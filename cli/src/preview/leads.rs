//! Leads: from a form's delivery to what its sender hears, and in which field everything was found, so that somebody can
//! write down where it stands.
//!
//! Reading is `lead_first_touch`'s, who hears what again `tellonce_core::greeting`'s, over the ledger in memory of
//! [`super::scratch`]. What has to be asked for comes from the answers that were given.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lead_first_touch::{
    facts::{FactSource, LeadFact, LeadFacts},
    lead::{
        Lead, LeadDelivery, LeadReference, ParsedLead, find_facts, find_facts_in_response, parse_lead,
        parse_lead_response,
    },
    lookup::build_lookup_url,
    plan::plan_first_touch,
};
use serde::Serialize;
use serde_json::Value;
use tellonce_core::{
    client_config::{FormConfig, RepeatAction, RepeatRule},
    delivery::Verified,
    greeting::{Admission, Greeting, GreetingDecision, GreetingHistory, LeadRate},
    ledger::{IdempotencyKey, MessageState, OutboundMessage},
};

use super::{
    DeliveryPreview, EventPreview, InboundRoute,
    cases::RecordedDelivery,
    in_memory_ledger::{InMemoryLedger, LedgerLookup},
};

/// What a delivery of a form says.
#[derive(Serialize)]
pub(super) struct LeadsPreview {
    kind: &'static str,
    leads: Vec<LeadPreview>,
}

/// One lead. Names and numbers of nobody but whom it is of; the number is masked.
#[derive(Default, Serialize)]
struct LeadPreview {
    /// What the sender would be asked, for a lead that a delivery only names.
    #[serde(skip_serializing_if = "Option::is_none")]
    lookup_request: Option<String>,
    /// Its idempotency key, if somebody may be greeted.
    key: Option<String>,
    found: Option<LeadFactsPreview>,
    /// The names of all fields, not what is in them. What one goes by besides stands behind `|`.
    fields: Vec<String>,
}

/// What was found.
#[derive(Serialize)]
struct LeadFactsPreview {
    phone: FactPreview,
    name: FactPreview,
    language: FactPreview,
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<FactPreview>,
    consent: FactPreview,
    id: FactPreview,
    form_id: FactPreview,
    submitted_at: FactPreview,
}

/// A fact, and where it was found or what was taken for it.
#[derive(Serialize)]
struct FactPreview {
    value: Option<String>,
    #[serde(rename = "in")]
    found_in: Option<String>,
}

/// Everything that one preview needs.
pub(super) struct LeadSimulator<'a> {
    inbound: InboundRoute<'a>,
    form: &'a FormConfig,
    ledger: InMemoryLedger,
    /// What each number has heard.
    greeting_histories: BTreeMap<String, GreetingHistory>,
    /// Leads of the window that is counted.
    burst_window: (i64, u32),
    held: bool,
    /// Keys of what each delivery led to.
    keys: Vec<Vec<IdempotencyKey>>,
}

impl<'a> LeadSimulator<'a> {
    /// For a form, through its door.
    pub(super) fn new(inbound: InboundRoute<'a>, form: &'a FormConfig) -> Self {
        let (ledger, greeting_histories, keys) = (InMemoryLedger::default(), BTreeMap::new(), Vec::new());
        Self { inbound: inbound, form, ledger, greeting_histories, burst_window: (0, 0), held: false, keys }
    }

    /// One delivery: verify it, file it, read it, greet whoever may be.
    pub(super) fn simulate_delivery(&mut self, case: &'a RecordedDelivery, now: Timestamp) -> DeliveryPreview {
        self.ledger.advance_to(now);
        self.keys.push(Vec::new());
        match self.inbound.accept_delivery(case, now) {
            Ok((verified, id, shown)) => self.process_delivery(&verified, &id, now, shown),
            Err(shown) => *shown,
        }
    }

    /// Lets everything that waits be said, and says of each delivery what became of its messages.
    pub(super) fn finish(mut self, shown: &mut [DeliveryPreview]) {
        self.ledger.advance_to(Timestamp::MAX);
        for (delivery, keys) in shown.iter_mut().zip(&self.keys) {
            for result in keys.iter().filter_map(|key| self.ledger.final_result(key)) {
                match result {
                    Ok(message) => delivery.messages.push(message),
                    Err(because) => append_reason(&mut delivery.skip_reason, because),
                }
            }
        }
    }

    fn process_delivery(
        &mut self,
        delivery: &Verified<'_>,
        id: &str,
        now: Timestamp,
        mut shown: DeliveryPreview,
    ) -> DeliveryPreview {
        let headers = delivery.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let (name, form, config) = (self.inbound.sender_name, self.form, self.inbound.config);
        let delivery =
            LeadDelivery { form_name: name, form, config, headers: &headers, body: delivery.body, received_at: now };
        let facts = find_facts(&delivery);
        let leads = match parse_lead(&delivery) {
            ParsedLead::Lead(lead) => vec![self.plan_greeting(&lead, facts, id, now, &mut shown)],
            ParsedLead::NeedsLookup(references) => {
                let named =
                    references.iter().map(|reference| self.look_up_lead(&delivery, reference, id, now, &mut shown));
                named.collect()
            }
            ParsedLead::Skipped(because) => {
                shown.skip_reason = Some(because.to_outcome());
                facts.map(|facts| describe_facts(self.form, &facts, None, now)).into_iter().collect()
            }
        };
        let kind = if leads.iter().any(|lead| lead.lookup_request.is_some()) { "lead.named" } else { "lead.submitted" };
        shown.event = (!leads.is_empty()).then_some(EventPreview::Leads(LeadsPreview { kind, leads }));
        shown
    }

    /// A lead that a delivery only names, from the answer that was given.
    fn look_up_lead(
        &mut self,
        delivery: &LeadDelivery<'_>,
        reference: &LeadReference,
        id: &str,
        now: Timestamp,
        shown: &mut DeliveryPreview,
    ) -> LeadPreview {
        let lookup_request = build_lookup_url(None, self.form, reference).ok().map(|address| format!("GET {address}"));
        let is_it = |answer: &Value| answer.pointer("/id").and_then(Value::as_str) == Some(reference.id.as_str());
        let Some((answer, _)) = self.inbound.lookups.iter().find(|(_, answer)| is_it(answer)) else {
            let because = format!(
                "look-up-skipped: the delivery only names the lead; a preview asks nobody, so give the answer about {} with \
                 --lookup FILE",
                reference.id
            );
            append_reason(&mut shown.skip_reason, because);
            return LeadPreview { lookup_request, ..LeadPreview::default() };
        };
        let facts = find_facts_in_response(delivery, reference, answer);
        let read = parse_lead_response(delivery, reference, answer);
        let lead = match read {
            Ok(lead) => self.plan_greeting(&lead, facts, id, now, shown),
            Err(because) => {
                append_reason(&mut shown.skip_reason, because.to_outcome());
                facts.map(|facts| describe_facts(self.form, &facts, None, now)).unwrap_or_default()
            }
        };
        LeadPreview { lookup_request, ..lead }
    }

    /// Greets a lead, unless its form has had too many.
    fn plan_greeting(
        &mut self,
        lead: &Lead,
        facts: Option<LeadFacts>,
        id: &str,
        now: Timestamp,
        shown: &mut DeliveryPreview,
    ) -> LeadPreview {
        let described = facts.map(|facts| describe_facts(self.form, &facts, Some(lead), now)).unwrap_or_default();
        let message = match plan_first_touch(self.inbound.config, self.form, lead, id, now) {
            Ok(message) => message,
            Err(skip_reason) => {
                append_reason(&mut shown.skip_reason, skip_reason.to_outcome());
                return described;
            }
        };
        if self.count_toward_burst(now) {
            let because = "held-for-review: the form had too many leads at once, and waits until somebody has looked";
            append_reason(&mut shown.skip_reason, because.to_owned());
        } else if let Some(because) = self.greet_once(lead, &message, now) {
            append_reason(&mut shown.skip_reason, because);
        } else if let Some(keys) = self.keys.last_mut() {
            keys.push(message.key.clone());
        }
        LeadPreview { key: Some(message.key.to_string()), ..described }
    }

    /// Counts a lead, and says whether it has to wait for somebody to look.
    fn count_toward_burst(&mut self, now: Timestamp) -> bool {
        let limit = self.form.burst;
        let window = LeadRate::window_start(limit, now);
        let leads = if self.burst_window.0 == window { self.burst_window.1 + 1 } else { 1 };
        self.burst_window = (window, leads);
        self.held |= LeadRate { leads, ..LeadRate::default() }.decide_admission(limit, now) == Admission::Held;
        self.held
    }

    /// Greets somebody, once; says why not if not.
    fn greet_once(&mut self, lead: &Lead, message: &OutboundMessage, now: Timestamp) -> Option<String> {
        let FormConfig { repeat, per_phone, .. } = *self.form;
        let next =
            Greeting { form: self.inbound.sender_name.to_owned(), lead: message.key.subject().to_owned(), at: now };
        let number = lead.phone.expose().to_owned();
        let mut history = self.greeting_histories.get(&number).cloned().unwrap_or_default();
        loop {
            match history.decide_greeting(&next, repeat, per_phone) {
                GreetingDecision::Repeat(before) if before.lead == next.lead => break,
                // What was never said does not stand in the way.
                GreetingDecision::Repeat(before) if !self.was_sent(&before) => {
                    history = history.without_lead(&before.lead)
                }
                GreetingDecision::Repeat(before) => return Some(format_already_greeted(&before, repeat)),
                GreetingDecision::TooOften(limit) => {
                    return Some(format!("too-often: this number was greeted {} times already", limit.leads));
                }
                GreetingDecision::Greet(after) => {
                    self.greeting_histories.insert(number, after);
                    break;
                }
            }
        }
        match self.ledger.dispatch_message(message, now) {
            LedgerLookup::New(_) => None,
            LedgerLookup::Known(key, state) | LedgerLookup::Conflicting(key, state) => {
                Some(format!("already-known: {key} is {} in the ledger", state.name()))
            }
        }
    }

    fn was_sent(&self, greeting: &Greeting) -> bool {
        let row = self.ledger.find_row(&IdempotencyKey::for_lead_subject(&greeting.lead));
        // The line takes everything here, so what else there is was too late.
        row.is_none_or(|row| matches!(row.state, MessageState::Accepted | MessageState::Held | MessageState::Claimed))
    }
}

fn format_already_greeted(before: &Greeting, repeat: RepeatRule) -> String {
    let escalation = if repeat.then == RepeatAction::Escalate { "; a human is told" } else { "" };
    format!("{}{escalation}", before.already_greeted_reason())
}

/// What was found, for people; `lead` is who may be greeted for it.
fn describe_facts(form: &FormConfig, facts: &LeadFacts, lead: Option<&Lead>, now: Timestamp) -> LeadPreview {
    let location = |fact: &str| match facts.sources.get(fact)? {
        FactSource::Field(field) => Some(field.clone()),
        FactSource::Sender => Some("(where the sender always has it)".to_owned()),
        FactSource::Form => Some("(stands on the form)".to_owned()),
    };
    let seen = |fact: &str, is: Option<String>| FactPreview { value: is, found_in: location(fact) };
    let or_else = |seen: FactPreview, is: Option<String>, why: &str| match seen.value {
        None if is.is_some() => FactPreview { value: is, found_in: Some(why.to_owned()) },
        _ => seen,
    };
    let id = seen(LeadFact::Id.config_name(), facts.id.clone());
    let submitted_at = seen(LeadFact::SubmittedAt.config_name(), facts.submitted_at.map(|at| at.to_string()));
    let found = LeadFactsPreview {
        phone: seen(LeadFact::Phone.config_name(), facts.phone.as_ref().ok().map(ToString::to_string)),
        name: seen(LeadFact::Name.config_name(), facts.name.clone()),
        language: seen(LeadFact::Language.config_name(), facts.locale.clone()),
        choice: form.choice.as_ref().map(|_| seen("choice", facts.choice.clone())),
        consent: seen("consent", facts.consent.as_ref().ok().cloned()),
        id: or_else(id, lead.map(|lead| lead.id.clone()), "(nowhere: made of form, number, name and minute)"),
        form_id: seen(LeadFact::FormId.config_name(), facts.form_id.clone()),
        submitted_at: or_else(submitted_at, Some(now.to_string()), "(nowhere: when it came in)"),
    };
    let names = |names: &Vec<String>| {
        let mut once: Vec<&str> = Vec::new();
        for name in names {
            if !once.contains(&name.as_str()) {
                once.push(name);
            }
        }
        once.join(" | ")
    };
    let fields = facts.fields.iter().map(names).collect();
    LeadPreview { lookup_request: None, key: None, found: Some(found), fields }
}

/// One reason more.
fn append_reason(because: &mut Option<String>, more: String) {
    *because = Some(match because.take() {
        Some(before) => format!("{before}; {more}"),
        None => more,
    });
}
