//! The facts that a submission may hold: their usual names, and where one was found.

use tellonce_core::client_config::FormFields;

/// A fact that a submission may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadFact {
    /// The phone number.
    Phone,
    /// The whole name.
    Name,
    /// The first name.
    FirstName,
    /// The last name.
    LastName,
    /// The country that the number belongs to.
    Country,
    /// The language to write to the lead in.
    Language,
    /// The sender's id of the submission.
    Id,
    /// The form's id.
    FormId,
    /// The time of the submission.
    SubmittedAt,
}

impl LeadFact {
    /// All facts.
    pub const ALL: [Self; 9] = [
        Self::Phone,
        Self::Name,
        Self::FirstName,
        Self::LastName,
        Self::Country,
        Self::Language,
        Self::Id,
        Self::FormId,
        Self::SubmittedAt,
    ];

    /// The key of this fact among a form's `fields` in `client.toml`. The form's id has no such key
    /// and returns `form_id`.
    pub const fn config_name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Name => "name",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Country => "country",
            Self::Language => "language",
            Self::Id => "id",
            Self::FormId => "form_id",
            Self::SubmittedAt => "submitted_at",
        }
    }

    /// The field that the client configured for this fact.
    pub fn configured_field(self, fields: &FormFields) -> Option<&str> {
        match self {
            Self::Phone => fields.phone.as_deref(),
            Self::Name => fields.name.as_deref(),
            Self::FirstName => fields.first_name.as_deref(),
            Self::LastName => fields.last_name.as_deref(),
            Self::Country => fields.country.as_deref(),
            Self::Language => fields.language.as_deref(),
            Self::Id => fields.id.as_deref(),
            Self::FormId => None,
            Self::SubmittedAt => fields.submitted_at.as_deref(),
        }
    }
}

/// The usual names of a fact, the most likely first. A field called `WhatsApp` is usually a consent
/// checkbox, so it counts only if it holds a number.
pub const fn usual_names(fact: LeadFact) -> &'static [&'static str] {
    match fact {
        LeadFact::Phone => &[
            "mobile phone",
            "mobile phone number",
            "mobile number",
            "mobile",
            "your mobile",
            "cell phone",
            "cell phone number",
            "cell number",
            "cell",
            "טלפון נייד",
            "מספר טלפון נייד",
            "מספר נייד",
            "נייד",
            "טלפון סלולרי",
            "סלולרי",
            "phone number",
            "phone",
            "your phone number",
            "your phone",
            "telephone number",
            "telephone",
            "your telephone",
            "tel",
            "your tel",
            "מספר טלפון",
            "מספר הטלפון",
            "טלפון",
            "phone 1",
            "contact phone",
            "customer phone",
            "billing phone",
            "home phone",
            "telefon",
            "work phone",
            "whatsapp number",
            "whatsapp phone",
            "hs whatsapp phone number",
            "whatsapp",
            "מספר וואטסאפ",
            "וואטסאפ",
        ],
        LeadFact::Name => &[
            "full name",
            "your full name",
            "name",
            "your name",
            "contact name",
            "customer name",
            "lead name",
            "שם מלא",
            "שם",
        ],
        LeadFact::FirstName => &["first name", "your first name", "given name", "fname", "name first", "שם פרטי"],
        LeadFact::LastName => {
            &["last name", "your last name", "family name", "surname", "lname", "name last", "שם משפחה"]
        }
        LeadFact::Country => &["country code", "country", "מדינה", "ארץ", "hs country region code"],
        LeadFact::Language => {
            &["language", "your language", "preferred language", "lang", "locale", "hs language", "שפה"]
        }
        LeadFact::Id => &["lead id", "submission id", "entry id", "response id"],
        LeadFact::FormId => &["form id"],
        LeadFact::SubmittedAt => &["submitted at", "created at"],
    }
}

/// Names of parents that do not make a nested field belong to another person.
pub const NEUTRAL_PARENTS: [&str; 17] = [
    "answers",
    "body",
    "contact",
    "customer",
    "data",
    "fields",
    "form data",
    "form fields",
    "form response",
    "hidden",
    "lead",
    "payload",
    "person",
    "properties",
    "submission",
    "values",
    "visitor",
];

/// Where a fact was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSource {
    /// In the field of this name, or in several fields that form one fact together.
    Field(String),
    /// At a fixed place in this kind of sender's deliveries.
    Sender,
    /// In the configuration: the form itself states it.
    Form,
}

impl FactSource {
    pub(crate) fn from_field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }
}
