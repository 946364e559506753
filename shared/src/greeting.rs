//! Greetings: what a number has heard from forms, and how many leads a form has had. Pure.
//!
//! The cast: [`Heard`] is what a number has heard; [`Heard::meet`] decides whether it hears another [`Greeting`].
//! [`Intake`] is a form's count of leads; [`Intake::gate`] says whether a lead is greeted, waits for a human, or was dropped by one.
//!
//! Promises that of two greetings within the window one comes first and the other is a [`Meeting::Repeat`], whichever is
//! decided about first, as long as the second is decided with what the first one wrote. Does not know numbers: whoever
//! asks keeps them apart.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::client_config::{Across, Limit, RepeatRule, Span};

/// How long greetings are remembered: no window may be longer.
pub const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(90 * 24);

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
    pub fn in_the_way(&self) -> String {
        format!("already-greeted: this number's greeting, of {:.0}, is that of {}", self.at, self.lead)
    }
}

/// What a number has heard from forms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Counts writes: every write names the one it read. 0: nothing was written yet.
    pub version: u64,
    /// The greetings, the oldest first; those that no window reaches any more are left out.
    pub greetings: Vec<Greeting>,
}

/// Whether somebody is greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meeting {
    /// They are, and this is to be written down with it.
    Greet(Heard),
    /// They were: by this one.
    Repeat(Greeting),
    /// They were, by as many forms as one number may be.
    TooOften(Limit),
}

impl Heard {
    /// Whether `next` is said to a number that has heard this.
    pub fn meet(&self, next: &Greeting, repeat: RepeatRule, per_phone: Limit) -> Meeting {
        let within =
            |span: Span| self.greetings.iter().filter(move |before| next.at.duration_since(before.at) < span.0);
        let counts = |before: &&Greeting| match repeat.across {
            Across::Forms => true,
            Across::Form => before.form == next.form,
        };
        if let Some(before) = within(repeat.within).rfind(counts) {
            return Meeting::Repeat(before.clone());
        }
        if within(per_phone.within).count() >= usize::try_from(per_phone.leads).unwrap_or(usize::MAX) {
            return Meeting::TooOften(per_phone);
        }
        let remembered = |before: &&Greeting| next.at.duration_since(before.at) < LONGEST_WINDOW;
        let greetings = self.greetings.iter().filter(remembered).cloned().chain([next.clone()]).collect();
        Meeting::Greet(Self { version: self.version + 1, greetings })
    }

    /// The same without a greeting that was never said.
    #[must_use]
    pub fn without(&self, lead: &str) -> Self {
        let greetings = self.greetings.iter().filter(|greeting| greeting.lead != lead).cloned().collect();
        Self { version: self.version, greetings }
    }
}

/// How many leads a form has had, and whether somebody has to look at them first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Intake {
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
pub enum Gate {
    /// It is greeted.
    Open,
    /// It is greeted, because a human has looked at it: then.
    Released(Timestamp),
    /// It waits for a human.
    Held,
    /// A human has dropped everything that came as early.
    Dropped,
}

impl Intake {
    /// When the window that `now` falls into began, in seconds since 1970. Windows follow one another on the clock, so that
    /// one counter is enough; two of them that meet may let through up to twice the limit.
    pub fn window(limit: Limit, now: Timestamp) -> i64 {
        let length = limit.within.0.as_secs().max(1);
        now.as_second().div_euclid(length) * length
    }

    /// What becomes of a lead that was received then and is counted.
    pub fn gate(&self, limit: Limit, received_at: Timestamp) -> Gate {
        match self.decided(received_at) {
            Some(gate) => gate,
            None if self.held_since.is_none() && self.leads <= limit.leads => Gate::Open,
            None => Gate::Held,
        }
    }

    /// What a human has decided about a lead that was received then, if anything. The later word counts.
    pub fn decided(&self, received_at: Timestamp) -> Option<Gate> {
        let released = self.released_at.filter(|at| received_at <= *at);
        let dropped = self.dropped_at.filter(|at| received_at <= *at);
        match (released, dropped) {
            (Some(released), dropped) if dropped.is_none_or(|dropped| dropped <= released) => {
                Some(Gate::Released(released))
            }
            (_, Some(_)) => Some(Gate::Dropped),
            (_, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client_config::OnRepeat;

    fn at(hour: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour)
    }

    fn greeting(form: &str, lead: &str, hour: i64) -> Greeting {
        Greeting { form: form.into(), lead: format!("lead:{lead}"), at: at(hour) }
    }

    fn rule(days: i64, across: Across) -> RepeatRule {
        RepeatRule { within: Span(SignedDuration::from_hours(days * 24)), across, then: OnRepeat::Record }
    }

    fn limit(leads: u32, hours: i64) -> Limit {
        Limit { leads, within: Span(SignedDuration::from_hours(hours)) }
    }

    fn greeted(meeting: Meeting) -> Heard {
        match meeting {
            Meeting::Greet(heard) => heard,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_number_is_greeted_once_in_the_window_and_again_after_it() {
        let (week, many) = (rule(7, Across::Forms), limit(9, 1));
        let first = greeting("contact", "a", 0);
        let heard = greeted(Heard::default().meet(&first, week, many));
        assert_eq!((heard.version, heard.greetings.len()), (1, 1));
        let again = heard.meet(&greeting("other", "b", 7 * 24 - 1), week, many);
        assert_eq!(again, Meeting::Repeat(first));
        assert_eq!(greeted(heard.meet(&greeting("other", "b", 7 * 24), week, many)).version, 2);
    }

    #[test]
    fn forms_may_greet_each_for_itself_up_to_the_numbers_limit() {
        let (each, two) = (rule(7, Across::Form), limit(2, 24));
        let mut heard = Heard::default();
        for form in ["a", "b"] {
            heard = greeted(heard.meet(&greeting(form, form, 0), each, two));
        }
        assert_eq!(heard.meet(&greeting("c", "c", 1), each, two), Meeting::TooOften(two));
        assert!(matches!(heard.meet(&greeting("a", "d", 1), each, two), Meeting::Repeat(_)));
        greeted(heard.meet(&greeting("c", "c", 24), each, two));
    }

    #[test]
    fn a_greeting_that_was_never_said_is_as_if_it_had_not_been() {
        let (week, many) = (rule(7, Across::Forms), limit(9, 1));
        let heard = greeted(Heard::default().meet(&greeting("contact", "a", 0), week, many));
        let heard = greeted(heard.without("lead:a").meet(&greeting("contact", "b", 1), week, many));
        assert_eq!((heard.version, heard.greetings.len()), (2, 1), "the version is that of the write it stands on");
    }

    #[test]
    fn a_form_is_open_up_to_its_limit_and_closed_until_a_human_says_something() {
        let limit = limit(30, 1);
        let intake = |leads, held_since| Intake { leads, held_since, ..Intake::default() };
        assert_eq!(intake(30, None).gate(limit, at(1)), Gate::Open);
        assert_eq!(intake(31, None).gate(limit, at(1)), Gate::Held);
        assert_eq!(intake(1, Some(at(1))).gate(limit, at(2)), Gate::Held);
        let again = Intake { released_at: Some(at(5)), ..intake(31, Some(at(6))) };
        assert_eq!((again.gate(limit, at(5)), again.gate(limit, at(6))), (Gate::Released(at(5)), Gate::Held));
        // What was dropped is not greeted, wherever it was at that moment; what was let go after that is.
        let dropped = Intake { dropped_at: Some(at(7)), ..Intake::default() };
        assert_eq!((dropped.gate(limit, at(7)), dropped.gate(limit, at(8))), (Gate::Dropped, Gate::Open));
        let both = |released, dropped| Intake {
            released_at: Some(at(released)),
            dropped_at: Some(at(dropped)),
            ..Intake::default()
        };
        assert_eq!(both(5, 7).gate(limit, at(4)), Gate::Dropped);
        assert_eq!(both(9, 7).gate(limit, at(4)), Gate::Released(at(9)));
    }

    #[test]
    fn a_window_that_is_made_longer_ends_and_counts_anew() {
        let (short, long) = (limit(30, 1), limit(30, 24));
        assert_eq!(Intake::window(short, at(30)), 30 * 3600);
        assert_ne!(Intake::window(short, at(1)), Intake::window(short, at(2)));
        assert!(Intake::window(long, at(30)) < Intake::window(short, at(30)));
        assert!(Intake::window(long, at(30 + 24)) > Intake::window(short, at(30)), "at the latest a window later");
    }

    proptest! {
        #[test]
        fn whoever_leaves_a_number_when_and_wherever_it_is_never_greeted_twice_in_the_window(
            visits in prop::collection::vec((0..500_i64, 0..3_usize, any::<bool>()), 1..60),
            days in 1..10_i64,
            most in 1..4_u32,
            across in prop::sample::select(vec![Across::Form, Across::Forms]),
        ) {
            let (repeat, per_phone) = (rule(days, across), limit(most, 24));
            let mut visits = visits;
            visits.sort_by_key(|(hour, ..)| *hour);
            let mut heard = Heard::default();
            let mut said: Vec<Greeting> = Vec::new();
            for (number, (hour, form, fails)) in visits.into_iter().enumerate() {
                let next = greeting(["a", "b", "c"][form], &number.to_string(), hour);
                if let Meeting::Greet(after) = heard.meet(&next, repeat, per_phone) {
                    prop_assert_eq!(after.version, heard.version + 1);
                    heard = if fails { after.without(&next.lead) } else { after };
                    if !fails {
                        said.push(next);
                    }
                }
            }
            for (index, one) in said.iter().enumerate() {
                for other in &said[index + 1..] {
                    let counts = across == Across::Forms || one.form == other.form;
                    prop_assert!(!counts || other.at.duration_since(one.at) >= repeat.within.0);
                }
                let that_day = said.iter().filter(|other| {
                    let after = other.at.duration_since(one.at);
                    after >= SignedDuration::ZERO && after < per_phone.within.0
                });
                prop_assert!(that_day.count() <= usize::try_from(most).unwrap());
            }
        }
    }
}
