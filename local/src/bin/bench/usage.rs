//! What a function asked of its peers, as the stand-ins counted it.

use std::collections::BTreeMap;

use local::{Stack, peers::Peer};

use crate::stats::count64;

/// Whoever is told of messages.
pub(crate) const CRMS: [Peer; 5] = [Peer::HubSpotCrm, Peer::Pipedrive, Peer::Zoho, Peer::Sheets, Peer::CrmWebhook];
/// Where the team is called.
const TEAM: [Peer; 5] = [Peer::Slack, Peer::Teams, Peer::Ses, Peer::Sns, Peer::TargetWebhook];

/// Requests by peer, over some events.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Usage {
    /// Events they were made for.
    pub(crate) events: u64,
    /// To DynamoDB, by operation.
    pub(crate) dynamo: BTreeMap<String, u64>,
    /// Of these, refused because a condition did not hold.
    pub(crate) refused: u64,
    /// Write units, indexes included. The stand-in can't price a refused write, so those add nothing.
    pub(crate) write_units: f64,
    /// Read units, indexes included.
    pub(crate) read_units: f64,
    /// To Secrets Manager.
    pub(crate) secrets: u64,
    /// EZWhatsApp: how is the line?
    pub(crate) health: u64,
    /// EZWhatsApp: send this.
    pub(crate) sends: u64,
    /// To CRMs and to where the team is called, by peer.
    pub(crate) peers: BTreeMap<Peer, u64>,
    /// Of these, those without a 2xx.
    pub(crate) peers_failed: u64,
}

impl Usage {
    /// Forgets what was counted so far.
    pub(crate) fn reset(stack: &Stack) {
        stack.dynamo().counters().reset();
        stack.secrets().reset_requests();
        stack.ezw().reset_counters();
        stack.peers().reset_requests();
    }

    /// What was counted since, as the usage of one event.
    pub(crate) fn of_one(stack: &Stack) -> Self {
        let counters = stack.dynamo().counters();
        let mut usage = Self {
            events: 1,
            write_units: counters.write_units(),
            read_units: counters.read_units(),
            secrets: stack.secrets().total_requests(),
            ..Self::default()
        };
        for ((operation, _), used) in counters.snapshot() {
            *usage.dynamo.entry(operation).or_default() += used.requests;
            usage.refused += used.errors.values().sum::<u64>();
        }
        for (request, times) in stack.ezw().counters().requests {
            if request.starts_with("GET ") {
                usage.health += times;
            } else {
                usage.sends += times;
            }
        }
        for peer in CRMS.into_iter().chain(TEAM) {
            for (status, times) in stack.peers().answers(peer) {
                *usage.peers.entry(peer).or_default() += times;
                if !(200..300).contains(&status) {
                    usage.peers_failed += times;
                }
            }
        }
        usage
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        for (operation, times) in &other.dynamo {
            *self.dynamo.entry(operation.clone()).or_default() += times;
        }
        self.refused += other.refused;
        self.write_units += other.write_units;
        self.read_units += other.read_units;
        self.secrets += other.secrets;
        self.health += other.health;
        self.sends += other.sends;
        for (peer, times) in &other.peers {
            *self.peers.entry(*peer).or_default() += times;
        }
        self.peers_failed += other.peers_failed;
    }

    /// A total as so much per event.
    pub(crate) fn per_event(&self, total: f64) -> f64 {
        if self.events == 0 { 0.0 } else { total / count64(self.events) }
    }

    /// All requests to DynamoDB.
    pub(crate) fn dynamo_requests(&self) -> u64 {
        self.dynamo.values().sum()
    }
}
