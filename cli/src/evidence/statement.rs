//! The signed statement: an in-toto statement about the files, in a DSSE envelope.
//!
//! Sources: in-toto Attestation Framework, "Statement v1"; secure-systems-lab/dsse, "DSSE Protocol
//! v1.0.2" (pre-authentication encoding, JSON envelope).

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use tellonce_core::hash::sha256_hex;

use super::signing_key::{SigningKey, VerifyingKey};

/// The file of the statement.
pub(super) const STATEMENT_FILE: &str = "evidence.intoto.json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The name of what the statement says. It is a name and not a page.
const PREDICATE_TYPE: &str = "https://tellonce.example/evidence/v1";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What the statement claims about the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Predicate {
    /// The client's id.
    pub(super) client: String,
    /// When the evidence was read, in UTC.
    pub(super) made_at: String,
    /// The version of tellonce that made it.
    pub(super) tellonce: String,
    /// The result of each area.
    pub(super) results: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The envelope of a statement about files, by their names.
pub(super) fn sign_files(files: &[(&str, &str)], predicate: Predicate, key: &SigningKey) -> anyhow::Result<String> {
    let subject = |(name, content): &(&str, &str)| Subject {
        name: (*name).to_owned(),
        digest: [("sha256".to_owned(), sha256_hex(content.as_bytes(), 32))].into(),
    };
    let statement = Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: files.iter().map(subject).collect(),
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate,
    };
    let payload = serde_json::to_vec(&statement)?;
    let sig = BASE64.encode(key.sign(&encode_for_signature(PAYLOAD_TYPE, &payload)));
    let envelope = Envelope {
        payload: BASE64.encode(payload),
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: vec![EnvelopeSignature { keyid: key.id(), sig }],
    };
    Ok(serde_json::to_string_pretty(&envelope)? + "\n")
}

/// What a folder proves. Fails if the signature is not of this key, or if a file is not the one
/// that was signed.
pub(super) fn verify_folder(folder: &Path, key: &VerifyingKey) -> anyhow::Result<(Predicate, Vec<String>)> {
    let file = folder.join(STATEMENT_FILE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
    let unreadable = || format!("{} is not a DSSE envelope", file.display());
    let envelope: Envelope = serde_json::from_str(&text).with_context(unreadable)?;
    let payload = BASE64.decode(&envelope.payload).with_context(unreadable)?;
    let signed = encode_for_signature(&envelope.payload_type, &payload);
    let is_of_key = |signature: &EnvelopeSignature| {
        BASE64.decode(&signature.sig).is_ok_and(|signature| key.is_signature_of(&signed, &signature))
    };
    if !envelope.signatures.iter().any(is_of_key) {
        bail!("{} is not signed with the key {}, or was changed", file.display(), key.id());
    }
    if envelope.payload_type != PAYLOAD_TYPE {
        bail!("{} signs no in-toto statement", file.display());
    }
    let statement: Statement = serde_json::from_slice(&payload)
        .with_context(|| format!("the statement in {} is not of this version", file.display()))?;
    if (statement.kind.as_str(), statement.predicate_type.as_str()) != (STATEMENT_TYPE, PREDICATE_TYPE) {
        bail!("the statement in {} is not about evidence of tellonce", file.display());
    }
    let mut names = Vec::new();
    for Subject { name, digest } in statement.subject {
        if name.contains(['/', '\\']) || name.starts_with('.') {
            bail!("the statement names `{name}`, which is not a file of the folder");
        }
        let content = std::fs::read(folder.join(&name)).with_context(|| format!("could not read `{name}`"))?;
        if digest.get("sha256") != Some(&sha256_hex(&content, 32)) {
            bail!("`{name}` is not the file that was signed");
        }
        names.push(name);
    }
    if names.is_empty() {
        bail!("the statement names no file");
    }
    Ok((statement.predicate, names))
}

/// DSSE's pre-authentication encoding.
fn encode_for_signature(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_protocol() {
        let encoded = encode_for_signature("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn every_change_of_a_file_or_of_the_statement_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (key, public) = SigningKey::create(&path("k")).unwrap();
        let public = VerifyingKey::read(&public).unwrap();
        let predicate = Predicate {
            client: "acme".to_owned(),
            made_at: "2026-11-30T10:00:00Z".to_owned(),
            tellonce: "0.1.0".to_owned(),
            results: [("Auth".to_owned(), "passed".to_owned())].into(),
        };
        let signed = sign_files(&[("evidence.md", "# Evidence\n")], predicate.clone(), &key).unwrap();
        let write = |content: &str, statement: &str| {
            std::fs::write(path("evidence.md"), content).unwrap();
            std::fs::write(path(STATEMENT_FILE), statement).unwrap();
            verify_folder(folder.path(), &public).map_err(|error| error.to_string())
        };
        let names = vec!["evidence.md".to_owned()];
        assert_eq!(write("# Evidence\n", &signed), Ok((predicate, names)));
        assert!(write("# Evidence \n", &signed).unwrap_err().contains("`evidence.md` is not the file"));
        let flipped = signed.replacen("\"payload\": \"ey", "\"payload\": \"eX", 1);
        assert_ne!(flipped, signed);
        assert!(write("# Evidence\n", &flipped).is_err());
        let other = signed.replace("application/vnd.in-toto+json", "application/vnd.in-toto+JSON");
        assert!(write("# Evidence\n", &other).unwrap_err().contains("is not signed with the key"));
        let (stranger, _) = SigningKey::create(&path("stranger")).unwrap();
        let predicate = Predicate {
            client: "acme".to_owned(),
            made_at: String::new(),
            tellonce: String::new(),
            results: BTreeMap::new(),
        };
        let forged = sign_files(&[("evidence.md", "# Evidence\n")], predicate, &stranger).unwrap();
        assert!(write("# Evidence\n", &forged).unwrap_err().contains("is not signed with the key"));
    }
}
