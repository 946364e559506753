//! The tasks that one invocation creates.

use std::sync::{Mutex, PoisonError};

use crate::{
    record_store::{ItemKey, RecordStore, RecordStoreError},
    task::QueueTask,
};

/// Creates tasks, and remembers them for this invocation: the `due` index may not show them yet.
pub struct NewTasks<'a> {
    store: &'a RecordStore,
    created: Mutex<Vec<CreatedTask>>,
}

struct CreatedTask {
    queue: String,
    key: ItemKey,
}

impl<'a> NewTasks<'a> {
    pub(crate) fn new(store: &'a RecordStore) -> Self {
        Self { store, created: Mutex::default() }
    }

    /// Creates a task unless its row exists.
    pub(crate) async fn create_task(&self, key: ItemKey, task: QueueTask) -> Result<(), RecordStoreError> {
        let queue = task.queue.clone();
        if self.store.put_record(&key, task, None).await?.is_some() {
            self.created.lock().unwrap_or_else(PoisonError::into_inner).push(CreatedTask { queue, key });
        }
        Ok(())
    }

    pub(crate) fn list_for_queue(&self, queue: &str) -> Vec<ItemKey> {
        let created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        created.iter().filter(|task| task.queue == queue).map(|task| task.key.clone()).collect()
    }
}
