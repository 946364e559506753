//! Decides about greetings: whether a contact is greeted, and how many leads a form may have.
//!
//! Main types: [`GreetingHistory`] holds the greetings of a contact, and
//! [`GreetingHistory::decide_greeting`] decides about another [`Greeting`]; [`LeadRate`] counts the
//! leads of a form, and [`LeadRate::decide_admission`] decides whether a lead is greeted, held or
//! dropped.
//!
//! Promises: no side effects. Of two greetings within the window, in any order, the second becomes
//! a [`GreetingDecision::Repeat`]. For that, the second is decided with the history that the first
//! decision returned. Does **not** know phone numbers: the caller keeps the contacts apart.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    attributes::UnknownAttributes,
    client_config::{FormLimits, LeadLimit, RepeatRule, RepeatScope, TimeSpan},
};

/// How long greetings are stored. No window may be longer.
pub const MAX_WINDOW: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A greeting that a contact got or is about to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The form of the lead.
    pub form: String,
    /// The lead, by its partition key in the ledger: `lead:{id}`.
    pub lead: String,
    /// When the greeting was decided.
    pub at: Timestamp,
}

impl Greeting {
    /// Why another greeting is not sent, for people. Also true while this greeting waits.
    pub fn already_greeted_reason(&self) -> String {
        format!("already-greeted: this number has a greeting of {:.0} for {}", self.at, self.lead)
    }
}

/// The greetings of one contact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GreetingHistory {
    /// Counts writes. Every write names the version that it read. 0 before the first write.
    pub version: u64,
    /// The greetings, the oldest first. Greetings that no window reaches any more are left out.
    pub greetings: Vec<Greeting>,
    /// What another version of tellonce stored. Every write keeps it.
    pub unknown_attributes: UnknownAttributes,
}

/// Whether a lead is greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GreetingDecision {
    /// The lead is greeted, and this history is written with it.
    Greet(GreetingHistory),
    /// The contact was greeted before, with this greeting.
    Repeat(Greeting),
    /// The number has as many greetings as this limit allows.
    TooOften(LeadLimit),
}

impl GreetingHistory {
    /// Decides whether `next` is sent to a contact with this history.
    pub fn decide_greeting(&self, next: &Greeting, repeat: RepeatRule, per_phone: LeadLimit) -> GreetingDecision {
        let within =
            |span: TimeSpan| self.greetings.iter().filter(move |before| next.at.duration_since(before.at) < span.0);
        let counts = |before: &&Greeting| match repeat.across {
            RepeatScope::Forms => true,
            RepeatScope::Form => before.form == next.form,
        };
        if let Some(before) = within(repeat.within).rfind(counts) {
            return GreetingDecision::Repeat(before.clone());
        }
        if within(per_phone.within).count() >= usize::try_from(per_phone.leads).unwrap_or(usize::MAX) {
            return GreetingDecision::TooOften(per_phone);
        }
        let remembered = |before: &&Greeting| next.at.duration_since(before.at) < MAX_WINDOW;
        let greetings = self.greetings.iter().filter(remembered).cloned().chain([next.clone()]).collect();
        GreetingDecision::Greet(Self { version: self.version + 1, greetings, ..self.clone() })
    }

    /// The history with the greeting of `lead` sent again now. An error names the greeting that the
    /// contact got since `decided_at`, when the lead's own was decided: a contact gets one.
    pub fn resend_greeting(&self, lead: &str, decided_at: Timestamp, now: Timestamp) -> Result<Self, Greeting> {
        if let Some(later) = self.greetings.iter().rfind(|it| it.lead != lead && it.at >= decided_at) {
            return Err(later.clone());
        }
        // A write even if nothing is left of the own greeting: a lead that is decided about at the
        // same time conflicts with it, and decides again.
        let own = self.greetings.iter().find(|it| it.lead == lead).map(|own| Greeting { at: now, ..own.clone() });
        let mut after = Self { version: self.version + 1, ..self.without_lead(lead) };
        after.greetings.extend(own);
        Ok(after)
    }

    /// This history without a greeting that was never sent.
    #[must_use]
    pub fn without_lead(&self, lead: &str) -> Self {
        let greetings = self.greetings.iter().filter(|greeting| greeting.lead != lead).cloned().collect();
        Self { greetings, ..self.clone() }
    }
}

/// The leads of a form, and the operators' decisions about them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeadRate {
    /// Leads in the window of `burst`, including the lead to decide about.
    pub leads: u32,
    /// Leads in the window of `sustained`, including the lead to decide about.
    pub sustained_leads: u32,
    /// Since when the form is held.
    pub held_since: Option<Timestamp>,
    /// When an operator last released the held leads.
    pub released_at: Option<Timestamp>,
    /// When an operator last dropped the held leads.
    pub dropped_at: Option<Timestamp>,
}

/// What a form's limit means for a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is greeted.
    Admitted,
    /// It is greeted, because an operator released it at this time.
    Released(Timestamp),
    /// It waits for an operator.
    Held,
    /// An operator dropped it, with all leads that were received before the decision.
    Dropped,
}

impl LeadRate {
    /// When the window of `now` began, in seconds since 1970. Windows follow one another on the
    /// clock, so one counter is enough. Around the end of a window up to twice the limit may pass.
    pub fn window_start(limit: LeadLimit, now: Timestamp) -> i64 {
        let length = limit.within.0.as_secs().max(1);
        now.as_second().div_euclid(length) * length
    }

    /// Decides about a lead that is counted and was received then.
    pub fn decide_admission(&self, limits: FormLimits, received_at: Timestamp) -> Admission {
        match self.operator_decision(received_at) {
            Some(admission) => admission,
            None if self.held_since.is_none() && self.exceeded_limit(limits).is_none() => Admission::Admitted,
            None => Admission::Held,
        }
    }

    /// The limit that the leads exceed, if any.
    pub fn exceeded_limit(&self, limits: FormLimits) -> Option<LeadLimit> {
        if self.leads > limits.burst.leads {
            Some(limits.burst)
        } else {
            (self.sustained_leads > limits.sustained.leads).then_some(limits.sustained)
        }
    }

    /// What an operator decided about a lead that was received then, if anything. The later
    /// decision counts.
    pub fn operator_decision(&self, received_at: Timestamp) -> Option<Admission> {
        let released = self.released_at.filter(|at| received_at <= *at);
        let dropped = self.dropped_at.filter(|at| received_at <= *at);
        match (released, dropped) {
            (Some(released), dropped) if dropped.is_none_or(|dropped| dropped <= released) => {
                Some(Admission::Released(released))
            }
            (_, Some(_)) => Some(Admission::Dropped),
            (_, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client_config::RepeatAction;

    fn at_hour(hour: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour)
    }

    fn build_greeting(form: &str, lead: &str, hour: i64) -> Greeting {
        Greeting { form: form.into(), lead: format!("lead:{lead}"), at: at_hour(hour) }
    }

    fn repeat_rule(days: i64, across: RepeatScope) -> RepeatRule {
        RepeatRule { within: TimeSpan(SignedDuration::from_hours(days * 24)), across, then: RepeatAction::Record }
    }

    fn lead_limit(leads: u32, hours: i64) -> LeadLimit {
        LeadLimit { leads, within: TimeSpan(SignedDuration::from_hours(hours)) }
    }

    fn expect_greeted(decision: GreetingDecision) -> GreetingHistory {
        match decision {
            GreetingDecision::Greet(history) => history,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_number_is_greeted_once_in_the_window_and_again_after_it() {
        let (week, many) = (repeat_rule(7, RepeatScope::Forms), lead_limit(9, 1));
        let first = build_greeting("contact", "a", 0);
        let history = expect_greeted(GreetingHistory::default().decide_greeting(&first, week, many));
        assert_eq!((history.version, history.greetings.len()), (1, 1));
        let again = history.decide_greeting(&build_greeting("other", "b", 7 * 24 - 1), week, many);
        assert_eq!(again, GreetingDecision::Repeat(first));
        assert_eq!(
            expect_greeted(history.decide_greeting(&build_greeting("other", "b", 7 * 24), week, many)).version,
            2
        );
    }

    #[test]
    fn each_form_may_greet_a_number_up_to_the_limit_per_number() {
        let (each, two) = (repeat_rule(7, RepeatScope::Form), lead_limit(2, 24));
        let mut history = GreetingHistory::default();
        for form in ["a", "b"] {
            history = expect_greeted(history.decide_greeting(&build_greeting(form, form, 0), each, two));
        }
        assert_eq!(history.decide_greeting(&build_greeting("c", "c", 1), each, two), GreetingDecision::TooOften(two));
        assert!(matches!(
            history.decide_greeting(&build_greeting("a", "d", 1), each, two),
            GreetingDecision::Repeat(_)
        ));
        expect_greeted(history.decide_greeting(&build_greeting("c", "c", 24), each, two));
    }

    #[test]
    fn a_greeting_is_sent_again_only_if_the_contact_got_no_other_meanwhile() {
        let (week, many) = (repeat_rule(7, RepeatScope::Forms), lead_limit(9, 1));
        let (first, second) = (build_greeting("contact", "a", 0), build_greeting("contact", "b", 1));
        let history = expect_greeted(GreetingHistory::default().decide_greeting(&first, week, many));
        let again = history.resend_greeting("lead:a", at_hour(0), at_hour(2)).unwrap();
        assert_eq!((again.version, &again.greetings[..]), (2, &[build_greeting("contact", "a", 2)][..]));
        let greeted = expect_greeted(history.without_lead("lead:a").decide_greeting(&second, week, many));
        assert_eq!(greeted.resend_greeting("lead:a", at_hour(0), at_hour(2)), Err(second));
        assert!(greeted.resend_greeting("lead:b", at_hour(1), at_hour(2)).is_ok());
    }

    #[test]
    fn a_greeting_that_was_never_sent_does_not_count() {
        let (week, many) = (repeat_rule(7, RepeatScope::Forms), lead_limit(9, 1));
        let history =
            expect_greeted(GreetingHistory::default().decide_greeting(&build_greeting("contact", "a", 0), week, many));
        let history = expect_greeted(history.without_lead("lead:a").decide_greeting(
            &build_greeting("contact", "b", 1),
            week,
            many,
        ));
        assert_eq!((history.version, history.greetings.len()), (2, 1), "the version counts the earlier write");
    }

    #[test]
    fn a_form_admits_leads_up_to_its_limit_and_holds_further_ones_until_an_operator_decides() {
        let limit = FormLimits { burst: lead_limit(30, 1), sustained: lead_limit(200, 24) };
        let lead_rate = |leads, held_since| LeadRate { leads, held_since, ..LeadRate::default() };
        assert_eq!(lead_rate(30, None).decide_admission(limit, at_hour(1)), Admission::Admitted);
        assert_eq!(lead_rate(31, None).decide_admission(limit, at_hour(1)), Admission::Held);
        // A slow flood stays below the short limit, and exceeds the long one.
        let slow = |sustained_leads| LeadRate { sustained_leads, ..lead_rate(29, None) };
        assert_eq!(slow(200).decide_admission(limit, at_hour(1)), Admission::Admitted);
        assert_eq!(slow(201).decide_admission(limit, at_hour(1)), Admission::Held);
        assert_eq!(slow(201).exceeded_limit(limit), Some(limit.sustained));
        assert_eq!(lead_rate(1, Some(at_hour(1))).decide_admission(limit, at_hour(2)), Admission::Held);
        let again = LeadRate { released_at: Some(at_hour(5)), ..lead_rate(31, Some(at_hour(6))) };
        assert_eq!(
            (again.decide_admission(limit, at_hour(5)), again.decide_admission(limit, at_hour(6))),
            (Admission::Released(at_hour(5)), Admission::Held)
        );
        // A dropped lead is not greeted, in any state. A lead that an operator releases after that
        // is greeted.
        let dropped = LeadRate { dropped_at: Some(at_hour(7)), ..LeadRate::default() };
        assert_eq!(
            (dropped.decide_admission(limit, at_hour(7)), dropped.decide_admission(limit, at_hour(8))),
            (Admission::Dropped, Admission::Admitted)
        );
        let both = |released, dropped| LeadRate {
            released_at: Some(at_hour(released)),
            dropped_at: Some(at_hour(dropped)),
            ..LeadRate::default()
        };
        assert_eq!(both(5, 7).decide_admission(limit, at_hour(4)), Admission::Dropped);
        assert_eq!(both(9, 7).decide_admission(limit, at_hour(4)), Admission::Released(at_hour(9)));
    }

    #[test]
    fn a_longer_window_starts_a_new_count() {
        let (short, long) = (lead_limit(30, 1), lead_limit(30, 24));
        assert_eq!(LeadRate::window_start(short, at_hour(30)), 30 * 3600);
        assert_ne!(LeadRate::window_start(short, at_hour(1)), LeadRate::window_start(short, at_hour(2)));
        assert!(LeadRate::window_start(long, at_hour(30)) < LeadRate::window_start(short, at_hour(30)));
        assert!(
            LeadRate::window_start(long, at_hour(30 + 24)) > LeadRate::window_start(short, at_hour(30)),
            "a new window begins at the latest then"
        );
    }

    proptest! {
        #[test]
        fn a_number_is_never_greeted_twice_in_the_window(
            visits in prop::collection::vec((0..500_i64, 0..3_usize, any::<bool>()), 1..60),
            days in 1..10_i64,
            most in 1..4_u32,
            across in prop::sample::select(vec![RepeatScope::Form, RepeatScope::Forms]),
        ) {
            let (repeat, per_phone) = (repeat_rule(days, across), lead_limit(most, 24));
            let mut visits = visits;
            visits.sort_by_key(|(hour, ..)| *hour);
            let mut history = GreetingHistory::default();
            let mut sent: Vec<Greeting> = Vec::new();
            for (number, (hour, form, fails)) in visits.into_iter().enumerate() {
                let next = build_greeting(["a", "b", "c"][form], &number.to_string(), hour);
                if let GreetingDecision::Greet(after) = history.decide_greeting(&next, repeat, per_phone) {
                    prop_assert_eq!(after.version, history.version + 1);
                    history = if fails { after.without_lead(&next.lead) } else { after };
                    if !fails {
                        sent.push(next);
                    }
                }
            }
            for (index, one) in sent.iter().enumerate() {
                for other in &sent[index + 1..] {
                    let counts = across == RepeatScope::Forms || one.form == other.form;
                    prop_assert!(!counts || other.at.duration_since(one.at) >= repeat.within.0);
                }
                let that_day = sent.iter().filter(|other| {
                    let after = other.at.duration_since(one.at);
                    after >= SignedDuration::ZERO && after < per_phone.within.0
                });
                prop_assert!(that_day.count() <= usize::try_from(most).unwrap());
            }
        }
    }
}
