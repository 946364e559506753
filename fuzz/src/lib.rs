//! What the fuzz targets share: the demo client, a fixed time, and how an input chooses a sender.

use std::sync::LazyLock;

use jiff::Timestamp;
use tellonce_core::{client_config::ClientConfig, contact::Phone};

/// The demo client: it has a sender of each kind.
pub static CONFIG: LazyLock<ClientConfig> =
    LazyLock::new(|| ClientConfig::parse(include_str!("../../clients/demo/client.toml")).expect("the demo client"));

/// When each input is received: the time of the recorded deliveries.
pub static NOW: LazyLock<Timestamp> = LazyLock::new(|| "2026-11-20T06:00:00Z".parse().expect("a time"));

/// Lets the first byte of an input choose one of several, and returns the rest.
pub fn choose<'a, T>(choices: &'a [T], input: &'a [u8]) -> Option<(&'a T, &'a [u8])> {
    let (first, rest) = input.split_first()?;
    let index = usize::from(*first).checked_rem(choices.len())?;
    Some((choices.get(index)?, rest))
}

/// A number that leaves a parser is complete: E.164.
pub fn assert_complete_number(phone: &Phone) {
    let digits = phone.expose().strip_prefix('+').expect("a country code");
    assert!((7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
}
