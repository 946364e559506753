//! The subject of a contact's items: opt-out and greetings.

use crate::{contact::Phone, hash::sha256_hex};

/// `contact:{hash}`, the partition key of a contact's opt-out (`opted_out_at`) and greetings. The
/// hash keeps numbers out of keys. It is not a secret, because numbers can be guessed.
pub fn contact_subject(client: &str, phone: &Phone) -> String {
    format!("contact:{}", sha256_hex(format!("{client}:{}", phone.expose()).as_bytes(), 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opt_out_is_found_under_the_hash_that_the_operations_page_computes() {
        let phone = Phone::from_e164("+972545550199").unwrap();
        // printf '%s' 'story:+972545550199' | sha256sum | cut -c1-32
        assert_eq!(contact_subject("story", &phone), "contact:67e3e2bfdaa616820e15921795d48481");
        assert_ne!(contact_subject("other", &phone), contact_subject("story", &phone));
    }
}
