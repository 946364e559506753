//! Turns a text into the digits of exactly one number.

use std::mem;

use super::phone_rule::PhoneError;

/// The digits of one number, as dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DialledNumber {
    /// Whether they begin with a country's calling code.
    pub(super) international: bool,
    /// ASCII digits, at least one.
    pub(super) digits: String,
}

/// The longest text that may be a phone number.
const MAX_TEXT_BYTES: usize = 200;

/// A number has at most 15 digits. Before them stand at most `00` and, wrongly, a `0`.
const MAX_DIGITS: usize = 18;

/// The fewest digits of a whole number. Fewer digits are a part of a number.
const MIN_NUMBER_DIGITS: usize = 7;

/// Words before the digits of an extension.
const EXTENSION_WORDS: [&str; 6] = ["x", "ext", "extn", "extension", "שלוחה", "доб"];

/// Prefixes of numbers in links.
const LINK_SCHEMES: [&str; 3] = ["tel:", "whatsapp:", "sms:"];

/// Reads the digits of exactly one number.
pub(super) fn parse_dialled_number(raw: &str) -> Result<DialledNumber, PhoneError> {
    if raw.len() > MAX_TEXT_BYTES {
        return Err(PhoneError::NotPossible);
    }
    let signs: Vec<char> = raw.chars().filter(|c| !is_invisible(*c)).map(to_ascii_char).collect();
    let text: String = signs.into_iter().collect();
    let text = text.trim();
    let text = LINK_SCHEMES
        .iter()
        .find_map(|scheme| text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)))
        .map_or(text, |scheme| &text[scheme.len()..]);

    let mut parts: Vec<DigitGroup> = Vec::new();
    let mut part = DigitGroup::default();
    let mut spaced = false;
    let mut rest = text.chars().peekable();
    while let Some(sign) = rest.next() {
        match sign {
            '0'..='9' => part.digits.push(sign),
            '+' if part.digits.is_empty() && !part.plus => part.plus = true,
            '+' if part.is_whole_number() => {
                parts.push(mem::replace(&mut part, DigitGroup { plus: true, ..DigitGroup::after_separator(' ') }));
            }
            ' ' => spaced |= !part.digits.is_empty(),
            '-' | '.' | '(' | ')' | '[' | ']' => {}
            '/' | ',' | ';' | '|' | '&' | '\n' => {
                parts.push(mem::replace(&mut part, DigitGroup::after_separator(sign)));
            }
            '*' | '#' if part.digits.is_empty() && parts.is_empty() => return Err(PhoneError::ShortCode),
            '#' => return Err(PhoneError::Extension),
            letter if letter.is_alphabetic() => {
                let mut word = String::from(letter);
                while let Some(next) = rest.next_if(|next| next.is_alphabetic()) {
                    word.push(next);
                }
                let behind_a_number = part.is_whole_number() || parts.iter().any(DigitGroup::is_whole_number);
                let extension = EXTENSION_WORDS.contains(&word.to_lowercase().as_str());
                return Err(if behind_a_number && extension { PhoneError::Extension } else { PhoneError::Letters });
            }
            _ => return Err(PhoneError::NotPossible),
        }
    }
    parts.push(part);
    parts.retain(|part| part.plus || !part.digits.is_empty());
    require_one_number(parts, spaced)
}

/// Digits between two separators.
#[derive(Default)]
struct DigitGroup {
    plus: bool,
    digits: String,
    /// The separator before it.
    separator: char,
}

impl DigitGroup {
    fn after_separator(separator: char) -> Self {
        Self { separator, ..Self::default() }
    }

    /// Whether it can be a number on its own.
    fn is_whole_number(&self) -> bool {
        self.digits.len() >= MIN_NUMBER_DIGITS
    }
}

fn require_one_number(parts: Vec<DigitGroup>, spaced: bool) -> Result<DialledNumber, PhoneError> {
    let mut parts = parts.into_iter();
    let Some(DigitGroup { plus: international, mut digits, .. }) = parts.next() else { return Err(PhoneError::Empty) };
    for part in parts {
        if digits.len() < MIN_NUMBER_DIGITS && !part.plus && matches!(part.separator, '/' | '\n') {
            // `0301/23456`: a German area code, written with a slash.
            digits.push_str(&part.digits);
        } else if part.is_whole_number() || part.plus || matches!(part.separator, '/' | '|' | '&' | '\n') {
            // The last condition also catches `5550101/02`, short for two neighbouring numbers.
            return Err(PhoneError::TwoNumbers);
        } else {
            return Err(PhoneError::Extension);
        }
    }
    match digits.len() {
        0 => Err(PhoneError::NotPossible),
        1..=MAX_DIGITS => Ok(DialledNumber { international, digits }),
        _ if spaced => Err(PhoneError::TwoNumbers),
        _ => Err(PhoneError::NotPossible),
    }
}

/// Characters that are not visible: directions, joiners, soft hyphens, variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{20e3}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}')
}

/// The ASCII form of a digit, a plus, a space, a dash or another separator of any script. Other
/// characters stay unchanged.
fn to_ascii_char(c: char) -> char {
    if c.is_ascii() {
        return match c {
            '\r' => '\n',
            '\t' | '\u{b}' | '\u{c}' => ' ',
            '~' | '_' => '-',
            '\\' => '/',
            other => other,
        };
    }
    match c {
        '\u{ff0b}' | '\u{fe62}' | '\u{207a}' => '+',
        // Hyphens and dashes, the minus, the Armenian hyphen, the Hebrew maqaf, the katakana mark,
        // middle dots.
        '\u{2010}'..='\u{2015}'
        | '\u{2212}'
        | '\u{58a}'
        | '\u{5be}'
        | '\u{30fc}'
        | '\u{fe58}'
        | '\u{fe63}'
        | '\u{ff0d}'
        | '\u{207b}'
        | '\u{2e3a}'
        | '\u{2e3b}'
        | '\u{b7}'
        | '\u{ff0e}' => '-',
        '\u{ff08}' => '(',
        '\u{ff09}' => ')',
        '\u{ff0f}' => '/',
        '\u{ff0c}' | '\u{60c}' => ',',
        '\u{ff1b}' | '\u{61b}' => ';',
        '\u{2028}' | '\u{2029}' | '\u{85}' => '\n',
        space if space.is_whitespace() => ' ',
        other => to_ascii_digit(other).unwrap_or(other),
    }
}

/// The zero of each script with decimal digits (general category Nd, Unicode 16). The other nine
/// digits follow it.
const ZEROS: [u32; 75] = [
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20,
    0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0,
    0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0,
    0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50,
    0x11D50, 0x11DA0, 0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8, 0x1D7E2,
    0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
];

/// A decimal digit of any script, in ASCII.
fn to_ascii_digit(c: char) -> Option<char> {
    let at = ZEROS.partition_point(|zero| *zero <= u32::from(c)).checked_sub(1)?;
    char::from_digit((u32::from(c) - ZEROS[at]).min(10), 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_script_has_ten_digits_and_the_list_is_sorted() {
        assert!(ZEROS.is_sorted());
        for zero in ZEROS {
            for value in 0..10 {
                let digit = char::from_u32(zero + value).unwrap();
                assert_eq!(to_ascii_digit(digit), char::from_digit(value, 10), "{zero:x}");
            }
        }
    }

    #[test]
    fn no_other_character_becomes_a_digit() {
        let known = |c: char| ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&u32::from(c)));
        for c in ('\u{80}'..=char::MAX).filter(|c| !known(*c)) {
            assert!(!to_ascii_char(c).is_ascii_digit(), "{c:?}");
        }
    }

    #[test]
    fn a_slash_after_an_area_code_separates_nothing() {
        assert_eq!(parse_dialled_number("0301/23456").unwrap().digits, "030123456");
        assert_eq!(
            parse_dialled_number("+49 (0)171/39200123").unwrap(),
            DialledNumber { international: true, digits: "49017139200123".into() }
        );
    }
}
