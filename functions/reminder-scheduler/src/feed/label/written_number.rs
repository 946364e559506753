//! Which of the digits behind a label are the phone number: other digits may follow it.
//!
//! Where the text allows two numbers, none is chosen. A stranger may have the other one.
//!
//! Main type: [`WrittenNumber`].

use std::ops::RangeInclusive;

use tellonce_core::contact::{Phone, PhoneError, PhoneRule};

/// The fewest digits that may be a number.
const MIN_DIGITS: usize = 7;
/// The fewest digits of a group that may be a part of a number of equal groups: `12 34 56 78`.
const MIN_GROUP_DIGITS: usize = 2;
/// How many digits a mobile number usually has, without the calling code, in countries whose plan
/// lists many more lengths. Source: the number ranges that Austria's RTR and Finland's Traficom
/// publish.
const USUAL_DIGITS: [(&str, RangeInclusive<usize>); 2] = [("AT", 9..=11), ("FI", 8..=10)];

/// Digits that begin with a phone number.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(Debug))]
pub(in super::super) struct WrittenNumber {
    /// As they are written, without spaces around them.
    text: String,
    /// Whether another text follows them on their line.
    is_before_text: bool,
}

/// One way to read the digits.
struct Reading {
    phone: Phone,
    /// Whether a space or the end of the digits follows.
    is_complete: bool,
    /// How many digits of the text it has.
    digits: usize,
}

impl WrittenNumber {
    /// `behind` is the rest of the line.
    pub(super) fn new(text: &str, behind: &[char]) -> Self {
        let is_end = |c: char| ",;.|)]}>\"'!?*/-(\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}".contains(c);
        let mut signs = behind.iter().skip_while(|c| **c == ' ');
        let is_before_text = signs.next().is_some_and(|c| !is_end(*c) || signs.next().is_some_and(|c| c.is_numeric()));
        Self { text: text.to_owned(), is_before_text }
    }

    /// The digits as they are written.
    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The number. `parse` reads a text that is one number.
    pub(super) fn parse(
        &self,
        parse: impl Fn(&str, PhoneRule) -> Result<Phone, PhoneError>,
        rule: PhoneRule,
    ) -> Result<Phone, PhoneError> {
        let whole = parse(&self.text, rule);
        let mut readings = self.shorter_readings(|text| parse(text, rule));
        if whole.is_err() {
            self.end_before_next_number(&mut readings);
        }
        let is_before_text = self.is_before_text || whole.is_err();
        let error = whole.as_ref().err().copied();
        let digits = count_digits(&self.text);
        readings.extend(whole.map(|phone| Reading { phone, is_complete: true, digits }));
        match readings.len() {
            0 => return Err(error.unwrap_or(PhoneError::NotPossible)),
            1 => return complete(readings.pop()).map_err(|why| error.unwrap_or(why)),
            _ => {}
        }
        let is_usual = |reading: &Reading| {
            let phone = &reading.phone;
            parse(phone.expose(), PhoneRule::Valid).is_ok() && has_usual_length(phone)
        };
        let is_even = error.is_none() && !is_before_text && self.ends_in_even_groups();
        let longest = readings.pop();
        let is_longest_usual = longest.as_ref().is_some_and(is_usual);
        let mut shorter: Vec<Reading> = readings.into_iter().filter(is_usual).collect();
        match shorter.len() {
            0 if is_longest_usual => complete(longest),
            1 if !is_longest_usual && is_before_text => complete(shorter.pop()),
            _ if is_longest_usual && is_even => complete(longest),
            _ => Err(PhoneError::TwoNumbers),
        }
    }

    /// The numbers that the text begins with, besides the whole text, the shortest first.
    fn shorter_readings(&self, parse: impl Fn(&str) -> Result<Phone, PhoneError>) -> Vec<Reading> {
        let ends = self.text.char_indices().scan(false, |is_in_digits, (at, c)| {
            let ends_here = *is_in_digits && !c.is_numeric();
            *is_in_digits = c.is_numeric();
            Some(ends_here.then_some(at))
        });
        let readings = ends.flatten().filter_map(|end| {
            let (text, rest) = self.text.split_at(end);
            // Invisible characters may follow the last digit.
            if count_digits(rest) == 0 {
                return None;
            }
            let digits = Some(count_digits(text)).filter(|digits| *digits >= MIN_DIGITS)?;
            let is_complete = rest.chars().take_while(|c| !c.is_numeric()).any(char::is_whitespace);
            parse(text).ok().map(|phone| Reading { phone, is_complete, digits })
        });
        readings.collect()
    }

    /// Removes readings that reach into a second number. It usually begins with a zero.
    fn end_before_next_number(&self, readings: &mut Vec<Reading>) {
        let digit = |at: usize| self.text.chars().filter(|c| c.is_numeric()).nth(at);
        let is_before_zero = |it: &Reading| it.is_complete && digit(it.digits) == Some('0');
        if let Some(end) = readings.iter().position(is_before_zero) {
            readings.truncate(end + 1);
        }
    }

    /// Whether the last two groups of digits have the same length, as parts of one number do.
    fn ends_in_even_groups(&self) -> bool {
        let mut groups = self.text.rsplit(|c: char| !c.is_numeric()).filter(|group| !group.is_empty());
        let mut length = || groups.next().map_or(0, |group| group.chars().count());
        let last = length();
        last >= MIN_GROUP_DIGITS && last == length()
    }
}

/// The number of a reading. No digit behind a dash is left out.
fn complete(reading: Option<Reading>) -> Result<Phone, PhoneError> {
    reading.filter(|reading| reading.is_complete).map(|reading| reading.phone).ok_or(PhoneError::TwoNumbers)
}

fn has_usual_length(phone: &Phone) -> bool {
    let digits = phone.national_digits().len();
    USUAL_DIGITS.iter().all(|(country, usual)| !phone.is_of_country(country) || usual.contains(&digits))
}

fn count_digits(text: &str) -> usize {
    text.chars().filter(|c| c.is_numeric()).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{number_text::scan_number, plain_text::FoldedText},
        *,
    };

    fn parse_in(country: &str, text: &str) -> Result<String, PhoneError> {
        let folded = FoldedText::new(text.strip_prefix("Tel: ").unwrap());
        let number = scan_number(folded.chars()).ok_or(PhoneError::NoNumber)?;
        let number = WrittenNumber::new(folded.written(0..number.length()), &folded.chars()[number.length()..]);
        let phone = number.parse(|text, rule| Phone::parse(text, country, rule), PhoneRule::Possible)?;
        Ok(phone.expose().to_owned())
    }

    #[test]
    fn where_digits_may_belong_to_the_number_or_not_none_counts() {
        for (country, text) in [
            ("AT", "Tel: 0664 1234567 2"),
            ("AT", "Tel: 0664 1234567 2 Personen"),
            ("AT", "Tel: 0664 1234567 2Personen"),
            ("AT", "Tel: 0664 1234567 2€"),
            ("AT", "Tel: 0664 1234567-80€"),
            ("AT", "Tel: 0664 1234567 80"),
            ("AT", "Tel: 0664 123 456 78 Maria"),
            ("AT", "Tel: +43 664 1234567 2 Personen"),
            ("DE", "Tel: 0171 1234567 2"),
            ("DE", "Tel: 0171 1234567 2, Noa"),
            ("DE", "Tel: 0171 1234567 2 10115 Berlin"),
            ("DE", "Tel: +49 171 1234567 2"),
            ("NZ", "Tel: 021 123 456 12"),
            ("NZ", "Tel: 021 123 4567 2 ppl"),
            ("NZ", "Tel: 021 123 456 7pm"),
            ("ID", "Tel: 0812 3456 789 12"),
            ("ID", "Tel: 0812 3456 789 2 orang"),
            ("IT", "Tel: 333 123456 1 persona"),
            ("FI", "Tel: 040 123456 10 hlö"),
        ] {
            assert_eq!(parse_in(country, text), Err(PhoneError::TwoNumbers), "{country} {text}");
        }
        assert_eq!(parse_in("DE", "Tel: 0171 1234567 $5").as_deref(), Ok("+491711234567"));
    }

    #[test]
    fn a_number_counts_whole_if_only_one_reading_has_the_usual_length() {
        for (country, text, phone) in [
            ("AT", "Tel: 0664 1234567", "+436641234567"),
            ("AT", "Tel: 0664 123 45 67", "+436641234567"),
            ("AT", "Tel: 0664 123 45 67 Maria", "+436641234567"),
            ("AT", "Tel: 0664 12 34 567", "+436641234567"),
            ("AT", "Tel: 0664/123 45 67", "+436641234567"),
            ("AT", "Tel: 0664-123-45-67, Wien", "+436641234567"),
            ("AT", "Tel: +43 664 123 45 67", "+436641234567"),
            ("AT", "Tel: 0699 12 34 56 78", "+4369912345678"),
            ("AT", "Tel: 0664 123456 1010 Wien", "+43664123456"),
            ("AT", "Tel: 0664 123 45 67 1010 Wien", "+436641234567"),
            ("AT", "Tel: 0664 1234567 101 Stiege", "+436641234567"),
            ("AT", "Tel: 0664 1234567 80€", "+436641234567"),
            ("AT", "Tel: 0664 1234567 24.11.", "+436641234567"),
            ("DE", "Tel: 0171 123 45 67", "+491711234567"),
            ("DE", "Tel: 0171 123 45 67 Noa", "+491711234567"),
            ("DE", "Tel: +49 171 123 45 67 Noa", "+491711234567"),
            ("DE", "Tel: 0171 1234567 10115 Berlin", "+491711234567"),
            ("DE", "Tel: 0171 1234567 0171 1234568", "+491711234567"),
            ("DE", "Tel: +49 171 1234567 0171 1234568", "+491711234567"),
            ("NZ", "Tel: 021 123 4567", "+64211234567"),
            ("NZ", "Tel: 021 1234 5678", "+642112345678"),
            ("ID", "Tel: 0812 3456 7890", "+6281234567890"),
            ("FI", "Tel: 040 123 4567", "+358401234567"),
            ("FI", "Tel: 040 1234567 00100 Helsinki", "+358401234567"),
            ("SE", "Tel: 070 123 45 67 2", "+46701234567"),
            ("FR", "Tel: 06 12 34 56 78 12 personnes", "+33612345678"),
            ("GB", "Tel: 07911 123456 1 adult", "+447911123456"),
            ("US", "Tel: 415-555-0132 94103 SF", "+14155550132"),
            ("IL", "Tel: 054-555-0199 (2 kids)", "+972545550199"),
            ("IL", "Tel: 054 555 01 99€", "+972545550199"),
            ("IL", "Tel: \u{202a}+972 54-555-0199\u{202c}", "+972545550199"),
        ] {
            assert_eq!(parse_in(country, text).as_deref(), Ok(phone), "{country} {text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_number_is_whole_groups_of_digits_from_the_start_or_an_error(
            first in "[1-9][0-9]{0,6}",
            others in prop::collection::vec("[0-9]{1,7}", 0..5),
            separator in prop::sample::select(vec![" ", "-", ".", "  "]),
            behind in prop::sample::select(vec!["", " Noa", "€", ", Wien", " $5", "kg", "."]),
            country in prop::sample::select(vec!["AT", "DE", "NZ", "ID", "FI", "IT", "IL", "US", "SE", "FR"]),
            prefix in prop::sample::select(vec!["0664 ", "0171 ", "021 ", "0812 ", "040 ", "333 ", "054", "415 ", "+43 664 ", "+49 "]),
        ) {
            let groups: Vec<&str> = std::iter::once(&first).chain(&others).map(String::as_str).collect();
            let digits = format!("{prefix}{}", groups.join(separator));
            if let Ok(phone) = parse_in(country, &format!("Tel: {digits}{behind}")) {
                // In Israel, 017 begins an international number.
                let dialled = if country == "IL" { digits.strip_prefix("017").unwrap_or(&digits) } else { &digits };
                let mut read = String::new();
                let is_whole = dialled.split([' ', '-', '.']).any(|group| {
                    read.push_str(group);
                    read.len() >= 7 && phone.ends_with(read.trim_start_matches(['0', '+']))
                });
                prop_assert!(is_whole, "{} {}{}", country, digits, behind);
            }
        }
    }
}
