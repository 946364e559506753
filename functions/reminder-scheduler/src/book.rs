//! The flow of one booking: read it, read back what it leaves out, take it into what is known, and record what became of
//! it.

use jiff::Timestamp;
use shared::{
    appointment::{Appointment, Learned, Report, Standing},
    client_config::Calendar,
    clock::Deadline,
    fault::{Fault, Faulty, chain},
    inbox::Entry,
    ledger::{Key, LedgerError},
    observe::{self, Metric},
    read_back::{Answer, ReadBackError},
    secret::{Secret, SecretError},
};

use crate::{
    Scheduler,
    booking::{Booking, NothingBecause, ReadBack, Reading, read},
    plan::planned,
    read_back::complete,
};

/// How often what is known is read anew when others write it at the same time.
const TRIES: usize = 8;

/// A booking could not be taken now.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The credential for the booking system is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The booking system could not be asked.
    #[error("the booking system could not be asked")]
    ReadBack(#[from] ReadBackError),
}

impl Faulty for BookError {
    fn fault(&self) -> Fault {
        match self {
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::ReadBack(error) => error.fault(),
        }
    }
}

impl Scheduler {
    /// Takes one delivery through and gives what to record beside it: nothing, if the appointment's header says it all. An
    /// error means that it shall come again, unless it is permanent.
    pub(crate) async fn book(&self, entry: &Entry, deadline: Deadline) -> Result<Option<String>, BookError> {
        let config = &self.teller.config;
        let Some(calendar) = config.calendars.get(&entry.sender) else {
            return Ok(Some("calendar-removed: this calendar is no longer in the configuration".to_owned()));
        };
        let reading = match read(calendar, config, &entry.headers, &entry.body, entry.received_at) {
            Reading::ReadBack(wanted) => self.read_back(entry, calendar, wanted).await?,
            enough => enough,
        };
        match reading {
            Reading::Reports(bookings) => self.take(entry, calendar, bookings).await,
            Reading::SyncFeed => Ok(Some(self.sync(&entry.sender, entry.received_at, deadline).await)),
            // What is read back either completes a booking or ends it.
            Reading::ReadBack(_) => Ok(None),
            Reading::Nothing(because) => {
                if because.needs_attention() {
                    tracing::warn!(delivery.id = entry.id, "{because}");
                    observe::count(&config.client, Metric::DeliveriesQuarantined, self.teller.clock.now());
                }
                Ok(Some(record(&because)))
            }
        }
    }

    /// Asks the booking system for what a delivery leaves out. What it says by itself counts even if nobody can be asked.
    async fn read_back(&self, entry: &Entry, calendar: &Calendar, wanted: ReadBack) -> Result<Reading, BookError> {
        let error = match self.ask(&entry.sender, calendar, &wanted).await {
            Ok((answer, asked_at)) => return Ok(complete(wanted, &answer, asked_at, calendar, &self.teller.config)),
            Err(error) => error,
        };
        let not_set_up = matches!(
            error,
            BookError::Secret(SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. })
        );
        let because = if not_set_up { NothingBecause::LookUpNotSetUp } else { NothingBecause::LookUpFailed };
        let final_word = not_set_up || error.fault() == Fault::Permanent;
        match wanted.unanswered(because, entry.received_at) {
            // What ended needs no answer.
            Some(booking) if booking.standing == Standing::Cancelled => Ok(Reading::Reports(vec![booking])),
            Some(booking) if final_word => {
                tracing::error!(delivery.id = entry.id, "{}", chain(&error));
                Ok(Reading::Reports(vec![booking]))
            }
            // Its time counts from now on; who takes part is asked for again when the delivery comes again.
            Some(booking) => {
                self.take(entry, calendar, vec![booking]).await?;
                Err(error)
            }
            None if not_set_up => {
                tracing::error!(delivery.id = entry.id, "{}", chain(&error));
                Ok(Reading::Nothing(NothingBecause::LookUpNotSetUp))
            }
            None => Err(error),
        }
    }

    /// The booking system's answer, and the moment before it was asked: what it says was true no earlier than that.
    async fn ask(&self, name: &str, calendar: &Calendar, wanted: &ReadBack) -> Result<(Answer, Timestamp), BookError> {
        let secret_name = self.teller.config.calendar_secret(name);
        let asked_at = self.teller.clock.now();
        let credential = self.teller.secrets.current(&secret_name, asked_at).await?;
        let ask =
            async |credential: &Secret| Ok(self.read_back.ask(calendar, wanted, credential, &secret_name).await?);
        let refused = |error: &BookError| matches!(error, BookError::ReadBack(ReadBackError::Credential { .. }));
        let answer = self.teller.secrets.retry_refused(&secret_name, &credential, asked_at, refused, ask).await?;
        Ok((answer, asked_at))
    }

    /// Takes what a delivery reports, in its order, into what is known.
    async fn take(
        &self,
        entry: &Entry,
        calendar: &Calendar,
        bookings: Vec<Booking>,
    ) -> Result<Option<String>, BookError> {
        let mut outcome = None;
        for booking in bookings {
            let continues = match &booking.previous_id {
                Some(previous) => self.teller.ledger.appointment(&Key::appointment(calendar.book(), previous)).await?,
                None => None,
            };
            if let Some(because) = &booking.unreachable {
                if because.needs_attention() {
                    observe::count(&self.teller.config.client, Metric::DeliveriesQuarantined, self.teller.clock.now());
                }
                outcome = Some(record(because));
            }
            let report = booking.report(&entry.sender, calendar, &entry.id, continues);
            outcome = outcome.or(self.learn(&report).await?.outcome().map(str::to_owned));
        }
        Ok(outcome)
    }

    /// Takes a report into what is known, whoever else writes at the same time.
    pub(crate) async fn learn(&self, report: &Report) -> Result<Learned, LedgerError> {
        let mut known = self.teller.ledger.appointment(&report.subject).await?;
        for _ in 0..TRIES {
            let now = self.teller.clock.now();
            let news = match Appointment::learn(known.as_ref(), report, now) {
                Learned::News(news) => news,
                nothing => return Ok(nothing),
            };
            let after = planned(&self.teller.config, *news, now);
            match self.teller.ledger.know(known.as_ref(), &after).await? {
                Ok(()) => {
                    self.announce(known.as_ref(), &after, now);
                    return Ok(Learned::News(Box::new(after)));
                }
                Err(now) => known = now.map(|now| *now),
            }
        }
        Err(LedgerError::Contended)
    }

    fn announce(&self, before: Option<&Appointment>, after: &Appointment, now: Timestamp) {
        let ahead = after.standing == Standing::Booked && after.start > now;
        tracing::info!(
            appointment.key = after.subject,
            appointment.standing = after.standing.name(),
            appointment.start = %after.start,
            appointment.generation = after.generation,
            appointment.due_at = after.due_at.map(tracing::field::display),
            delivery.id = after.delivery,
            "appointment is {}", after.standing.name()
        );
        if ahead && after.seats.iter().all(|seat| !seat.taken) {
            tracing::warn!(appointment.key = after.subject, "nobody who takes part can be written to");
        }
        match before {
            Some(before) => self.report(before, after),
            None => self.report(&Appointment { marks: Vec::new(), ..after.clone() }, after),
        }
    }
}

fn record(because: &NothingBecause) -> String {
    format!("{}: {because}", because.code())
}
