//! Access tokens: what Zoho and Google give out for an hour against the real credential.
//!
//! Zoho makes at most ten of them in ten minutes for one refresh token, so all instances share one: it is kept in memory, and
//! in the ledger's table (`crm:{name}` / `access-token`). There it is sealed with AES-256-GCM under a key that is derived from
//! the credential: whoever reads the table alone learns nothing, and a token of a credential that was rotated can't be
//! opened any more and is made anew. Source: zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html.
//!
//! Promised: a token never shows in a log or an error. Not promised: that two instances never make one each at the same time.

use std::{collections::HashMap, fmt};

use aws_sdk_dynamodb::{Client, primitives::Blob, types::AttributeValue as Value};
use jiff::{SignedDuration, Timestamp};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};
use shared::{digest::sha256_hex, fault::chain, secret::Secret};
use tokio::sync::Mutex;

use crate::call::{CallError, Reply};

const STAGE: &str = "access-token";
/// So long before its end a token is used no more: a call takes time, and clocks differ.
const SPARE: SignedDuration = SignedDuration::from_mins(2);
/// A token that is refused although it is younger than this is not what is wrong; another would be refused too, and Zoho's
/// ten would soon be used up.
const GIVEN_A_CHANCE: SignedDuration = SignedDuration::from_mins(2);
/// How long a token lasts at most, whatever its maker says, in seconds.
const LONGEST: i64 = 3600;

/// A token that calls are made with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccessToken {
    /// The token itself.
    pub(super) value: String,
    /// Where it counts, if its maker says.
    pub(super) origin: Option<String>,
    /// When it was made.
    pub(super) made_at: Timestamp,
    /// When it ends.
    pub(super) ends_at: Timestamp,
}

impl AccessToken {
    /// One that was made just now and says that it lasts so many seconds.
    pub(super) fn new(value: String, origin: Option<String>, seconds: Option<i64>, now: Timestamp) -> Self {
        let lasts = SignedDuration::from_secs(seconds.unwrap_or(LONGEST).clamp(0, LONGEST));
        Self { value, origin, made_at: now, ends_at: now.saturating_add(lasts).unwrap_or(now) }
    }

    fn is_good(&self, now: Timestamp) -> bool {
        self.ends_at.duration_since(now) > SPARE
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("ends_at", &self.ends_at).finish_non_exhaustive()
    }
}

/// The access tokens of all CRMs.
pub struct Tokens {
    db: Client,
    table: String,
    /// By CRM and a hash of its credential. Held while a token is made, so that one instance makes one.
    memory: Mutex<HashMap<String, AccessToken>>,
}

impl Tokens {
    /// In the ledger's table.
    pub fn new(db: Client, table: String) -> Self {
        Self { db, table, memory: Mutex::default() }
    }

    /// Makes a call with a token of this CRM, and once more with another if that one is refused (401).
    pub(super) async fn call(
        &self,
        crm: &str,
        credential: &Secret,
        now: Timestamp,
        make: impl AsyncFn() -> Result<AccessToken, CallError>,
        call: impl AsyncFn(&AccessToken) -> Result<Reply, CallError>,
    ) -> Result<Reply, CallError> {
        let token = self.get(crm, credential, None, now, &make).await?;
        match call(&token).await {
            Err(CallError::Credential { status: 401, .. }) if now.duration_since(token.made_at) >= GIVEN_A_CHANCE => {
                let another = self.get(crm, credential, Some(&token), now, &make).await?;
                call(&another).await
            }
            done => done,
        }
    }

    /// A token that is good for a while and is not the one that was refused.
    async fn get(
        &self,
        crm: &str,
        credential: &Secret,
        refused: Option<&AccessToken>,
        now: Timestamp,
        make: &impl AsyncFn() -> Result<AccessToken, CallError>,
    ) -> Result<AccessToken, CallError> {
        let subject = format!("crm:{crm}");
        let key = format!("{subject}:{}", sha256_hex(credential.expose().as_bytes(), 16));
        let usable =
            |token: &AccessToken| token.is_good(now) && refused.is_none_or(|refused| token.value != refused.value);
        let mut memory = self.memory.lock().await;
        if let Some(token) = memory.get(&key).filter(|token| usable(token)) {
            return Ok(token.clone());
        }
        if let Some(token) = self.stored(&subject, credential).await.filter(usable) {
            memory.insert(key, token.clone());
            return Ok(token);
        }
        let token = make().await.map_err(nothing_done)?;
        self.store(&subject, credential, &token).await;
        memory.insert(key, token.clone());
        Ok(token)
    }

    /// The token in the table, if there is one that this credential opens. Without it one is made, so trouble with the table is
    /// worth a warning and no more.
    async fn stored(&self, subject: &str, credential: &Secret) -> Option<AccessToken> {
        let get = self.db.get_item().table_name(&self.table);
        let get = get.key("subject", Value::S(subject.to_owned())).key("stage", Value::S(STAGE.to_owned()));
        match get.consistent_read(true).send().await {
            Ok(answer) => open(answer.item?.get("sealed")?.as_b().ok()?.as_ref(), subject, credential),
            Err(error) => {
                tracing::warn!("could not look for a shared access token: {}", chain(&error));
                None
            }
        }
    }

    async fn store(&self, subject: &str, credential: &Secret, token: &AccessToken) {
        let Some(sealed) = seal(token, subject, credential) else {
            tracing::warn!("could not seal an access token; it is not shared");
            return;
        };
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .item("subject", Value::S(subject.to_owned()))
            .item("stage", Value::S(STAGE.to_owned()))
            .item("sealed", Value::B(Blob::new(sealed)))
            .item("ttl", Value::N(token.ends_at.as_second().to_string()));
        if let Err(error) = put.send().await {
            tracing::warn!("could not share an access token: {}", chain(&error));
        }
    }
}

/// What went wrong while a token was made has changed nothing in the CRM, says nothing against what was to be written there, and
/// would meet whatever comes next as well.
fn nothing_done(error: CallError) -> CallError {
    match error {
        CallError::Lost(source) => CallError::Unreachable(source),
        CallError::AwsLost(source) => CallError::AwsUnreachable(source),
        CallError::Trouble { status } | CallError::Unexpected { status } | CallError::Refused { status, .. } => {
            CallError::Throttled { status, retry_after: None }
        }
        CallError::Gone => CallError::Throttled { status: 404, retry_after: None },
        CallError::Unreachable(_)
        | CallError::AwsUnreachable(_)
        | CallError::Throttled { .. }
        | CallError::Credential { .. }
        | CallError::Closed { .. }
        | CallError::Secret(_)
        | CallError::Malformed { .. }
        | CallError::Address(_) => error,
    }
}

/// The key that tokens of a credential are sealed under.
fn key(subject: &str, credential: &Secret) -> Option<LessSafeKey> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tellonce access token");
    let info = [subject.as_bytes()];
    let derived = salt.extract(credential.expose().as_bytes());
    let key = derived.expand(&info, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(key)))
}

/// A token as it lies in the table: a nonce of its own, and what only its credential opens.
fn seal(token: &AccessToken, subject: &str, credential: &Secret) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let mut content = serde_json::to_vec(token).ok()?;
    let (aad, unique) = (Aad::from(subject.as_bytes()), Nonce::assume_unique_for_key(nonce));
    key(subject, credential)?.seal_in_place_append_tag(unique, aad, &mut content).ok()?;
    Some([&nonce[..], &content].concat())
}

/// The token that was sealed; none if it was with another credential, or is damaged.
fn open(sealed: &[u8], subject: &str, credential: &Secret) -> Option<AccessToken> {
    let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut content = content.to_vec();
    let content = key(subject, credential)?.open_in_place(nonce, Aad::from(subject.as_bytes()), &mut content).ok()?;
    serde_json::from_slice(content).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use shared::fault::Faulty as _;

    use super::{super::testing::*, *};

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn secret() -> Secret {
        Secret::new("hunter2")
    }

    /// Makes tokens that count upwards, and calls with them; `refused` are not accepted.
    async fn call(tokens: &Tokens, credential: &Secret, count: &AtomicU32, refused: &[&str], now: Timestamp) -> String {
        let used = std::sync::Mutex::default();
        let make =
            async || Ok(AccessToken::new(format!("token-{}", count.fetch_add(1, SeqCst)), None, Some(3600), now));
        let call = async |token: &AccessToken| {
            *used.lock().unwrap() = token.value.clone();
            if refused.contains(&token.value.as_str()) {
                return Err(CallError::Credential { status: 401, secret: SECRET.to_owned() });
            }
            Ok(Reply { status: 200, body: Vec::new() })
        };
        let done = tokens.call("main", credential, now, make, call).await;
        let used: String = used.into_inner().unwrap();
        if done.is_ok() { used } else { format!("{used} refused") }
    }

    #[tokio::test]
    async fn one_token_serves_all_instances_until_two_minutes_before_its_end() {
        let table = Table::default();
        let (one, other) = (table.tokens(), table.tokens());
        let made = AtomicU32::new(0);
        assert_eq!(call(&one, &secret(), &made, &[], at("2026-11-19T10:00:00Z")).await, "token-0");
        assert_eq!(call(&one, &secret(), &made, &[], at("2026-11-19T10:57:59Z")).await, "token-0");
        assert_eq!(call(&other, &secret(), &made, &[], at("2026-11-19T10:57:59Z")).await, "token-0");
        assert_eq!(call(&other, &secret(), &made, &[], at("2026-11-19T10:58:00Z")).await, "token-1");
        assert_eq!(call(&one, &secret(), &made, &[], at("2026-11-19T10:58:01Z")).await, "token-1");
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_once_by_another_instances_if_there_is_one() {
        let table = Table::default();
        let (one, other) = (table.tokens(), table.tokens());
        let made = AtomicU32::new(0);
        let (start, later) = (at("2026-11-19T10:00:00Z"), at("2026-11-19T10:05:00Z"));
        call(&one, &secret(), &made, &[], start).await;
        call(&other, &secret(), &made, &[], start).await;
        assert_eq!(call(&one, &secret(), &made, &["token-0"], later).await, "token-1");
        assert_eq!(call(&other, &secret(), &made, &["token-0"], later).await, "token-1");
        // All are refused: a new one would not help.
        assert_eq!(call(&one, &secret(), &made, &["token-1"], later).await, "token-1 refused");
        assert_eq!(made.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn the_table_alone_reveals_nothing_and_a_rotated_credential_makes_anew() {
        let table = Table::default();
        let made = AtomicU32::new(0);
        let now = at("2026-11-19T10:00:00Z");
        call(&table.tokens(), &secret(), &made, &[], now).await;
        let shown = table.shown();
        assert!(shown.contains("crm:main") && shown.contains("access-token"), "{shown}");
        assert!(!shown.contains("token-0") && !shown.contains("hunter2"), "{shown}");
        let rotated = Secret::new("hunter3");
        assert_eq!(call(&table.tokens(), &rotated, &made, &[], now).await, "token-1");
        let token = AccessToken::new("token".to_owned(), None, None, now);
        let sealed = seal(&token, "crm:main", &secret()).unwrap();
        assert_ne!(sealed, seal(&token, "crm:main", &secret()).unwrap(), "each time under a nonce of its own");
        assert_eq!(open(&sealed, "crm:main", &secret()), Some(token.clone()));
        assert_eq!(open(&sealed, "crm:main", &rotated), None);
        assert_eq!(open(&sealed, "crm:other", &secret()), None, "a row that was moved");
        assert_eq!(open(&sealed[..5], "crm:main", &secret()), None);
        assert!(!format!("{token:?}").contains("token\""));
    }

    #[tokio::test]
    async fn a_token_that_could_not_be_made_is_nothing_against_the_message() {
        let tokens = Table::default().tokens();
        let make = async || Err(CallError::Refused { status: 400, code: None });
        let call = async |_: &AccessToken| panic!("there is no token to call with");
        let error = tokens.call("main", &secret(), now(), make, call).await.unwrap_err();
        assert!(error.is_systems() && error.fault() == shared::fault::Fault::Transient);
    }
}
