//! Erases the personal data of messages: number, name, values and text. Key and state stay, so that
//! nothing is sent again.
//!
//! Promises: a message that an invocation sends is left alone until its claim ends. One that waits
//! is never sent. Does **not** know which messages belong to a person.

use jiff::{SignedDuration, Timestamp};

use super::{
    IdempotencyKey, Ledger, LedgerError, LedgerItemError, SaveOutcome, appointment_header,
    erasure::{Erasure, ErasureCause},
    item::from_item,
    row::{LedgerRow, MessageContext, MessageState},
    table::is_header,
    trail::StepCode,
};
use crate::{
    appointment::Appointment,
    attributes::{Item, ItemReader, UnknownAttributes, text_value},
    contact::Phone,
};

/// The row is claimed: an invocation may send it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowInUse;

/// What an erasure did to a row or a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureResult {
    /// Its personal data is erased.
    Erased,
    /// There was nothing to erase.
    Nothing,
    /// It is in use. It can be erased in a minute.
    InUse,
}

/// An item of the ledger that is about one subject.
#[derive(Debug, Clone)]
pub enum LedgerEntry {
    /// A message.
    Message(Box<LedgerRow>),
    /// The header of an appointment.
    Appointment(Box<Appointment>),
}

/// Where a walk through the ledger goes on: behind this key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LedgerPosition {
    subject: String,
    stage: String,
}

impl LedgerPosition {
    /// The position behind an item.
    pub fn of_item(item: &Item) -> Option<Self> {
        let item = ItemReader(item);
        Some(Self { subject: item.owned("subject")?, stage: item.owned("stage")? })
    }
}

impl LedgerEntry {
    /// Reads an item; `None` for items of other kinds.
    pub fn from_item(item: &Item) -> Result<Option<Self>, LedgerItemError> {
        if is_header(item) && item.contains_key("appointment") {
            let header = appointment_header::from_item(item)?;
            return Ok(Some(Self::Appointment(Box::new(header))));
        }
        if is_message(item) { Ok(Some(Self::Message(Box::new(from_item(item)?)))) } else { Ok(None) }
    }
}

impl LedgerRow {
    /// Whether its data was erased because the customer asked for it.
    pub fn is_forgotten(&self) -> bool {
        self.erasure.as_ref().is_some_and(|erasure| erasure.cause == ErasureCause::Request)
    }

    /// The row without personal data. `contact` is the subject of the customer's contact. `None`
    /// if nothing is left to erase.
    pub fn erase(&self, cause: ErasureCause, contact: Option<&str>, now: Timestamp) -> Result<Option<Self>, RowInUse> {
        if self.is_forgotten() || (self.erasure.is_some() && cause == ErasureCause::Age) {
            return Ok(None);
        }
        if self.state == MessageState::Claimed && self.lease_until.is_some_and(|lease| now < lease) {
            return Err(RowInUse);
        }
        if cause == ErasureCause::Age && !self.state.is_settled() {
            return Ok(None);
        }
        let kept_contact = self.erasure.as_ref().and_then(|erasure| erasure.contact.clone());
        let to = self.to.as_ref();
        let without_number = |id: &Option<String>| id.clone().filter(|id| to.is_none_or(|phone| !phone.occurs_in(id)));
        let mut next = Self {
            version: self.version + 1,
            updated_at: now,
            to: None,
            payload: None,
            context: MessageContext::default(),
            provider_id: without_number(&self.provider_id),
            message_id: without_number(&self.message_id),
            conversation_id: without_number(&self.conversation_id),
            erasure: Some(Erasure { cause, contact: contact.map(str::to_owned).or(kept_contact) }),
            // Another version may have stored anything there.
            unknown_attributes: UnknownAttributes::default(),
            ..self.clone()
        };
        if cause == ErasureCause::Request {
            next.end_for_request(now);
        }
        next.add_step(step_of(cause), None);
        Ok(Some(next))
    }

    /// A message that waits is not sent, an incomplete one is not completed, and none needs a
    /// person any more.
    fn end_for_request(&mut self, now: Timestamp) {
        match self.state {
            MessageState::Held | MessageState::Claimed | MessageState::Unknown | MessageState::Incomplete => {
                self.state = MessageState::Suppressed;
                self.reason = Some("the customer was forgotten".to_owned());
            }
            MessageState::Accepted
            | MessageState::Refused
            | MessageState::Superseded
            | MessageState::Expired
            | MessageState::Suppressed
            | MessageState::NeedsHuman => {}
        }
        (self.owner, self.lease_until, self.due_at, self.waiting_since) = (None, None, None, None);
        self.handled_at = self.handled_at.or(Some(now));
    }

    /// Since when its data is kept, for `retention.personal_days`: since the message ended.
    fn data_kept_since(&self) -> Timestamp {
        self.created_at.max(self.accepted_at.unwrap_or(self.created_at))
    }

    /// Whether its personal data has been kept for so long.
    pub fn has_aged(&self, age: SignedDuration, now: Timestamp) -> bool {
        self.erasure.is_none() && self.state.is_settled() && now.duration_since(self.data_kept_since()) > age
    }
}

impl Ledger {
    /// A page of the ledger's items, with the position of the next page. If `is_current` is not
    /// set, it may be some moments old, for half the price.
    pub async fn scan_items(
        &self,
        from: Option<&LedgerPosition>,
        is_current: bool,
    ) -> Result<(Vec<Item>, Option<LedgerPosition>), LedgerError> {
        let mut scan = self.db.scan().table_name(&self.table).consistent_read(is_current);
        if let Some(LedgerPosition { subject, stage }) = from {
            scan = scan
                .exclusive_start_key("subject", text_value(subject.as_str()))
                .exclusive_start_key("stage", text_value(stage.as_str()));
        }
        let page = scan.send().await.map_err(|error| LedgerError::Scan(Box::new(error)))?;
        let next = page.last_evaluated_key.as_ref().and_then(LedgerPosition::of_item);
        Ok((page.items.unwrap_or_default(), next))
    }

    /// Erases the personal data of a message, only over the row that was read.
    pub async fn erase_message(
        &self,
        row: &LedgerRow,
        cause: ErasureCause,
        contact: Option<&str>,
        now: Timestamp,
    ) -> Result<ErasureResult, LedgerError> {
        let own = row.to.as_ref().map(|phone| self.contact_subject(phone));
        match row.erase(cause, contact.or(own.as_deref()), now) {
            Err(RowInUse) => Ok(ErasureResult::InUse),
            Ok(None) => Ok(ErasureResult::Nothing),
            Ok(Some(after)) => Ok(erasure_of(&self.save(row, &after).await?)),
        }
    }

    /// Erases people from the header of an appointment, only over the header that was read.
    /// `requested_by`: see [`Appointment::erase_people`].
    pub async fn erase_attendees(
        &self,
        header: &Appointment,
        is_erased: impl Fn(&Phone) -> bool,
        requested_by: Option<&str>,
        now: Timestamp,
    ) -> Result<ErasureResult, LedgerError> {
        let contact_of = |phone: &Phone| is_erased(phone).then(|| self.contact_subject(phone));
        match header.erase_people(contact_of, requested_by, now) {
            None => Ok(ErasureResult::Nothing),
            Some(after) => Ok(erasure_of(&self.save_appointment(Some(header), &after).await?)),
        }
    }

    /// Keeps a key without a message, so that the message is not sent if its event comes again. A
    /// row that exists stays as it is.
    pub async fn keep_key(&self, row: LedgerRow, now: Timestamp) -> Result<(), LedgerError> {
        // It was made a moment ago, and no invocation sends it.
        let row = LedgerRow { lease_until: None, owner: None, ..row };
        let contact = row.to.as_ref().map(|phone| self.contact_subject(phone));
        if let Ok(Some(forgotten)) = row.erase(ErasureCause::Request, contact.as_deref(), now) {
            self.open(&forgotten).await?;
        }
        Ok(())
    }

    /// Deletes an item that holds nothing that must stay. Returns whether it was still unchanged:
    /// `unchanged` is an attribute with its value, such as a version.
    pub async fn delete_unchanged(
        &self,
        key: &IdempotencyKey,
        unchanged: (&str, &aws_sdk_dynamodb::types::AttributeValue),
    ) -> Result<bool, LedgerError> {
        let delete = self
            .db
            .delete_item()
            .table_name(&self.table)
            .key("subject", text_value(key.subject()))
            .key("stage", text_value(key.stage()))
            .condition_expression("#unchanged = :unchanged")
            .expression_attribute_names("#unchanged", unchanged.0)
            .expression_attribute_values(":unchanged", unchanged.1.clone());
        match delete.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(
                    aws_sdk_dynamodb::operation::delete_item::DeleteItemError::is_conditional_check_failed_exception,
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(LedgerError::Delete(Box::new(error))),
        }
    }
}

/// Whether an item is the row of a message.
fn is_message(item: &Item) -> bool {
    ["state", "rank", "useful_until"].iter().all(|attribute| item.contains_key(*attribute))
}

const fn step_of(cause: ErasureCause) -> StepCode {
    match cause {
        ErasureCause::Request => StepCode::Forgotten,
        ErasureCause::Age => StepCode::DataExpired,
    }
}

/// An item that another writer changed is erased at the next try.
fn erasure_of<T>(saved: &SaveOutcome<T>) -> ErasureResult {
    match saved {
        SaveOutcome::Saved => ErasureResult::Erased,
        SaveOutcome::Overtaken(_) => ErasureResult::InUse,
        SaveOutcome::Gone => ErasureResult::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{ClaimOwner, waiting_row},
        provider::{Payload, SendRoute},
    };

    fn row_in(state: MessageState) -> LedgerRow {
        let row = waiting_row();
        let is_claimed = state == MessageState::Claimed;
        LedgerRow {
            state,
            to: Phone::from_e164("+972545550199").ok(),
            payload: Some(Payload { route: SendRoute::Text, body: "+972545550199 Noa".into() }),
            context: MessageContext { name: Some("Noa".into()), ..MessageContext::default() },
            message_id: Some("true_972545550199@c.us_3EB0".into()),
            provider_id: Some("queued_7".into()),
            due_at: row.due_at.filter(|_| !state.is_settled()),
            owner: is_claimed.then(|| ClaimOwner("a".into())),
            lease_until: is_claimed.then(|| at_second(60)),
            ..row
        }
    }

    fn at_second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    #[test]
    fn a_forgotten_message_keeps_its_key_and_state_and_is_never_sent() {
        for state in MessageState::ALL {
            let before = row_in(state);
            let erased = before.erase(ErasureCause::Request, Some("contact:ab"), at_second(61)).unwrap().unwrap();
            let waited = matches!(
                state,
                MessageState::Held | MessageState::Claimed | MessageState::Unknown | MessageState::Incomplete
            );
            let expected = if waited { MessageState::Suppressed } else { state };
            assert_eq!((&erased.key, erased.state, erased.version), (&before.key, expected, 2));
            assert!(erased.due_at.is_none() && erased.owner.is_none() && erased.handled_at.is_some());
            let item = crate::ledger::item::to_item(&erased, None, 1);
            assert!(!format!("{item:?}").contains("545550199") && !format!("{item:?}").contains("Noa"), "{item:?}");
            assert_eq!((item["contact"].as_s().unwrap().as_str(), from_item(&item).unwrap()), ("contact:ab", erased));
        }
    }

    #[test]
    fn a_message_in_use_and_one_that_is_erased_are_left_alone() {
        let claimed = row_in(MessageState::Claimed);
        assert_eq!(claimed.erase(ErasureCause::Request, None, at_second(59)), Err(RowInUse));
        let held = row_in(MessageState::Held);
        assert_eq!(held.erase(ErasureCause::Age, None, at_second(61)), Ok(None), "it may still be sent");
        let aged = row_in(MessageState::Accepted).erase(ErasureCause::Age, Some("contact:ab"), at_second(61));
        let aged = aged.unwrap().unwrap();
        assert!(aged.handled_at.is_none() && !aged.is_forgotten());
        assert_eq!(aged.erase(ErasureCause::Age, None, at_second(62)), Ok(None));
        let forgotten = aged.erase(ErasureCause::Request, None, at_second(62)).unwrap().unwrap();
        assert!(forgotten.is_forgotten());
        assert_eq!(forgotten.erasure.unwrap().contact.as_deref(), Some("contact:ab"), "it is found by it again");
    }

    #[test]
    fn nothing_more_is_sent_about_a_forgotten_subject() {
        let old = row_in(MessageState::Accepted).erase(ErasureCause::Request, None, at_second(1)).unwrap().unwrap();
        let new = LedgerRow {
            key: IdempotencyKey::for_order("main", "1", crate::client_config::Milestone::Shipped),
            useful_until: at_second(100),
            ..row_in(MessageState::Claimed)
        };
        let decide = |old: LedgerRow| crate::ledger::decide_message(&new, &[old], at_second(2));
        assert_eq!(decide(old), crate::ledger::MessageVerdict::Forgotten);
        let aged = row_in(MessageState::Accepted).erase(ErasureCause::Age, None, at_second(1)).unwrap().unwrap();
        assert_eq!(decide(aged), crate::ledger::MessageVerdict::Send);
    }
}
