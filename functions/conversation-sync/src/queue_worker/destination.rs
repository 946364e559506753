//! The CRMs and targets that tasks are delivered to, and the connections to them.

use tellonce_core::{
    base_urls::BaseUrls,
    bootstrap::AwsClients,
    client_config::{ClientConfig, CrmConfig, TargetConfig},
};

use super::person_ids::PersonIds;
use crate::{crm::AccessTokenStore, record_store::RecordStore};

/// The destination of a queue's tasks, with its name in `client.toml`.
pub(super) enum Destination<'a> {
    Crm(&'a str, &'a CrmConfig),
    Target(&'a str, &'a TargetConfig),
}

impl<'a> Destination<'a> {
    /// None for a queue whose CRM or target was removed from the configuration.
    pub(super) fn of_queue(config: &'a ClientConfig, queue: &str) -> Option<Self> {
        match queue.split_once(':')? {
            ("crm", name) => config.crms.get_key_value(name).map(|(name, crm)| Self::Crm(name, crm)),
            ("target", name) => config.targets.get_key_value(name).map(|(name, target)| Self::Target(name, target)),
            _ => None,
        }
    }
}

/// What the deliveries of tasks may touch.
pub(super) struct DestinationConnections {
    pub(super) store: RecordStore,
    pub(super) http: reqwest::Client,
    pub(super) aws: AwsClients,
    /// Replace the origins of CRMs in local runs and tests.
    pub(super) crm_base_urls: BaseUrls,
    /// Replace the origins of targets in local runs and tests.
    pub(super) target_base_urls: BaseUrls,
    pub(super) access_tokens: AccessTokenStore,
    pub(super) person_ids: PersonIds,
}

impl DestinationConnections {
    pub(super) fn from_environment(
        http: reqwest::Client,
        aws: &AwsClients,
        store: RecordStore,
        ledger_table: String,
    ) -> Self {
        Self {
            person_ids: PersonIds::new(store.clone()),
            store,
            http,
            aws: aws.clone(),
            crm_base_urls: BaseUrls::from_variable("CRM_BASE_URL"),
            target_base_urls: BaseUrls::from_variable("TARGET_BASE_URL"),
            access_tokens: AccessTokenStore::new(aws.dynamodb(), ledger_table),
        }
    }
}
