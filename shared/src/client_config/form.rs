//! Forms: where people leave their number, who of them may be written to, and the first thing they hear.

use std::fmt;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{MAIN_ID_SCOPE, MessageRule, TimeSpan};

/// A form.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "FormTable")]
#[schemars(with = "FormTable")]
pub struct FormConfig {
    /// What kind of sender it is.
    pub kind: FormKind,
    /// How its deliveries prove where they come from.
    pub verify: FormScheme,
    /// The line that speaks for this form.
    pub line: String,
    /// Whom people think they wrote to, in texts; the client's name when absent.
    pub name: Option<String>,
    /// Which leads this form's ids belong to; `main` when absent. Forms whose ids may meet need a book of their own each.
    pub id_scope: Option<String>,
    /// Country for phone numbers of this form, when it is not the client's.
    pub country: Option<String>,
    /// Countries whose numbers may be written to (ISO 3166-1 alpha-2). Only the form's own when empty.
    pub countries: Vec<String>,
    /// The language to write in, whatever country the number is of; a field's answer comes first.
    pub language: Option<String>,
    /// Only submissions of the sender's forms of these ids; of all when empty.
    pub form_ids: Vec<String>,
    /// Where the facts stand, for what is not found by itself.
    pub fields: FormFields,
    /// By what somebody agrees to be written to.
    pub consent: ConsentRule,
    /// What they chose, for texts.
    pub choice: Option<ChoiceRule>,
    /// Who has written before.
    pub repeat: RepeatRule,
    /// How often one number is greeted, whatever forms it is left on.
    pub per_phone: LeadLimit,
    /// Beyond this many leads nobody is greeted before a human has looked.
    pub burst: LeadLimit,
    /// What is said.
    pub first_touch: MessageRule,
    /// `HubSpotClient`: the address as it is registered there, which is part of what `HubSpotClient` signs.
    pub notification_url: Option<String>,
}

impl FormConfig {
    /// The book of this form: its own, or the main one.
    pub fn id_scope(&self) -> &str {
        self.id_scope.as_deref().unwrap_or(MAIN_ID_SCOPE)
    }
}

/// The kinds of form we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FormKind {
    /// Typeform.
    Typeform,
    /// Lead forms of Google Ads.
    GoogleAds,
    /// Lead ads of Meta (Facebook, Instagram). Deliveries hold ids only; each lead is read back with the Page's token in
    /// [`super::ClientConfig::form_secret_name`].
    Meta,
    /// Webflow.
    Webflow,
    /// Tally.
    Tally,
    /// Jotform.
    Jotform,
    /// Elementor Pro, action "Webhook".
    Elementor,
    /// Gravity Forms, Webhooks add-on.
    GravityForms,
    /// `WPForms`, Webhooks addon.
    #[serde(rename = "wpforms")]
    WpForms,
    /// Contact Form 7, with a plugin that posts.
    #[serde(rename = "contact-form-7")]
    ContactForm7,
    /// `HubSpotClient`: the workflow action "Send a webhook", or an app's subscription to new contacts, whose ids are read back
    /// with the token in [`super::ClientConfig::form_secret_name`].
    #[serde(rename = "hubspot")]
    HubSpot,
    /// Any website's own form, and the HTTP steps of Zapier, Make and n8n: JSON, urlencoded or multipart.
    Web,
}

impl FormKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Typeform,
        Self::GoogleAds,
        Self::Meta,
        Self::Webflow,
        Self::Tally,
        Self::Jotform,
        Self::Elementor,
        Self::GravityForms,
        Self::WpForms,
        Self::ContactForm7,
        Self::HubSpot,
        Self::Web,
    ];

    /// Its name in `client.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Typeform => "typeform",
            Self::GoogleAds => "google-ads",
            Self::Meta => "meta",
            Self::Webflow => "webflow",
            Self::Tally => "tally",
            Self::Jotform => "jotform",
            Self::Elementor => "elementor",
            Self::GravityForms => "gravity-forms",
            Self::WpForms => "wpforms",
            Self::ContactForm7 => "contact-form-7",
            Self::HubSpot => "hubspot",
            Self::Web => "web",
        }
    }

    /// Whether it has a proof of its own: a signature, or a key in the body.
    pub const fn has_own_proof(self) -> bool {
        match self {
            Self::Typeform | Self::GoogleAds | Self::Meta | Self::Webflow | Self::Tally | Self::HubSpot => true,
            Self::Jotform | Self::Elementor | Self::GravityForms | Self::WpForms | Self::ContactForm7 | Self::Web => {
                false
            }
        }
    }

    /// Whether somebody can give its deliveries a header of their own.
    pub const fn supports_headers(self) -> bool {
        match self {
            Self::Webflow
            | Self::Tally
            | Self::GravityForms
            | Self::WpForms
            | Self::ContactForm7
            | Self::HubSpot
            | Self::Web => true,
            Self::Typeform | Self::GoogleAds | Self::Meta | Self::Jotform | Self::Elementor => false,
        }
    }

    /// Whether a box that is not ticked is posted all the same, so that one that is missing was renamed.
    pub const fn posts_unchecked_boxes(self) -> bool {
        matches!(self, Self::Meta | Self::Webflow | Self::Tally | Self::GravityForms | Self::HubSpot)
    }

    /// Whether one address gets the submissions of all forms of a page, site or account, unless they are told apart.
    pub const fn posts_for_many_forms(self) -> bool {
        matches!(self, Self::Meta | Self::Webflow | Self::HubSpot)
    }

    /// Whether leads may have to be read back with a credential of our own.
    pub const fn needs_lookup(self) -> bool {
        matches!(self, Self::Meta | Self::HubSpot)
    }
}

impl fmt::Display for FormKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a form's deliveries prove where they come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FormScheme {
    /// As the sender itself does it: its signature, or for Google Ads its key in the body.
    Signature,
    /// Signed as <https://www.standardwebhooks.com> says.
    StandardWebhooks,
    /// A secret value in a header.
    StaticHeader {
        /// Name of the header, e.g. `X-Webhook-Token`.
        header: String,
    },
    /// A secret value at the end of the address, for senders that can do nothing else: `/leads/{form}/{secret}`.
    SecretPath,
}

/// Where the facts of a submission stand, by the name, id, key or label of the field; in nested JSON as `contact.phone`.
/// What is not named here is looked for under the names that people usually give it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormFields {
    /// The phone number.
    pub phone: Option<String>,
    /// The whole name.
    pub name: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The country that the number is written for, ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// The language to answer in: `he`, `en-GB`.
    pub language: Option<String>,
    /// The sender's id of the submission, for senders that have no place of their own for it.
    pub id: Option<String>,
    /// When it was submitted, RFC 3339. The time of receipt counts when there is none.
    pub submitted_at: Option<String>,
    /// True for a submission that is only a trial.
    pub test: Option<String>,
}

/// Answers that mean yes, whatever the form, besides those that its client lists.
pub const YES_ANSWERS: [&str; 7] = ["true", "1", "on", "yes", "y", "checked", "כן"];
/// Answers that mean no, whatever the client lists. So does none at all: a box that is not ticked is often not sent.
pub const NO_ANSWERS: [&str; 7] = ["false", "0", "off", "no", "n", "unchecked", "לא"];

/// By what somebody agrees to be written to over `WhatsApp`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "ConsentTable")]
#[schemars(with = "ConsentTable")]
pub enum ConsentRule {
    /// By this field, which must say yes.
    Field {
        /// Its name, id, key or label.
        field: String,
        /// Answers that mean yes besides `true`, `1`, `on`, `yes` and a ticked box: the words beside the box, where the sender
        /// posts those.
        accepts: Vec<String>,
    },
    /// By submitting a form on which this stands.
    Stated(String),
}

/// A consent rule as it stands in the file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConsentTable {
    /// The field that must say yes.
    field: Option<String>,
    /// Further answers that mean yes, word for word.
    accepts: Option<Vec<String>>,
    /// What stands on the form, when submitting it is enough.
    stated: Option<String>,
}

impl TryFrom<ConsentTable> for ConsentRule {
    type Error = &'static str;

    fn try_from(table: ConsentTable) -> Result<Self, Self::Error> {
        match table {
            ConsentTable { field: Some(field), accepts, stated: None } => {
                Ok(Self::Field { field, accepts: accepts.unwrap_or_default() })
            }
            ConsentTable { field: None, accepts: None, stated: Some(stated) } => Ok(Self::Stated(stated)),
            _ => Err("consent is either given in a field, { field = \"consent\" }, or by a sentence on the form, \
                      { stated = \"By sending this you agree that …\" }"),
        }
    }
}

/// What somebody chose of a list, for texts: `{{ choice }}`. An answer that is not in the list is left out, so that nobody
/// writes a message of their own into it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceRule {
    /// The field's name, id, key or label.
    pub field: String,
    /// The answers that there are, word for word.
    pub of: Vec<String>,
}

/// What becomes of somebody who leaves the same number again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepeatRule {
    /// For so long after a greeting the same number is not greeted again.
    #[schemars(with = "String")]
    pub within: TimeSpan,
    /// Which greetings count.
    pub across: RepeatScope,
    /// What is done with it besides.
    pub then: RepeatAction,
}

impl Default for RepeatRule {
    fn default() -> Self {
        Self {
            within: TimeSpan(SignedDuration::from_hours(7 * 24)),
            across: RepeatScope::Forms,
            then: RepeatAction::Record,
        }
    }
}

/// Which greetings of a number count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatScope {
    /// Those of this form.
    Form,
    /// Those of all forms.
    Forms,
}

/// What is done with somebody who was greeted already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatAction {
    /// It is written down.
    Record,
    /// And a human is told.
    Escalate,
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeadLimit {
    /// How many: 1 to 100,000.
    pub leads: u32,
    /// In which time.
    #[schemars(with = "String")]
    pub within: TimeSpan,
}

/// One number is greeted by so many forms a day when the client does not say. Only counts where forms greet each for
/// itself (`RepeatScope::Form`).
const DEFAULT_PER_PHONE_LIMIT: LeadLimit = LeadLimit { leads: 3, within: TimeSpan(SignedDuration::from_hours(24)) };
/// More leads than this is no good day but an attack or an import, unless the client says otherwise.
const DEFAULT_BURST_LIMIT: LeadLimit = LeadLimit { leads: 30, within: TimeSpan(SignedDuration::from_mins(10)) };

/// A form as it stands in the file: one flat table, whatever its kind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FormTable {
    /// What kind of sender it is.
    kind: FormKind,
    /// How deliveries prove where they come from. The sender's own way when absent and it has one; the secret address for
    /// Jotform and Elementor.
    verify: Option<FormScheme>,
    /// The line that speaks for this form.
    line: String,
    /// Whom people think they wrote to, in texts; the client's name when absent.
    name: Option<String>,
    /// Which leads this form's ids belong to; `main` when absent.
    id_scope: Option<String>,
    /// Country for phone numbers of this form, when it is not the client's.
    country: Option<String>,
    /// Countries whose numbers may be written to; only the form's own when absent.
    #[serde(default)]
    countries: Vec<String>,
    /// The language to write in, unless a field says another.
    language: Option<String>,
    /// Only submissions of the sender's forms of these ids.
    #[serde(default)]
    form_ids: Vec<String>,
    /// Where the facts stand, for what is not found by itself.
    #[serde(default)]
    fields: FormFields,
    /// By what somebody agrees to be written to: a field that must say yes, or a sentence on the form.
    consent: ConsentRule,
    /// What they chose of a list, for texts.
    choice: Option<ChoiceRule>,
    /// What becomes of somebody who leaves the same number again.
    #[serde(default)]
    repeat: RepeatRule,
    /// How often one number is greeted, whatever forms it is left on; three times a day when absent.
    per_phone: Option<LeadLimit>,
    /// Beyond this many leads nobody is greeted before a human has looked; 30 in ten minutes when absent.
    burst: Option<LeadLimit>,
    /// What is said.
    first_touch: MessageRule,
    /// `HubSpotClient`, when it signs: the address as it is registered there.
    notification_url: Option<String>,
}

impl TryFrom<FormTable> for FormConfig {
    type Error = String;

    fn try_from(table: FormTable) -> Result<Self, String> {
        let FormTable { kind, verify, line, name, id_scope, country, countries, language, form_ids, fields, .. } =
            table;
        let verify = match verify {
            Some(verify) => verify,
            None if kind.has_own_proof() => FormScheme::Signature,
            None if !kind.supports_headers() => FormScheme::SecretPath,
            None => {
                return Err(format!(
                    "a {kind} form needs `verify`: {{ scheme = \"static-header\", header = \"X-Webhook-Token\" }} if the sender \
                     can set a header, else {{ scheme = \"secret-path\" }}"
                ));
            }
        };
        match &verify {
            FormScheme::Signature if !kind.has_own_proof() => {
                return Err(format!("a {kind} form signs nothing; use \"secret-path\" or another scheme"));
            }
            FormScheme::StaticHeader { .. } | FormScheme::StandardWebhooks if !kind.supports_headers() => {
                return Err(format!("a {kind} form sends no headers of one's own; leave `verify` out"));
            }
            _ => {}
        }
        let signed_address = kind == FormKind::HubSpot && verify == FormScheme::Signature;
        match (&table.notification_url, signed_address) {
            (None, true) => {
                return Err(
                    "a hubspot form that signs needs `notification_url`, the address as it stands in HubSpot".into()
                );
            }
            (Some(_), false) => {
                return Err(format!(
                    "`notification_url` means nothing for a {kind} form that is proven otherwise; remove it"
                ));
            }
            _ => {}
        }
        Ok(Self {
            kind,
            verify,
            line,
            name,
            id_scope,
            country,
            countries,
            language,
            form_ids,
            fields,
            consent: table.consent,
            choice: table.choice,
            repeat: table.repeat,
            per_phone: table.per_phone.unwrap_or(DEFAULT_PER_PHONE_LIMIT),
            burst: table.burst.unwrap_or(DEFAULT_BURST_LIMIT),
            first_touch: table.first_touch,
            notification_url: table.notification_url,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED_SETTINGS: &str = "line = \"main\"\nconsent = { stated = \"…\" }\nfirst_touch = { useful_for = \"1d\", text = { en = \"Hi\" } }\n";

    fn parse_form(text: &str) -> Result<FormConfig, String> {
        toml::from_str::<FormConfig>(&format!("{text}\n{REQUIRED_SETTINGS}"))
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_form_uses_the_proof_of_its_sender_unless_the_client_chooses_another() {
        for (kind, proven) in [
            ("typeform", Ok(FormScheme::Signature)),
            ("jotform", Ok(FormScheme::SecretPath)),
            ("elementor", Ok(FormScheme::SecretPath)),
            ("web", Err("needs `verify`")),
            ("hubspot", Err("needs `notification_url`")),
        ] {
            match (parse_form(&format!("kind = \"{kind}\"")), proven) {
                (Ok(form), Ok(proven)) => assert_eq!(form.verify, proven, "{kind}"),
                (Err(error), Err(says)) => assert!(error.contains(says), "{kind}: {error}"),
                (other, _) => panic!("{kind}: {other:?}"),
            }
        }
        assert!(parse_form("kind = \"jotform\"\nverify = { scheme = \"static-header\", header = \"x\" }").is_err());
        assert!(parse_form("kind = \"web\"\nverify = { scheme = \"signature\" }").is_err());
        assert!(parse_form("kind = \"webflow\"\nverify = { scheme = \"secret-path\" }").is_ok());
        assert!(parse_form("kind = \"tally\"\nnotification_url = \"https://x.example\"").is_err());
    }

    #[test]
    fn every_kind_parses_from_its_name() {
        for kind in FormKind::ALL {
            let verify = "verify = { scheme = \"secret-path\" }";
            assert_eq!(parse_form(&format!("kind = \"{kind}\"\n{verify}")).unwrap().kind, kind);
        }
    }

    #[test]
    fn consent_is_a_field_or_a_sentence_and_never_neither() {
        let consent = |text: &str| toml::from_str::<ConsentRule>(text).is_ok();
        assert!(consent("field = \"consent\"") && consent("field = \"a\"\naccepts = [\"I agree\"]"));
        assert!(consent("stated = \"By sending you agree\""));
        assert!(!consent("") && !consent("field = \"a\"\nstated = \"b\"") && !consent("accepts = [\"x\"]"));
    }
}
