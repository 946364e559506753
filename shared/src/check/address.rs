//! Addresses that somebody on the internet calls, or that we call there.

use url::{Host, Url};

/// Names that lead to this machine or this network alone: RFC 6761 (`localhost`, `test`, `invalid`), RFC 6762 (`local`),
/// RFC 8375 (`home.arpa`), the name that ICANN keeps free for inner networks (`internal`,
/// <https://www.icann.org/en/board-activities-and-meetings/materials/approved-resolutions-special-meeting-of-the-icann-board-29-07-2024-en>),
/// and those that routers and offices use without asking.
const INNER_HOST_NAMES: [&str; 9] =
    ["localhost", "test", "invalid", "local", "home.arpa", "internal", "lan", "intranet", "corp"];

/// Why an address is none for the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicAddressError {
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
pub fn parse_public_address(text: &str) -> Result<Url, PublicAddressError> {
    let url = Url::parse(text).map_err(|_| PublicAddressError::NoUrl)?;
    let host = url.host().ok_or(PublicAddressError::NoUrl)?;
    if url.scheme() != "https" {
        return Err(PublicAddressError::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(PublicAddressError::Credentials);
    }
    match host {
        Host::Ipv4(_) | Host::Ipv6(_) => Err(PublicAddressError::IpAddress),
        Host::Domain(name) if is_inner_host(name) => Err(PublicAddressError::InnerHost),
        Host::Domain(_) => Ok(url),
    }
}

/// A name without a point is looked for in the network that asks.
fn is_inner_host(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below_or_is =
        |inner: &&str| name.strip_suffix(*inner).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || INNER_HOST_NAMES.iter().any(below_or_is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_host_names_are_accepted() {
        for address in ["https://api.example.com", "https://a.b.example.co.il:8443/x?y=1", "https://mylocal.example/"] {
            assert!(parse_public_address(address).is_ok(), "{address}");
        }
        for (address, why) in [
            ("", PublicAddressError::NoUrl),
            ("api.example.com", PublicAddressError::NoUrl),
            ("mailto:a@b.example", PublicAddressError::NoUrl),
            ("http://api.example.com", PublicAddressError::NotHttps),
            ("ftp://api.example.com", PublicAddressError::NotHttps),
            ("https://user@api.example.com", PublicAddressError::Credentials),
            ("https://:pw@api.example.com", PublicAddressError::Credentials),
            ("https://127.0.0.1/", PublicAddressError::IpAddress),
            ("https://127.1/", PublicAddressError::IpAddress),
            ("https://0x7f000001/", PublicAddressError::IpAddress),
            ("https://10.1.2.3/", PublicAddressError::IpAddress),
            ("https://203.0.113.9/", PublicAddressError::IpAddress),
            ("https://[::1]/", PublicAddressError::IpAddress),
            ("https://[::ffff:10.0.0.1]/", PublicAddressError::IpAddress),
            ("https://LOCALHOST./", PublicAddressError::InnerHost),
            ("https://app.localhost/", PublicAddressError::InnerHost),
            ("https://printer.local/", PublicAddressError::InnerHost),
            ("https://metadata.google.internal/", PublicAddressError::InnerHost),
            ("https://router.home.arpa/", PublicAddressError::InnerHost),
            ("https://intranet/", PublicAddressError::InnerHost),
        ] {
            assert_eq!(parse_public_address(address).unwrap_err(), why, "{address}");
        }
    }
}
