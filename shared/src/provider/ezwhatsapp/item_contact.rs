//! Who the customer of an item is: a number, a private id, or both.
//!
//! `EZWhatsApp` documents `contactPhoneNumber`. A line that is linked to a phone may know a
//! customer by a private id only. Then this member is missing, or it holds the digits of the id
//! with a plus before them. So all addresses in the item are read, in the names that the libraries
//! behind such lines use (whapi, Baileys, `whatsapp-web.js`, whatsmeow).

use super::item_members::ItemMembers;
use crate::{
    contact::{ChatAddress, Lid, Phone, parse_international},
    json::RawJson,
    provider::LineContact,
};

/// The documented member, in both spellings.
const DOCUMENTED_NAME: &str = "contactphonenumber";
/// Members that name the chat. In a chat of two it is the customer, whichever side writes.
const CHAT_NAMES: [&str; 17] = [
    "contactphonenumber",
    "chatid",
    "chat",
    "chatjid",
    "chatlid",
    "remotejid",
    "remotejidalt",
    "remote",
    "contactid",
    "contactlid",
    "jid",
    "lid",
    "phone",
    "phonenumber",
    "contactphone",
    "pn",
    "waid",
];
/// Members that name the author.
const AUTHOR_NAMES: [&str; 16] = [
    "from",
    "fromlid",
    "frompn",
    "author",
    "sender",
    "senderpn",
    "senderalt",
    "senderlid",
    "senderjid",
    "senderphone",
    "senderphonenumber",
    "participant",
    "participantpn",
    "participantalt",
    "participantlid",
    "userlid",
];
/// Members that name the recipient.
const RECIPIENT_NAMES: [&str; 8] =
    ["to", "recipient", "recipientid", "recipientpn", "recipientalt", "recipientlid", "peerrecipientpn", "viewerid"];
/// Members whose name says that they hold a number. There digits are a number without an address.
const NUMBER_NAMES: [&str; 11] = [
    "phone",
    "phonenumber",
    "contactphone",
    "pn",
    "waid",
    "frompn",
    "senderpn",
    "senderphone",
    "senderphonenumber",
    "participantpn",
    "recipientpn",
];
/// The chat of the status messages that people publish. Source: whapi.
const STORIES: &str = "stories";
/// Where the members may be, besides the item itself.
const PLACES: [&str; 8] = ["/key", "/contact", "/_data/key", "/_data/id", "/_data/Info", "/data/key", "/Info", "/info"];
/// Where the author of a message may be.
const AUTHOR_PLACE: &str = "/sender";

/// The customer of an item, and whether its chat is a group. `is_ours`: the line wrote the message.
pub(super) fn parse_contact(item: RawJson<'_>, members: &ItemMembers<'_>, is_ours: bool) -> LineContact {
    let party: &[&str] = if is_ours { &RECIPIENT_NAMES } else { &AUTHOR_NAMES };
    let places = PLACES.iter().chain((!is_ours).then_some(&AUTHOR_PLACE));
    let elsewhere: Vec<ItemMembers<'_>> = places.filter_map(|place| ItemMembers::of(item.at_pointer(place))).collect();
    let mut found = FoundAddresses::default();
    for names in [&CHAT_NAMES[..], party] {
        for place in std::iter::once(members).chain(&elsewhere) {
            for name in names {
                found.read_member(name, place.get(name));
            }
        }
    }
    // `+235085806700321` beside `235085806700321@lid` is the id with a plus.
    let is_id = |phone: &Phone| found.lids.iter().any(|lid| phone.expose().strip_prefix('+') == Some(lid.digits()));
    let documented: Vec<Phone> = members
        .iter()
        .filter(|(name, _)| *name == DOCUMENTED_NAME)
        .filter_map(|(_, value)| parse_e164(value))
        .filter(|phone| !is_id(phone))
        .collect();
    let is_contradictory = documented.windows(2).any(|pair| !pair[0].is_same_contact(&pair[1]));
    let phone = documented.into_iter().chain(found.phones.iter().cloned()).find(|phone| !is_id(phone));
    LineContact { phone, lid: found.lids.into_iter().next(), is_group: found.is_group, is_contradictory }
}

/// A number in the documented form, with its plus.
fn parse_e164(value: RawJson<'_>) -> Option<Phone> {
    value.text().filter(|text| text.starts_with('+')).and_then(|text| parse_international(&text))
}

#[derive(Default)]
struct FoundAddresses {
    phones: Vec<Phone>,
    lids: Vec<Lid>,
    is_group: bool,
}

impl FoundAddresses {
    fn read_member(&mut self, name: &str, value: RawJson<'_>) {
        let Some(text) = value.text() else { return };
        match ChatAddress::parse(&text) {
            Some(ChatAddress::Number(phone)) => self.phones.push(phone),
            Some(ChatAddress::Lid(lid)) => self.lids.push(lid),
            Some(ChatAddress::Group) => self.is_group |= name != "participant",
            None if name == "chatid" && text.eq_ignore_ascii_case(STORIES) => self.is_group = true,
            None if NUMBER_NAMES.contains(&name) => self.phones.extend(parse_international(&text)),
            None if name.ends_with("lid") => self.lids.extend(Lid::from_digits(&text)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::ezwhatsapp::item_members::plain_name;

    const NUMBER: &str = "+972545550199";
    const LID: &str = "235085806700321";

    fn parse(item: &Value, is_ours: bool) -> LineContact {
        let body = item.to_string();
        let raw = crate::json::parse_document(body.as_bytes()).unwrap();
        parse_contact(raw, &ItemMembers::of(raw).unwrap(), is_ours)
    }

    /// Number and private id of an item that the customer wrote.
    fn customer(item: &Value) -> (Option<String>, Option<String>) {
        let LineContact { phone, lid, .. } = parse(item, false);
        (phone.map(|phone| phone.expose().to_owned()), lid.map(|lid| lid.digits().to_owned()))
    }

    #[test]
    fn a_private_id_is_not_a_number_in_any_place() {
        for item in [
            json!({"chat_id": "235085806700321@lid", "from": "235085806700321@lid", "contactPhoneNumber": "+235085806700321", "contact_phone_number": "+235085806700321"}),
            json!({"chat_id": "235085806700321@lid", "contactPhoneNumber": "+235085806700321"}),
            json!({"from": "235085806700321@lid"}),
            json!({"chat_id": "235085806700321:7@lid", "contactPhoneNumber": null}),
            json!({"contactPhoneNumber": "235085806700321@lid"}),
            json!({"key": {"remoteJid": "235085806700321@lid", "fromMe": false, "id": "m1"}}),
            json!({"key": {"remoteJid": "235085806700321@lid", "remoteJidAlt": "", "addressingMode": "lid"}}),
            json!({"_data": {"key": {"remoteJid": "235085806700321@lid"}}, "from": "235085806700321@lid"}),
            json!({"_data": {"Info": {"Chat": "235085806700321@lid", "Sender": "235085806700321:2@lid", "SenderAlt": ""}}}),
            json!({"chat_id": "c1", "lid": "235085806700321", "phone": null}),
            json!({"chat_id": "c1", "sender_lid": "235085806700321", "senderPn": "235085806700321"}),
            json!({"chat_id": "235085806700321@hosted.lid", "contactPhoneNumber": "+235085806700321"}),
            json!({"sender": {"lid": "235085806700321@lid", "name": "Noa"}}),
        ] {
            assert_eq!(customer(&item), (None, Some(LID.to_owned())), "{item}");
        }
        for item in [
            json!({"chat_id": "c1", "contactPhoneNumber": "+235085806700321"}),
            json!({"contactPhoneNumber": "@noa.levi", "from": "noa.levi"}),
            json!({"contactPhoneNumber": "noa.levi", "chat_id": "IL.1502576394655843"}),
            json!({"contactPhoneNumber": "972545550199", "from": "972545550199", "chat_id": "c1"}),
            json!({"phone": "0545550199"}),
            json!({}),
        ] {
            assert_eq!(customer(&item), (None, None), "{item}");
        }
    }

    #[test]
    fn a_number_beside_a_private_id_is_found_in_every_spelling() {
        for item in [
            json!({"chat_id": "235085806700321@lid", "contactPhoneNumber": NUMBER, "contact_phone_number": NUMBER}),
            json!({"chat_id": "235085806700321@lid", "contactPhoneNumber": "+235085806700321", "contact_phone_number": NUMBER}),
            json!({"chat_id": "235085806700321@lid", "from": "972545550199@s.whatsapp.net"}),
            json!({"chat_id": "972545550199@s.whatsapp.net", "from": "235085806700321@lid"}),
            json!({"key": {"remoteJid": "235085806700321@lid", "remoteJidAlt": "972545550199@s.whatsapp.net"}}),
            json!({"key": {"remoteJid": "235085806700321@lid", "senderPn": "972545550199@s.whatsapp.net"}}),
            json!({"key": {"remoteJid": "972545550199@s.whatsapp.net", "senderLid": "235085806700321@lid"}}),
            json!({"key": {"remoteJid": "235085806700321@lid", "participantPn": "972545550199@s.whatsapp.net"}}),
            json!({"chat_id": "235085806700321@lid", "participantAlt": "972545550199:4@s.whatsapp.net"}),
            json!({"chat_id": "235085806700321@lid", "phone": "972545550199"}),
            json!({"chat_id": "235085806700321@lid", "phone": NUMBER}),
            json!({"lid": "235085806700321", "phone": "972545550199"}),
            json!({"chat_id": "235085806700321@lid", "senderPhone": "972545550199"}),
            json!({"chat_id": "235085806700321@lid", "sender_pn": "972545550199@c.us"}),
            json!({"from": "235085806700321@lid", "_data": {"key": {"remoteJidAlt": "972545550199@s.whatsapp.net"}}}),
            json!({"from": "235085806700321@lid", "_data": {"Info": {"SenderAlt": "972545550199@s.whatsapp.net"}}}),
            json!({"chatId": "235085806700321@lid", "contact": {"phone_number": NUMBER}}),
            json!({"sender": {"lid": "235085806700321@lid", "pn": "972545550199@s.whatsapp.net"}}),
            json!({"chat_id": "235085806700321@lid", "wa_id": "972545550199"}),
            json!({"remoteJid": "235085806700321@lid", "remote_jid_alt": "972545550199@s.whatsapp.net"}),
        ] {
            assert_eq!(customer(&item), (Some(NUMBER.to_owned()), Some(LID.to_owned())), "{item}");
        }
        for item in [
            json!({"chat_id": "972545550199@s.whatsapp.net"}),
            json!({"chat_id": "c1", "contactPhoneNumber": NUMBER}),
            json!({"contact_phone_number": NUMBER, "from": "972545550199"}),
        ] {
            assert_eq!(customer(&item), (Some(NUMBER.to_owned()), None), "{item}");
        }
    }

    #[test]
    fn a_message_of_the_line_names_its_recipient_and_never_the_line_itself() {
        let line = "972525550101@s.whatsapp.net";
        for item in [
            json!({"chat_id": "235085806700321@lid", "from": line, "to": "972545550199@s.whatsapp.net"}),
            json!({"key": {"remoteJid": "235085806700321@lid", "remoteJidAlt": "972545550199@s.whatsapp.net", "senderPn": line}}),
            json!({"chat_id": "235085806700321@lid", "sender": {"pn": line}, "recipientPn": "972545550199@s.whatsapp.net"}),
            json!({"chat_id": "235085806700321@lid", "participant": line, "_data": {"Info": {"Sender": line, "RecipientAlt": "972545550199@s.whatsapp.net"}}}),
            json!({"recipient_id": "235085806700321@lid", "contactPhoneNumber": NUMBER}),
        ] {
            let LineContact { phone, lid, .. } = parse(&item, true);
            assert_eq!(
                (phone.as_ref().map(Phone::expose), lid.as_ref().map(Lid::digits)),
                (Some(NUMBER), Some(LID)),
                "{item}"
            );
        }
        let unknown = parse(&json!({"chat_id": "235085806700321@lid", "from": line, "senderPn": line}), true);
        assert_eq!(unknown.phone, None, "the line's own number");
    }

    #[test]
    fn groups_are_groups_and_two_numbers_of_one_contact_do_not_contradict_each_other() {
        assert!(parse(&json!({"chat_id": "stories", "from": "972545550199@s.whatsapp.net"}), false).is_group);
        for chat in ["120363025246125486@g.us", "status@broadcast", "120363@newsletter"] {
            assert!(parse(&json!({"chat_id": chat, "from": "972545550199@s.whatsapp.net"}), false).is_group, "{chat}");
            assert!(parse(&json!({"key": {"remoteJid": chat}}), false).is_group, "{chat}");
        }
        let pair = |one: &str, other: &str| {
            parse(&json!({"contactPhoneNumber": one, "contact_phone_number": other}), false).is_contradictory
        };
        assert!(pair(NUMBER, "+972525550101") && !pair(NUMBER, NUMBER) && !pair("+5511987654321", "+551187654321"));
    }

    #[test]
    fn all_names_are_plain_names() {
        for name in CHAT_NAMES.iter().chain(&AUTHOR_NAMES).chain(&RECIPIENT_NAMES).chain(&NUMBER_NAMES) {
            assert_eq!(plain_name(name), *name);
        }
    }
}
