//! Any website's own form, and the HTTP steps of Zapier, Make and n8n: JSON, urlencoded or
//! multipart.

use url::Url;

use super::{super::RepeatWindow, FormFacts, FormKind};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "web",
    label: "any website",
    names_its_form: false,
    repeats: Some(RepeatWindow::BY_HAND),
    samples: "web",
    ..FormFacts::PLAIN
};

/// The address of [`FormConfig::thanks_url`](super::FormConfig::thanks_url) as browsers write it.
pub(super) fn parse_thanks_url(kind: FormKind, written: &str) -> Result<String, String> {
    if kind != FormKind::Web {
        return Err("`thanks_url` is only a setting of web forms, which browsers post; remove it".to_owned());
    }
    let is_page =
        |url: &Url| url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none();
    Url::parse(written).ok().filter(is_page).map(String::from).ok_or_else(|| {
        "`thanks_url` is not an https address; write it like \"https://www.example.com/thanks\"".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_sent_only_to_an_https_address_and_only_by_a_web_form() {
        let parse = |url: &str| parse_thanks_url(FormKind::Web, url);
        assert_eq!(parse("https://www.example.com/thanks?a=1").unwrap(), "https://www.example.com/thanks?a=1");
        let escaped = "https://xn--8db5ai.example/%D7%AA%D7%95%D7%93%D7%94";
        assert_eq!(parse("https://קפה.example/תודה").unwrap(), escaped);
        for url in [
            "http://example.com/",
            "//example.com/",
            "/thanks",
            "javascript:alert(1)",
            "https://",
            "https://a:b@x.example/",
            "",
        ] {
            assert!(parse(url).unwrap_err().contains("https address"), "{url}");
        }
        let other = parse_thanks_url(FormKind::Jotform, "https://x.example/");
        assert!(other.unwrap_err().contains("only a setting of web forms"));
    }
}
