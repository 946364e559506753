//! Why a value could not be read.

use std::sync::Arc;

use aws_sdk_secretsmanager::{error::SdkError, operation::get_secret_value::GetSecretValueError};

use super::layout::SecretLocation;
use crate::fault::{ClassifyFault, Fault};

/// A value could not be read. Names its secret and member, never the value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// The secret or the member does not exist, or the secret is being deleted.
    #[error("the secret {location} does not exist; create it in Secrets Manager")]
    Missing {
        /// Where the value should be.
        location: SecretLocation,
        /// Whether this is the answer to an earlier read.
        remembered: bool,
    },
    /// The role may not read it.
    #[error("this function's role may not read the secret {location}; add it to the role in template.yaml")]
    Forbidden {
        /// As of `Missing`.
        location: SecretLocation,
        /// As of `Missing`.
        remembered: bool,
    },
    /// It holds bytes, another JSON type or nothing instead of text.
    #[error("the secret {location} holds no text; store a text that is not blank")]
    Empty {
        /// As of `Missing`.
        location: SecretLocation,
        /// As of `Missing`.
        remembered: bool,
    },
    /// The secret of a role does not parse.
    #[error("the secret {location} is not a JSON object; `tellonce check` shows its members")]
    Malformed {
        /// As of `Missing`.
        location: SecretLocation,
        /// As of `Missing`.
        remembered: bool,
    },
    /// Secrets Manager did not respond.
    #[error("could not read the secret {location} from Secrets Manager")]
    Unavailable {
        /// As of `Missing`.
        location: SecretLocation,
        /// Why not.
        #[source]
        source: Arc<SdkError<GetSecretValueError>>,
    },
}

impl ClassifyFault for SecretError {
    fn fault(&self) -> Fault {
        match self {
            // An operator can repair each of them without a deployment (create a secret, grant a
            // role), so the sender is asked to retry.
            Self::Missing { .. }
            | Self::Forbidden { .. }
            | Self::Empty { .. }
            | Self::Malformed { .. }
            | Self::Unavailable { .. } => Fault::Transient,
        }
    }
}

impl SecretError {
    /// Where the value should be.
    pub fn location(&self) -> &SecretLocation {
        match self {
            Self::Missing { location, .. }
            | Self::Forbidden { location, .. }
            | Self::Empty { location, .. }
            | Self::Malformed { location, .. }
            | Self::Unavailable { location, .. } => location,
        }
    }

    /// Whether this is the answer to an earlier read, which was logged then.
    pub fn is_remembered(&self) -> bool {
        match self {
            Self::Missing { remembered, .. }
            | Self::Forbidden { remembered, .. }
            | Self::Empty { remembered, .. }
            | Self::Malformed { remembered, .. } => *remembered,
            Self::Unavailable { .. } => false,
        }
    }

    /// The same error for a caller that asks again. None for a failure that the next read may not
    /// have.
    pub(super) fn to_remembered(&self) -> Option<Self> {
        let mut error = self.clone();
        match &mut error {
            Self::Missing { remembered, .. }
            | Self::Forbidden { remembered, .. }
            | Self::Empty { remembered, .. }
            | Self::Malformed { remembered, .. } => *remembered = true,
            Self::Unavailable { .. } => return None,
        }
        Some(error)
    }
}
