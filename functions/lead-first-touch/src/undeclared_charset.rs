//! The charset of a form that names none.
//!
//! A few bytes fit many charsets: `טל` in windows-1255 is `èì` in windows-1252 and `ил` in
//! windows-1251. A greeting with such a name is worse than one without. So a charset is sure only
//! if its letters make words of a language, and no other likely charset does the same. The likely
//! languages come first: those of the client and of the form's country. Then come the languages of
//! Europe in Latin letters, because a word of ASCII letters with an accent tells its script, and
//! then the other scripts. A detector decides between two readings.
//!
//! Long because the letters of all languages are listed beside the rules that read them.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    BIG5_INIT, EUC_JP_INIT, EUC_KR_INIT, Encoding, GBK_INIT, ISO_8859_2_INIT, ISO_8859_5_INIT, ISO_8859_7_INIT,
    KOI8_R_INIT, KOI8_U_INIT, SHIFT_JIS_INIT, WINDOWS_1250_INIT, WINDOWS_1251_INIT, WINDOWS_1252_INIT,
    WINDOWS_1253_INIT, WINDOWS_1254_INIT, WINDOWS_1255_INIT, WINDOWS_1256_INIT, WINDOWS_1257_INIT,
};

/// A language, or several with the same letters.
struct Alphabet {
    /// Their codes, ISO 639-1.
    languages: &'static [&'static str],
    /// The countries where they are usual, ISO 3166-1 alpha-2.
    countries: &'static [&'static str],
    /// Other countries where many speak them.
    also_in: &'static [&'static str],
    /// Their charsets, the most usual first.
    charsets: &'static [&'static Encoding],
    letters: Letters,
}

/// The letters of an alphabet, in lower case.
enum Letters {
    /// Latin letters, with these beside those of ASCII.
    Latin(&'static str),
    /// Another script, whose words contain no Latin letter.
    Script {
        letters: &'static str,
        never_at_start: &'static str,
        only_at_end: &'static str,
        never_at_end: &'static str,
    },
    /// A script of many characters, in these ranges.
    Wide(&'static [(char, char)]),
}

const fn latin(
    languages: &'static [&'static str],
    countries: &'static [&'static str],
    charsets: &'static [&'static Encoding],
    letters: &'static str,
) -> Alphabet {
    Alphabet { languages, countries, also_in: &[], charsets, letters: Letters::Latin(letters) }
}

const fn cyrillic(
    languages: &'static [&'static str],
    countries: &'static [&'static str],
    also_in: &'static [&'static str],
    letters: &'static str,
) -> Alphabet {
    static CHARSETS: [&Encoding; 4] = [&WINDOWS_1251_INIT, &KOI8_R_INIT, &KOI8_U_INIT, &ISO_8859_5_INIT];
    let letters = Letters::Script { letters, never_at_start: "ъыь", only_at_end: "", never_at_end: "" };
    Alphabet { languages, countries, also_in, charsets: &CHARSETS, letters }
}

static WESTERN: [&Encoding; 1] = [&WINDOWS_1252_INIT];
static CENTRAL: [&Encoding; 2] = [&WINDOWS_1250_INIT, &ISO_8859_2_INIT];
static BALTIC: [&Encoding; 1] = [&WINDOWS_1257_INIT];
static TURKISH: [&Encoding; 1] = [&WINDOWS_1254_INIT];
static HEBREW: [&Encoding; 1] = [&WINDOWS_1255_INIT];
static ARABIC: [&Encoding; 1] = [&WINDOWS_1256_INIT];
static GREEK: [&Encoding; 2] = [&WINDOWS_1253_INIT, &ISO_8859_7_INIT];
static JAPANESE: [&Encoding; 2] = [&SHIFT_JIS_INIT, &EUC_JP_INIT];
static CHINESE: [&Encoding; 2] = [&GBK_INIT, &BIG5_INIT];
static KOREAN: [&Encoding; 1] = [&EUC_KR_INIT];

const HAN: (char, char) = ('\u{4e00}', '\u{9fff}');
const KANA: (char, char) = ('\u{3040}', '\u{30ff}');
const HALF_KANA: (char, char) = ('\u{ff65}', '\u{ff9f}');
const HANGUL: (char, char) = ('\u{ac00}', '\u{d7a3}');
/// Signs of texts in these scripts, and their wide forms of ASCII.
const WIDE_SIGNS: [(char, char); 2] = [('\u{3000}', '\u{303f}'), ('\u{ff01}', '\u{ff5e}')];

/// All alphabets. Source: CLDR, the main exemplar characters.
static ALPHABETS: [Alphabet; 28] = [
    latin(&["de"], &["DE", "AT", "CH", "LI", "LU"], &WESTERN, "äöüßé"),
    latin(&["fr"], &["FR", "BE", "CH", "LU", "MC", "CA"], &WESTERN, "àâçéèêëîïôœùûü"),
    latin(
        &["es"],
        &[
            "ES", "MX", "AR", "CO", "CL", "PE", "VE", "EC", "GT", "CU", "BO", "DO", "HN", "PY", "SV", "NI", "CR", "UY",
            "PA",
        ],
        &WESTERN,
        "áéíñóúü",
    ),
    latin(&["pt"], &["PT", "BR", "AO", "MZ"], &WESTERN, "áâãàçéêíóôõú"),
    latin(&["it"], &["IT", "SM"], &WESTERN, "àéèòù"),
    latin(&["ca"], &["AD"], &WESTERN, "àçéèíïòóúü"),
    latin(&["nl"], &["NL", "BE"], &WESTERN, "ëïéèöüáó"),
    latin(&["sv", "fi"], &["SE", "FI"], &WESTERN, "åäöé"),
    latin(&["da", "nb", "nn", "no"], &["DK", "NO"], &WESTERN, "åæøéö"),
    latin(&["is"], &["IS"], &WESTERN, "áéíóúýþæðö"),
    latin(&["cs"], &["CZ"], &CENTRAL, "áčďéěíňóřšťúůýž"),
    latin(&["sk"], &["SK"], &CENTRAL, "áäčďéíľňóôšťúýž"),
    latin(&["pl"], &["PL"], &CENTRAL, "ąćęłńóśźż"),
    latin(&["hu"], &["HU"], &CENTRAL, "áéíóöőúüű"),
    latin(&["hr", "sl", "bs"], &["HR", "SI", "BA", "RS", "ME"], &CENTRAL, "čćđšž"),
    latin(&["ro"], &["RO", "MD"], &CENTRAL, "ăâîşţ"),
    latin(&["lt", "lv", "et"], &["LT", "LV", "EE"], &BALTIC, "ąčęėįšųūžāēģīķļņäöõü"),
    latin(&["tr", "az"], &["TR", "AZ"], &TURKISH, "çğıöşüâî"),
    Alphabet {
        languages: &["he", "iw", "yi"],
        countries: &["IL"],
        also_in: &[],
        charsets: &HEBREW,
        letters: Letters::Script {
            letters: "אבגדהוזחטיךכלםמןנסעףפץצקרשת",
            never_at_start: "",
            only_at_end: "ךםןףץ",
            never_at_end: "כמנצ",
        },
    },
    cyrillic(&["ru"], &["RU", "BY", "KZ", "KG"], &["IL", "UA", "EE", "LV", "MD"], "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"),
    cyrillic(&["uk", "be"], &["UA", "BY"], &[], "абвгґдеєжзиіїйклмнопрстуфхцчшщьюяёўыэ"),
    cyrillic(&["bg"], &["BG"], &[], "абвгдежзийклмнопрстуфхцчшщъьюя"),
    cyrillic(&["sr", "mk"], &["RS", "MK", "ME", "BA"], &[], "абвгдђѓежзѕијкќлљмнњопрстћуфхцчџш"),
    Alphabet {
        languages: &["el"],
        countries: &["GR", "CY"],
        also_in: &[],
        charsets: &GREEK,
        letters: Letters::Script {
            letters: "αβγδεζηθικλμνξοπρςστυφχψωάέήίόύώϊϋΐΰ",
            never_at_start: "",
            only_at_end: "ς",
            never_at_end: "σ",
        },
    },
    Alphabet {
        languages: &["ar", "fa", "ur"],
        countries: &[
            "AE", "SA", "EG", "JO", "LB", "SY", "IQ", "KW", "QA", "BH", "OM", "YE", "MA", "DZ", "TN", "LY", "SD", "PS",
            "IR", "PK",
        ],
        also_in: &["IL"],
        charsets: &ARABIC,
        letters: Letters::Script {
            letters: "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيپچژگکی",
            never_at_start: "",
            only_at_end: "ىة",
            never_at_end: "",
        },
    },
    Alphabet {
        languages: &["ja"],
        countries: &["JP"],
        also_in: &[],
        charsets: &JAPANESE,
        letters: Letters::Wide(&[HAN, KANA, HALF_KANA, ('々', '々')]),
    },
    Alphabet {
        languages: &["zh"],
        countries: &["CN", "TW", "HK", "SG", "MO"],
        also_in: &[],
        charsets: &CHINESE,
        letters: Letters::Wide(&[HAN]),
    },
    Alphabet {
        languages: &["ko"],
        countries: &["KR"],
        also_in: &[],
        charsets: &KOREAN,
        letters: Letters::Wide(&[HANGUL]),
    },
];

/// Signs of all scripts that may stand beside a letter.
const SIGNS: &str = "\u{a0}‘’“”„‚–—…•«»´·€₪№׳״،؛؟";
/// The Hebrew hyphen, which stands between letters only.
const MAQAF: char = '־';
/// Among so many words of a charset, one may be odd.
const WORDS_PER_ODD_ONE: usize = 10;
/// The fewest letters beyond ASCII that say something, except accents in a word of ASCII letters.
const MIN_LETTERS: usize = 2;
/// The fewest letters of a script that is not usual in the country.
const MIN_UNUSUAL_LETTERS: usize = 4;

/// The charset of texts that are not UTF-8, or `None` if it is not sure. `languages` are those of
/// the client, and `country` is the form's.
pub(crate) fn find_encoding(texts: &[&[u8]], languages: &[String], country: &str) -> Option<&'static Encoding> {
    let texts: Vec<&[u8]> = texts.iter().copied().filter(|text| !text.is_ascii()).collect();
    let is_country = |countries: &[&str]| countries.iter().any(|code| code.eq_ignore_ascii_case(country));
    let is_language = |alphabet: &Alphabet| {
        languages.iter().any(|tag| {
            let primary = tag.split(['-', '_']).next().unwrap_or_default();
            alphabet.languages.iter().any(|code| code.eq_ignore_ascii_case(primary))
        })
    };
    let detector = Detector::of(&texts, country);
    let sure = ALPHABETS.iter().filter(|alphabet| !matches!(alphabet.letters, Letters::Wide(_)));
    if sure
        .into_iter()
        .any(|alphabet| detector.is_sure_of_any(alphabet) && alphabet.read(&texts, detector.guess).is_some())
    {
        return Some(detector.guess);
    }
    let rank = |alphabet: &Alphabet| match alphabet.letters {
        _ if is_language(alphabet) || is_country(alphabet.countries) => Some(0),
        _ if is_country(alphabet.also_in) => Some(1),
        Letters::Latin(_) if alphabet.charsets == BALTIC => None,
        Letters::Latin(_) => Some(2),
        Letters::Script { .. } => Some(3),
        Letters::Wide(_) => Some(4),
    };
    for current in 0..=4 {
        let of_rank = ALPHABETS.iter().filter(|alphabet| rank(alphabet) == Some(current));
        let mut readings: Vec<Reading> = Vec::new();
        for reading in of_rank.flat_map(|alphabet| alphabet.readings(&texts)) {
            let is_usable = match current {
                3 => reading.letters >= MIN_UNUSUAL_LETTERS,
                4 => reading.is_unmistakable && detector.is_sure_of(reading.encoding),
                _ => true,
            };
            if is_usable && readings.iter().all(|known| known.text != reading.text) {
                readings.push(reading);
            }
        }
        match &readings[..] {
            [] => {}
            [reading] if !reading.needs_detector => {
                let is_other = |alphabet: &Alphabet| detector.prefers(alphabet, reading.encoding, &texts);
                return (!ALPHABETS.iter().any(is_other)).then_some(reading.encoding);
            }
            several => {
                let is_guess = |reading: &&Reading| detector.decides_for(reading, current);
                return several.iter().find(is_guess).map(|reading| reading.encoding);
            }
        }
    }
    None
}

/// Whether a text can be in Latin letters: a word of accented letters only is none.
pub(crate) fn is_plausible_latin(text: &str) -> bool {
    let is_odd = |word: &str| word.chars().nth(1).is_some() && !word.chars().any(|c| c.is_ascii_alphabetic());
    !text.split(|c: char| !c.is_alphabetic()).any(is_odd)
}

/// The texts in a charset.
struct Reading {
    encoding: &'static Encoding,
    text: String,
    /// How many letters are not of ASCII.
    letters: usize,
    /// Whether words are in capitals only, as the words of another charset may be.
    is_in_capitals: bool,
    /// Whether the reading counts only if the detector agrees.
    needs_detector: bool,
    /// Whether its characters hardly arise by accident.
    is_unmistakable: bool,
}

impl Reading {
    fn is_small_script(&self, letters: &Letters) -> bool {
        matches!(letters, Letters::Script { .. }) && !self.text.contains(char::is_uppercase)
    }
}

impl Alphabet {
    /// What the texts can mean in this alphabet, usually one reading. A less usual charset counts
    /// only if the more usual ones do not fit well.
    fn readings(&self, texts: &[&[u8]]) -> Vec<Reading> {
        let mut readings: Vec<Reading> = Vec::new();
        for encoding in self.charsets {
            let Some(reading) = self.read(texts, encoding) else { continue };
            // Small letters only, in a charset that is seldom used: more likely another language.
            if readings.is_empty() && *encoding != self.charsets[0] && reading.is_small_script(&self.letters) {
                continue;
            }
            let is_good = !reading.is_in_capitals && !matches!(self.letters, Letters::Wide(_));
            readings.push(reading);
            if is_good {
                break;
            }
        }
        readings
    }

    fn read(&self, texts: &[&[u8]], encoding: &'static Encoding) -> Option<Reading> {
        let decoded: Option<Vec<_>> =
            texts.iter().map(|bytes| encoding.decode_without_bom_handling_and_without_replacement(bytes)).collect();
        let text = decoded?.join("\n");
        let (mut fitting, mut odd) = (0, 0);
        let mut is_in_capitals = false;
        for word in text.split(char::is_whitespace).filter(|word| !word.is_ascii()) {
            let has_letters = word.chars().any(|c| !c.is_ascii() && c.is_alphabetic());
            if !self.fits(word, &text) {
                odd += 1;
            } else if has_letters {
                fitting += 1;
            }
            is_in_capitals |= is_capitals(word) || word.chars().all(|c| is_within(c, &[HALF_KANA]));
        }
        if fitting == 0 || odd * WORDS_PER_ODD_ONE > fitting {
            return None;
        }
        let of_script = |range: (char, char)| text.chars().filter(|c| is_within(*c, &[range])).count();
        let is_unmistakable = of_script(KANA) > 1 || of_script(HANGUL) > 1;
        let letters = text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic()).count();
        let needs_detector = matches!(self.letters, Letters::Wide(_));
        let is_common = !needs_detector || text.chars().all(|c| is_common(c, encoding));
        let is_enough = letters >= MIN_LETTERS || matches!(self.letters, Letters::Latin(_));
        let reading = Reading { encoding, text, letters, is_in_capitals, needs_detector, is_unmistakable };
        (is_common && is_enough).then_some(reading)
    }

    /// Whether a part of the text without white space can be of this language.
    fn fits(&self, part: &str, text: &str) -> bool {
        let characters: Vec<char> = part.chars().collect();
        let is_letter = |at: Option<usize>| at.and_then(|at| characters.get(at)).is_some_and(|c| c.is_alphabetic());
        let has_odd_sign = characters.iter().enumerate().any(|(at, c)| {
            let is_sign = !c.is_ascii() && !c.is_alphabetic() && !SIGNS.contains(*c);
            let is_wide = matches!(self.letters, Letters::Wide(_)) && is_within(*c, &WIDE_SIGNS);
            let (before, after) = (is_letter(at.checked_sub(1)), is_letter(Some(at + 1)));
            if *c == MAQAF { !(before && after) } else { is_sign && !is_wide && (c.is_control() || before || after) }
        });
        let mut words = part.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_ascii());
        !has_odd_sign && words.all(|word| self.fits_word(word, text))
    }

    fn fits_word(&self, word: &str, text: &str) -> bool {
        match self.letters {
            Letters::Latin(letters) => {
                let is_known = |c: char| c.is_ascii() || letters.contains(lowercase(c));
                // `Żółć` has no letter of ASCII. It needs a word beside it that has some.
                let has_ascii = word.chars().any(|c| c.is_ascii_alphabetic());
                let is_whole_word = word.chars().nth(2).is_some() && text.chars().any(|c| c.is_ascii_alphabetic());
                // No language ends a word like `Kovaè`, which is `Kovač`.
                word.chars().all(is_known) && (has_ascii || is_whole_word) && has_case(word) && !word.ends_with('è')
            }
            Letters::Script { letters, never_at_start, only_at_end, never_at_end } => {
                let starts_well = !word.starts_with(|c| never_at_start.contains(lowercase(c)));
                let mut characters: Vec<char> = word.chars().map(lowercase).collect();
                let is_known = characters.iter().all(|c| letters.contains(*c));
                let is_long = characters.len() > 1;
                let last = characters.pop();
                let ends_well = !is_long || last.is_none_or(|c| !never_at_end.contains(c));
                let is_inside = |c: &char| only_at_end.contains(*c);
                is_known && starts_well && ends_well && is_name_case(word) && !characters.iter().any(is_inside)
            }
            Letters::Wide(ranges) => {
                let is_half = |c: char| is_within(c, &[HALF_KANA]);
                let is_known = word.chars().all(|c| is_within(c, ranges) || is_within(c, &WIDE_SIGNS));
                is_known && (word.chars().all(is_half) || !word.contains(is_half))
            }
        }
    }
}

/// The lower case of a letter. That of `İ` is `ı` here, which stands for both in the alphabet.
fn lowercase(c: char) -> char {
    if c == 'İ' { 'ı' } else { c.to_lowercase().next().unwrap_or(c) }
}

/// Whether no capital of another script than ASCII's follows a small letter.
fn has_case(word: &str) -> bool {
    let pairs = word.chars().zip(word.chars().skip(1));
    pairs.into_iter().all(|(before, c)| !before.is_lowercase() || !c.is_uppercase() || c.is_ascii())
}

/// Whether a word is in small letters, in capitals, or begins with one capital.
fn is_name_case(word: &str) -> bool {
    let is_small = |c: char| !c.is_uppercase();
    word.chars().skip(1).all(is_small) || word.chars().all(|c| !c.is_lowercase())
}

/// Whether a character of many is among the usual ones of its charset, which come first there.
fn is_common(c: char, encoding: &'static Encoding) -> bool {
    if !is_within(c, &[HAN, HANGUL]) {
        return true;
    }
    let usual = match encoding.name() {
        "Shift_JIS" => 0x88..=0x98,
        "EUC-JP" => 0xb0..=0xcf,
        "GBK" => 0xb0..=0xd7,
        "Big5" => 0xa4..=0xc6,
        _ => 0xb0..=0xc8,
    };
    let text = c.to_string();
    encoding.encode(&text).0.first().is_some_and(|lead| usual.contains(lead))
}

fn is_capitals(word: &str) -> bool {
    let mut letters = word.chars().filter(|c| !c.is_ascii() && c.is_alphabetic());
    let is_long = letters.clone().nth(1).is_some();
    is_long && letters.all(char::is_uppercase)
}

fn is_within(c: char, ranges: &[(char, char)]) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// The detector of Firefox. It prefers the charset of a country, so a sure guess does not depend on
/// the country.
struct Detector {
    guess: &'static Encoding,
    /// Its guesses for other countries.
    elsewhere: Vec<&'static Encoding>,
}

impl Detector {
    /// Domains of countries with different charsets.
    const DOMAINS: [&[u8]; 7] = [b"com", b"cz", b"pl", b"hu", b"ru", b"il", b"gr"];

    fn of(texts: &[&[u8]], country: &str) -> Self {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        for text in texts {
            detector.feed(text, false);
            detector.feed(b"\n", false);
        }
        detector.feed(b"", true);
        let country = country.to_ascii_lowercase();
        // Britain's code is not its domain.
        let domain = if country == "gb" { "uk" } else { &country };
        let is_domain = domain.len() == 2 && domain.bytes().all(|byte| byte.is_ascii_lowercase());
        let guess = |domain: Option<&[u8]>| detector.guess(domain, Utf8Detection::Deny);
        Self {
            guess: guess(is_domain.then_some(domain.as_bytes())),
            elsewhere: Self::DOMAINS.iter().map(|domain| guess(Some(domain))).collect(),
        }
    }

    fn is_sure_of(&self, encoding: &'static Encoding) -> bool {
        self.guess == encoding && self.elsewhere.iter().all(|other| *other == encoding)
    }

    /// Whether most of its guesses are another script than that of `encoding`, which fits too.
    fn prefers(&self, alphabet: &Alphabet, encoding: &'static Encoding, texts: &[&[u8]]) -> bool {
        let is_script = matches!(alphabet.letters, Letters::Script { .. });
        let count = |other: &Encoding| self.elsewhere.iter().filter(|guess| **guess == other).count();
        let of_alphabet = alphabet.charsets.iter().filter(|_| is_script && !alphabet.charsets.contains(&encoding));
        let mut preferred = of_alphabet.filter(|other| 2 * count(other) > self.elsewhere.len());
        preferred.any(|other| alphabet.read(texts, other).is_some())
    }

    fn is_sure_of_any(&self, alphabet: &Alphabet) -> bool {
        alphabet.charsets.iter().any(|encoding| self.is_sure_of(encoding))
    }

    /// Whether it decides for one of several readings. Its guess is enough between languages that
    /// are usual in the country, and between scripts if there are many letters.
    fn decides_for(&self, reading: &Reading, rank: u8) -> bool {
        let is_likely = rank == 0 || (rank == 3 && reading.letters >= 2 * MIN_UNUSUAL_LETTERS - 1);
        if is_likely { self.guess == reading.encoding } else { self.is_sure_of(reading.encoding) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charset::tests::encode;

    /// The text in the charset that is found; `None` if none is sure.
    fn read(text: &str, label: &str, languages: &[&str], country: &str) -> Option<String> {
        let bytes = encode(text, label);
        let languages: Vec<String> = languages.iter().map(|&language| language.to_owned()).collect();
        let encoding = find_encoding(&[&bytes], &languages, country)?;
        Some(encoding.decode_without_bom_handling(&bytes).0.into_owned())
    }

    const NAMES: [(&str, &str); 62] = [
        ("דן", "windows-1255"),
        ("גל", "windows-1255"),
        ("ים", "windows-1255"),
        ("טל", "windows-1255"),
        ("ר", "windows-1255"),
        ("שי", "windows-1255"),
        ("נועה", "iso-8859-8-i"),
        ("מאיה כהן", "windows-1255"),
        ("שרה בן-דוד", "windows-1255"),
        ("Иван", "windows-1251"),
        ("Олег", "windows-1251"),
        ("Ия", "windows-1251"),
        ("Ева", "windows-1251"),
        ("Лев", "windows-1251"),
        ("Пётр", "windows-1251"),
        ("Юля", "windows-1251"),
        ("ИВАН", "windows-1251"),
        ("иван", "windows-1251"),
        ("Олег Петров", "windows-1251"),
        ("Наталья Иванова", "koi8-r"),
        ("Иван", "koi8-r"),
        ("Иван", "iso-8859-5"),
        ("Юрій Їжак", "windows-1251"),
        ("Müller", "windows-1252"),
        ("Zoë", "windows-1252"),
        ("Noël", "windows-1252"),
        ("Åsa", "windows-1252"),
        ("Ö", "windows-1252"),
        ("Süß", "windows-1252"),
        ("José", "windows-1252"),
        ("Renée", "windows-1252"),
        ("François", "windows-1252"),
        ("Hélène Lefèvre", "windows-1252"),
        ("Chloé D'Été", "windows-1252"),
        ("Peña", "windows-1252"),
        ("Nicolò", "windows-1252"),
        ("Søren Kjær", "windows-1252"),
        ("João", "windows-1252"),
        ("Zdeněk", "iso-8859-2"),
        ("Zdeněk", "windows-1250"),
        ("Dvořák", "iso-8859-2"),
        ("Ondřej", "windows-1250"),
        ("Tomáš Růžička", "windows-1250"),
        ("Kovač", "windows-1250"),
        ("Kovačić", "windows-1250"),
        ("Łukasz Żółć", "iso-8859-2"),
        ("Świętosława", "windows-1250"),
        ("Erdős", "windows-1250"),
        ("Ştefan", "windows-1250"),
        ("Şükrü Gökçe", "windows-1254"),
        ("İpek", "windows-1254"),
        ("محمد", "windows-1256"),
        ("علي", "windows-1256"),
        ("سارة", "windows-1256"),
        ("نور", "windows-1256"),
        ("Γιώργος Παπαδόπουλος", "windows-1253"),
        ("Νίκος", "iso-8859-7"),
        ("田中", "shift_jis"),
        ("すずき", "euc-jp"),
        ("李", "shift_jis"),
        ("张伟", "gbk"),
        ("김민수", "euc-kr"),
    ];

    /// Clients, each with the names whose bytes are also a name in the client's own language. No
    /// rule can tell these from each other.
    const CLIENTS: [(&[&str], &str, &[&str]); 10] = [
        (&["he", "en"], "IL", &["иван"]),
        (&["en"], "IL", &["иван"]),
        (&["ru", "en"], "IL", &[]),
        (&["en"], "US", &[]),
        (&["de", "en"], "DE", &[]),
        (&["fr"], "FR", &[]),
        (&["ru"], "RU", &["ים", "טל"]),
        (&["cs"], "CZ", &["Hélène Lefèvre", "Nicolò", "İpek"]),
        (&["pl"], "PL", &["Peña"]),
        (&["ja"], "JP", &["ИВАН", "김민수"]),
    ];

    #[test]
    fn a_name_is_read_in_its_own_letters_or_not_at_all() {
        for (languages, country, twins) in CLIENTS {
            for (name, label) in NAMES.iter().filter(|(name, _)| !twins.contains(name)) {
                let read = read(name, label, languages, country);
                assert!(read.as_deref().is_none_or(|read| read == *name), "{name} {label} {country}: {read:?}");
            }
        }
    }

    #[test]
    fn the_usual_names_of_a_client_are_read() {
        let western = ["Müller", "Zoë", "Noël", "Åsa", "Süß", "José", "Renée", "François", "Søren Kjær"];
        let central = ["Zdeněk", "Dvořák", "Tomáš Růžička", "Kovač", "Kovačić", "Łukasz Żółć", "Świętosława"];
        let hebrew = ["דן", "גל", "ים", "טל", "שי", "נועה", "מאיה כהן", "שרה בן-דוד"];
        let russian = ["Иван", "Олег", "Ия", "Ева", "Лев", "Пётр", "Юля", "Олег Петров", "Наталья Иванова"];
        for (languages, country, names) in [
            (&["he", "en"][..], "IL", [&hebrew[..], &western, &["Иван", "Олег Петров", "محمد", "علي", "نور"]]),
            (&["en"], "US", [&western[..], &central[..5], &["Олег Петров"]]),
            (&["de", "en"], "DE", [&western, &central, &["Şükrü Gökçe"]]),
            (&["fr"], "FR", [&western[..], &["Hélène Lefèvre"], &[]]),
            (&["ru"], "RU", [&russian, &western, &["иван"]]),
            (&["cs"], "CZ", [&central[..3], &["Ondřej"], &[]]),
            (&["ja"], "JP", [&["田中"], &["すずき"], &[]]),
        ] {
            for name in names.into_iter().flatten() {
                for (_, label) in NAMES.iter().filter(|(known, _)| known == name) {
                    assert_eq!(read(name, label, languages, country).as_deref(), Some(*name), "{label} {country}");
                }
            }
        }
    }

    #[test]
    fn a_long_text_may_have_an_odd_word() {
        let text = "שלום לכם אני רוצה לשמוע על הקורס החדש שלכם תודה רבה מכולנו לiPhone";
        assert_eq!(read(text, "windows-1255", &["he"], "IL").as_deref(), Some(text));
        assert_eq!(find_encoding(&[], &[], "IL"), None);
        assert_eq!(find_encoding(&[b"\x80\x81", &[0xff; 40]], &[], ""), None);
    }
}
