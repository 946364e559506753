//! A Slack incoming webhook.

use super::{
    super::{SecretFacts, SecretPurpose},
    TargetFacts, TargetKind,
};

pub(super) static FACTS: TargetFacts = TargetFacts {
    name: "slack",
    label: "Slack",
    settings: &[],
    secret: Some(SecretFacts::new(
        SecretPurpose::SlackAddress,
        "the address of an incoming webhook, https://hooks.slack.com/services/… (Slack, the app, Incoming Webhooks)",
    )),
    // About one a second for each webhook (<https://docs.slack.dev/apis/web-api/rate-limits>).
    requests_per_minute: 60,
    from_table: |_| Some(TargetKind::Slack),
};
