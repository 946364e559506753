//! Addresses that somebody on the internet calls, or that we call there.

use url::{Host, Url};

/// Names that lead to this machine or this network alone: RFC 6761 (`localhost`, `test`, `invalid`), RFC 6762 (`local`),
/// RFC 8375 (`home.arpa`), the name that ICANN keeps free for inner networks (`internal`,
/// <https://www.icann.org/en/board-activities-and-meetings/materials/approved-resolutions-special-meeting-of-the-icann-board-29-07-2024-en>),
/// and those that routers and offices use without asking.
const INNER: [&str; 9] = ["localhost", "test", "invalid", "local", "home.arpa", "internal", "lan", "intranet", "corp"];

/// Why an address is none for the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPublic {
    /// It is no URL with a host.
    #[error("it is no URL with a host")]
    NoUrl,
    /// It is not https.
    #[error("it is not https")]
    NotHttps,
    /// A user or a password stands in it.
    #[error("it has a user or a password in it")]
    Credentials,
    /// A number instead of a name: no certificate is issued for a private one, and who has a public one changes.
    #[error("its host is an IP address and not a name")]
    IpAddress,
    /// The host's name leads to this machine or network alone.
    #[error("its host is one of this machine or of an inner network")]
    InnerHost,
}

/// Reads an https address on the internet: no IP address, no name of an inner network, nothing secret before the host. Names
/// are not resolved: one that points into an inner network passes here.
pub fn public_address(text: &str) -> Result<Url, NotPublic> {
    let url = Url::parse(text).map_err(|_| NotPublic::NoUrl)?;
    let host = url.host().ok_or(NotPublic::NoUrl)?;
    if url.scheme() != "https" {
        return Err(NotPublic::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(NotPublic::Credentials);
    }
    match host {
        Host::Ipv4(_) | Host::Ipv6(_) => Err(NotPublic::IpAddress),
        Host::Domain(name) if is_inner(name) => Err(NotPublic::InnerHost),
        Host::Domain(_) => Ok(url),
    }
}

/// A name without a point is looked for in the network that asks.
fn is_inner(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below_or_is =
        |inner: &&str| name.strip_suffix(*inner).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || INNER.iter().any(below_or_is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_internet_pass() {
        for address in ["https://api.example.com", "https://a.b.example.co.il:8443/x?y=1", "https://mylocal.example/"] {
            assert!(public_address(address).is_ok(), "{address}");
        }
        for (address, why) in [
            ("", NotPublic::NoUrl),
            ("api.example.com", NotPublic::NoUrl),
            ("mailto:a@b.example", NotPublic::NoUrl),
            ("http://api.example.com", NotPublic::NotHttps),
            ("ftp://api.example.com", NotPublic::NotHttps),
            ("https://user@api.example.com", NotPublic::Credentials),
            ("https://:pw@api.example.com", NotPublic::Credentials),
            ("https://127.0.0.1/", NotPublic::IpAddress),
            ("https://127.1/", NotPublic::IpAddress),
            ("https://0x7f000001/", NotPublic::IpAddress),
            ("https://10.1.2.3/", NotPublic::IpAddress),
            ("https://203.0.113.9/", NotPublic::IpAddress),
            ("https://[::1]/", NotPublic::IpAddress),
            ("https://[::ffff:10.0.0.1]/", NotPublic::IpAddress),
            ("https://LOCALHOST./", NotPublic::InnerHost),
            ("https://app.localhost/", NotPublic::InnerHost),
            ("https://printer.local/", NotPublic::InnerHost),
            ("https://metadata.google.internal/", NotPublic::InnerHost),
            ("https://router.home.arpa/", NotPublic::InnerHost),
            ("https://intranet/", NotPublic::InnerHost),
        ] {
            assert_eq!(public_address(address).unwrap_err(), why, "{address}");
        }
    }
}
