//! The one form of a number that has two.
//!
//! In three countries `WhatsApp` reports a mobile in another form than its owner writes it:
//!
//! | country | one form | other form | why |
//! | --- | --- | --- | --- |
//! | Brazil | `+55 11 98765 4321` | `+55 11 8765 4321` | mobiles got a ninth digit |
//! | Mexico | `+52 55 1234 5678` | `+52 1 55 1234 5678` | the `1` of mobiles ended in 2019 |
//! | Argentina | `+54 9 11 2345 6789` | `+54 11 2345 6789` | only calls from abroad have the `9` |
//!
//! Accounts keep the form in which they were opened. Both forms are one contact. So every key of a
//! contact, and every comparison of two numbers, uses `Phone::canonical`: the first form of the
//! table. The number that is messaged stays as it was given, because only one of the forms may
//! reach the account.

/// The digits of an area code and a number in Brazil, with the ninth digit.
const BRAZIL_DIGITS: usize = 11;
/// The digits of a number in Mexico or Argentina, without the digit that marks mobiles.
const NATIONAL_DIGITS: usize = 10;

/// The canonical form of an E.164 number that is not canonical.
pub(super) fn canonical_form(number: &str) -> Option<String> {
    match find_other_form(number)? {
        OtherForm::Canonical(form) => Some(form),
        OtherForm::Reported(_) => None,
    }
}

/// The other form of an E.164 number, if it has one.
pub(super) fn other_form(number: &str) -> Option<String> {
    let (OtherForm::Canonical(form) | OtherForm::Reported(form)) = find_other_form(number)?;
    Some(form)
}

/// The other form of a number.
enum OtherForm {
    /// The canonical form. The number itself is not.
    Canonical(String),
    /// The form that `WhatsApp` may report. The number itself is canonical.
    Reported(String),
}

fn find_other_form(number: &str) -> Option<OtherForm> {
    if let Some(national) = number.strip_prefix("+55") {
        let (area, local) = national.split_at_checked(2)?;
        // A landline begins with 2 to 5 and has no other form.
        let is_mobile = |local: &str| local.starts_with(['6', '7', '8', '9']);
        return match (local.strip_prefix('9'), national.len()) {
            (Some(short), BRAZIL_DIGITS) if is_mobile(short) => Some(OtherForm::Reported(format!("+55{area}{short}"))),
            (_, len) if len + 1 == BRAZIL_DIGITS && is_mobile(local) => {
                Some(OtherForm::Canonical(format!("+55{area}9{local}")))
            }
            _ => None,
        };
    }
    if let Some(national) = number.strip_prefix("+52") {
        // No area code of Mexico begins with 0 or 1.
        let is_national = |digits: &str| digits.len() == NATIONAL_DIGITS && !digits.starts_with(['0', '1']);
        return match national.strip_prefix('1') {
            Some(rest) if is_national(rest) => Some(OtherForm::Canonical(format!("+52{rest}"))),
            None if is_national(national) => Some(OtherForm::Reported(format!("+521{national}"))),
            _ => None,
        };
    }
    let national = number.strip_prefix("+54")?;
    // Area codes of Argentina begin with 1, 2 or 3.
    let is_national = |digits: &str| digits.len() == NATIONAL_DIGITS && digits.starts_with(['1', '2', '3']);
    match national.strip_prefix('9') {
        Some(rest) if is_national(rest) => Some(OtherForm::Reported(format!("+54{rest}"))),
        None if is_national(national) => Some(OtherForm::Canonical(format!("+549{national}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::contact::{Phone, PhoneRule};

    fn phone(number: &str) -> Phone {
        Phone::from_e164(number).unwrap()
    }

    #[test]
    fn the_two_forms_of_a_number_have_one_canonical_form() {
        for (canonical, reported) in [
            ("+5511987654321", "+551187654321"),
            ("+5551980201045", "+555180201045"),
            ("+5521996883193", "+552196883193"),
            ("+525512345678", "+5215512345678"),
            ("+5491123456789", "+541123456789"),
            ("+5493515551234", "+543515551234"),
        ] {
            assert_eq!(phone(canonical).canonical(), canonical);
            assert_eq!(phone(reported).canonical(), canonical);
            assert!(phone(canonical).is_same_contact(&phone(reported)));
            assert_eq!(phone(canonical).other_form(), Some(phone(reported)));
            assert_eq!(phone(reported).other_form(), Some(phone(canonical)));
        }
    }

    #[test]
    fn numbers_without_another_form_stay_as_they_are() {
        for number in [
            // Landlines of Brazil, and mobiles that never had eight digits.
            "+551133334444",
            "+552125550123",
            "+5511912345678",
            // Other countries, other lengths.
            "+972545550199",
            "+12025550123",
            "+15215512345",
            "+5255123456",
            "+521551234567",
            "+54911234567",
            "+548001234567",
        ] {
            assert_eq!((phone(number).canonical().as_ref(), phone(number).other_form()), (number, None));
        }
    }

    #[test]
    fn a_number_that_is_typed_in_either_form_is_one_contact_and_keeps_its_form() {
        for (one, other, country) in [
            ("(11) 98765-4321", "+551187654321", "BR"),
            ("55 1234 5678", "+5215512345678", "MX"),
            ("+54 9 11 2345 6789", "+541123456789", "AR"),
        ] {
            let typed = Phone::parse(one, country, PhoneRule::Possible).unwrap();
            assert!(typed.is_same_contact(&phone(other)), "{country}: {typed}");
            // The other form may be typed, too, and stays as it is.
            for spelling in [other.to_owned(), other.replacen('+', "00", 1), other[1..].to_owned()] {
                let parsed = Phone::parse(&spelling, country, PhoneRule::Possible);
                assert_eq!(parsed, Ok(phone(other)), "{spelling}");
            }
        }
        assert_eq!(phone("+551187654321").expose(), "+551187654321");
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_its_own_and_differs_by_one_digit_at_most(number in "\\+(55|52|54|972|1)[0-9]{6,11}") {
            prop_assume!(Phone::from_e164(&number).is_ok());
            let number = phone(&number);
            let canonical = phone(&number.canonical());
            prop_assert_eq!(canonical.canonical(), canonical.expose());
            prop_assert!(number.is_same_contact(&canonical));
            prop_assert!(canonical.expose().len().abs_diff(number.expose().len()) <= 1);
            prop_assert_eq!(canonical == number, canonical.expose() == number.expose());
        }

        #[test]
        fn the_other_form_of_the_other_form_is_the_number_itself(number in "\\+(55[1-9][1-9]9?[2-9][0-9]{7}|521?[2-9][0-9]{9}|549?[1-3][0-9]{9})") {
            let number = phone(&number);
            if let Some(other) = number.other_form() {
                prop_assert!(other != number && other.is_same_contact(&number));
                prop_assert_eq!(other.other_form(), Some(number));
            }
        }

        #[test]
        fn two_numbers_are_one_contact_only_if_they_are_forms_of_each_other(
            one in "\\+5[245]9?1?[0-9]{9,11}", other in "\\+5[245]9?1?[0-9]{9,11}",
        ) {
            prop_assume!(Phone::from_e164(&one).is_ok() && Phone::from_e164(&other).is_ok());
            let (one, other) = (phone(&one), phone(&other));
            let is_form = one == other || one.other_form().as_ref() == Some(&other);
            prop_assert_eq!(one.is_same_contact(&other), is_form);
        }
    }
}
