//! Why an invocation has no response.

use std::time::Duration;

/// Why an invocation has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// There is no function with this name.
    #[error("there is no function {0}")]
    Unknown(String),
    /// The process could not be started.
    #[error("{0}")]
    Start(String),
    /// The process did not become ready.
    #[error("it failed to start: {0}")]
    Init(String),
    /// The invocation exceeded the template's timeout and its process was killed.
    #[error("Task timed out after {:.2} seconds", .0.as_secs_f64())]
    Timeout(Duration),
    /// The process ended during the invocation.
    #[error("it exited without an answer: {0}")]
    Crashed(String),
    /// The function reported an error.
    #[error("{kind}: {message}")]
    Function {
        /// Type of the error, as the function named it.
        kind: String,
        /// Its message.
        message: String,
    },
    /// The stack is shutting down.
    #[error("the local stack is shutting down")]
    Stopping,
}
