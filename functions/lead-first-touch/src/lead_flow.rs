//! The flow of one delivery: read it, read back what it leaves out, and greet whoever may be, once.

use futures::StreamExt as _;
use jiff::Timestamp;
use tellonce_core::{
    client_config::{FormConfig, LeadLimit, RepeatAction, TimeSpan},
    dispatch::{DispatchError, DispatchResult, FirstTouchDispatchResult, GreetingRules, Invocation, RELEASED_AT},
    fault::{ClassifyFault, Fault, error_chain},
    greeting::Admission,
    inbox::{InboxError, InboxItem},
    ledger::{LedgerError, MessageState},
    lookup::{LookupResponse, SenderApiError},
    secret::{Secret, SecretError},
    telemetry::{self, Metric},
};

use crate::{
    LeadGreeter,
    lead::{Lead, LeadDelivery, LeadReference, ParsedLead, SkipReason, parse_lead, parse_lead_response},
    plan::plan_first_touch,
};

/// The outcome of a lead that waits for a human begins so.
pub(crate) const HELD_OUTCOME: &str = "held-for-review";
/// The outcome of a lead that a human has dropped.
pub(crate) const DROPPED_OUTCOME: &str = "dropped: somebody looked at the form's leads and dropped them";
/// Leads of one delivery that are asked for side by side.
const MAX_CONCURRENT_LOOKUPS: usize = 10;

/// A delivery could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    /// Telling failed.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The credential for the sender's API is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The sender could not be asked.
    #[error("the sender could not be asked for the lead")]
    Lookup(#[from] SenderApiError),
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// A delivery names more leads than there is time for. Those that were greeted are known the next time.
    #[error("the function's time ran out before all leads of the delivery were asked for")]
    OutOfTime,
}

impl ClassifyFault for LeadError {
    fn fault(&self) -> Fault {
        match self {
            Self::Dispatch(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::Lookup(error) => error.fault(),
            Self::Inbox(error) => error.fault(),
            Self::OutOfTime => Fault::Transient,
        }
    }
}

impl LeadGreeter {
    /// Takes one delivery through and gives what to record beside it: nothing, if the ledger's rows say it all. An error
    /// means that it shall come again, unless it is permanent.
    pub(crate) async fn process_delivery(
        &self,
        invocation: &Invocation,
        entry: &InboxItem,
    ) -> Result<Option<String>, LeadError> {
        let config = &self.dispatcher.config;
        let Some((name, form)) = config.forms.get_key_value(&entry.sender) else {
            return Ok(Some("form-removed: this form is no longer in the configuration".to_owned()));
        };
        let (headers, body, received_at) = (&entry.headers, entry.body.as_slice(), entry.received_at);
        let delivery = LeadDelivery { form_name: name, form, config, headers, body, received_at };
        let outcome = match parse_lead(&delivery) {
            ParsedLead::Lead(lead) => self.greet_lead(invocation, entry, form, &lead).await?,
            ParsedLead::NeedsLookup(references) => {
                self.greet_referenced_leads(invocation, entry, &delivery, &references).await?
            }
            ParsedLead::Skipped(reason) => Some(self.record_skip(entry, &reason)),
        };
        match outcome {
            Some(outcome) if outcome.starts_with(HELD_OUTCOME) => {
                self.record_held(entry, &outcome).await.map(|()| None)
            }
            outcome => Ok(outcome),
        }
    }

    /// Asks for the leads that a delivery names, and greets them.
    async fn greet_referenced_leads(
        &self,
        invocation: &Invocation,
        entry: &InboxItem,
        delivery: &LeadDelivery<'_>,
        references: &[LeadReference],
    ) -> Result<Option<String>, LeadError> {
        let greetings = references.iter().map(async |reference| {
            if !invocation.has_time_for_send() {
                return Err(LeadError::OutOfTime);
            }
            match self.look_up_lead(delivery, reference).await? {
                Ok(lead) => self.greet_lead(invocation, entry, delivery.form, &lead).await,
                Err(reason) => Ok(Some(self.record_skip(entry, &reason))),
            }
        });
        let (mut outcomes, mut retry_error) = (Vec::new(), None);
        let mut results = futures::stream::iter(greetings).buffered(MAX_CONCURRENT_LOOKUPS);
        while let Some(outcome) = results.next().await {
            match outcome {
                Ok(outcome) => outcomes.extend(outcome),
                Err(error) if error.fault() == Fault::Permanent => {
                    tracing::error!(delivery.id = entry.id, "{}", error_chain(&error));
                    let now = self.dispatcher.clock.now();
                    telemetry::count_metric(&self.dispatcher.config.client, Metric::DeliveriesQuarantined, now);
                    outcomes.push(format!("failed: {}", error_chain(&error)));
                }
                // One that cannot be asked for now does not hold up the others; all of them come again.
                Err(error) => retry_error = Some(error),
            }
        }
        // What waits for a human is found by how the outcome begins.
        outcomes.sort_by_key(|outcome| !outcome.starts_with(HELD_OUTCOME));
        match retry_error {
            Some(error) => Err(error),
            None => Ok(Some(outcomes.join("; ")).filter(|outcomes| !outcomes.is_empty())),
        }
    }

    /// Writes down that a delivery waits for a human, unless one has said meanwhile what becomes of it: whoever let go what
    /// was held could not see this one yet.
    async fn record_held(&self, entry: &InboxItem, outcome: &str) -> Result<(), LeadError> {
        let now = self.dispatcher.clock.now();
        self.inbox.record_outcome(&entry.id, outcome, now).await?;
        match self.dispatcher.ledger.read_lead_rate(&entry.sender).await?.operator_decision(entry.received_at) {
            Some(Admission::Dropped) => {
                drop(self.inbox.replace_outcome(&entry.id, HELD_OUTCOME, DROPPED_OUTCOME, now).await?)
            }
            Some(_) => drop(self.inbox.replay_delivery(&entry.id, HELD_OUTCOME).await?),
            None => {}
        }
        Ok(())
    }

    /// Greets a lead, unless its form has had too many.
    async fn greet_lead(
        &self,
        invocation: &Invocation,
        entry: &InboxItem,
        form: &FormConfig,
        lead: &Lead,
    ) -> Result<Option<String>, LeadError> {
        let (dispatcher, name) = (&self.dispatcher, entry.sender.as_str());
        let client = &dispatcher.config.client;
        let now = dispatcher.clock.now();
        let mut message = match plan_first_touch(&dispatcher.config, form, lead, &entry.id, now) {
            Ok(message) => message,
            Err(not_sent) => {
                tracing::error!(delivery.id = entry.id, form.name = name, "nothing can be said to a lead: {not_sent}");
                telemetry::count_metric(client, Metric::DeliveriesQuarantined, now);
                return Ok(Some(not_sent.to_outcome()));
            }
        };
        let lead_rate = dispatcher.ledger.count_lead(name, form.burst, entry.received_at, now).await?;
        let admission = lead_rate.decide_admission(form.burst, entry.received_at);
        match admission {
            Admission::Admitted => {}
            Admission::Released(at) => drop(message.context.values.insert(RELEASED_AT.to_owned(), at.to_string())),
            Admission::Dropped => return Ok(Some(DROPPED_OUTCOME.to_owned())),
            // A delivery that comes again may be of somebody who was greeted before there were too many.
            Admission::Held if dispatcher.ledger.read_row(&message.key).await?.is_some() => {}
            Admission::Held => {
                if lead_rate.held_since.is_none() && dispatcher.ledger.hold_form(name, now).await? {
                    let LeadLimit { leads, within: TimeSpan(within) } = form.burst;
                    tracing::error!(
                        form.name = name,
                        "more than {leads} leads in {within:#}: nobody is greeted until somebody has looked"
                    );
                }
                telemetry::count_metric(client, Metric::LeadsHeld, now);
                return Ok(Some(format!(
                    "{HELD_OUTCOME}: the form had too many leads at once; look at them, then let them go (docs/operations.md)"
                )));
            }
        }
        let rules = GreetingRules { repeat: form.repeat, per_phone: form.per_phone };
        let greeted = dispatcher.dispatch_first_touch(invocation, &message, name, rules).await?;
        let is_repeat = matches!(
            greeted,
            FirstTouchDispatchResult::AlreadyGreeted
                | FirstTouchDispatchResult::Dispatched(
                    DispatchResult::AlreadyKnown(_, MessageState::Suppressed)
                        | DispatchResult::PayloadConflict(_, MessageState::Suppressed)
                )
        );
        if is_repeat && form.repeat.then == RepeatAction::Escalate {
            telemetry::count_metric(client, Metric::LeadsEscalated, now);
        }
        Ok(match greeted {
            FirstTouchDispatchResult::Dispatched(
                DispatchResult::AlreadyKnown(key, state) | DispatchResult::PayloadConflict(key, state),
            ) => {
                if matches!(admission, Admission::Admitted | Admission::Held) {
                    dispatcher.ledger.uncount_lead(name, form.burst, now).await?;
                }
                Some(format!("already-known: {key} is {} in the ledger", state.name()))
            }
            FirstTouchDispatchResult::Dispatched(_) => None,
            FirstTouchDispatchResult::AlreadyGreeted => {
                Some(format!("already-greeted: {} says by which lead", message.key))
            }
            FirstTouchDispatchResult::LimitReached => Some(format!("too-often: {} says how often", message.key)),
            FirstTouchDispatchResult::OptedOut => Some("opted-out: they have asked not to be written to".to_owned()),
        })
    }

    /// A lead that a delivery only names, or why nobody is greeted for it.
    async fn look_up_lead(
        &self,
        delivery: &LeadDelivery<'_>,
        reference: &LeadReference,
    ) -> Result<Result<Lead, SkipReason>, LeadError> {
        let error = match self.request_lead(delivery, reference).await {
            Ok(LookupResponse::Found(body)) => return Ok(parse_lead_response(delivery, reference, &body)),
            Ok(LookupResponse::NotFound) => return Ok(Err(SkipReason::LeadNotFound)),
            Err(error) => error,
        };
        let reason = match &error {
            LeadError::Secret(
                SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. },
            ) => SkipReason::LookupNotConfigured,
            // To come again would hold up everybody behind it, and end the same way.
            LeadError::Lookup(SenderApiError::CredentialRefused { .. }) => SkipReason::CredentialRefused,
            other if other.fault() == Fault::Permanent => SkipReason::LookupFailed,
            _ => return Err(error),
        };
        tracing::error!(form.name = delivery.form_name, "{}", error_chain(&error));
        Ok(Err(reason))
    }

    async fn request_lead(
        &self,
        delivery: &LeadDelivery<'_>,
        reference: &LeadReference,
    ) -> Result<LookupResponse, LeadError> {
        let secret_name = self.dispatcher.config.form_secret_name(delivery.form_name);
        let now: Timestamp = self.dispatcher.clock.now();
        let credential = self.dispatcher.secrets.get_current(&secret_name, now).await?;
        let request_with = async |credential: &Secret| {
            Ok(self.lookup_client.send_request(delivery.form, reference, credential, &secret_name).await?)
        };
        let is_refused =
            |error: &LeadError| matches!(error, LeadError::Lookup(SenderApiError::CredentialRefused { .. }));
        self.dispatcher.secrets.retry_with_newer(&secret_name, &credential, now, is_refused, request_with).await
    }

    /// Writes down that nobody is greeted.
    fn record_skip(&self, entry: &InboxItem, reason: &SkipReason) -> String {
        if reason.needs_attention() {
            tracing::warn!(delivery.id = entry.id, "{reason}");
            telemetry::count_metric(
                &self.dispatcher.config.client,
                Metric::DeliveriesQuarantined,
                self.dispatcher.clock.now(),
            );
        }
        reason.to_outcome()
    }
}
