//! Where the APIs of senders, CRMs and targets are called in local runs and tests.
//!
//! A deployed stack sets no value, so each system is called at its own address. A local run sets
//! one for each kind of system: a fake's URL for all names in `client.toml`, and exceptions by
//! name.

use std::collections::BTreeMap;

use crate::bootstrap;

/// The URLs that replace the origins of one kind of system.
///
/// The text is a list with spaces between its items. `URL` counts for every name, `name=URL` for
/// the system with this name in `client.toml`. `name=` means that the system keeps its own address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseUrls {
    for_all: Option<String>,
    by_name: BTreeMap<String, Option<String>>,
}

impl BaseUrls {
    /// Reads a variable of the environment, such as `CRM_BASE_URL`.
    pub fn from_variable(name: &str) -> Self {
        bootstrap::read_variable(name).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// Reads the list. The URLs are not checked here: a call to an invalid one fails.
    pub fn parse(text: &str) -> Self {
        let mut urls = Self::default();
        for item in text.split_whitespace() {
            match item.split_once('=') {
                // A URL may contain `=` in its query, a name contains no `:`.
                Some((name, url)) if !name.contains(':') => {
                    let url = Some(url.to_owned()).filter(|url| !url.is_empty());
                    urls.by_name.insert(name.to_owned(), url);
                }
                _ => urls.for_all = Some(item.to_owned()),
            }
        }
        urls
    }

    /// The URL that replaces the origin of the system with this name. None: its own address counts.
    pub fn for_name(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).unwrap_or(&self.for_all).as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_own_url_or_its_own_address_and_the_others_share_one() {
        let urls = BaseUrls::parse("http://127.0.0.1:8787 own=http://127.0.0.1:5678  hubspot=");
        assert_eq!(urls.for_name("own"), Some("http://127.0.0.1:5678"));
        assert_eq!(urls.for_name("hubspot"), None);
        assert_eq!(urls.for_name("zoho"), Some("http://127.0.0.1:8787"));
    }

    #[test]
    fn without_a_value_every_system_keeps_its_address() {
        assert_eq!(BaseUrls::parse("").for_name("own"), None);
        assert_eq!(BaseUrls::parse("own=http://127.0.0.1:5678").for_name("zoho"), None);
    }

    #[test]
    fn an_equals_sign_in_a_url_is_part_of_the_url() {
        assert_eq!(BaseUrls::parse("http://127.0.0.1:1/?a=b").for_name("own"), Some("http://127.0.0.1:1/?a=b"));
        assert_eq!(BaseUrls::parse("own=http://h:1/?a=b").for_name("own"), Some("http://h:1/?a=b"));
    }
}
