//! The meaning of dialled digits in the numbering plan of a country.

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberFormat, PhoneNumberType, enums::Region,
};

use super::{
    canonical_number::canonical_form,
    dialled_number::DialledNumber,
    phone_rule::{PhoneError, PhoneRule},
};

/// Mobile numbers that are recognised without metadata: first digits, number of all digits,
/// country. The country is `None` if several share the first digits: Guernsey, Jersey and the Isle
/// of Man have parts of Britain's. Each row is narrower than the plan of its country, and the tests
/// compare every row with the library. Countries whose mobiles look like landlines (`+1`) cannot be
/// listed.
const MOBILE_PREFIXES: [(&str, usize, Option<&str>); 12] = [
    ("97056", 12, Some("PS")),
    ("97059", 12, Some("PS")),
    ("4474", 12, None),
    ("4475", 12, None),
    ("4477", 12, None),
    ("4478", 12, None),
    ("336", 11, Some("FR")),
    ("4917", 12, Some("DE")),
    ("346", 11, Some("ES")),
    ("614", 11, Some("AU")),
    ("97150", 12, Some("AE")),
    ("97155", 12, Some("AE")),
];

/// As [`resolve_number`], for a sender of the country `home`. People abroad write the number that
/// they have at home. So a number that the plan of `country` does not list, and that has a mark of
/// `home`, is one of `home`. Without a mark it may be a mistyped number of `country`.
pub(super) fn resolve_number_or_home(
    dialled: &DialledNumber,
    country: &str,
    home: &str,
    rule: PhoneRule,
) -> Result<String, PhoneError> {
    let here = resolve_number(dialled, country, rule);
    match here {
        Err(why) if !dialled.international && !is_listed(dialled, country) => {
            resolve_with_mark(dialled, country, home, rule).ok_or(why)
        }
        here => here,
    }
}

/// The number of `home`, if the digits have its mark: its trunk zero or its calling code. Countries
/// such as Spain have no trunk zero. A calling code that fills a mobile number of `country` may be
/// a part of that number.
fn resolve_with_mark(dialled: &DialledNumber, country: &str, home: &str, rule: PhoneRule) -> Option<String> {
    let (country, home) = (normalize_country_code(country), normalize_country_code(home));
    let region = home.parse::<Region>().ok().filter(|_| country != home)?;
    if has_trunk_zero(&dialled.digits, region) {
        return resolve_number(dialled, &home, rule).ok();
    }
    let code = PHONE_NUMBER_UTIL.get_country_code_for_region(region)?.to_string();
    if !dialled.digits.starts_with(&code) || is_as_long_as_a_mobile(&dialled.digits, &country) {
        return None;
    }
    resolve_listed(&dialled.digits, rule)
}

/// Whether the digits begin with a trunk zero, which a call from abroad drops: `0`, or `06` in
/// Hungary.
fn has_trunk_zero(digits: &str, region: Region) -> bool {
    let parse = |digits: &str| parse_with_library(digits, Some(region)).ok();
    let whole = parse(digits).filter(|_| digits.starts_with('0') && !digits.starts_with("00"));
    let without = [1, 2].into_iter().filter_map(|prefix_len| parse(digits.get(prefix_len..)?));
    whole.is_some_and(|whole| without.into_iter().any(|number| number == whole))
}

/// Whether the digits have the length of a mobile number in `country`.
fn is_as_long_as_a_mobile(digits: &str, country: &str) -> bool {
    let number = country.parse::<Region>().ok().and_then(|region| parse_with_library(digits, Some(region)).ok());
    number.is_some_and(|number| PHONE_NUMBER_UTIL.is_possible_number_for_type(&number, PhoneNumberType::Mobile))
}

/// The main country of a calling code, given its digits, ISO 3166-1 alpha-2. Its plan lists the
/// numbers of all countries with this code.
pub(super) fn country_of_calling_code(digits: &str) -> Option<String> {
    let region = PHONE_NUMBER_UTIL.get_region_for_country_code(digits.parse().ok()?)?.to_string();
    // The library uses `001` for the world.
    (region.len() == 2).then_some(region)
}

/// Whether the plan of `country` lists the digits, as a number of any type.
fn is_listed(dialled: &DialledNumber, country: &str) -> bool {
    let region = normalize_country_code(country).parse::<Region>().ok();
    region.is_some_and(|region| parse_with_library(&dialled.digits, Some(region)).is_ok_and(|number| number.is_valid()))
}

/// The number that the digits mean in `country`, in E.164, if it may be messaged.
///
/// A number without a country prefix is only a number of `country` if its plan lists it, or if it
/// has the shape of a mobile that this module knows. Its length alone proves nothing.
pub(super) fn resolve_number(dialled: &DialledNumber, country: &str, rule: PhoneRule) -> Result<String, PhoneError> {
    let country = normalize_country_code(country);
    if let Some(national) = israeli_national_digits(dialled, &country) {
        let phone = parse_israeli_mobile(national)?;
        return match rule {
            PhoneRule::Possible => Ok(phone),
            PhoneRule::Valid if parse_with_library(&phone, None)?.is_valid() => Ok(phone),
            PhoneRule::Valid => Err(PhoneError::NotValid),
        };
    }
    if rule == PhoneRule::Possible
        && let Some(phone) = parse_known_mobile(dialled)
    {
        return Ok(phone);
    }
    let here = resolve_with_library(dialled, &country, rule);
    let Err(why) = here else { return here };
    if dialled.international {
        return resolve_other_form(&dialled.digits, rule).ok_or(why);
    }
    // `00` begins a call abroad in most countries, and no number at home. People use it elsewhere
    // too.
    let abroad = dialled.digits.strip_prefix("00").filter(|abroad| !abroad.is_empty());
    abroad.or_else(|| with_own_code(dialled, &country)).and_then(|abroad| resolve_listed(abroad, rule)).ok_or(why)
}

/// The digits, if they begin with the calling code of `country`. Without the trunk zero, these are
/// the first digits of a landline in Germany and Austria only by accident: of `04917`.
fn with_own_code<'d>(dialled: &'d DialledNumber, country: &str) -> Option<&'d str> {
    let code = PHONE_NUMBER_UTIL.get_country_code_for_region(country.parse().ok()?)?.to_string();
    dialled.digits.starts_with(&code).then_some(&*dialled.digits)
}

/// The number with these digits, calling code first, if its plan lists it.
fn resolve_listed(digits: &str, rule: PhoneRule) -> Option<String> {
    let abroad = DialledNumber { international: true, digits: digits.to_owned() };
    resolve_number(&abroad, "", rule).ok().filter(|phone| is_listed_or_known(phone))
}

/// The number with these digits, if the plan has only its other form. It stays as it is, because an
/// account may have the form that the plan forgot.
fn resolve_other_form(digits: &str, rule: PhoneRule) -> Option<String> {
    let number = format!("+{digits}");
    let digits = canonical_form(&number)?.split_off(1);
    resolve_with_library(&DialledNumber { international: true, digits }, "", rule).ok().map(|_| number)
}

/// Whether the plan of its country lists an E.164 number in one of its forms, or its shape is
/// known.
pub(super) fn is_listed_or_known(phone: &str) -> bool {
    let is_valid = |phone: &str| parse_with_library(phone, None).is_ok_and(|number| number.is_valid());
    has_known_shape(phone) || is_valid(phone) || canonical_form(phone).is_some_and(|form| is_valid(&form))
}

/// Whether an E.164 number has the shape of a mobile that this module recognises.
fn has_known_shape(phone: &str) -> bool {
    let digits = phone.strip_prefix('+').unwrap_or(phone);
    find_prefix_row(digits).is_some() || digits.strip_prefix("972").is_some_and(is_israeli_mobile)
}

/// The ISO code of a country. `UK` and `EL` are in use and are not ISO codes.
fn normalize_country_code(country: &str) -> String {
    let country = country.trim().to_ascii_uppercase();
    match country.as_str() {
        "UK" => "GB".to_owned(),
        "EL" => "GR".to_owned(),
        _ => country,
    }
}

/// The national digits, without the leading zero, of a number that is dialled in Israel or with
/// Israel's prefix.
fn israeli_national_digits<'d>(dialled: &'d DialledNumber, country: &str) -> Option<&'d str> {
    let digits = dialled.digits.as_str();
    let without_zero = |national: &'d str| national.strip_prefix('0').unwrap_or(national);
    if dialled.international {
        return digits.strip_prefix("972").map(without_zero);
    }
    if country != "IL" {
        return None;
    }
    match digits.strip_prefix("00") {
        Some(abroad) => abroad.strip_prefix("972").map(without_zero),
        // `012` to `019` choose a carrier for calls abroad. The library reads what follows.
        None if digits.len() > 10 && digits.starts_with("01") => None,
        // The country prefix without its plus, but only if a mobile number follows.
        None => Some(
            digits
                .strip_prefix("972")
                .map(without_zero)
                .filter(|national| is_israeli_mobile(national))
                .unwrap_or_else(|| without_zero(digits)),
        ),
    }
}

/// Whether the national digits are `5x` and seven more.
fn is_israeli_mobile(national: &str) -> bool {
    national.len() == 9 && national.starts_with('5')
}

fn parse_israeli_mobile(national: &str) -> Result<String, PhoneError> {
    match national.len() {
        _ if is_israeli_mobile(national) => Ok(format!("+972{national}")),
        0..=6 => Err(PhoneError::ShortCode),
        7..=12 => Err(PhoneError::NotMobile),
        _ => Err(PhoneError::NotPossible),
    }
}

/// The number if [`MOBILE_PREFIXES`] recognises it as a mobile.
fn parse_known_mobile(dialled: &DialledNumber) -> Option<String> {
    let digits = dialled.digits.as_str();
    (dialled.international && find_prefix_row(digits).is_some()).then(|| format!("+{digits}"))
}

/// The row of [`MOBILE_PREFIXES`] that matches the digits.
fn find_prefix_row(digits: &str) -> Option<&'static (&'static str, usize, Option<&'static str>)> {
    MOBILE_PREFIXES.iter().find(|(start, length, _)| digits.len() == *length && digits.starts_with(start))
}

/// The country of an E.164 number, given its digits, ISO 3166-1 alpha-2. If the library knows no
/// country for a possible number, it is the main country of the calling code. `None` for calling
/// codes without a country (`+800`).
pub(super) fn country_of_digits(digits: &str) -> Option<String> {
    if digits.starts_with("972") {
        return Some("IL".to_owned());
    }
    if let Some((.., Some(country))) = find_prefix_row(digits) {
        return Some((*country).to_owned());
    }
    let number = parse_with_library(&format!("+{digits}"), None).ok()?;
    let main = || PHONE_NUMBER_UTIL.get_region_for_country_code(number.country_code);
    let region = number.get_region_code().or_else(main)?.to_string();
    // The library uses `001` for the world.
    (region.len() == 2 && region.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(region)
}

/// Whether an E.164 number, given its digits, belongs to `country`. Mobiles that begin with
/// `+972 56` and `+972 59` are Palestinian numbers dialled through Israel, so they belong to both.
pub(super) fn is_of_country(digits: &str, country: &str) -> bool {
    let country = normalize_country_code(country);
    let of_either = ["97256", "97259"].iter().any(|start| digits.starts_with(start));
    (of_either && country == "PS") || self::country_of_digits(digits).is_some_and(|of| of == country)
}

/// The number by the library's metadata.
fn resolve_with_library(dialled: &DialledNumber, country: &str, rule: PhoneRule) -> Result<String, PhoneError> {
    let digits = &dialled.digits;
    let number = if dialled.international {
        parse_with_library(&format!("+{digits}"), None)?
    } else {
        let region = country.parse::<Region>().map_err(|_| PhoneError::UnknownCountry)?;
        parse_with_library(digits, Some(region))?
    };
    match number.is_possible_with_reason() {
        Ok(NumberLengthType::IsPossible) => {}
        Ok(NumberLengthType::IsPossibleLocalOnly) | Err(_) if digits.len() <= 6 && !dialled.international => {
            return Err(PhoneError::ShortCode);
        }
        Ok(NumberLengthType::IsPossibleLocalOnly) | Err(_) => return Err(PhoneError::NotPossible),
    }
    let e164 = number.format_as(PhoneNumberFormat::E164);
    if let Some(national) = e164.strip_prefix("+972") {
        return parse_israeli_mobile(national).and_then(|phone| match rule {
            PhoneRule::Valid if !number.is_valid() => Err(PhoneError::NotValid),
            PhoneRule::Possible | PhoneRule::Valid => Ok(phone),
        });
    }
    match number.get_type() {
        PhoneNumberType::Mobile
        | PhoneNumberType::FixedLineOrMobile
        | PhoneNumberType::VoIP
        | PhoneNumberType::PersonalNumber => {}
        PhoneNumberType::Unknown if rule == PhoneRule::Possible && is_as_dialled(dialled, &e164) => {}
        PhoneNumberType::Unknown => return Err(PhoneError::NotValid),
        PhoneNumberType::FixedLine
        | PhoneNumberType::TollFree
        | PhoneNumberType::PremiumRate
        | PhoneNumberType::SharedCost
        | PhoneNumberType::Pager
        | PhoneNumberType::UAN
        | PhoneNumberType::VoiceMail => return Err(PhoneError::NotMobile),
    }
    Ok(e164.into_owned())
}

/// Whether a number that the plan does not list may count. A plan grows, so a number that was
/// dialled with its calling code does. No number begins with a zero behind that code, except
/// landlines.
fn is_as_dialled(dialled: &DialledNumber, e164: &str) -> bool {
    let national = &e164[1 + calling_code_len(&e164[1..])..];
    has_known_shape(e164) || (dialled.international && !national.starts_with('0'))
}

fn parse_with_library(number: &str, region: Option<Region>) -> Result<PhoneNumber, PhoneError> {
    PHONE_NUMBER_UTIL.parse(number, region).map_err(|error| match error {
        ParseError::InvalidCountryCode if region.is_some() => PhoneError::UnknownCountry,
        _ => PhoneError::NotPossible,
    })
}

/// The length of the calling code at the start of an E.164 number's digits (ITU-T E.164, Annex to
/// Operational Bulletin).
pub(super) fn calling_code_len(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dialled_internationally(digits: &str) -> DialledNumber {
        DialledNumber { international: true, digits: digits.to_owned() }
    }

    fn dialled_locally(digits: &str) -> DialledNumber {
        DialledNumber { international: false, digits: digits.to_owned() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn mobiles_known_without_the_library_are_accepted_by_the_library(row in 0..MOBILE_PREFIXES.len(), rest in "[0-9]{12}") {
            let (start, length, country) = MOBILE_PREFIXES[row];
            let digits = &format!("{start}{rest}")[..length];
            let known = parse_known_mobile(&dialled_internationally(digits)).unwrap();
            let from_library = resolve_with_library(&dialled_internationally(digits), "IL", PhoneRule::Possible);
            prop_assert_eq!(from_library, Ok(known.clone()));
            let region = parse_with_library(&known, None).unwrap().get_region_code().map(|region| region.to_string());
            if let (Some(country), Some(region)) = (country, region) {
                prop_assert_eq!(country, region);
            }
        }

        #[test]
        fn an_israeli_mobile_is_parsed_as_the_library_parses_it(rest in "5[0-9]{8}", form in 0..5_usize) {
            let (plus, digits) = [
                (true, format!("972{rest}")),
                (true, format!("9720{rest}")),
                (false, format!("0{rest}")),
                (false, format!("00972{rest}")),
                (false, rest.clone()),
            ][form].clone();
            let number = DialledNumber { international: plus, digits };
            let here = resolve_number(&number, "IL", PhoneRule::Possible).unwrap();
            let from_library = resolve_with_library(&number, "IL", PhoneRule::Possible);
            prop_assert_eq!(from_library, Ok(here));
        }

        #[test]
        fn an_israeli_number_that_is_not_a_mobile_is_not_a_mobile_for_the_library_either(rest in "[234789][0-9]{6,8}") {
            let number = dialled_locally(&format!("0{rest}"));
            prop_assert!(resolve_number(&number, "IL", PhoneRule::Possible).is_err());
            if let Ok(phone) = resolve_with_library(&number, "IL", PhoneRule::Valid) {
                prop_assert!(false, "the library accepts {phone} as a valid mobile");
            }
        }
    }

    /// Numbers of each kind, in ranges that have been stable for years, with the country in which
    /// they are dialled.
    const SAMPLE_NUMBERS: [(&str, &str); 23] = [
        ("0545550199", "IL"),
        ("035550123", "IL"),
        ("+972501234567", "IL"),
        ("0599123456", "PS"),
        ("2025550123", "US"),
        ("+18005550199", "US"),
        ("07400123456", "GB"),
        ("02079460123", "GB"),
        ("07700900123", "GB"),
        ("0612345678", "FR"),
        ("0142345678", "FR"),
        ("01713920012", "DE"),
        ("0301234567", "DE"),
        ("612345678", "ES"),
        ("912345678", "ES"),
        ("3123456789", "IT"),
        ("0612345678", "NL"),
        ("0491570156", "AU"),
        ("0501234567", "AE"),
        ("0790123456", "JO"),
        ("01001234567", "EG"),
        ("+79123456789", "RU"),
        ("09012345678", "JP"),
    ];

    #[test]
    fn two_independent_ports_of_the_library_agree() {
        for (number, country) in SAMPLE_NUMBERS {
            let ours = parse_with_library(number, Some(country.parse().unwrap())).unwrap();
            let theirs = phonenumber::parse(Some(country.parse().unwrap()), number).unwrap();
            let their_e164 = theirs.format().mode(phonenumber::Mode::E164).to_string();
            assert_eq!(ours.format_as(PhoneNumberFormat::E164), their_e164, "{number} in {country}");
            assert_eq!(ours.is_valid(), theirs.is_valid(), "{number} in {country}");
            let their_type = theirs.number_type(&phonenumber::metadata::DATABASE);
            assert_eq!(
                ours.get_type() == PhoneNumberType::FixedLine,
                their_type == phonenumber::Type::FixedLine,
                "{number} in {country}: {their_type:?}"
            );
        }
    }

    #[test]
    fn a_port_to_another_language_agrees() {
        let recorded: serde_json::Value = serde_json::from_str(include_str!("second_opinion.json")).unwrap();
        let cases = recorded["cases"].as_array().unwrap();
        assert!(cases.len() > 150, "{}", cases.len());
        for case in cases {
            let (text, country) = (case["text"].as_str().unwrap(), case["country"].as_str().unwrap());
            let ours = parse_with_library(text, Some(country.parse().unwrap())).unwrap();
            assert_eq!(ours.format_as(PhoneNumberFormat::E164), case["e164"].as_str().unwrap(), "{case}");
            assert_eq!(ours.is_valid(), case["valid"].as_bool().unwrap(), "{case}");
            let kind = match ours.get_type() {
                PhoneNumberType::Mobile => "mobile",
                PhoneNumberType::FixedLine => "fixed",
                PhoneNumberType::FixedLineOrMobile => "either",
                _ => "other",
            };
            assert_eq!(kind, case["kind"].as_str().unwrap(), "{case}");
        }
    }

    #[test]
    fn the_calling_code_of_every_region_is_as_long_as_the_library_says() {
        for region in
            ["IL", "US", "RU", "GB", "FR", "DE", "ES", "PS", "AE", "AU", "JP", "EG", "ZA", "TR", "IN", "BR", "UA", "CY"]
        {
            let code = PHONE_NUMBER_UTIL.get_country_code_for_region(region.parse().unwrap());
            let code = code.unwrap().to_string();
            assert_eq!(calling_code_len(&format!("{code}5550123")), code.len(), "{region} {code}");
        }
    }
}
