//! Leads: from a form's delivery to the first touch. The preview also shows the field in which each
//! fact was found, so that the developer can write it into `client.toml`.
//!
//! `lead_first_touch` reads the delivery, and [`super::in_memory_ledger`] greets the number.
//! Lookups are answered from `--lookup` files.

use jiff::Timestamp;
use lead_first_touch::{
    LeadOutcome,
    facts::{FactSource, LeadFact, LeadFacts},
    lead::{Lead, LeadDelivery, LeadReference, ParsedLead},
    lead_parser::{find_facts, find_facts_in_response, parse_lead, parse_lead_response},
    lookup::build_lookup_url,
    plan::plan_greeting,
};
use serde_json::Value;
use tellonce_core::{
    client_config::{FormConfig, RepeatAction},
    delivery::Verified,
    dispatch::{DispatchResult, GreetingResult, GreetingRules},
    greeting::{Admission, LeadRate},
    ledger::{IdempotencyKey, OutboundMessage},
    pseudonym::PseudonymKey,
};

use super::{
    cases::RecordedDelivery,
    in_memory_ledger::InMemoryLedger,
    inbound_route::{InboundRoute, stored_headers},
    report::{
        DeliveryPreview, EventPreview, FactPreview, LeadFactsPreview, LeadPreview, LeadsPreview, describe_outcome,
    },
    simulator::DeliverySimulator,
};

pub(super) struct LeadSimulator<'a> {
    inbound: InboundRoute<'a>,
    form: &'a FormConfig,
    ledger: InMemoryLedger<'a>,
    /// Starts of the current windows of `burst` and `sustained`, and the leads in them.
    windows: [(i64, u32); 2],
    held: bool,
    /// Idempotency keys of each delivery's messages.
    keys: Vec<Vec<IdempotencyKey>>,
}

impl<'a> LeadSimulator<'a> {
    pub(super) fn new(inbound: InboundRoute<'a>, form: &'a FormConfig) -> Self {
        let ledger = InMemoryLedger::new(inbound.config);
        Self { inbound, form, ledger, windows: [(0, 0); 2], held: false, keys: Vec::new() }
    }
}

impl<'a> DeliverySimulator<'a> for LeadSimulator<'a> {
    fn simulate_delivery(&mut self, case: &'a RecordedDelivery, now: Timestamp) -> DeliveryPreview {
        self.ledger.advance_to(now);
        self.keys.push(Vec::new());
        match self.inbound.accept_delivery(case, now) {
            Ok((verified, id, shown)) => self.process_delivery(&verified, &id, now, shown),
            Err(shown) => *shown,
        }
    }

    fn finish(mut self, shown: &mut [DeliveryPreview]) {
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
}

impl LeadSimulator<'_> {
    fn process_delivery(
        &mut self,
        delivery: &Verified<'_>,
        id: &str,
        now: Timestamp,
        mut shown: DeliveryPreview,
    ) -> DeliveryPreview {
        let headers = stored_headers(delivery);
        let (name, form, config) = (self.inbound.sender_name, self.form, self.inbound.config);
        // A preview stores nothing, so its ids need no secret key.
        let pseudonyms = PseudonymKey::from_bytes(&[0; 32]);
        let delivery = LeadDelivery {
            form_name: name,
            form,
            config,
            pseudonyms: &pseudonyms,
            headers: &headers,
            body: delivery.body,
            received_at: now,
        };
        let facts = find_facts(&delivery);
        let leads = match parse_lead(&delivery) {
            ParsedLead::Lead(lead) => vec![self.plan_greeting(&lead, facts, id, now, &mut shown)],
            ParsedLead::NeedsLookup(references) => {
                let named =
                    references.iter().map(|reference| self.look_up_lead(&delivery, reference, id, now, &mut shown));
                named.collect()
            }
            ParsedLead::Skipped(because) => {
                shown.skip_reason = Some(describe_outcome(LeadOutcome::Skipped(because)));
                facts.map(|facts| describe_facts(self.form, &facts, None, now)).into_iter().collect()
            }
        };
        let kind = if leads.iter().any(|lead| lead.lookup_request.is_some()) { "lead.named" } else { "lead.submitted" };
        shown.event = (!leads.is_empty()).then_some(EventPreview::Leads(LeadsPreview { kind, leads }));
        shown
    }

    /// Completes a lead of which the delivery contains only the id, from a `--lookup` file.
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
                "lookup-skipped: the delivery contains only the lead's id, and a preview calls no API; give the response \
                 for {} with --lookup FILE",
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
                append_reason(&mut shown.skip_reason, describe_outcome(LeadOutcome::Skipped(because)));
                facts.map(|facts| describe_facts(self.form, &facts, None, now)).unwrap_or_default()
            }
        };
        LeadPreview { lookup_request, ..lead }
    }

    /// Greets a lead, unless its form is held.
    fn plan_greeting(
        &mut self,
        lead: &Lead,
        facts: Option<LeadFacts>,
        id: &str,
        now: Timestamp,
        shown: &mut DeliveryPreview,
    ) -> LeadPreview {
        let described = facts.map(|facts| describe_facts(self.form, &facts, Some(lead), now)).unwrap_or_default();
        let message = match plan_greeting(self.inbound.config, self.form, lead, id, now) {
            Ok(message) => message,
            Err(outcome) => {
                append_reason(&mut shown.skip_reason, describe_outcome(outcome));
                return described;
            }
        };
        if self.count_lead(now) {
            let because =
                "held-for-review: the form received too many leads; they wait until an operator releases them";
            append_reason(&mut shown.skip_reason, because.to_owned());
        } else if let Some(because) = self.greet_once(&message, now) {
            append_reason(&mut shown.skip_reason, because);
        } else if let Some(keys) = self.keys.last_mut() {
            keys.push(message.key.clone());
        }
        LeadPreview { key: Some(message.key.to_string()), ..described }
    }

    /// Counts a lead and returns whether the form is held for review.
    fn count_lead(&mut self, now: Timestamp) -> bool {
        let limits = self.form.limits;
        for (window, limit) in self.windows.iter_mut().zip([limits.burst, limits.sustained]) {
            let start = LeadRate::window_start(limit, now);
            *window = (start, if window.0 == start { window.1 + 1 } else { 1 });
        }
        let [(_, leads), (_, sustained_leads)] = self.windows;
        let lead_rate = LeadRate { leads, sustained_leads, ..LeadRate::default() };
        self.held |= lead_rate.decide_admission(limits, now) == Admission::Held;
        self.held
    }

    /// Greets a lead once. Returns the reason if it is not greeted.
    fn greet_once(&mut self, message: &OutboundMessage, now: Timestamp) -> Option<String> {
        let FormConfig { repeat, per_phone, .. } = *self.form;
        let rules = GreetingRules { repeat, per_phone };
        let escalation = match self.ledger.dispatch_greeting(message, self.inbound.sender_name, rules, now) {
            GreetingResult::Dispatched(
                DispatchResult::AlreadyKnown(key, state) | DispatchResult::PayloadConflict(key, state),
            ) => return Some(format!("already-known: {key} is {} in the ledger", state.name())),
            GreetingResult::Dispatched(_) => return None,
            GreetingResult::AlreadyGreeted if repeat.then == RepeatAction::Escalate => "; the team is alerted",
            GreetingResult::AlreadyGreeted | GreetingResult::LimitReached | GreetingResult::OptedOut => "",
        };
        let reason = self.ledger.final_result(&message.key)?.err()?;
        Some(format!("{reason}{escalation}"))
    }
}

/// The facts of a submission; `lead` is set if it may be greeted.
fn describe_facts(form: &FormConfig, facts: &LeadFacts, lead: Option<&Lead>, now: Timestamp) -> LeadPreview {
    let location = |fact: &str| match facts.sources.get(fact)? {
        FactSource::Field(field) => Some(field.clone()),
        FactSource::Sender => Some("(the sender's standard field)".to_owned()),
        FactSource::Form => Some("(stated on the form)".to_owned()),
    };
    let seen = |fact: &str, value: Option<String>| FactPreview { value, field: location(fact) };
    let or_else = |seen: FactPreview, value: Option<String>, origin: &str| match seen.value {
        None if value.is_some() => FactPreview { value, field: Some(origin.to_owned()) },
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
        id: or_else(id, lead.map(|lead| lead.id.clone()), "(none: built from form, number, name and minute)"),
        form_id: seen(LeadFact::FormId.config_name(), facts.form_id.clone()),
        submitted_at: or_else(submitted_at, Some(now.to_string()), "(none: the time of receipt)"),
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

fn append_reason(because: &mut Option<String>, more: String) {
    *because = Some(match because.take() {
        Some(before) => format!("{before}; {more}"),
        None => more,
    });
}
