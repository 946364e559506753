//! Pseudonyms: what keys, ids and logs hold in place of a personal value such as a phone number.
//!
//! A plain hash of a number does not protect it, because all numbers can be tried within seconds. A
//! pseudonym is made with a key of the client's own. Without the key, numbers cannot be tried.

use std::fmt;

use ring::{
    error::Unspecified,
    hmac::{HMAC_SHA256, Key, sign},
    rand::{SecureRandom as _, SystemRandom},
};

use crate::{
    contact::{Lid, Phone},
    hash::encode_hex,
};

/// The length of a key, in bytes.
pub const KEY_BYTES: usize = 32;
/// The length of a pseudonym before it is encoded in hex, in bytes.
const PSEUDONYM_BYTES: usize = 16;

/// The key that turns personal values into pseudonyms. `Debug` does not show it.
#[derive(Clone)]
pub struct PseudonymKey(Key);

impl PseudonymKey {
    /// The key that these bytes are.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Key::new(HMAC_SHA256, bytes))
    }

    /// The bytes of a new random key. Fails if the system has no random numbers.
    pub fn generate_bytes() -> Result<[u8; KEY_BYTES], Unspecified> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The pseudonym of a value: the first 16 bytes of its HMAC-SHA256, in lower-case hex.
    pub fn pseudonym(&self, value: &[u8]) -> String {
        encode_hex(sign(&self.0, value).as_ref().get(..PSEUDONYM_BYTES).unwrap_or_default())
    }

    /// `contact:{pseudonym}`, the partition key of a contact's opt-out (`opted_out_at`) and
    /// greetings. All forms of a number have the same one.
    pub fn contact_subject(&self, phone: &Phone) -> String {
        format!("contact:{}", self.pseudonym(phone.canonical().as_bytes()))
    }

    /// `lid:{pseudonym}`, the partition key of what is known of a private id of `WhatsApp`.
    pub fn lid_subject(&self, lid: &Lid) -> String {
        format!("lid:{}", self.pseudonym(lid.address().as_bytes()))
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_hmac_sha256_with_the_client_s_key() {
        let key = PseudonymKey::from_bytes(&[7; KEY_BYTES]);
        // printf '%s' '+972545550199' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…07
        assert_eq!(key.pseudonym(b"+972545550199"), "2587f82a097d8148eb646a6bd57d388b");
        let phone = Phone::from_e164("+972545550199").unwrap();
        assert_eq!(key.contact_subject(&phone), "contact:2587f82a097d8148eb646a6bd57d388b");
        let other = PseudonymKey::from_bytes(&[8; KEY_BYTES]);
        assert_ne!(other.contact_subject(&phone), key.contact_subject(&phone), "each client has its own");
        let subject = |number: &str| key.contact_subject(&Phone::from_e164(number).unwrap());
        assert_eq!(subject("+5511987654321"), subject("+551187654321"), "two forms of one number");
        let lid = Lid::parse("235085806700321@lid").unwrap();
        assert!(key.lid_subject(&lid).starts_with("lid:") && !key.lid_subject(&lid).contains("2350"));
        assert_ne!(PseudonymKey::generate_bytes(), PseudonymKey::generate_bytes());
        assert_eq!(format!("{key:?}"), "PseudonymKey(…)");
    }
}
