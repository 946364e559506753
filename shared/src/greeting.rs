//! Greetings: what a number has heard from forms, and how many leads a form has had. Pure.
//!
//! The cast: [`GreetingHistory`] is what a number has heard; `GreetingHistory::decide_greeting` decides whether it hears another [`Greeting`].
//! [`LeadRate`] is a form's count of leads; [`LeadRate::decide_admission`] says whether a lead is greeted, waits for a human, or was dropped by one.
//!
//! Promises that of two greetings within the window one comes first and the other is a `GreetingDecision::AlreadyGreeted`, whichever is
//! decided about first, as long as the second is decided with what the first one wrote. Does not know numbers: whoever
//! asks keeps them apart.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::client_config::{LeadLimit, RepeatRule, RepeatScope, TimeSpan};

/// How long greetings are remembered: no window may be longer.
pub const MAX_WINDOW: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A greeting that a number was given, or is about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The form that it came of.
    pub form: String,
    /// The lead: the ledger's partition key, `lead:{id}`.
    pub lead: String,
    /// When.
    pub at: Timestamp,
}

impl Greeting {
    /// Why another one is not said, for people. True of one that still waits as well.
    pub fn already_greeted_reason(&self) -> String {
        format!("already-greeted: this number's greeting, of {:.0}, is that of {}", self.at, self.lead)
    }
}

/// What a number has heard from forms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GreetingHistory {
    /// Counts writes: every write names the one it read. 0: nothing was written yet.
    pub version: u64,
    /// The greetings, the oldest first; those that no window reaches any more are left out.
    pub greetings: Vec<Greeting>,
}

/// Whether somebody is greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GreetingDecision {
    /// They are, and this is to be written down with it.
    Greet(GreetingHistory),
    /// They were: by this one.
    Repeat(Greeting),
    /// They were, by as many forms as one number may be.
    TooOften(LeadLimit),
}

impl GreetingHistory {
    /// Whether `next` is said to a number that has heard this.
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
        GreetingDecision::Greet(Self { version: self.version + 1, greetings })
    }

    /// The same without a greeting that was never said.
    #[must_use]
    pub fn without_lead(&self, lead: &str) -> Self {
        let greetings = self.greetings.iter().filter(|greeting| greeting.lead != lead).cloned().collect();
        Self { version: self.version, greetings }
    }
}

/// How many leads a form has had, and whether somebody has to look at them first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeadRate {
    /// Leads in this window, the one in question included.
    pub leads: u32,
    /// Since when nobody is greeted.
    pub held_since: Option<Timestamp>,
    /// When a human last let go what was held.
    pub released_at: Option<Timestamp>,
    /// When a human last dropped what was held.
    pub dropped_at: Option<Timestamp>,
}

/// What becomes of a lead as far as its form is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is greeted.
    Admitted,
    /// It is greeted, because a human has looked at it: then.
    Released(Timestamp),
    /// It waits for a human.
    Held,
    /// A human has dropped everything that came as early.
    Dropped,
}

impl LeadRate {
    /// When the window that `now` falls into began, in seconds since 1970. Windows follow one another on the clock, so that
    /// one counter is enough; two of them that meet may let through up to twice the limit.
    pub fn window_start(limit: LeadLimit, now: Timestamp) -> i64 {
        let length = limit.within.0.as_secs().max(1);
        now.as_second().div_euclid(length) * length
    }

    /// What becomes of a lead that was received then and is counted.
    pub fn decide_admission(&self, limit: LeadLimit, received_at: Timestamp) -> Admission {
        match self.operator_decision(received_at) {
            Some(admission) => admission,
            None if self.held_since.is_none() && self.leads <= limit.leads => Admission::Admitted,
            None => Admission::Held,
        }
    }

    /// What a human has decided about a lead that was received then, if anything. The later word counts.
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
    fn a_greeting_that_was_never_sent_does_not_count() {
        let (week, many) = (repeat_rule(7, RepeatScope::Forms), lead_limit(9, 1));
        let history =
            expect_greeted(GreetingHistory::default().decide_greeting(&build_greeting("contact", "a", 0), week, many));
        let history = expect_greeted(history.without_lead("lead:a").decide_greeting(
            &build_greeting("contact", "b", 1),
            week,
            many,
        ));
        assert_eq!((history.version, history.greetings.len()), (2, 1), "the version is that of the write it stands on");
    }

    #[test]
    fn a_form_admits_leads_up_to_its_limit_and_holds_further_ones_until_an_operator_decides() {
        let limit = lead_limit(30, 1);
        let lead_rate = |leads, held_since| LeadRate { leads, held_since, ..LeadRate::default() };
        assert_eq!(lead_rate(30, None).decide_admission(limit, at_hour(1)), Admission::Admitted);
        assert_eq!(lead_rate(31, None).decide_admission(limit, at_hour(1)), Admission::Held);
        assert_eq!(lead_rate(1, Some(at_hour(1))).decide_admission(limit, at_hour(2)), Admission::Held);
        let again = LeadRate { released_at: Some(at_hour(5)), ..lead_rate(31, Some(at_hour(6))) };
        assert_eq!(
            (again.decide_admission(limit, at_hour(5)), again.decide_admission(limit, at_hour(6))),
            (Admission::Released(at_hour(5)), Admission::Held)
        );
        // What was dropped is not greeted, wherever it was at that moment; what was let go after that is.
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
            "at the latest a window later"
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
