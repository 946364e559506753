//! Pipedrive: a note on the person.

use super::{
    super::{KindSetting, SecretFacts, SecretPurpose, SettingProblem, SettingRule},
    CrmFacts, CrmKind, UnknownContactRule,
};

/// A Pipedrive account. The secret is an API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipedriveCrm {
    /// `acme` of `https://acme.pipedrive.com`.
    pub company: String,
    /// What happens to a number without a person.
    pub unknown: UnknownContactRule,
}

pub(super) static FACTS: CrmFacts = CrmFacts {
    name: "pipedrive",
    label: "Pipedrive",
    settings: &[
        KindSetting::required("company", SettingRule::Text(check_company)),
        KindSetting::optional("unknown", SettingRule::Any),
    ],
    secret: SecretFacts::new(
        SecretPurpose::CrmToken,
        "an API token (Pipedrive, Personal preferences, API) of a user created for this",
    ),
    // 10 searches in two seconds, and a daily budget that the whole company shares
    // (pipedrive.readme.io/docs/core-api-concepts-rate-limiting).
    default_requests_per_minute: 100,
    // 20 requests in 2 seconds, what it gives an API token in its smallest plan:
    // <https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting>.
    vendor_limit: Some(("Pipedrive", 600)),
    has_people: true,
    from_table: |table| {
        let unknown = table.unknown.unwrap_or_default();
        Some(CrmKind::Pipedrive(PipedriveCrm { company: table.company?, unknown }))
    },
};

fn check_company(company: &str) -> Option<SettingProblem> {
    let fits = (1..=63).contains(&company.len())
        && company.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !company.starts_with('-')
        && !company.ends_with('-');
    (!fits).then(|| {
        SettingProblem::new(
            format!("`{company}` is not the company's part of an address at Pipedrive"),
            "of https://acme.pipedrive.com write `acme`: lower-case letters, digits and `-`",
        )
    })
}
