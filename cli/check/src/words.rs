//! Words that customers write, and what they would do.

use std::collections::{BTreeMap, BTreeSet};

use super::FindingCollector;
use tellonce_core::client_config::ClientConfig;

/// Words of fewer letters and digits than this stand in any message.
const MIN_WORD_CHARS: usize = 3;
/// What people write who want nothing to stop: as a whole message it means something else nearly every time.
const ORDINARY_WORDS: [&str; 4] = [
    "no, nope, no thanks, no thank you, not now, yes, ok, okay, sure, hi, hello, thanks, thank you, cancel, enough, done, wait, \
     later, why, what, help, change",
    "לא, לא תודה, לא עכשיו, כן, אוקי, אוקיי, סבבה, תודה, תודה רבה, היי, שלום, ביטול, בטל, לבטל, די, מספיק, רגע, עזרה",
    "لا, لا شكرا, نعم, شكرا, إلغاء, مرحبا",
    "нет, нет спасибо, да, ок, хорошо, спасибо, отмена, отменить, привет, хватит",
];

type WordsByLanguage = BTreeMap<String, Vec<String>>;

/// Looks at the words that call the team.
pub(super) fn check_trigger_words(
    config: &ClientConfig,
    words: &WordsByLanguage,
    at: &[&str],
    findings: &mut FindingCollector<'_>,
) {
    if words.values().all(Vec::is_empty) {
        findings.add_error(
            at,
            "there is no word, so the team is never alerted",
            "write some, like { en = [\"urgent\"] }",
        );
        return;
    }
    check_word_lists(config, words, at, findings);
    for (language, word) in each_word(words) {
        let path = [at, &[language]].concat();
        let letters = word.chars().filter(|c| c.is_alphanumeric()).count();
        if (1..MIN_WORD_CHARS).contains(&letters) {
            let what = format!("`{word}` is too short to mean anything: it stands in messages of every kind");
            findings.add_warning(&path, what, "write a word or phrase that customers use only when they mean it");
        }
        if each_word(&config.opt_out).any(|(_, out)| normalize_word(out) == normalize_word(word)) {
            let what = format!(
                "`{word}` is a word of opt_out too: who writes it is taken off the list, and the team is called"
            );
            findings.add_warning(&path, what, "keep it in one of them, unless both are meant");
        }
    }
}

/// Looks at the words that take somebody off the list.
pub(super) fn check_opt_out_words(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    let words = &config.opt_out;
    if words.is_empty() {
        return;
    }
    let at = ["opt_out"];
    check_word_lists(config, words, &at, findings);
    for (language, word) in each_word(words) {
        let path = ["opt_out", language];
        let plain = normalize_word(word);
        let ordinary = ORDINARY_WORDS.iter().flat_map(|words| words.split(", ")).any(|word| word == plain);
        if ordinary || plain.chars().count() == 1 {
            let what = format!("`{word}` is what customers write every day, and who writes it would hear nothing more");
            findings.add_warning(
                &path,
                what,
                "write what customers never write by accident, like \"stop messages\"; docs/boundaries.md says why",
            );
        }
    }
    if config.calendars.is_empty() && config.forms.is_empty() {
        let what = "there is no calendar or form, so there are no reminders and greetings to opt out of";
        findings.add_warning(&at, what, "remove it: messages about orders are not held back by it");
    }
}

/// What is true of both: languages of the client, no empty word, none twice.
fn check_word_lists(config: &ClientConfig, words: &WordsByLanguage, at: &[&str], findings: &mut FindingCollector<'_>) {
    let below = |language| [at, &[language]].concat();
    for language in &config.languages {
        if !words.contains_key(language) {
            let what = format!("there is no word in `{language}`");
            findings.add_warning(at, what, "write some: customers of that language are not understood otherwise");
        }
    }
    for (language, list) in words {
        if !config.languages.contains(language) {
            let what = format!("`{language}` is none of the client's languages");
            findings.add_warning(
                &below(language),
                what,
                "add it to languages, or correct it; its words count all the same",
            );
        }
        if list.is_empty() {
            findings.add_error(&below(language), "there is no word here", "write one, or remove this language");
        }
    }
    let mut seen = BTreeSet::new();
    for (language, word) in each_word(words) {
        if normalize_word(word).is_empty() {
            let remedy = "write a word, or remove it";
            findings.add_error(&below(language), "a word is empty, or nothing but signs", remedy);
        } else if !seen.insert(normalize_word(word)) {
            let what = format!("`{word}` is there twice: capitals, spaces and signs around it make no difference");
            findings.add_warning(&below(language), what, "remove one of them");
        }
    }
}

fn each_word(words: &WordsByLanguage) -> impl Iterator<Item = (&str, &str)> {
    words.iter().flat_map(|(language, list)| list.iter().map(move |word| (language.as_str(), word.as_str())))
}

/// A word as words are compared: in small letters, one space between its parts, no signs around it.
fn normalize_word(word: &str) -> String {
    let words = word.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    words.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}
