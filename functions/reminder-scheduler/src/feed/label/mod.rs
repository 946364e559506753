//! Values behind labels: what a client's rule selects in the text of an event.
//!
//! A label stands at the start of a line or behind a separator. Words before it make it another
//! label: "Business Phone:" is not "Phone:". Of a client's labels, the first of the list counts,
//! and at one place the longest. Case, kinds of spaces and spaces before a colon make no
//! difference.
//!
//! A phone number is the first one behind its label, on the same line or on the next. The number of
//! a conference is no customer's: see `dial_in`.
//!
//! Main types: [`LabelledNumber`], [`TextLabels`].

mod dial_in;
mod number_text;
mod plain_text;

use std::ops::Range;

use tellonce_core::{
    client_config::FeedTextRule,
    contact::{Phone, PhoneError, PhoneRule},
};

use self::{
    number_text::NumberText,
    plain_text::{FoldedText, strip_html},
};

/// The most empty lines between a label and its value, plus one.
const MAX_LINE_ENDS: usize = 2;
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
/// The longest word before a full stop that may be an abbreviation.
const MAX_ABBREVIATION_CHARS: usize = 4;
/// The most places of one text where labels are searched for. A stranger may write any text.
const MAX_PLACES: usize = 50;
/// The longest word before a label that is read.
const MAX_WORD_CHARS: usize = 100;
/// The longest line that a value is searched for in, in characters.
const MAX_LINE_CHARS: usize = 400;

/// What a rule for phone numbers selects in a text.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum LabelledNumber {
    /// The text has none of the labels.
    #[default]
    Missing,
    /// A label is there, and no number is behind it.
    NoNumber,
    /// The number behind the label dials a conference.
    DialIn,
    /// The number behind the label belongs to a switchboard.
    Extension,
    /// The digits behind the label, which begin with a number.
    Number {
        /// As they are written.
        text: String,
        /// Whether a word follows them on the line.
        is_before_word: bool,
    },
    /// The whole text of a rule without labels.
    Whole(String),
}

impl LabelledNumber {
    /// Whether the text has none of the labels.
    pub(super) fn is_missing(&self) -> bool {
        *self == Self::Missing
    }

    /// Whether there is a text to read as a number.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Number { .. } | Self::Whole(_))
    }

    /// The number.
    pub(super) fn parse(&self, country: &str, rule: PhoneRule) -> Result<Phone, PhoneError> {
        match self {
            Self::Missing => Err(PhoneError::Empty),
            Self::NoNumber => Err(PhoneError::NoNumber),
            Self::DialIn => Err(PhoneError::DialIn),
            Self::Extension => Err(PhoneError::Extension),
            Self::Whole(text) => Phone::parse(text, country, rule),
            Self::Number { text, is_before_word } => {
                parse_first_number(text, *is_before_word, |text| Phone::parse(text, country, rule))
            }
        }
    }
}

/// The longest group of digits that may belong to the word behind it: `2 kids`.
const MAX_COUNT_DIGITS: usize = 2;

/// The first number of a text of digits. If the text as a whole is not a number, a shorter one
/// counts, because other digits may follow behind a space.
fn parse_first_number(
    text: &str,
    is_before_word: bool,
    parse: impl Fn(&str) -> Result<Phone, PhoneError>,
) -> Result<Phone, PhoneError> {
    let whole = parse(text);
    let ends: Vec<usize> = text.match_indices(char::is_whitespace).map(|(end, _)| end).collect();
    let last_group = ends.last().map(|end| text.split_at(*end));
    if let (Ok(_), true, Some((shorter, group))) = (&whole, is_before_word, last_group)
        && group.trim().chars().count() <= MAX_COUNT_DIGITS
        && parse(shorter).is_ok()
    {
        // Whether the last digits are part of the number is unclear.
        return Err(PhoneError::TwoNumbers);
    }
    whole.or_else(|error| {
        // A second number usually begins with a zero.
        let begins_number = |end: &&usize| text[**end..].trim_start().starts_with('0');
        let mut shorter = ends.iter().rev().filter(begins_number).chain(ends.iter().rev());
        shorter.find_map(|end| parse(&text[..*end]).ok()).ok_or(error)
    })
}

/// The labels of one rule.
pub(super) struct TextLabels(Vec<Vec<char>>);

impl TextLabels {
    /// The labels of a rule, in its order. A label may be HTML, as the texts are.
    pub(super) fn new(rule: &FeedTextRule) -> Self {
        Self(rule.after.iter().map(|label| fold_label(label)).filter(|label| !label.is_empty()).collect())
    }

    /// The phone number that the rule selects. Without labels it is the whole text.
    pub(super) fn find_number(&self, text: &str) -> LabelledNumber {
        let plain = strip_html(text);
        if self.0.is_empty() {
            let whole = plain.trim();
            return if whole.is_empty() { LabelledNumber::Missing } else { LabelledNumber::Whole(whole.to_owned()) };
        }
        let folded = FoldedText::new(&plain);
        let mut found = LabelledNumber::Missing;
        for label in self.all_places(folded.chars()) {
            let number = if label.is_label { number_behind(&folded, &label.range) } else { LabelledNumber::NoNumber };
            match (&found, number) {
                (_, number @ LabelledNumber::Number { .. }) => return number,
                (LabelledNumber::Missing | LabelledNumber::NoNumber, other) => found = other,
                _ => {}
            }
        }
        found
    }

    /// The line of text that the rule selects, such as a name. Without labels it is the whole text.
    /// It ends before a separator, another label, or one of `other` labels.
    pub(super) fn find_line(&self, text: &str, other: &Self) -> Option<String> {
        let plain = strip_html(text);
        if self.0.is_empty() {
            return Some(plain.trim().to_owned()).filter(|text| !text.is_empty());
        }
        let folded = FoldedText::new(&plain);
        let chars = folded.chars();
        self.all_places(chars).filter(|label| label.is_label).find_map(|LabelPlace { range, .. }| {
            let value = line_behind(chars, &range, other)?;
            Some(folded.written(value).trim().to_owned()).filter(|value| !value.is_empty())
        })
    }

    /// Where the labels stand, in their order, and then in the order of the text.
    fn all_places<'a>(&'a self, chars: &'a [char]) -> impl Iterator<Item = LabelPlace> + 'a {
        let places = self.0.iter().flat_map(move |label| {
            (0..chars.len()).filter_map(move |at| {
                let end = match_label(label, chars, at)?;
                let is_longest = !self.0.iter().any(|other| match_label(other, chars, at).is_some_and(|it| it > end));
                is_longest.then(|| LabelPlace { range: at..end, is_label: can_begin_label(label, chars, at) })
            })
        });
        places.take(MAX_PLACES)
    }
}

/// A place where the words of a label stand.
struct LabelPlace {
    range: Range<usize>,
    /// Whether they are a label there, and not the end of a longer one.
    is_label: bool,
}

/// A label as it is compared. Of a label of words, spaces around it do not count.
fn fold_label(label: &str) -> Vec<char> {
    let plain = strip_html(label);
    let folded = FoldedText::new(&plain);
    let mut chars: Vec<char> = Vec::new();
    for &c in folded.chars() {
        let c = if c == '\n' { ' ' } else { c };
        match (chars.last(), c) {
            (Some(' '), ' ') => {}
            (Some(' '), ':') => *chars.last_mut().unwrap_or(&mut ' ') = ':',
            _ => chars.push(c),
        }
    }
    if chars.iter().any(|c| c.is_alphanumeric()) {
        let is_space = |c: &char| *c == ' ';
        let from = chars.iter().position(|c| !is_space(c)).unwrap_or(0);
        let until = chars.iter().rposition(|c| !is_space(c)).map_or(0, |last| last + 1);
        chars = chars[from..until].to_vec();
    }
    chars
}

/// The end of a label that stands at this place.
fn match_label(label: &[char], chars: &[char], at: usize) -> Option<usize> {
    let is_inside_word = at > 0 && chars[at - 1..=at].iter().all(|c| is_part_of_word(*c));
    if is_inside_word {
        return None;
    }
    let mut end = at;
    for &c in label {
        let spaces = chars[end..].iter().take_while(|it| **it == ' ').count();
        match c {
            ' ' if spaces > 0 => end += spaces,
            ':' if chars.get(end + spaces) == Some(&':') => end += spaces + 1,
            _ if chars.get(end) == Some(&c) => end += 1,
            _ => return None,
        }
    }
    // "Phones" is another word than "Phone". Digits may follow at once.
    let ends_in_word = label.last().is_some_and(|c| c.is_alphanumeric());
    let goes_on = chars.get(end).is_some_and(|c| c.is_alphabetic() || *c == '_');
    (!(ends_in_word && goes_on)).then_some(end)
}

/// Whether a label may stand here: at a line's start, behind a separator, or behind a value.
fn can_begin_label(label: &[char], chars: &[char], at: usize) -> bool {
    // A label of signs, such as " - ", separates by itself.
    !label.first().is_some_and(|c| c.is_alphanumeric()) || begins_part(chars, at, 1)
}

/// Whether a part of a line begins here. `words` is how many words before it may belong to it.
fn begins_part(chars: &[char], at: usize, words: usize) -> bool {
    let is_spaced = chars[..at].last() == Some(&' ');
    let before = &chars[..at - usize::from(is_spaced)];
    let sign = match before.last() {
        None | Some('\n') => return true,
        Some(sign) => *sign,
    };
    let length = before.iter().rev().take(MAX_WORD_CHARS).take_while(|c| !matches!(c, ' ' | '\n')).count();
    let word_start = before.len() - length;
    let word = &before[word_start..];
    match sign {
        _ if is_part_of_word(sign) => {
            is_spaced
                && (is_value(word)
                    || (words > 0 && is_customer_word(word) && begins_part(chars, word_start, words - 1)))
        }
        // "Tele-Phone", "Fax/Phone".
        '-' | '\u{2010}'..='\u{2015}' | '/' | '\\' => is_spaced,
        '.' => is_spaced && (is_value(word) || length > MAX_ABBREVIATION_CHARS + 1),
        '&' | '+' | '@' | '#' | '%' | '$' => false,
        _ => true,
    }
}

fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '\'' | '\u{2019}' | '\u{5f3}' | '\u{5f4}' | '\u{300}'..='\u{36f}')
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

fn line_start(chars: &[char], at: usize) -> usize {
    chars[..at].iter().rposition(|c| *c == '\n').map_or(0, |end| end + 1)
}

/// The end of a line, or of as much of it as is read.
fn line_end(chars: &[char], at: usize) -> usize {
    at + chars[at..].iter().take(MAX_LINE_CHARS).take_while(|c| **c != '\n').count()
}

/// The number behind a label.
fn number_behind(folded: &FoldedText<'_>, label: &Range<usize>) -> LabelledNumber {
    let chars = folded.chars();
    let Some(at) = number_text::skip_to_number(chars, label.end, MAX_LINE_ENDS) else {
        return LabelledNumber::NoNumber;
    };
    let line = line_end(chars, at);
    match number_text::scan_number(&chars[at..line]) {
        None => LabelledNumber::NoNumber,
        Some(number) if dial_in::is_dial_in(chars, line_start(chars, label.start), at, number.length()) => {
            LabelledNumber::DialIn
        }
        Some(NumberText::Plain(length)) => LabelledNumber::Number {
            text: folded.written(at..at + length).trim().to_owned(),
            is_before_word: matches!(&chars[at + length..line], [' ', word, ..] if word.is_alphabetic()),
        },
        Some(NumberText::WithExtension(_)) => LabelledNumber::Extension,
    }
}

/// The rest of the line behind a label, or the next line if the rest is empty.
fn line_behind(chars: &[char], label: &Range<usize>, other: &TextLabels) -> Option<Range<usize>> {
    let is_of_words = chars[label.clone()].iter().any(|c| c.is_alphanumeric());
    let is_skipped = |c: &char| *c == ' ' || (is_of_words && matches!(c, ':' | '=' | '-' | '>' | '*' | '_' | '"'));
    let skip = |at: usize| at + chars[at..].iter().take_while(|c| is_skipped(c)).count();
    let mut start = skip(label.end);
    let mut line_ends = 0;
    while is_of_words && chars.get(start) == Some(&'\n') && line_ends < MAX_LINE_ENDS {
        start = skip(start + 1);
        line_ends += 1;
    }
    let line = &chars[start..line_end(chars, start)];
    // A line of its own with a colon is the next label.
    if line.is_empty() || (line_ends > 0 && line.contains(&':')) {
        return None;
    }
    let other_label = (1..line.len()).find(|at| {
        let is_here = |label: &Vec<char>| {
            label.iter().any(|c| c.is_alphanumeric())
                && match_label(label, line, *at).is_some()
                && !is_part_of_word(line[at - 1])
        };
        other.0.iter().any(is_here)
    });
    let separator = line.iter().position(|c| matches!(c, '|' | ';' | '\u{2022}' | '<'));
    let ends = [other_label, separator, next_label(line)];
    let end = ends.into_iter().flatten().min().unwrap_or(line.len());
    (end > 0).then_some(start..start + end)
}

/// Where the next label of a line begins: a word with a colon behind it.
fn next_label(line: &[char]) -> Option<usize> {
    let colon = line.iter().position(|c| *c == ':')?;
    let word_end = line[..colon].iter().rposition(|c| *c != ' ')? + 1;
    let word_start = line[..word_end].iter().rposition(|c| *c == ' ').map_or(0, |space| space + 1);
    line[word_start..word_end].iter().any(|c| c.is_alphabetic()).then_some(word_start).filter(|start| *start > 0)
}

#[cfg(test)]
mod tests;
