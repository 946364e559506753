//! The facts that the file of every kind declares: its settings, its secrets, the bodies that it
//! posts.

/// A setting that not every kind of its table has.
#[derive(Debug, Clone, Copy)]
pub struct KindSetting {
    /// The name in `client.toml`.
    pub name: &'static str,
    /// Whether the kind needs it.
    pub is_required: bool,
    /// What its value must look like.
    pub rule: SettingRule,
}

impl KindSetting {
    pub(super) const fn required(name: &'static str, rule: SettingRule) -> Self {
        Self { name, is_required: true, rule }
    }

    pub(super) const fn optional(name: &'static str, rule: SettingRule) -> Self {
        Self { name, is_required: false, rule }
    }
}

/// What the value of a setting must look like. `tellonce check` applies it.
#[derive(Debug, Clone, Copy)]
pub enum SettingRule {
    /// No rule: the type is enough, or another check reads the setting.
    Any,
    /// A text.
    Text(fn(&str) -> Option<SettingProblem>),
    /// A list of texts.
    Texts(fn(&str) -> Option<SettingProblem>),
    /// A table with at least one entry.
    Table {
        /// What is wrong without an entry.
        when_empty: fn() -> SettingProblem,
        /// What is wrong with a key.
        check_key: fn(&str) -> Option<SettingProblem>,
    },
    /// The address that is registered at the sender, which signs it with every delivery.
    RegisteredAddress,
    /// An address that is called: on the public internet, and without a secret in it.
    PublicAddress,
}

/// What is wrong with a setting, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl SettingProblem {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

/// The kind that a table's settings make, `kind`, unless the table has a setting of another kind or
/// lacks one. `owner` is what the table is about, such as `zoho CRM`, and `given` are its settings
/// that not every kind has.
pub(super) fn require_settings<K>(
    owner: &str,
    settings: &[KindSetting],
    given: &[(&str, bool)],
    kind: Option<K>,
) -> Result<K, String> {
    let article = if owner.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    let is_known = |name: &str| settings.iter().any(|setting| setting.name == name);
    if let Some((name, _)) = given.iter().find(|(name, is_given)| *is_given && !is_known(name)) {
        return Err(format!("`{name}` is not a setting of {article} {owner}; remove it"));
    }
    kind.ok_or_else(|| {
        let is_missing = |setting: &&KindSetting| setting.is_required && !given.contains(&(setting.name, true));
        let missing = settings.iter().find(is_missing).map_or("kind", |setting| setting.name);
        format!("{article} {owner} needs `{missing}`")
    })
}

/// A secret that a kind needs.
#[derive(Debug, Clone, Copy)]
pub struct SecretFacts {
    /// What to put into it.
    pub description: &'static str,
    /// What it is for, and so what it may hold.
    pub purpose: SecretPurpose,
    /// Whether the agency chooses the value and enters it at the sender or receiver. Else that
    /// system makes it.
    pub is_chosen: bool,
}

impl SecretFacts {
    /// A value that the other system makes.
    pub(super) const fn new(purpose: SecretPurpose, description: &'static str) -> Self {
        Self { description, purpose, is_chosen: false }
    }

    /// A value that the agency chooses.
    pub(super) const fn chosen(purpose: SecretPurpose, description: &'static str) -> Self {
        Self { is_chosen: true, ..Self::new(purpose, description) }
    }
}

/// What signs calls to an address of the client's own.
pub(super) const OUTGOING_SIGNATURE: SecretFacts = SecretFacts::chosen(
    SecretPurpose::StandardWebhooks,
    "the secret that signs the calls of tellonce, whsec_…: create one, and give it to the receiver",
);

/// The use of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPurpose {
    /// The token of a line.
    LineToken,
    /// Signs the deliveries of a Standard Webhooks sender.
    StandardWebhooks,
    /// Signs the deliveries of another sender, or is part of them.
    WebhookSecret,
    /// The last segment of a secret address.
    PathSecret,
    /// Looks up orders in the store. May be missing.
    StoreApi,
    /// Looks up in a booking system what it did not post.
    CalendarApi,
    /// The address of a feed.
    FeedAddress,
    /// Looks up a lead, because Meta posts only its id.
    LeadApi,
    /// Looks up a contact if HubSpot posts only its id. May be missing, because a workflow posts
    /// whole contacts.
    ContactApi,
    /// Writes to a CRM that accepts a plain token.
    CrmToken,
    /// Writes to Zoho CRM.
    ZohoClient,
    /// Writes to Google Sheets.
    ServiceAccount,
    /// The address of a Slack webhook.
    SlackAddress,
    /// The address of a Teams workflow.
    TeamsAddress,
}

/// What a sender's proof means for its client.
#[derive(Debug, Clone, Copy)]
pub struct SenderFacts {
    /// What its deliveries are verified with.
    pub secret: SecretFacts,
    /// For how long it repeats a delivery, if that is known and a repeat matters.
    pub repeats: Option<RepeatWindow>,
    /// The folder of its recorded deliveries in `events/stores`, `events/bookings` or
    /// `events/leads`.
    pub samples: &'static str,
}

/// For how long a sender may repeat a delivery. Sources: `docs/senders.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatWindow {
    /// How many days the inbox must remember a delivery.
    pub days: u16,
    /// Why.
    pub reason: &'static str,
}

impl RepeatWindow {
    /// The retry schedule of Standard Webhooks senders.
    pub(super) const STANDARD_WEBHOOKS: Self =
        Self { days: 4, reason: "the retry schedule of Standard Webhooks ends after 76 hours" };
    /// The repeats of Zapier, Make, n8n and a client's own code.
    pub(super) const BY_HAND: Self = Self { days: 7, reason: "a person may run a failed workflow again days later" };
}

/// Which bodies a sender posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "any set of these types is possible")]
pub struct BodyTypes {
    /// What they are, for the sender.
    pub description: &'static str,
    /// JSON.
    pub json: bool,
    /// An urlencoded form.
    pub form: bool,
    /// A form of several parts.
    pub multipart: bool,
    /// No body, whatever its type.
    pub empty: bool,
}

impl BodyTypes {
    pub(super) const JSON: Self =
        Self { description: "JSON (application/json)", json: true, form: false, multipart: false, empty: false };
    pub(super) const FORM: Self = Self {
        description: "a form (application/x-www-form-urlencoded)",
        json: false,
        form: true,
        multipart: false,
        empty: false,
    };
    /// The developer of the form chooses the type.
    pub(super) const JSON_OR_FORM: Self = Self {
        description: "JSON (application/json) or a form (application/x-www-form-urlencoded or multipart/form-data)",
        json: true,
        form: true,
        multipart: true,
        empty: false,
    };
}
