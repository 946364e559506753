//! Restricts calls to addresses in `client.toml` to the public internet, as
//! [`tellonce_core::public_client`] describes.

use reqwest::{Client, Url};
use tellonce_core::{
    public_address::{PublicAddressError, check_callable_url},
    public_client,
};

use crate::api_client::ApiError;

const NOT_PUBLIC_ADDRESS: ApiError = ApiError::AddressNotAllowed("not in the public internet");

/// The HTTP client that connects to public addresses only.
pub(crate) fn public_client() -> Result<&'static Client, ApiError> {
    public_client::public_client().map_err(|_| ApiError::AddressNotAllowed("the HTTP client could not be created"))
}

/// Checks a URL as far as possible without resolving its host name.
pub(crate) fn check_url(url: Url) -> Result<Url, ApiError> {
    match check_callable_url(&url) {
        Ok(()) => Ok(url),
        Err(PublicAddressError::NotHttps) => Err(ApiError::AddressNotAllowed("not https")),
        Err(_) => Err(NOT_PUBLIC_ADDRESS),
    }
}

/// The resolver's refusal if it caused the error, else the same error.
pub(crate) fn map_resolver_error(error: ApiError) -> ApiError {
    match &error {
        ApiError::Unreachable(source) if public_client::is_not_public(source) => NOT_PUBLIC_ADDRESS,
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_resolves_to_the_local_machine_is_an_address_that_is_not_allowed() {
        let error = public_client().unwrap().get("https://localhost:1/").send().await.unwrap_err();
        let error = map_resolver_error(ApiError::Unreachable(error.without_url()));
        assert_eq!(error.to_string(), "address not allowed: not in the public internet");
        let error = check_url(Url::parse("https://127.1/").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "address not allowed: not in the public internet");
        let error = check_url(Url::parse("http://example.com/").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "address not allowed: not https");
    }
}
