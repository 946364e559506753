//! Which code and which settings made something: `1a2b3c4d5e6f-89abcdef`.
//!
//! The first part is the commit of the code: twelve hex digits, with `+` behind them if the sources
//! differed from it; `dev` in a build for development, `unknown` without a repository. The second
//! part is the begin of the SHA-256 of `client.toml`.

use crate::hash::sha256_hex;

/// The commit of this code.
pub const COMMIT: &str = env!("TELLONCE_COMMIT");

/// How many bytes of the hash are kept.
const HASH_BYTES: usize = 4;

/// The name of this code with these settings, the text of a `client.toml`.
pub fn name_version(settings: &str) -> String {
    format!("{COMMIT}-{}", sha256_hex(settings.as_bytes(), HASH_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_the_commit_and_the_settings() {
        // printf abc | sha256sum
        assert_eq!(name_version("abc"), format!("{COMMIT}-ba7816bf"));
        assert!(COMMIT == "dev" || COMMIT == "unknown" || COMMIT.trim_end_matches('+').len() == 12, "{COMMIT}");
    }
}
