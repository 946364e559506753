//! The one cleaner of texts from outside: of what senders, leads and customers type.
//!
//! Promises: the result is one line, and has no control and no invisible character. A value or a
//! name is in the normal form NFKC too, so that no letter in another width or style hides a link. A
//! second cleaning changes nothing.
//!
//! The joiners of Persian and of emoji are invisible too, and are dropped: letters then join, and a
//! family becomes its members. Sources: Unicode, `Default_Ignorable_Code_Point`; UAX #15; UTS #46
//! for the points that end a label of a domain.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup},
};

/// The longest name, in characters.
const MAX_NAME_CHARS: usize = 40;

/// A text on one line, without invisible characters and without space around it. Other characters
/// stay: a quotation of a customer says what the customer wrote.
pub fn visible_line(text: &str) -> String {
    let visible: String = text.chars().map(to_space).filter(|c| !is_hidden_char(*c)).collect();
    join_words(&visible)
}

/// A value as [`visible_line`], in NFKC.
pub fn clean_line(text: &str) -> String {
    // The normal form of some characters contains spaces.
    join_words(&ComposingNormalizerBorrowed::new_nfkc().normalize(&visible_line(text)))
}

/// A person's name, at most 40 characters. `None` if nothing is left, or if it contains a link, an
/// address or a number.
///
/// It has no character that `WhatsApp` or Markdown reads as a style, that HTML reads as a tag, or
/// that lets a spreadsheet run a word of it.
pub fn clean_name(text: &str) -> Option<String> {
    let line = clean_line(text);
    if contains_contact_details(&line) {
        return None;
    }
    let plain = line.replace(['*', '_', '~', '`', '<', '>', '=', '+', '|'], " ");
    let words: Vec<&str> = plain.split(' ').map(|word| word.trim_start_matches('-')).collect();
    let name: String = join_words(&words.join(" ")).chars().take(MAX_NAME_CHARS).collect();
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

fn to_space(c: char) -> char {
    if c.is_whitespace() { ' ' } else { c }
}

fn join_words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a character is invisible: a control, a character that Unicode calls ignorable by
/// default, or an annotation mark.
pub fn is_hidden_char(c: char) -> bool {
    c.is_control()
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || matches!(c, '\u{fff9}'..='\u{fffb}')
}

/// Whether a character is a mark above, below or beside a letter. In scripts that write vowels as
/// marks, it is part of a word.
pub fn is_combining_mark(c: char) -> bool {
    GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}

/// Whether a "name" contains a link, an address or a phone number.
fn contains_contact_details(name: &str) -> bool {
    name.chars().filter(|c| c.is_numeric()).count() >= 5
        || name.contains("://")
        || name.to_lowercase().contains("www.")
        || name.contains(['@', '/', '\\', '\u{2044}', '\u{2215}'])
        || contains_domain(name)
}

/// Whether a point of any kind is followed by two letters or digits, as in `evil.com`. One letter
/// is an initial: no domain ends with one.
fn contains_domain(text: &str) -> bool {
    let is_letter = |c: &char| c.is_alphanumeric() || is_combining_mark(*c);
    text.char_indices().filter(|(_, c)| is_point(*c)).any(|(at, point)| {
        let (before, after) = (&text[..at], &text[at + point.len_utf8()..]);
        // Catalan writes `l·l`.
        let is_catalan = point == '\u{b7}' && before.ends_with(['l', 'L']) && after.starts_with(['l', 'L']);
        !is_catalan && after.chars().take_while(is_letter).count() >= 2
    })
}

/// Whether a character is a point, or looks like one. NFKC has already made a `.` of its wide,
/// small and leader forms. The point between Japanese words, `・`, is a space there.
const fn is_point(c: char) -> bool {
    matches!(
        c,
        '.' | '。'
            | '\u{b7}'
            | '\u{2022}'
            | '\u{2027}'
            | '\u{2219}'
            | '\u{22c5}'
            | '\u{701}'
            | '\u{702}'
            | '\u{6d4}'
            | '\u{16eb}'
            | '\u{1803}'
            | '\u{2e31}'
            | '\u{2e33}'
            | '\u{a4f8}'
            | '\u{a60e}'
            | '\u{a78f}'
            | '\u{10101}'
            | '\u{10a50}'
            | '\u{1d16d}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_point_before_letters_makes_a_domain() {
        for point in ['.', '。', '．', '｡', '․', '·', '‧', '∙', '﹒', '\u{a4f8}', '\u{702}', '•'] {
            for name in [format!("Win at evil{point}com"), format!("evil{point}co{point}il"), format!("{point}भारत")]
            {
                assert_eq!(clean_name(&name), None, "{name}");
            }
        }
        for name in [
            "ev\u{200b}il.c\u{ad}om",
            "ｅｖｉｌ．ｃｏｍ",
            "𝐞𝐯𝐢𝐥.𝐜𝐨𝐦",
            "evil.\u{fe0f}com",
            "evil.c\u{34f}om",
            "a⁄b",
            "ａ＠ｂ",
            "٠٥٠١٢٣٤",
        ] {
            assert_eq!(clean_name(name), None, "{name}");
        }
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in [
            "Noa Levi",
            "J. R. R. Tolkien",
            "J.R.R. Tolkien",
            "O'Brien-Smith Jr.",
            "נֹעָה בַּת־אֵל",
            "ג׳ורג׳ כהן",
            "ד״ר כהן",
            "محمد بن سلمان",
            "नोआ",
            "นภา",
            "Nguyễn Thị",
            "Marcel·lí Coll",
            "マリア・レヴィ",
            "Renée Zoë",
        ] {
            assert_eq!(clean_name(name).as_deref(), Some(name));
        }
    }

    #[test]
    fn joiners_and_selectors_are_dropped_and_nothing_breaks() {
        for (name, kept) in [
            ("می\u{200c}نا", "مینا"),
            ("Noa 👨\u{200d}👩\u{200d}👧", "Noa 👨👩👧"),
            ("Noa ❤\u{fe0f}", "Noa ❤"),
            ("  נועה\u{200f}\n לוי ", "נועה לוי"),
            ("Noa\u{e0041}\u{3164}Levi", "NoaLevi"),
            ("e\u{301}lise", "élise"),
            ("Ｎｏａ", "Noa"),
        ] {
            assert_eq!(clean_name(name).as_deref(), Some(kept));
        }
        assert_eq!(clean_name("\u{202e}\u{200b}\u{115f}"), None);
    }

    #[test]
    fn a_name_has_no_style_no_tag_and_nothing_to_run() {
        for (name, kept) in [
            ("*Noa* _Levi_", "Noa Levi"),
            ("~Noa~ `Levi`", "Noa Levi"),
            ("＊Noa＊", "Noa"),
            ("<b>Noa", "b Noa"),
            ("=1+1", "1 1"),
            ("Noa -2", "Noa 2"),
            ("--Noa Bar-Lev", "Noa Bar-Lev"),
            ("＝cmd|calc", "cmd calc"),
        ] {
            assert_eq!(clean_name(name).as_deref(), Some(kept));
        }
    }

    proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(
            text in "\\PC{0,60}|.{0,60}|[a-z.*_~`=+<>|\\-·。\u{300}-\u{34f}\u{200b}-\u{200f}\u{fe00}-\u{fe0f}\u{1100}-\u{11ff}\u{ac00}\u{f73}\u{a8} ]{0,60}",
        ) {
            let line = clean_line(&text);
            prop_assert_eq!(&clean_line(&line), &line);
            prop_assert!(!line.chars().any(|c| is_hidden_char(c) || (c.is_whitespace() && c != ' ')));
            let name = clean_name(&text);
            if let Some(name) = name {
                let again = clean_name(&name);
                prop_assert_eq!(again.as_deref(), Some(&*name));
                prop_assert!(!name.chars().any(is_hidden_char) && name.chars().count() <= MAX_NAME_CHARS);
                prop_assert!(!name.contains(['*', '_', '~', '`', '<', '>', '=', '+', '|', '@', '\t', '\r']));
                prop_assert!(!name.split(' ').any(|word| word.starts_with('-')));
            }
        }
    }
}
