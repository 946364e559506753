//! The ceiling on first contacts: how many new people a line may write to on one day. A person is
//! new without a message in either direction.
//!
//! Strangers can fill in public forms and book appointments with any number. A line that writes to
//! many people who do not know it is reported and blocked, and then no customer gets a message.

use super::{DispatchError, Dispatcher, LineOpening, LineUnavailable};
use crate::{
    contact::Phone,
    ledger::{Reason, StepCode},
};

impl Dispatcher {
    /// Counts a first contact before its message is submitted. A message above the line's limit is
    /// held until the next day.
    pub(super) async fn limit_first_contacts<L>(
        &self,
        access: L,
        line: &str,
        stranger: Option<&Phone>,
    ) -> Result<LineOpening<L>, DispatchError> {
        let (Some(phone), Some(config)) = (stranger, self.config.lines.get(line)) else {
            return Ok(LineOpening::Open(access));
        };
        let limit = config.first_contacts_per_day;
        let contact = self.ledger.contact_subject(phone);
        if self.known_contacts.contains(&contact) {
            return Ok(LineOpening::Open(access));
        }
        let state = self.ledger.read_contact_state(&contact).await?;
        // The claim of a reminder or greeting refuses a person who has opted out.
        if state.had_first_contact || state.has_opted_out {
            if state.had_first_contact {
                self.known_contacts.add(contact);
            }
            return Ok(LineOpening::Open(access));
        }
        let now = self.clock.now();
        if self.line_state.count_first_contact(line, &self.config.local_day(now).to_string(), limit).await? {
            self.ledger.record_first_contact(&contact, now).await?;
            self.known_contacts.add(contact);
            return Ok(LineOpening::Open(access));
        }
        tracing::error!(line.name = line, "held a message: line {line} wrote to {limit} new people today");
        let text = format!("the line wrote to {limit} new people today (`first_contacts_per_day`)");
        let reason = Reason::new(StepCode::FirstContacts, text);
        Ok(LineOpening::Held(LineUnavailable { until: self.config.next_day_start(now), reason }))
    }
}
