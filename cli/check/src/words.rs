//! The words in customers' messages that alert the team or opt out.

use std::collections::{BTreeMap, BTreeSet};

use super::{FindingCollector, client::has_language_codes};
use tellonce_core::client_config::ClientConfig;

/// A word with fewer letters and digits is part of many messages.
const MIN_WORD_CHARS: usize = 3;
/// Words of customers who do not want to opt out. As a whole message, each nearly always means
/// something else.
const ORDINARY_WORDS: [&str; 4] = [
    "no, nope, no thanks, no thank you, not now, yes, ok, okay, sure, hi, hello, thanks, thank you, cancel, enough, done, wait, \
     later, why, what, help, change",
    "לא, לא תודה, לא עכשיו, כן, אוקי, אוקיי, סבבה, תודה, תודה רבה, היי, שלום, ביטול, בטל, לבטל, די, מספיק, רגע, עזרה",
    "لا, لا شكرا, نعم, شكرا, إلغاء, مرحبا",
    "нет, нет спасибо, да, ок, хорошо, спасибо, отмена, отменить, привет, хватит",
];

type WordsByLanguage = BTreeMap<String, Vec<String>>;

/// Checks the words that alert the team.
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
            let what = format!("`{word}` is too short: it is part of many messages");
            findings.add_warning(&path, what, "write a word or phrase that customers use only when they mean it");
        }
        if each_word(&config.opt_out).any(|(_, out)| normalize_word(out) == normalize_word(word)) {
            let what = format!(
                "`{word}` is a word of opt_out too: a customer who writes it opts out, and the team is alerted"
            );
            findings.add_warning(&path, what, "keep it in one of them, unless both are meant");
        }
    }
}

/// Checks the words that opt out.
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
            let what = format!("`{word}` is a word that customers write every day, and each of them would opt out");
            findings.add_warning(
                &path,
                what,
                "write words that customers never write by accident, like \"stop messages\"; docs/boundaries.md says why",
            );
        }
    }
    if config.calendars.is_empty() && config.forms.is_empty() {
        let what = "there is no calendar or form, so there are no reminders and greetings to opt out of";
        findings.add_warning(&at, what, "remove it: an opt-out does not stop messages about orders");
    }
}

/// Checks both lists: the client's languages, no empty word, no duplicates.
fn check_word_lists(config: &ClientConfig, words: &WordsByLanguage, at: &[&str], findings: &mut FindingCollector<'_>) {
    let below = |language| [at, &[language]].concat();
    let has_codes = has_language_codes(config);
    for language in config.languages.iter().filter(|_| has_codes) {
        if !words.contains_key(language) {
            let what = format!("there is no word in `{language}`");
            findings.add_warning(at, what, "write some: messages in that language match no word otherwise");
        }
    }
    for (language, list) in words {
        if has_codes && !config.languages.contains(language) {
            let what = format!("`{language}` is not one of the client's languages");
            findings.add_warning(&below(language), what, "add it to languages, or correct it; its words count anyway");
        }
        if list.is_empty() {
            findings.add_error(&below(language), "there is no word here", "write one, or remove this language");
        }
    }
    let mut seen = BTreeSet::new();
    for (language, word) in each_word(words) {
        if normalize_word(word).is_empty() {
            let remedy = "write a word, or remove it";
            findings.add_error(&below(language), "a word is empty, or has only signs", remedy);
        } else if !seen.insert(normalize_word(word)) {
            let what = format!("`{word}` is listed twice: capitals, spaces and signs around it make no difference");
            findings.add_warning(&below(language), what, "remove one of them");
        }
    }
}

fn each_word(words: &WordsByLanguage) -> impl Iterator<Item = (&str, &str)> {
    words.iter().flat_map(|(language, list)| list.iter().map(move |word| (language.as_str(), word.as_str())))
}

/// Normalises a word for comparison: lower case, single spaces, no signs around it.
fn normalize_word(word: &str) -> String {
    let words = word.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    words.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}
