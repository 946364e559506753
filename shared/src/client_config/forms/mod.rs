//! Forms: the sources of leads, their consent, and their first touch. Each kind has a file with
//! its facts.
//!
//! Main types: [`FormConfig`], [`FormKind`], [`FormFacts`], [`ConsentRule`], [`RepeatRule`],
//! [`LeadLimit`].

mod contact_form_7;
mod elementor;
mod google_ads;
mod gravity_forms;
mod hubspot;
mod jotform;
mod meta;
mod rules;
mod tally;
mod typeform;
mod web;
mod webflow;
mod wpforms;

use std::fmt;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    BodyTypes, DeliveryProof, FallbackId, KindSetting, MAIN_ID_SCOPE, MessageRule, PathSecret, RepeatWindow,
    SecretFacts, SecretPurpose, SenderFacts, TimeSpan,
    proof::{STANDARD_WEBHOOKS_SECRET, STATIC_HEADER_SECRET},
};

pub use self::rules::{
    ChoiceRule, ConsentRule, FormFields, FormLimits, LeadLimit, NO_ANSWERS, RepeatAction, RepeatRule, RepeatScope,
    YES_ANSWERS,
};

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
    /// The form is held when it receives more leads than these.
    pub limits: FormLimits,
    /// The message that answers a lead.
    pub first_touch: MessageRule,
    /// HubSpot: the address exactly as registered there, which HubSpot signs with every delivery.
    pub notification_url: Option<String>,
    /// Where a person goes whose browser posts the form itself. An https address.
    pub thanks_url: Option<String>,
}

impl FormConfig {
    /// The id scope of this form, or [`MAIN_ID_SCOPE`].
    pub fn id_scope(&self) -> &str {
        self.id_scope.as_deref().unwrap_or(MAIN_ID_SCOPE)
    }

    /// How its deliveries prove where they come from. One with a secret address has it
    /// [at its end](DeliveryProof::with_path_secret).
    pub fn proof(&self) -> DeliveryProof<'_> {
        match (&self.verify, self.kind.facts().own_proof) {
            (FormScheme::StandardWebhooks, _) => DeliveryProof::StandardWebhooks,
            (FormScheme::StaticHeader { header }, _) => {
                DeliveryProof::StaticHeader { header, delivery_id: None, fallback_id: FallbackId::ByMinute }
            }
            (FormScheme::Signature, Some(OwnProof { proof: DeliveryProof::Signature { scheme, .. }, .. })) => {
                let binding = self.notification_url.as_deref().unwrap_or_default();
                DeliveryProof::Signature { scheme, binding }
            }
            (FormScheme::Signature, Some(own)) => own.proof,
            // A kind without its own proof cannot ask for `signature`: such a file does not load.
            // The empty secret refuses every delivery.
            (FormScheme::SecretPath, _) | (FormScheme::Signature, None) => {
                DeliveryProof::SecretPath(PathSecret::default())
            }
        }
    }

    /// What the agency must know about its deliveries: secret, repeats, samples.
    pub fn sender(&self) -> SenderFacts {
        let facts = self.kind.facts();
        let secret = match (&self.verify, facts.own_proof) {
            (FormScheme::StandardWebhooks, _) => STANDARD_WEBHOOKS_SECRET,
            (FormScheme::StaticHeader { .. }, _) => STATIC_HEADER_SECRET,
            (FormScheme::Signature, Some(own)) => own.secret,
            (FormScheme::SecretPath, _) | (FormScheme::Signature, None) => PATH_SECRET,
        };
        let follows_standard = facts.own_proof.is_none() && self.verify == FormScheme::StandardWebhooks;
        let repeats = if follows_standard { Some(RepeatWindow::STANDARD_WEBHOOKS) } else { facts.repeats };
        SenderFacts { secret, repeats, samples: facts.samples }
    }
}

/// What stands at the end of a form's address.
const PATH_SECRET: SecretFacts = SecretFacts::chosen(
    SecretPurpose::PathSecret,
    "a long random value of letters, digits, - and _; the address that the form posts to ends in it: /leads/…/…",
);

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

    /// The facts of this kind.
    pub const fn facts(self) -> &'static FormFacts {
        match self {
            Self::Typeform => &typeform::FACTS,
            Self::GoogleAds => &google_ads::FACTS,
            Self::Meta => &meta::FACTS,
            Self::Webflow => &webflow::FACTS,
            Self::Tally => &tally::FACTS,
            Self::Jotform => &jotform::FACTS,
            Self::Elementor => &elementor::FACTS,
            Self::GravityForms => &gravity_forms::FACTS,
            Self::WpForms => &wpforms::FACTS,
            Self::ContactForm7 => &contact_form_7::FACTS,
            Self::HubSpot => &hubspot::FACTS,
            Self::Web => &web::FACTS,
        }
    }
}

/// The facts of a kind of form.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a table of independent yes-or-no facts")]
pub struct FormFacts {
    /// The name in `client.toml`.
    pub name: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// The settings that not every kind has.
    pub settings: &'static [KindSetting],
    /// The sender's own proof, if it has one: a signature, or a key in the body.
    pub own_proof: Option<OwnProof>,
    /// The token that it repeats when it asks whether an address is the client's, if it asks before
    /// it posts.
    pub handshake_secret: Option<SecretFacts>,
    /// The credential for its API, if leads may have to be read back.
    pub api_secret: Option<SecretFacts>,
    /// Whether the sender can be configured to send an extra header.
    pub supports_headers: bool,
    /// Whether the sender also posts boxes that are not ticked. There, a missing box was renamed.
    pub posts_unchecked_boxes: bool,
    /// Whether one address receives the submissions of all forms of a page, site or account.
    pub posts_for_many_forms: bool,
    /// Whether it posts contacts, who need not have filled in a form.
    pub posts_contacts: bool,
    /// Whether each submission is about one person. Then further telephone fields are that person's
    /// too.
    pub submits_one_person: bool,
    /// Whether each submission names its form, without being configured to.
    pub names_its_form: bool,
    /// Whether fields are named by numbers, which say nothing of what is in them.
    pub numbers_its_fields: bool,
    /// Whether it wants JSON for an answer.
    pub reads_reply: bool,
    /// Which bodies it posts.
    pub body: BodyTypes,
    /// For how long it repeats a delivery, if that is known.
    pub repeats: Option<RepeatWindow>,
    /// The folder of its recorded deliveries in `events/leads`.
    pub samples: &'static str,
}

impl FormFacts {
    /// A sender without a proof of its own, whose deliveries say what their developer wants.
    const PLAIN: Self = Self {
        name: "",
        label: "",
        settings: &[],
        own_proof: None,
        handshake_secret: None,
        api_secret: None,
        supports_headers: true,
        posts_unchecked_boxes: false,
        posts_for_many_forms: false,
        posts_contacts: false,
        submits_one_person: false,
        names_its_form: true,
        numbers_its_fields: false,
        reads_reply: false,
        body: BodyTypes::JSON_OR_FORM,
        repeats: None,
        samples: "",
    };
}

/// The proof that a sender has of its own.
#[derive(Debug, Clone, Copy)]
pub struct OwnProof {
    /// How deliveries prove where they come from, bound to no address yet.
    pub proof: DeliveryProof<'static>,
    /// What they are verified with.
    pub secret: SecretFacts,
}

impl fmt::Display for FormKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name)
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

/// How often one number is greeted without `per_phone`. It matters only with [`RepeatScope::Form`],
/// where each form greets separately.
const DEFAULT_PER_PHONE_LIMIT: LeadLimit = LeadLimit { leads: 3, within: TimeSpan(SignedDuration::from_hours(24)) };

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
    /// The same for a longer window, because a slow flood stays below `burst`. Default: 200 leads
    /// in 24 hours, or as many as a larger `burst` allows.
    sustained: Option<LeadLimit>,
    /// The one message that answers a lead. It cannot have `button` and `document`.
    first_touch: MessageRule,
    /// `hubspot`, required if HubSpot signs: the address exactly as registered there. It ends in
    /// `/leads/<name>`.
    notification_url: Option<String>,
    /// `web`: the page that a person sees after the form, if the browser posts it without a script:
    /// an https address. Default: a short page of tellonce.
    thanks_url: Option<String>,
}

impl TryFrom<FormTable> for FormConfig {
    type Error = String;

    fn try_from(table: FormTable) -> Result<Self, String> {
        let FormTable { kind, verify, line, name, id_scope, country, countries, language, form_ids, fields, .. } =
            table;
        let facts = kind.facts();
        let verify = match verify {
            Some(verify) => verify,
            None if facts.own_proof.is_some() => FormScheme::Signature,
            None if !facts.supports_headers => FormScheme::SecretPath,
            None => {
                return Err(format!(
                    "a {kind} form needs `verify`: {{ scheme = \"static-header\", header = \"X-Webhook-Token\" }} if the sender \
                     can set a header, else {{ scheme = \"secret-path\" }}"
                ));
            }
        };
        match &verify {
            FormScheme::Signature if facts.own_proof.is_none() => {
                return Err(format!("a {kind} form does not sign; use \"secret-path\" or another scheme"));
            }
            FormScheme::StaticHeader { .. } | FormScheme::StandardWebhooks if !facts.supports_headers => {
                return Err(format!("a {kind} form cannot send extra headers; remove `verify`"));
            }
            _ => {}
        }
        let signs_address = matches!(facts.own_proof, Some(OwnProof { proof: DeliveryProof::Signature { scheme, .. }, .. }) if scheme.signs_address());
        let signed_address = signs_address && verify == FormScheme::Signature;
        match (&table.notification_url, signed_address) {
            (None, true) => {
                return Err(format!(
                    "a {kind} form that signs needs `notification_url`, the address as registered at {}",
                    facts.label
                ));
            }
            (Some(_), false) => {
                return Err("`notification_url` is only a setting of hubspot forms that sign; remove it".to_owned());
            }
            _ => {}
        }
        let thanks_url = table.thanks_url.map(|written| web::parse_thanks_url(kind, &written)).transpose()?;
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
            limits: FormLimits::with_defaults(table.burst, table.sustained),
            first_touch: table.first_touch,
            notification_url: table.notification_url,
            thanks_url,
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
}
