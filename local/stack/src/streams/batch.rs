//! The steps of a batch: settled, retried, halved, given up. Pure: invocations and pauses are
//! elsewhere.
//!
//! Follows Lambda's rules for streams
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>):
//! - Without `ReportBatchItemFailures` any response is a success. With it, an empty list is a
//!   success. Otherwise the records before the lowest reported sequence number are done and the
//!   rest is retried. An identifier that is not in the batch, or a malformed response, fails the
//!   whole batch.
//! - With bisecting, a batch without progress is halved. Halving does not count as an attempt
//!   (<https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>). AWS does not
//!   document the case where both are on and the first record keeps failing. Here the batch is
//!   halved then too, so that a poisoned record is alone when it is given up.
//! - After `MaximumRetryAttempts` retries a batch is given up.

use std::collections::VecDeque;

use serde_json::Value;

use crate::template::StreamMapping;

/// The open parts of a batch, in order.
pub(super) struct BatchPlan {
    open: VecDeque<BatchPart>,
    bisect: bool,
    max_retries: Option<u32>,
    reports_failures: bool,
}

struct BatchPart {
    records: Vec<Value>,
    /// Attempts that failed.
    attempts: u32,
}

/// Effect of an invocation.
#[derive(Debug, PartialEq)]
pub(super) enum BatchProgress {
    /// The part is done, up to this sequence number.
    Done { last: String },
    /// The part is retried after a pause. `done` is the sequence number up to which it succeeded.
    Retry { done: Option<String>, attempt: u32 },
    /// Out of attempts.
    GaveUp(BatchFailure),
}

/// A part that was given up.
#[derive(Debug, PartialEq)]
pub(super) struct BatchFailure {
    pub(super) records: Vec<Value>,
    pub(super) attempts: u32,
    pub(super) error: String,
}

impl BatchPlan {
    pub(super) fn new(records: Vec<Value>, mapping: &StreamMapping) -> Self {
        Self {
            open: VecDeque::from([BatchPart { records, attempts: 0 }]),
            bisect: mapping.bisect,
            max_retries: mapping.max_retries,
            reports_failures: mapping.reports_failures,
        }
    }

    /// The records for the next invocation; `None` when the batch is settled.
    pub(super) fn next_records(&self) -> Option<&[Value]> {
        self.open.front().map(|part| part.records.as_slice())
    }

    /// Takes the result of the invocation with [`Self::next_records`].
    pub(super) fn settle(&mut self, result: Result<Value, String>) -> BatchProgress {
        let Some(mut part) = self.open.pop_front() else {
            return BatchProgress::Done { last: String::new() };
        };
        let last = part.records.last().map(sequence_number).unwrap_or_default().to_owned();
        let (failed_from, error) = match result {
            Ok(response) if self.reports_failures => match find_first_failure(&response, &part.records) {
                None => return BatchProgress::Done { last },
                Some(index) => (index, "the function reported batch item failures".to_owned()),
            },
            Ok(_) => return BatchProgress::Done { last },
            Err(error) => (0, error),
        };
        let rest = part.records.split_off(failed_from);
        let done = part.records.last().map(|record| sequence_number(record).to_owned());
        // A new first record has failed once, however often the one before it failed.
        let attempts = if done.is_some() { 1 } else { part.attempts + 1 };
        if self.max_retries.is_some_and(|max| attempts > max) {
            return BatchProgress::GaveUp(BatchFailure { records: rest, attempts, error });
        }
        if done.is_none() && self.bisect && rest.len() > 1 {
            let mut first = rest;
            let second = first.split_off(first.len() / 2);
            // Neither half was tried alone yet, so halving costs no attempt.
            self.open.push_front(BatchPart { records: second, attempts: part.attempts });
            self.open.push_front(BatchPart { records: first, attempts: part.attempts });
        } else {
            self.open.push_front(BatchPart { records: rest, attempts });
        }
        BatchProgress::Retry { done, attempt: attempts }
    }
}

/// Index of the first failed record; `None` if all succeeded. An unexpected response fails the
/// batch.
fn find_first_failure(response: &Value, records: &[Value]) -> Option<usize> {
    if response.is_null() {
        return None;
    }
    let failures = match response.get("batchItemFailures") {
        None if response.as_object().is_some_and(serde_json::Map::is_empty) => return None,
        Some(Value::Null) => return None,
        Some(Value::Array(failures)) => failures,
        None | Some(_) => return Some(0),
    };
    let mut lowest = None;
    for failure in failures {
        let identifier = failure["itemIdentifier"].as_str().unwrap_or_default();
        let index = records.iter().position(|record| sequence_number(record) == identifier).unwrap_or(0);
        lowest = Some(lowest.map_or(index, |known: usize| known.min(index)));
    }
    lowest
}

pub(super) fn sequence_number(record: &Value) -> &str {
    record["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    impl BatchPlan {
        fn settle_ok(&mut self, response: Value) -> BatchProgress {
            self.settle(Ok(response))
        }
    }

    fn test_mapping(bisect: bool, max_retries: Option<u32>) -> StreamMapping {
        StreamMapping {
            id: "F/E".to_owned(),
            table: "T".to_owned(),
            batch_size: 10,
            filters: Vec::new(),
            bisect,
            max_retries,
            reports_failures: true,
            on_failure: None,
            from_start: true,
        }
    }

    fn numbered_records(numbers: impl IntoIterator<Item = u32>) -> Vec<Value> {
        numbers.into_iter().map(|n| json!({"dynamodb": {"SequenceNumber": n.to_string()}})).collect()
    }

    fn sequence_numbers(records: &[Value]) -> Vec<&str> {
        records.iter().map(sequence_number).collect()
    }

    fn failure_report(numbers: &[u32]) -> Value {
        let items: Vec<Value> = numbers.iter().map(|n| json!({"itemIdentifier": n.to_string()})).collect();
        json!({ "batchItemFailures": items })
    }

    #[test]
    fn an_empty_report_settles_the_batch() {
        for response in [json!(null), json!({}), json!({"batchItemFailures": []}), json!({"batchItemFailures": null})] {
            let mut plan = BatchPlan::new(numbered_records(1..=3), &test_mapping(true, Some(2)));
            assert_eq!(plan.settle(Ok(response)), BatchProgress::Done { last: "3".to_owned() });
            assert!(plan.next_records().is_none());
        }
    }

    #[test]
    fn a_report_retries_from_the_lowest_failure_on() {
        let mut plan = BatchPlan::new(numbered_records(1..=5), &test_mapping(true, Some(2)));
        assert_eq!(
            plan.settle_ok(failure_report(&[4, 3])),
            BatchProgress::Retry { done: Some("2".to_owned()), attempt: 1 }
        );
        assert_eq!(sequence_numbers(plan.next_records().unwrap()), ["3", "4", "5"]);
        assert_eq!(plan.settle_ok(failure_report(&[])), BatchProgress::Done { last: "5".to_owned() });
    }

    #[test]
    fn an_identifier_that_is_none_of_the_batch_fails_all_of_it() {
        for response in
            [failure_report(&[9]), json!({"batchItemFailures": [{}]}), json!({"status": "fine"}), json!("fine")]
        {
            let mut plan = BatchPlan::new(numbered_records(1..=2), &test_mapping(false, None));
            assert_eq!(plan.settle_ok(response), BatchProgress::Retry { done: None, attempt: 1 });
            assert_eq!(sequence_numbers(plan.next_records().unwrap()), ["1", "2"]);
        }
    }

    #[test]
    fn a_failed_batch_is_halved_without_costing_an_attempt() {
        let mut plan = BatchPlan::new(numbered_records(1..=4), &test_mapping(true, Some(1)));
        plan.settle(Err("boom".to_owned()));
        assert_eq!(sequence_numbers(plan.next_records().unwrap()), ["1", "2"]);
        plan.settle(Err("boom".to_owned()));
        assert_eq!(sequence_numbers(plan.next_records().unwrap()), ["1"]);
        assert_eq!(plan.settle(Err("boom".to_owned())), BatchProgress::Retry { done: None, attempt: 1 });
        let given_up = BatchFailure { records: numbered_records([1]), attempts: 2, error: "boom".to_owned() };
        assert_eq!(plan.settle(Err("boom".to_owned())), BatchProgress::GaveUp(given_up));
        assert_eq!(plan.settle(Ok(json!(null))), BatchProgress::Done { last: "2".to_owned() });
        assert_eq!(sequence_numbers(plan.next_records().unwrap()), ["3", "4"]);
        assert_eq!(plan.settle(Ok(json!(null))), BatchProgress::Done { last: "4".to_owned() });
        assert!(plan.next_records().is_none());
    }

    #[test]
    fn a_poisoned_first_record_is_alone_when_it_is_given_up() {
        let mut plan = BatchPlan::new(numbered_records(1..=8), &test_mapping(true, Some(3)));
        let (mut given_up, mut delivered) = (Vec::new(), Vec::new());
        while let Some(batch) = plan.next_records() {
            let poisoned = sequence_numbers(batch).contains(&"1");
            let batch: Vec<String> = sequence_numbers(batch).into_iter().map(str::to_owned).collect();
            match plan.settle_ok(if poisoned { failure_report(&[1]) } else { failure_report(&[]) }) {
                BatchProgress::GaveUp(failure) => given_up.extend(failure.records),
                BatchProgress::Done { .. } => delivered.extend(batch),
                BatchProgress::Retry { .. } => {}
            }
        }
        assert_eq!(sequence_numbers(&given_up), ["1"]);
        assert_eq!(delivered, ["2", "3", "4", "5", "6", "7", "8"]);
    }

    #[test]
    fn without_bisecting_the_whole_batch_is_given_up() {
        let mut plan = BatchPlan::new(numbered_records(1..=2), &test_mapping(false, Some(0)));
        let given_up = BatchFailure { records: numbered_records(1..=2), attempts: 1, error: "boom".to_owned() };
        assert_eq!(plan.settle(Err("boom".to_owned())), BatchProgress::GaveUp(given_up));
        assert!(plan.next_records().is_none());
    }

    #[test]
    fn progress_gives_the_next_record_its_own_attempts() {
        let mut plan = BatchPlan::new(numbered_records(1..=2), &test_mapping(false, Some(1)));
        assert_eq!(plan.settle_ok(failure_report(&[1])), BatchProgress::Retry { done: None, attempt: 1 });
        assert_eq!(
            plan.settle_ok(failure_report(&[2])),
            BatchProgress::Retry { done: Some("1".to_owned()), attempt: 1 }
        );
        assert!(matches!(plan.settle_ok(failure_report(&[2])), BatchProgress::GaveUp(_)));
    }

    #[test]
    fn a_function_that_does_not_report_succeeds_with_any_response() {
        let mut quiet = test_mapping(true, Some(1));
        quiet.reports_failures = false;
        let mut plan = BatchPlan::new(numbered_records(1..=2), &quiet);
        assert_eq!(plan.settle_ok(failure_report(&[1])), BatchProgress::Done { last: "2".to_owned() });
    }
}
