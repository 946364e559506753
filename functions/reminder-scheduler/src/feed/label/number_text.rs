//! Where a phone number begins and ends in a text with words around it.
//!
//! This module only finds the text. `tellonce_core::contact` decides whether it is a number that
//! may be messaged.
//!
//! Main type: [`NumberText`].

/// The fewest digits of a number.
const MIN_DIGITS: usize = 7;
/// The longest part of a line that is searched for a number, in characters.
const MAX_NUMBER_CHARS: usize = 100;
/// The most signs between a label and its number.
const MAX_SIGNS: usize = 12;
/// Prefixes of numbers in links.
const LINK_SCHEMES: [&str; 3] = ["tel:", "whatsapp:", "sms:"];
/// Words before the digits of an extension.
const EXTENSION_WORDS: [&str; 6] = ["x", "ext", "extn", "extension", "שלוחה", "доб"];

/// A number at the start of a line, and its length in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberText {
    /// Another text or the end of the line follows.
    Plain(usize),
    /// An extension follows, so the number belongs to a switchboard or a conference.
    WithExtension(usize),
}

impl NumberText {
    pub(super) const fn length(self) -> usize {
        match self {
            Self::Plain(length) | Self::WithExtension(length) => length,
        }
    }
}

/// Where a number may begin: behind spaces, signs, and at most `max_line_ends` ends of lines.
/// `None` if a word comes first.
pub(super) fn skip_to_number(chars: &[char], from: usize, max_line_ends: usize) -> Option<usize> {
    let (mut at, mut signs, mut line_ends) = (from, 0, 0);
    let mut has_dash = false;
    loop {
        let rest = &chars[at..];
        match rest.first()? {
            ' ' => at += 1,
            // A dash in place of a value: the next line is another value.
            '\n' if line_ends < max_line_ends && !has_dash => {
                line_ends += 1;
                at += 1;
            }
            '\n' => return None,
            '+' => return Some(at),
            '(' | '[' if is_bracket_of_number(rest) => return Some(at),
            c if c.is_numeric() => return Some(at),
            c if c.is_alphabetic() && is_country_of_number(rest) => at += 3,
            c if c.is_alphabetic() => at += LINK_SCHEMES.iter().find_map(|scheme| match_text(rest, scheme))?,
            c if signs < MAX_SIGNS => {
                has_dash |= is_dash(*c);
                signs += 1;
                at += 1;
            }
            _ => return None,
        }
    }
}

fn match_text(chars: &[char], text: &str) -> Option<usize> {
    let length = text.chars().count();
    (chars.len() >= length && text.chars().zip(chars).all(|(wanted, c)| wanted == *c)).then_some(length)
}

/// Whether a text is a country's code and a number with a country prefix: `IL +972…`.
fn is_country_of_number(rest: &[char]) -> bool {
    matches!(rest, [first, second, ' ', '+', ..] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic())
}

fn is_bracket_of_number(rest: &[char]) -> bool {
    rest.iter().skip(1).find(|c| **c != ' ').is_some_and(|c| c.is_numeric() || *c == '+')
}

/// The first number of a line that begins with it. `None` if its digits are too few, or a date or a
/// time of day.
pub(super) fn scan_number(line: &[char]) -> Option<NumberText> {
    let line = &line[..line.len().min(MAX_NUMBER_CHARS)];
    let run = line.iter().enumerate().position(|(at, c)| !is_number_sign(line, at, *c)).unwrap_or(line.len());
    let length_of = |run: usize| line[..run].iter().rposition(|c| c.is_numeric()).map_or(0, |last| last + 1);
    let mut length = length_of(run);
    // A time of day behind the number: `054-555-0199 10:30`.
    if line.get(length) == Some(&':') && line.get(length + 1).is_some_and(|c| c.is_numeric()) {
        length = line[..length].iter().rposition(|c| *c == ' ').map_or(0, length_of);
    }
    let number = &line[..length];
    if count_digits(number) < MIN_DIGITS || begins_with_date(number) {
        return None;
    }
    let rest = &line[length..];
    Some(if begins_extension(rest) { NumberText::WithExtension(length) } else { NumberText::Plain(length) })
}

fn count_digits(chars: &[char]) -> usize {
    chars.iter().filter(|c| c.is_numeric()).count()
}

/// Whether a character of a line belongs to the number that the line begins with.
fn is_number_sign(line: &[char], at: usize, c: char) -> bool {
    match c {
        ' ' | '.' | '(' | ')' | '[' | ']' | '~' | '_' => true,
        '+' => count_digits(&line[..at]) == 0,
        // `0301/23456`: a German area code.
        '/' => count_digits(&line[..at]) < MIN_DIGITS,
        c => c.is_numeric() || is_dash(c),
    }
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{58a}' | '\u{5be}' | '\u{30fc}' | '\u{fe58}' | '\u{b7}')
}

/// Whether a number is a date: `2026-11-24`, `24.11.2026`.
fn begins_with_date(number: &[char]) -> bool {
    let mut parts = number.split(|c| is_dash(*c) || matches!(c, '.' | '/' | ' ')).map(|part| {
        let digits: String = part.iter().collect();
        (digits.len(), digits.parse::<u32>().unwrap_or(0))
    });
    let is_year = |(length, year): (usize, u32)| length == 4 && (1900..2200).contains(&year);
    let is_in = |(length, number): (usize, u32), most: u32| (1..=2).contains(&length) && (1..=most).contains(&number);
    let (Some(first), Some(second), Some(third)) = (parts.next(), parts.next(), parts.next()) else { return false };
    (is_year(first) && is_in(second, 12) && is_in(third, 31))
        || (is_in(first, 31) && is_in(second, 31) && is_year(third))
}

/// Whether a text behind a number is an extension: `ext. 5`, `x5`, `#5`, `,,5`.
fn begins_extension(rest: &[char]) -> bool {
    let rest = &rest[rest.iter().take_while(|c| **c == ' ').count()..];
    let is_digit_behind = |signs: &[char]| {
        signs.iter().find(|c| !matches!(c, ' ' | '.' | ':' | ',')).is_some_and(|c| c.is_numeric() || *c == '#')
    };
    match rest {
        ['#', ..] | [',' | ';', ',' | ';' | '*', ..] => true,
        [c, ..] if c.is_alphabetic() => {
            let word: String = rest.iter().take_while(|c| c.is_alphabetic()).collect();
            EXTENSION_WORDS.contains(&word.as_str()) && is_digit_behind(&rest[word.chars().count()..])
        }
        [';', ..] => match_text(&rest[1..], "ext=").is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(line: &str) -> Option<(String, bool)> {
        let chars: Vec<char> = line.chars().collect();
        let number = scan_number(&chars)?;
        let is_extended = matches!(number, NumberText::WithExtension(_));
        Some((chars[..number.length()].iter().collect(), is_extended))
    }

    #[test]
    fn a_number_ends_where_another_text_begins() {
        for (line, number) in [
            ("054-555-0199", "054-555-0199"),
            ("054-555-0199 or 03-555-0123", "054-555-0199"),
            ("054-555-0199, 052-555-0101", "054-555-0199"),
            ("054-555-0199 / 052-555-0101", "054-555-0199"),
            ("+972 54 555 0199 +972 52 555 0101", "+972 54 555 0199"),
            ("+972 (0)54-555-0199 (Noa)", "+972 (0)54-555-0199"),
            ("(212) 555-0123.", "(212) 555-0123"),
            ("0301/23456", "0301/23456"),
            ("0545550199/2", "0545550199"),
            ("٠٥٤٥٥٥٠١٩٩ נועה", "٠٥٤٥٥٥٠١٩٩"),
            ("054-555-0199 express", "054-555-0199"),
            ("054-555-0199 x", "054-555-0199"),
        ] {
            assert_eq!(scan(line), Some((number.to_owned(), false)), "{line}");
        }
    }

    #[test]
    fn a_number_with_an_extension_is_marked() {
        for line in [
            "03-555-0123 ext. 12",
            "+1 212 555 0123 x5",
            "+16465588656,,123#",
            "+1 646 558 8656 # 12",
            "03-5550123 שלוחה 5",
            "+97235550123;ext=5",
        ] {
            assert_eq!(scan(line).map(|(_, is_extended)| is_extended), Some(true), "{line}");
        }
    }

    #[test]
    fn dates_times_and_short_numbers_are_not_phone_numbers() {
        for line in
            ["2026-11-24 10:00", "24.11.2026", "24/11/2026 09", "2026 11 24", "12345", "12 Herzl St", "1234567:30", ""]
        {
            assert_eq!(scan(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_number_begins_the_line_and_ends_in_a_digit(line in "[0-9 +()./,;x#:a-z-]{0,40}") {
            let chars: Vec<char> = line.chars().collect();
            if let Some(number) = scan_number(&chars) {
                prop_assert!(chars[number.length() - 1].is_numeric());
                prop_assert!(!chars[..number.length()].iter().any(|c| c.is_alphabetic() || matches!(c, ',' | ';' | '#' | ':')));
            }
            skip_to_number(&chars, 0, 2);
        }
    }
}
