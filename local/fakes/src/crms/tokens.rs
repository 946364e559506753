//! Access tokens of Zoho and Google.

use std::collections::BTreeMap;

/// How long a token is valid, in milliseconds.
pub(super) const TOKEN_LIFETIME_MS: i64 = 3_600_000;
/// Most tokens that Zoho mints for one refresh token in [`WINDOW_MS`]:
/// <https://www.zoho.com/crm/developer/docs/api/v8/token-validity.html>.
const MAX_MINTED_PER_WINDOW: usize = 10;
const WINDOW_MS: i64 = 600_000;
/// Most valid tokens of one refresh token. The next token ends the oldest one. Source: the same
/// page.
const MAX_ACTIVE_TOKENS: usize = 15;

#[derive(Debug, Default)]
pub(super) struct FakeTokens {
    /// CRM → the minting times of its tokens, oldest first.
    minted: BTreeMap<String, Vec<i64>>,
    /// Oldest first.
    active: Vec<FakeToken>,
}

#[derive(Debug)]
struct FakeToken {
    value: String,
    crm: String,
    expires_ms: i64,
}

impl FakeTokens {
    pub(super) fn mint(&mut self, crm: &str, now_ms: i64) -> String {
        let value = format!("local.{}", crate::generate_id());
        self.minted.entry(crm.to_owned()).or_default().push(now_ms);
        if self.active.iter().filter(|token| token.crm == crm).count() >= MAX_ACTIVE_TOKENS
            && let Some(oldest) = self.active.iter().position(|token| token.crm == crm)
        {
            self.active.remove(oldest);
        }
        self.active.push(FakeToken {
            value: value.clone(),
            crm: crm.to_owned(),
            expires_ms: now_ms + TOKEN_LIFETIME_MS,
        });
        value
    }

    /// Mints a token, unless [`MAX_MINTED_PER_WINDOW`] is reached.
    pub(super) fn mint_within_limit(&mut self, crm: &str, now_ms: i64) -> Option<String> {
        let minted = self.minted.get(crm).map(Vec::as_slice).unwrap_or_default();
        let lately = minted.iter().filter(|at| now_ms - **at < WINDOW_MS).count();
        (lately < MAX_MINTED_PER_WINDOW).then(|| self.mint(crm, now_ms))
    }

    /// The CRM of a valid token.
    pub(super) fn find_crm(&self, value: &str, now_ms: i64) -> Option<String> {
        let token = self.active.iter().find(|token| token.value == value && now_ms < token.expires_ms)?;
        Some(token.crm.clone())
    }

    pub(super) fn minted_count(&self, crm: &str) -> usize {
        self.minted.get(crm).map_or(0, Vec::len)
    }

    pub(super) fn revoke_all(&mut self, crm: &str) {
        self.active.retain(|token| token.crm != crm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_after_an_hour_or_when_it_is_taken_back() {
        let mut tokens = FakeTokens::default();
        let (first, second) = (tokens.mint("a", 0), tokens.mint("b", 0));
        assert_eq!(tokens.find_crm(&first, TOKEN_LIFETIME_MS - 1).as_deref(), Some("a"));
        assert_eq!(tokens.find_crm(&first, TOKEN_LIFETIME_MS), None);
        tokens.revoke_all("a");
        assert_eq!((tokens.find_crm(&first, 1), tokens.find_crm(&second, 1).as_deref()), (None, Some("b")));
        assert_eq!(tokens.minted_count("a"), 1);
    }

    #[test]
    fn the_eleventh_token_of_ten_minutes_is_refused_and_the_sixteenth_ends_the_first() {
        let mut tokens = FakeTokens::default();
        let first = tokens.mint_within_limit("a", 0).unwrap();
        assert!((1..10).all(|at| tokens.mint_within_limit("a", at).is_some()));
        assert_eq!(tokens.mint_within_limit("a", 599_999), None);
        assert!(tokens.mint_within_limit("b", 599_999).is_some());
        assert!((0..5).all(|at| tokens.mint_within_limit("a", 600_000 + at).is_some()));
        assert!(tokens.find_crm(&first, 700_000).is_some());
        assert!(tokens.mint_within_limit("a", 600_005).is_some());
        assert_eq!(tokens.find_crm(&first, 700_000), None);
    }
}
