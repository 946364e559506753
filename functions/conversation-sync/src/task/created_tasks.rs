//! The tasks that were just created: by this invocation, or as the ledger's stream reports them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde_json::Value as Json;
use tellonce_core::{
    attributes::{Item, parse_image},
    batch::StreamEvent,
};

use super::QueueTask;
use crate::record_store::{ItemKey, StoredRecord};

/// New tasks by their queue. The `due` index may not show them yet.
#[derive(Debug, Default)]
pub struct CreatedTasks(Mutex<BTreeMap<String, Vec<NewTask>>>);

/// A task that was just created, with its row. Without the row, the worker reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// The row's key.
    pub key: ItemKey,
    /// The row as it was created. A claim succeeds only if it is still that.
    pub row: Option<StoredRecord<QueueTask>>,
}

impl CreatedTasks {
    /// The tasks of a batch of the ledger's stream. None for a batch of an inbox.
    pub fn from_batch(batch: &StreamEvent, ledger_table: &str) -> Option<Self> {
        let stream = format!(":table/{ledger_table}/stream/");
        if !batch.records.first()?.event_source_arn.contains(&stream) {
            return None;
        }
        let tasks = Self::default();
        for image in batch.records.iter().filter_map(|record| record.dynamodb.new_image.as_deref()) {
            let Some((queue, task)) = parse_task(image.get()) else {
                // The template's filter passes only tasks. If it is one, it stays due.
                tracing::error!("skipped a record of the ledger's stream that is not a task");
                continue;
            };
            tasks.add_task(queue, task);
        }
        Some(tasks)
    }

    pub(crate) fn add_task(&self, queue: String, task: NewTask) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(queue).or_default().push(task);
    }

    pub(crate) fn list_for_queue(&self, queue: &str) -> Vec<NewTask> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned().unwrap_or_default()
    }
}

/// The queue and the task of a row of the ledger's table. A row that this version cannot read as a
/// whole has its key only.
fn parse_task(image: &str) -> Option<(String, NewTask)> {
    let image: Json = serde_json::from_str(image).ok()?;
    let text = |name: &str| image[name]["S"].as_str();
    let (queue, key) = (text("due_queue")?.to_owned(), ItemKey::new(text("subject")?, text("stage")?));
    let row = parse_image(&image).and_then(|item: Item| StoredRecord::from_item(&key, &item).ok());
    Some((queue, NewTask { key, row }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse_batch(table: &str, images: &[Value]) -> Option<CreatedTasks> {
        let arn = format!("arn:aws:dynamodb:eu-west-1:1:table/{table}/stream/2026");
        let record =
            |image: &Value| json!({"eventSourceARN": arn, "dynamodb": {"SequenceNumber": "1", "NewImage": image}});
        let records: Vec<Value> = images.iter().map(record).collect();
        CreatedTasks::from_batch(&serde_json::from_value(json!({"Records": records})).unwrap(), "Ledger")
    }

    #[test]
    fn new_tasks_are_listed_by_queue_and_deliveries_are_none() {
        let task = |stage: &str, queue: &str| json!({"subject": {"S": "message:main:\"1\""}, "stage": {"S": stage}, "due_queue": {"S": queue}});
        let other = json!({"subject": {"S": "line:main"}, "stage": {"S": "state"}});
        let tasks = parse_batch("Ledger", &[task("crm-hub", "crm:hub"), other, task("crm-own", "crm:own")]).unwrap();
        let new_task = NewTask { key: ItemKey::new("message:main:\"1\"", "crm-hub"), row: None };
        assert_eq!(tasks.list_for_queue("crm:hub"), [new_task], "its row cannot be read");
        assert_eq!(tasks.list_for_queue("crm:own").len(), 1);
        assert!(tasks.list_for_queue("target:desk").is_empty());
        let written = serde_json::to_string(&crate::task::waiting_task(jiff::Timestamp::UNIX_EPOCH)).unwrap();
        let mut whole = task("crm-hub", "crm:hub");
        whole["record"] = json!({"S": written});
        whole["record_version"] = json!({"N": "1"});
        let tasks = parse_batch("Ledger", &[whole]).unwrap().list_for_queue("crm:hub");
        assert_eq!(tasks[0].row.as_ref().unwrap().value.queue, "crm:sheet");
        let delivery = json!({"id": {"S": "main#1"}, "sender": {"S": "main"}, "body": {"B": ""}});
        assert!(parse_batch("LineInbox", &[delivery]).is_none());
    }
}
