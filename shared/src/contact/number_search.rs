//! Finds a number in a text, however people or systems wrote it there.
//!
//! Promises: it finds the number with and without country code, trunk zero and separators, in both
//! of its forms, and inside base64 such as the ids of some providers. A longer number that contains
//! all of its digits counts as well: to erase too much is the smaller harm.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::Phone;

/// From this many digits on, a national number is found inside longer digits: they are hardly ever
/// another number by chance.
const MIN_UNIQUE_DIGITS: usize = 9;
/// The fewest characters of a base64 text that can hold a number.
const MIN_BASE64_CHARS: usize = 12;

impl Phone {
    /// Whether a text contains this number.
    pub fn occurs_in(&self, text: &str) -> bool {
        let forms: Vec<Self> = [Some(self.clone()), self.other_form()].into_iter().flatten().collect();
        let is_in = |text: &str| digit_runs(text).any(|run| forms.iter().any(|form| form.is_in_digits(&run)));
        is_in(text) || decode_base64_parts(text).any(|part| is_in(&part))
    }

    /// Whether a run of digits contains the number.
    fn is_in_digits(&self, run: &str) -> bool {
        let (full, national) = (self.expose().trim_start_matches('+'), self.national_digits());
        let is_unique = national.len() >= MIN_UNIQUE_DIGITS;
        run.contains(full) || (is_unique && run.contains(national)) || run.trim_start_matches('0') == national
    }
}

/// The digits of each part of a text that may be a number: separators inside it are left out.
fn digit_runs(text: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| to_digit(c).is_some() || is_separator(c);
    text.split(move |c: char| !is_part(c)).filter_map(|part| {
        let digits: String = part.chars().filter_map(to_digit).collect();
        (!digits.is_empty()).then_some(digits)
    })
}

/// A decimal digit of Latin, Arabic, Persian or wide form.
fn to_digit(c: char) -> Option<char> {
    let zero = match c {
        '0'..='9' => '0',
        '\u{660}'..='\u{669}' => '\u{660}',
        '\u{6f0}'..='\u{6f9}' => '\u{6f0}',
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        _ => return None,
    };
    char::from_digit(u32::from(c) - u32::from(zero), 10)
}

/// What people write between the digits of a number. Marks of direction are invisible.
fn is_separator(c: char) -> bool {
    matches!(
        c,
        ' ' | '\u{a0}' | '\u{202f}' | '-' | '.' | '(' | ')' | '[' | ']' | '/' | '\u{2010}'..='\u{2015}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// The readable contents of the base64 parts of a text.
fn decode_base64_parts(text: &str) -> impl Iterator<Item = String> {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    text.split(move |c: char| !is_base64(c)).filter(|part| part.len() >= MIN_BASE64_CHARS).filter_map(|part| {
        // Without its padding, the last group may be short by one character.
        let whole = part.len() - usize::from(part.len() % 4 == 1);
        let bytes = STANDARD_NO_PAD.decode(part.get(..whole)?).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_in_every_form_in_which_it_is_written() {
        let phone = Phone::from_e164("+972545550199").unwrap();
        for text in [
            "+972545550199",
            "972545550199@c.us",
            "00972 54-555-0199",
            "call 054-555-0199 after 5",
            "(054) 5550199",
            "+972 (0)54 555.0199",
            "545550199",
            "\u{202a}+972 54\u{2011}555\u{2011}0199\u{202c}",
            "٠٥٤٥٥٥٠١٩٩",
            "wamid.HBgMOTcyNTQ1NTUwMTk5FQIAERgSNjBB",
            "2026-11-29 0545550199",
        ] {
            assert!(phone.occurs_in(text), "{text}");
        }
        for text in ["", "0545550198", "54555, 0199", "order 820982911946154508", "054-555-01 99a99", "wamid.HBgMOTcy"]
        {
            assert_eq!(phone.occurs_in(text), text == "054-555-01 99a99", "{text}");
        }
    }

    #[test]
    fn both_forms_of_a_number_are_found_and_a_short_number_only_on_its_own() {
        let brazil = Phone::from_e164("+5511987654321").unwrap();
        assert!(brazil.occurs_in("+55 11 8765-4321") && brazil.occurs_in("(11) 98765-4321"));
        let iceland = Phone::from_e164("+3546111234").unwrap();
        assert!(iceland.occurs_in("611 1234") && iceland.occurs_in("+354 611 1234"));
        assert!(!iceland.occurs_in("order 96111234560"));
    }
}
