//! What is known to belong to a person: the number, and everything that led from it.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::contact::{Lid, Phone};

/// What is known to belong to a person. `Debug` shows counts only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonTraces {
    /// The number, E.164.
    pub phone: String,
    /// The subjects of the person: orders, leads, and appointments in which no one else takes part.
    pub subjects: BTreeSet<String>,
    /// The deliveries that led to the person's rows, by their keys in the inboxes.
    pub deliveries: BTreeSet<String>,
    /// The private ids of the person: `235085806700321@lid`.
    pub lids: BTreeSet<String>,
    /// The provider's ids of the person's conversations.
    pub conversations: BTreeSet<String>,
}

impl fmt::Debug for PersonTraces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonTraces")
            .field("subjects", &self.subjects.len())
            .field("deliveries", &self.deliveries.len())
            .field("lids", &self.lids.len())
            .field("conversations", &self.conversations.len())
            .finish_non_exhaustive()
    }
}

/// What a part of a delivery is about. Everything in it belongs to one person.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DeliveryPart {
    /// The subject.
    pub subject: Option<String>,
    /// The number.
    pub phone: Option<Phone>,
    /// The private id.
    pub lid: Option<Lid>,
    /// The provider's id of the conversation.
    pub conversation: Option<String>,
}

impl DeliveryPart {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl PersonTraces {
    /// The traces of a number.
    pub fn of_number(phone: &Phone) -> Self {
        Self { phone: phone.expose().to_owned(), ..Self::default() }
    }

    /// Whether a number is the person's.
    pub fn is_number(&self, phone: &Phone) -> bool {
        self.number().is_some_and(|own| own.is_same_contact(phone))
    }

    /// Whether a private id is the person's.
    pub fn is_lid(&self, lid: &str) -> bool {
        self.lids.contains(lid)
    }

    /// Whether a text contains the number or a private id of the person.
    pub fn is_mentioned_in(&self, text: &str) -> bool {
        let lid_digits = |lid: &String| lid.split('@').next().is_some_and(|digits| text.contains(digits));
        self.lids.iter().any(lid_digits) || self.number().is_some_and(|own| own.occurs_in(text))
    }

    /// Whether a part is the person's. What else it names becomes known.
    pub fn follow(&mut self, part: &DeliveryPart) -> bool {
        let DeliveryPart { subject, phone, lid, conversation } = part;
        let lid = lid.as_ref().map(Lid::address);
        // Another number is another person, whatever else is the same.
        if phone.as_ref().is_some_and(|phone| !self.is_number(phone)) {
            return false;
        }
        let is_own = phone.is_some()
            || lid.as_ref().is_some_and(|lid| self.lids.contains(lid))
            || subject.as_ref().is_some_and(|subject| self.subjects.contains(subject))
            || conversation.as_ref().is_some_and(|id| self.conversations.contains(id));
        if is_own {
            self.lids.extend(lid);
            self.conversations.extend(conversation.clone());
            // Others may take part in the same appointment: its header says whether they do.
            self.subjects.extend(subject.clone().filter(|subject| !subject.starts_with("appointment:")));
        }
        is_own
    }

    fn number(&self) -> Option<Phone> {
        Phone::from_e164(&self.phone).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(number: &str) -> Phone {
        Phone::from_e164(number).unwrap()
    }

    #[test]
    fn what_a_part_names_beside_the_number_becomes_the_person_s() {
        let mut traces = PersonTraces::of_number(&phone("+972545550199"));
        let part = |number: Option<&str>, lid: Option<&str>, subject: Option<&str>| DeliveryPart {
            phone: number.map(phone),
            lid: lid.and_then(Lid::parse),
            subject: subject.map(str::to_owned),
            conversation: None,
        };
        let (lid, order) = ("235085806700321@lid", "order:1001");
        assert!(!traces.follow(&part(None, Some(lid), None)) && !traces.follow(&part(None, None, Some(order))));
        assert!(traces.follow(&part(Some("+972545550199"), Some(lid), Some(order))));
        assert!(traces.follow(&part(None, Some(lid), None)) && traces.follow(&part(None, None, Some(order))));
        assert!(!traces.follow(&part(Some("+972525550101"), Some(lid), Some("order:7"))), "another person's number");
        assert!(traces.follow(&part(Some("+972545550199"), None, Some("appointment:88"))));
        assert_eq!(traces.subjects, [order.to_owned()].into(), "others may take part in the appointment");
        assert!(traces.is_mentioned_in("from 235085806700321@lid") && traces.is_mentioned_in("054-555-0199"));
        assert!(!format!("{traces:?}").contains("5550199"), "{traces:?}");
    }
}
