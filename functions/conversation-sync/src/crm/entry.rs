//! The words of an entry, and the mark that it is found again by; and what people's names and numbers have in common in all
//! of these systems.
//!
//! Whatever a customer writes, the mark stands last and alone counts: a mark that somebody quotes in a message is not the
//! entry's own.

use std::{borrow::Cow, cmp::Ordering};

use jiff::Timestamp;
use shared::{client_config::PhoneRule, contact::Phone};

use super::{Direction, Item};

/// The longest text in an entry, in characters. More than a `WhatsApp` message has (4,096), and short enough for every
/// system's field after escaping: `HubSpot` takes 65,536 characters, Zoho 32,000, a cell of Google Sheets 50,000.
const LONGEST_TEXT: usize = 10_000;
/// The longest reason code that is written down, in characters.
const LONGEST_CODE: usize = 60;

/// A message's text as far as it fits, without what has no place in one (NUL and its like, which some systems refuse).
pub(super) fn text(item: &Item) -> Option<String> {
    let written = item.text.as_deref()?.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    Some(written.take(LONGEST_TEXT).collect())
}

/// An entry in words, as plain text.
pub(super) fn plain(item: &Item) -> String {
    let who = match item.direction {
        Direction::In => "Customer",
        Direction::Out => "Us",
    };
    let said = text(item).unwrap_or_else(|| format!("({})", item.kind));
    let conversation = item.conversation.as_ref().map(|id| format!(", conversation {id}")).unwrap_or_default();
    let Item { kind, at, line, phone, .. } = item;
    format!("{who}: {said}\nWhatsApp {kind}, {at}, line {line}{conversation}, {}\n{}", phone.expose(), mark(item))
}

/// An entry in words, as HTML: what is said stays text, whatever it looks like.
pub(super) fn html(item: &Item) -> String {
    html_escape::encode_text(&plain(item)).replace('\n', "<br>")
}

/// What stands last in an entry.
fn mark(item: &Item) -> String {
    format!("[tellonce {}]", item.reference)
}

/// Whether an entry's content, as the CRM gives it back, is this message's. Systems wrap what they were given in markup of
/// their own, escape it or not, and change space.
pub(super) fn is_of(content: &str, item: &Item) -> bool {
    let mut content = content.trim_end();
    while let Some(tag) = content.strip_suffix('>').and_then(|rest| rest.rfind('<')) {
        content = content[..tag].trim_end();
    }
    let one_space = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mark = one_space(&mark(item));
    let ends = |content: Cow<'_, str>| one_space(&content).ends_with(&mark);
    ends(Cow::Borrowed(content)) || ends(html_escape::decode_html_entities(content))
}

/// Whether a number as somebody typed it means this one. Without its country's prefix it is read as one of the same country.
pub(super) fn is_number(typed: &str, phone: &Phone) -> bool {
    let country = phone.country().unwrap_or_default();
    let digits = || typed.chars().filter(char::is_ascii_digit);
    // A landline may have `WhatsApp` too, and is no mobile to `Phone::parse`.
    digits().eq(phone.expose().chars().skip(1))
        || Phone::parse(typed, &country, PhoneRule::Possible).is_ok_and(|meant| meant == *phone)
}

/// First and last name of a whole one: what stands before the last space, if anything, and what follows it.
pub(super) fn split_name(name: &str) -> (Option<&str>, &str) {
    match name.trim().rsplit_once(char::is_whitespace) {
        Some((first, last)) => (Some(first.trim_end()), last),
        None => (None, name.trim()),
    }
}

/// Which of two ids made of digits is smaller; they may have more digits than a number of ours.
pub(super) fn by_number(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// The oldest of the people who have a number: since when they are there, and their id. Of two the one with the smaller id.
pub(super) fn oldest(hits: Vec<(Option<Timestamp>, String)>) -> Option<String> {
    // Who has no date comes last.
    let age = |since: &Option<Timestamp>| since.unwrap_or(Timestamp::MAX);
    let oldest =
        hits.into_iter().min_by(|one, other| age(&one.0).cmp(&age(&other.0)).then_with(|| by_number(&one.1, &other.1)));
    oldest.map(|(_, id)| id)
}

/// A reason code, if it is a word and no free text.
pub(super) fn code(written: Option<impl AsRef<str>>) -> Option<String> {
    let written = written?;
    let word = written.as_ref();
    let is_word = (1..=LONGEST_CODE).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.'));
    is_word.then(|| word.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message of which nothing may show in an error or a log.
    pub(in crate::crm) fn item(text: &str) -> Item {
        Item {
            reference: "shop:wamid.HBgL+/==".to_owned(),
            line: "shop".to_owned(),
            conversation: Some("conv-1".to_owned()),
            phone: Phone::from_e164("+972545550199").unwrap(),
            name: Some("Noa Levi".to_owned()),
            direction: Direction::In,
            kind: "text".to_owned(),
            at: "2026-11-19T10:00:00Z".parse().unwrap(),
            text: Some(text.to_owned()),
        }
    }

    proptest! {
        #[test]
        fn an_entry_is_found_by_its_reference_and_no_other_is_whatever_the_text(text in ".{0,200}", tail in "[<>&;\\]\\[/a-z\n ]{0,40}") {
            let item = item(&format!("{text}{tail}"));
            let other = Item { reference: "shop:wamid.other".to_owned(), ..item.clone() };
            for content in [plain(&item), html(&item), format!("<div><p>{}</p>\n</div> ", html(&item))] {
                prop_assert!(is_of(&content, &item), "{}", content);
                prop_assert!(!is_of(&content, &other));
                let body = serde_json::json!({ "content": content }).to_string();
                let back: serde_json::Value = serde_json::from_str(&body).unwrap();
                prop_assert!(is_of(back["content"].as_str().unwrap(), &item));
            }
        }
    }

    #[test]
    fn an_entry_says_who_wrote_what_when_where_and_ends_with_its_mark() {
        assert_eq!(
            plain(&item("Hello\nthere")),
            "Customer: Hello\nthere\nWhatsApp text, 2026-11-19T10:00:00Z, line shop, conversation conv-1, +972545550199\n\
             [tellonce shop:wamid.HBgL+/==]"
        );
        let image =
            Item { direction: Direction::Out, kind: "image".to_owned(), text: None, conversation: None, ..item("") };
        assert!(plain(&image).starts_with("Us: (image)\nWhatsApp image, 2026-11-19T10:00:00Z, line shop, +972"));
    }

    #[test]
    fn a_mark_that_a_customer_quotes_is_not_the_entrys_own() {
        let quoted = item("[tellonce shop:wamid.next]");
        let next = Item { reference: "shop:wamid.next".to_owned(), ..item("Hello") };
        let longer = Item { reference: "shop:wamid.next2".to_owned(), ..item("Hello") };
        assert!(!is_of(&html(&quoted), &next) && !is_of(&plain(&longer), &next) && !is_of("", &next));
    }

    #[test]
    fn markup_stays_text_and_control_characters_and_endless_texts_stay_out() {
        let hostile = html(&item("<img src=x onerror=alert(1)>&amp;</b>"));
        assert!(
            hostile.starts_with("Customer: &lt;img src=x onerror=alert(1)&gt;&amp;amp;&lt;/b&gt;<br>WhatsApp"),
            "{hostile}"
        );
        assert_eq!(text(&item("a\0b\u{1b}\tc\n")).unwrap(), "ab\tc\n");
        assert_eq!(text(&item(&"x".repeat(20_000))).unwrap().len(), LONGEST_TEXT);
    }

    #[test]
    fn a_number_is_the_same_however_it_is_typed_and_another_countrys_is_not() {
        let phone = Phone::from_e164("+972545550199").unwrap();
        for typed in ["+972 54-555-0199", "054-5550199", "00972545550199", "545550199", "972545550199"] {
            assert!(is_number(typed, &phone), "{typed}");
        }
        for typed in ["", "+1 545550199", "054-5550198", "054-5550199 / 052-5550101", "5550199"] {
            assert!(!is_number(typed, &phone), "{typed}");
        }
        assert!(is_number("+972 3-555-0123", &Phone::from_e164("+97235550123").unwrap()), "a landline");
    }

    #[test]
    fn a_name_is_split_before_its_last_word() {
        assert_eq!(split_name("Noa bat Levi"), (Some("Noa bat"), "Levi"));
        assert_eq!(split_name(" Noa "), (None, "Noa"));
        assert_eq!(split_name(""), (None, ""));
    }

    #[test]
    fn a_reason_code_is_a_word_and_never_a_sentence_or_a_number() {
        assert_eq!(code(Some("INVALID_DATA")).as_deref(), Some("INVALID_DATA"));
        for free in ["phone +972545550199", "972545550199", "", "Noa Levi"] {
            assert_eq!(code(Some(free)), None, "{free}");
        }
    }
}
