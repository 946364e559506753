//! A Teams workflow that starts "when a Teams webhook request is received".

use super::{
    super::{SecretFacts, SecretPurpose},
    TargetFacts, TargetKind,
};

pub(super) static FACTS: TargetFacts = TargetFacts {
    name: "teams",
    label: "Teams",
    settings: &[],
    secret: Some(SecretFacts::new(
        SecretPurpose::TeamsAddress,
        "the address of a workflow that starts when a Teams webhook request is received, with its sig=…",
    )),
    // Four a second
    // (<https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook>);
    // half of that is our own cautious figure.
    requests_per_minute: 120,
    from_table: |_| Some(TargetKind::Teams),
};
