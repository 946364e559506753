//! The facts of a stack that its evidence is made of.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tellonce_core::{
    attributes::ItemReader,
    client_config::ClientConfig,
    dispatch::LineCheck,
    fault::error_chain,
    provider::{LineEventKind, PROVIDER},
    secret::SecretLocation,
};

use crate::{
    client_stack::ClientStack,
    client_tables::{ClientTables, OpsError},
    operations::{Operation, OperationsError},
    operator::TESTING_FUNCTION,
    table_scan::{ScanCost, ScanProgress, ScannedDelivery, ScannedMessage},
};

/// The most conversations that are read, in one request.
pub(super) const MAX_CONVERSATIONS: usize = 100;
/// The newest operations that are read.
const MAX_OPERATIONS: u16 = 500;

/// The evidence could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The tables.
    #[error(transparent)]
    Tables(#[from] OpsError),
    /// The operations.
    #[error(transparent)]
    Operations(#[from] OperationsError),
}

/// A line, and what is known of its health.
pub(super) struct LineFacts {
    pub(super) name: String,
    /// Whether `client.toml` has its events on.
    pub(super) has_events: bool,
    /// Where its token is stored.
    pub(super) token: SecretLocation,
    /// Its health now, or why it could not be asked.
    pub(super) asked: Result<LineCheck, String>,
    /// What a function last saw, before this.
    pub(super) last_seen: Option<(Timestamp, String)>,
}

/// A customer's message that the line reported.
pub(super) struct InboundMessage {
    pub(super) message_id: String,
    /// Whether the line named the conversation.
    pub(super) has_conversation: bool,
    pub(super) delivery: ScannedDelivery,
}

pub(super) struct EvidenceFacts {
    pub(super) at: Timestamp,
    pub(super) lines: Vec<LineFacts>,
    pub(super) messages: Vec<ScannedMessage>,
    /// How many conversations with customers the ledger has.
    pub(super) conversations: usize,
    /// The newest message of a customer.
    pub(super) inbound: Option<InboundMessage>,
    /// All events of lines.
    pub(super) events: Vec<ScannedDelivery>,
    /// The newest operations first.
    pub(super) operations: Vec<Operation>,
    pub(super) ledger_cost: ScanCost,
    pub(super) event_cost: ScanCost,
}

impl ScannedDelivery {
    /// What kind of event of a line it is.
    pub(super) fn event_kind(&self) -> Option<LineEventKind> {
        PROVIDER.line_event_kind(self.topic.as_deref()?)
    }
}

/// The members of a conversation's record that are read. All others are of the customer.
#[derive(Deserialize)]
struct ConversationFacts {
    line: String,
    id: Option<String>,
    #[serde(default)]
    last_received: Option<ReceivedFacts>,
}

#[derive(Deserialize)]
struct ReceivedFacts {
    message_id: String,
    at: Timestamp,
    delivery_id: String,
}

impl ClientTables {
    pub(super) async fn read_facts(
        &self,
        stack: &ClientStack,
        config: &ClientConfig,
        on_progress: &ScanProgress<'_>,
    ) -> Result<EvidenceFacts, EvidenceError> {
        let lines = self.read_lines(stack, config).await?;
        let ledger = self.scan_ledger(|_| true, on_progress).await?;
        let (events, event_cost) = self.scan_line_events(on_progress).await?;
        let inbound = self.find_inbound(&ledger.conversations, &events).await?;
        let operations = self.operation_log();
        Ok(EvidenceFacts {
            at: stack.now(),
            lines,
            messages: ledger.messages,
            conversations: ledger.conversations.len(),
            inbound,
            events,
            operations: operations.list_newest(MAX_OPERATIONS).await?,
            ledger_cost: ledger.cost,
            event_cost,
        })
    }

    async fn read_lines(&self, stack: &ClientStack, config: &ClientConfig) -> Result<Vec<LineFacts>, OpsError> {
        let subjects: Vec<String> = config.lines.keys().map(|name| format!("line:{name}")).collect();
        // Read before the function asks, which would overwrite it.
        let states = self.read_states(&subjects).await?;
        let mut lines = Vec::new();
        for (name, line) in &config.lines {
            let state = states.get(&format!("line:{name}")).map(ItemReader);
            let asked = stack.command::<LineCheck>(TESTING_FUNCTION, &json!({ "line_health": name })).await;
            lines.push(LineFacts {
                name: name.clone(),
                has_events: line.events,
                token: config.secrets.locate(&config.line_secret_name(name)),
                asked: asked.map_err(|error| error_chain(&error)),
                last_seen: state.and_then(|state| Some((state.time("health_at")?, state.owned("health")?))),
            });
        }
        Ok(lines)
    }

    /// The newest message of a customer whose delivery the inbox still has.
    async fn find_inbound(
        &self,
        conversations: &[String],
        events: &[ScannedDelivery],
    ) -> Result<Option<InboundMessage>, OpsError> {
        let read = &conversations[..conversations.len().min(MAX_CONVERSATIONS)];
        let states = self.read_states(read).await?;
        let mut newest: Option<(Timestamp, InboundMessage)> = None;
        for item in states.values() {
            let record = ItemReader(item).text("record").unwrap_or_default();
            let Ok(conversation) = serde_json::from_str::<ConversationFacts>(record) else { continue };
            let Some(received) = conversation.last_received else { continue };
            let id = format!("{}#{}", conversation.line, received.delivery_id);
            let Some(delivery) = events.iter().find(|event| event.id == id) else { continue };
            if newest.as_ref().is_none_or(|(at, _)| *at < received.at) {
                let inbound = InboundMessage {
                    message_id: received.message_id,
                    has_conversation: conversation.id.is_some(),
                    delivery: delivery.clone(),
                };
                newest = Some((received.at, inbound));
            }
        }
        Ok(newest.map(|(_, inbound)| inbound))
    }
}
