//! The flow of one delivery: read it, read back what it leaves out, and greet whoever may be, once.

use futures::StreamExt as _;
use jiff::Timestamp;
use shared::{
    client_config::{Form, Limit, OnRepeat, Span},
    fault::{Fault, Faulty, chain},
    greeting::Gate,
    inbox::{Entry, InboxError},
    ledger::{LedgerError, State},
    observe::{self, Metric},
    read_back::{Answer, ReadBackError},
    secret::{Secret, SecretError},
    telling::{Greeted, RELEASED_AT, Rules, Shift, TellError, Told},
};

use crate::{
    Greeter,
    lead::{Delivery, Lead, NothingBecause, Reading, Reference, read, read_answer},
    plan::plan,
};

/// The outcome of a lead that waits for a human begins so.
pub(crate) const HELD: &str = "held-for-review";
/// The outcome of a lead that a human has dropped.
pub(crate) const DROPPED: &str = "dropped: somebody looked at the form's leads and dropped them";
/// Leads of one delivery that are asked for side by side.
const ASK_AT_ONCE: usize = 10;

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
    /// The inbox failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// A delivery names more leads than there is time for. Those that were greeted are known the next time.
    #[error("the function's time ran out before all leads of the delivery were asked for")]
    OutOfTime,
}

impl Faulty for GreetError {
    fn fault(&self) -> Fault {
        match self {
            Self::Tell(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::ReadBack(error) => error.fault(),
            Self::Inbox(error) => error.fault(),
            Self::OutOfTime => Fault::Transient,
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
        let outcome = match read(&delivery) {
            Reading::Lead(lead) => self.welcome(shift, entry, form, &lead).await?,
            Reading::References(references) => self.welcome_each(shift, entry, &delivery, &references).await?,
            Reading::Nothing(because) => Some(self.nothing(entry, &because)),
        };
        match outcome {
            Some(held) if held.starts_with(HELD) => self.hold(entry, &held).await.map(|()| None),
            outcome => Ok(outcome),
        }
    }

    /// Asks for the leads that a delivery names, and greets them.
    async fn welcome_each(
        &self,
        shift: &Shift,
        entry: &Entry,
        delivery: &Delivery<'_>,
        references: &[Reference],
    ) -> Result<Option<String>, GreetError> {
        let each = references.iter().map(async |reference| {
            if !shift.has_time() {
                return Err(GreetError::OutOfTime);
            }
            match self.read_back(delivery, reference).await? {
                Ok(lead) => self.welcome(shift, entry, delivery.form, &lead).await,
                Err(because) => Ok(Some(self.nothing(entry, &because))),
            }
        });
        let (mut outcomes, mut again) = (Vec::new(), None);
        let mut welcomed = futures::stream::iter(each).buffered(ASK_AT_ONCE);
        while let Some(outcome) = welcomed.next().await {
            match outcome {
                Ok(outcome) => outcomes.extend(outcome),
                Err(error) if error.fault() == Fault::Permanent => {
                    tracing::error!(delivery.id = entry.id, "{}", chain(&error));
                    let now = self.teller.clock.now();
                    observe::count(&self.teller.config.client, Metric::DeliveriesQuarantined, now);
                    outcomes.push(format!("failed: {}", chain(&error)));
                }
                // One that cannot be asked for now does not hold up the others; all of them come again.
                Err(error) => again = Some(error),
            }
        }
        // What waits for a human is found by how the outcome begins.
        outcomes.sort_by_key(|outcome| !outcome.starts_with(HELD));
        match again {
            Some(error) => Err(error),
            None => Ok(Some(outcomes.join("; ")).filter(|outcomes| !outcomes.is_empty())),
        }
    }

    /// Writes down that a delivery waits for a human, unless one has said meanwhile what becomes of it: whoever let go what
    /// was held could not see this one yet.
    async fn hold(&self, entry: &Entry, outcome: &str) -> Result<(), GreetError> {
        let now = self.teller.clock.now();
        self.inbox.record(&entry.id, outcome, now).await?;
        match self.teller.ledger.intake(&entry.sender).await?.decided(entry.received_at) {
            Some(Gate::Dropped) => drop(self.inbox.amend(&entry.id, HELD, DROPPED, now).await?),
            Some(_) => drop(self.inbox.replay(&entry.id, HELD).await?),
            None => {}
        }
        Ok(())
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
        let client = &teller.config.client;
        let now = teller.clock.now();
        let mut news = match plan(&teller.config, form, lead, &entry.id, now) {
            Ok(news) => news,
            Err(unsayable) => {
                tracing::error!(delivery.id = entry.id, form.name = name, "nothing can be said to a lead: {unsayable}");
                observe::count(client, Metric::DeliveriesQuarantined, now);
                return Ok(Some(unsayable.record()));
            }
        };
        let intake = teller.ledger.count_lead(name, form.burst, entry.received_at, now).await?;
        let gate = intake.gate(form.burst, entry.received_at);
        match gate {
            Gate::Open => {}
            Gate::Released(at) => drop(news.context.values.insert(RELEASED_AT.to_owned(), at.to_string())),
            Gate::Dropped => return Ok(Some(DROPPED.to_owned())),
            // A delivery that comes again may be of somebody who was greeted before there were too many.
            Gate::Held if teller.ledger.read(&news.key).await?.is_some() => {}
            Gate::Held => {
                if intake.held_since.is_none() && teller.ledger.hold_form(name, now).await? {
                    let Limit { leads, within: Span(within) } = form.burst;
                    tracing::error!(
                        form.name = name,
                        "more than {leads} leads in {within:#}: nobody is greeted until somebody has looked"
                    );
                }
                observe::count(client, Metric::LeadsHeld, now);
                return Ok(Some(format!(
                    "{HELD}: the form had too many leads at once; look at them, then let them go (docs/operations.md)"
                )));
            }
        }
        let rules = Rules { repeat: form.repeat, per_phone: form.per_phone };
        let greeted = teller.greet(shift, &news, name, rules).await?;
        let repeats = matches!(
            greeted,
            Greeted::Repeat | Greeted::Told(Told::Known(_, State::Noted) | Told::Differs(_, State::Noted))
        );
        if repeats && form.repeat.then == OnRepeat::Escalate {
            observe::count(client, Metric::LeadsEscalated, now);
        }
        Ok(match greeted {
            Greeted::Told(Told::Known(key, state) | Told::Differs(key, state)) => {
                if matches!(gate, Gate::Open | Gate::Held) {
                    teller.ledger.uncount_lead(name, form.burst, now).await?;
                }
                Some(format!("already-known: {key} is {} in the ledger", state.name()))
            }
            Greeted::Told(_) => None,
            Greeted::Repeat => Some(format!("already-greeted: {} says by which lead", news.key)),
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
            // To come again would hold up everybody behind it, and end the same way.
            GreetError::ReadBack(ReadBackError::Credential { .. }) => NothingBecause::CredentialRefused,
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
