//! The addresses of a line's events, and of the provider's webhooks.

use anyhow::{Context as _, anyhow, ensure};
use tellonce_core::{
    provider::{PROVIDER, PROVIDER_NAME},
    public_address::parse_public_address,
};
use url::{Host, Url};

/// The stack's address, without the `/lines/` that the stack's output may end in.
pub(super) fn parse_stack_url(text: &str) -> anyhow::Result<Url> {
    let mut url = parse_public_address(text).map_err(|error| {
        anyhow!("--url cannot be registered: {error}; {PROVIDER_NAME} posts over the internet, so use the address in the stack's outputs")
    })?;
    ensure!(
        url.query().is_none() && url.fragment().is_none(),
        "--url has a query or a fragment; use the address in the stack's outputs"
    );
    let mut steps: Vec<String> = url.path_segments().into_iter().flatten().map(str::to_owned).collect();
    steps.retain(|step| !step.is_empty());
    if steps.last().is_some_and(|step| step == "lines") {
        steps.pop();
    }
    url.path_segments_mut().map_err(|()| anyhow!("--url has no path"))?.clear().extend(&steps);
    Ok(url)
}

pub(super) fn line_events_url(address: &Url, line: &str, secret: &str) -> anyhow::Result<Url> {
    let mut url = address.clone();
    url.path_segments_mut().map_err(|()| anyhow!("--url has no path"))?.pop_if_empty().extend(["lines", line, secret]);
    Ok(url)
}

/// The host as recorded, with its port unless it is the scheme's default.
pub(super) fn format_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The provider's address for webhooks. A token is sent only over https or within this machine.
pub(super) fn registration_endpoint(base: &str) -> anyhow::Result<Url> {
    let url = Url::parse(base).ok().filter(Url::has_host).context("--base-url is not a URL")?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    ensure!(
        url.scheme() == "https" || here,
        "--base-url is neither https nor on this machine, and the call carries the line's token; use https"
    );
    let mut url = url;
    url.set_query(None);
    url.path_segments_mut()
        .map_err(|()| anyhow!("--base-url has no path"))?
        .pop_if_empty()
        .extend(PROVIDER.registration_path());
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_line_is_below_every_spelling_of_the_stack_url() {
        for (given, full) in [
            ("https://api.example.com", "https://api.example.com/lines/main/s3cret"),
            ("https://api.example.com/", "https://api.example.com/lines/main/s3cret"),
            ("https://api.example.com/lines", "https://api.example.com/lines/main/s3cret"),
            ("https://api.example.com/lines/", "https://api.example.com/lines/main/s3cret"),
            ("https://api.example.com:8443/prod/", "https://api.example.com:8443/prod/lines/main/s3cret"),
            // With the address segment of a stack.
            ("https://api.example.com/Zk3x-1/lines/", "https://api.example.com/Zk3x-1/lines/main/s3cret"),
        ] {
            assert_eq!(line_events_url(&parse_stack_url(given).unwrap(), "main", "s3cret").unwrap().as_str(), full);
        }
        assert_eq!(
            format_host(&parse_stack_url("https://api.example.com:8443/prod/").unwrap()),
            "api.example.com:8443"
        );
        assert_eq!(format_host(&parse_stack_url("https://api.example.com:443/").unwrap()), "api.example.com");
        assert!(
            parse_stack_url("https://api.example.com/?x=1").is_err()
                && parse_stack_url("https://api.example.com/#x").is_err()
        );
    }

    #[test]
    fn a_token_leaves_this_machine_only_over_https() {
        for good in ["https://app.ezw.solutions", "http://127.0.0.1:3010", "http://localhost:3010/", "http://[::1]:1"] {
            assert!(registration_endpoint(good).unwrap().path() == "/api/v1/webhooks", "{good}");
        }
        for bad in ["http://app.ezw.solutions", "http://10.0.0.1", "app.ezw.solutions", "http://localhost.example.com"]
        {
            assert!(registration_endpoint(bad).is_err(), "{bad}");
        }
    }
}
