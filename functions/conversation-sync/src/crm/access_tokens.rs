//! Access tokens, which Zoho and Google issue for an hour against the real credential.
//!
//! Zoho issues at most ten in ten minutes for one refresh token, so all instances share one. It is
//! kept in memory and in the ledger's table (`crm:{name}` / `access-token`). There it is sealed
//! with AES-256-GCM under a key derived from the credential: the table alone reveals nothing. After
//! a rotation of the credential the old token cannot be opened, and a new one is requested. Source:
//! zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html.
//!
//! Promises: a token never shows in a log or an error. Not promised: that two instances never
//! request one each at the same time.

use std::{collections::HashMap, fmt};

use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};
use tellonce_core::{
    attributes::{ItemReader, ItemWriter, text_value},
    fault::error_chain,
    hash::sha256_hex,
    secret::Secret,
};
use tokio::sync::Mutex;

use crate::api_client::{ApiError, ApiResponse};

const TOKEN_STAGE: &str = "access-token";
/// A token is not used this long before its end: a call takes time, and clocks differ.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_mins(2);
/// A refused token that is younger than this is not the cause. Another would be refused too, and
/// would soon use up Zoho's ten.
const MIN_AGE_TO_REPLACE: SignedDuration = SignedDuration::from_mins(2);
/// The longest lifetime that is assumed, in seconds, whatever the issuer states.
const MAX_LIFETIME_SECONDS: i64 = 3600;

/// A token for calls.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccessToken {
    /// The token itself.
    pub(super) value: String,
    /// The origin that accepts it, if the issuer names one.
    pub(super) api_origin: Option<String>,
    /// When it was issued.
    pub(super) created_at: Timestamp,
    /// When it ends.
    pub(super) expires_at: Timestamp,
}

impl AccessToken {
    /// A token that was issued now for so many seconds.
    pub(super) fn new(value: String, api_origin: Option<String>, seconds: Option<i64>, now: Timestamp) -> Self {
        let lifetime =
            SignedDuration::from_secs(seconds.unwrap_or(MAX_LIFETIME_SECONDS).clamp(0, MAX_LIFETIME_SECONDS));
        Self { value, api_origin, created_at: now, expires_at: now.saturating_add(lifetime).unwrap_or(now) }
    }

    fn is_usable(&self, now: Timestamp) -> bool {
        self.expires_at.duration_since(now) > EXPIRY_MARGIN
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("ends_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The access tokens of all CRMs.
pub struct AccessTokenStore {
    db: Client,
    table: String,
    /// By CRM and a hash of its credential. Locked during a request, so that one instance requests
    /// one.
    cache: Mutex<HashMap<String, AccessToken>>,
}

impl AccessTokenStore {
    /// Uses the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table, cache: Mutex::default() }
    }

    /// Makes a call with a token of this CRM, and repeats it with another if the token is refused
    /// (401).
    pub(super) async fn call_with_token(
        &self,
        crm: &str,
        credential: &Secret,
        now: Timestamp,
        create_token: impl AsyncFn() -> Result<AccessToken, ApiError>,
        send_request: impl AsyncFn(&AccessToken) -> Result<ApiResponse, ApiError>,
    ) -> Result<ApiResponse, ApiError> {
        let token = self.get_token(crm, credential, None, now, &create_token).await?;
        match send_request(&token).await {
            Err(ApiError::CredentialRejected { status: 401, .. })
                if now.duration_since(token.created_at) >= MIN_AGE_TO_REPLACE =>
            {
                let another = self.get_token(crm, credential, Some(&token), now, &create_token).await?;
                send_request(&another).await
            }
            done => done,
        }
    }

    /// A usable token that is not the refused one.
    async fn get_token(
        &self,
        crm: &str,
        credential: &Secret,
        refused: Option<&AccessToken>,
        now: Timestamp,
        create_token: &impl AsyncFn() -> Result<AccessToken, ApiError>,
    ) -> Result<AccessToken, ApiError> {
        let subject = format!("crm:{crm}");
        let key = format!("{subject}:{}", sha256_hex(credential.expose().as_bytes(), 16));
        let usable =
            |token: &AccessToken| token.is_usable(now) && refused.is_none_or(|refused| token.value != refused.value);
        let mut cache = self.cache.lock().await;
        if let Some(token) = cache.get(&key).filter(|token| usable(token)) {
            return Ok(token.clone());
        }
        if let Some(token) = self.load_token(&subject, credential).await.filter(usable) {
            cache.insert(key, token.clone());
            return Ok(token);
        }
        let token = create_token().await.map_err(map_token_error)?;
        self.save_token(&subject, credential, &token).await;
        cache.insert(key, token.clone());
        Ok(token)
    }

    /// The token in the table, if this credential opens it. Without it a new one is requested, so
    /// an error of the table is only logged.
    async fn load_token(&self, subject: &str, credential: &Secret) -> Option<AccessToken> {
        let get = self.db.get_item().table_name(&self.table);
        let get = get.key("subject", text_value(subject)).key("stage", text_value(TOKEN_STAGE));
        match get.consistent_read(true).send().await {
            Ok(answer) => unseal_token(ItemReader(&answer.item?).bytes("sealed")?, subject, credential),
            Err(error) => {
                tracing::warn!("could not read the shared access token of {subject}: {}", error_chain(&error));
                None
            }
        }
    }

    async fn save_token(&self, subject: &str, credential: &Secret, token: &AccessToken) {
        let Some(sealed) = seal_token(token, subject, credential) else {
            tracing::warn!("could not seal the access token of {subject}; other instances request their own");
            return;
        };
        let mut item = ItemWriter::with_capacity(4);
        item.text("subject", subject);
        item.text("stage", TOKEN_STAGE);
        item.bytes("sealed", sealed);
        item.number("ttl", token.expires_at.as_second());
        let put = self.db.put_item().table_name(&self.table).set_item(Some(item.into_item()));
        if let Err(error) = put.send().await {
            tracing::warn!("could not save the access token of {subject}: {}", error_chain(&error));
        }
    }
}

/// An error while a token was requested changed nothing in the CRM, does not concern the entry, and
/// would affect the next call, too.
fn map_token_error(error: ApiError) -> ApiError {
    match error {
        ApiError::NoResponse(source) => ApiError::Unreachable(source),
        ApiError::AwsNoResponse(source) => ApiError::AwsUnreachable(source),
        ApiError::ServerError { status }
        | ApiError::UnexpectedResponse { status }
        | ApiError::Refused { status, .. } => ApiError::Throttled { status, retry_after: None },
        ApiError::Gone => ApiError::Throttled { status: 404, retry_after: None },
        ApiError::Unreachable(_)
        | ApiError::AwsUnreachable(_)
        | ApiError::Throttled { .. }
        | ApiError::CredentialRejected { .. }
        | ApiError::Blocked { .. }
        | ApiError::SecretUnavailable(_)
        | ApiError::MalformedSecret { .. }
        | ApiError::AddressNotAllowed(_) => error,
    }
}

/// The key that seals the tokens of a credential.
fn derive_key(subject: &str, credential: &Secret) -> Option<LessSafeKey> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tellonce access token");
    let info = [subject.as_bytes()];
    let derived = salt.extract(credential.expose().as_bytes());
    let key = derived.expand(&info, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(key)))
}

/// Seals a token for the table: a fresh nonce, followed by what only the credential opens.
fn seal_token(token: &AccessToken, subject: &str, credential: &Secret) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let mut content = serde_json::to_vec(token).ok()?;
    let (aad, unique) = (Aad::from(subject.as_bytes()), Nonce::assume_unique_for_key(nonce));
    derive_key(subject, credential)?.seal_in_place_append_tag(unique, aad, &mut content).ok()?;
    Some([&nonce[..], &content].concat())
}

/// Opens a sealed token; none if another credential sealed it, or it is damaged.
fn unseal_token(sealed: &[u8], subject: &str, credential: &Secret) -> Option<AccessToken> {
    let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut content = content.to_vec();
    let content =
        derive_key(subject, credential)?.open_in_place(nonce, Aad::from(subject.as_bytes()), &mut content).ok()?;
    serde_json::from_slice(content).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use tellonce_core::fault::ClassifyFault as _;

    use super::{super::testing::*, *};

    fn parse_time(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn test_secret() -> Secret {
        Secret::new("hunter2")
    }

    /// Issues tokens with rising numbers, and calls with them. Tokens in `refused` are not
    /// accepted.
    async fn use_token(
        tokens: &AccessTokenStore,
        credential: &Secret,
        count: &AtomicU32,
        refused: &[&str],
        now: Timestamp,
    ) -> String {
        let used = std::sync::Mutex::default();
        let create_token =
            async || Ok(AccessToken::new(format!("token-{}", count.fetch_add(1, SeqCst)), None, Some(3600), now));
        let send_request = async |token: &AccessToken| {
            *used.lock().unwrap() = token.value.clone();
            if refused.contains(&token.value.as_str()) {
                return Err(ApiError::CredentialRejected { status: 401, secret: SECRET_NAME.to_owned() });
            }
            Ok(ApiResponse { status: 200, body: Vec::new() })
        };
        let done = tokens.call_with_token("main", credential, now, create_token, send_request).await;
        let used: String = used.into_inner().unwrap();
        if done.is_ok() { used } else { format!("{used} refused") }
    }

    #[tokio::test]
    async fn one_token_serves_all_instances_until_two_minutes_before_its_end() {
        let table = FakeTable::default();
        let (one, other) = (table.token_store(), table.token_store());
        let made = AtomicU32::new(0);
        assert_eq!(use_token(&one, &test_secret(), &made, &[], parse_time("2026-11-19T10:00:00Z")).await, "token-0");
        assert_eq!(use_token(&one, &test_secret(), &made, &[], parse_time("2026-11-19T10:57:59Z")).await, "token-0");
        assert_eq!(use_token(&other, &test_secret(), &made, &[], parse_time("2026-11-19T10:57:59Z")).await, "token-0");
        assert_eq!(use_token(&other, &test_secret(), &made, &[], parse_time("2026-11-19T10:58:00Z")).await, "token-1");
        assert_eq!(use_token(&one, &test_secret(), &made, &[], parse_time("2026-11-19T10:58:01Z")).await, "token-1");
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_once_by_another_instances_if_there_is_one() {
        let table = FakeTable::default();
        let (one, other) = (table.token_store(), table.token_store());
        let made = AtomicU32::new(0);
        let (start, later) = (parse_time("2026-11-19T10:00:00Z"), parse_time("2026-11-19T10:05:00Z"));
        use_token(&one, &test_secret(), &made, &[], start).await;
        use_token(&other, &test_secret(), &made, &[], start).await;
        assert_eq!(use_token(&one, &test_secret(), &made, &["token-0"], later).await, "token-1");
        assert_eq!(use_token(&other, &test_secret(), &made, &["token-0"], later).await, "token-1");
        // All are refused: a new one would not help.
        assert_eq!(use_token(&one, &test_secret(), &made, &["token-1"], later).await, "token-1 refused");
        assert_eq!(made.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn the_table_alone_reveals_nothing_and_a_rotated_credential_creates_a_new_token() {
        let table = FakeTable::default();
        let made = AtomicU32::new(0);
        let now = parse_time("2026-11-19T10:00:00Z");
        use_token(&table.token_store(), &test_secret(), &made, &[], now).await;
        let shown = table.stored_row();
        assert!(shown.contains("crm:main") && shown.contains("access-token"), "{shown}");
        assert!(!shown.contains("token-0") && !shown.contains("hunter2"), "{shown}");
        let rotated = Secret::new("hunter3");
        assert_eq!(use_token(&table.token_store(), &rotated, &made, &[], now).await, "token-1");
        let token = AccessToken::new("token".to_owned(), None, None, now);
        let sealed = seal_token(&token, "crm:main", &test_secret()).unwrap();
        assert_ne!(sealed, seal_token(&token, "crm:main", &test_secret()).unwrap(), "each seal has a fresh nonce");
        assert_eq!(unseal_token(&sealed, "crm:main", &test_secret()), Some(token.clone()));
        assert_eq!(unseal_token(&sealed, "crm:main", &rotated), None);
        assert_eq!(unseal_token(&sealed, "crm:other", &test_secret()), None, "a moved row does not open");
        assert_eq!(unseal_token(&sealed[..5], "crm:main", &test_secret()), None);
        assert!(!format!("{token:?}").contains("token\""));
    }

    #[tokio::test]
    async fn a_failure_to_create_a_token_does_not_count_against_the_message() {
        let tokens = FakeTable::default().token_store();
        let create_token = async || Err(ApiError::Refused { status: 400, code: None });
        let send_request = async |_: &AccessToken| panic!("there is no token to call with");
        let error =
            tokens.call_with_token("main", &test_secret(), test_now(), create_token, send_request).await.unwrap_err();
        assert!(error.is_system_wide() && error.fault() == tellonce_core::fault::Fault::Transient);
    }
}
