//! Checks of public addresses: those that senders call, and those that tellonce calls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Names that lead only to this machine or to this network. Sources: RFC 6761 (`localhost`, `test`,
/// `invalid`), RFC 6762 (`local`), RFC 8375 (`home.arpa`), and the resolution of the ICANN board of
/// 29 July 2024 (`internal`). Routers and offices use the other names without a registration.
const INNER_HOST_NAMES: [&str; 9] =
    ["localhost", "test", "invalid", "local", "home.arpa", "internal", "lan", "intranet", "corp"];

/// Why an address is not a public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicAddressError {
    /// The text is not a URL with a host.
    #[error("the address is not a URL with a host")]
    NoUrl,
    /// The address is not https.
    #[error("the address is not https")]
    NotHttps,
    /// The address holds a user or a password.
    #[error("the address holds a user or a password")]
    Credentials,
    /// The host is an IP address. A private address gets no certificate, and a public address may
    /// change its owner.
    #[error("the host is an IP address and not a name")]
    IpAddress,
    /// The host's name leads only to this machine or to this network.
    #[error("the host is a name of this machine or of an inner network")]
    InnerHost,
    /// The host is an IP address outside the public internet.
    #[error("the host is not on the public internet")]
    NotPublic,
}

/// Parses an https address on the internet: no IP address, no name of an inner network, no user and
/// no password. Names are not resolved, so a name that points into an inner network passes.
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

/// Whether a host is in an inner network. A name without a dot is resolved in the local network.
fn is_inner_host(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below_or_is =
        |inner: &&str| name.strip_suffix(*inner).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || INNER_HOST_NAMES.iter().any(below_or_is)
}

/// Checks an address before a call, as far as possible without resolving its host name: https, and
/// no IP address outside the public internet. [`public_client`](crate::public_client) checks names.
pub fn check_callable_url(url: &Url) -> Result<(), PublicAddressError> {
    if url.scheme() != "https" {
        return Err(PublicAddressError::NotHttps);
    }
    match url.host() {
        None => Err(PublicAddressError::NoUrl),
        Some(Host::Domain(_)) => Ok(()),
        Some(Host::Ipv4(address)) if is_public_v4(address) => Ok(()),
        Some(Host::Ipv6(address)) if is_public_v6(address) => Ok(()),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => Err(PublicAddressError::NotPublic),
    }
}

/// Whether an address is on the public internet.
///
/// Source: the registries of special-purpose addresses at iana.org (iana-ipv4-special-registry,
/// iana-ipv6-special-registry).
pub fn is_public_ip(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = match address.octets() {
        // This network, private, the machine itself; multicast, reserved, broadcast.
        [0 | 10 | 127 | 224..=255, ..] => true,
        // Shared address space of carriers (CGNAT).
        [100, second, ..] => (64..=127).contains(&second),
        // Link-local, which includes the cloud's metadata service.
        [169, second, ..] => second == 254,
        [172, second, ..] => (16..=31).contains(&second),
        // Private; protocols and documentation; 6to4 relays.
        [192, second, third, _] => {
            second == 168 || (second == 0 && matches!(third, 0 | 2)) || (second, third) == (88, 99)
        }
        // Benchmarks, documentation.
        [198, second, third, _] => matches!(second, 18 | 19) || (second, third) == (51, 100),
        [203, second, third, _] => (second, third) == (0, 113),
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d] = address.octets()[12..] else { return false };
    let last_four = Ipv4Addr::new(a, b, c, d);
    match address.segments() {
        // IPv4 addresses inside IPv6: mapped, and translated (NAT64).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(last_four),
        // Protocols (Teredo, ORCHID), documentation, 6to4.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // All other routed addresses. The machine itself, private, link-local and multicast
        // addresses are outside this range.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for inner in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public_ip(inner.parse().unwrap()), "{inner}");
        }
        for outer in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.1.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public_ip(outer.parse().unwrap()), "{outer}");
        }
    }

    #[test]
    fn an_internal_address_in_a_url_is_detected_however_it_is_written() {
        let check = |address: &str| check_callable_url(&Url::parse(address).unwrap());
        for inner in [
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fd00:ec2::254]/",
            "https://169.254.169.254/latest/meta-data/",
        ] {
            assert_eq!(check(inner), Err(PublicAddressError::NotPublic), "{inner}");
        }
        for other in ["http://example.com/", "ftp://example.com/", "data:text/plain,x", "webcal://example.com/"] {
            assert_eq!(check(other), Err(PublicAddressError::NotHttps), "{other}");
        }
        assert_eq!(check("https://hooks.example.com:8443/in"), Ok(()));
        assert_eq!(check("https://1.1.1.1/"), Ok(()));
    }

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
