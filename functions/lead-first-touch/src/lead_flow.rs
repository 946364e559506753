//! The flow of one delivery: parse it, look up its lead if needed, greet the lead once, and record
//! the outcome.

use futures::StreamExt as _;
use jiff::Timestamp;
use tellonce_core::{
    client_config::{FormConfig, LeadLimit, RepeatAction, TimeSpan},
    dispatch::{DispatchError, DispatchResult, GreetingResult, GreetingRules, Invocation},
    fault::{ClassifyFault, Fault, error_chain},
    greeting::Admission,
    inbox::{DeliveryOutcome, InboxError, InboxItem},
    ledger::{LedgerError, MessageState},
    lookup::{LookupResponse, SenderApiError},
    secret::{Secret, SecretError},
    telemetry::{self, Metric},
};

use crate::{
    LeadFirstTouch,
    lead::{Lead, LeadDelivery, LeadReference, ParsedLead},
    lead_outcome::{LeadOutcome, LeadSkipReason},
    lead_parser::{parse_lead, parse_lead_response},
    plan::plan_greeting,
};

/// The most leads of one delivery that are looked up concurrently.
const MAX_CONCURRENT_LOOKUPS: usize = 10;

/// Why a delivery could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    /// The dispatch failed.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The credential for the sender's API could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The lookup failed.
    #[error("could not look up the lead at the sender")]
    Lookup(#[from] SenderApiError),
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The delivery names more leads than the invocation has time for. The next try finds the
    /// greeted ones in the ledger.
    #[error("the invocation's time ran out before all leads of the delivery were looked up")]
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

/// The result of a lookup.
enum LookedUpLead {
    Lead(Box<Lead>),
    Skipped(LeadSkipReason),
}

impl LeadFirstTouch {
    /// Processes one delivery and returns its outcome, or `None` if the ledger's rows explain it.
    /// After an error the delivery is retried, unless the error is permanent.
    pub(crate) async fn process_delivery(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
    ) -> Result<Option<DeliveryOutcome>, LeadError> {
        let config = &self.dispatcher.config;
        let Some((name, form)) = config.forms.get_key_value(&delivery.sender) else {
            return Ok(Some(LeadOutcome::FormRemoved.into()));
        };
        let (headers, body, received_at) = (&delivery.headers, delivery.body.as_slice(), delivery.received_at);
        let pseudonyms = self.dispatcher.ledger.pseudonyms();
        let lead_delivery = LeadDelivery { form_name: name, form, config, pseudonyms, headers, body, received_at };
        let outcomes = match parse_lead(&lead_delivery) {
            ParsedLead::Lead(lead) => Vec::from_iter(self.greet_lead(invocation, delivery, form, &lead).await?),
            ParsedLead::NeedsLookup(references) => {
                self.greet_referenced_leads(invocation, delivery, &lead_delivery, &references).await?
            }
            ParsedLead::Skipped(reason) => vec![self.record_skip(delivery, reason)],
        };
        let is_held = outcomes.contains(&LeadOutcome::HeldForReview);
        let outcome = LeadOutcome::merge_outcomes(outcomes);
        match outcome.as_ref().filter(|_| is_held) {
            Some(held) => self.record_held(delivery, held).await.map(|()| None),
            None => Ok(outcome),
        }
    }

    /// Looks up the leads that a delivery names, and greets them.
    async fn greet_referenced_leads(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
        lead_delivery: &LeadDelivery<'_>,
        references: &[LeadReference],
    ) -> Result<Vec<LeadOutcome>, LeadError> {
        let greetings = references.iter().map(async |reference| {
            if !invocation.has_time_for_send() {
                return Err(LeadError::OutOfTime);
            }
            match self.look_up_lead(lead_delivery, reference).await? {
                LookedUpLead::Lead(lead) => self.greet_lead(invocation, delivery, lead_delivery.form, &lead).await,
                LookedUpLead::Skipped(reason) => Ok(Some(self.record_skip(delivery, reason))),
            }
        });
        let (mut outcomes, mut retry_error) = (Vec::new(), None);
        let mut results = futures::stream::iter(greetings).buffered(MAX_CONCURRENT_LOOKUPS);
        while let Some(result) = results.next().await {
            match result {
                Ok(outcome) => outcomes.extend(outcome),
                Err(error) if error.fault() == Fault::Permanent => {
                    tracing::error!(
                        delivery.id = delivery.id,
                        "could not greet a lead of delivery {}: {}",
                        delivery.id,
                        error_chain(&error)
                    );
                    let now = self.dispatcher.clock.now();
                    telemetry::count_metric(&self.dispatcher.config.client, Metric::DeliveriesQuarantined, now);
                    outcomes.push(LeadOutcome::Failed(error_chain(&error)));
                }
                // A transient error does not stop the other leads. The retry processes all of them.
                Err(error) => retry_error = Some(error),
            }
        }
        retry_error.map_or(Ok(outcomes), Err)
    }

    /// Records that a delivery waits for an operator. If the operator decided meanwhile, the
    /// decision applies at once, because the command could not find this delivery.
    async fn record_held(&self, delivery: &InboxItem, outcome: &DeliveryOutcome) -> Result<(), LeadError> {
        let now = self.dispatcher.clock.now();
        let held = LeadOutcome::HeldForReview.code();
        self.inbox.record_outcome(&delivery.id, outcome, now).await?;
        match self.dispatcher.ledger.read_lead_rate(&delivery.sender).await?.operator_decision(delivery.received_at) {
            Some(Admission::Dropped) => {
                self.inbox.replace_outcome(&delivery.id, held, &LeadOutcome::Dropped.into(), now).await?;
            }
            Some(_) => {
                self.inbox.replay_delivery(&delivery.id, held).await?;
            }
            None => {}
        }
        Ok(())
    }

    /// Greets a lead, unless its form is held.
    async fn greet_lead(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
        form: &FormConfig,
        lead: &Lead,
    ) -> Result<Option<LeadOutcome>, LeadError> {
        let (dispatcher, name) = (&self.dispatcher, delivery.sender.as_str());
        let client = &dispatcher.config.client;
        let now = dispatcher.clock.now();
        let mut message = match plan_greeting(&dispatcher.config, form, lead, &delivery.id, now) {
            Ok(message) => message,
            Err(not_sent) => {
                tracing::error!(
                    delivery.id = delivery.id,
                    form.name = name,
                    "could not build the first touch for delivery {}: {not_sent}",
                    delivery.id
                );
                telemetry::count_metric(client, Metric::DeliveriesQuarantined, now);
                return Ok(Some(not_sent));
            }
        };
        if lead.has_unreadable_name {
            let id = &delivery.id;
            tracing::warn!(
                delivery.id = id,
                form.name = name,
                "left the name out of the first touch for delivery {id}"
            );
        }
        let lead_rate = dispatcher.ledger.count_lead(name, form.limits, delivery.received_at, now).await?;
        let admission = lead_rate.decide_admission(form.limits, delivery.received_at);
        match admission {
            Admission::Admitted => {}
            Admission::Released(at) => message.released_at = Some(at),
            Admission::Dropped => return Ok(Some(LeadOutcome::Dropped)),
            // A repeated delivery may belong to a lead who was greeted before the form was held.
            Admission::Held if dispatcher.ledger.read_row(&message.key).await?.is_some() => {}
            Admission::Held => {
                if lead_rate.held_since.is_none() && dispatcher.ledger.hold_form(name, now).await? {
                    let exceeded = lead_rate.exceeded_limit(form.limits).unwrap_or(form.limits.burst);
                    let LeadLimit { leads, within: TimeSpan(within) } = exceeded;
                    tracing::error!(
                        form.name = name,
                        "held the leads of form {name}: more than {leads} leads in {within:#}; release or drop them"
                    );
                }
                return Ok(Some(LeadOutcome::HeldForReview));
            }
        }
        let rules = GreetingRules { repeat: form.repeat, per_phone: form.per_phone };
        let greeted = dispatcher.dispatch_greeting(invocation, &message, name, rules).await?;
        let is_repeat = matches!(
            greeted,
            GreetingResult::AlreadyGreeted
                | GreetingResult::Dispatched(
                    DispatchResult::AlreadyKnown(_, MessageState::Suppressed)
                        | DispatchResult::PayloadConflict(_, MessageState::Suppressed)
                )
        );
        if is_repeat && form.repeat.then == RepeatAction::Escalate {
            telemetry::count_metric(client, Metric::LeadsEscalated, now);
        }
        Ok(match greeted {
            GreetingResult::Dispatched(
                DispatchResult::AlreadyKnown(key, state) | DispatchResult::PayloadConflict(key, state),
            ) => {
                if matches!(admission, Admission::Admitted | Admission::Held) {
                    dispatcher.ledger.uncount_lead(name, form.limits, now).await?;
                }
                Some(LeadOutcome::AlreadyKnown(key, state))
            }
            GreetingResult::Dispatched(_) => None,
            GreetingResult::AlreadyGreeted => Some(LeadOutcome::AlreadyGreeted(message.key)),
            GreetingResult::LimitReached => Some(LeadOutcome::TooOften(message.key)),
            GreetingResult::OptedOut => Some(LeadOutcome::OptedOut),
        })
    }

    /// Looks up a lead that a delivery only names.
    async fn look_up_lead(
        &self,
        lead_delivery: &LeadDelivery<'_>,
        reference: &LeadReference,
    ) -> Result<LookedUpLead, LeadError> {
        let error = match self.request_lead(lead_delivery, reference).await {
            Ok(LookupResponse::Found(body)) => {
                return Ok(match parse_lead_response(lead_delivery, reference, &body) {
                    Ok(lead) => LookedUpLead::Lead(Box::new(lead)),
                    Err(reason) => LookedUpLead::Skipped(reason),
                });
            }
            Ok(LookupResponse::NotFound) => return Ok(LookedUpLead::Skipped(LeadSkipReason::LeadNotFound)),
            Err(error) => error,
        };
        let reason = match &error {
            LeadError::Secret(
                SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. },
            ) => LeadSkipReason::LookupNotConfigured,
            // A retry would block the deliveries behind this one and fail the same way.
            LeadError::Lookup(SenderApiError::CredentialRefused { .. }) => LeadSkipReason::CredentialRefused,
            other if other.fault() == Fault::Permanent => LeadSkipReason::LookupFailed,
            _ => return Err(error),
        };
        tracing::error!(form.name = lead_delivery.form_name, "skipped a lead: {}", error_chain(&error));
        Ok(LookedUpLead::Skipped(reason))
    }

    async fn request_lead(
        &self,
        lead_delivery: &LeadDelivery<'_>,
        reference: &LeadReference,
    ) -> Result<LookupResponse, LeadError> {
        let secret_name = self.dispatcher.config.form_secret_name(lead_delivery.form_name);
        let now: Timestamp = self.dispatcher.clock.now();
        let credential = self.dispatcher.secrets.get_current(&secret_name, now).await?;
        let request_with = async |credential: &Secret| {
            let LeadDelivery { form_name, form, .. } = lead_delivery;
            Ok(self.lookup_client.send_request(form_name, form, reference, credential, &secret_name).await?)
        };
        let is_refused =
            |error: &LeadError| matches!(error, LeadError::Lookup(SenderApiError::CredentialRefused { .. }));
        self.dispatcher.secrets.retry_with_newer(&secret_name, &credential, now, is_refused, request_with).await
    }

    /// Logs and counts a skipped lead if an operator should act.
    fn record_skip(&self, delivery: &InboxItem, reason: LeadSkipReason) -> LeadOutcome {
        if reason.needs_attention() {
            tracing::warn!(delivery.id = delivery.id, "skipped delivery {}: {reason}", delivery.id);
            telemetry::count_metric(
                &self.dispatcher.config.client,
                Metric::DeliveriesQuarantined,
                self.dispatcher.clock.now(),
            );
        }
        LeadOutcome::Skipped(reason)
    }
}
