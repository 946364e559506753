//! The ceiling on first contacts: to how many people a line may write on one day who never wrote to
//! it and to whom tellonce has not written before.
//!
//! Strangers can fill in public forms and book appointments with any number. A line that writes to
//! many people who do not know it is reported and blocked, and then no customer gets a message.

use super::{DispatchError, Dispatcher, LineOpening, LineUnavailable};
use crate::{
    contact::Phone,
    telemetry::{self, Metric},
};

impl Dispatcher {
    /// Counts a first contact before its message is submitted. A message above the line's limit is
    /// held until the next day.
    pub(super) async fn limit_first_contacts<L>(
        &self,
        opening: LineOpening<L>,
        line: &str,
        phone: Option<&Phone>,
    ) -> Result<LineOpening<L>, DispatchError> {
        let (LineOpening::Open(_), Some(phone)) = (&opening, phone) else { return Ok(opening) };
        let Some(limit) = self.config.lines.get(line).map(|line| line.first_contacts_per_day) else {
            return Ok(opening);
        };
        let contact = self.ledger.contact_subject(phone);
        let state = self.ledger.read_contact_state(&contact).await?;
        // The claim of a reminder or greeting refuses who has opted out: no message, no contact.
        if state.had_first_contact || state.has_opted_out {
            return Ok(opening);
        }
        let now = self.clock.now();
        if self.line_state.count_first_contact(line, &self.config.local_day(now).to_string(), limit).await? {
            self.ledger.record_first_contact(&contact, now).await?;
            return Ok(opening);
        }
        telemetry::count_metric(&self.config.client, Metric::LeadsHeld, now);
        tracing::error!(line.name = line, "held a message: line {line} wrote to {limit} new people today");
        let reason = format!("the line wrote to {limit} new people today (`first_contacts_per_day`)");
        Ok(LineOpening::Held(LineUnavailable { until: self.config.next_day_start(now), reason }))
    }
}
