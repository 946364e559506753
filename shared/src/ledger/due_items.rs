//! The index of due items: what a line has to send now, and what waits for it.

use aws_sdk_dynamodb::types::AttributeValue as Value;
use jiff::{SignedDuration, Timestamp};

use super::{
    Ledger, LedgerError, appointment_header,
    idempotency_key::IdempotencyKey,
    item::LedgerItemError,
    row::MessageState,
    table::{is_header, read_all_pages},
};
use crate::{
    appointment::Appointment,
    attributes::{Item, ItemReader},
    clock::{UnixMillis, from_millis},
};

/// How far ahead [`Ledger::list_queue`] looks. No message that waits is due later: an obstacle
/// holds it for half an hour, and an unknown outcome for two hours at most.
const LIST_AHEAD: SignedDuration = SignedDuration::from_hours(3);

/// An entry of the index of due items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueItem {
    /// Its key.
    pub key: IdempotencyKey,
    /// Message or appointment.
    pub kind: DueKind,
    /// When it is due. 1970 if the entry does not say.
    pub due_at: Timestamp,
    /// Since when it waits although it should have gone.
    pub waiting_since: Option<Timestamp>,
    /// Whether it was submitted, and it is unknown whether it arrived.
    pub outcome_unknown: bool,
    /// The IANA zone of its quiet hours, if it is not the client's.
    pub zone: Option<String>,
    /// Whether it is sent in the client's quiet hours.
    pub ignores_quiet_hours: bool,
    /// Most useful first: 0 to 100.
    pub priority: u8,
    /// When it stops being useful.
    pub useful_until: Timestamp,
}

/// The kind of a due item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueKind {
    /// A message.
    Message,
    /// An appointment with a due reminder.
    Appointment(Box<Appointment>),
    /// An appointment whose header cannot be read. It is damaged, or of a newer version.
    Unreadable(LedgerItemError),
}

impl Ledger {
    /// Lists the messages and appointments of a line that are due, and the messages that should
    /// have gone and are tried again within three hours. The longest due comes first.
    ///
    /// The index lags the table by moments. Read the row before acting on it.
    pub async fn list_queue(&self, line: &str, now: Timestamp) -> Result<Vec<DueItem>, LedgerError> {
        let query = self
            .db
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("due_queue = :line AND due_at <= :until")
            .expression_attribute_values(":line", Value::S(line.to_owned()))
            .expression_attribute_values(":until", Value::N((now + LIST_AHEAD).unix_millis().to_string()));
        Ok(read_all_pages(query).await?.iter().filter_map(|item| parse_due_item(item, now)).collect())
    }
}

/// The entry of an item that is due or waits; `None` if it is planned for later.
fn parse_due_item(item: &Item, now: Timestamp) -> Option<DueItem> {
    let attributes = ItemReader(item);
    let due_at = attributes.time("due_at").unwrap_or(Timestamp::UNIX_EPOCH);
    let waiting_since = attributes.time("waiting_since");
    if due_at > now && waiting_since.is_none() {
        return None;
    }
    let kind = if is_header(item) {
        match appointment_header::from_item(item) {
            Ok(appointment) => DueKind::Appointment(Box::new(appointment)),
            Err(error) => DueKind::Unreadable(error),
        }
    } else {
        DueKind::Message
    };
    Some(DueItem {
        key: IdempotencyKey::from_parts(attributes.text("subject")?, attributes.text("stage")?),
        kind,
        due_at,
        waiting_since,
        outcome_unknown: attributes.text("state") == Some(MessageState::Unknown.name()),
        zone: attributes.owned("zone"),
        ignores_quiet_hours: attributes.flag("ignores_quiet_hours"),
        priority: attributes.number("priority").unwrap_or(0),
        useful_until: from_millis(attributes.number("useful_until").unwrap_or(i64::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        appointment::HEADER_STAGE,
        attributes::ItemWriter,
        fault::{ClassifyFault as _, Fault},
        ledger::{
            LedgerRow,
            item::{from_item, to_item},
            row::waiting_row,
            transition::MAX_OBSTACLE_HOLD,
        },
        provider::PROVIDER,
    };

    fn at_minute(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn row_item(due: i64, waiting_since: Option<Timestamp>) -> Item {
        to_item(&LedgerRow { due_at: Some(at_minute(due)), waiting_since, ..waiting_row() }, None, 1)
    }

    #[test]
    fn a_message_that_waits_is_listed_before_it_is_due_again_and_a_planned_one_is_not() {
        let now = at_minute(10);
        let since = Some(at_minute(3));
        let listed = |item: &Item| parse_due_item(item, now).map(|entry| (entry.due_at, entry.waiting_since));
        assert_eq!(listed(&row_item(9, None)), Some((at_minute(9), None)));
        assert_eq!(listed(&row_item(40, since)), Some((at_minute(40), since)));
        assert_eq!(listed(&row_item(40, None)), None, "quiet hours hold it");
        assert_eq!(from_item(&row_item(40, since)).unwrap().waiting_since, since);
    }

    #[test]
    fn the_list_reaches_as_far_as_any_message_waits() {
        let delays = PROVIDER.facts().unknown_outcome.retry_delays;
        assert!(delays.iter().all(|delay| *delay < LIST_AHEAD) && MAX_OBSTACLE_HOLD < LIST_AHEAD);
    }

    #[test]
    fn a_header_that_cannot_be_read_stays_in_the_list_with_its_error() {
        for (document, text, fault) in [
            ("{", "the ledger row appointment:88:state has no usable `appointment`", Fault::Permanent),
            ("{}", "the ledger row appointment:88:state has a `appointment` of a newer version", Fault::NewerVersion),
        ] {
            let mut header = ItemWriter::default();
            header.text("subject", "appointment:88");
            header.text("stage", HEADER_STAGE);
            header.text("appointment", document);
            header.time("due_at", at_minute(1));
            let entry = parse_due_item(&header.into_item(), at_minute(10)).unwrap();
            let DueKind::Unreadable(error) = entry.kind else { panic!("{document}: {:?}", entry.kind) };
            assert!(error.to_string().starts_with(text), "{error}");
            assert_eq!((LedgerError::from(error).fault(), entry.due_at), (fault, at_minute(1)));
        }
    }

    #[test]
    fn an_entry_says_whether_its_outcome_is_unknown_and_one_without_a_due_time_is_due() {
        let is_unknown = |item: &Item| parse_due_item(item, at_minute(10)).unwrap().outcome_unknown;
        let unknown = LedgerRow { state: MessageState::Unknown, due_at: Some(at_minute(1)), ..waiting_row() };
        assert!(is_unknown(&to_item(&unknown, None, 1)) && !is_unknown(&row_item(1, None)));
        let mut message = row_item(1, None);
        message.insert("due_at".into(), Value::N("1.5".into()));
        assert_eq!(parse_due_item(&message, at_minute(10)).unwrap().due_at, Timestamp::UNIX_EPOCH);
    }
}
