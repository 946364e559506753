//! Random values for secrets.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use tellonce_core::{client_config::SecretPurpose, provider::PROVIDER};

/// What the made-up token of a line begins with, on this machine.
pub(crate) fn made_up_token_prefix() -> String {
    format!("{}local_", PROVIDER.facts().token_prefix)
}

/// A value of 256 random bits, in the form that its purpose needs.
///
/// # Errors
///
/// Fails if the system has no random numbers.
pub(crate) fn make_random_value(purpose: SecretPurpose) -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("could not get random numbers from the system"))?;
    Ok(match purpose {
        SecretPurpose::StandardWebhooks => format!("whsec_{}", BASE64.encode(bytes)),
        _ => URL_SAFE_NO_PAD.encode(bytes),
    })
}

#[cfg(test)]
mod tests {
    use tellonce_check::find_secret_problem;

    use super::*;

    #[test]
    fn a_random_value_fits_its_purpose_and_is_never_the_same() {
        for purpose in [SecretPurpose::PathSecret, SecretPurpose::WebhookSecret, SecretPurpose::StandardWebhooks] {
            let value = make_random_value(purpose).unwrap();
            assert!(find_secret_problem(purpose, &value).is_none(), "{purpose:?}");
            assert_ne!(value, make_random_value(purpose).unwrap());
        }
    }
}
