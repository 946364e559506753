//! The Ed25519 key of an agency: a private key in a file of its own, and the public key beside it.
//!
//! Both are PEM, as OpenSSL reads and writes them (RFC 8410): PKCS#8 and `SubjectPublicKeyInfo`.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, ED25519_PUBLIC_KEY_LEN, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use tellonce_core::hash::sha256_hex;

use super::client_files::find_exposure;
use crate::private_file::create_private_file;

/// What stands before the seed in a private key of RFC 8410.
const PRIVATE_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// What stands before the key in a public key of RFC 8410.
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
const SEED_LENGTH: usize = 32;

/// A private key.
pub(super) struct SigningKey(Ed25519KeyPair);

/// A public key.
pub(super) struct VerifyingKey([u8; ED25519_PUBLIC_KEY_LEN]);

impl SigningKey {
    /// Makes a key in a new file that only its owner reads, and the public key in another one.
    pub(super) fn create(file: &Path) -> anyhow::Result<(Self, PathBuf)> {
        if let Some(exposure) = find_exposure(file) {
            bail!("{exposure}; choose a path outside of every repository, such as ~/.config/tellonce/evidence.key");
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            bail!("the folder {} does not exist; make it first", folder.display());
        }
        let public_file = public_file_of(file);
        if public_file.exists() {
            bail!("{} exists already; choose another name", public_file.display());
        }
        let mut seed = [0; SEED_LENGTH];
        SystemRandom::new().fill(&mut seed).map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
        let key = Self::from_seed(&seed)?;
        let private = write_pem(PRIVATE_LABEL, &[&PRIVATE_PREFIX[..], &seed].concat());
        let mut opened = create_private_file(file)?;
        opened.write_all(private.as_bytes()).with_context(|| format!("could not write {}", file.display()))?;
        let public = write_pem(PUBLIC_LABEL, &[&PUBLIC_PREFIX[..], key.0.public_key().as_ref()].concat());
        let written = File::create_new(&public_file).and_then(|mut opened| opened.write_all(public.as_bytes()));
        written.with_context(|| format!("could not write {}", public_file.display()))?;
        Ok((key, public_file))
    }

    /// Reads a key that only its owner reads, and that is in no repository.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        if let Some(exposure) = find_exposure(file) {
            bail!("{exposure}; make another key, because a clone may hold this one");
        }
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("could not read the key {}; `tellonce evidence key FILE` makes one", file.display())
        })?;
        check_mode(file)?;
        let Some(seed) = read_pem(PRIVATE_LABEL, &PRIVATE_PREFIX, &text) else {
            bail!("{} is not a private Ed25519 key as `tellonce evidence key` makes it", file.display());
        };
        Self::from_seed(&seed)
    }

    fn from_seed(seed: &[u8]) -> anyhow::Result<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed);
        key.map(Self).map_err(|_| anyhow::anyhow!("the private key is not usable"))
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }

    /// The id of its public key.
    pub(super) fn id(&self) -> String {
        id_of(self.0.public_key().as_ref())
    }
}

impl VerifyingKey {
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("could not read the public key {}", file.display()))?;
        let key = read_pem(PUBLIC_LABEL, &PUBLIC_PREFIX, &text);
        key.map(Self).with_context(|| format!("{} is not a public Ed25519 key in PEM", file.display()))
    }

    pub(super) fn is_signature_of(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, signature).is_ok()
    }

    pub(super) fn id(&self) -> String {
        id_of(&self.0)
    }
}

/// The SHA-256 of a public key with its prefix, as `openssl pkey -pubin -outform DER | sha256sum`.
fn id_of(public_key: &[u8]) -> String {
    sha256_hex(&[&PUBLIC_PREFIX[..], public_key].concat(), 32)
}

fn public_file_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn write_pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}

/// The key in a PEM with one entry of this kind.
fn read_pem(label: &str, prefix: &[u8], text: &str) -> Option<[u8; 32]> {
    let body = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let body = body.strip_suffix(&format!("-----END {label}-----"))?;
    let der = BASE64.decode(body.split_whitespace().collect::<String>()).ok()?;
    der.strip_prefix(prefix)?.try_into().ok()
}

#[cfg(unix)]
fn check_mode(file: &Path) -> anyhow::Result<()> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file)?.permissions());
    if mode & 0o077 != 0 {
        bail!("other users may read the key {}; run `chmod 600` on it", file.display());
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The key of RFC 8410, section 10.3, and the public key of section 10.1.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn the_keys_of_the_standard_are_read_and_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("a.key"), folder.path().join("a.pub"));
        std::fs::write(&private, PRIVATE).unwrap();
        std::fs::write(&public, PUBLIC).unwrap();
        let error = SigningKey::read(&private).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (private, public) = (SigningKey::read(&private).unwrap(), VerifyingKey::read(&public).unwrap());
        assert_eq!(private.id(), public.id());
        let signature = private.sign(b"evidence");
        assert!(public.is_signature_of(b"evidence", &signature) && !public.is_signature_of(b"evidencf", &signature));
        assert!(!public.is_signature_of(b"evidence", &signature[1..]));
    }

    #[test]
    fn a_new_key_is_for_its_owner_alone_and_replaces_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agency.key");
        let (made, public) = SigningKey::create(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::read(&file).unwrap().id(), made.id());
        assert_eq!(VerifyingKey::read(&public).unwrap().id(), made.id());
        assert!(SigningKey::create(&file).err().unwrap().to_string().contains("exists already"));
        std::fs::remove_file(public).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(SigningKey::create(&file).err().unwrap().to_string().contains("could not make the new file"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        let lost = SigningKey::create(&folder.path().join("none/agency.key")).err().unwrap().to_string();
        assert!(lost.contains("none does not exist; make it first"), "{lost}");
        assert!(VerifyingKey::read(&file).err().unwrap().to_string().contains("not a public Ed25519 key"));
    }
}
