//! The tasks that were just created, as the ledger's stream reports them.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use tellonce_core::batch::StreamEvent;

use crate::record_store::ItemKey;

/// New tasks by their queue. The `due` index may not show them yet.
#[derive(Debug, Default)]
pub struct CreatedTasks(BTreeMap<String, Vec<ItemKey>>);

/// A row of the ledger's table that waits in a queue, as far as it is needed here.
#[derive(Deserialize)]
struct TaskImage<'a> {
    #[serde(borrow)]
    subject: StringAttribute<'a>,
    #[serde(borrow)]
    stage: StringAttribute<'a>,
    #[serde(borrow)]
    due_queue: StringAttribute<'a>,
}

#[derive(Deserialize)]
struct StringAttribute<'a> {
    #[serde(rename = "S", borrow)]
    s: Cow<'a, str>,
}

impl CreatedTasks {
    /// The tasks of a batch of the ledger's stream, of which the template's filter passes only new
    /// tasks. None for a batch of an inbox.
    pub fn from_batch(batch: &StreamEvent) -> Option<Self> {
        let mut tasks = Self::default();
        for record in &batch.records {
            let image = record.dynamodb.new_image.as_deref()?;
            let image: TaskImage<'_> = serde_json::from_str(image.get()).ok()?;
            let key = ItemKey::new(image.subject.s, image.stage.s);
            tasks.0.entry(image.due_queue.s.into_owned()).or_default().push(key);
        }
        Some(tasks)
    }

    pub(crate) fn list_for_queue(&self, queue: &str) -> Vec<ItemKey> {
        self.0.get(queue).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse_batch(images: &[Value]) -> Option<CreatedTasks> {
        let record = |image: &Value| json!({"dynamodb": {"SequenceNumber": "1", "NewImage": image}});
        let records: Vec<Value> = images.iter().map(record).collect();
        CreatedTasks::from_batch(&serde_json::from_value(json!({"Records": records})).unwrap())
    }

    #[test]
    fn new_tasks_are_listed_by_queue_and_deliveries_are_none() {
        let task = |stage: &str, queue: &str| json!({"subject": {"S": "message:main:\"1\""}, "stage": {"S": stage}, "due_queue": {"S": queue}});
        let delivery = json!({"id": {"S": "main#1"}, "sender": {"S": "main"}, "body": {"B": ""}});
        let tasks = parse_batch(&[task("crm-hub", "crm:hub"), task("crm-own", "crm:own")]).unwrap();
        assert_eq!(tasks.list_for_queue("crm:hub"), [ItemKey::new("message:main:\"1\"", "crm-hub")]);
        assert_eq!(tasks.list_for_queue("crm:own").len(), 1);
        assert!(tasks.list_for_queue("target:desk").is_empty());
        assert!(parse_batch(&[delivery]).is_none());
    }
}
