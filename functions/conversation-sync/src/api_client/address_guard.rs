//! Restricts calls to addresses in `client.toml` to the public internet.
//!
//! The author of an address must not reach what only this function can reach: the machine itself,
//! its network, the cloud's metadata. An IP address in the URL is checked before the call. A host
//! name is checked where it is resolved for the connection, so that it cannot change in between.

use std::{error::Error, sync::OnceLock};

use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tellonce_core::public_address::{is_public_ip, may_be_public};

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
    // The resolver checks the addresses of a name.
    if url.host().is_some_and(|host| may_be_public(&host)) { Ok(url) } else { Err(NOT_PUBLIC_ADDRESS) }
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
/// internet. A name with one such address is refused.
struct PublicResolver;

#[derive(Debug, thiserror::Error)]
#[error("host name resolves to an address that is not public")]
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
        assert_eq!(error.to_string(), "address not allowed: not in the public internet");
    }
}
