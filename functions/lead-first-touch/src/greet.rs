//! The flow of one delivery: read it, read back what it leaves out, and greet whoever may be, once.

use jiff::Timestamp;
use shared::{
    client_config::{Form, OnRepeat},
    fault::{Fault, Faulty, chain},
    inbox::Entry,
    ledger::LedgerError,
    observe::{self, Metric},
    read_back::{Answer, ReadBackError},
    secret::{Secret, SecretError},
    telling::{Greeted, Rules, Shift, TellError, Told},
};

use crate::{
    Greeter,
    lead::{Delivery, Lead, NothingBecause, Reading, Reference, read, read_answer},
    plan::plan,
};

/// The outcome of a lead that waits for a human begins so.
pub(crate) const HELD: &str = "held-for-review";

/// A delivery could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// Telling failed.
    #[error(transparent)]
    Tell(#[from] TellError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The credential for the sender's API is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The sender could not be asked.
    #[error("the sender could not be asked for the lead")]
    ReadBack(#[from] ReadBackError),
}

impl Faulty for GreetError {
    fn fault(&self) -> Fault {
        match self {
            Self::Tell(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::ReadBack(error) => error.fault(),
        }
    }
}

impl Greeter {
    /// Takes one delivery through and gives what to record beside it: nothing, if the ledger's rows say it all. An error
    /// means that it shall come again, unless it is permanent.
    pub(crate) async fn greet(&self, shift: &Shift, entry: &Entry) -> Result<Option<String>, GreetError> {
        let config = &self.teller.config;
        let Some((name, form)) = config.forms.get_key_value(&entry.sender) else {
            return Ok(Some("form-removed: this form is no longer in the configuration".to_owned()));
        };
        let (headers, body, received_at) = (&entry.headers, entry.body.as_slice(), entry.received_at);
        let delivery = Delivery { name, form, config, headers, body, received_at };
        let references = match read(&delivery) {
            Reading::Lead(lead) => return self.welcome(shift, entry, form, &lead).await,
            Reading::Nothing(because) => return Ok(Some(self.nothing(entry, &because))),
            Reading::References(references) => references,
        };
        let mut outcomes = Vec::new();
        let mut failed = None;
        for reference in &references {
            let welcomed = match self.read_back(&delivery, reference).await {
                Ok(Ok(lead)) => self.welcome(shift, entry, form, &lead).await,
                Ok(Err(because)) => Ok(Some(self.nothing(entry, &because))),
                Err(error) => Err(error),
            };
            match welcomed {
                Ok(outcome) => outcomes.extend(outcome),
                // One that cannot be asked for now does not hold up the others; all of them come again.
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Some(outcomes.join("; ")).filter(|outcomes| !outcomes.is_empty())),
        }
    }

    /// Greets a lead, unless its form has had too many.
    async fn welcome(
        &self,
        shift: &Shift,
        entry: &Entry,
        form: &Form,
        lead: &Lead,
    ) -> Result<Option<String>, GreetError> {
        let (teller, name) = (&self.teller, entry.sender.as_str());
        let now = teller.clock.now();
        let news = match plan(&teller.config, form, lead, &entry.id, now) {
            Ok(news) => news,
            Err(unsayable) => {
                tracing::error!(delivery.id = entry.id, form.name = name, "nothing can be said to a lead: {unsayable}");
                observe::count(&teller.config.client, Metric::DeliveriesQuarantined, now);
                return Ok(Some(unsayable.record()));
            }
        };
        let intake = teller.ledger.count_lead(name, form.burst, entry.received_at, now).await?;
        if !intake.lets_through(form.burst, entry.received_at) {
            if intake.held_since.is_none() && teller.ledger.hold_form(name, now).await? {
                tracing::error!(
                    form.name = name,
                    "more than {} leads in {}: nobody is greeted until somebody has looked",
                    form.burst.leads,
                    form.burst.within.0
                );
            }
            observe::count(&teller.config.client, Metric::LeadsHeld, now);
            return Ok(Some(format!(
                "{HELD}: the form had too many leads at once; look at them, then let them go (docs/operations.md)"
            )));
        }
        let rules = Rules { repeat: form.repeat, per_phone: form.per_phone };
        Ok(match teller.greet(shift, &news, name, rules).await? {
            Greeted::Told(Told::Known(key, state) | Told::Differs(key, state)) => {
                Some(format!("already-known: {key} is {} in the ledger", state.name()))
            }
            Greeted::Told(_) => None,
            Greeted::Repeat => {
                if form.repeat.then == OnRepeat::Escalate {
                    observe::count(&teller.config.client, Metric::LeadsEscalated, now);
                }
                Some(format!("already-greeted: {} says by which lead", news.key))
            }
            Greeted::TooOften => Some(format!("too-often: {} says how often", news.key)),
            Greeted::OptedOut => Some("opted-out: they have asked not to be written to".to_owned()),
        })
    }

    /// A lead that a delivery only names, or why nobody is greeted for it.
    async fn read_back(
        &self,
        delivery: &Delivery<'_>,
        reference: &Reference,
    ) -> Result<Result<Lead, NothingBecause>, GreetError> {
        let error = match self.ask(delivery, reference).await {
            Ok(Answer::Found(answer)) => return Ok(read_answer(delivery, reference, &answer)),
            Ok(Answer::NotThere) => return Ok(Err(NothingBecause::LeadNotThere)),
            Err(error) => error,
        };
        let because = match &error {
            GreetError::Secret(
                SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. },
            ) => NothingBecause::ReadBackNotSetUp,
            other if other.fault() == Fault::Permanent => NothingBecause::ReadBackFailed,
            _ => return Err(error),
        };
        tracing::error!(form.name = delivery.name, "{}", chain(&error));
        Ok(Err(because))
    }

    async fn ask(&self, delivery: &Delivery<'_>, reference: &Reference) -> Result<Answer, GreetError> {
        let secret_name = self.teller.config.form_secret(delivery.name);
        let now: Timestamp = self.teller.clock.now();
        let credential = self.teller.secrets.current(&secret_name, now).await?;
        let ask =
            async |credential: &Secret| Ok(self.leads.ask(delivery.form, reference, credential, &secret_name).await?);
        let refused = |error: &GreetError| matches!(error, GreetError::ReadBack(ReadBackError::Credential { .. }));
        self.teller.secrets.retry_refused(&secret_name, &credential, now, refused, ask).await
    }

    /// Writes down that nobody is greeted.
    fn nothing(&self, entry: &Entry, because: &NothingBecause) -> String {
        if because.needs_attention() {
            tracing::warn!(delivery.id = entry.id, "{because}");
            observe::count(&self.teller.config.client, Metric::DeliveriesQuarantined, self.teller.clock.now());
        }
        because.record()
    }
}
