//! Creates the entry of a message for each CRM.

use jiff::Timestamp;
use tellonce_core::{
    client_config::ClientConfig,
    contact::Phone,
    inbox::InboxItem,
    ledger::{IdempotencyKey, crm_queue_name},
    wording,
};

use crate::{
    crm::CrmEntry,
    line_event::LineMessage,
    message_record::message_subject,
    record_store::{ItemKey, RecordStore, RecordStoreError, retention_days},
    task::{QueueTask, TaskContent},
};

/// Creates one task for each CRM that covers the line. A repeated call creates nothing new.
pub(crate) async fn create_crm_tasks(
    config: &ClientConfig,
    store: &RecordStore,
    delivery: &InboxItem,
    message: &LineMessage,
    phone: &Phone,
    name: Option<&str>,
    now: Timestamp,
) -> Result<(), RecordStoreError> {
    let line = delivery.sender.as_str();
    for (crm, rule) in config.crms.iter().filter(|(_, crm)| crm.covers_line(line)) {
        let entry = CrmEntry {
            reference: format!("{line}:{}", IdempotencyKey::escape_id(&message.message_id)),
            line: line.to_owned(),
            conversation_id: message.conversation_id.clone(),
            phone: phone.clone(),
            name: name.and_then(wording::clean_name),
            direction: message.direction,
            kind: message.kind.clone(),
            sent_at: message.sent_at,
            text: message.text.as_deref().and_then(|text| rule.text.apply_to(text)),
        };
        let key = ItemKey::new(message_subject(line, &message.message_id), format!("crm-{crm}"));
        let content = TaskContent::Entry(Box::new(entry));
        let task = QueueTask::new(crm_queue_name(crm), content, retention_days(config), now);
        let task = task.for_delivery(delivery.id.clone());
        store.put_record(&key, task, None).await?;
    }
    Ok(())
}
