//! The numbers that dial a conference: Zoom, Google Meet, Teams and others write them into the
//! description of an event, beside what the customer typed.
//!
//! Entry point: [`is_dial_in`].
//!
//! Lines are compared without accents, and with a space in place of a dash. So are the words here.
//!
//! Not recognised: a bare number without any of the usual words around it.

/// What begins the line above a dial-in, or a part of it.
const HEADINGS: &[&str] = &[
    "one tap mobile",
    "phone one tap",
    "join by phone",
    "join by telephone",
    "join via phone",
    "join via telephone",
    "join by audio",
    "dial by your location",
    "dial in",
    "you can also dial in",
    "or dial in",
    "phone dial in",
    "telephone dial in",
    "or dial",
    "call in",
    "or call in",
    "you can also call in",
    "audio conference",
    "audio only",
    "phone conference",
    "teleconference",
    "conference call",
    "conference bridge",
    "conference dial",
    "conference line",
    "conference number",
    "conference details",
    "bridge details",
    "audio bridge",
    // German.
    "schnelleinwahl",
    "einwahl",
    "telefoneinwahl",
    "telefonische einwahl",
    "per telefon teilnehmen",
    "per telefon beitreten",
    "uber telefon teilnehmen",
    "telefonkonferenz",
    "oder wahlen sie",
    // Hebrew.
    "הצטרפות בטלפון",
    "הצטרפות באמצעות הטלפון",
    "הצטרפות טלפונית",
    "הצטרף באמצעות הטלפון",
    "חיוג",
    "שיחת ועידה",
    "ועידה טלפונית",
    // French.
    "rejoindre par telephone",
    "participer par telephone",
    "se connecter par telephone",
    "composez",
    "numero d'appel de la conference",
    "conference telephonique",
    // Spanish.
    "unirse por telefono",
    "unirse mediante telefono",
    "marcacion",
    "llamada en conferencia",
    "conferencia telefonica",
    // Italian.
    "partecipa tramite telefono",
    "partecipa per telefono",
    "chiamata in conferenza",
    "conferenza telefonica",
    // Portuguese.
    "participar por telefone",
    "entrar por telefone",
    "discagem",
    "conferencia por telefone",
    // Dutch.
    "deelnemen via telefoon",
    "deelnemen per telefoon",
    "inbellen",
    "telefonische vergadering",
    // Russian.
    "подключиться по телефону",
    "телефонная конференция",
];
/// Lines that are the name of a conference's service, and nothing else.
const SERVICES: &[&str] = &[
    "zoom",
    "zoom meeting",
    "join zoom meeting",
    "microsoft teams",
    "microsoft teams meeting",
    "teams meeting",
    "google meet",
    "webex",
    "webex meeting",
    "gotomeeting",
    "skype meeting",
];
/// What ends the name of a conference's code.
const CODES: &[&str] = &[
    "pin",
    "pin code",
    "meeting id",
    "meeting number",
    "meeting code",
    "meeting password",
    "conference id",
    "conference code",
    "conference pin",
    "conference number",
    "webinar id",
    "passcode",
    "pass code",
    "access code",
    "participant code",
    "participant pin",
    "participant id",
    "host pin",
    "host code",
    "guest code",
    "moderator code",
    "bridge code",
    // German.
    "kenncode",
    "kennwort der besprechung",
    "konferenzkennung",
    "konferenz id",
    "telefonkonferenz id",
    "besprechungs id",
    "meeting kennnummer",
    "konferenznummer",
    "konferenzcode",
    "zugangscode",
    "zugriffscode",
    "einwahlcode",
    "teilnehmercode",
    // Hebrew.
    "מזהה פגישה",
    "מזהה הפגישה",
    "מזהה ועידה",
    "מזהה שיחת ועידה",
    "מספר פגישה",
    "קוד גישה",
    "קוד פגישה",
    "קוד הפגישה",
    "קוד ועידה",
    "קוד משתתף",
    // French.
    "code secret",
    "code d'acces",
    "code de conference",
    "code de reunion",
    "id de conference",
    "id de la conference",
    "identifiant de conference",
    "id de reunion",
    "id de la reunion",
    "identifiant de reunion",
    // Spanish.
    "codigo de acceso",
    "codigo de la reunion",
    "id de la conferencia",
    "id de conferencia",
    "id de reunion",
    "codigo de la conferencia",
    // Italian.
    "codice di accesso",
    "codice d'accesso",
    "codice della riunione",
    "id riunione",
    "id conferenza",
    "id della conferenza",
    // Portuguese.
    "codigo de acesso",
    "codigo da reuniao",
    "id da reuniao",
    "id da conferencia",
    "senha de acesso",
    // Dutch.
    "toegangscode",
    "vergaderings id",
    "vergader id",
    "conferentie id",
    "telefonische vergaderings id",
    // Russian. Letters with a mark have none here.
    "код доступа",
    "идентификатор конференции",
    "идентификатор собрания",
];
/// What ends the name of any code. It is a conference's if a telephone's `#` ends its digits.
const ANY_CODES: [&str; 13] =
    ["code", "id", "pw", "pwd", "password", "kennwort", "קוד", "סיסמה", "מזהה", "codigo", "codice", "senha", "код"];
/// Words of codes for a building, which a customer writes beside the own number.
const DOOR_WORDS: &[&str] = &[
    "gate",
    "door",
    "building",
    "entrance",
    "entry",
    "intercom",
    "lobby",
    "garage",
    "house",
    "tor",
    "tur",
    "hausture",
    "haustur",
    "eingang",
    "gebaude",
    "שער",
    "השער",
    "דלת",
    "כניסה",
    "בניין",
    "portail",
    "porte",
    "immeuble",
    "puerta",
    "porta",
    "cancello",
    "deur",
    "дверь",
    "домофон",
];
/// The fewest digits of a line with a number.
const MIN_NUMBER_DIGITS: usize = 7;
/// The fewest digits of a code.
const MIN_CODE_DIGITS: usize = 3;
/// The most words in the name of a code.
const MAX_CODE_WORDS: usize = 6;
/// How far from a number its headings and codes are searched for, in characters.
const MAX_CHARS: usize = 400;
/// The most empty lines between a heading, a number and a code.
const MAX_EMPTY_LINES: usize = 2;

/// Whether the number at `at`, of `length` characters, is a conference's. `label_line` is where the
/// line of its label begins.
pub(super) fn is_dial_in(chars: &[char], label_line: usize, at: usize, length: usize) -> bool {
    let (number, behind) = chars[at..].split_at(length);
    let mut lines = behind[..behind.len().min(MAX_CHARS)].split(|c| *c == '\n').map(simplify_line);
    let rest = lines.next().unwrap_or_default();
    let mut below = lines.enumerate().skip_while(|(empty, line)| *empty < MAX_EMPTY_LINES && line.is_empty());
    let code = below.next().map(|(_, line)| line).unwrap_or_default();
    let code_below = below.next().map(|(_, line)| line).unwrap_or_default();
    // A conference's number has a country code. A national number above a conference's codes is the
    // customer's, unless the codes are typed on a telephone.
    let is_national = number.iter().find(|c| c.is_numeric()) == Some(&'0') && number.get(..2) != Some(&['0', '0']);
    // "PIN:" and its digits may be two lines.
    let is_split = code.ends_with(':') && !code_below.contains(char::is_alphabetic);
    let is_typed =
        is_typed_code(&rest) || is_typed_code(&code) || (is_split && is_typed_code(&format!("{code} {code_below}")));
    has_tones(&rest)
        || is_typed
        || (!is_national && (has_code(&rest) || begins_with_code(&code)))
        || is_below_heading(&chars[label_line.saturating_sub(MAX_CHARS)..label_line], is_national)
}

/// A line without accents, with single spaces, and with a space in place of a dash.
fn simplify_line(line: &[char]) -> String {
    let mut plain = String::with_capacity(line.len());
    for &c in line.iter().take(MAX_CHARS) {
        let c = match c {
            '\u{300}'..='\u{36f}' => continue,
            '-' | '\u{2010}'..='\u{2015}' | '\u{5be}' => ' ',
            '\u{2019}' => '\'',
            c => c,
        };
        if c != ' ' || !plain.ends_with([' ']) {
            plain.push(c);
        }
    }
    plain.trim().to_owned()
}

/// Whether a heading is above. A number with a country code may also be one of a list below it.
fn is_below_heading(above: &[char], is_national: bool) -> bool {
    let lines: Vec<String> = above.split(|c| *c == '\n').map(simplify_line).collect();
    // The last one ends where the label's line begins.
    let mut lines = lines.iter().rev().skip(1).map(String::as_str);
    let is_of_list = |line: &&str| {
        !is_national && !line.is_empty() && (count_digits(line) >= MIN_NUMBER_DIGITS || begins_with_code(line))
    };
    let mut empty_lines = 0;
    let heading = lines.find(|line| {
        empty_lines += usize::from(line.is_empty());
        !((line.is_empty() && empty_lines <= MAX_EMPTY_LINES) || (empty_lines == 0 && is_of_list(line)))
    });
    let is_value = lines.next().is_some_and(|line| line.ends_with(':'));
    let is_service = |line: &str| empty_lines == 0 && !is_value && SERVICES.contains(&trim_signs(line));
    heading.is_some_and(|line| is_heading(line) || is_service(line))
}

/// Whether a line is the heading of a dial-in. Then it has no number itself.
fn is_heading(line: &str) -> bool {
    let mut parts = line.split([':', '.', ',', '(', '|', ';']).map(trim_signs);
    count_digits(line) < MIN_NUMBER_DIGITS
        && (trim_start(line).starts_with("dial:")
            || parts.any(|part| HEADINGS.iter().any(|heading| begins_with(part, heading))))
}

/// Whether the rest of a number's line has the tones of a code: `,,123456#`.
fn has_tones(rest: &str) -> bool {
    rest.contains('#') && [",,", ",*", ", ,", ", *"].iter().any(|tones| rest.contains(tones))
}

/// Whether the rest of a number's line names the code of a conference: `PIN: 123456`.
fn has_code(rest: &str) -> bool {
    let mut parts = rest.split(|c: char| !c.is_alphabetic() && !matches!(c, ' ' | '\''));
    !has_door(rest) && parts.any(|words| CODES.iter().any(|code| ends_with(words.trim(), code)))
}

/// Whether a line is the code of a conference: `PIN: 123456#`, and not `PIN for the gate: 4455`.
fn begins_with_code(line: &str) -> bool {
    let is_end = |c: char| matches!(c, ':' | '#' | '=' | '/') || c.is_numeric();
    let Some((name, _)) = trim_start(line).split_once(is_end) else { return false };
    let name = trim_signs(name);
    !has_door(line) && name.split(' ').count() <= MAX_CODE_WORDS && CODES.iter().any(|code| ends_with(name, code))
}

/// Whether a text has a code that is typed on a telephone: its digits end in `#`.
fn is_typed_code(text: &str) -> bool {
    let Some((before, _)) = text.split_once('#') else { return false };
    let name = before.trim_end_matches(|c: char| c.is_numeric() || c == ' ');
    let name_end = name.trim_end_matches(|c: char| !c.is_alphanumeric());
    count_digits(&before[name.len()..]) >= MIN_CODE_DIGITS
        && count_digits(name) == 0
        && !has_door(text)
        && CODES.iter().chain(&ANY_CODES).any(|code| ends_with(name_end, code))
}

fn has_door(text: &str) -> bool {
    text.split(|c: char| !c.is_alphabetic()).any(|word| DOOR_WORDS.contains(&word))
}

fn count_digits(text: &str) -> usize {
    text.chars().filter(|c| c.is_numeric()).count()
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(|c: char| !c.is_alphanumeric())
}

fn trim_signs(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphanumeric())
}

fn begins_with(text: &str, words: &str) -> bool {
    text.strip_prefix(words).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

fn ends_with(text: &str, words: &str) -> bool {
    text.strip_suffix(words).is_some_and(|rest| !rest.ends_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{number_text::scan_number, plain_text::FoldedText},
        *,
    };

    fn is_conference(text: &str) -> bool {
        let folded = FoldedText::new(text);
        let label: Vec<char> = "tel: ".chars().collect();
        let start = folded.chars().windows(label.len()).position(|part| part == label).unwrap();
        let at = start + label.len();
        let number = scan_number(&folded.chars()[at..]).unwrap();
        is_dial_in(folded.chars(), start, at, number.length())
    }

    #[test]
    fn the_number_of_a_conference_is_recognised_in_each_language() {
        for line in [
            "Kenncode: 123456",
            "Konferenzkennung: 123 456 789#",
            "Telefonkonferenz-ID: 123 456 789#",
            "Zugangscode 123 456",
            "מזהה פגישה: 123 456",
            "קוד גישה: 1234",
            "קוד: 1234#",
            "Code secret : 123456",
            "ID de conférence : 123 456",
            "Code d\u{2019}accès : 1234",
            "Código de acceso: 1234",
            "ID de la reunión: 964 1234",
            "Codice di accesso: 1234",
            "ID riunione: 964 1234",
            "Código de acesso: 1234",
            "ID da reunião: 964 1234",
            "Toegangscode: 1234",
            "Vergaderings-ID: 964 1234",
            "Код доступа: 1234",
            "Идентификатор конференции: 964 1234",
        ] {
            for text in [format!("Tel: +972 55-330-1762\n{line}"), format!("Tel: +972 55-330-1762 {line}")] {
                assert!(is_conference(&text), "{text}");
            }
        }
        for heading in [
            "Einwahl per Telefon",
            "Per Telefon teilnehmen:",
            "Über Telefon teilnehmen",
            "Schnelleinwahl mobil",
            "הצטרפות בטלפון",
            "Rejoindre par téléphone",
            "Unirse por teléfono",
            "Marcación:",
            "Partecipa tramite telefono",
            "Participar por telefone",
            "Deelnemen via telefoon",
            "Подключиться по телефону",
        ] {
            for text in [format!("{heading}\nTel: 055-330-1762"), format!("{heading}\n\nTel: +972 55-330-1762")] {
                assert!(is_conference(&text), "{text}");
            }
        }
    }
}
