//! The clock's checks: conversations in which a customer waits, records without a ledger row, and
//! private ids for whose number something waited.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use tellonce_core::{
    clock::{Clock, Deadline},
    fault::catch_failure,
};

use crate::{
    alert::AlertSender,
    conversation::CONVERSATION_QUEUE,
    lid_contact::LidContacts,
    message_record::RECORD_QUEUE,
    reconcile::Reconciler,
    record_store::{ItemKey, RecordStore, RecordStoreError},
    sync_error::SyncError,
};

/// The most rows of one query.
const ROWS_PER_QUERY: i32 = 200;
/// Rows that are checked at the same time.
const CONCURRENT_CHECKS: usize = 8;

/// What the clock's checks may touch.
pub(crate) struct DueChecks<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) store: &'a RecordStore,
    pub(crate) alerts: &'a AlertSender<'a>,
    pub(crate) reconciler: &'a Reconciler<'a>,
    pub(crate) lid_contacts: &'a LidContacts<'a>,
}

impl DueChecks<'_> {
    /// Checks what is due until the deadline. A row that fails does not stop the others.
    pub(crate) async fn run(&self, until: Deadline) -> Result<(), RecordStoreError> {
        // Customers who wait come first: for them the team is alerted.
        let conversations = self
            .process_due_rows(CONVERSATION_QUEUE, until, async |key| self.alerts.alert_for_waiting_customer(key).await);
        let conversations = conversations.await;
        let records = self.process_due_rows(RECORD_QUEUE, until, async |key| {
            if LidContacts::owns_row(key) {
                return self.lid_contacts.settle_due_row(key).await;
            }
            self.reconciler.reconcile_due_record(key).await
        });
        records.await.and(conversations)
    }

    async fn process_due_rows(
        &self,
        queue: &str,
        until: Deadline,
        process: impl AsyncFn(&ItemKey) -> Result<(), SyncError>,
    ) -> Result<(), RecordStoreError> {
        let process = &process;
        let (mut seen, mut from, mut has_new) = (BTreeSet::new(), None, false);
        while !until.remaining().is_zero() {
            let due = self.store.list_due(queue, self.clock.now(), ROWS_PER_QUERY, from.take()).await?;
            // Rows that failed, or that the index still shows, wait for the next minute.
            let new: Vec<ItemKey> = due.keys.into_iter().filter(|key| seen.insert(key.clone())).collect();
            has_new |= !new.is_empty();
            let each = futures::stream::iter(new).for_each_concurrent(CONCURRENT_CHECKS, |key| async move {
                // If the table hangs, each check takes seconds. The rest waits for the next minute.
                if until.remaining().is_zero() {
                    return;
                }
                if let Err(failure) = catch_failure(process(&key)).await {
                    tracing::error!(row.key = %key, "could not check row {key}: {failure}");
                }
            });
            each.await;
            from = due.next;
            if from.is_none() {
                if !has_new {
                    break;
                }
                // Again from the beginning: more rows may have become due meanwhile.
                has_new = false;
            }
        }
        Ok(())
    }
}
