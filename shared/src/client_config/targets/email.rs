//! E-mail, through SES.

use super::{
    super::{KindSetting, SettingRule},
    TargetFacts, TargetKind,
};

/// People who are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailTarget {
    /// The address of the sender. SES must have verified it, or its domain.
    pub from: String,
    /// The recipients: at most 50 addresses.
    pub to: Vec<String>,
}

pub(super) static FACTS: TargetFacts = TargetFacts {
    name: "email",
    label: "e-mail",
    settings: &[KindSetting::required("from", SettingRule::Any), KindSetting::required("to", SettingRule::Any)],
    secret: None,
    // One a second in the sandbox of SES
    // (<https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html>).
    requests_per_minute: 60,
    from_table: |table| Some(TargetKind::Email(EmailTarget { from: table.from?, to: table.to? })),
};
