//! How a value is rotated: what to do at both ends, and in which order. The facts of each sender
//! are in docs/senders.md, and those of the provider in docs/ezwhatsapp.md.

use tellonce_check::NeededSecret;
use tellonce_core::{client_config::SecretPurpose, provider::PROVIDER_NAME};

/// What a value is, as far as its rotation is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotationKind {
    /// A sender proves itself with a value that the agency enters there.
    Entered,
    /// A sender proves itself with a value that it makes.
    Issued,
    /// The end of the address that a form posts to.
    FormAddress,
    /// The end of the address that the provider posts a line's events to.
    LineAddress,
    /// The token of a line.
    LineToken,
    /// Signs the calls of tellonce to a receiver of the client.
    Outgoing,
    /// What tellonce calls another system with.
    Credential,
}

impl RotationKind {
    pub(super) fn of(needed: &NeededSecret) -> Self {
        // tellonce, the client, webhooks, the sender; for a line's address also `line`. A form may
        // be called `line`.
        let parts: Vec<&str> = needed.name.split('/').collect();
        let is_of_sender = parts.get(2) == Some(&"webhooks");
        match needed.purpose {
            SecretPurpose::LineToken => Self::LineToken,
            SecretPurpose::PathSecret if parts.get(4) == Some(&"line") => Self::LineAddress,
            SecretPurpose::PathSecret => Self::FormAddress,
            _ if is_of_sender && needed.is_chosen => Self::Entered,
            _ if is_of_sender => Self::Issued,
            SecretPurpose::StandardWebhooks => Self::Outgoing,
            _ => Self::Credential,
        }
    }

    /// Whether a new value may be a random one.
    pub(super) fn is_generated(self) -> bool {
        match self {
            Self::Entered | Self::FormAddress | Self::LineAddress => true,
            // The receiver has to know the value before it is stored.
            Self::Outgoing | Self::Issued | Self::LineToken | Self::Credential => false,
        }
    }

    /// Whether a person has to see a generated value, to enter it at the other end.
    pub(super) fn needs_value(self) -> bool {
        self != Self::LineAddress
    }

    /// The steps before the new value is stored, and those after it.
    pub(super) fn steps(self) -> (Vec<String>, Vec<String>) {
        let texts = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect();
        match self {
            Self::Entered => (
                vec![],
                texts(&[
                    "Enter the new value at the sender, within 24 hours. Until then the old value is accepted too.",
                    "Let the sender post once, and look for the delivery: a wrong value gets 401.",
                ]),
            ),
            Self::Issued => (
                texts(&["Make a new value at the sender. Most senders sign with it at once, so store it right away: \
                     deliveries in between get 401, and most senders repeat them. docs/senders.md says which do not."]),
                texts(&["Let the sender post once, and look for the delivery: a wrong value gets 401."]),
            ),
            Self::FormAddress => (
                vec![],
                texts(&[
                    "Enter the address with the new end at the form, within 24 hours. Until then the old address works too.",
                    "Submit the form once, and look for the delivery: a wrong address gets 404.",
                ]),
            ),
            Self::LineAddress => (
                vec![],
                texts(&[
                    "Register the line again, within 24 hours: tellonce webhook register --again",
                    "Try the new address: tellonce webhook test",
                    "Remove the webhook of the old address: tellonce webhook remove",
                ]),
            ),
            Self::LineToken => (
                vec![format!(
                    "Make a new token of the line in {PROVIDER_NAME}, and store it right away: the old one is assumed to end \
                     at once. Messages wait meanwhile, and go out with the new one."
                )],
                texts(&["Check that the line can send: tellonce status"]),
            ),
            Self::Outgoing => (
                texts(&[
                    "Make a new value, whsec_ and 32 random bytes in base64, and let the receiver accept it beside the old one.",
                ]),
                texts(&[
                    "Check that nothing waits for it: tellonce status",
                    "Remove the old value at the receiver, when `tellonce secrets rotate --status` says that the new one was read.",
                ]),
            ),
            Self::Credential => (
                texts(&[
                    "Make a new credential in the other system, and keep the old one until the new one is in use.",
                ]),
                texts(&[
                    "Check that nothing waits for it: tellonce status",
                    "Revoke the old credential in the other system, when `tellonce secrets rotate --status` says that the new one was read.",
                ]),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tellonce_check::list_needed_secrets;
    use tellonce_core::client_config::ClientConfig;

    use super::*;

    #[test]
    fn every_value_of_the_demo_has_a_way_to_rotate_it() {
        let config = ClientConfig::parse(include_str!("../../../clients/demo/client.toml")).unwrap();
        let kinds = list_needed_secrets(&config).iter().fold(String::new(), |mut text, needed| {
            writeln!(text, "{}: {:?}", needed.name, RotationKind::of(needed)).unwrap();
            text
        });
        insta::assert_snapshot!(kinds);
    }

    #[test]
    fn a_form_called_line_is_not_the_address_of_a_line() {
        let kind = |name: &str| {
            let (name, description) = (name.to_owned(), String::new());
            RotationKind::of(&NeededSecret { name, description, purpose: SecretPurpose::PathSecret, is_chosen: true })
        };
        assert_eq!(kind("tellonce/acme/webhooks/line"), RotationKind::FormAddress);
        assert_eq!(kind("tellonce/acme/webhooks/main/line"), RotationKind::LineAddress);
    }
}
