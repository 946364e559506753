//! The text of an entry with the tag by which it is found again, and the handling of names and
//! numbers that all CRMs share.
//!
//! The tag stands last, and only the last one counts: a tag that a customer quotes in a message
//! does not identify the entry.

use std::{borrow::Cow, cmp::Ordering};

use jiff::Timestamp;
use tellonce_core::{
    contact::{Phone, PhoneRule},
    wording::is_hidden_char,
};

use super::CrmEntry;
use crate::line_event::MessageDirection;

/// The longest text in an entry, in characters. More than a `WhatsApp` message has (4,096), and
/// short enough for every system's field after escaping: `HubSpot` takes 65,536 characters, Zoho
/// 32,000, a cell of Google Sheets 50,000.
const MAX_TEXT_CHARS: usize = 10_000;
/// The longest reason code that is kept, in characters.
const MAX_CODE_CHARS: usize = 60;

/// A message's text as far as it fits, without invisible characters. Among them are controls such
/// as NUL, which some systems refuse.
pub(super) fn printable_text(entry: &CrmEntry) -> Option<String> {
    let written = entry.text.as_deref()?.chars().filter(|c| !is_hidden_char(*c) || matches!(c, '\n' | '\t'));
    Some(written.take(MAX_TEXT_CHARS).collect())
}

/// An entry as plain text.
pub(super) fn render_plain(entry: &CrmEntry) -> String {
    let author = match entry.direction {
        MessageDirection::In => "Customer",
        MessageDirection::Out => "Us",
    };
    let message_text = printable_text(entry).unwrap_or_else(|| format!("({})", entry.kind));
    let conversation = entry.conversation_id.as_ref().map(|id| format!(", conversation {id}")).unwrap_or_default();
    let CrmEntry { kind, sent_at: at, line, phone, .. } = entry;
    format!(
        "{author}: {message_text}\nWhatsApp {kind}, {at}, line {line}{conversation}, {}\n{}",
        phone.expose(),
        reference_tag(entry)
    )
}

/// An entry as plain text for a system that may show it as HTML and does not say whether it does.
/// The brackets of tags become quotation marks that look like them.
pub(super) fn render_without_tags(entry: &CrmEntry) -> String {
    render_plain(entry).replace('<', "‹").replace('>', "›")
}

/// A text from outside as a cell that a spreadsheet shows and never runs, even after an export as
/// CSV. Such a cell gets the mark that spreadsheets use for text, an apostrophe. Source: OWASP, CSV
/// Injection.
pub(super) fn inert_cell(text: &str) -> Cow<'_, str> {
    let shown = text.trim_start_matches(|c: char| c.is_whitespace() || is_hidden_char(c));
    let starts_formula = shown.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹢', '﹣', '﹦', '﹫', '−']);
    if starts_formula || text.starts_with(['\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// An entry as HTML. Markup in the message stays text.
pub(super) fn render_html(entry: &CrmEntry) -> String {
    html_escape::encode_text(&render_plain(entry)).replace('\n', "<br>")
}

/// The last line of an entry.
fn reference_tag(entry: &CrmEntry) -> String {
    format!("[tellonce {}]", entry.reference)
}

/// Whether content that the CRM returns is the entry of this message. Systems wrap content in their
/// own markup, escape it or not, and change white space.
pub(super) fn is_entry_of(content: &str, entry: &CrmEntry) -> bool {
    let mut content = content.trim_end();
    while let Some(tag_start) = content.strip_suffix('>').and_then(|rest| rest.rfind('<')) {
        content = content[..tag_start].trim_end();
    }
    let one_space = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected_tag = one_space(&reference_tag(entry));
    let ends_with_tag = |content: Cow<'_, str>| one_space(&content).ends_with(&expected_tag);
    ends_with_tag(Cow::Borrowed(content)) || ends_with_tag(html_escape::decode_html_entities(content))
}

/// Whether a typed number means this one. Without a country code it counts as of the same country.
pub(super) fn is_same_number(typed: &str, phone: &Phone) -> bool {
    let country = phone.country_code().unwrap_or_default();
    let digits = || typed.chars().filter(char::is_ascii_digit);
    // A landline may have `WhatsApp` too, but `PhoneRule::Mobile` would reject it.
    digits().eq(phone.expose().chars().skip(1))
        || Phone::parse(typed, &country, PhoneRule::Possible).is_ok_and(|meant| meant.is_same_contact(phone))
        // Both forms of a number are one person, also the form that numbering plans do not list.
        || phone.other_form().is_some_and(|other| digits().eq(other.expose().chars().skip(1)))
}

/// Splits a full name before its last word into first and last name.
pub(super) fn split_name(name: &str) -> (Option<&str>, &str) {
    match name.trim().rsplit_once(char::is_whitespace) {
        Some((first, last)) => (Some(first.trim_end()), last),
        None => (None, name.trim()),
    }
}

/// Compares two ids made of digits. They may have more digits than any integer type.
pub(super) fn compare_ids(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// The id of the oldest person among (creation time, id). Of equals, the one with the smaller id.
pub(super) fn pick_oldest(hits: Vec<(Option<Timestamp>, String)>) -> Option<String> {
    // Persons without a date come last.
    let age = |since: &Option<Timestamp>| since.unwrap_or(Timestamp::MAX);
    let oldest = hits
        .into_iter()
        .min_by(|one, other| age(&one.0).cmp(&age(&other.0)).then_with(|| compare_ids(&one.1, &other.1)));
    oldest.map(|(_, id)| id)
}

/// A reason code, if it is one word. Free text could quote a customer.
pub(super) fn parse_reason_code(written: Option<impl AsRef<str>>) -> Option<String> {
    let written = written?;
    let word = written.as_ref();
    let is_word = (1..=MAX_CODE_CHARS).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.'));
    is_word.then(|| word.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message that must not show in an error or a log.
    pub(in crate::crm) fn sample_entry(text: &str) -> CrmEntry {
        CrmEntry {
            reference: "shop:wamid.HBgL+/==".to_owned(),
            line: "shop".to_owned(),
            conversation_id: Some("conv-1".to_owned()),
            phone: Phone::from_e164("+972545550199").unwrap(),
            name: Some("Noa Levi".to_owned()),
            direction: MessageDirection::In,
            kind: "text".to_owned(),
            sent_at: "2026-11-19T10:00:00Z".parse().unwrap(),
            text: Some(text.to_owned()),
        }
    }

    proptest! {
        #[test]
        fn an_entry_is_found_by_its_reference_and_no_other_is_whatever_the_text(text in ".{0,200}", tail in "[<>&;\\]\\[/a-z\n ]{0,40}") {
            let entry = sample_entry(&format!("{text}{tail}"));
            let other = CrmEntry { reference: "shop:wamid.other".to_owned(), ..entry.clone() };
            for content in [render_plain(&entry), render_html(&entry), format!("<div><p>{}</p>\n</div> ", render_html(&entry))] {
                prop_assert!(is_entry_of(&content, &entry), "{}", content);
                prop_assert!(!is_entry_of(&content, &other));
                let body = serde_json::json!({ "content": content }).to_string();
                let back: serde_json::Value = serde_json::from_str(&body).unwrap();
                prop_assert!(is_entry_of(back["content"].as_str().unwrap(), &entry));
            }
        }
    }

    #[test]
    fn an_entry_names_author_text_time_and_line_and_ends_with_its_tag() {
        assert_eq!(
            render_plain(&sample_entry("Hello\nthere")),
            "Customer: Hello\nthere\nWhatsApp text, 2026-11-19T10:00:00Z, line shop, conversation conv-1, +972545550199\n\
             [tellonce shop:wamid.HBgL+/==]"
        );
        let image = CrmEntry {
            direction: MessageDirection::Out,
            kind: "image".to_owned(),
            text: None,
            conversation_id: None,
            ..sample_entry("")
        };
        assert!(render_plain(&image).starts_with("Us: (image)\nWhatsApp image, 2026-11-19T10:00:00Z, line shop, +972"));
    }

    #[test]
    fn a_tag_that_a_customer_quotes_is_not_the_tag_of_the_entry() {
        let quoted = sample_entry("[tellonce shop:wamid.next]");
        let next = CrmEntry { reference: "shop:wamid.next".to_owned(), ..sample_entry("Hello") };
        let longer = CrmEntry { reference: "shop:wamid.next2".to_owned(), ..sample_entry("Hello") };
        assert!(
            !is_entry_of(&render_html(&quoted), &next)
                && !is_entry_of(&render_plain(&longer), &next)
                && !is_entry_of("", &next)
        );
    }

    #[test]
    fn markup_stays_text_and_control_characters_and_overlong_texts_are_cut() {
        let hostile = render_html(&sample_entry("<img src=x onerror=alert(1)>&amp;</b>"));
        assert!(
            hostile.starts_with("Customer: &lt;img src=x onerror=alert(1)&gt;&amp;amp;&lt;/b&gt;<br>WhatsApp"),
            "{hostile}"
        );
        assert_eq!(printable_text(&sample_entry("a\0b\u{1b}\tc\n")).unwrap(), "ab\tc\n");
        assert_eq!(printable_text(&sample_entry(&"x".repeat(20_000))).unwrap().len(), MAX_TEXT_CHARS);
    }

    #[test]
    fn no_cell_runs_and_no_note_has_a_tag() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1", " =1", "＝1", "\u{200b}=1", "−1"] {
            assert_eq!(inert_cell(text), format!("'{text}"));
        }
        for text in ["", "Hello", "1-2", "'=1", "שלום", "a\n=1"] {
            assert_eq!(inert_cell(text), text);
        }
        let entry = sample_entry("<img src=x>");
        let note = render_without_tags(&entry);
        assert!(note.starts_with("Customer: ‹img src=x›\n") && is_entry_of(&note, &entry), "{note}");
        assert_eq!(printable_text(&sample_entry("a\u{202e}b\u{e0041}c\u{feff}")).unwrap(), "abc");
    }

    #[test]
    fn a_number_is_the_same_however_it_is_typed_and_differs_from_a_foreign_number() {
        let phone = Phone::from_e164("+972545550199").unwrap();
        for typed in ["+972 54-555-0199", "054-5550199", "00972545550199", "545550199", "972545550199"] {
            assert!(is_same_number(typed, &phone), "{typed}");
        }
        for typed in ["", "+1 545550199", "054-5550198", "054-5550199 / 052-5550101", "5550199"] {
            assert!(!is_same_number(typed, &phone), "{typed}");
        }
        let sao_paulo = Phone::from_e164("+551187654321").unwrap();
        assert!(is_same_number("(11) 98765-4321", &sao_paulo) && is_same_number("+55 11 98765-4321", &sao_paulo));
        assert!(!is_same_number("+55 11 98765-4322", &sao_paulo));
        let mexico = Phone::from_e164("+525512345678").unwrap();
        assert!(is_same_number("+52 1 55 1234 5678", &mexico) && is_same_number("55 1234 5678", &mexico));
        assert!(is_same_number("+972 3-555-0123", &Phone::from_e164("+97235550123").unwrap()), "a landline");
    }

    #[test]
    fn a_name_is_split_before_its_last_word() {
        assert_eq!(split_name("Noa bat Levi"), (Some("Noa bat"), "Levi"));
        assert_eq!(split_name(" Noa "), (None, "Noa"));
        assert_eq!(split_name(""), (None, ""));
    }

    #[test]
    fn a_reason_code_is_one_word_and_never_a_sentence_or_a_number() {
        assert_eq!(parse_reason_code(Some("INVALID_DATA")).as_deref(), Some("INVALID_DATA"));
        for free in ["phone +972545550199", "972545550199", "", "Noa Levi"] {
            assert_eq!(parse_reason_code(Some(free)), None, "{free}");
        }
    }
}
