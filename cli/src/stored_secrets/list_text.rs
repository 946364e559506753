//! The list of secrets in words.

use std::fmt::{self, Write as _};

use jiff::{SignedDuration, Timestamp};
use tellonce_ops::{SecretReport, SecretsReport, ValueReport, ValueState};

use crate::people_time::PeopleTime;

pub(super) fn render(client: &str, report: &SecretsReport, time: &PeopleTime<'_>) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(text, "Secrets of {client}, {} ({})", time.format_minute(report.at), time.name)?;
    for secret in &report.secrets {
        write_secret(&mut text, secret, report.at, time)?;
    }
    let values = report.secrets.iter().flat_map(|secret| &secret.values);
    let (not_read, faults) = (values.filter(|value| value.state == ValueState::NotRead).count(), report.count_faults());
    writeln!(text)?;
    if not_read > 0 {
        let values = if not_read == 1 { "1 value was" } else { &format!("{not_read} values were") };
        writeln!(text, "{values} not looked for, because the secret was not read.")?;
    }
    match faults {
        0 if not_read > 0 => writeln!(text, "No secret is missing."),
        0 => writeln!(text, "Every value that the client needs is stored."),
        1 => writeln!(text, "1 value is missing or cannot work. To store it: tellonce secrets put NAME"),
        faults => writeln!(text, "{faults} values are missing or cannot work. To store one: tellonce secrets put NAME"),
    }?;
    Ok(text)
}

fn write_secret(text: &mut String, secret: &SecretReport, now: Timestamp, time: &PeopleTime<'_>) -> fmt::Result {
    writeln!(text, "\n{}", secret.name)?;
    match (secret.deleted_at, secret.exists, secret.stored_at) {
        (Some(at), ..) => {
            writeln!(
                text,
                "  its deletion was asked for on {}: restore it in Secrets Manager",
                time.format_minute(at)
            )?;
        }
        (None, false, _) => writeln!(text, "  does not exist")?,
        (None, true, None) => writeln!(text, "  has no value")?,
        (None, true, Some(at)) => {
            let read =
                secret.last_read_on.map_or_else(|| "never read".to_owned(), |day| format!("last read on {day} (UTC)"));
            writeln!(text, "  stored {}, {}; {read}", time.format_minute(at), format_age(now.duration_since(at)))?;
        }
    }
    if let Some(key) = &secret.kms_key {
        writeln!(text, "  encrypted with {key}")?;
    }
    if let Some(until) = secret.previous_accepted_until {
        writeln!(text, "  the version before is accepted until {}", time.format_minute(until))?;
    }
    if let Some(problem) = secret.problem {
        writeln!(text, "  {problem}")?;
    }
    let width = secret.values.iter().filter_map(|value| value.member.as_ref()).map(String::len).max();
    secret.values.iter().try_for_each(|value| write_value(text, value, width.unwrap_or_default()))
}

fn write_value(text: &mut String, value: &ValueReport, width: usize) -> fmt::Result {
    let state = match (value.state, value.problem) {
        (ValueState::Stored, _) => "stored".to_owned(),
        (ValueState::NotRead, _) => "not read".to_owned(),
        (ValueState::Missing, _) if value.is_optional => "not stored, and not always needed".to_owned(),
        (ValueState::Missing, _) => "MISSING".to_owned(),
        (ValueState::Unusable, problem) => format!("CANNOT WORK, {}", problem.unwrap_or_default()),
        (ValueState::Unused, _) => "not used: client.toml does not name it".to_owned(),
    };
    let member = value.member.as_ref().map(|member| format!("{member:<width$}  ")).unwrap_or_default();
    let description = if value.description.is_empty() { String::new() } else { format!(" ({})", value.description) };
    writeln!(text, "    {member}{state}{description}")
}

/// An age in its largest unit.
pub(super) fn format_age(age: SignedDuration) -> String {
    let minutes = age.as_mins().max(0);
    let (number, unit) = match minutes {
        0..60 => (minutes, "minute"),
        60..2_880 => (minutes / 60, "hour"),
        _ => (minutes / 1_440, "day"),
    };
    if number == 1 { format!("1 {unit} ago") } else { format!("{number} {unit}s ago") }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tellonce_ops::VersionReport;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn value(member: &str, description: &str, state: ValueState) -> ValueReport {
        ValueReport {
            name: format!("tellonce/acme/webhooks/{member}"),
            member: Some(member.to_owned()),
            description: description.to_owned(),
            is_optional: state == ValueState::Unused,
            state,
            problem: (state == ValueState::Unusable).then_some("is so short that it could be guessed"),
        }
    }

    fn secret(name: &str, values: Vec<ValueReport>) -> SecretReport {
        SecretReport {
            name: format!("tellonce/acme/{name}"),
            exists: true,
            deleted_at: None,
            stored_at: Some(at("2026-11-29T08:14:00Z")),
            last_read_on: Some("2026-11-29".parse().unwrap()),
            previous_accepted_until: None,
            kms_key: None,
            versions: vec![VersionReport {
                id: "1".to_owned(),
                stages: vec!["AWSCURRENT".to_owned()],
                stored_at: Some(at("2026-11-29T08:14:00Z")),
                last_read_on: None,
            }],
            problem: None,
            values,
        }
    }

    #[test]
    fn a_list_says_what_is_there_how_old_it_is_and_what_is_missing() {
        let webhooks = SecretReport {
            previous_accepted_until: Some(at("2026-11-30T08:14:00Z")),
            ..secret(
                "webhooks",
                vec![
                    value("shop", "`shop`: the client secret of the app", ValueState::Stored),
                    value(
                        "zap",
                        "`zap`: a long random value; the sender puts it into its header",
                        ValueState::Unusable,
                    ),
                    value("main/line", "`main`: a long random value of letters, digits, - and _", ValueState::Missing),
                    value("old-shop", "", ValueState::Unused),
                ],
            )
        };
        let apis = SecretReport {
            last_read_on: None,
            stored_at: Some(at("2026-11-20T08:14:00Z")),
            kms_key: Some("arn:aws:kms:eu-central-1:111122223333:key/1".to_owned()),
            ..secret("apis", vec![value("stores/shop", "`shop`: a token of the Admin API", ValueState::NotRead)])
        };
        let missing = SecretReport { exists: false, stored_at: None, ..secret("targets", vec![]) };
        let deleted =
            SecretReport { exists: false, deleted_at: Some(at("2026-11-28T08:14:00Z")), ..secret("crms", vec![]) };
        let report = SecretsReport { at: at("2026-11-29T10:30:00Z"), secrets: vec![webhooks, apis, missing, deleted] };
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        insta::assert_snapshot!(render("acme", &report, &time).unwrap());
    }

    #[test]
    fn an_age_has_its_largest_unit() {
        for (minutes, text) in [
            (0, "0 minutes ago"),
            (1, "1 minute ago"),
            (60, "1 hour ago"),
            (2_879, "47 hours ago"),
            (2_880, "2 days ago"),
        ] {
            assert_eq!(format_age(SignedDuration::from_mins(minutes)), text);
        }
    }
}
