//! What conversation-sync does for the customer: an answer in the conversation, where somebody configured one, and their wish
//! not to be written to.

use shared::{
    client_config::Place,
    digest::sha256_hex,
    inbox::Entry,
    ledger::{Context, Key, News, Words},
    wording,
};

use crate::{
    Sync,
    conversation::{Conversation, Moment},
    crm::Direction,
    event::Message,
    rules,
    sync::{Call, SyncError, Work},
};

/// How useful an answer is beside everything else that waits, 0 to 100: somebody is looking at their phone.
const WEIGHT: u8 = 90;
/// The name under which a conversation remembers its last answer. No escalation is called so.
const ANSWERS: &str = "";

/// An answer to a message.
pub(crate) struct Answer {
    /// The escalation that it belongs to.
    escalation: String,
    /// The message, and the delivery that it was read in first.
    moment: Moment,
}

impl Sync {
    /// The answer to a message, if a call that it set off has one. Whatever a message sets off, it is answered once, and a
    /// conversation once in the time that the call stands for.
    pub(crate) fn answer_to(
        &self,
        conversation: &mut Conversation,
        entry: &Entry,
        message: &Message,
        alone: bool,
        calls: &[Call],
    ) -> Option<Answer> {
        // Nobody answers what the line said itself, nor somebody who asks to be left alone. Without a conversation there is
        // nowhere to answer.
        if message.direction == Direction::Out || message.conversation.is_none() || self.is_opt_out(message) {
            return None;
        }
        let escalations = &self.teller.config.escalations;
        let answered = |call: &&Call| escalations.get(&call.escalation).is_some_and(|rule| rule.acknowledge.is_some());
        let call = calls.iter().find(answered)?;
        let within = escalations.get(&call.escalation)?.within;
        let moment = Moment::of(message, entry.delivery_id(), alone);
        let moment = conversation.call(ANSWERS, within, moment)?;
        Some(Answer { escalation: call.escalation.clone(), moment })
    }

    /// Answers a customer's message in its conversation.
    pub(crate) async fn answer(
        &self,
        work: &Work<'_>,
        entry: &Entry,
        message: &Message,
        conversation: &Conversation,
        answer: Answer,
    ) -> Result<(), SyncError> {
        let Answer { escalation, moment } = answer;
        let Some(rule) = self.teller.config.escalations.get(&escalation) else { return Ok(()) };
        let (Some(acknowledgement), Some(id)) = (&rule.acknowledge, &message.conversation) else { return Ok(()) };
        // They are answered in the language whose word they used, if it was a word.
        let language = rules::language_of(&rule.when, message.text.as_deref().unwrap_or_default());
        let language = language.filter(|language| acknowledgement.text.contains_key(*language));
        let language = language.unwrap_or_else(|| self.teller.config.language_for(None));
        let (business, name) = (&self.teller.config.name, conversation.name.as_deref());
        let payload = wording::acknowledgement(acknowledgement, language, business, name)
            .map_err(|error| error.to_string())
            .and_then(|message| message.payload_in(id).map_err(|error| error.to_string()));
        let payload = match payload {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!(escalation = escalation, "an acknowledgement cannot be made: {error}");
                return Ok(());
            }
        };
        // Of the delivery that it was read in first: another one of the same message is no reason for another answer.
        let key = Key::reply(&moment.delivery);
        let news = News {
            key: if moment.alone { key } else { key.for_instance(&sha256_hex(moment.message.as_bytes(), 12)) },
            place: Place::apart(),
            instance: None,
            generation: None,
            zone: None,
            occurred_at: message.at,
            line: conversation.line.clone(),
            to: message.phone.clone(),
            words: Words::Say(payload),
            useful_until: message.at + acknowledgement.useful_for.0,
            priority: WEIGHT,
            // They wrote a moment ago.
            any_hour: true,
            not_before: None,
            delivery: entry.id.clone(),
            context: Context { name: conversation.name.clone(), ..Context::default() },
        };
        self.teller.tell(work.shift, news).await?;
        Ok(())
    }

    fn is_opt_out(&self, message: &Message) -> bool {
        let phrases = self.teller.config.opt_out.values().flatten();
        message.text.as_deref().is_some_and(|text| rules::is_one_of(text, phrases))
    }

    /// Writes down that a customer asked not to be written to, if that is what they wrote.
    pub(crate) async fn heed(&self, message: &Message) -> Result<(), SyncError> {
        let asked = message.direction == Direction::In && self.is_opt_out(message);
        let Some(phone) = message.phone.as_ref().filter(|_| asked) else { return Ok(()) };
        let contact = self.teller.ledger.contact(phone);
        if self.teller.ledger.opt_out(&contact, message.at).await? {
            tracing::info!(contact = contact, "a customer asked not to be written to");
        }
        Ok(())
    }
}
