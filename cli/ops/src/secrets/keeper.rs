//! The commands that change secrets: each has a plan, and is recorded as every command of an
//! operator is.

use std::fmt;

use serde::Serialize;
use tellonce_core::client_config::ClientConfig;

use super::{
    change::{self, NewValues, SecretsPlan},
    secrets_error::SecretsError,
};
use crate::{
    client_stack::{ClientStack, StackError},
    operations::OperationLog,
    sentences::count,
};

/// The function that keeps values of senders.
const RECEIVER: &str = "webhook-receiver";

/// What the command of a plan ends with, if it ends the older values.
pub(super) const ENDS_OLD: &str = ", and end the values before at once";

/// Changes the secrets of one client as one operator.
pub struct SecretKeeper<'a> {
    stack: &'a ClientStack,
    config: &'a ClientConfig,
    who: String,
    /// None before the first deployment.
    log: Option<OperationLog>,
}

/// What a command did to secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SecretsOutcome {
    /// How many values are stored.
    pub stored: usize,
    /// Whether the receiver was started again.
    pub restarted: bool,
}

/// In words, as the ledger records it.
impl fmt::Display for SecretsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stored {}", count(self.stored, "value"))?;
        if self.restarted { f.write_str(", and started webhook-receiver again") } else { Ok(()) }
    }
}

/// The command of a plan in words.
impl fmt::Display for SecretsPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.changes.iter().flat_map(|change| &change.values).map(String::as_str).collect();
        match &names[..] {
            [] => f.write_str("store no value"),
            [name] => write!(f, "store the value {name}"),
            names => write!(f, "store {} values: {}", names.len(), names.join(", ")),
        }?;
        if self.ends_old { f.write_str(ENDS_OLD) } else { Ok(()) }
    }
}

impl<'a> SecretKeeper<'a> {
    /// Finds the ledger, which records each command, and who the caller is. `before_deployment`
    /// says that the stack and its ledger do not exist yet.
    pub async fn connect(
        stack: &'a ClientStack,
        config: &'a ClientConfig,
        before_deployment: bool,
    ) -> Result<Self, SecretsError> {
        let log = match stack.find_tables().await {
            Ok(tables) => Some(tables.operation_log()),
            Err(StackError::NotDeployed { .. }) if before_deployment => None,
            Err(error) => return Err(error.into()),
        };
        let who = stack.identify_caller().await?;
        Ok(Self { stack, config, who, log })
    }

    pub(super) fn stack(&self) -> &ClientStack {
        self.stack
    }

    pub(super) fn config(&self) -> &ClientConfig {
        self.config
    }

    pub(super) fn log(&self) -> Option<&OperationLog> {
        self.log.as_ref()
    }

    /// The ARN of the caller, as STS names it.
    pub fn who(&self) -> &str {
        &self.who
    }

    /// Whether the ledger records the command.
    pub fn is_recorded(&self) -> bool {
        self.log.is_some()
    }

    /// What storing these values will do. Has no effect, except that AWS counts a read of each
    /// secret that exists.
    pub async fn plan(&self, values: &NewValues) -> Result<SecretsPlan, SecretsError> {
        change::plan(self.stack, self.config, values).await
    }

    /// Does what a plan says, and records it: before the effect, and with the outcome after it.
    pub async fn run(&self, plan: &SecretsPlan, because: Option<&str>) -> Result<SecretsOutcome, SecretsError> {
        match &self.log {
            Some(log) => log.record(self.stack, &self.who, &plan.to_string(), because, self.apply(plan)).await,
            None => self.apply(plan).await,
        }
    }

    async fn apply(&self, plan: &SecretsPlan) -> Result<SecretsOutcome, SecretsError> {
        change::apply(self.stack, plan).await?;
        if plan.ends_old && self.log.is_some() {
            let time = self.stack.now().strftime("%Y-%m-%d %H:%M").to_string();
            self.stack.restart_function(RECEIVER, &format!("started again at {time} UTC, to forget secrets")).await?;
        }
        Ok(SecretsOutcome { stored: plan.count_values(), restarted: plan.ends_old && self.log.is_some() })
    }
}
