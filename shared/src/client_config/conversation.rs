//! Conversations: who is told of what is written on a line, and when the team is called.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{MessageTemplates, Milestone, TimeOfDay, TimeSpan};

/// A customer system that is told of every message. Its credential is the secret [`super::ClientConfig::crm_secret_name`].
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "CrmTable")]
#[schemars(with = "CrmTable")]
pub struct CrmConfig {
    /// Which system it is, and what only that one needs.
    pub kind: CrmKind,
    /// The lines whose messages it is told of; all that take events when empty.
    pub lines: Vec<String>,
    /// How much of a message's text it is told.
    pub text: TextDetail,
    /// How often it is asked, at most; the kind's own cautious figure when absent.
    pub requests_per_minute: Option<u32>,
}

impl CrmConfig {
    /// Whether it is told of this line's messages.
    pub fn covers_line(&self, line: &str) -> bool {
        self.lines.is_empty() || self.lines.iter().any(|name| name == line)
    }
}

/// The systems we can write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrmKind {
    /// `HubSpotClient`: a `WhatsApp` communication on the contact. The secret is a private app's token.
    HubSpot {
        /// What to do with a number that no contact has.
        unknown: UnknownContactRule,
    },
    /// Pipedrive: a note on the person. The secret is an API token.
    Pipedrive {
        /// The company's part of `{company}.pipedrive.com`.
        company: String,
        /// What to do with a number that nobody has.
        unknown: UnknownContactRule,
    },
    /// Zoho CRM: a note on the lead or contact, which is made if there is none. The secret is a JSON object with
    /// `client_id`, `client_secret` and `refresh_token`.
    Zoho {
        /// Where the account lives.
        data_centre: DataCentre,
        /// What a number is.
        module: ZohoModule,
    },
    /// Google Sheets: a row for each message. The secret is a service account's JSON key.
    GoogleSheets {
        /// The spreadsheet's id, from its address.
        spreadsheet: String,
        /// The sheet's name, e.g. `WhatsApp`.
        sheet: String,
    },
    /// Any address that takes calls signed as Standard Webhooks says. The secret is the `whsec_…` that signs.
    Webhook {
        /// Where it is: https.
        url: String,
    },
}

/// What to do with a number that a CRM does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownContactRule {
    /// Make a contact.
    #[default]
    Create,
    /// Leave it out, with a reason.
    Skip,
}

/// Where a Zoho account lives: a token counts in its own data centre only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataCentre {
    /// `zoho.com`.
    Us,
    /// `zoho.eu`.
    Eu,
    /// `zoho.in`.
    In,
    /// `zoho.com.au`.
    Au,
    /// `zoho.jp`.
    Jp,
    /// `zoho.com.cn`.
    Cn,
    /// `zoho.sa`.
    Sa,
    /// `zohocloud.ca`.
    Ca,
}

/// What a number is in Zoho CRM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ZohoModule {
    /// A lead.
    #[default]
    Leads,
    /// A contact.
    Contacts,
}

/// How much of a message's text somebody is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextDetail {
    /// Nothing: that there was a message, and where to read it.
    Off,
    /// The beginning.
    #[default]
    Excerpt,
    /// All of it.
    Full,
}

impl TextDetail {
    /// The longest excerpt, in characters.
    pub const MAX_EXCERPT_CHARS: usize = 160;

    /// As much of a text as is told.
    pub fn apply_to(self, text: &str) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Full => Some(text.to_owned()),
            Self::Excerpt if text.chars().count() <= Self::MAX_EXCERPT_CHARS => Some(text.to_owned()),
            Self::Excerpt => Some(text.chars().take(Self::MAX_EXCERPT_CHARS - 1).chain(['…']).collect()),
        }
    }
}

/// A CRM as it stands in the file: one flat table, whatever its kind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CrmTable {
    /// Which system it is.
    kind: CrmKindName,
    /// The lines whose messages it is told of; all that take events when absent.
    #[serde(default)]
    lines: Vec<String>,
    /// How much of a message's text it is told.
    #[serde(default)]
    text: TextDetail,
    /// How often it is asked, at most.
    requests_per_minute: Option<u32>,
    /// `HubSpotClient`, Pipedrive: what to do with a number that nobody has there.
    unknown: Option<UnknownContactRule>,
    /// Pipedrive: the company's part of `{company}.pipedrive.com`.
    company: Option<String>,
    /// Zoho: where the account lives.
    data_centre: Option<DataCentre>,
    /// Zoho: what a number is.
    module: Option<ZohoModule>,
    /// Google Sheets: the spreadsheet's id.
    spreadsheet: Option<String>,
    /// Google Sheets: the sheet's name.
    sheet: Option<String>,
    /// Webhook: where it is.
    url: Option<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum CrmKindName {
    #[serde(rename = "hubspot")]
    HubSpot,
    Pipedrive,
    Zoho,
    GoogleSheets,
    Webhook,
}

/// A field that this kind needs.
fn require_field<T>(value: Option<T>, kind: &str, field: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("a {kind} needs `{field}`"))
}

/// Fields that mean nothing for this kind.
fn reject_fields(kind: &str, fields: &[(&str, bool)]) -> Result<(), String> {
    match fields.iter().find(|(_, there)| *there) {
        Some((field, _)) => Err(format!("`{field}` means nothing for a {kind}; remove it")),
        None => Ok(()),
    }
}

impl TryFrom<CrmTable> for CrmConfig {
    type Error = String;

    fn try_from(table: CrmTable) -> Result<Self, String> {
        let CrmTable {
            kind,
            lines,
            text,
            requests_per_minute,
            unknown,
            company,
            data_centre,
            module,
            spreadsheet,
            sheet,
            url,
        } = table;
        let of_hubspot = [("unknown", unknown.is_some())];
        let of_pipedrive = [("company", company.is_some())];
        let of_zoho = [("data_centre", data_centre.is_some()), ("module", module.is_some())];
        let of_sheets = [("spreadsheet", spreadsheet.is_some()), ("sheet", sheet.is_some())];
        let of_webhook = [("url", url.is_some())];
        let kind = match kind {
            CrmKindName::HubSpot => {
                reject_fields("hubspot CRM", &[&of_pipedrive[..], &of_zoho, &of_sheets, &of_webhook].concat())?;
                CrmKind::HubSpot { unknown: unknown.unwrap_or_default() }
            }
            CrmKindName::Pipedrive => {
                reject_fields("pipedrive CRM", &[&of_zoho[..], &of_sheets, &of_webhook].concat())?;
                let company = require_field(company, "pipedrive CRM", "company")?;
                CrmKind::Pipedrive { company, unknown: unknown.unwrap_or_default() }
            }
            CrmKindName::Zoho => {
                reject_fields("zoho CRM", &[&of_hubspot[..], &of_pipedrive, &of_sheets, &of_webhook].concat())?;
                let data_centre = require_field(data_centre, "zoho CRM", "data_centre")?;
                CrmKind::Zoho { data_centre, module: module.unwrap_or_default() }
            }
            CrmKindName::GoogleSheets => {
                reject_fields("google-sheets CRM", &[&of_hubspot[..], &of_pipedrive, &of_zoho, &of_webhook].concat())?;
                CrmKind::GoogleSheets {
                    spreadsheet: require_field(spreadsheet, "google-sheets CRM", "spreadsheet")?,
                    sheet: require_field(sheet, "google-sheets CRM", "sheet")?,
                }
            }
            CrmKindName::Webhook => {
                reject_fields("webhook CRM", &[&of_hubspot[..], &of_pipedrive, &of_zoho, &of_sheets].concat())?;
                CrmKind::Webhook { url: require_field(url, "webhook CRM", "url")? }
            }
        };
        Ok(Self { kind, lines, text, requests_per_minute })
    }
}

/// Where the team is called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "TargetTable")]
#[schemars(with = "TargetTable")]
pub struct TargetConfig {
    /// What it is, and what only that needs.
    pub kind: TargetKind,
    /// How much of the messages' texts it is told.
    pub text: TextDetail,
}

/// The places we can call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetKind {
    /// A Slack incoming webhook. The secret is its address.
    Slack,
    /// A Teams workflow that starts "when a Teams webhook request is received". The secret is its address.
    Teams,
    /// E-mail, through SES.
    Email {
        /// Who writes: an address that SES has verified.
        from: String,
        /// Who is written to.
        to: Vec<String>,
    },
    /// An SNS topic.
    Sns {
        /// Its ARN.
        topic_arn: String,
    },
    /// Any address that takes calls signed as Standard Webhooks says. The secret is the `whsec_…` that signs.
    Webhook {
        /// Where it is: https.
        url: String,
    },
}

/// A target as it stands in the file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetTable {
    /// What it is.
    kind: TargetKindName,
    /// How much of the messages' texts it is told.
    #[serde(default)]
    text: TextDetail,
    /// E-mail: who writes.
    from: Option<String>,
    /// E-mail: who is written to.
    to: Option<Vec<String>>,
    /// SNS: the topic's ARN.
    topic_arn: Option<String>,
    /// Webhook: where it is.
    url: Option<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum TargetKindName {
    Slack,
    Teams,
    Email,
    Sns,
    Webhook,
}

impl TryFrom<TargetTable> for TargetConfig {
    type Error = String;

    fn try_from(table: TargetTable) -> Result<Self, String> {
        let TargetTable { kind, text, from, to, topic_arn, url } = table;
        let of_email = [("from", from.is_some()), ("to", to.is_some())];
        let of_sns = [("topic_arn", topic_arn.is_some())];
        let of_webhook = [("url", url.is_some())];
        let kind = match kind {
            TargetKindName::Slack => {
                reject_fields("slack target", &[&of_email[..], &of_sns, &of_webhook].concat())?;
                TargetKind::Slack
            }
            TargetKindName::Teams => {
                reject_fields("teams target", &[&of_email[..], &of_sns, &of_webhook].concat())?;
                TargetKind::Teams
            }
            TargetKindName::Email => {
                reject_fields("email target", &[&of_sns[..], &of_webhook].concat())?;
                TargetKind::Email {
                    from: require_field(from, "email target", "from")?,
                    to: require_field(to, "email target", "to")?,
                }
            }
            TargetKindName::Sns => {
                reject_fields("sns target", &[&of_email[..], &of_webhook].concat())?;
                TargetKind::Sns { topic_arn: require_field(topic_arn, "sns target", "topic_arn")? }
            }
            TargetKindName::Webhook => {
                reject_fields("webhook target", &[&of_email[..], &of_sns].concat())?;
                TargetKind::Webhook { url: require_field(url, "webhook target", "url")? }
            }
        };
        Ok(Self { kind, text })
    }
}

/// When the team is called, and where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationRule {
    /// What has to happen.
    pub when: EscalationTrigger,
    /// The targets that are called.
    pub to: Vec<String>,
    /// For so long one call stands for all that follow in the same conversation.
    #[serde(default = "default_cooldown")]
    #[schemars(with = "String")]
    pub cooldown: TimeSpan,
    /// Only on these lines; on all that take events when empty.
    #[serde(default)]
    pub lines: Vec<String>,
    /// What the customer is answered in the conversation, once in the same time. Nothing when absent.
    #[serde(default)]
    pub acknowledge: Option<AcknowledgementRule>,
}

fn default_cooldown() -> TimeSpan {
    TimeSpan(jiff::SignedDuration::from_hours(4))
}

impl EscalationRule {
    /// Whether it looks at this line.
    pub fn covers_line(&self, line: &str) -> bool {
        self.lines.is_empty() || self.lines.iter().any(|name| name == line)
    }
}

/// What has to happen for the team to be called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EscalationTrigger {
    /// A customer's message holds one of these words or phrases, by language.
    Words(BTreeMap<String, Vec<String>>),
    /// A customer writes on this line for the first time that we know of.
    FirstMessage,
    /// A customer writes outside the business hours.
    AfterHours,
    /// Nobody of the team has answered a customer for so long.
    Unanswered(#[schemars(with = "String")] TimeSpan),
    /// A message that we sent could not be delivered.
    FailedDelivery,
    /// A customer writes whose latest order was told to be at one of these milestones.
    Order(Vec<Milestone>),
    /// A customer writes who has an appointment in one of these states.
    Appointment(Vec<AppointmentCondition>),
}

/// A state of an appointment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AppointmentCondition {
    /// It lies ahead.
    Booked,
    /// It was cancelled.
    Cancelled,
}

/// What a customer is answered at once, in the conversation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgementRule {
    /// The text by language, a template.
    pub text: BTreeMap<String, String>,
    /// For so long after the customer's message it is worth saying.
    #[serde(default = "default_useful_for")]
    #[schemars(with = "String")]
    pub useful_for: TimeSpan,
}

impl AcknowledgementRule {
    /// What it says.
    pub fn templates(&self) -> MessageTemplates<'_> {
        MessageTemplates { text: &self.text, button: None, document: None }
    }
}

fn default_useful_for() -> TimeSpan {
    TimeSpan(jiff::SignedDuration::from_mins(15))
}

/// Hours of some days of the week in which somebody is there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BusinessHours {
    /// The days.
    pub days: Vec<DayOfWeek>,
    /// From when, `HH:MM`.
    #[schemars(with = "String")]
    pub from: TimeOfDay,
    /// Until when, `HH:MM`, later than `from`.
    #[schemars(with = "String")]
    pub to: TimeOfDay,
}

impl BusinessHours {
    /// Whether somebody is there at this time.
    pub fn contains(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let local = at.to_zoned(zone.clone()).datetime();
        let open = self.from.0 <= local.time() && local.time() < self.to.0;
        open && self.days.iter().any(|day| day.to_weekday() == local.weekday())
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum DayOfWeek {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl DayOfWeek {
    fn to_weekday(self) -> Weekday {
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crm_needs_the_fields_of_its_kind_and_takes_no_others() {
        let of = |text: &str| toml::from_str::<CrmConfig>(text).map_err(|error| error.to_string());
        assert_eq!(of("kind = 'hubspot'").unwrap().kind, CrmKind::HubSpot { unknown: UnknownContactRule::Create });
        assert!(of("kind = 'zoho'").unwrap_err().contains("needs `data_centre`"));
        assert!(of("kind = 'webhook'\nurl = 'https://a.example'\ncompany = 'x'").unwrap_err().contains("`company`"));
        let crm = of("kind = 'hubspot'\nlines = ['main']").unwrap();
        assert!(crm.covers_line("main") && !crm.covers_line("other"));
    }

    #[test]
    fn triggers_parse_from_their_documented_forms() {
        let of = |text: &str| toml::from_str::<EscalationRule>(&format!("to = ['team']\nwhen = {text}")).unwrap().when;
        assert_eq!(of("'first-message'"), EscalationTrigger::FirstMessage);
        assert_eq!(of("{ unanswered = '15m' }"), EscalationTrigger::Unanswered("15m".parse().unwrap()));
        assert_eq!(of("{ order = ['cancelled'] }"), EscalationTrigger::Order(vec![Milestone::Cancelled]));
        assert_eq!(
            of("{ appointment = ['booked'] }"),
            EscalationTrigger::Appointment(vec![AppointmentCondition::Booked])
        );
        assert!(matches!(of("{ words = { en = ['urgent'] } }"), EscalationTrigger::Words(_)));
    }

    #[test]
    fn an_excerpt_has_the_documented_length() {
        let long = "א".repeat(500);
        assert_eq!(TextDetail::Excerpt.apply_to(&long).unwrap().chars().count(), TextDetail::MAX_EXCERPT_CHARS);
        assert_eq!(TextDetail::Excerpt.apply_to("short").as_deref(), Some("short"));
        assert_eq!(TextDetail::Full.apply_to(&long).as_deref(), Some(long.as_str()));
        assert_eq!(TextDetail::Off.apply_to("short"), None);
    }

    #[test]
    fn business_hours_follow_the_local_clock() {
        let hours: BusinessHours = toml::from_str("days = ['sun', 'mon']\nfrom = '09:00'\nto = '18:00'").unwrap();
        let zone = TimeZone::get("Asia/Jerusalem").unwrap();
        let open = |at: &str| hours.contains(at.parse().unwrap(), &zone);
        assert!(open("2026-11-22T07:00:00Z"), "Sunday, 09:00 there");
        assert!(!open("2026-11-22T06:59:00Z") && !open("2026-11-22T16:00:00Z"));
        assert!(!open("2026-11-24T10:00:00Z"), "Tuesday");
    }
}
