//! Tests a line with a number of the agency's: one message, submitted twice under one key.

use rand::random;
use serde::Serialize;
use serde_json::json;
use tellonce_core::{contact::Phone, dispatch::LineTest, provider::PROVIDER_NAME};

use super::{access::StackAccess, operator_error::OperatorError};

/// The function that tests lines.
pub(crate) const TESTING_FUNCTION: &str = "reminder-scheduler";

/// What a test will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineTestPlan {
    /// The line.
    pub line: String,
    /// Why it is stopped; `None` if it is not.
    pub stopped: Option<String>,
    /// The number, masked.
    pub to: String,
    /// The number.
    #[serde(skip)]
    pub phone: Phone,
}

/// What a test showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineTestVerdict {
    /// Both submits were accepted, with the same id.
    Passed,
    /// Only the phone shows whether the message arrived once.
    PhoneDecides,
    /// The message was not sent, or its repeat got another id.
    Failed,
}

impl LineTestVerdict {
    /// What the outcome of an operation begins with. `failed: ` begins that of every command that
    /// could not be run.
    pub(crate) const ALL: [(Self, &'static str); 3] =
        [(Self::Passed, "passed: "), (Self::PhoneDecides, "the phone decides: "), (Self::Failed, "not passed: ")];

    /// What a test showed.
    pub fn of_test(test: &LineTest) -> Self {
        let Some(second) = &test.second else { return Self::Failed };
        match (&test.first.provider_id, &second.provider_id) {
            _ if !test.repeat_was_known => Self::Failed,
            (Some(first), Some(second)) if first == second => Self::Passed,
            (Some(_), Some(_)) => Self::Failed,
            // A refused repeat, or a response without an id.
            _ => Self::PhoneDecides,
        }
    }
}

/// What a test showed, in words without its full stop.
pub(crate) fn describe_test(test: &LineTest) -> String {
    let LineTest { key, first, second, repeat_was_known, .. } = test;
    let verdict = LineTestVerdict::of_test(test);
    let begin = LineTestVerdict::ALL.iter().find(|(known, _)| *known == verdict).map_or("", |(_, begin)| begin);
    let reason = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "no reason is known".to_owned());
    let Some(second) = second else {
        return format!("{begin}{key} was not accepted: {}", reason(&first.reason));
    };
    if !repeat_was_known {
        return format!("{begin}tellonce did not recognise {key} when it was dispatched again");
    }
    let again = "tellonce did not submit it when it was dispatched again";
    match (&first.provider_id, &second.provider_id) {
        (Some(one), Some(other)) if one == other => {
            format!("{begin}{PROVIDER_NAME} accepted {key} twice and returned the same id {one}; {again}")
        }
        (Some(one), Some(other)) => {
            format!("{begin}{PROVIDER_NAME} accepted {key} twice and returned two ids, {one} and {other}; {again}")
        }
        _ if second.accepted => {
            format!("{begin}{PROVIDER_NAME} accepted {key} twice, and not both responses have an id; {again}")
        }
        _ => format!("{begin}{PROVIDER_NAME} accepted {key} and not its repeat ({}); {again}", reason(&second.reason)),
    }
}

pub(super) async fn plan(access: StackAccess<'_>, line: String, phone: Phone) -> Result<LineTestPlan, OperatorError> {
    StackAccess::require_known("line", &line, access.config.lines.keys().map(String::as_str))?;
    let stopped = access.line_state().read_stop(&line).await?;
    Ok(LineTestPlan { line, stopped, to: phone.to_string(), phone })
}

pub(super) async fn run(access: StackAccess<'_>, plan: &LineTestPlan) -> Result<LineTest, OperatorError> {
    let id = format!("{:012x}", random::<u64>() & 0xffff_ffff_ffff);
    let command = json!({ "line_test": { "line": plan.line, "to": plan.phone.expose(), "id": id } });
    Ok(access.stack.command(TESTING_FUNCTION, &command).await?)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tellonce_core::dispatch::TestSubmit;

    use super::*;

    fn submit(accepted: bool, provider_id: Option<&str>) -> TestSubmit {
        let (provider_id, reason) = (provider_id.map(str::to_owned), (!accepted).then(|| "HTTP 409".to_owned()));
        TestSubmit { at: Timestamp::UNIX_EPOCH, accepted, provider_id, reason }
    }

    fn test(first: TestSubmit, second: Option<TestSubmit>) -> LineTest {
        let (line, key) = ("main".to_owned(), "line-test:5f:repeat".to_owned());
        LineTest { line, key, first, second, repeat_was_known: true }
    }

    #[test]
    fn a_test_passes_only_if_the_repeat_got_the_same_id() {
        let accepted = |id| submit(true, id);
        for (tested, verdict, words) in [
            (test(accepted(Some("a")), Some(accepted(Some("a")))), LineTestVerdict::Passed, "the same id a"),
            (test(accepted(Some("a")), Some(accepted(Some("b")))), LineTestVerdict::Failed, "two ids, a and b"),
            (test(accepted(None), Some(accepted(None))), LineTestVerdict::PhoneDecides, "not both responses"),
            (test(accepted(Some("a")), Some(submit(false, None))), LineTestVerdict::PhoneDecides, "(HTTP 409)"),
            (test(submit(false, None), None), LineTestVerdict::Failed, "was not accepted: HTTP 409"),
        ] {
            assert_eq!(LineTestVerdict::of_test(&tested), verdict, "{tested:?}");
            let text = describe_test(&tested);
            assert!(text.contains(words), "{text}");
            let begins = LineTestVerdict::ALL.iter().find(|(_, begin)| text.starts_with(begin));
            assert_eq!(begins.map(|(known, _)| *known), Some(verdict), "{text}");
        }
        let resent = LineTest { repeat_was_known: false, ..test(accepted(Some("a")), Some(accepted(Some("a")))) };
        assert_eq!(LineTestVerdict::of_test(&resent), LineTestVerdict::Failed);
    }
}
