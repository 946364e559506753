//! The tasks that were just created: by this invocation, or as the ledger's stream reports them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;
use tellonce_core::{attributes::TextAttribute, batch::StreamEvent};

use crate::record_store::ItemKey;

/// New tasks by their queue. The `due` index may not show them yet.
#[derive(Debug, Default)]
pub struct CreatedTasks(Mutex<BTreeMap<String, Vec<ItemKey>>>);

/// A row of the ledger's table that waits in a queue, as far as it is needed here.
#[derive(Deserialize)]
struct TaskImage<'a> {
    #[serde(borrow)]
    subject: TextAttribute<'a>,
    #[serde(borrow)]
    stage: TextAttribute<'a>,
    #[serde(borrow)]
    due_queue: TextAttribute<'a>,
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
            let Ok(TaskImage { subject, stage, due_queue }) = serde_json::from_str(image.get()) else {
                // The template's filter passes only tasks. If it is one, it stays due.
                tracing::error!("skipped a record of the ledger's stream that is not a task");
                continue;
            };
            tasks.add_task(due_queue.s.into_owned(), ItemKey::new(subject.s, stage.s));
        }
        Some(tasks)
    }

    pub(crate) fn add_task(&self, queue: String, key: ItemKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(queue).or_default().push(key);
    }

    pub(crate) fn list_for_queue(&self, queue: &str) -> Vec<ItemKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned().unwrap_or_default()
    }
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
        assert_eq!(tasks.list_for_queue("crm:hub"), [ItemKey::new("message:main:\"1\"", "crm-hub")]);
        assert_eq!(tasks.list_for_queue("crm:own").len(), 1);
        assert!(tasks.list_for_queue("target:desk").is_empty());
        let delivery = json!({"id": {"S": "main#1"}, "sender": {"S": "main"}, "body": {"B": ""}});
        assert!(parse_batch("LineInbox", &[delivery]).is_none());
    }
}
