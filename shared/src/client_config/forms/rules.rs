//! What a client decides about the submissions of a form: where the facts stand, who agreed, and
//! how often one number is greeted.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::TimeSpan;

/// Where the facts of a submission stand: the name, id, key or label of each field. In nested JSON
/// write points in between: `contact.phone`. Fields without a mapping are found under usual names.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormFields {
    /// The phone number. Two numbers in one field count as none.
    pub phone: Option<String>,
    /// The whole name.
    pub name: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The country of phone numbers without a country code, ISO 3166-1 alpha-2. Default: the
    /// form's.
    pub country: Option<String>,
    /// The language to answer in: `he`, `en-GB`. Default: the form's.
    pub language: Option<String>,
    /// The sender's id of the submission, for senders without a place for it. A submission that is
    /// posted twice with one id is one lead.
    pub id: Option<String>,
    /// When the lead submitted the form, RFC 3339. Default: the time of receipt.
    pub submitted_at: Option<String>,
    /// True for a trial, which is not greeted. Trials that the sender itself marks are not greeted
    /// either.
    pub test: Option<String>,
}

/// Answers that mean yes for every form, besides those in `accepts`.
pub const YES_ANSWERS: [&str; 7] = ["true", "1", "on", "yes", "y", "checked", "כן"];
/// Answers that mean no for every form, even if `accepts` lists them. A missing answer means no
/// too, because many senders leave out boxes that are not ticked.
pub const NO_ANSWERS: [&str; 7] = ["false", "0", "off", "no", "n", "unchecked", "לא"];

/// How leads agree to receive WhatsApp messages: a `field` that must say yes, or a sentence on the
/// form (`stated`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "ConsentTable")]
#[schemars(with = "ConsentTable")]
pub enum ConsentRule {
    /// A field that must say yes.
    Field {
        /// The name, id, key or label of the field.
        field: String,
        /// Answers that mean yes besides [`YES_ANSWERS`]: the words beside the box, if the sender
        /// posts them.
        accepts: Vec<String>,
    },
    /// Each submission is consent, because this sentence stands on the form.
    Stated(String),
}

/// A consent rule in `client.toml`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConsentTable {
    /// The field that must say yes: `true`, `1`, `on`, `yes`, `y`, `checked`, `כן`, or a ticked
    /// box. Required without `stated`.
    field: Option<String>,
    /// Further answers of `field` that mean yes, word for word, for senders that post the words
    /// beside the box. Default: none.
    accepts: Option<Vec<String>>,
    /// The sentence on the form, word for word, if each submission is consent. Required without
    /// `field`.
    stated: Option<String>,
}

impl TryFrom<ConsentTable> for ConsentRule {
    type Error = &'static str;

    fn try_from(table: ConsentTable) -> Result<Self, Self::Error> {
        match table {
            ConsentTable { field: Some(field), accepts, stated: None } => {
                Ok(Self::Field { field, accepts: accepts.unwrap_or_default() })
            }
            ConsentTable { field: None, accepts: None, stated: Some(stated) } => Ok(Self::Stated(stated)),
            _ => Err("consent needs either a field, { field = \"consent\" }, or a sentence on the form, \
                      { stated = \"By sending this you agree that …\" }"),
        }
    }
}

/// A question with fixed answers, for texts: `{{ choice }}`. Other answers are left out, so no lead
/// can put text into a message.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceRule {
    /// The name, id, key or label of the question.
    pub field: String,
    /// The answers that texts may use, word for word.
    pub of: Vec<String>,
}

/// What happens to a lead whose number was greeted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepeatRule {
    /// How long after a greeting the same number is not greeted again: `"1h"` to `"90d"`, at most
    /// `retention.ledger_days`. Default: `"7d"`.
    #[schemars(with = "String")]
    pub within: TimeSpan,
    /// Which greetings count. Default: `forms`.
    pub across: RepeatScope,
    /// What happens to a lead that is not greeted. Default: `record`.
    pub then: RepeatAction,
}

impl Default for RepeatRule {
    fn default() -> Self {
        Self {
            within: TimeSpan(SignedDuration::from_hours(7 * 24)),
            across: RepeatScope::Forms,
            then: RepeatAction::Record,
        }
    }
}

/// Which greetings of a number count as repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatScope {
    /// The greetings of this form.
    Form,
    /// The greetings of all forms.
    Forms,
}

/// What happens to a lead whose number was greeted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatAction {
    /// The lead is recorded.
    Record,
    /// The lead is recorded, and an operator is notified.
    Escalate,
}

/// A number of leads in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeadLimit {
    /// The number of leads: 1 to 100,000.
    pub leads: u32,
    /// The span of time: `"1m"` to `"7d"`.
    #[schemars(with = "String")]
    pub within: TimeSpan,
}

/// More leads than these hold a form: a short window for a sudden flood, and a long one for a slow
/// flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormLimits {
    /// The short window.
    pub burst: LeadLimit,
    /// The long window.
    pub sustained: LeadLimit,
}

impl FormLimits {
    /// More leads are an attack or an import, not a good day.
    const DEFAULT_BURST: LeadLimit = LeadLimit { leads: 30, within: TimeSpan(SignedDuration::from_mins(10)) };
    const DEFAULT_SUSTAINED: LeadLimit = LeadLimit { leads: 200, within: TimeSpan(SignedDuration::from_hours(24)) };

    /// The limits of a form. Without `sustained`, the long window admits what `burst` admits.
    pub fn with_defaults(burst: Option<LeadLimit>, sustained: Option<LeadLimit>) -> Self {
        let burst = burst.unwrap_or(Self::DEFAULT_BURST);
        let sustained = sustained.unwrap_or(LeadLimit {
            leads: Self::DEFAULT_SUSTAINED.leads.max(burst.leads),
            within: Self::DEFAULT_SUSTAINED.within.max(burst.within),
        });
        Self { burst, sustained }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_either_a_field_or_a_sentence() {
        let consent = |text: &str| toml::from_str::<ConsentRule>(text).is_ok();
        assert!(consent("field = \"consent\"") && consent("field = \"a\"\naccepts = [\"I agree\"]"));
        assert!(consent("stated = \"By sending you agree\""));
        assert!(!consent("") && !consent("field = \"a\"\nstated = \"b\"") && !consent("accepts = [\"x\"]"));
    }
}
