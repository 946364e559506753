//! The text of an event as a person reads it, and the same text in a form that labels are found in.
//!
//! Main type: [`FoldedText`]. Descriptions of Google's and Microsoft's calendars are HTML, so
//! [`strip_html`] comes first.

use std::{borrow::Cow, ops::Range};

use icu_normalizer::DecomposingNormalizerBorrowed;

/// The longest HTML tag that is removed, in bytes. A longer one is text.
const MAX_TAG_BYTES: usize = 4_000;

/// The tags behind which the text is on another line.
const LINE_TAGS: [&str; 16] =
    ["br", "p", "div", "li", "ul", "ol", "tr", "td", "th", "table", "h1", "h2", "h3", "h4", "hr", "section"];

/// The text without tags and entities. A tag becomes the end of a line or a space. Some programs
/// encode HTML as text, so tags that come out of entities are removed too.
pub(super) fn strip_html(text: &str) -> Cow<'_, str> {
    match strip_html_once(text) {
        Cow::Owned(plain) if text.contains("&lt;") => Cow::Owned(strip_html_once(&plain).into_owned()),
        plain => plain,
    }
}

fn strip_html_once(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '&']) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('<') {
        plain.push_str(before);
        if let Some((tag, behind)) = split_tag(behind) {
            plain.push(if ends_line(tag) { '\n' } else { ' ' });
            rest = behind;
        } else {
            plain.push('<');
            rest = behind;
        }
    }
    plain.push_str(rest);
    Cow::Owned(html_escape::decode_html_entities(&plain).into_owned())
}

/// The tag at the start of a text, without its brackets, and what follows it.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let is_tag = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!'));
    let end = text.bytes().take(MAX_TAG_BYTES).position(|byte| matches!(byte, b'>' | b'<')).filter(|_| is_tag)?;
    let behind = text[end..].strip_prefix('>')?;
    Some((&text[..end], behind))
}

fn ends_line(tag: &str) -> bool {
    let name = tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    LINE_TAGS.iter().any(|line| line.eq_ignore_ascii_case(name))
}

/// A text in lower case, in compatibility form (NFKD), without invisible characters, with single
/// spaces, and with one kind of line end and colon. Each character knows its place in the text.
pub(super) struct FoldedText<'t> {
    text: &'t str,
    chars: Vec<char>,
    /// Where each character is in `text`, in bytes.
    places: Vec<usize>,
}

impl<'t> FoldedText<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut folded = Self { text, chars: Vec::with_capacity(text.len()), places: Vec::with_capacity(text.len()) };
        let mut chars = text.char_indices().peekable();
        while let Some((place, c)) = chars.next() {
            // A line may end in two characters.
            if c != '\r' || chars.peek().is_none_or(|(_, next)| *next != '\n') {
                folded.push_folded(c, place);
            }
        }
        folded
    }

    fn push_folded(&mut self, c: char, place: usize) {
        // Latin and Hebrew letters have no other form.
        if c.is_ascii() || ('\u{5d0}'..='\u{5ea}').contains(&c) {
            return self.push(c.to_ascii_lowercase(), place);
        }
        for part in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(std::iter::once(c)) {
            for lower in part.to_lowercase() {
                self.push(lower, place);
            }
        }
    }

    fn push(&mut self, c: char, place: usize) {
        let c = match c {
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            // Ratio, Hebrew end of verse, Armenian full stop. Full-width colons are decomposed.
            '\u{2236}' | '\u{5c3}' | '\u{589}' | '\u{a789}' => ':',
            c if is_invisible(c) => return,
            c if c.is_whitespace() => ' ',
            c => c,
        };
        if c == ' ' && self.chars.last() == Some(&' ') {
            return;
        }
        self.chars.push(c);
        self.places.push(place);
    }

    /// The folded characters.
    pub(super) fn chars(&self) -> &[char] {
        &self.chars
    }

    /// Whether the space at a place stands for a tab.
    pub(super) fn is_tab(&self, at: usize) -> bool {
        self.chars.get(at) == Some(&' ') && self.written(at..at + 1).contains('\t')
    }

    /// The text as written, of a range of folded characters.
    pub(super) fn written(&self, range: Range<usize>) -> &'t str {
        let place = |at: usize| self.places.get(at).copied().unwrap_or(self.text.len());
        self.text.get(place(range.start)..place(range.end)).unwrap_or_default()
    }
}

/// Where the line of a place begins.
pub(super) fn line_start(chars: &[char], at: usize) -> usize {
    chars[..at].iter().rposition(|c| *c == '\n').map_or(0, |end| end + 1)
}

/// Characters that are not visible: directions, joiners, soft hyphens, variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fold(text: &str) -> String {
        FoldedText::new(text).chars().iter().collect()
    }

    #[test]
    fn a_tag_ends_a_line_or_is_a_space_and_entities_are_decoded() {
        for (html, text) in [
            ("a<br>b<BR/>c<br />d", "a\nb\nc\nd"),
            ("<p>a</p><div class=\"x\">b</div>", "\na\n\nb\n"),
            ("<b>a</b> <a href=\"tel:1\">b</a>", " a   b "),
            ("<tr><td>a</td><td>b</td></tr>", "\n\na\n\nb\n\n"),
            ("a&nbsp;&#43;1 &amp; 1 &lt; 2 &#x5d0;", "a\u{a0}+1 & 1 < 2 א"),
            ("&lt;b&gt;a&lt;/b&gt;&lt;br&gt;b &amp;nbsp;c", " a \nb \u{a0}c"),
            ("1 < 2 <3 a<b <", "1 < 2 <3 a<b <"),
            ("plain", "plain"),
        ] {
            assert_eq!(strip_html(html), text, "{html}");
        }
    }

    #[test]
    fn every_way_to_write_a_label_is_the_same_text() {
        for label in ["phone:", "PHONE:", "Ｐｈｏｎｅ：", "\u{200e}Pho\u{ad}ne\u{fe55}", "Phone\u{2236}"] {
            assert_eq!(fold(label), "phone:", "{label}");
        }
        assert_eq!(fold("Te\u{301}le\u{301}phone"), fold("TÉLÉPHONE"));
        assert_eq!(fold("טלפון\u{a0} :\r\n\u{2028}"), "טלפון :\n\n");
    }

    proptest! {
        #[test]
        fn a_folded_range_gives_the_text_as_written(text in "\\PC{0,40}", from in 0usize..60, length in 0usize..60) {
            let folded = FoldedText::new(&text);
            prop_assert!(text.contains(folded.written(from..from + length)));
            prop_assert_eq!(folded.written(0..folded.chars().len().max(1)).len() <= text.len(), true);
            strip_html(&text);
        }
    }
}
