//! Addresses of chats in `WhatsApp`: a customer by number, a customer by private id, a group.
//!
//! An address has the form `user@server`, with the number of a device behind the user at times:
//! `972545550199@s.whatsapp.net`, `235085806700321:12@lid`, `1203630@g.us`. `WhatsApp` names more
//! and more people by a private id ("lid") in place of their number. Its digits look like those of
//! a number, and no rule leads from one to the other.

use std::fmt;

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL};

use super::Phone;

/// Servers of people who are named by their number. Source: the address types of
/// `whatsapp-web.js` (`c.us`) and Baileys.
const NUMBER_SERVERS: [&str; 3] = ["s.whatsapp.net", "c.us", "hosted"];
/// Servers of people who are named by a private id.
const LID_SERVERS: [&str; 2] = ["lid", "hosted.lid"];
/// Servers of groups, channels and lists.
const GROUP_SERVERS: [&str; 3] = ["g.us", "newsletter", "broadcast"];
/// Users of a number's server from this length on are checked with the numbering plan: hardly a
/// country has numbers that long, and most private ids are.
const LONG_NUMBER_DIGITS: usize = 14;

/// What an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatAddress {
    /// A person, by number.
    Number(Phone),
    /// A person, by private id.
    Lid(Lid),
    /// A group, a channel or a list.
    Group,
}

impl ChatAddress {
    /// Parses an address; `None` for other texts.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, server) = text.trim().rsplit_once('@')?;
        let is_among = |servers: &[&str]| servers.iter().any(|known| known.eq_ignore_ascii_case(server));
        if is_among(&GROUP_SERVERS) {
            return Some(Self::Group);
        }
        let digits = user.split([':', '_', '.']).next()?;
        if is_among(&LID_SERVERS) {
            return Lid::from_digits(digits).map(Self::Lid);
        }
        if is_among(&NUMBER_SERVERS) { parse_number_user(digits).map(Self::Number) } else { None }
    }
}

/// The number with these digits, country code first, with or without a plus. `None` if no number of
/// its country is that long: then it is an id.
pub fn parse_international(text: &str) -> Option<Phone> {
    let number = to_e164(text);
    Phone::from_e164(&number).ok().filter(|_| has_possible_length(&number))
}

/// The number in an address whose server says that it is one.
fn parse_number_user(digits: &str) -> Option<Phone> {
    let number = to_e164(digits);
    let is_checked = number.len() > LONG_NUMBER_DIGITS;
    Phone::from_e164(&number).ok().filter(|_| !is_checked || has_possible_length(&number))
}

fn to_e164(text: &str) -> String {
    format!("+{}", text.strip_prefix('+').unwrap_or(text))
}

/// Whether the numbering plan of its country has numbers of this length. A mobile number of Mexico
/// may have its old `1`, and `WhatsApp` still writes it.
fn has_possible_length(number: &str) -> bool {
    let is_possible = |number: &str| {
        PHONE_NUMBER_UTIL
            .parse(number, None)
            .is_ok_and(|number| matches!(number.is_possible_with_reason(), Ok(NumberLengthType::IsPossible)))
    };
    is_possible(number) || number.strip_prefix("+521").is_some_and(|rest| is_possible(&format!("+52{rest}")))
}

/// The private id of a person in `WhatsApp`, which stands in place of the number. `Debug` and
/// `Display` show only its last digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lid(Box<str>);

impl Lid {
    /// The id in an address such as `235085806700321@lid`.
    pub fn parse(text: &str) -> Option<Self> {
        match ChatAddress::parse(text)? {
            ChatAddress::Lid(lid) => Some(lid),
            ChatAddress::Number(_) | ChatAddress::Group => None,
        }
    }

    /// The id with these digits.
    pub fn from_digits(digits: &str) -> Option<Self> {
        let plausible = (5..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        plausible.then(|| Self(digits.into()))
    }

    /// Its digits. Do not log them.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Its address: `235085806700321@lid`. Do not log it.
    pub fn address(&self) -> String {
        format!("{}@lid", self.0)
    }
}

impl fmt::Display for Lid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lid …{}", &self.0[self.0.len() - 3..])
    }
}

impl fmt::Debug for Lid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_names_a_number_a_private_id_or_a_group() {
        let number = |number: &str| Some(ChatAddress::Number(Phone::from_e164(number).unwrap()));
        let lid = |digits: &str| Some(ChatAddress::Lid(Lid::from_digits(digits).unwrap()));
        for (text, expected) in [
            ("972545550199@s.whatsapp.net", number("+972545550199")),
            ("972545550199@c.us", number("+972545550199")),
            ("972545550199:12@s.whatsapp.net", number("+972545550199")),
            ("972545550199_1:12@hosted", number("+972545550199")),
            (" +972545550199@c.us ", number("+972545550199")),
            ("235085806700321@lid", lid("235085806700321")),
            ("235085806700321:3@lid", lid("235085806700321")),
            ("46391351543@hosted.lid", lid("46391351543")),
            ("120363025246125486@g.us", Some(ChatAddress::Group)),
            ("status@broadcast", Some(ChatAddress::Group)),
            ("120363@newsletter", Some(ChatAddress::Group)),
            ("972545550199", None),
            ("noa@example.com", None),
            ("@lid", None),
            ("noa@lid", None),
            ("0545550199@c.us", None),
            ("", None),
        ] {
            assert_eq!(ChatAddress::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn digits_that_are_too_long_for_their_country_are_not_a_number() {
        for digits in ["235085806700321", "+235085806700321", "139784321589443", "98765432109876", "+146391351543"] {
            assert_eq!(parse_international(digits), None, "{digits}");
        }
        for digits in
            ["972545550199", "+12025550123", "5215512345678", "4917139200123", "5491123456789", "551187654321"]
        {
            assert!(parse_international(digits).is_some(), "{digits}");
        }
        let of_server = ChatAddress::parse("146391351543@s.whatsapp.net");
        assert!(matches!(of_server, Some(ChatAddress::Number(_))), "the server says that it is a number");
    }

    #[test]
    fn a_private_id_shows_only_its_end() {
        let lid = Lid::parse("235085806700321@lid").unwrap();
        assert_eq!(format!("{lid} {lid:?}"), "lid …321 lid …321");
        assert_eq!((lid.digits(), lid.address().as_str()), ("235085806700321", "235085806700321@lid"));
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "\\PC{0,30}", user in "[0-9+:_.א]{0,20}", server in "(lid|c.us|g.us|x)") {
            drop(ChatAddress::parse(&text));
            drop(parse_international(&text));
            if let Some(ChatAddress::Lid(lid)) = ChatAddress::parse(&format!("{user}@{server}")) {
                prop_assert_eq!(Lid::parse(&lid.address()), Some(lid));
            }
        }
    }
}
