//! The flow of one delivery: parse it, look up its lead if needed, greet the lead once, and record
//! the outcome. A delivery with leads that cannot be looked up now waits. Its other leads are
//! greeted, and found in the ledger when it is replayed.

use futures::StreamExt as _;
use tellonce_core::{
    client_config::{FormConfig, LeadLimit, RepeatAction, TimeSpan},
    dispatch::{DispatchError, DispatchResult, GreetingResult, GreetingRules, Invocation},
    fault::{ClassifyFault, Fault, error_chain},
    greeting::Admission,
    inbox::{DeliveryOutcome, InboxError, InboxItem},
    ledger::{IdempotencyKey, LedgerError, MessageState},
    lookup::{LookupResponse, LookupTrouble, SenderApiError},
    secret::{Secret, SecretError},
    telemetry::{self, Metric},
    waiting_lookup::{LookupAttempt, LookupFailure, WaitingLookupError},
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
    /// A waiting lookup could not be recorded.
    #[error(transparent)]
    WaitingLookup(#[from] WaitingLookupError),
}

impl ClassifyFault for LeadError {
    fn fault(&self) -> Fault {
        match self {
            Self::Dispatch(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::Lookup(error) => error.fault(),
            Self::Inbox(error) => error.fault(),
            Self::WaitingLookup(error) => error.fault(),
        }
    }
}

impl LeadError {
    /// The trouble of a lookup, if it may pass. `None` if the failure is final, or if tellonce's
    /// own tables or secrets failed: then Lambda repeats the delivery.
    fn lookup_trouble(&self) -> Option<LookupTrouble> {
        match self {
            Self::Lookup(error) => error.trouble(),
            Self::Secret(error) => LookupTrouble::of_secret(error),
            Self::Dispatch(_) | Self::Ledger(_) | Self::Inbox(_) | Self::WaitingLookup(_) => None,
        }
    }
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
            self.lookups.settle(delivery).await?;
            return Ok(Some(LeadOutcome::FormRemoved.into()));
        };
        let (headers, body, received_at) = (&delivery.headers, delivery.body.as_slice(), delivery.received_at);
        let pseudonyms = self.dispatcher.ledger.pseudonyms();
        let lead_delivery = LeadDelivery { form_name: name, form, config, pseudonyms, headers, body, received_at };
        let mut about = None;
        let outcomes = match parse_lead(&lead_delivery) {
            ParsedLead::NeedsLookup(references) => {
                self.greet_referenced_leads(invocation, delivery, &lead_delivery, &references).await?
            }
            ParsedLead::Lead(lead) => {
                about = Some(IdempotencyKey::for_greeting(form.id_scope(), &lead.id).subject().to_owned());
                self.lookups.settle(delivery).await?;
                Vec::from_iter(self.greet_lead(invocation, delivery, form, &lead).await?)
            }
            ParsedLead::Skipped(reason) => {
                self.lookups.settle(delivery).await?;
                vec![LeadOutcome::Skipped(reason)]
            }
        };
        // A delivery that waits for a lookup is processed again: then it finds out whether its form
        // is held, and its other leads are counted.
        let is_waiting = outcomes.iter().any(LeadOutcome::is_waiting);
        if !is_waiting {
            self.report_problems(delivery, &outcomes);
        }
        let is_held = !is_waiting && outcomes.contains(&LeadOutcome::HeldForReview);
        let outcome = LeadOutcome::merge_outcomes(outcomes).map(|outcome| outcome.about(about));
        match outcome.as_ref().filter(|_| is_held) {
            Some(held) => self.record_held(delivery, held).await.map(|()| None),
            None => Ok(outcome),
        }
    }

    /// Looks up the leads that a delivery names, and greets them. If some cannot be looked up now,
    /// the delivery waits.
    async fn greet_referenced_leads(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
        lead_delivery: &LeadDelivery<'_>,
        references: &[LeadReference],
    ) -> Result<Vec<LeadOutcome>, LeadError> {
        let greetings = references
            .iter()
            .map(async |reference| self.greet_referenced_lead(invocation, delivery, lead_delivery, reference).await);
        let (mut outcomes, mut retry_error) = (Vec::new(), None);
        let mut failed: Option<LookupFailure> = None;
        let mut results = futures::stream::iter(greetings).buffered(MAX_CONCURRENT_LOOKUPS);
        while let Some(result) = results.next().await {
            match result {
                Ok(LookupAttempt::Answered(outcome)) => outcomes.extend(outcome),
                // The trouble of a request says more than that of a lead that was not requested.
                Ok(LookupAttempt::Failed(failure)) => {
                    if failure.trouble != LookupTrouble::NotTried || failed.is_none() {
                        failed = Some(failure);
                    }
                }
                Err(error) if error.fault() == Fault::Permanent => {
                    tracing::error!(
                        delivery.id = delivery.id,
                        "could not greet a lead of delivery {}: {}",
                        delivery.id,
                        error_chain(&error)
                    );
                    outcomes.push(LeadOutcome::Failed(error_chain(&error)));
                }
                // A transient error does not stop the other leads. The retry processes all of them.
                Err(error) => retry_error = Some(error),
            }
        }
        if let Some(error) = retry_error {
            return Err(error);
        }
        match failed {
            None => self.lookups.settle(delivery).await?,
            Some(failure) => {
                // As long as the first touch could be useful.
                let useful_until = delivery.received_at + lead_delivery.form.first_touch.useful_for.0;
                let now = self.dispatcher.clock.now();
                let lookup = self.lookups.wait(&self.dispatcher.config, delivery, failure, useful_until, now).await?;
                outcomes.push(LeadOutcome::Unanswered(lookup));
            }
        }
        Ok(outcomes)
    }

    /// Looks up a lead that a delivery names, and greets it.
    async fn greet_referenced_lead(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
        lead_delivery: &LeadDelivery<'_>,
        reference: &LeadReference,
    ) -> Result<LookupAttempt<Option<LeadOutcome>>, LeadError> {
        let (now, trouble) = (self.dispatcher.clock.now(), LeadError::lookup_trouble);
        let secret_name = self.dispatcher.config.form_secret_name(lead_delivery.form_name);
        let credential = async { Ok(self.dispatcher.secrets.get_current(&secret_name, now).await?) };
        let lookup = async |credential| self.request_lead(lead_delivery, reference, &secret_name, &credential).await;
        let deadline = invocation.deadline;
        let found = match self.lookups.attempt(&delivery.sender, deadline, now, trouble, credential, lookup).await {
            Ok(LookupAttempt::Answered(LookupResponse::Found(body))) => {
                parse_lead_response(lead_delivery, reference, &body)
            }
            Ok(LookupAttempt::Answered(LookupResponse::NotFound)) => Err(LeadSkipReason::LeadNotFound),
            Ok(LookupAttempt::Failed(failure)) => return Ok(LookupAttempt::Failed(failure)),
            Err(error) if error.fault() == Fault::Permanent => {
                tracing::error!(form.name = lead_delivery.form_name, "skipped a lead: {}", error_chain(&error));
                Err(LeadSkipReason::LookupFailed)
            }
            Err(error) => return Err(error),
        };
        Ok(LookupAttempt::Answered(match found {
            Ok(lead) => self.greet_lead(invocation, delivery, lead_delivery.form, &lead).await?,
            Err(reason) => Some(LeadOutcome::Skipped(reason)),
        }))
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
                self.inbox.replay_delivery(&delivery.id, Some(held), now).await?;
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
        let is_repeat = match greeted {
            GreetingResult::AlreadyGreeted => true,
            // The row is written before the count, so a record that Lambda repeats may have no
            // count. A replay finds the rows of leads that were counted.
            GreetingResult::Dispatched(
                DispatchResult::AlreadyKnown(_, MessageState::Suppressed)
                | DispatchResult::PayloadConflict(_, MessageState::Suppressed),
            ) => delivery.replayed_at.is_none(),
            _ => false,
        };
        if is_repeat && form.repeat.then == RepeatAction::Escalate {
            telemetry::count_metric(&dispatcher.config.client, Metric::LeadsEscalated, now);
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

    async fn request_lead(
        &self,
        lead_delivery: &LeadDelivery<'_>,
        reference: &LeadReference,
        secret_name: &str,
        credential: &Secret,
    ) -> Result<LookupResponse, LeadError> {
        let now = self.dispatcher.clock.now();
        // Where an operator stores a valid one.
        let location = self.dispatcher.config.secrets.locate(secret_name).to_string();
        let request_with = async |credential: &Secret| {
            let LeadDelivery { form_name, form, .. } = lead_delivery;
            Ok(self.lookup_client.send_request(form_name, form, reference, credential, &location).await?)
        };
        let is_refused =
            |error: &LeadError| matches!(error, LeadError::Lookup(SenderApiError::CredentialRefused { .. }));
        self.dispatcher.secrets.retry_with_newer(secret_name, credential, now, is_refused, request_with).await
    }

    /// Logs and counts the leads for which an operator should act.
    fn report_problems(&self, delivery: &InboxItem, outcomes: &[LeadOutcome]) {
        for outcome in outcomes.iter().filter(|outcome| outcome.needs_attention()) {
            if let LeadOutcome::Skipped(reason) = outcome {
                tracing::warn!(delivery.id = delivery.id, "skipped delivery {}: {reason}", delivery.id);
            }
            let now = self.dispatcher.clock.now();
            telemetry::count_metric(&self.dispatcher.config.client, Metric::DeliveriesQuarantined, now);
        }
    }
}
