//! Restricts calls to addresses in `client.toml` to the public internet.
//!
//! The author of an address must not reach what only this function can reach: the machine itself,
//! its network, the cloud's metadata. An IP address in the URL is checked before the call. A host
//! name is checked where it is resolved for the connection, so that it cannot change in between.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::OnceLock,
};

use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use url::Host;

use crate::api_client::ApiError;

/// Created at the first call to such an address.
static PUBLIC_CLIENT: OnceLock<Client> = OnceLock::new();

/// The HTTP client that connects to public addresses only.
pub(crate) fn public_client() -> Result<&'static Client, ApiError> {
    if let Some(client) = PUBLIC_CLIENT.get() {
        return Ok(client);
    }
    let client = tellonce_core::bootstrap::build_http_client_with_resolver(PublicResolver)
        .map_err(|_| ApiError::AddressNotAllowed("the HTTP client could not be created"))?;
    Ok(PUBLIC_CLIENT.get_or_init(|| client))
}

/// Checks a URL as far as possible without resolving its host name.
pub(crate) fn check_url(url: Url) -> Result<Url, ApiError> {
    if url.scheme() != "https" {
        return Err(ApiError::AddressNotAllowed("not https"));
    }
    let is_public = match url.host() {
        // The resolver checks its addresses.
        Some(Host::Domain(_)) => true,
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        None => false,
    };
    if is_public { Ok(url) } else { Err(NOT_PUBLIC_ADDRESS) }
}

const NOT_PUBLIC_ADDRESS: ApiError = ApiError::AddressNotAllowed("not in the public internet");

/// The resolver's refusal if it caused the error, else the same error.
pub(crate) fn map_resolver_error(error: ApiError) -> ApiError {
    let ApiError::Unreachable(source) = &error else { return error };
    let mut cause = source.source();
    while let Some(source_error) = cause {
        if source_error.is::<NotPublicError>() {
            return NOT_PUBLIC_ADDRESS;
        }
        cause = source_error.source();
    }
    error
}

/// Resolves names as the machine does, and refuses names with an address outside the public
/// internet. One such address is enough: an honest name has none.
struct PublicResolver;

#[derive(Debug, thiserror::Error)]
#[error("host name resolves to an address that is not public")]
struct NotPublicError;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if addresses.iter().all(|address| is_public(address.ip())) {
                Ok(Box::new(addresses.into_iter()) as Addrs)
            } else {
                Err(NotPublicError.into())
            }
        })
    }
}

/// Whether an address belongs to the public internet.
///
/// Source: the registries of special-purpose addresses at iana.org (iana-ipv4-special-registry,
/// iana-ipv6-special-registry).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = match address.octets() {
        // This network, private, the machine itself; multicast, reserved, broadcast.
        [0 | 10 | 127 | 224..=255, ..] => true,
        // Shared with a provider (CGNAT).
        [100, second, ..] => (64..=127).contains(&second),
        // Link-local, and with it the cloud's metadata.
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
        // Embedded IPv4: mapped, and through a translator (NAT64).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(last_four),
        // Protocols (Teredo, ORCHID), documentation, 6to4.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // All other routed addresses. Loopback, private, link-local and multicast lie outside this
        // range.
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
            assert!(!is_public(inner.parse().unwrap()), "{inner}");
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
            assert!(is_public(outer.parse().unwrap()), "{outer}");
        }
    }

    #[test]
    fn an_internal_address_in_a_url_is_detected_however_it_is_written() {
        for inner in [
            "http://example.com/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fd00:ec2::254]/",
            "https://169.254.169.254/latest/meta-data/",
            "ftp://example.com/",
            "data:text/plain,x",
        ] {
            assert!(check_url(Url::parse(inner).unwrap()).is_err(), "{inner}");
        }
        assert!(check_url(Url::parse("https://hooks.example.com:8443/in").unwrap()).is_ok());
        assert!(check_url(Url::parse("https://1.1.1.1/").unwrap()).is_ok());
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_the_local_machine_is_refused() {
        let error = public_client().unwrap().get("https://localhost:1/").send().await.unwrap_err();
        let error = map_resolver_error(ApiError::Unreachable(error.without_url()));
        assert_eq!(error.to_string(), "address not allowed: not in the public internet");
    }
}
