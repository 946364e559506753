//! Which numbers may be messaged, and why a text is not such a number.

use schemars::JsonSchema;
use serde::Deserialize;

/// Which phone numbers may be messaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PhoneRule {
    /// A possible number; in Israel it must look like a mobile. Accepts `+972501234567`, the
    /// example number of the provider's guides, which the numbering plan lists as unassigned.
    #[default]
    Possible,
    /// Only numbers that the numbering plan of their country lists as assigned.
    Valid,
}

/// Why a text is not a phone number that may be messaged. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PhoneError {
    /// The text has no digits.
    #[error("the phone number is empty")]
    Empty,
    /// Letters, such as a vanity number or a remark.
    #[error("the number contains letters")]
    Letters,
    /// More than one number.
    #[error("the text holds two numbers")]
    TwoNumbers,
    /// A number behind a switchboard.
    #[error("the number has an extension")]
    Extension,
    /// A number that works only from some phones, such as `*2700`.
    #[error("the number is a short code")]
    ShortCode,
    /// No number of the country has this length, or the text has characters that no number has.
    #[error("the number is not a possible phone number")]
    NotPossible,
    /// A landline, a `VoIP` or a service number.
    #[error("the number is not a mobile number")]
    NotMobile,
    /// The numbering plan does not list the number, and the client requires that
    /// ([`PhoneRule::Valid`]).
    #[error("the numbering plan of its country does not list the number")]
    NotValid,
    /// The number has no country prefix, and its country is not known.
    #[error("the number has no country prefix, and its country is unknown")]
    UnknownCountry,
    /// A label for a phone number without a number directly behind it.
    #[error("no number stands behind the label")]
    NoNumber,
    /// The number dials a conference.
    #[error("the number is the dial-in of a conference")]
    DialIn,
}

impl PhoneError {
    /// A stable name for records and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Letters => "letters",
            Self::TwoNumbers => "two-numbers",
            Self::Extension => "extension",
            Self::ShortCode => "short-code",
            Self::NotPossible => "not-possible",
            Self::NotMobile => "not-mobile",
            Self::NotValid => "not-valid",
            Self::UnknownCountry => "unknown-country",
            Self::NoNumber => "no-number",
            Self::DialIn => "dial-in",
        }
    }
}
