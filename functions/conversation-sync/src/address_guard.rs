//! Calls to addresses that a client names: into the public internet, and nowhere else.
//!
//! Whoever may write an address into `client.toml` shall not reach what only we can reach: the machine itself, its
//! network, the cloud's metadata. An address in the URL is looked at before the call; a name is looked at where it is resolved
//! for the connection, so that it can't mean something else by then.

use std::{error::Error, sync::OnceLock};

use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tellonce_core::public_address::is_public_ip;
use url::Host;

use crate::api_client::ApiError;

/// Made at the first call that goes outward.
static PUBLIC_CLIENT: OnceLock<Client> = OnceLock::new();

/// The HTTP client that connects to public addresses only.
pub(crate) fn public_client() -> Result<&'static Client, ApiError> {
    if let Some(client) = PUBLIC_CLIENT.get() {
        return Ok(client);
    }
    let client = tellonce_core::bootstrap::build_http_client_with_resolver(PublicResolver)
        .map_err(|_| ApiError::AddressNotAllowed("no connection to it can be set up"))?;
    Ok(PUBLIC_CLIENT.get_or_init(|| client))
}

/// An address that may be called, as far as it can be seen without resolving its name.
pub(crate) fn check_url(url: Url) -> Result<Url, ApiError> {
    if url.scheme() != "https" {
        return Err(ApiError::AddressNotAllowed("it is not https"));
    }
    let is_public = match url.host() {
        // The resolver looks at what it means.
        Some(Host::Domain(_)) => true,
        Some(Host::Ipv4(address)) => is_public_ip(address.into()),
        Some(Host::Ipv6(address)) => is_public_ip(address.into()),
        None => false,
    };
    if is_public { Ok(url) } else { Err(NOT_PUBLIC_ADDRESS) }
}

const NOT_PUBLIC_ADDRESS: ApiError = ApiError::AddressNotAllowed("it is not in the public internet");

/// The same error, or what our resolver said if that is behind it.
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

/// Resolves names as the machine does, and refuses those that lead anywhere but into the public internet. One address that
/// does is enough: an honest name has none.
struct PublicResolver;

#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that is not public")]
struct NotPublicError;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if addresses.iter().all(|address| is_public_ip(address.ip())) {
                Ok(Box::new(addresses.into_iter()) as Addrs)
            } else {
                Err(NotPublicError.into())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(error.to_string(), "the address may not be called: it is not in the public internet");
    }
}
