//! Values behind labels: what a client's rule selects in the text of an event.
//!
//! Where a label stands: see `label_place`. Of a client's labels, the first of the list counts, and
//! at one place the longest. Case, kinds of spaces and spaces before a colon make no difference.
//!
//! A phone number is the first one behind its label, on the same line or on the next. The number of
//! a conference is not a customer's: see `dial_in`. Of two different numbers behind one label, none
//! counts: one may be the business's own.
//!
//! Main types: [`LabelledNumber`], [`TextLabels`].

mod dial_in;
mod label_place;
mod number_text;
mod plain_text;
mod written_number;

use std::ops::Range;

use tellonce_core::{
    client_config::FeedTextRule,
    contact::{Phone, PhoneError, PhoneRule},
};

use self::{
    label_place::{can_begin_label, has_colon, is_below_business, is_part_of_word},
    number_text::NumberText,
    plain_text::{FoldedText, line_start, strip_html},
    written_number::WrittenNumber,
};

/// The most empty lines between a label and its value, plus one.
const MAX_LINE_ENDS: usize = 2;
/// The most places of one text where labels are searched for. A stranger may write any text.
const MAX_PLACES: usize = 50;
/// Words behind a number that make a sentence of a label without a colon: "Phone … to cancel".
const SENTENCE_WORDS: [&str; 9] = ["to", "for", "if", "when", "before", "um", "bei", "pour", "para"];
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
    /// The numbers behind the label, at least one, in the order of the text.
    Numbers(Vec<WrittenNumber>),
    /// A number, and another one that belongs to a switchboard.
    NumberAndExtension,
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
        matches!(self, Self::Numbers(_) | Self::NumberAndExtension | Self::Whole(_))
    }

    /// The number.
    pub(super) fn parse(&self, country: &str, rule: PhoneRule) -> Result<Phone, PhoneError> {
        match self {
            Self::Missing => Err(PhoneError::Empty),
            Self::NoNumber => Err(PhoneError::NoNumber),
            Self::DialIn => Err(PhoneError::DialIn),
            Self::Extension => Err(PhoneError::Extension),
            Self::Whole(text) => Phone::parse(text, country, rule),
            Self::NumberAndExtension => Err(PhoneError::TwoNumbers),
            Self::Numbers(numbers) => {
                let parse = |number: &WrittenNumber| number.parse(|text, rule| Phone::parse(text, country, rule), rule);
                let Some((first, others)) = numbers.split_first() else { return Err(PhoneError::NoNumber) };
                let phone = parse(first);
                let is_same = |other: &WrittenNumber| {
                    first == other || phone.as_ref().is_ok_and(|phone| parse(other).as_ref() == Ok(phone))
                };
                if others.iter().all(is_same) { phone } else { Err(PhoneError::TwoNumbers) }
            }
        }
    }
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
        let mut numbers = Vec::new();
        let mut stem = None;
        let mut has_extension = false;
        let mut is_all_of_business = true;
        for place in self.all_places(&folded) {
            // "Phone" is "Phone:". A label further down the list does not count beside a number.
            if stem.is_some_and(|stem| stem != label_stem(place.label)) {
                continue;
            }
            let number = if place.is_label { number_behind(&folded, &place.range) } else { FoundNumber::None };
            let other = match number {
                FoundNumber::Number(number) => {
                    stem = Some(label_stem(place.label));
                    is_all_of_business &= is_below_business(folded.chars(), place.range.start);
                    numbers.push((place.range.start, number));
                    continue;
                }
                FoundNumber::Extension => LabelledNumber::Extension,
                FoundNumber::DialIn => LabelledNumber::DialIn,
                FoundNumber::None => LabelledNumber::NoNumber,
            };
            has_extension |= other == LabelledNumber::Extension;
            if matches!(found, LabelledNumber::Missing | LabelledNumber::NoNumber) {
                found = other;
            }
        }
        numbers.sort_by_key(|(at, _)| *at);
        match (numbers.is_empty(), has_extension) {
            (true, _) => found,
            // Beside another number, it is one of two.
            (false, _) if is_all_of_business => LabelledNumber::NoNumber,
            (false, true) => LabelledNumber::NumberAndExtension,
            (false, false) => LabelledNumber::Numbers(numbers.into_iter().map(|(_, number)| number).collect()),
        }
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
        self.all_places(&folded).filter(|label| label.is_label).find_map(|LabelPlace { range, .. }| {
            let value = line_behind(chars, &range, other)?;
            Some(folded.written(value).trim().to_owned()).filter(|value| !value.is_empty())
        })
    }

    /// Where the labels stand, in their order, and then in the order of the text.
    fn all_places<'a>(&'a self, folded: &'a FoldedText<'a>) -> impl Iterator<Item = LabelPlace<'a>> + 'a {
        let chars = folded.chars();
        let places = self.0.iter().flat_map(move |label| {
            (0..chars.len()).filter_map(move |at| {
                let end = match_label(label, chars, at)?;
                let is_longest = !self.0.iter().any(|other| match_label(other, chars, at).is_some_and(|it| it > end));
                is_longest.then(|| LabelPlace { label, range: at..end, is_label: can_begin_label(folded, &(at..end)) })
            })
        });
        places.take(MAX_PLACES)
    }
}

/// A place where the words of a label stand.
struct LabelPlace<'a> {
    label: &'a [char],
    range: Range<usize>,
    /// Whether they are a label there, and not the end of a longer one or a part of a sentence.
    is_label: bool,
}

/// What stands behind a label.
enum FoundNumber {
    None,
    DialIn,
    Extension,
    Number(WrittenNumber),
}

/// A label without the signs at its end.
fn label_stem(label: &[char]) -> &[char] {
    let end = label.iter().rposition(|c| c.is_alphanumeric()).map_or(label.len(), |last| last + 1);
    &label[..end]
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

/// The end of a line, or of as much of it as is read.
fn line_end(chars: &[char], at: usize) -> usize {
    at + chars[at..].iter().take(MAX_LINE_CHARS).take_while(|c| **c != '\n').count()
}

/// The number behind a label.
fn number_behind(folded: &FoldedText<'_>, label: &Range<usize>) -> FoundNumber {
    let chars = folded.chars();
    let Some(at) = number_text::skip_to_number(chars, label.end, MAX_LINE_ENDS) else {
        return FoundNumber::None;
    };
    let line = line_end(chars, at);
    let Some(number) = number_text::scan_number(&chars[at..line]) else { return FoundNumber::None };
    let behind = &chars[at + number.length()..line];
    if dial_in::is_dial_in(chars, line_start(chars, label.start), at, number.length()) {
        return FoundNumber::DialIn;
    }
    match number {
        _ if !has_colon(chars, label) && begins_sentence(behind) => FoundNumber::None,
        NumberText::WithExtension(_) => FoundNumber::Extension,
        NumberText::Plain(length) => {
            FoundNumber::Number(WrittenNumber::new(folded.written(at..at + length).trim(), behind))
        }
    }
}

/// Whether a sentence goes on behind a number: "to cancel".
fn begins_sentence(behind: &[char]) -> bool {
    let word: String = behind.iter().skip_while(|c| **c == ' ').take_while(|c| c.is_alphabetic()).collect();
    SENTENCE_WORDS.contains(&word.as_str())
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
