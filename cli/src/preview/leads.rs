//! Leads: from a form's delivery to what its sender hears, and in which field everything was found, so that somebody can
//! write down where it stands.
//!
//! Reading is `lead_first_touch`'s, who hears what again `shared::greeting`'s, over the ledger in memory of
//! [`super::scratch`]. What has to be asked for comes from the answers that were given.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lead_first_touch::{
    facts::{Fact, Facts, Place},
    lead::{Delivery, Lead, Reading, Reference, found, found_in_answer, read, read_answer},
    plan::plan,
    read_back::question,
};
use serde::Serialize;
use serde_json::Value;
use shared::{
    client_config::{Form, OnRepeat, RepeatRule},
    delivery::Verified,
    greeting::{Gate, Greeting, Heard, Intake, Meeting},
    ledger::{Key, News, State},
};

use super::{
    Door, EventShown, Shown,
    cases::Case,
    scratch::{Met, Scratch},
};

/// What a delivery of a form says.
#[derive(Serialize)]
pub(super) struct LeadsShown {
    kind: &'static str,
    leads: Vec<LeadShown>,
}

/// One lead. Names and numbers of nobody but whom it is of; the number is masked.
#[derive(Default, Serialize)]
struct LeadShown {
    /// What the sender would be asked, for a lead that a delivery only names.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_for: Option<String>,
    /// Its idempotency key, if somebody may be greeted.
    key: Option<String>,
    found: Option<FoundShown>,
    /// The names of all fields, not what is in them. What one goes by besides stands behind `|`.
    fields: Vec<String>,
}

/// What was found.
#[derive(Serialize)]
struct FoundShown {
    phone: Seen,
    name: Seen,
    language: Seen,
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<Seen>,
    consent: Seen,
    id: Seen,
    form_id: Seen,
    submitted_at: Seen,
}

/// A fact, and where it was found or what was taken for it.
#[derive(Serialize)]
struct Seen {
    is: Option<String>,
    #[serde(rename = "in")]
    place: Option<String>,
}

/// Everything that one preview needs.
pub(super) struct Desk<'a> {
    door: Door<'a>,
    form: &'a Form,
    scratch: Scratch,
    /// What each number has heard.
    heard: BTreeMap<String, Heard>,
    /// Leads of the window that is counted.
    counted: (i64, u32),
    held: bool,
    /// Keys of what each delivery led to.
    keys: Vec<Vec<Key>>,
}

impl<'a> Desk<'a> {
    /// For a form, through its door.
    pub(super) fn new(door: Door<'a>, form: &'a Form) -> Self {
        let (scratch, heard, keys) = (Scratch::default(), BTreeMap::new(), Vec::new());
        Self { door, form, scratch, heard, counted: (0, 0), held: false, keys }
    }

    /// One delivery: verify it, file it, read it, greet whoever may be.
    pub(super) fn take(&mut self, case: &'a Case, now: Timestamp) -> Shown {
        self.scratch.pass(now);
        self.keys.push(Vec::new());
        match self.door.open(case, now) {
            Ok((verified, id, shown)) => self.process(&verified, &id, now, shown),
            Err(shown) => *shown,
        }
    }

    /// Lets everything that waits be said, and says of each delivery what became of its messages.
    pub(super) fn close(mut self, shown: &mut [Shown]) {
        self.scratch.pass(Timestamp::MAX);
        for (delivery, keys) in shown.iter_mut().zip(&self.keys) {
            for fate in keys.iter().filter_map(|key| self.scratch.fate(key)) {
                match fate {
                    Ok(message) => delivery.messages.push(message),
                    Err(because) => add(&mut delivery.nothing_because, because),
                }
            }
        }
    }

    fn process(&mut self, delivery: &Verified<'_>, id: &str, now: Timestamp, mut shown: Shown) -> Shown {
        let headers = delivery.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let (name, form, config) = (self.door.name, self.form, self.door.config);
        let delivery = Delivery { name, form, config, headers: &headers, body: delivery.body, received_at: now };
        let facts = found(&delivery);
        let leads = match read(&delivery) {
            Reading::Lead(lead) => vec![self.welcome(&lead, facts, id, now, &mut shown)],
            Reading::References(references) => {
                let named = references.iter().map(|reference| self.ask(&delivery, reference, id, now, &mut shown));
                named.collect()
            }
            Reading::Nothing(because) => {
                shown.nothing_because = Some(because.record());
                facts.map(|facts| described(self.form, &facts, None, now)).into_iter().collect()
            }
        };
        let kind = if leads.iter().any(|lead| lead.asked_for.is_some()) { "lead.named" } else { "lead.submitted" };
        shown.event = (!leads.is_empty()).then_some(EventShown::Leads(LeadsShown { kind, leads }));
        shown
    }

    /// A lead that a delivery only names, from the answer that was given.
    fn ask(
        &mut self,
        delivery: &Delivery<'_>,
        reference: &Reference,
        id: &str,
        now: Timestamp,
        shown: &mut Shown,
    ) -> LeadShown {
        let asked_for = question(None, self.form, reference).ok().map(|address| format!("GET {address}"));
        let is_it = |answer: &Value| answer.pointer("/id").and_then(Value::as_str) == Some(reference.id.as_str());
        let Some((answer, _)) = self.door.lookups.iter().find(|(_, answer)| is_it(answer)) else {
            let because = format!(
                "look-up-skipped: the delivery only names the lead; a preview asks nobody, so give the answer about {} with \
                 --lookup FILE",
                reference.id
            );
            add(&mut shown.nothing_because, because);
            return LeadShown { asked_for, ..LeadShown::default() };
        };
        let facts = found_in_answer(delivery, reference, answer);
        let read = read_answer(delivery, reference, answer);
        let lead = match read {
            Ok(lead) => self.welcome(&lead, facts, id, now, shown),
            Err(because) => {
                add(&mut shown.nothing_because, because.record());
                facts.map(|facts| described(self.form, &facts, None, now)).unwrap_or_default()
            }
        };
        LeadShown { asked_for, ..lead }
    }

    /// Greets a lead, unless its form has had too many.
    fn welcome(&mut self, lead: &Lead, facts: Option<Facts>, id: &str, now: Timestamp, shown: &mut Shown) -> LeadShown {
        let described = facts.map(|facts| described(self.form, &facts, Some(lead), now)).unwrap_or_default();
        let news = match plan(self.door.config, self.form, lead, id, now) {
            Ok(news) => news,
            Err(unsayable) => {
                add(&mut shown.nothing_because, unsayable.record());
                return described;
            }
        };
        if self.too_many(now) {
            let because = "held-for-review: the form had too many leads at once, and waits until somebody has looked";
            add(&mut shown.nothing_because, because.to_owned());
        } else if let Some(because) = self.greet(lead, &news, now) {
            add(&mut shown.nothing_because, because);
        } else if let Some(keys) = self.keys.last_mut() {
            keys.push(news.key.clone());
        }
        LeadShown { key: Some(news.key.to_string()), ..described }
    }

    /// Counts a lead, and says whether it has to wait for somebody to look.
    fn too_many(&mut self, now: Timestamp) -> bool {
        let limit = self.form.burst;
        let window = Intake::window(limit, now);
        let leads = if self.counted.0 == window { self.counted.1 + 1 } else { 1 };
        self.counted = (window, leads);
        self.held |= Intake { leads, ..Intake::default() }.gate(limit, now) == Gate::Held;
        self.held
    }

    /// Greets somebody, once; says why not if not.
    fn greet(&mut self, lead: &Lead, news: &News, now: Timestamp) -> Option<String> {
        let Form { repeat, per_phone, .. } = *self.form;
        let next = Greeting { form: self.door.name.to_owned(), lead: news.key.subject().to_owned(), at: now };
        let number = lead.phone.expose().to_owned();
        let mut heard = self.heard.get(&number).cloned().unwrap_or_default();
        loop {
            match heard.meet(&next, repeat, per_phone) {
                Meeting::Repeat(before) if before.lead == next.lead => break,
                // What was never said does not stand in the way.
                Meeting::Repeat(before) if !self.was_said(&before) => heard = heard.without(&before.lead),
                Meeting::Repeat(before) => return Some(already_greeted(&before, repeat)),
                Meeting::TooOften(limit) => {
                    return Some(format!("too-often: this number was greeted {} times already", limit.leads));
                }
                Meeting::Greet(after) => {
                    self.heard.insert(number, after);
                    break;
                }
            }
        }
        match self.scratch.tell(news, now) {
            Met::New(_) => None,
            Met::Known(key, state) | Met::Differs(key, state) => {
                Some(format!("already-known: {key} is {} in the ledger", state.name()))
            }
        }
    }

    fn was_said(&self, greeting: &Greeting) -> bool {
        let row = self.scratch.row(&Key::first_touch_of(&greeting.lead));
        // The line takes everything here, so what else there is was too late.
        row.is_none_or(|row| matches!(row.state, State::Accepted | State::Held | State::Claimed))
    }
}

fn already_greeted(before: &Greeting, repeat: RepeatRule) -> String {
    let told = if repeat.then == OnRepeat::Escalate { "; a human is told" } else { "" };
    format!("{}{told}", before.in_the_way())
}

/// What was found, for people; `lead` is who may be greeted for it.
fn described(form: &Form, facts: &Facts, lead: Option<&Lead>, now: Timestamp) -> LeadShown {
    let place = |fact: &str| match facts.places.get(fact)? {
        Place::Field(field) => Some(field.clone()),
        Place::Sender => Some("(where the sender always has it)".to_owned()),
        Place::Form => Some("(stands on the form)".to_owned()),
    };
    let seen = |fact: &str, is: Option<String>| Seen { is, place: place(fact) };
    let or_else = |seen: Seen, is: Option<String>, why: &str| match seen.is {
        None if is.is_some() => Seen { is, place: Some(why.to_owned()) },
        _ => seen,
    };
    let id = seen(Fact::Id.name(), facts.id.clone());
    let submitted_at = seen(Fact::SubmittedAt.name(), facts.submitted_at.map(|at| at.to_string()));
    let found = FoundShown {
        phone: seen(Fact::Phone.name(), facts.phone.as_ref().ok().map(ToString::to_string)),
        name: seen(Fact::Name.name(), facts.name.clone()),
        language: seen(Fact::Language.name(), facts.locale.clone()),
        choice: form.choice.as_ref().map(|_| seen("choice", facts.choice.clone())),
        consent: seen("consent", facts.consent.as_ref().ok().cloned()),
        id: or_else(id, lead.map(|lead| lead.id.clone()), "(nowhere: made of form, number, name and minute)"),
        form_id: seen(Fact::FormId.name(), facts.form_id.clone()),
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
    LeadShown { asked_for: None, key: None, found: Some(found), fields }
}

/// One reason more.
fn add(because: &mut Option<String>, more: String) {
    *because = Some(match because.take() {
        Some(before) => format!("{before}; {more}"),
        None => more,
    });
}
