//! Whether an error may be retried, and panics as errors. Every error of the workspace implements
//! [`ClassifyFault`].

use std::{future::Future, panic::AssertUnwindSafe};

use futures::FutureExt as _;

/// What an error means for the next step of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It did not happen, and may be retried.
    Transient,
    /// It did not happen, and a retry changes nothing.
    Permanent,
    /// It did not happen, because a newer version of tellonce wrote a row of it. A retry helps only
    /// when that version is back.
    NewerVersion,
    /// It may have happened. Only the same request, under the same idempotency key, may be retried.
    Ambiguous,
}

/// An error that says whether it may be retried. Implementations list every variant, without a
/// wildcard.
pub trait ClassifyFault: std::error::Error {
    /// What this error means for the next step.
    fn fault(&self) -> Fault;
}

/// Code panicked, which is a bug of tellonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bug in tellonce stopped this step; the log line of the panic names the place")]
pub struct Panicked;

impl ClassifyFault for Panicked {
    fn fault(&self) -> Fault {
        Fault::Permanent
    }
}

/// Runs work that must not end the process: one request, one record, one row.
///
/// After a panic nothing of the work is used any more. State that others share is in tables, and in
/// caches whose locks ignore a panic, because each write to them is complete by itself.
pub async fn catch_panic<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    // The panic's message may contain received text. The panic hook has logged the place.
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_message| Panicked)
}

/// Runs work that may fail and must not end the process. Returns why it failed, for a log line.
pub async fn catch_failure<T, E: std::error::Error>(work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match catch_panic(work).await {
        Ok(result) => result.map_err(|error| error_chain(&error)),
        Err(panicked) => Err(panicked.to_string()),
    }
}

/// An error with its causes, `outer: innermost`, for one log line.
///
/// No error text holds personal data or secrets, so the whole chain may be logged.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_without_its_message() {
        assert_eq!(catch_panic(async { 7 }).await, Ok(7));
        let text = String::from("אבג secret");
        // Slicing inside a character panics with the text in the message.
        let caught = catch_panic(async { text[1..].len() }).await;
        assert_eq!(caught, Err(Panicked));
        assert!(!caught.unwrap_err().to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_failure_and_a_panic_are_each_one_text() {
        assert_eq!(catch_failure(async { Ok::<_, Panicked>(7) }).await, Ok(7));
        let failed = catch_failure(async { Err::<(), _>("x".parse::<u8>().unwrap_err()) }).await;
        assert_eq!(failed, Err("invalid digit found in string".to_owned()));
        let panicked = catch_failure(async { Ok::<_, Panicked>([7][usize::from(failed.is_err())]) }).await;
        assert_eq!(panicked, Err(Panicked.to_string()));
    }
}
