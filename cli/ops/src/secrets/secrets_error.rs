//! Why secrets could not be read or changed.

use aws_sdk_secretsmanager::{
    Error,
    error::{ProvideErrorMetadata, SdkError},
};

/// Secrets could not be read or changed. Names a secret, and never a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The caller has no permission.
    #[error(
        "you may not {action} the secret {secret}; docs/operations.md, \"The roles of people\", says which role may"
    )]
    Forbidden {
        /// What the caller wanted to do.
        action: &'static str,
        /// The secret.
        secret: String,
    },
    /// A call failed.
    #[error("could not {action} the secret {secret}")]
    Call {
        /// What the caller wanted to do.
        action: &'static str,
        /// The secret.
        secret: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
}

impl SecretsError {
    /// The error of a call.
    pub(super) fn of_call<E>(action: &'static str, secret: &str, error: SdkError<E>) -> Self
    where
        Error: From<SdkError<E>>,
    {
        let (secret, source) = (secret.to_owned(), Error::from(error));
        match source.code() {
            Some("AccessDeniedException") => Self::Forbidden { action, secret },
            _ => Self::Call { action, secret, source: Box::new(source) },
        }
    }
}

/// Whether Secrets Manager answered a call with this error.
pub(super) fn has_code<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error.as_service_error().and_then(E::code) == Some(code)
}
