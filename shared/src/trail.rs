//! What happened to a message or an appointment, step by step, for the people who ask.
//!
//! Main types: a [`Trail`] holds [`TrailStep`]s. Its row holds it as one JSON text.
//!
//! Promises: a trail has at most 16 steps: the first 4 and the last 12. A step that repeats the one
//! before it is not added. Words of another version stay in it. What cannot be read of a trail is
//! left out, and stops no message and no appointment. Does **not** know what the words mean.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::clock::from_millis;

/// How many of the first steps a trail keeps.
const FIRST_STEPS: usize = 4;
/// How many of the last steps a trail keeps.
const LAST_STEPS: usize = 12;
/// The most bytes of a detail. A row of one kilobyte or less is the cheapest to write.
const MAX_DETAIL_BYTES: usize = 160;

/// One step of a trail. State and code are words, because another version may have written them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrailStep {
    /// When.
    pub at: Timestamp,
    /// The state that it led to.
    pub state: Cow<'static, str>,
    /// Why.
    pub code: Cow<'static, str>,
    /// What the code does not say, for people. Holds no personal data.
    pub detail: Option<String>,
}

impl TrailStep {
    /// A step of this version. Cuts a long detail.
    pub fn new(at: Timestamp, state: &'static str, code: &'static str, detail: Option<&str>) -> Self {
        let detail = detail.map(|text| text[..text.floor_char_boundary(MAX_DETAIL_BYTES)].to_owned());
        Self { at, state: state.into(), code: code.into(), detail }
    }

    fn is_same_as(&self, other: &Self) -> bool {
        (&self.state, &self.code, &self.detail) == (&other.state, &other.code, &other.detail)
    }
}

impl Serialize for TrailStep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = self.at.as_millisecond();
        match &self.detail {
            Some(detail) => (at, &self.state, &self.code, detail).serialize(serializer),
            None => (at, &self.state, &self.code).serialize(serializer),
        }
    }
}

impl TrailStep {
    /// The step of a JSON array. Members behind those of this version are ignored.
    fn from_json(json: &Value) -> Option<Self> {
        let members = json.as_array()?;
        let word = |index: usize| members.get(index)?.as_str().map(str::to_owned);
        Some(Self {
            at: from_millis(members.first()?.as_i64()?),
            state: word(1)?.into(),
            code: word(2)?.into(),
            detail: word(3),
        })
    }
}

/// The first and the last steps of a message or an appointment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Trail(Vec<TrailStep>);

impl<'de> Deserialize<'de> for Trail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        Ok(Self(json.as_array().into_iter().flatten().filter_map(TrailStep::from_json).collect()))
    }
}

impl Trail {
    /// The steps, in the order of their writes.
    pub fn steps(&self) -> &[TrailStep] {
        &self.0
    }

    /// Whether it has no steps.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The trail of an attribute.
    pub fn from_attribute(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Whether as many steps as possible are in it, so that steps between may be missing.
    pub fn is_full(&self) -> bool {
        self.0.len() == FIRST_STEPS + LAST_STEPS
    }

    /// The attribute of a trail; `None` if it is empty.
    pub fn to_attribute(&self) -> Option<String> {
        // Strings and numbers only, so serialising cannot fail.
        if self.0.is_empty() { None } else { serde_json::to_string(self).ok() }
    }

    /// This trail, with the steps of another one after it.
    #[must_use]
    pub fn followed_by(&self, later: &Self) -> Self {
        let mut trail = self.clone();
        for step in &later.0 {
            trail.add_step(step.clone());
        }
        trail
    }

    /// Removes the last step if it is such a step.
    pub fn remove_last_if(&mut self, is_such: impl Fn(&TrailStep) -> bool) {
        self.0.pop_if(|last| is_such(last));
    }

    /// Adds a step.
    pub fn add_step(&mut self, step: TrailStep) {
        if self.0.last().is_some_and(|last| last.is_same_as(&step)) {
            return;
        }
        if self.is_full() {
            self.0.remove(FIRST_STEPS);
        }
        self.0.push(step);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn step_with(second: i64, detail: &str) -> TrailStep {
        TrailStep::new(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second), "held", "line-down", Some(detail))
    }

    #[test]
    fn a_long_trail_keeps_its_first_and_last_steps() {
        let mut trail = Trail::default();
        for second in 0..30 {
            trail.add_step(step_with(second, &second.to_string()));
        }
        let kept: Vec<&str> = trail.steps().iter().filter_map(|step| step.detail.as_deref()).collect();
        let expected: Vec<String> = (0..4).chain(18..30).map(|second| second.to_string()).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn equal_steps_are_one() {
        let mut trail = Trail::default();
        for (second, detail) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "a")] {
            trail.add_step(step_with(second, detail));
        }
        assert_eq!(trail.steps(), [step_with(1, "a"), step_with(3, "b"), step_with(5, "a")]);
    }

    #[test]
    fn a_trail_round_trips_with_words_of_another_version() {
        let text = r#"[[1000,"held","line-down","Ünlinked"],[2000,"of tomorrow","of tomorrow"]]"#;
        let trail = Trail::from_attribute(text);
        assert_eq!(trail.steps().len(), 2);
        assert_eq!(trail.to_attribute().as_deref(), Some(text));
        for unreadable in ["{", "{}", "null", "[1]"] {
            assert_eq!(Trail::from_attribute(unreadable).steps(), []);
        }
        let mixed = r#"[{"at":1},[1000,"held","line-down","a","of tomorrow"],[2000]]"#;
        assert_eq!(Trail::from_attribute(mixed).to_attribute().as_deref(), Some(r#"[[1000,"held","line-down","a"]]"#));
        assert_eq!(Trail::default().to_attribute(), None);
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        assert_eq!(step_with(0, &"é".repeat(200)).detail, Some("é".repeat(80)));
    }
}
