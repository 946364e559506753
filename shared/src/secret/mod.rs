//! Secrets from Secrets Manager, cached, and aware of rotation.
//!
//! Main types: [`Secret`] is a masked value; [`SecretStore`] reads and caches values;
//! [`SecretLayout`] says in which secret a value is stored. Callers name a value, whatever the
//! layout is.
//!
//! A secret is read when one of its values is first needed, and cached for [`CACHE_SECONDS`]. Its
//! values share one read, and callers that need it at the same time share one request. After a
//! value was refused, the caller calls [`SecretStore::refetch`] with it. Where strangers decide how
//! often that happens, [`SecretStore::refetch_rate_limited`] calls Secrets Manager at most once in
//! [`REFETCH_SECONDS`] per secret, so a flood of forged signatures costs nothing.
//!
//! For [`PREVIOUS_VALID_SECONDS`] after a rotation [`SecretStore::get_previous`] offers the value
//! before it (`AWSPREVIOUS`), because senders sign with the old value for a while (Shopify: up to
//! an hour). Secrets Manager keeps one previous version. So of two rotations of a secret within
//! that time, the value before the first is lost.
//!
//! Promises: no log and no error shows a value. Does **not** rotate anything.

mod layout;
mod secret_error;
mod store;
mod version;

use std::fmt;

pub use layout::{SecretLayout, SecretLocation, list_values};
pub use secret_error::SecretError;
pub use store::{CACHE_SECONDS, PREVIOUS_VALID_SECONDS, REFETCH_SECONDS, SecretStore};

/// A secret value. Only [`Secret::expose`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value, without the line break that a text file or a paste may have left at its end.
    pub fn new(value: impl Into<String>) -> Self {
        let mut value = value.into();
        value.truncate(value.trim_end_matches(['\r', '\n']).len());
        Self(value)
    }

    /// The value, at the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn a_line_break_at_the_end_is_not_part_of_a_secret() {
        assert_eq!(Secret::new("abc\r\n").expose(), "abc");
        assert_eq!(Secret::new(" a b ").expose(), " a b ");
    }
}
