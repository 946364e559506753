//! Why a customer did not receive a message: the links from the sender's post to the customer's
//! phone, until the first one that broke.
//!
//! Long because each link of the chain is checked here, in the order of a message's way.

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::{
    appointment::{Appointment, AppointmentStatus, HEADER_STAGE},
    client_config::{ClientConfig, MAIN_ID_SCOPE, Milestone},
    fault::error_chain,
    ledger::{IdempotencyKey, LedgerRow, MessageState, SubjectRows, read_subject},
};

use crate::{
    client_stack::ClientStack,
    client_tables::{ClientTables, DeliveryEntry, OpsError},
    inbox_kind::InboxKind,
    refusals::{FoundRefusals, RECENT, SenderRefusals},
    report::{DeliveryReport, MessageReport, describe_reminder, report_message},
};

/// A link between the sender's post and the customer's phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainLink {
    /// The sender posted it.
    Posted,
    /// Its proof was right.
    Verified,
    /// An inbox has it.
    Stored,
    /// A message was made of it.
    Planned,
    /// The line sent the message.
    Sent,
    /// It is on the phone.
    Arrived,
}

impl ChainLink {
    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Verified => "verified",
            Self::Stored => "stored",
            Self::Planned => "planned",
            Self::Sent => "sent",
            Self::Arrived => "arrived",
        }
    }
}

/// A link that holds or broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainStep {
    /// The link.
    pub link: ChainLink,
    /// Whether it holds.
    pub holds: bool,
    /// What is known of it, as a sentence without its full stop.
    pub explanation: String,
}

/// A setting of client.toml to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingToChange {
    /// The keys that lead to it. The last ones may be missing in the file.
    pub path: Vec<String>,
    /// What to change, as a sentence without its full stop.
    pub advice: String,
}

/// Why a message is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AbsenceReport {
    /// The key that was asked for: `order:1002:ready`.
    pub key: String,
    /// The links, until the first one that broke.
    pub chain: Vec<ChainStep>,
    /// The setting to change, if one is the cause.
    pub setting: Option<SettingToChange>,
    /// The message, if it exists.
    pub message: Option<MessageReport>,
    /// The deliveries about its subject that led to no message, the oldest first.
    pub without_message: Vec<DeliveryReport>,
    /// What could not be read, and why.
    pub unreadable: Vec<String>,
}

impl AbsenceReport {
    /// The first link that broke; `None` if the message arrived.
    pub fn broken_link(&self) -> Option<&ChainStep> {
        self.chain.iter().find(|step| !step.holds)
    }
}

/// Everything that the links are found from.
struct AbsenceFacts<'a> {
    config: &'a ClientConfig,
    key: &'a IdempotencyKey,
    rows: &'a SubjectRows,
    without_message: &'a [DeliveryEntry],
    refusals: &'a FoundRefusals,
    now: Timestamp,
}

/// The end of a search for the cause: the link that broke, why, and what to change.
type Cause = (ChainLink, String, Option<SettingToChange>);

impl ClientTables {
    /// Why the message of a key did not reach its customer. Four requests at most.
    pub async fn explain_absence(
        &self,
        stack: &ClientStack,
        config: &ClientConfig,
        name: &str,
    ) -> Result<AbsenceReport, OpsError> {
        let key = IdempotencyKey::parse(name).ok_or_else(|| OpsError::NotAKey(name.to_owned()))?;
        let rows = read_subject(&self.db, &self.names.ledger, key.subject()).await?;
        let without_message = self.read_without_message(key.subject()).await?;
        let mut unreadable: Vec<String> = rows.unreadable.iter().map(ToString::to_string).collect();
        let mut refusals = FoundRefusals::default();
        if rows.is_empty() && without_message.is_empty() {
            refusals = stack.read_refusals(stack.now() - RECENT).await.unwrap_or_else(|error| {
                unreadable.push(error_chain(&error));
                FoundRefusals::default()
            });
        }
        let facts = AbsenceFacts {
            config,
            key: &key,
            rows: &rows,
            without_message: &without_message,
            refusals: &refusals,
            now: stack.now(),
        };
        let (chain, setting) = facts.follow_chain();
        Ok(AbsenceReport {
            key: name.to_owned(),
            chain,
            setting,
            message: facts.find_row().map(|row| report_message(row, &[])),
            without_message: without_message.iter().map(DeliveryReport::of_entry).collect(),
            unreadable,
        })
    }
}

impl AbsenceFacts<'_> {
    fn find_row(&self) -> Option<&LedgerRow> {
        self.rows.messages.iter().find(|row| row.key == *self.key)
    }

    /// The links until the first one that broke, and the setting to change.
    fn follow_chain(&self) -> (Vec<ChainStep>, Option<SettingToChange>) {
        let cause = match self.find_row() {
            Some(row) => self.cause_of_row(row),
            None if self.is_subject_unknown() => Some(self.cause_of_silence()),
            None => Some(self.cause_of_unreadable().unwrap_or_else(|| self.cause_without_row())),
        };
        let broken_at = cause.as_ref().map(|(link, ..)| *link);
        let links = [
            ChainLink::Posted,
            ChainLink::Verified,
            ChainLink::Stored,
            ChainLink::Planned,
            ChainLink::Sent,
            ChainLink::Arrived,
        ];
        let holding = links.into_iter().take_while(|link| Some(*link) != broken_at);
        let mut chain: Vec<ChainStep> =
            holding.map(|link| ChainStep { link, holds: true, explanation: self.explain_holding(link) }).collect();
        let Some((link, explanation, setting)) = cause else { return (chain, None) };
        chain.push(ChainStep { link, holds: false, explanation });
        (chain, setting)
    }

    fn is_subject_unknown(&self) -> bool {
        self.rows.is_empty() && self.without_message.is_empty()
    }

    /// The newest delivery that is known of the subject.
    fn newest_delivery(&self) -> Option<&str> {
        let of_row = self.find_row().map(|row| row.delivery.as_str());
        let of_others = || self.rows.messages.iter().max_by_key(|row| row.created_at).map(|row| row.delivery.as_str());
        let header = || self.rows.appointment().map(|header| header.delivery.as_str());
        let skipped = || self.without_message.last().map(|delivery| delivery.id.as_str());
        of_row.or_else(header).or_else(skipped).or_else(of_others)
    }

    fn explain_holding(&self, link: ChainLink) -> String {
        let delivery = self.newest_delivery();
        match link {
            ChainLink::Posted => match delivery {
                Some(delivery) => format!("its sender posted {delivery}"),
                None => "a post of its sender came in".to_owned(),
            },
            ChainLink::Verified => "its proof was right".to_owned(),
            ChainLink::Stored => "the inbox has it, or the ledger what came of it".to_owned(),
            ChainLink::Planned => "the ledger has the message, or the time for it".to_owned(),
            ChainLink::Sent => "the line accepted it".to_owned(),
            ChainLink::Arrived => "it is on the phone".to_owned(),
        }
    }

    /// Why a message that exists did not arrive.
    fn cause_of_row(&self, row: &LedgerRow) -> Option<Cause> {
        let report = report_message(row, &[]);
        let last = report.steps.last().map(|step| step.explanation.clone());
        let why = last.filter(|why| !why.is_empty()).or(report.reason).unwrap_or_else(|| row.state.name().to_owned());
        match row.state {
            MessageState::Suppressed | MessageState::Incomplete => {
                let setting = self.setting_of_config().map(|(_, setting)| setting);
                Some((ChainLink::Planned, why, setting))
            }
            MessageState::Accepted if row.delivery_status.has_arrived() => None,
            MessageState::Accepted if row.delivery_status.has_failed() => {
                Some((ChainLink::Arrived, "the line reports that it failed".to_owned(), None))
            }
            MessageState::Accepted => Some(self.cause_without_report(&row.line)),
            MessageState::Held | MessageState::Claimed | MessageState::Unknown => {
                Some((ChainLink::Sent, format!("it waits: {why}"), None))
            }
            MessageState::Superseded | MessageState::Expired | MessageState::Refused | MessageState::NeedsHuman => {
                Some((ChainLink::Sent, why, None))
            }
        }
    }

    /// Why no report of a phone came for a message that a line accepted.
    fn cause_without_report(&self, line: &str) -> Cause {
        if self.config.lines.get(line).is_none_or(|line| line.events) {
            return (ChainLink::Arrived, "no phone has reported it: it may be switched off".to_owned(), None);
        }
        let why = format!("the line `{line}` has `events = false`, so tellonce does not know whether it arrived");
        let advice = "write events = true, deploy, and register the line's webhook".to_owned();
        (ChainLink::Arrived, why, Some(setting(&["lines", line, "events"], advice)))
    }

    /// The row of the message, or of its appointment, that cannot be read.
    fn cause_of_unreadable(&self) -> Option<Cause> {
        let key = self.key.to_string();
        let header = IdempotencyKey::from_parts(self.key.subject(), HEADER_STAGE).to_string();
        let find = |key: &str| self.rows.unreadable.iter().find(|error| error.key() == key);
        if let Some(error) = find(&key) {
            return Some((ChainLink::Sent, format!("its row is there and cannot be read: {error}"), None));
        }
        let error = find(&header)?;
        Some((ChainLink::Planned, format!("the row of its appointment cannot be read: {error}"), None))
    }

    /// Why nothing at all is known of the subject.
    fn cause_of_silence(&self) -> Cause {
        let senders = self.list_senders();
        let subject = self.key.subject();
        if senders.is_empty() {
            let (kind, table) = match InboxKind::of_subject(subject) {
                Some(InboxKind::Calendars) => ("calendar", "calendars"),
                Some(InboxKind::Forms) => ("form", "forms"),
                Some(InboxKind::Stores) => ("store", "stores"),
                _ => return (ChainLink::Posted, format!("no delivery about {subject} is stored"), None),
            };
            let why = format!("client.toml has no {kind} whose id scope is that of {subject}");
            return (ChainLink::Posted, why, Some(setting(&[table], format!("add the {kind} that posts it"))));
        }
        let refused: Vec<&SenderRefusals> = self
            .refusals
            .senders
            .iter()
            .filter(|refused| refused.sender.as_deref().is_none_or(|sender| senders.contains(&sender)))
            .collect();
        if !refused.is_empty() {
            let posts = refused.iter().map(|sender| sender.describe()).collect::<Vec<_>>().join("; ");
            let secrets = refused.iter().filter_map(|refused| refused.sender.as_deref());
            let secrets: Vec<String> = secrets.map(|sender| self.config.webhook_secret_name(sender)).collect();
            let compare = match secrets.as_slice() {
                [] => "compare the address at the sender with the outputs of the stack".to_owned(),
                _ => format!("compare the secret at the sender with {}", secrets.join(" and ")),
            };
            let why = format!(
                "no delivery about {subject} is stored, and posts were refused in the last 24 hours: {posts}; {compare}"
            );
            return (ChainLink::Verified, why, None);
        }
        let senders = senders.join(", ");
        let refused = if self.refusals.has_more {
            format!(
                "no refused post of {senders} was found; there may be more, because the log of the last 24 hours was \
                 not searched to its end"
            )
        } else {
            format!("no post of {senders} was refused in the last 24 hours")
        };
        let why = format!(
            "no delivery about {subject} is stored, and {refused}; look at the webhooks that it sent, and at \
             `tellonce needs` for deliveries that could not be read"
        );
        (ChainLink::Posted, why, self.setting_of_config().map(|(_, setting)| setting))
    }

    /// Why a subject that is known has no such message.
    fn cause_without_row(&self) -> Cause {
        if let Some(header) = self.rows.appointment() {
            return self.cause_of_appointment(header);
        }
        if let Some((why, setting)) = self.setting_of_config() {
            return (ChainLink::Planned, why, Some(setting));
        }
        if let Some(delivery) = self.without_message.last() {
            let why = format!("{} led to no message: {} ({})", delivery.id, delivery.outcome_text, delivery.outcome);
            return (ChainLink::Planned, why, setting_of_outcome(delivery));
        }
        let stages: Vec<&str> = self.rows.messages.iter().map(|row| row.key.stage()).collect();
        let why = format!("its deliveries reported {}, and none reported `{}`", stages.join(", "), self.key.stage());
        (ChainLink::Posted, why, None)
    }

    /// Why an appointment has no such reminder.
    fn cause_of_appointment(&self, header: &Appointment) -> Cause {
        if let Some((why, setting)) = self.setting_of_reminder(header) {
            return (ChainLink::Planned, why, Some(setting));
        }
        let stage = self.key.stage();
        let outcome = header.stage_outcomes.iter().rev().find(|outcome| stage.starts_with(outcome.stage.as_str()));
        if let Some(why) = outcome.and_then(|outcome| describe_reminder(outcome.outcome)) {
            return (ChainLink::Planned, why.to_owned(), None);
        }
        if header.status != AppointmentStatus::Booked {
            let why = format!("the appointment is {}, so no customer is reminded of it", header.status.name());
            return (ChainLink::Planned, why, None);
        }
        if header.attendees.iter().all(|seat| !seat.attending) {
            return (ChainLink::Planned, "no attendee has a number that can receive messages".to_owned(), None);
        }
        match header.due_at {
            Some(due) if due > self.now => (ChainLink::Sent, "its time has not come".to_owned(), None),
            _ => (ChainLink::Sent, "it is due, and its line cannot send now: see `tellonce waiting`".to_owned(), None),
        }
    }

    /// The setting that makes such a message impossible.
    fn setting_of_config(&self) -> Option<(String, SettingToChange)> {
        if InboxKind::of_subject(self.key.subject()) != Some(InboxKind::Stores) {
            return None;
        }
        let Some(milestone) = find_milestone(self.key.stage()) else {
            let known = Milestone::ALL.map(Milestone::name).join(", ");
            let why = format!("`{}` is not a milestone; these are: {known}", self.key.stage());
            return Some((why, setting(&["messages"], "ask for a milestone that has a text".to_owned())));
        };
        let name = milestone.name();
        if !self.config.messages.contains_key(&milestone) {
            let why = format!("client.toml has no text for `{name}`");
            return Some((why, setting(&["messages", name], format!("add [messages.{name}] with a text"))));
        }
        let stores = self.list_senders();
        let configs = stores.iter().filter_map(|store| self.config.stores.get(*store));
        if configs.flat_map(|store| store.kind.reportable_milestones()).any(|reported| reported == milestone) {
            return None;
        }
        let (store, (table, word)) = stores.iter().find_map(|store| {
            let kind = &self.config.stores.get(*store)?.kind;
            Some((*store, kind.milestone_table()?))
        })?;
        let why = format!("no store of this order reports `{name}`");
        Some((why, setting(&["stores", store, table], format!("map the {word} of `{store}` that means `{name}`"))))
    }

    fn setting_of_reminder(&self, header: &Appointment) -> Option<(String, SettingToChange)> {
        let calendar = header.calendar.as_str();
        let stage = self.key.stage();
        let Some(config) = self.config.calendars.get(calendar) else {
            let why = format!("client.toml has no calendar `{calendar}`");
            return Some((why, setting(&["calendars", calendar], "add the calendar again".to_owned())));
        };
        // Behind the stage, a key may name the start or the attendee.
        if config.reminders.keys().any(|known| stage.starts_with(&known.name())) {
            return None;
        }
        let known: Vec<String> = config.reminders.keys().map(|known| format!("`{known}`")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let why = format!("the calendar `{calendar}` has no reminder `{stage}`; it has {known}");
        let path = ["calendars", calendar, "reminders"];
        Some((why, setting(&path, format!("add [calendars.{calendar}.reminders.\"{stage}\"] with a text"))))
    }

    /// The senders in the id scope of the subject.
    fn list_senders(&self) -> Vec<&str> {
        let subject = self.key.subject();
        let id = subject.split_once(':').map(|(_, id)| id).unwrap_or_default();
        let scope = id.split_once("..").map_or(MAIN_ID_SCOPE, |(scope, _)| scope);
        let config = self.config;
        let is_scope = |own: &str| own == scope;
        match InboxKind::of_subject(subject) {
            Some(InboxKind::Stores) => {
                config.stores.iter().filter(|(_, it)| is_scope(it.id_scope())).map(|(name, _)| name.as_str()).collect()
            }
            Some(InboxKind::Calendars) => {
                let of_scope = config.calendars.iter().filter(|(_, it)| is_scope(it.id_scope()));
                of_scope.map(|(name, _)| name.as_str()).collect()
            }
            Some(InboxKind::Forms) => {
                config.forms.iter().filter(|(_, it)| is_scope(it.id_scope())).map(|(name, _)| name.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn setting(path: &[&str], advice: String) -> SettingToChange {
    SettingToChange { path: path.iter().map(|key| (*key).to_owned()).collect(), advice }
}

/// The milestone of a stage. Behind it, a key may name a parcel, a refund or an invoice.
fn find_milestone(stage: &str) -> Option<Milestone> {
    let is_of = |milestone: &Milestone| {
        stage.strip_prefix(milestone.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    Milestone::ALL.into_iter().filter(is_of).max_by_key(|milestone| milestone.name().len())
}

/// The setting that decided the outcome of a delivery, if one did.
fn setting_of_outcome(delivery: &DeliveryEntry) -> Option<SettingToChange> {
    let sender = delivery.id.split('#').next().unwrap_or_default();
    let (path, advice): (Vec<&str>, &str) = match delivery.outcome.as_str() {
        "status-not-mapped" => (vec!["stores", sender, "statuses"], "map the status to a milestone"),
        "event-not-mapped" => (vec!["stores", sender, "events"], "map the event to a milestone"),
        "consent-field-missing" | "consent-unclear" | "no-consent" => {
            (vec!["forms", sender, "consent"], "name the field in which leads agree, and the answers that mean yes")
        }
        "country-not-allowed" => (vec!["forms", sender, "countries"], "add the country if its leads are greeted"),
        "other-form" => (vec!["forms", sender, "form_ids"], "add the id of the form"),
        "phone-ambiguous" => (vec!["forms", sender, "fields"], "name the field with the lead's number"),
        "already-greeted" => (vec!["forms", sender, "repeat"], "change when a number is greeted again"),
        "too-often" => (vec!["forms", sender, "per_phone"], "raise the limit if it is too low"),
        _ => return None,
    };
    Some(setting(&path, advice.to_owned()))
}

#[cfg(test)]
mod tests {
    use tellonce_core::ledger::LedgerItemError;

    use super::*;

    fn follow(config: &ClientConfig, key: &str, rows: &SubjectRows, refusals: &FoundRefusals) -> ChainStep {
        let key = IdempotencyKey::parse(key).unwrap();
        let facts =
            AbsenceFacts { config, key: &key, rows, without_message: &[], refusals, now: Timestamp::UNIX_EPOCH };
        facts.follow_chain().0.pop().unwrap()
    }

    fn demo_client() -> ClientConfig {
        ClientConfig::parse(include_str!("../../../clients/demo/client.toml")).unwrap()
    }

    #[test]
    fn a_row_that_cannot_be_read_is_not_a_missing_message() {
        let unreadable = |key: &str| SubjectRows {
            unreadable: vec![LedgerItemError::Unusable { key: key.to_owned(), attribute: "state" }],
            ..SubjectRows::default()
        };
        let none = FoundRefusals::default();
        let step = follow(&demo_client(), "order:1:ready", &unreadable("order:1:ready"), &none);
        assert_eq!(step.link, ChainLink::Sent);
        assert!(step.explanation.starts_with("its row is there and cannot be read: "), "{step:?}");
        let step = follow(&demo_client(), "appointment:8:24h", &unreadable("appointment:8:state"), &none);
        assert!(step.explanation.starts_with("the row of its appointment cannot be read: "), "{step:?}");
    }

    #[test]
    fn a_log_that_was_searched_in_part_excludes_no_refusal() {
        let config = demo_client();
        for (has_more, text) in [(false, " was refused in the last 24 hours"), (true, "there may be more")] {
            let found = FoundRefusals { has_more, ..FoundRefusals::default() };
            let step = follow(&config, "order:1:ready", &SubjectRows::default(), &found);
            assert!(step.explanation.contains(text), "{step:?}");
        }
    }

    #[test]
    fn a_line_without_events_is_named_and_not_the_phone() {
        let mut config = demo_client();
        for line in config.lines.values_mut() {
            line.events = false;
        }
        let line = config.lines.keys().next().unwrap().clone();
        let key = IdempotencyKey::parse("order:1:ready").unwrap();
        let (rows, refusals) = (SubjectRows::default(), FoundRefusals::default());
        let facts = AbsenceFacts {
            config: &config,
            key: &key,
            rows: &rows,
            without_message: &[],
            refusals: &refusals,
            now: Timestamp::UNIX_EPOCH,
        };
        let (_, why, setting) = facts.cause_without_report(&line);
        assert!(why.contains("`events = false`"), "{why}");
        assert_eq!(setting.unwrap().path, ["lines", line.as_str(), "events"]);
    }
}
