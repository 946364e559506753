//! May it be tried again? The one question every error in this project answers.

/// What an error means for the caller's next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It did not happen, and may be tried again.
    Transient,
    /// It did not happen, and trying again changes nothing.
    Permanent,
    /// It may have happened. Only the same request, under the same idempotency key, may be tried again.
    Ambiguous,
}

/// An error that knows whether it may be tried again. Implementations list every variant, without a wildcard.
pub trait ClassifyFault: std::error::Error {
    /// What this error means for the next step.
    fn fault(&self) -> Fault;
}

/// An error with its causes, `outer: innermost`, for one log line.
///
/// Errors in this project keep personal data and secrets out of their texts, so the chain may be logged whole.
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
