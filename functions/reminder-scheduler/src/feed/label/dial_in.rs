//! The numbers that dial a conference: Zoom, Google Meet, Teams and others write them into the
//! description of an event, beside what the customer typed.
//!
//! Entry point: [`is_dial_in`].
//!
//! Not recognised: a bare number without any of the usual words around it.

/// What begins the line above a dial-in.
const HEADINGS: [&str; 14] = [
    "one tap mobile",
    "phone one-tap",
    "join by phone",
    "join by telephone",
    "join via phone",
    "dial by your location",
    "dial in",
    "dial-in",
    "dial:",
    "or dial",
    "call in",
    "or call in",
    "audio conference",
    "conference call",
];
/// The fewest digits of a line with a number.
const MIN_NUMBER_DIGITS: usize = 7;
/// How far behind a number its codes are searched for, in characters.
const MAX_CHARS_BEHIND: usize = 400;
/// What begins the line below a dial-in.
const CODES: [&str; 12] = [
    "pin",
    "meeting id",
    "meeting number",
    "conference id",
    "conference code",
    "phone conference id",
    "webinar id",
    "passcode",
    "access code",
    "participant code",
    "participant pin",
    "host pin",
];

/// Whether the number at `at`, of `length` characters, is a conference's. `label_line` is where the
/// line of its label begins.
pub(super) fn is_dial_in(chars: &[char], label_line: usize, at: usize, length: usize) -> bool {
    let (number, behind) = chars[at..].split_at(length);
    let mut lines = behind[..behind.len().min(MAX_CHARS_BEHIND)].split(|c| *c == '\n');
    let rest = lines.next().unwrap_or_default();
    // A conference's number has a country code. A national number above a conference's codes is the
    // customer's.
    let is_national = number.iter().find(|c| c.is_numeric()) == Some(&'0') && !starts_with(number, "00");
    has_tones(rest)
        || (!is_national && (has_code(rest) || lines.next().is_some_and(begins_with_code)))
        || line_above(chars, label_line).is_some_and(is_heading)
}

/// Whether a line is the heading of a dial-in. Then it has no number itself.
fn is_heading(line: &[char]) -> bool {
    begins_with_any(line, &HEADINGS) && line.iter().filter(|c| c.is_numeric()).count() < MIN_NUMBER_DIGITS
}

/// Whether the rest of a number's line has the tones of a code: `,,123456#`.
fn has_tones(rest: &[char]) -> bool {
    rest.windows(2).any(|signs| matches!(signs, [',', ',' | '*'])) && rest.contains(&'#')
}

/// Whether the rest of a number's line names the code of a conference: `PIN: 123456`.
fn has_code(rest: &[char]) -> bool {
    let mut parts = rest.split(|c| !c.is_alphabetic() && *c != ' ').map(trim_spaces);
    parts.any(|words| CODES.iter().any(|code| ends_with(words, code)))
}

/// Whether a line is the code of a conference: `PIN: 123456#`, and not `PIN for the gate: 4455`.
fn begins_with_code(line: &[char]) -> bool {
    let line = &line[line.iter().take_while(|c| !c.is_alphanumeric()).count()..];
    let is_code = |word: &&str| {
        let behind = line.get(word.chars().count()..).unwrap_or_default();
        let next = behind.iter().find(|c| **c != ' ');
        starts_with(line, word) && next.is_some_and(|c| matches!(c, ':' | '#' | '：' | '=' | '/') || c.is_numeric())
    };
    CODES.iter().any(|word| is_code(&word))
}

fn trim_spaces(chars: &[char]) -> &[char] {
    let until = chars.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
    let from = chars[..until].iter().position(|c| *c != ' ').unwrap_or(0);
    &chars[from..until]
}

fn line_above(chars: &[char], line: usize) -> Option<&[char]> {
    let end = line.checked_sub(1)?;
    let start = chars[..end].iter().rposition(|c| *c == '\n').map_or(0, |end| end + 1);
    Some(&chars[start..end])
}

fn begins_with_any(line: &[char], words: &[&str]) -> bool {
    let line = &line[line.iter().take_while(|c| !c.is_alphanumeric()).count()..];
    words.iter().any(|word| {
        let goes_on = line.get(word.chars().count()).is_some_and(|c| c.is_alphanumeric());
        starts_with(line, word) && !goes_on
    })
}

fn starts_with(chars: &[char], text: &str) -> bool {
    let mut chars = chars.iter();
    text.chars().all(|wanted| chars.next() == Some(&wanted))
}

fn ends_with(words: &[char], text: &str) -> bool {
    let mut chars = words.iter().rev();
    text.chars().rev().all(|wanted| chars.next() == Some(&wanted)) && chars.next().is_none_or(|c| *c == ' ')
}
