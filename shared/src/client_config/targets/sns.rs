//! An SNS topic.

use super::{
    super::{KindSetting, SettingProblem, SettingRule},
    TargetFacts, TargetKind,
};

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnsTarget {
    /// The ARN of the topic.
    pub topic_arn: String,
}

pub(super) static FACTS: TargetFacts = TargetFacts {
    name: "sns",
    label: "SNS",
    settings: &[KindSetting::required("topic_arn", SettingRule::Text(check_topic_arn))],
    secret: None,
    // Our own cautious figure.
    requests_per_minute: 300,
    from_table: |table| Some(TargetKind::Sns(SnsTarget { topic_arn: table.topic_arn? })),
};

/// <https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html>
fn check_topic_arn(arn: &str) -> Option<SettingProblem> {
    let name = |name: &str| {
        let name = name.strip_suffix(".fifo").unwrap_or(name);
        (1..=256).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let fits = match arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "sns", region, account, topic] => {
            partition.starts_with("aws")
                && region.split('-').count() >= 3
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && name(topic)
        }
        _ => false,
    };
    (!fits).then(|| {
        SettingProblem::new(
            "this is not the ARN of a topic",
            "copy it from SNS, Topics: \"arn:aws:sns:eu-central-1:111122223333:acme-team\"",
        )
    })
}
