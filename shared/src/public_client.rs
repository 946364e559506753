//! The HTTP client for addresses that a client or another system chose: it connects to the public
//! internet only.
//!
//! The author of an address must not reach what only a function can reach: the machine itself, its
//! network, the cloud's metadata. [`check_callable_url`] checks an IP address in a URL before the
//! call. A host name is checked where it is resolved for the connection, so that it cannot change
//! in between. A redirect is a new address: the caller checks it in the same way.
//!
//! [`check_callable_url`]: crate::public_address::check_callable_url

use std::{error::Error, sync::OnceLock};

use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
};

use crate::{
    bootstrap::{self, StartError},
    public_address::is_public_ip,
};

/// Created at the first call to such an address.
static PUBLIC_CLIENT: OnceLock<Client> = OnceLock::new();

/// The client. It follows no redirects.
pub fn public_client() -> Result<&'static Client, StartError> {
    if let Some(client) = PUBLIC_CLIENT.get() {
        return Ok(client);
    }
    let client = bootstrap::build_http_client_with_resolver(PublicResolver)?;
    Ok(PUBLIC_CLIENT.get_or_init(|| client))
}

/// Whether a call failed because its host name has an address outside the public internet.
pub fn is_not_public(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<NotPublicError>() {
            return true;
        }
        cause = error.source();
    }
    false
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

    #[tokio::test]
    async fn a_name_that_resolves_to_the_local_machine_is_refused() {
        let error = public_client().unwrap().get("https://localhost:1/").send().await.unwrap_err();
        assert!(is_not_public(&error), "{error:?}");
    }

    #[tokio::test]
    async fn another_failure_is_not_taken_for_a_refusal() {
        let error = bootstrap::build_http_client().unwrap().get("http://127.0.0.1:1/").send().await.unwrap_err();
        assert!(!is_not_public(&error), "{error:?}");
    }
}
