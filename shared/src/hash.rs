//! Hashes in hex, for keys and ids that must not hold a long, unusual or personal value.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// Encodes bytes in lower-case hex.
pub fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string cannot fail.
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    })
}

/// The first `bytes` bytes of the SHA-256 of a content, in lower-case hex.
pub fn sha256_hex(content: &[u8], bytes: usize) -> String {
    let hash = digest(&SHA256, content);
    encode_hex(hash.as_ref().get(..bytes).unwrap_or(hash.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_standard_sha256_and_has_the_requested_length() {
        // printf abc | sha256sum
        assert_eq!(sha256_hex(b"abc", 4), "ba7816bf");
        assert_eq!(sha256_hex(b"abc", 99).len(), 64);
        assert_eq!(encode_hex(&[0, 0xff]), "00ff");
    }
}
