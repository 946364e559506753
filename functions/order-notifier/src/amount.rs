//! Sums of money as decimal text: `59.00` and `10.5` are `69.50`. No amount is ever a float.

use std::{fmt, str::FromStr};

/// More digits than any currency needs. Text with more digits is not an amount.
const MAX_DIGITS: usize = 24;
const MAX_DECIMALS: usize = 8;

/// An amount of money without its currency. A sum has as many decimals as its most precise part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    units: i128,
    decimals: u32,
}

/// The text is not a decimal number such as `-12.00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AmountError;

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || !is_numeric(whole)
            || !is_numeric(fraction)
            || fraction.len() > MAX_DECIMALS
            || whole.len() + fraction.len() > MAX_DIGITS
        {
            return Err(AmountError);
        }
        let decimals = u32::try_from(fraction.len()).map_err(|_| AmountError)?;
        let units = whole.bytes().chain(fraction.bytes()).fold(0, |sum, byte| sum * 10 + i128::from(byte - b'0'));
        Ok(Self { units: if negative { -units } else { units }, decimals })
    }
}

impl Amount {
    /// The sum, or `None` if it overflows.
    pub(crate) fn checked_add(self, other: Self) -> Option<Self> {
        let decimals = self.decimals.max(other.decimals);
        let scaled = |amount: Self| amount.units.checked_mul(10_i128.checked_pow(decimals - amount.decimals)?);
        Some(Self { units: scaled(self)?.checked_add(scaled(other)?)?, decimals })
    }

    /// The amount without its sign.
    pub(crate) fn abs(self) -> Self {
        Self { units: self.units.abs(), ..self }
    }

    pub(crate) fn is_positive(self) -> bool {
        self.units > 0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let decimals = self.decimals as usize;
        let digits = format!("{:0width$}", self.units.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        if fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn a_sum_has_the_decimals_of_its_most_precise_part() {
        assert_eq!(parse_amount("59.00").checked_add(parse_amount("10.5")).unwrap().to_string(), "69.50");
        assert_eq!(parse_amount("0.1").checked_add(parse_amount("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(parse_amount("-149.90").abs().to_string(), "149.90");
        assert_eq!(parse_amount("-0.05").to_string(), "-0.05");
        assert_eq!(parse_amount("1200").to_string(), "1200");
    }

    #[test]
    fn text_that_is_not_a_plain_decimal_is_rejected() {
        for text in ["", "-", ".5", "1e3", "1,50", "NaN", "+1", "12.123456789", "1234567890123456789012345", "1.2.3"] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn sums_of_cents_are_exact(left in -1_000_000_000_i64..1_000_000_000, right in -1_000_000_000_i64..1_000_000_000) {
            let cents = |cents: i64| Amount { units: cents.into(), decimals: 2 };
            let text = |cents: i64| format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
            prop_assert_eq!(parse_amount(&text(left)), cents(left));
            prop_assert_eq!(parse_amount(&text(left)).checked_add(parse_amount(&text(right))).unwrap().to_string(), text(left + right));
        }

        #[test]
        fn parsed_text_round_trips_and_other_text_is_rejected(text in "\\PC*") {
            if let Ok(amount) = text.parse::<Amount>() {
                prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            }
        }
    }
}
