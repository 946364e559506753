//! Phone numbers of customers: which texts are a number, and which number they mean.
//!
//! Main types: [`Phone`] is a number that may be messaged, and only [`Phone::expose`] shows it;
//! [`PhoneError`] says why a text is not such a number. [`ChatAddress`] is an address in
//! `WhatsApp`, and [`Lid`] the private id that stands in place of a number.
//!
//! Flow: `dialled_number` turns a text into the digits of exactly one number. `numbering_plan`
//! reads these digits by the numbering plan of a country. `canonical_number` has the one form of
//! numbers that have two: keys and comparisons use [`Phone::canonical`].
//!
//! Promises: nothing is guessed. Two numbers in one field, an extension and letters are errors. A
//! number without a country prefix is read by the plan of its own country. If that plan does not
//! list it, and it begins with the trunk zero or the calling code of the sender's country, it is a
//! number of that country. A number that neither plan lists, and that has no shape that this module
//! knows, is an error.
//!
//! Does **not** promise that the number exists, that its owner uses `WhatsApp`, or that it is the
//! customer's.
//!
//! **Israel:** this module decides, not the library. A number is a mobile if it is `05x` and seven
//! digits. The library's metadata calls the example number of the provider's guides
//! (`+972501234567`) invalid, because that range is not assigned. Landlines and `VoIP` ranges of
//! Israel rarely have `WhatsApp` and are refused.
//!
//! **Why `rlibphonenumber`:** two Rust ports of Google's libphonenumber were compared. Both are
//! Apache-2.0, and both were released within months of its newest metadata. Both agree on every
//! number in the tests below. They differ in the cost of the first number after a cold start
//! (release build, instructions executed):
//!
//! | | first number | each further | binary, unstripped |
//! | --- | --- | --- | --- |
//! | `phonenumber` 0.3.10 | 566 M | 40 k | 11 MB |
//! | `rlibphonenumber` 2.2.15, `regex` | 59 M | 13 k | 9 MB |
//! | `rlibphonenumber` 2.2.15, `lite` | 14 M | 147 k | 3.8 MB |
//! | no library: Israeli mobiles and the shapes in `numbering_plan` | 8 k | 6 k | |
//!
//! On a small function 566 million instructions take most of a second, so the first number decides.
//! The other port has more users. It gives a second opinion in the tests.

mod canonical_number;
mod chat_address;
mod customer_fields;
mod dialled_number;
mod number_search;
mod numbering_plan;
mod phone_rule;

use std::{borrow::Cow, fmt};

pub use self::chat_address::{ChatAddress, Lid, parse_international};
pub use self::customer_fields::{PhoneCandidate, build_full_name, first_usable_phone, first_usable_phone_text};
pub use self::phone_rule::{PhoneError, PhoneRule};

/// The main country of a calling code, given its digits: `GB` for `44`. ISO 3166-1 alpha-2. `None`
/// for a code without a country.
pub fn country_of_calling_code(digits: &str) -> Option<String> {
    numbering_plan::country_of_calling_code(digits)
}

/// A phone number that may be messaged, in E.164 (`+972545550199`). [`fmt::Debug`] and
/// [`fmt::Display`] show only its country and its last digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone(Box<str>);

impl Phone {
    /// Parses a number as people write it. `country` (ISO 3166-1 alpha-2) is the country of a
    /// number without a country prefix.
    pub fn parse(raw: &str, country: &str, rule: PhoneRule) -> Result<Self, PhoneError> {
        let dialled = dialled_number::parse_dialled_number(raw)?;
        Self::from_e164(&numbering_plan::resolve_number(&dialled, country, rule)?)
    }

    /// As [`Self::parse`]. A number without a country prefix that the plan of `country` does not
    /// list is read by the plan of `home`, the sender's country, if it begins with the trunk zero
    /// or the calling code of `home`.
    pub fn parse_or_home(raw: &str, country: &str, home: &str, rule: PhoneRule) -> Result<Self, PhoneError> {
        let dialled = dialled_number::parse_dialled_number(raw)?;
        Self::from_e164(&numbering_plan::resolve_number_or_home(&dialled, country, home, rule)?)
    }

    /// Restores a stored number: `+` and 7 to 15 digits. [`Self::parse`] has checked the rest.
    pub fn from_e164(stored: &str) -> Result<Self, PhoneError> {
        let digits = stored.strip_prefix('+').ok_or(PhoneError::NotPossible)?;
        let plausible = (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if plausible { Ok(Self(stored.into())) } else { Err(PhoneError::NotPossible) }
    }

    /// The form that stands for all forms of this number, in E.164. For keys and comparisons, not
    /// for messages.
    pub fn canonical(&self) -> Cow<'_, str> {
        canonical_number::canonical_form(self.expose()).map_or(Cow::Borrowed(self.expose()), Cow::Owned)
    }

    /// Whether both numbers belong to one contact.
    pub fn is_same_contact(&self, other: &Self) -> bool {
        self == other || self.canonical() == other.canonical()
    }

    /// The number in its other form, if it has one.
    pub fn other_form(&self) -> Option<Self> {
        Self::from_e164(&canonical_number::other_form(self.expose())?).ok()
    }

    /// Its country, ISO 3166-1 alpha-2; `None` if its calling code belongs to no country. To check
    /// for a certain country, use [`Self::is_of_country`].
    pub fn country_code(&self) -> Option<String> {
        numbering_plan::country_of_digits(&self.0[1..])
    }

    /// Whether it belongs to `country` (ISO 3166-1 alpha-2, or `UK` and `EL`). A number may belong
    /// to two countries: `+972 56` and `+972 59` belong to Israel and to Palestine.
    pub fn is_of_country(&self, country: &str) -> bool {
        numbering_plan::is_of_country(&self.0[1..], country)
    }

    /// Its digits without the country's calling code: `545550199`. Do not log them.
    pub fn national_digits(&self) -> &str {
        let digits = &self.0[1..];
        &digits[numbering_plan::calling_code_len(digits)..]
    }

    /// The number in E.164, for the line and for storage. Do not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = &self.0[1..];
        let country = &digits[..numbering_plan::calling_code_len(digits)];
        // Four digits would be half of a short number.
        let last = if digits.len() >= 11 { 4 } else { 2 };
        write!(f, "+{country}…{}", &digits[digits.len() - last..])
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_to_e164(raw: &str, country: &str) -> Result<String, PhoneError> {
        Phone::parse(raw, country, PhoneRule::Possible).map(|phone| phone.expose().to_owned())
    }

    #[test]
    fn every_way_to_write_an_israeli_mobile_gives_the_same_number() {
        for raw in [
            "+972545550199",
            "972545550199",
            "00972545550199",
            "+9720545550199",
            "+972 (0)54-555-0199",
            "tel:+972-54-555-0199",
            "whatsapp:+972545550199",
            "054-5550199",
            "054 555 01 99",
            "054.555.0199",
            "054/5550199",
            "545550199",
            " 972545550199",
            "\u{202a}+972 54\u{2011}555\u{2011}0199\u{202c}",
            "\u{200f}054\u{5be}555\u{5be}0199",
            "٠٥٤-٥٥٥-٠١٩٩",
            "０５４－５５５－０１９９",
            "054\u{a0}555\u{2009}0199",
        ] {
            assert_eq!(parse_to_e164(raw, "IL").as_deref(), Ok("+972545550199"), "{raw:?}");
        }
    }

    #[test]
    fn the_national_digits_follow_the_calling_code() {
        for (number, national) in
            [("+972545550199", "545550199"), ("+12025550123", "2025550123"), ("+447400123456", "7400123456")]
        {
            assert_eq!(Phone::from_e164(number).unwrap().national_digits(), national);
        }
    }

    #[test]
    fn the_guides_own_number_is_accepted_unless_the_client_is_strict() {
        assert_eq!(parse_to_e164("+972501234567", "IL").as_deref(), Ok("+972501234567"));
        assert_eq!(parse_to_e164("972501234567", "IL").as_deref(), Ok("+972501234567"));
        assert_eq!(Phone::parse("+972501234567", "IL", PhoneRule::Valid), Err(PhoneError::NotValid));
        assert!(Phone::parse("+972545550199", "IL", PhoneRule::Valid).is_ok());
    }

    #[test]
    fn text_that_is_not_one_mobile_number_is_refused_with_its_reason() {
        for (raw, country, why) in [
            ("", "IL", PhoneError::Empty),
            (" - ", "IL", PhoneError::Empty),
            ("555-555-SHIP", "US", PhoneError::Letters),
            ("call me 0545550199", "IL", PhoneError::Letters),
            ("054-5550199 / 052-5550101", "IL", PhoneError::TwoNumbers),
            ("054-5550199, 052-5550101", "IL", PhoneError::TwoNumbers),
            ("054-5550199 052-5550101", "IL", PhoneError::TwoNumbers),
            ("+972545550199 +972525550101", "IL", PhoneError::TwoNumbers),
            ("054-5550101/02", "IL", PhoneError::TwoNumbers),
            ("03-5550123 ext. 12", "IL", PhoneError::Extension),
            ("03-5550123 x12", "IL", PhoneError::Extension),
            ("03-5550123 שלוחה 5", "IL", PhoneError::Extension),
            ("+97235550123;ext=5", "IL", PhoneError::Extension),
            ("035550123,,5", "IL", PhoneError::Extension),
            ("035550123#5", "IL", PhoneError::Extension),
            ("*2700", "IL", PhoneError::ShortCode),
            ("100", "IL", PhoneError::ShortCode),
            ("03-5550123", "IL", PhoneError::NotMobile),
            ("077-5550123", "IL", PhoneError::NotMobile),
            ("1-700-555-012", "IL", PhoneError::NotMobile),
            ("2025550123", "IL", PhoneError::NotMobile),
            ("05455501990", "IL", PhoneError::NotMobile),
            ("+442079460123", "IL", PhoneError::NotMobile),
            ("+18005550199", "US", PhoneError::NotMobile),
            ("555-0199", "US", PhoneError::NotPossible),
            ("+1", "US", PhoneError::NotPossible),
            ("0+972545550199", "IL", PhoneError::NotPossible),
            ("054-555-0199 😀", "IL", PhoneError::NotPossible),
            ("+999123456789", "IL", PhoneError::NotPossible),
            ("2025550123", "XX", PhoneError::UnknownCountry),
            ("2025550123", "", PhoneError::UnknownCountry),
        ] {
            assert_eq!(parse_to_e164(raw, country), Err(why), "{raw:?} in {country:?}");
        }
    }

    #[test]
    fn the_country_beside_a_number_decides_what_it_means() {
        assert_eq!(parse_to_e164("0599123456", "IL").as_deref(), Ok("+972599123456"));
        assert_eq!(parse_to_e164("0599123456", "PS").as_deref(), Ok("+970599123456"));
        assert_eq!(parse_to_e164("2025550123", "US").as_deref(), Ok("+12025550123"));
        assert_eq!(parse_to_e164("+1 (202) 555-0123", "IL").as_deref(), Ok("+12025550123"));
        assert_eq!(parse_to_e164("+61 491 570 156", "IL").as_deref(), Ok("+61491570156"));
        assert_eq!(parse_to_e164("0491 570 156", "AU").as_deref(), Ok("+61491570156"));
        assert_eq!(parse_to_e164("4917612345678", "DE").as_deref(), Ok("+4917612345678"), "a code without its plus");
        assert_eq!(parse_to_e164("07700 900123", "UK").as_deref(), Ok("+447700900123"));
        assert_eq!(parse_to_e164("011972545550199", "US").as_deref(), Ok("+972545550199"));
        assert_eq!(parse_to_e164("+12025550123", "nowhere").as_deref(), Ok("+12025550123"));
    }

    #[test]
    fn a_number_that_only_the_senders_country_lists_is_a_number_of_it() {
        let parse = |raw: &str, country: &str, home: &str| {
            Phone::parse_or_home(raw, country, home, PhoneRule::Possible).map(|phone| phone.expose().to_owned())
        };
        for raw in ["0545550199", "054-555-0199", "972545550199", "00972545550199", "+972545550199"] {
            for country in ["US", "CA", "PS", "XX", "IL"] {
                assert_eq!(parse(raw, country, "IL").as_deref(), Ok("+972545550199"), "{raw} in {country}");
            }
        }
        // The plan of the address comes first.
        assert_eq!(parse("2025550123", "US", "IL").as_deref(), Ok("+12025550123"));
        assert_eq!(parse("07400123456", "GB", "DE").as_deref(), Ok("+447400123456"));
        for (raw, country, home, phone) in [
            ("12025550123", "IL", "US", "+12025550123"),
            ("34612345678", "US", "ES", "+34612345678"),
            ("393331234567", "US", "IT", "+393331234567"),
            ("0412 345 678", "US", "AU", "+61412345678"),
            ("06 20 123 4567", "US", "HU", "+36201234567"),
        ] {
            assert_eq!(parse(raw, country, home).as_deref(), Ok(phone), "{raw} in {country}, {home}");
        }
        for (raw, country, home, why) in [
            // Landlines of Germany and France.
            ("0545550199", "DE", "IL", PhoneError::NotMobile),
            ("0545550199", "FR", "IL", PhoneError::NotMobile),
            // A digit is missing. The rest looks like an Israeli number without its zero.
            ("545550199", "US", "IL", PhoneError::NotPossible),
            ("0545550199", "US", "US", PhoneError::NotValid),
            ("0545550199", "US", "", PhoneError::NotValid),
            ("+10545550199", "US", "IL", PhoneError::NotValid),
            ("+1 (054) 555-0199", "IL", "IL", PhoneError::NotValid),
            ("1545550199", "US", "IL", PhoneError::NotValid),
        ] {
            assert_eq!(parse(raw, country, home), Err(why), "{raw} in {country}, {home}");
        }
    }

    #[test]
    fn a_mistyped_number_of_one_country_is_never_a_number_of_another() {
        for (raw, country, home) in [
            ("612345678", "US", "ES"),
            ("333 123 4567", "US", "IT"),
            // The code of Italy begins a mobile number of Italy, too.
            ("391 234 5678", "US", "IT"),
            ("912345678", "US", "PT"),
            ("91234567", "US", "SG"),
            // Ten digits, as a number of America.
            ("6591234567", "US", "SG"),
            ("61234567", "AU", "HK"),
            ("91234567", "US", "NO"),
            ("6641234567", "US", "MX"),
            ("2025550123", "IL", "US"),
            ("545550199", "XX", "IL"),
        ] {
            let parsed = Phone::parse_or_home(raw, country, home, PhoneRule::Possible);
            assert!(parsed.is_err(), "{raw} in {country}, {home}: {}", parsed.unwrap().expose());
            // At home, the most of them are whole.
            assert!(Phone::parse_or_home(raw, home, home, PhoneRule::Possible).is_ok() || home == "IL", "{raw} {home}");
        }
    }

    #[test]
    fn a_calling_code_has_a_main_country() {
        for (code, country) in
            [("972", Some("IL")), ("1", Some("US")), ("44", Some("GB")), ("7", Some("RU")), ("39", Some("IT"))]
        {
            assert_eq!(country_of_calling_code(code).as_deref(), country, "{code}");
        }
        for code in ["800", "999", "0", "", "x", "97254"] {
            assert_eq!(country_of_calling_code(code), None, "{code}");
        }
    }

    #[test]
    fn two_zeros_begin_a_number_abroad_wherever_they_are_dialled() {
        for (raw, phone) in [
            ("00972545550199", "+972545550199"),
            ("009720545550199", "+972545550199"),
            ("00447400123456", "+447400123456"),
            ("0044 (0)7400 123456", "+447400123456"),
            ("0012025550123", "+12025550123"),
            ("004917139200123", "+4917139200123"),
        ] {
            for country in ["IL", "US", "GB", "DE", "AU", "BR", "JP", "XX"] {
                assert_eq!(parse_to_e164(raw, country).as_deref(), Ok(phone), "{raw} in {country}");
            }
        }
        for raw in ["00", "000000000", "0010545550199", "0000972545550199", "0099912345678"] {
            for country in ["IL", "US", "DE"] {
                assert!(parse_to_e164(raw, country).is_err(), "{raw} in {country}");
            }
        }
    }

    #[test]
    fn numbers_of_fiction_are_possible_and_some_of_them_not_valid() {
        for (number, valid) in [("+12025550123", true), ("+4917139200123", true), ("+447700900123", false)] {
            assert!(Phone::parse(number, "IL", PhoneRule::Possible).is_ok(), "{number}");
            let strict = Phone::parse(number, "IL", PhoneRule::Valid);
            assert_eq!(strict.is_ok(), valid, "{number}: {strict:?}");
        }
    }

    #[test]
    fn a_number_belongs_to_its_country_or_to_the_main_country_of_its_calling_code() {
        let country = |number: &str| Phone::from_e164(number).unwrap().country_code();
        for (number, of) in [
            ("+972545550199", "IL"),
            ("+972501234567", "IL"),
            ("+972599123456", "IL"),
            ("+970599123456", "PS"),
            ("+12025550123", "US"),
            ("+14165550123", "CA"),
            ("+18765550123", "JM"),
            // Not assigned.
            ("+447700900123", "GB"),
            ("+33639981234", "FR"),
            ("+447400123456", "GB"),
            ("+447781123456", "GG"),
            ("+4917139200123", "DE"),
            ("+61491570156", "AU"),
            ("+971501234567", "AE"),
            ("+79123456789", "RU"),
            ("+77012345678", "KZ"),
            ("+306912345678", "GR"),
        ] {
            assert_eq!(country(number).as_deref(), Some(of), "{number}");
        }
        assert_eq!(country("+80012345678"), None, "belongs to no country");
        assert_eq!(country("+999123456789"), None, "belongs to no plan");
    }

    #[test]
    fn a_palestinian_mobile_dialled_through_israel_belongs_to_both_countries() {
        let is_of = |number: &str, country: &str| Phone::from_e164(number).unwrap().is_of_country(country);
        for number in ["+972599123456", "+972569123456"] {
            assert!(is_of(number, "IL") && is_of(number, "PS") && is_of(number, " ps") && !is_of(number, "US"));
        }
        assert!(is_of("+970599123456", "PS") && !is_of("+970599123456", "IL"));
        assert!(is_of("+972545550199", "IL") && !is_of("+972545550199", "PS"));
        assert!(is_of("+447400123456", "UK") && is_of("+306912345678", "el") && is_of("+447400123456", "GB"));
        assert!(!is_of("+80012345678", "") && !is_of("+80012345678", "001"));
    }

    #[test]
    fn a_number_shows_only_its_country_and_its_end() {
        let shown = |number: &str| format!("{:?} {0}", Phone::from_e164(number).unwrap());
        assert_eq!(shown("+972545550199"), "+972…0199 +972…0199");
        assert_eq!(shown("+12025550123"), "+1…0123 +1…0123");
        assert_eq!(shown("+376312345"), "+376…45 +376…45");
    }

    #[test]
    fn only_e164_is_accepted_from_storage() {
        assert!(Phone::from_e164("+972545550199").is_ok());
        for wrong in ["972545550199", "+0545550199", "+97254555019a", "+123456", "+1234567890123456", "", "+"] {
            assert_eq!(Phone::from_e164(wrong), Err(PhoneError::NotPossible), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic_or_yields_anything_but_e164(raw in "\\PC{0,40}", country in "[A-Z]{0,3}") {
            if let Ok(phone) = Phone::parse(&raw, &country, PhoneRule::Possible) {
                prop_assert!(Phone::from_e164(phone.expose()).is_ok());
            }
        }

        #[test]
        fn characters_of_phone_numbers_never_cause_a_panic(
            raw in "[0-9٠-٩+()/.,;#* x\\-\u{200f}\n]{0,30}",
            country in "(IL|US|GB|DE|IT|AR|MX|BR|PS|NU|SM|XX)",
        ) {
            for rule in [PhoneRule::Possible, PhoneRule::Valid] {
                if let Ok(phone) = Phone::parse(&raw, &country, rule) {
                    prop_assert!(Phone::from_e164(phone.expose()).is_ok());
                    prop_assert_eq!(&Phone::parse(phone.expose(), "", rule).unwrap(), &phone, "the number stays the same");
                }
            }
        }

        #[test]
        fn a_number_without_a_country_prefix_is_never_invented(
            raw in "0{0,2}[0-9]{6,13}",
            country in "(IL|US|GB|DE|IT|AR|MX|BR|PS|NU|SM|FR|AU|JP|KR|RU|CA|AE|XX)",
            home in "(IL|US|GB|DE|FR|AU|MX)",
        ) {
            if let Ok(phone) = Phone::parse_or_home(&raw, &country, &home, PhoneRule::Possible) {
                prop_assert!(numbering_plan::is_listed_or_known(phone.expose()), "{} in {}, {}", raw, country, home);
            }
        }

        #[test]
        fn an_error_never_repeats_the_text(raw in "[A-Za-zא-ת]{4,12}") {
            let error = parse_to_e164(&raw, "IL").unwrap_err();
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains(&raw));
        }
    }
}
