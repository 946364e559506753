//! Main types: [`Lead`], the verified [`LeadDelivery`] that it comes from, and [`ParsedLead`], what
//! the delivery contains.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ClientConfig, FormConfig},
    contact::Phone,
    ledger::Consent,
    pseudonym::PseudonymKey,
};

use crate::lead_outcome::LeadSkipReason;

/// A person who consented to be greeted. `Debug` shows neither number nor name, nor anything else
/// that the lead typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Lead {
    /// The sender's id of the submission. If the sender has none, the id is derived from form,
    /// person and minute.
    pub id: String,
    /// The lead's number.
    pub phone: Phone,
    /// The lead's name.
    pub name: Option<String>,
    /// Whether the lead's name arrived in bytes or signs that no charset explains.
    pub has_unreadable_name: bool,
    /// The language that the lead chose: `he`, `en-GB`.
    pub locale: Option<String>,
    /// The option that the lead chose from the client's list.
    pub choice: Option<String>,
    /// The lead's consent.
    pub consent: Consent,
    /// When the lead submitted the form, by the sender's clock. Never later than the receipt.
    pub submitted_at: Timestamp,
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead")
            .field("id", &self.id)
            .field("phone", &self.phone)
            .field("submitted_at", &self.submitted_at)
            .finish_non_exhaustive()
    }
}

/// A lead that a delivery names without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadReference {
    /// The sender's id of the lead.
    pub id: String,
    /// When the lead was created, by the sender's clock.
    pub created_at: Option<Timestamp>,
}

/// What a delivery contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedLead {
    /// A lead with consent.
    Lead(Box<Lead>),
    /// Leads that have to be looked up, each once. The list is never empty.
    NeedsLookup(Vec<LeadReference>),
    /// No lead to greet.
    Skipped(LeadSkipReason),
}

/// A verified delivery of a form.
#[derive(Debug, Clone, Copy)]
pub struct LeadDelivery<'a> {
    /// The form's name in `client.toml`.
    pub form_name: &'a str,
    /// The form's configuration.
    pub form: &'a FormConfig,
    /// The client's configuration.
    pub config: &'a ClientConfig,
    /// Makes the ids that are derived from personal values.
    pub pseudonyms: &'a PseudonymKey,
    /// The headers that the inbox stored.
    pub headers: &'a BTreeMap<String, String>,
    /// The raw body.
    pub body: &'a [u8],
    /// When the delivery was accepted.
    pub received_at: Timestamp,
}

impl<'a> LeadDelivery<'a> {
    /// The country for numbers without a country code.
    pub(crate) fn country(&self) -> &'a str {
        self.form.country.as_deref().unwrap_or(&self.config.country)
    }
}
