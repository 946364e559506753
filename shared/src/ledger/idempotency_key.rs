//! Idempotency keys: from an event of the source system to the name of the one message about it.
//!
//! A key is `subject:stage`: `order:1001:ready`, `appointment:88:24h`, `lead:abc:first-touch`.
//! Plain ids stay unchanged, as the provider's guides write them.
//!
//! Promises: building is injective, so two events never share a key. A key has at most
//! [`MAX_KEY_LENGTH`] characters of ASCII letters, digits and `:_.-`. The provider publishes
//! neither length nor alphabet, so both are assumed.
//!
//! Other bytes of an id are escaped as `.xx` (hex), and long ids are hashed as `.h…`. After a `.`
//! nothing else follows, except `..` after the name of an id scope.

use std::fmt::{self, Write as _};

use crate::{
    appointment::HEADER_STAGE,
    client_config::{MAIN_ID_SCOPE, Milestone},
    hash::sha256_hex,
};

/// Longest key, in characters.
pub const MAX_KEY_LENGTH: usize = 128;
const MAX_ID_LENGTH: usize = 48;
const MAX_INSTANCE_LENGTH: usize = 32;
const MAX_STAGE_LENGTH: usize = 24;
/// What the subjects of messages begin with.
pub const MESSAGE_KINDS: [&str; 5] = ["order", "appointment", LEAD_KIND, REPLY_KIND, LINE_TEST_KIND];
const LEAD_KIND: &str = "lead";
const REPLY_KIND: &str = "webhook-reply";
const REPLY_STAGE: &str = "reply";
const LINE_TEST_KIND: &str = "line-test";

/// The idempotency key of one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey {
    subject: String,
    stage: String,
}

impl IdempotencyKey {
    /// The subject of an order: `order:{id}`, or `order:{id_scope}..{id}` outside the main id
    /// scope.
    pub fn order_subject(id_scope: &str, order_id: &str) -> String {
        build_subject("order", id_scope, order_id)
    }

    /// The key of an order's milestone, sent once for the whole order.
    pub fn for_order(id_scope: &str, order_id: &str, milestone: Milestone) -> Self {
        Self { subject: Self::order_subject(id_scope, order_id), stage: milestone.name().to_owned() }
    }

    /// The subject of an appointment: `appointment:{id}`, or `appointment:{id_scope}..{id}` outside
    /// the main id scope.
    pub fn appointment_subject(id_scope: &str, id: &str) -> String {
        build_subject("appointment", id_scope, id)
    }

    /// The key of a reminder at a stage of such a subject. The first reminder of a stage has the
    /// plain key. Later ones, for another start or another attendee, add it with
    /// [`Self::with_instance`].
    pub fn for_reminder(appointment_subject: &str, stage: &str) -> Self {
        Self { subject: appointment_subject.to_owned(), stage: escape_id_within(stage, MAX_STAGE_LENGTH) }
    }

    /// The key of a lead's first touch. `id_scope` and `id` as for orders.
    pub fn for_greeting(id_scope: &str, lead_id: &str) -> Self {
        Self::for_lead_subject(&build_subject(LEAD_KIND, id_scope, lead_id))
    }

    /// The key of a first touch by its subject.
    pub fn for_lead_subject(lead_subject: &str) -> Self {
        Self { subject: lead_subject.to_owned(), stage: "first-touch".to_owned() }
    }

    /// The key of the acknowledgement of a line's delivery: `webhook-reply:{delivery id}`, as the
    /// provider's guides write it. Each has its own subject, so that no partition holds all of
    /// them.
    pub fn for_acknowledgement(delivery_id: &str) -> Self {
        Self {
            subject: format!("{REPLY_KIND}:{}", escape_id_within(delivery_id, MAX_ID_LENGTH)),
            stage: REPLY_STAGE.to_owned(),
        }
    }

    /// The key of the message of a line's test, by the random id of the test.
    pub fn for_line_test(id: &str) -> Self {
        Self { subject: build_subject(LINE_TEST_KIND, MAIN_ID_SCOPE, id), stage: "repeat".to_owned() }
    }

    /// Whether this is the key of the message of a line's test.
    pub fn is_line_test(&self) -> bool {
        self.subject.strip_prefix(LINE_TEST_KIND).is_some_and(|rest| rest.starts_with(':'))
    }

    /// Whether this is the key of a message. Other rows of the ledger have other subjects.
    pub fn is_of_message(&self) -> bool {
        let kind = self.subject.split(':').next().unwrap_or_default();
        MESSAGE_KINDS.contains(&kind) && self.stage != HEADER_STAGE
    }

    /// An id in the keys' alphabet, at most 48 characters. Plain ids stay unchanged; two ids never
    /// become the same.
    pub fn escape_id(id: &str) -> String {
        escape_id_within(id, MAX_ID_LENGTH)
    }

    /// Whether this is a first touch. The opt-out is checked before a first touch is sent.
    pub fn is_greeting(&self) -> bool {
        self.subject.strip_prefix(LEAD_KIND).is_some_and(|rest| rest.starts_with(':'))
    }

    /// The same milestone for another parcel, refund, invoice or change of the same order.
    #[must_use]
    pub fn with_instance(&self, instance: &str) -> Self {
        Self {
            subject: self.subject.clone(),
            stage: format!("{}-{}", self.stage, escape_id_within(instance, MAX_INSTANCE_LENGTH)),
        }
    }

    /// A key read back from the ledger.
    pub fn from_parts(subject: impl Into<String>, stage: impl Into<String>) -> Self {
        Self { subject: subject.into(), stage: stage.into() }
    }

    /// The key of its text: `order:1001:ready`, `webhook-reply:dlv_88`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(REPLY_KIND) {
            let (subject, instance) = text.rsplit_once('-').filter(|(subject, _)| subject.contains(':'))?;
            return Some(Self::from_parts(subject, format!("{REPLY_STAGE}-{instance}")));
        }
        let (subject, stage) = text.rsplit_once(':').filter(|(subject, _)| subject.contains(':'))?;
        Some(Self::from_parts(subject, stage))
    }

    /// The subject: the ledger's partition key.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The stage: the ledger's sort key.
    pub fn stage(&self) -> &str {
        &self.stage
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The guides' key for an acknowledgement has no stage.
        match self.stage.strip_prefix(REPLY_STAGE).filter(|_| self.subject.starts_with(REPLY_KIND)) {
            Some(instance) => write!(f, "{}{instance}", self.subject),
            None => write!(f, "{}:{}", self.subject, self.stage),
        }
    }
}

fn build_subject(kind: &str, id_scope: &str, id: &str) -> String {
    let mut subject = format!("{kind}:");
    if id_scope != MAIN_ID_SCOPE {
        subject.push_str(&escape_id_within(id_scope, 20));
        subject.push_str("..");
    }
    subject.push_str(&escape_id_within(id, MAX_ID_LENGTH));
    subject
}

/// An id in the key's alphabet, at most `max` characters long.
fn escape_id_within(id: &str, max: usize) -> String {
    let mut escaped = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(escaped, ".{byte:02x}").unwrap_or_default();
        }
    }
    if escaped.len() <= max && !escaped.is_empty() {
        return escaped;
    }
    format!(".h{}", sha256_hex(id.as_bytes(), 12))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn order_key(id_scope: &str, id: &str, milestone: Milestone) -> String {
        IdempotencyKey::for_order(id_scope, id, milestone).to_string()
    }

    #[test]
    fn plain_ids_stay_unchanged_as_the_guides_write_them() {
        assert_eq!(order_key("main", "1001", Milestone::Ready), "order:1001:ready");
        assert_eq!(order_key("main", "SO-90311", Milestone::OutForDelivery), "order:SO-90311:out-for-delivery");
        assert_eq!(order_key("outlet", "1001", Milestone::Ready), "order:outlet..1001:ready");
        assert_eq!(
            IdempotencyKey::for_order("main", "1001", Milestone::Shipped).with_instance("4670000000001").to_string(),
            "order:1001:shipped-4670000000001"
        );
    }

    #[test]
    fn the_text_of_a_key_is_the_key() {
        let order = IdempotencyKey::for_order("outlet", "10:01", Milestone::OutForDelivery);
        let reply = IdempotencyKey::for_acknowledgement("dlv_88");
        for key in
            [order.with_instance("a:b"), order, IdempotencyKey::for_greeting("main", "x"), reply.with_instance("7")]
        {
            assert_eq!(IdempotencyKey::parse(&key.to_string()), Some(key));
        }
        for no_key in ["order:1001", "order", "", "webhook-reply:dlv_88"] {
            assert_eq!(IdempotencyKey::parse(no_key), None, "{no_key}");
        }
    }

    #[test]
    fn reminders_have_the_keys_of_the_guides_and_never_the_key_of_an_order() {
        let subject = IdempotencyKey::appointment_subject("main", "88");
        assert_eq!(IdempotencyKey::for_reminder(&subject, "24h").to_string(), "appointment:88:24h");
        let moved = IdempotencyKey::for_reminder(&subject, "24h").with_instance("20261124T0830Z-1").to_string();
        assert_eq!(moved, "appointment:88:24h-20261124T0830Z-1");
        assert_eq!(IdempotencyKey::appointment_subject("clinic", "a/b"), "appointment:clinic..a.2fb");
        let long = IdempotencyKey::for_reminder(
            &IdempotencyKey::appointment_subject(&"x".repeat(40), &"x".repeat(90)),
            &"x".repeat(90),
        );
        assert!(long.with_instance(&"x".repeat(90)).to_string().len() <= MAX_KEY_LENGTH);
    }

    #[test]
    fn acknowledgements_have_the_key_of_the_guides_and_each_its_own_subject() {
        let key = IdempotencyKey::for_acknowledgement("dlv_88");
        assert_eq!((key.to_string().as_str(), key.subject()), ("webhook-reply:dlv_88", "webhook-reply:dlv_88"));
        assert_eq!(key.with_instance("wamid-1").to_string(), "webhook-reply:dlv_88-wamid-1");
        assert!(
            IdempotencyKey::for_acknowledgement(&"x".repeat(300)).with_instance(&"y".repeat(300)).to_string().len()
                <= MAX_KEY_LENGTH
        );
    }

    #[test]
    fn first_touches_have_the_keys_of_the_guides() {
        let key = IdempotencyKey::for_greeting("main", "abc");
        assert_eq!(key.to_string(), "lead:abc:first-touch");
        assert_eq!(IdempotencyKey::for_greeting("gravity", "88").to_string(), "lead:gravity..88:first-touch");
        assert!(key.is_greeting() && !IdempotencyKey::for_order("main", "lead:1", Milestone::Paid).is_greeting());
        assert!(IdempotencyKey::for_greeting(&"x".repeat(40), &"x".repeat(300)).to_string().len() <= MAX_KEY_LENGTH);
    }

    #[test]
    fn odd_ids_are_escaped_and_long_ones_hashed() {
        assert_eq!(order_key("main", "1.0E+6", Milestone::Paid), "order:1.2e0E.2b6:paid");
        assert_eq!(order_key("main", "א/1", Milestone::Paid), "order:.d7.90.2f1:paid");
        let long = order_key("main", &"x".repeat(500), Milestone::DeliveryChanged);
        assert!(long.starts_with("order:.h"), "{long}");
        assert!(order_key("main", "", Milestone::Paid).starts_with("order:.h"));
    }

    proptest! {
        #[test]
        fn every_key_is_short_and_uses_only_the_allowed_characters(id_scope in ".{1,40}", id in ".{0,300}", instance in ".{0,100}", which in 0..Milestone::ALL.len()) {
            let key = IdempotencyKey::for_order(&id_scope, &id, Milestone::ALL[which]).with_instance(&instance).to_string();
            prop_assert!(key.len() <= MAX_KEY_LENGTH, "{} characters", key.len());
            prop_assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.-".contains(&b)));
        }

        #[test]
        fn two_events_never_share_a_key(facts in prop::collection::hash_set(("(main|a|b|a..b)", "[a1.:#-]{0,6}", prop::option::of("[a1.-]{1,4}"), 0..Milestone::ALL.len()), 2..40)) {
            let mut seen = HashMap::new();
            for fact in facts {
                let (id_scope, id, instance, which) = &fact;
                let key = IdempotencyKey::for_order(id_scope, id, Milestone::ALL[*which]);
                let key = match instance { Some(instance) => key.with_instance(instance), None => key }.to_string();
                if let Some(other) = seen.insert(key.clone(), fact.clone()) {
                    prop_assert!(false, "{key} stands for {fact:?} and {other:?}");
                }
            }
        }
    }
}
