//! The ceiling on first contacts: to how many people a line may write on one day who never wrote to
//! it and to whom tellonce has not written before.
//!
//! Strangers can fill in public forms and book appointments with any number. A line that writes to
//! many people who do not know it is reported and blocked, and then nobody is told anything.

use jiff::{Timestamp, ToSpan as _};

use super::{DispatchError, Dispatcher, LineOpening, LineUnavailable};
use crate::{
    client_config::ClientConfig,
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
        if self.ledger.had_first_contact(&contact).await? {
            return Ok(opening);
        }
        let now = self.clock.now();
        let (day, next_day) = local_day(&self.config, now);
        if self.line_state.count_first_contact(line, &day, limit).await? {
            self.ledger.record_first_contact(&contact, now).await?;
            return Ok(opening);
        }
        telemetry::count_metric(&self.config.client, Metric::LeadsHeld, now);
        tracing::error!(line.name = line, "held a message: line {line} wrote to {limit} new people today");
        let reason = format!("the line wrote to {limit} new people today (`first_contacts_per_day`)");
        Ok(LineOpening::Held(LineUnavailable { until: next_day, reason }))
    }
}

/// The client's date at this moment, and the start of the next day.
fn local_day(config: &ClientConfig, now: Timestamp) -> (String, Timestamp) {
    let zone = config.zone_or_default(None).unwrap_or(jiff::tz::TimeZone::UTC);
    let today = now.to_zoned(zone.clone()).date();
    let next_day = today.checked_add(1.day()).and_then(|date| date.to_zoned(zone)).map(|start| start.timestamp());
    // Only the last day that the calendar knows has no next day.
    (today.to_string(), next_day.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_client_s() {
        let toml = "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\n\
                    languages = [\"en\"]\n[lines.main]\nline_id = \"line_1\"\n";
        let config = ClientConfig::parse(toml).unwrap();
        let (day, next_day) = local_day(&config, "2026-11-29T22:30:00Z".parse().unwrap());
        assert_eq!((day.as_str(), next_day.to_string().as_str()), ("2026-11-30", "2026-11-30T22:00:00Z"));
    }
}
