//! Conversations on the lines: which CRMs receive an entry, and when the team is alerted.
//!
//! Main types: [`CrmConfig`], [`TargetConfig`], [`EscalationRule`], [`BusinessHours`].

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{MessageTemplates, Milestone, TimeOfDay, TimeSpan};

/// A CRM that receives one entry for each message. Its credential is the secret
/// `tellonce/<client>/crms/<name>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "CrmTable")]
#[schemars(with = "CrmTable")]
pub struct CrmConfig {
    /// The kind of CRM, with the settings of that kind.
    pub kind: CrmKind,
    /// The lines whose messages are entered; all that report events if empty.
    pub lines: Vec<String>,
    /// How much of a message's text is entered.
    pub text: TextDetail,
    /// The highest rate of requests; the default of the kind if absent.
    pub requests_per_minute: Option<u32>,
}

impl CrmConfig {
    /// Whether messages of this line are entered.
    pub fn covers_line(&self, line: &str) -> bool {
        self.lines.is_empty() || self.lines.iter().any(|name| name == line)
    }
}

/// The kinds of CRM that tellonce can write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrmKind {
    /// HubSpot: a WhatsApp communication on the contact. The secret is a private app's token.
    HubSpot {
        /// What happens to a number without a contact.
        unknown: UnknownContactRule,
    },
    /// Pipedrive: a note on the person. The secret is an API token.
    Pipedrive {
        /// `acme` of `https://acme.pipedrive.com`.
        company: String,
        /// What happens to a number without a person.
        unknown: UnknownContactRule,
    },
    /// Zoho CRM: a note on the lead or contact, which is created if there is none. The secret is a
    /// JSON object with `client_id`, `client_secret` and `refresh_token`.
    Zoho {
        /// Where the account is.
        data_centre: DataCentre,
        /// What a number becomes.
        module: ZohoModule,
    },
    /// Google Sheets: a row for each message. The secret is a service account's JSON key.
    GoogleSheets {
        /// The id in the spreadsheet's address.
        spreadsheet: String,
        /// The name on the tab, such as `WhatsApp`.
        sheet: String,
    },
    /// Any public address. Calls are signed as in Standard Webhooks. The secret is the `whsec_…`
    /// that signs.
    Webhook {
        /// The address: https.
        url: String,
    },
}

/// What happens to the messages of a number without a contact in the CRM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownContactRule {
    /// A contact is created.
    #[default]
    Create,
    /// The message is left out, with a recorded reason.
    Skip,
}

/// Where a Zoho account is. A token is valid only in its own data centre.
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

/// What a number becomes in Zoho CRM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ZohoModule {
    /// A lead.
    #[default]
    Leads,
    /// A contact.
    Contacts,
}

/// How much of a message's text a CRM or a target receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextDetail {
    /// No text: only that there was a message.
    Off,
    /// The beginning: at most 160 characters.
    #[default]
    Excerpt,
    /// All of it. A target shows at most 500 characters of each message.
    Full,
}

impl TextDetail {
    /// The longest excerpt, in characters.
    pub const MAX_EXCERPT_CHARS: usize = 160;

    /// The part of a text that may be passed on; `None` if none may.
    pub fn apply_to(self, text: &str) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Full => Some(text.to_owned()),
            Self::Excerpt if text.chars().count() <= Self::MAX_EXCERPT_CHARS => Some(text.to_owned()),
            Self::Excerpt => Some(text.chars().take(Self::MAX_EXCERPT_CHARS - 1).chain(['…']).collect()),
        }
    }
}

/// A CRM in `client.toml`: one flat table for all kinds.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CrmTable {
    /// The kind of CRM.
    kind: CrmKindName,
    /// The names of the lines whose messages are entered. Default: all lines with `events = true`.
    #[serde(default)]
    lines: Vec<String>,
    /// How much of a message's text is entered. Default: `excerpt`.
    #[serde(default)]
    text: TextDetail,
    /// The highest rate of requests, in requests a minute: 1 to 6000. A message takes one to three.
    /// Default: 200 for hubspot, 100 for pipedrive and zoho, 50 for google-sheets, 300 for webhook.
    requests_per_minute: Option<u32>,
    /// `hubspot`, `pipedrive`: what happens to a number without a contact. Default: `create`.
    unknown: Option<UnknownContactRule>,
    /// `pipedrive`, required: `acme` of `https://acme.pipedrive.com`.
    company: Option<String>,
    /// `zoho`, required: where the account is. A token is valid only there.
    data_centre: Option<DataCentre>,
    /// `zoho`: what a number becomes. Default: `leads`.
    module: Option<ZohoModule>,
    /// `google-sheets`, required: the id in the spreadsheet's address, between `/d/` and `/edit`.
    spreadsheet: Option<String>,
    /// `google-sheets`, required: the name on the tab, such as `WhatsApp`. Rows are added below the
    /// last one.
    sheet: Option<String>,
    /// `webhook`, required: a public https address without a secret in it. Calls are signed as in
    /// Standard Webhooks.
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

/// The value of a field that this kind needs.
fn require_field<T>(value: Option<T>, kind: &str, field: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("a {kind} needs `{field}`"))
}

/// An error if a field is set that this kind does not have.
fn reject_fields(kind: &str, fields: &[(&str, bool)]) -> Result<(), String> {
    match fields.iter().find(|(_, there)| *there) {
        Some((field, _)) => Err(format!("`{field}` is not a setting of a {kind}; remove it")),
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

/// Where alerts for the team go. The secret of Slack, Teams and webhooks is
/// `tellonce/<client>/targets/<name>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "TargetTable")]
#[schemars(with = "TargetTable")]
pub struct TargetConfig {
    /// The kind of target, with the settings of that kind.
    pub kind: TargetKind,
    /// How much of the messages' texts an alert shows.
    pub text: TextDetail,
}

/// The kinds of target that tellonce can alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetKind {
    /// A Slack incoming webhook. The secret is its address.
    Slack,
    /// A Teams workflow with the trigger "When a Teams webhook request is received". The secret is
    /// its address.
    Teams,
    /// E-mail, through SES.
    Email {
        /// The address of the sender. SES must have verified it, or its domain.
        from: String,
        /// The recipients: at most 50 addresses.
        to: Vec<String>,
    },
    /// An SNS topic.
    Sns {
        /// The ARN of the topic.
        topic_arn: String,
    },
    /// Any public address. Calls are signed as in Standard Webhooks. The secret is the `whsec_…`
    /// that signs.
    Webhook {
        /// The address: https.
        url: String,
    },
}

/// A target in `client.toml`: one flat table for all kinds.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetTable {
    /// The kind of target.
    kind: TargetKindName,
    /// How much of the conversation's last six messages an alert shows. Default: `excerpt`.
    #[serde(default)]
    text: TextDetail,
    /// `email`, required: the address of the sender. SES must have verified it, or its domain.
    from: Option<String>,
    /// `email`, required: the recipients, at most 50 addresses. One group address is better.
    to: Option<Vec<String>>,
    /// `sns`, required: the ARN of the topic. A FIFO topic recognises a repeated alert.
    topic_arn: Option<String>,
    /// `webhook`, required: a public https address without a secret in it. Calls are signed as in
    /// Standard Webhooks.
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

/// When the team is alerted, and where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationRule {
    /// What has to happen: the trigger.
    pub when: EscalationTrigger,
    /// The names of the targets that are alerted. At least one.
    pub to: Vec<String>,
    /// How long one alert stands for all that follow in the same conversation: `"1m"` to `"7d"`.
    /// Default: `"4h"`.
    #[serde(default = "default_cooldown")]
    #[schemars(with = "String")]
    pub cooldown: TimeSpan,
    /// The names of the lines to which the rule applies. Default: all lines with `events = true`.
    #[serde(default)]
    pub lines: Vec<String>,
    /// The automatic reply to the customer. It is sent once in a conversation within `cooldown`.
    /// Default: none.
    #[serde(default)]
    pub acknowledge: Option<AcknowledgementRule>,
}

fn default_cooldown() -> TimeSpan {
    TimeSpan(jiff::SignedDuration::from_hours(4))
}

impl EscalationRule {
    /// Whether the rule applies to this line.
    pub fn covers_line(&self, line: &str) -> bool {
        self.lines.is_empty() || self.lines.iter().any(|name| name == line)
    }
}

/// What has to happen for the team to be called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EscalationTrigger {
    /// A customer's message contains one of these words or phrases, by language. Every message is
    /// searched for all of them, whatever its language.
    Words(BTreeMap<String, Vec<String>>),
    /// A customer writes on the line for the first time that tellonce knows of. Conversations are
    /// kept for 30 days after their last message, or `retention.inbox_days` if that is more.
    FirstMessage,
    /// A customer writes outside of `business_hours`.
    AfterHours,
    /// The team has not answered a customer for this long: `"1m"` to `"7d"`. Outside of
    /// `business_hours` the time starts when they start.
    Unanswered(#[schemars(with = "String")] TimeSpan),
    /// A message that tellonce sent could not be delivered.
    FailedDelivery,
    /// A customer writes whose latest order message, of the last 90 days, was one of these
    /// milestones.
    Order(Vec<Milestone>),
    /// A customer writes who has an appointment in one of these states.
    Appointment(Vec<AppointmentCondition>),
}

/// A state of an appointment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AppointmentCondition {
    /// The appointment is ahead.
    Booked,
    /// The appointment was cancelled.
    Cancelled,
}

/// The automatic reply to a customer, in the conversation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgementRule {
    /// The text by language, a Jinja template. Every language of the client needs a text.
    pub text: BTreeMap<String, String>,
    /// How long after the customer's message the reply is worth sending. `tellonce check` warns
    /// above two hours. Default: `"15m"`.
    #[serde(default = "default_useful_for")]
    #[schemars(with = "String")]
    pub useful_for: TimeSpan,
}

impl AcknowledgementRule {
    /// The templates of the reply.
    pub fn templates(&self) -> MessageTemplates<'_> {
        MessageTemplates { text: &self.text, button: None, document: None }
    }
}

fn default_useful_for() -> TimeSpan {
    TimeSpan(jiff::SignedDuration::from_mins(15))
}

/// Hours of some days of the week in which the team answers, in the client's `time_zone`. Hours
/// over midnight are two entries.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BusinessHours {
    /// The days: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    pub days: Vec<DayOfWeek>,
    /// The first minute, `HH:MM`.
    #[schemars(with = "String")]
    pub from: TimeOfDay,
    /// The first minute after the hours, `HH:MM`. It must be later than `from`.
    #[schemars(with = "String")]
    pub to: TimeOfDay,
}

impl BusinessHours {
    /// Whether the team answers at this time.
    pub fn contains(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let local = at.to_zoned(zone.clone()).datetime();
        let open = self.from.0 <= local.time() && local.time() < self.to.0;
        open && self.days.iter().any(|day| day.to_weekday() == local.weekday())
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
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
