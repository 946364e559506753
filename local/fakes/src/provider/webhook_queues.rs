//! The registered webhooks and the events that they have to get.

use std::collections::BTreeMap;

use tokio::sync::mpsc::UnboundedSender;

use super::{
    records::{RegisteredWebhook, new_id},
    webhook_events::{RaisedEvent, WebhookEvent, wants_event},
};

struct WebhookQueue {
    webhook: RegisteredWebhook,
    /// To its delivery task. `None` until that is started.
    queue: Option<UnboundedSender<RaisedEvent>>,
}

/// An event that its webhook has not got.
struct UnpostedEvent {
    /// The order in which events were raised.
    number: u64,
    is_queued: bool,
    event: RaisedEvent,
}

#[derive(Default)]
pub(super) struct WebhookQueues {
    hooks: Vec<WebhookQueue>,
    /// By delivery id.
    unposted: BTreeMap<String, UnpostedEvent>,
    raised_count: u64,
    /// Queued events without a first attempt.
    pub(super) pending_count: usize,
}

impl WebhookQueues {
    /// The webhooks, oldest first.
    pub(super) fn list(&self) -> impl Iterator<Item = &RegisteredWebhook> {
        self.hooks.iter().map(|hook| &hook.webhook)
    }

    /// Adds a webhook, or replaces one with the same id. Events that wait go to its new target.
    pub(super) fn put(&mut self, webhook: RegisteredWebhook) {
        match self.hooks.iter_mut().find(|known| known.webhook.id == webhook.id) {
            Some(known) => known.webhook = webhook,
            None => self.hooks.push(WebhookQueue { webhook, queue: None }),
        }
    }

    /// Removes a webhook. Events that wait for it are not posted any more.
    pub(super) fn remove(&mut self, id: &str) {
        self.hooks.retain(|hook| hook.webhook.id != id);
        self.unposted.retain(|_, unposted| unposted.event.webhook != id);
    }

    /// Starts the delivery tasks that are not running, each with its webhook's id.
    pub(super) fn start_missing(&mut self, start: impl Fn(String) -> UnboundedSender<RaisedEvent>) {
        for hook in self.hooks.iter_mut().filter(|hook| hook.queue.is_none()) {
            hook.queue = Some(start(hook.webhook.id.clone()));
        }
    }

    /// The events for each webhook that asks for them.
    pub(super) fn plan_events(&self, line: &str, events: &[WebhookEvent]) -> Vec<RaisedEvent> {
        let mut raised = Vec::new();
        for event in events {
            let wanting = self.list().filter(|webhook| wants_event(webhook, line, event));
            raised.extend(wanting.map(|webhook| RaisedEvent {
                id: new_id("delivery"),
                webhook: webhook.id.clone(),
                event: event.event.to_owned(),
                item: event.item.clone(),
            }));
        }
        raised
    }

    /// Passes an event to its delivery task. If that is not running, the event waits for
    /// [`Self::queue_unposted`].
    pub(super) fn raise(&mut self, event: RaisedEvent) {
        let number = self.raised_count;
        self.raised_count += 1;
        let is_queued = self.queue_event(&event);
        self.unposted.insert(event.id.clone(), UnpostedEvent { number, is_queued, event });
    }

    fn queue_event(&mut self, event: &RaisedEvent) -> bool {
        let queue =
            self.hooks.iter().find(|hook| hook.webhook.id == event.webhook).and_then(|hook| hook.queue.as_ref());
        let is_queued = queue.is_some_and(|queue| queue.send(event.clone()).is_ok());
        self.pending_count += usize::from(is_queued);
        is_queued
    }

    /// Queues the events of an earlier run that were not posted, in their order.
    pub(super) fn queue_unposted(&mut self) {
        let waiting = self.unposted.values().filter(|unposted| !unposted.is_queued);
        let mut waiting: Vec<(u64, RaisedEvent)> =
            waiting.map(|unposted| (unposted.number, unposted.event.clone())).collect();
        waiting.sort_by_key(|(number, _)| *number);
        for (_, event) in waiting {
            let is_queued = self.queue_event(&event);
            if let Some(unposted) = self.unposted.get_mut(&event.id) {
                unposted.is_queued = is_queued;
            }
        }
    }

    /// Whether one of these events is not recorded as posted.
    pub(super) fn has_unposted(&self, ids: &[String]) -> bool {
        ids.iter().any(|id| self.unposted.contains_key(id))
    }

    /// The events were posted, or given up.
    pub(super) fn remove_posted(&mut self, ids: &[String]) {
        for id in ids {
            self.unposted.remove(id);
        }
    }
}
