//! Whether the words of a label are a label where they stand.
//!
//! They are at the start of a line, behind a separator of a table (`|`, ` - ` and others), or
//! behind another label and its value. Words before them make them another label or a sentence:
//! "Business Phone:" and "Questions? Phone" are not "Phone:". In the middle of a line a colon must
//! follow.
//!
//! Entry point: [`can_begin_label`].

use std::ops::Range;

use super::plain_text::{FoldedText, line_start};

/// The fewest digits in a word for it to be a value, so that a label may follow it: a number, a
/// date, a booking code.
const MIN_VALUE_DIGITS: usize = 4;
/// Words before a label that say that the value is the customer's.
const CUSTOMER_WORDS: [&str; 14] = [
    "attendee",
    "attendee's",
    "booker",
    "booker's",
    "client",
    "client's",
    "customer",
    "customer's",
    "guest",
    "guest's",
    "invitee",
    "invitee's",
    "patient",
    "patient's",
];
/// First words of a part of a line that say that the next part is the business's.
const BUSINESS_WORDS: [&str; 12] = [
    "business",
    "host",
    "provider",
    "practitioner",
    "therapist",
    "organizer",
    "organiser",
    "studio",
    "clinic",
    "questions",
    "contact us",
    "to cancel",
];
/// Headings of the business's own data.
const BUSINESS_HEADINGS: [&str; 8] =
    ["business", "host", "provider", "practitioner", "therapist", "organizer", "organiser", "contact us"];
/// What may stand behind a word in a heading.
const DATA_WORDS: [&str; 6] = ["", " info", " information", " details", " contact", " data"];
/// The most lines between a heading and a label.
const MAX_LINES_BELOW: usize = 6;
/// The longest number of a list's item: `12.`
const MAX_ITEM_DIGITS: usize = 3;
/// The longest line before a label that is read, in characters.
const MAX_CHARS_BEFORE: usize = 1_000;

/// Whether a label may stand here.
pub(super) fn can_begin_label(folded: &FoldedText<'_>, label: &Range<usize>) -> bool {
    let chars = folded.chars();
    // A label of signs, such as " - ", separates by itself.
    if !chars[label.start].is_alphanumeric() {
        return true;
    }
    let from = line_start(chars, label.start);
    if label.start - from > MAX_CHARS_BEFORE {
        return false;
    }
    let before = LineBefore { folded, from };
    before.is_line_start(label.start)
        || before.is_after_customer_word(label.start, has_colon(chars, label))
        || (has_colon(chars, label) && before.is_part_start(label.start))
}

/// Whether the lines above a label, up to an empty one, have a heading of the business: "Provider".
pub(super) fn is_below_business(chars: &[char], label: usize) -> bool {
    let mut end = line_start(chars, label);
    for _ in 0..MAX_LINES_BELOW {
        let Some(line_end) = end.checked_sub(1) else { return false };
        let start = line_start(chars, line_end);
        let line: String = chars[start..line_end].iter().take(MAX_CHARS_BEFORE).collect();
        let line = line.trim_matches(|c: char| !c.is_alphanumeric());
        let is_heading = |word: &str| line.strip_prefix(word).is_some_and(|rest| DATA_WORDS.contains(&rest));
        if line.is_empty() || CUSTOMER_WORDS.into_iter().any(is_heading) {
            return false;
        }
        if BUSINESS_HEADINGS.into_iter().any(is_heading) {
            return true;
        }
        end = start;
    }
    false
}

/// Whether a label has a colon or another sign, its own or behind it.
pub(super) fn has_colon(chars: &[char], label: &Range<usize>) -> bool {
    let is_between = |c: &&char| matches!(c, ' ' | '"' | '\'' | '*' | '_' | ')' | ']');
    let next = chars[label.end..].iter().take(8).find(|c| !is_between(c));
    chars[..label.end].last().is_some_and(|c| !c.is_alphanumeric()) || next.is_some_and(|c| matches!(c, ':' | '='))
}

pub(super) fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '\'' | '\u{2019}' | '\u{5f3}' | '\u{5f4}' | '\u{300}'..='\u{36f}')
}

/// A line up to a label.
struct LineBefore<'a> {
    folded: &'a FoldedText<'a>,
    /// Where the line begins.
    from: usize,
}

impl LineBefore<'_> {
    fn until(&self, at: usize) -> &[char] {
        &self.folded.chars()[self.from..at]
    }

    /// Whether only bullets, quotes or the number of a list's item stand before.
    fn is_line_start(&self, at: usize) -> bool {
        let is_sign = |c: &char| !c.is_alphanumeric();
        let before = self.until(at);
        let item = &before[before.iter().take_while(|c| is_sign(c)).count()..];
        let digits = item.iter().take_while(|c| c.is_numeric()).count();
        item.is_empty()
            || ((1..=MAX_ITEM_DIGITS).contains(&digits)
                && matches!(item[digits..], ['.' | ')' | ':' | ']', ..])
                && item[digits..].iter().all(is_sign))
    }

    fn is_after_customer_word(&self, at: usize, has_colon: bool) -> bool {
        let before = trim_spaces(self.until(at));
        // "Guest: Phone:"
        let before = trim_spaces(before.strip_suffix(&[':']).unwrap_or(before));
        let length = before.iter().rev().take_while(|c| is_part_of_word(**c)).count();
        let start = self.from + before.len() - length;
        let has_space = self.until(at).last().is_some_and(|c| *c == ' ');
        has_space
            && is_customer_word(&before[before.len() - length..])
            && (self.is_line_start(start) || (has_colon && self.is_part_start(start)))
    }

    /// Whether a part of the line begins here, behind another part.
    fn is_part_start(&self, at: usize) -> bool {
        let until = self.until(at);
        let end = until.iter().rposition(|c| *c != ' ' && !is_opening(*c)).map_or(0, |last| last + 1);
        let before = &until[..end];
        let is_after_tab = || (end..until.len()).any(|at| self.folded.is_tab(self.from + at));
        let Some((sign, part)) = before.split_last() else { return true };
        let is_before_space = until.get(end) == Some(&' ');
        let is_spaced = is_before_space && part.last() == Some(&' ');
        match sign {
            '|' | '\u{a6}' | ';' | '\u{2022}' | '\u{2023}' | '\u{25aa}' | '\u{25cf}' | '\u{25e6}' => is_row(part),
            '-' | '\u{2010}'..='\u{2015}' | '/' | '\\' => is_spaced && is_row(part),
            ',' => is_pair(last_part(part)),
            _ if is_after_tab() => is_row(before),
            _ if is_before_space => self.is_after_value(before),
            _ => false,
        }
    }

    /// Whether a text ends in a value that is a whole part, or that has a label of its own:
    /// `Email: noa@example.com`.
    fn is_after_value(&self, before: &[char]) -> bool {
        let length = before.iter().rev().take_while(|c| **c != ' ').count();
        let (label, value) = before.split_at(before.len() - length);
        let label_end = trim_spaces(label);
        let has_label = matches!(label_end, [.., name, ':'] if name.is_alphanumeric());
        is_value(value) && (self.is_line_start(self.from + label.len()) || (has_label && is_row(label_end)))
    }
}

/// Signs between a separator and a label: quotes, marks of bold text, emoji.
fn is_opening(c: char) -> bool {
    matches!(c, '"' | '\'' | '*' | '{' | '\u{201c}' | '\u{2190}'..='\u{25a9}' | '\u{2600}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

/// Whether a part of a line may be the cell of a table. A question is not, and what is the
/// business's makes the next one the business's.
fn is_row(part: &[char]) -> bool {
    let part = trim_spaces(part);
    let text: String = last_part(part).iter().skip_while(|c| !c.is_alphanumeric()).collect();
    let is_business =
        |words: &&str| text.strip_prefix(*words).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()));
    !part.last().is_some_and(|c| matches!(c, '?' | '!')) && !BUSINESS_WORDS.iter().any(is_business)
}

/// The text behind the last separator.
fn last_part(part: &[char]) -> &[char] {
    let start = part.iter().rposition(|c| matches!(c, '|' | ';' | ',')).map_or(0, |last| last + 1);
    &part[start..]
}

/// Whether a part of a line is a label with its value: `Name: Noa`.
fn is_pair(part: &[char]) -> bool {
    let colon = part.iter().position(|c| matches!(c, ':' | '='));
    colon.is_some_and(|colon| {
        let (label, value) = part.split_at(colon);
        label.iter().any(|c| c.is_alphabetic()) && value.iter().any(|c| c.is_alphanumeric()) && is_row(part)
    })
}

/// Whether a word is a value, behind which another label may follow on the same line.
fn is_value(word: &[char]) -> bool {
    word.contains(&'@')
        || word.windows(3).any(|signs| signs == [':', '/', '/'])
        || word.iter().filter(|c| c.is_numeric()).count() >= MIN_VALUE_DIGITS
}

fn is_customer_word(word: &[char]) -> bool {
    let word: String = word.iter().map(|c| if *c == '\u{2019}' { '\'' } else { *c }).collect();
    CUSTOMER_WORDS.contains(&word.as_str())
}

fn trim_spaces(chars: &[char]) -> &[char] {
    let until = chars.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
    &chars[..until]
}
