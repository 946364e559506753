//! A customer's number from a file or from standard input. No error shows what was read.

use std::{io::Read as _, path::Path};

use anyhow::{Context as _, anyhow};
use tellonce_core::contact::Phone;
use tellonce_ops::CustomerAddress;

pub(crate) fn read_phone(source: &Path) -> anyhow::Result<Phone> {
    parse_phone(&read_text(source)?)
}

/// A number, or a private id of WhatsApp.
pub(crate) fn read_customer(source: &Path) -> anyhow::Result<CustomerAddress> {
    let text = read_text(source)?;
    match CustomerAddress::parse_private_id(&text) {
        Some(address) => Ok(address),
        None => Ok(CustomerAddress::Number(parse_phone(&text)?)),
    }
}

fn read_text(source: &Path) -> anyhow::Result<String> {
    if source == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).context("could not read the number from standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(source).with_context(|| format!("could not read the number from {}", source.display()))
}

fn parse_phone(text: &str) -> anyhow::Result<Phone> {
    let number: String = text.chars().filter(|c| !c.is_whitespace() && !"-().".contains(*c)).collect();
    Phone::from_e164(&number)
        .map_err(|error| anyhow!("{error}; write it with its country code, like +972545550199, and nothing else"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_people_write_it_and_never_shown() {
        for text in ["+972525550101\n", " +972 52-555-0101", "+972 (52) 555.0101\r\n"] {
            assert_eq!(parse_phone(text).unwrap().expose(), "+972525550101", "{text}");
        }
        for text in ["", "0525550101", "+972525550101 +972525550102", "Noa +972525550101"] {
            let error = format!("{:#}", parse_phone(text).unwrap_err());
            assert!(error.contains("country code") && !error.contains("52555") && !error.contains("Noa"), "{error}");
        }
    }
}
