//! Why a delivery was not accepted.

use crate::provider::PROVIDER_NAME;

/// Why a delivery was not accepted. Texts name headers, never their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header that the proof needs is missing.
    #[error("the header {0} is missing")]
    HeaderMissing(&'static str),
    /// A header does not have its documented form.
    #[error("the header {0} is malformed")]
    HeaderMalformed(&'static str),
    /// The secret in the address is right, but this header, which describes the delivery, is
    /// missing or malformed.
    #[error("the header {0} is missing or malformed; {provider} sends it with each delivery", provider = PROVIDER_NAME)]
    LineHeaderMissing(&'static str),
    /// The delivery is from another line than its address.
    #[error("the delivery is from another line; register the webhook with the token of the line in this address")]
    OtherLine,
    /// The sender has no secret for this webhook, and reports that or sends no signature.
    #[error("the delivery is not signed; set a secret for this webhook at the sender")]
    Unsigned,
    /// The signature, or the secret in the header or the body, is not right for this body.
    #[error("the signature does not match; check that the stored secret is the sender's")]
    ProofMismatch,
    /// The value at the end of the address is not the secret. The response must not reveal to a
    /// stranger that only this is wrong.
    #[error("the secret at the end of the address is not the stored secret")]
    WrongAddress,
    /// The body lacks the key that proves it.
    #[error("the body has no {0}; set a key in the webhook settings of the sender")]
    KeyMissing(&'static str),
    /// The delivery was signed too long ago, or in the future.
    #[error("the delivery was signed {} s {}; more than {tolerance} s is refused", .seconds.unsigned_abs(), if *.seconds < 0 { "in the future" } else { "ago" })]
    TimestampOutOfRange {
        /// Its age in seconds, negative if it is from the future.
        seconds: i64,
        /// The greatest accepted age in seconds, either way.
        tolerance: i64,
    },
    /// The proof holds, but the delivery is from another shop than the configured shop.
    #[error("the delivery is from another shop; check `shop_domain` or `source` of this store")]
    OtherShop,
    /// The secret cannot be a key of this scheme.
    #[error("the stored secret does not have the form that its scheme needs ({0})")]
    SecretUnusable(&'static str),
}

impl Refusal {
    /// Whether the delivery could be verified with another secret. Any other refusal is about the
    /// delivery itself.
    pub fn depends_on_secret(&self) -> bool {
        match self {
            Self::ProofMismatch | Self::WrongAddress | Self::SecretUnusable(_) => true,
            Self::HeaderMissing(_)
            | Self::HeaderMalformed(_)
            | Self::LineHeaderMissing(_)
            | Self::OtherLine
            | Self::Unsigned
            | Self::KeyMissing(_)
            | Self::TimestampOutOfRange { .. }
            | Self::OtherShop => false,
        }
    }
}
