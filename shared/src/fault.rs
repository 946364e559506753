//! Whether an error may be retried. Every error of the workspace implements [`ClassifyFault`].

/// What an error means for the next step of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It did not happen, and may be retried.
    Transient,
    /// It did not happen, and a retry changes nothing.
    Permanent,
    /// It may have happened. Only the same request, under the same idempotency key, may be retried.
    Ambiguous,
}

/// An error that says whether it may be retried. Implementations list every variant, without a
/// wildcard.
pub trait ClassifyFault: std::error::Error {
    /// What this error means for the next step.
    fn fault(&self) -> Fault;
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
