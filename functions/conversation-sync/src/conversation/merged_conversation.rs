//! Two rows of one customer become one.
//!
//! A line may give neither a conversation's id nor the customer's number, but a private id. Then
//! the private id is the key of the conversation. When the number is known, the number is the key,
//! and what was kept under the private id moves there. So the customer has one wait, and one alert.

use super::{Conversation, MessageRef};

impl Conversation {
    /// Adds all of another row of the same customer, which has this subject. The same row a second
    /// time changes nothing.
    pub fn merge(&mut self, other: Self, other_subject: &str) {
        self.phone = self.phone.take().or(other.phone);
        self.lid = self.lid.take().or(other.lid);
        self.name = self.name.take().or(other.name);
        self.first_message_id = self.first_message_id.take().or(other.first_message_id);
        let at = |received: &Option<MessageRef>| received.as_ref().map(|received| received.at);
        if at(&self.last_received) < at(&other.last_received) {
            self.last_received = other.last_received;
        }
        for message in other.last_messages {
            if !self.last_messages.iter().any(|known| known.id == message.id) {
                self.insert_message(message);
            }
        }
        for change in other.changes {
            self.insert_change(change);
        }
        self.team_replied_at = self.team_replied_at.max(other.team_replied_at);
        self.author_unknown_until = self.author_unknown_until.max(other.author_unknown_until);
        self.last_activity_at = self.last_activity_at.max(other.last_activity_at);
        self.retention_days = self.retention_days.max(other.retention_days);
        self.waiting_since = self.merge_waits(other.waiting_since.as_ref());
        if self.waiting_since.as_ref().is_some_and(|waiting| self.is_deleted(&waiting.message_id)) {
            self.skip_deleted_wait();
        }
        for (escalation, alert) in other.alerts {
            let raised_in = alert.raised_in.clone().or_else(|| Some(other_subject.to_owned()));
            let is_newer = self.alerts.get(&escalation).is_none_or(|known| known.at < alert.at);
            if is_newer {
                self.alerts.insert(escalation, MessageRef { raised_in, ..alert });
            }
        }
        let waiting_id = self.waiting_since.as_ref().map(|waiting| &waiting.message_id);
        for (escalation, message_id) in other.alerted_message_ids {
            if waiting_id == Some(&message_id) {
                self.alerted_message_ids.insert(escalation, message_id);
            } else {
                self.alerted_message_ids.entry(escalation).or_insert(message_id);
            }
        }
    }

    /// The wait that began first. If the team's reply ended one, what came after the reply waits.
    fn merge_waits(&self, other: Option<&MessageRef>) -> Option<MessageRef> {
        let waits = || self.waiting_since.iter().chain(other);
        let Some(replied_at) = self.team_replied_at else { return waits().min_by_key(|waiting| waiting.at).cloned() };
        let is_answered = |waiting: &&MessageRef| waiting.at <= replied_at;
        let after_reply = waits().any(|waiting| is_answered(&waiting)).then(|| self.find_message_after(replied_at));
        let unanswered = waits().filter(|waiting| !is_answered(waiting)).cloned();
        unanswered.chain(after_reply.flatten()).min_by_key(|waiting| waiting.at)
    }

    /// The row after it moved: nothing is left that alerts the team.
    #[must_use]
    pub fn without_contents(&self) -> Self {
        Self::new(&self.line, None, None, self.retention_days, self.last_activity_at)
    }
}
