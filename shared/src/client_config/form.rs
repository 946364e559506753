//! Forms: the sources of leads, their consent, and their first touch.
//!
//! Main types: [`FormConfig`], [`FormKind`], [`ConsentRule`], [`RepeatRule`], [`LeadLimit`].

use std::fmt;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{MAIN_ID_SCOPE, MessageRule, TimeSpan};

/// A form that collects leads. Its proof is checked with the secret
/// `tellonce/<client>/webhooks/<name>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "FormTable")]
#[schemars(with = "FormTable")]
pub struct FormConfig {
    /// The kind of form.
    pub kind: FormKind,
    /// How deliveries prove where they come from.
    pub verify: FormScheme,
    /// The name of the line that sends for this form.
    pub line: String,
    /// The name that leads know, in texts; the client's if absent.
    pub name: Option<String>,
    /// The id scope of the form's leads; `main` if absent. Forms whose ids may meet need separate
    /// scopes.
    pub id_scope: Option<String>,
    /// Country for phone numbers without a country code; the client's if absent.
    pub country: Option<String>,
    /// Countries whose numbers are greeted (ISO 3166-1 alpha-2); the form's own country if empty.
    pub countries: Vec<String>,
    /// The language to write in, whatever the number's country. A language field of the form comes
    /// first.
    pub language: Option<String>,
    /// The sender's ids of the forms whose submissions are accepted; all if empty.
    pub form_ids: Vec<String>,
    /// Where the facts stand, if not under usual names.
    pub fields: FormFields,
    /// How leads agree to receive WhatsApp messages.
    pub consent: ConsentRule,
    /// A question with fixed answers, for texts.
    pub choice: Option<ChoiceRule>,
    /// When a number that comes again is not greeted.
    pub repeat: RepeatRule,
    /// How often one number is greeted, over all forms.
    pub per_phone: LeadLimit,
    /// The form is held when it receives more leads than this.
    pub burst: LeadLimit,
    /// The message that answers a lead.
    pub first_touch: MessageRule,
    /// HubSpot: the address exactly as registered there, which HubSpot signs with every delivery.
    pub notification_url: Option<String>,
}

impl FormConfig {
    /// The id scope of this form, or [`MAIN_ID_SCOPE`].
    pub fn id_scope(&self) -> &str {
        self.id_scope.as_deref().unwrap_or(MAIN_ID_SCOPE)
    }
}

/// The kinds of form that tellonce can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FormKind {
    /// Typeform.
    Typeform,
    /// Lead forms of Google Ads.
    GoogleAds,
    /// Lead ads of Meta (Facebook, Instagram). Deliveries hold only ids. Each lead is looked up
    /// with the Page's token, the secret `tellonce/<client>/forms/<name>`.
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
    /// Contact Form 7, with a plugin that posts submissions.
    #[serde(rename = "contact-form-7")]
    ContactForm7,
    /// HubSpot: the workflow action "Send a webhook", or an app's subscription to new contacts. A
    /// subscription holds only ids, which are looked up with the secret
    /// `tellonce/<client>/forms/<name>`.
    #[serde(rename = "hubspot")]
    HubSpot,
    /// Any website's own form, and the HTTP steps of Zapier, Make and n8n. JSON, urlencoded or
    /// multipart.
    Web,
}

impl FormKind {
    /// All kinds.
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

    /// The name in `client.toml`.
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

    /// Whether the sender has its own proof: a signature, or a key in the body.
    pub const fn has_own_proof(self) -> bool {
        match self {
            Self::Typeform | Self::GoogleAds | Self::Meta | Self::Webflow | Self::Tally | Self::HubSpot => true,
            Self::Jotform | Self::Elementor | Self::GravityForms | Self::WpForms | Self::ContactForm7 | Self::Web => {
                false
            }
        }
    }

    /// Whether the sender can be configured to send an extra header.
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

    /// Whether the sender also posts boxes that are not ticked. There, a missing box was renamed.
    pub const fn posts_unchecked_boxes(self) -> bool {
        matches!(self, Self::Meta | Self::Webflow | Self::Tally | Self::GravityForms | Self::HubSpot)
    }

    /// Whether one address receives the submissions of all forms of a page, site or account.
    pub const fn posts_for_many_forms(self) -> bool {
        matches!(self, Self::Meta | Self::Webflow | Self::HubSpot)
    }

    /// Whether leads may have to be looked up with a credential.
    pub const fn needs_lookup(self) -> bool {
        matches!(self, Self::Meta | Self::HubSpot)
    }
}

impl fmt::Display for FormKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the deliveries of a form prove where they come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FormScheme {
    /// The sender's own proof: a signature, or for Google Ads a key in the body.
    Signature,
    /// A signature as in <https://www.standardwebhooks.com>.
    StandardWebhooks,
    /// A secret value in a header. With `Authorization` the value begins with `Bearer `.
    StaticHeader {
        /// Name of the header, such as `X-Webhook-Token`.
        header: String,
    },
    /// A secret at the end of the address: `/leads/<name>/<secret>`, at least 32 characters. The
    /// weakest proof, for senders without any other.
    SecretPath,
}

/// Where the facts of a submission stand: the name, id, key or label of each field. In nested JSON
/// write points in between: `contact.phone`. Fields without a mapping are found under usual names.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormFields {
    /// The phone number. Two numbers in one field count as none.
    pub phone: Option<String>,
    /// The whole name.
    pub name: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The country of phone numbers without a country code, ISO 3166-1 alpha-2. Default: the
    /// form's.
    pub country: Option<String>,
    /// The language to answer in: `he`, `en-GB`. Default: the form's.
    pub language: Option<String>,
    /// The sender's id of the submission, for senders without a place for it. A submission that is
    /// posted twice with one id is one lead.
    pub id: Option<String>,
    /// When the lead submitted the form, RFC 3339. Default: the time of receipt.
    pub submitted_at: Option<String>,
    /// True for a trial, which is not greeted. Trials that the sender itself marks are not greeted
    /// either.
    pub test: Option<String>,
}

/// Answers that mean yes for every form, besides those in `accepts`.
pub const YES_ANSWERS: [&str; 7] = ["true", "1", "on", "yes", "y", "checked", "כן"];
/// Answers that mean no for every form, even if `accepts` lists them. A missing answer means no
/// too, because many senders leave out boxes that are not ticked.
pub const NO_ANSWERS: [&str; 7] = ["false", "0", "off", "no", "n", "unchecked", "לא"];

/// How leads agree to receive WhatsApp messages: a `field` that must say yes, or a sentence on the
/// form (`stated`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "ConsentTable")]
#[schemars(with = "ConsentTable")]
pub enum ConsentRule {
    /// A field that must say yes.
    Field {
        /// The name, id, key or label of the field.
        field: String,
        /// Answers that mean yes besides [`YES_ANSWERS`]: the words beside the box, if the sender
        /// posts them.
        accepts: Vec<String>,
    },
    /// Each submission is consent, because this sentence stands on the form.
    Stated(String),
}

/// A consent rule in `client.toml`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConsentTable {
    /// The field that must say yes: `true`, `1`, `on`, `yes`, `y`, `checked`, `כן`, or a ticked
    /// box. Required without `stated`.
    field: Option<String>,
    /// Further answers of `field` that mean yes, word for word, for senders that post the words
    /// beside the box. Default: none.
    accepts: Option<Vec<String>>,
    /// The sentence on the form, word for word, if each submission is consent. Required without
    /// `field`.
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
            _ => Err("consent needs either a field, { field = \"consent\" }, or a sentence on the form, \
                      { stated = \"By sending this you agree that …\" }"),
        }
    }
}

/// A question with fixed answers, for texts: `{{ choice }}`. Other answers are left out, so no lead
/// can put text into a message.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceRule {
    /// The name, id, key or label of the question.
    pub field: String,
    /// The answers that texts may use, word for word.
    pub of: Vec<String>,
}

/// What happens to a lead whose number was greeted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepeatRule {
    /// How long after a greeting the same number is not greeted again: `"1h"` to `"90d"`, at most
    /// `retention.ledger_days`. Default: `"7d"`.
    #[schemars(with = "String")]
    pub within: TimeSpan,
    /// Which greetings count. Default: `forms`.
    pub across: RepeatScope,
    /// What happens to a lead that is not greeted. Default: `record`.
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

/// Which greetings of a number count as repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatScope {
    /// The greetings of this form.
    Form,
    /// The greetings of all forms.
    Forms,
}

/// What happens to a lead whose number was greeted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatAction {
    /// The lead is recorded.
    Record,
    /// The lead is recorded, and an operator is notified.
    Escalate,
}

/// A number of leads in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeadLimit {
    /// The number of leads: 1 to 100,000.
    pub leads: u32,
    /// The span of time: `"1m"` to `"7d"`.
    #[schemars(with = "String")]
    pub within: TimeSpan,
}

/// How often one number is greeted without `per_phone`. It matters only with [`RepeatScope::Form`],
/// where each form greets separately.
const DEFAULT_PER_PHONE_LIMIT: LeadLimit = LeadLimit { leads: 3, within: TimeSpan(SignedDuration::from_hours(24)) };
/// When a form is held without `burst`. More leads are an attack or an import, not a good day.
const DEFAULT_BURST_LIMIT: LeadLimit = LeadLimit { leads: 30, within: TimeSpan(SignedDuration::from_mins(10)) };

/// A form in `client.toml`: one flat table for all kinds.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FormTable {
    /// The kind of form.
    kind: FormKind,
    /// How deliveries prove where they come from. Default: the sender's own proof if it has one,
    /// and the secret address for Jotform and Elementor. Other kinds need it.
    verify: Option<FormScheme>,
    /// The name of the line that sends for this form.
    line: String,
    /// The name that leads know: `{{ business_name }}`. Default: the client's `name`.
    name: Option<String>,
    /// The id scope: forms in one scope mean the same lead by the same id. At most 20 lower-case
    /// letters, digits, `-` and `_`. Default: `main`. Forms that share a scope must each set it.
    id_scope: Option<String>,
    /// Country for phone numbers of this form without a country code: ISO 3166-1 alpha-2. Default:
    /// the client's `country`.
    country: Option<String>,
    /// Countries whose numbers are greeted: ISO 3166-1 alpha-2, in capitals. Leads of other
    /// countries are recorded only. Default: the form's own country.
    #[serde(default)]
    countries: Vec<String>,
    /// The language to write in if no field names one: one of the client's `languages`. Default: by
    /// the number's country, else the first.
    language: Option<String>,
    /// The sender's ids of the forms whose submissions are accepted, for accounts that post all
    /// forms to one address. Default: all.
    #[serde(default)]
    form_ids: Vec<String>,
    /// Where the facts stand, for fields that are not found under usual names.
    #[serde(default)]
    fields: FormFields,
    /// How leads agree to receive WhatsApp messages. Without consent nothing is sent.
    consent: ConsentRule,
    /// A question with fixed answers, for texts: `{{ choice }}`. Default: none.
    choice: Option<ChoiceRule>,
    /// When a number that comes again is not greeted. Default: for 7 days after a greeting by any
    /// form.
    #[serde(default)]
    repeat: RepeatRule,
    /// How often one number is greeted, over all forms. Default: 3 times in a day.
    per_phone: Option<LeadLimit>,
    /// More leads than this hold the form: no lead is greeted until an operator decides. Default:
    /// 30 leads in 10 minutes.
    burst: Option<LeadLimit>,
    /// The one message that answers a lead. It cannot have `button` and `document`.
    first_touch: MessageRule,
    /// `hubspot`, required if HubSpot signs: the address exactly as registered there. It ends in
    /// `/leads/<name>`.
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
                return Err(format!("a {kind} form does not sign; use \"secret-path\" or another scheme"));
            }
            FormScheme::StaticHeader { .. } | FormScheme::StandardWebhooks if !kind.supports_headers() => {
                return Err(format!("a {kind} form cannot send extra headers; remove `verify`"));
            }
            _ => {}
        }
        let signed_address = kind == FormKind::HubSpot && verify == FormScheme::Signature;
        match (&table.notification_url, signed_address) {
            (None, true) => {
                return Err(
                    "a hubspot form that signs needs `notification_url`, the address as registered at HubSpot".into()
                );
            }
            (Some(_), false) => {
                return Err("`notification_url` is only a setting of hubspot forms that sign; remove it".into());
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
    fn consent_is_either_a_field_or_a_sentence() {
        let consent = |text: &str| toml::from_str::<ConsentRule>(text).is_ok();
        assert!(consent("field = \"consent\"") && consent("field = \"a\"\naccepts = [\"I agree\"]"));
        assert!(consent("stated = \"By sending you agree\""));
        assert!(!consent("") && !consent("field = \"a\"\nstated = \"b\"") && !consent("accepts = [\"x\"]"));
    }
}
