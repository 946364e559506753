//! Titles of meetings that are called off but stay in the calendar.
//!
//! If an organizer cancels a meeting, Outlook and Exchange leave it in the calendars of the people
//! who were invited. They put a word before its title and mark the time as free. The status stays
//! `CONFIRMED`. A person who writes such a word does not mark the time as free, so the word alone
//! does not count.

/// The words that Outlook and Exchange put before a title, and their forms in other genders and
/// spellings, in lower case: one language a line.
const CALLED_OFF: [&str; 24] = [
    "canceled|cancelled|canceled event|cancelled event", // English
    "בוטל|בוטלה|מבוטל|מבוטלת",                           // Hebrew
    "تم الإلغاء|ملغى|ملغي|ألغي",                          // Arabic
    "abgesagt|storniert",                                // German
    "annulé|annulée",                                    // French
    "cancelado|cancelada|anulado|anulada",               // Spanish, Portuguese
    "cancel·lat|cancel·lada",                            // Catalan
    "annullato|annullata",                               // Italian
    "geannuleerd|afgelast",                              // Dutch
    "inställt|inställd|avbokad",                         // Swedish
    "aflyst|annulleret",                                 // Danish
    "avlyst|kansellert",                                 // Norwegian
    "peruutettu|peruttu",                                // Finnish
    "odwołane|odwołano|anulowane|anulowano",             // Polish
    "отменено|отменена|отменен",                         // Russian
    "скасовано",                                         // Ukrainian
    "zrušeno|zrušené|zrušená",                           // Czech, Slovak
    "lemondva|törölve",                                  // Hungarian
    "anulat|anulată|revocat",                            // Romanian
    "ακυρώθηκε",                                         // Greek
    "iptal edildi|iptal",                                // Turkish
    "キャンセル済み|キャンセル",                         // Japanese
    "已取消",                                            // Chinese
    "취소됨|취소",                                       // Korean
];

/// Whether a title begins with such a word and a colon.
pub(super) fn is_called_off(title: &str) -> bool {
    let Some((word, _)) = title.split_once([':', '：']) else { return false };
    let is_invisible =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let word: String = word.chars().filter(|c| !is_invisible(*c)).collect();
    // The lower case of the Turkish İ has a dot of its own.
    let word = word.trim().to_lowercase().replace('\u{307}', "");
    CALLED_OFF.iter().flat_map(|words| words.split('|')).any(|called_off| called_off == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_called_off_if_it_begins_with_the_word_and_a_colon() {
        for title in [
            "Canceled: Consultation - Noa",
            "CANCELLED: Consultation",
            " canceled : x",
            "בוטל: פגישה - דנה",
            "\u{200f}בוטל\u{200f}: פגישה",
            "Abgesagt: Termin",
            "Annulé\u{a0}: rendez-vous",
            "İptal edildi: randevu",
            "已取消：预约",
            "Canceled:",
        ] {
            assert!(is_called_off(title), "{title}");
        }
        for title in [
            "Cancellation policy talk - Yael",
            "Canceled",
            "Canceled Consultation: Noa",
            "Not canceled: Consultation",
            "Consultation: canceled",
            "",
            ":",
        ] {
            assert!(!is_called_off(title), "{title}");
        }
    }
}
