//! The client's systems that a local run calls themselves, in place of their fakes: a feed server,
//! a CRM or a workflow program on this machine, or a vendor's own API.

use std::fmt;

use anyhow::{Context as _, ensure};
use url::Url;

/// A kind of system: its table in `client.toml`, and the variable with its base URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SystemKind {
    Store,
    Calendar,
    Form,
    Crm,
    Target,
}

impl SystemKind {
    pub(super) const ALL: [Self; 5] = [Self::Store, Self::Calendar, Self::Form, Self::Crm, Self::Target];

    /// The name of the table in `client.toml`.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Store => "stores",
            Self::Calendar => "calendars",
            Self::Form => "forms",
            Self::Crm => "crms",
            Self::Target => "targets",
        }
    }

    /// The functions' variable with the base URLs of these systems.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::Store => "SHOPIFY_BASE_URL",
            Self::Calendar => "CALENDAR_BASE_URL",
            Self::Form => "LEAD_BASE_URL",
            Self::Crm => "CRM_BASE_URL",
            Self::Target => "TARGET_BASE_URL",
        }
    }
}

/// A system that is called itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealSystem {
    pub(super) kind: SystemKind,
    pub(super) name: String,
    /// What replaces the origin of its address. None: its own address, on the public internet.
    origin: Option<String>,
}

impl RealSystem {
    /// Parses `calendars.diary=http://127.0.0.1:5232`, or `crms.hubspot` for the vendor's own API.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (system, origin) = match text.split_once('=') {
            Some((system, url)) => (system, Some(parse_origin(url)?)),
            None => (text, None),
        };
        let named = system.split_once('.').and_then(|(table, name)| {
            let kind = SystemKind::ALL.into_iter().find(|kind| kind.table() == table)?;
            (!name.is_empty()).then(|| (kind, name.to_owned()))
        });
        let (kind, name) = named.with_context(|| {
            format!("`{system}` does not name a system; write its table and name in client.toml, such as crms.own")
        })?;
        Ok(Self { kind, name, origin })
    }

    /// Its item in the variable of its kind.
    pub(super) fn variable_item(&self) -> String {
        format!("{}={}", self.name, self.origin.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for RealSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} at {}", self.kind.table(), self.name, self.origin.as_deref().unwrap_or("its own address"))
    }
}

/// Only the origin is replaced. The path stays that of the configured address, so a path here would
/// have no effect.
fn parse_origin(text: &str) -> anyhow::Result<String> {
    let expected = "an origin such as http://127.0.0.1:5678";
    let url = Url::parse(text).with_context(|| format!("`{text}` is not a URL; give {expected}"))?;
    let is_origin = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    ensure!(
        is_origin,
        "`{text}` has more than an origin; give {expected}, because the path comes from the configured address"
    );
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_named_by_table_and_name_with_an_origin_or_its_own_address() {
        let own = RealSystem::parse("crms.own=http://127.0.0.1:5678/").unwrap();
        assert_eq!((own.kind, own.variable_item().as_str()), (SystemKind::Crm, "own=http://127.0.0.1:5678"));
        assert_eq!(own.to_string(), "crms.own at http://127.0.0.1:5678");
        let hubspot = RealSystem::parse("crms.hubspot").unwrap();
        assert_eq!(hubspot.variable_item(), "hubspot=");
        assert_eq!(hubspot.to_string(), "crms.hubspot at its own address");
    }

    #[test]
    fn anything_else_is_refused_with_the_remedy() {
        for (text, remedy) in [
            ("own", "write its table and name"),
            ("crms.", "write its table and name"),
            ("lines.main", "write its table and name"),
            ("crms.own=127.0.0.1:5678", "give an origin such as"),
            ("crms.own=http://127.0.0.1:5678/webhook", "the path comes from the configured address"),
            ("crms.own=http://user@127.0.0.1:5678", "more than an origin"),
            ("crms.own=file:///etc/passwd", "more than an origin"),
        ] {
            let error = format!("{:#}", RealSystem::parse(text).unwrap_err());
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }
}
