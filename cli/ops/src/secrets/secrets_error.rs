//! Why secrets could not be read or changed.

use aws_sdk_secretsmanager::{
    Error,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::{calls::CallError, client_stack::StackError, operations::OperationsError};

/// Secrets could not be read or changed. Names a secret, and never a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The stack has no ledger that can be found.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A call that is not about secrets failed.
    #[error(transparent)]
    Function(#[from] CallError),
    /// The trail of operations failed.
    #[error(transparent)]
    Operations(#[from] OperationsError),
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
    /// The value is not stored.
    #[error("the secret {0} does not exist; store it with `tellonce secrets put`")]
    Missing(String),
    /// The secret is deleted, and its name is in use for some days more.
    #[error("the secret {0} is being deleted; restore it in Secrets Manager first")]
    Deleted(String),
    /// The secret has no current version.
    #[error("the secret {0} exists and holds no text; store one in Secrets Manager first")]
    NoValue(String),
    /// The secret of a role does not parse.
    #[error(
        "the secret {0} is not a JSON object, so its other members are not known; store all of its values at once \
         with `tellonce secrets put --all --from FILE`"
    )]
    Malformed(String),
    /// Another caller stored something since the plan was made.
    #[error(
        "the secret {0} was changed meanwhile, and this change of it was not made; look at it, and repeat the command"
    )]
    ChangedMeanwhile(String),
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
