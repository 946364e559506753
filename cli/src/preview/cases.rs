//! Recorded deliveries: headers and bodies, read from files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) struct RecordedDelivery {
    /// The headers file without its suffix.
    pub(super) name: String,
    pub(super) headers: HeaderMap,
    /// The raw bytes.
    pub(super) body: Vec<u8>,
}

const HEADERS_SUFFIX: &str = ".headers.txt";
const BODY_EXTENSIONS: [&str; 3] = ["json", "form", "multipart"];

/// Reads pairs of files, in the given order.
pub(super) fn read_pairs(headers: &[PathBuf], bodies: &[PathBuf]) -> anyhow::Result<Vec<RecordedDelivery>> {
    ensure!(
        headers.len() == bodies.len(),
        "{} --headers and {} --body; give one of each for every delivery",
        headers.len(),
        bodies.len()
    );
    headers.iter().zip(bodies).map(|(headers, body)| read_case(headers, body)).collect()
}

/// Reads a folder in the order of the names: every `<case>.headers.txt` with `<case>.json`,
/// `<case>.form` or `<case>.multipart`. A case without a body file uses the body of the case named
/// before its first dot. A case whose headers have `Content-Length: 0` has an empty body.
pub(super) fn read_folder(folder: &Path) -> anyhow::Result<Vec<RecordedDelivery>> {
    let entries = fs::read_dir(folder).with_context(|| format!("could not read the folder {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("could not read the folder {}", folder.display()))?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(HEADERS_SUFFIX)).map(str::to_owned));
    }
    names.sort_unstable();
    ensure!(!names.is_empty(), "the folder {} contains no <case>{HEADERS_SUFFIX}", folder.display());
    let body_of = |name: &str| {
        let files = BODY_EXTENSIONS.map(|ending| folder.join(format!("{name}.{ending}")));
        files.into_iter().find(|file| file.is_file())
    };
    let find = |name: &String| {
        let base = name.split('.').next().unwrap_or_default();
        let headers = folder.join(format!("{name}{HEADERS_SUFFIX}"));
        match body_of(name).or_else(|| body_of(base)) {
            Some(body) => read_case(&headers, &body),
            None => read_case_without_body(&headers, name),
        }
    };
    names.iter().map(find).collect()
}

fn read_case(headers: &Path, body: &Path) -> anyhow::Result<RecordedDelivery> {
    let text = fs::read_to_string(headers).with_context(|| format!("could not read {}", headers.display()))?;
    let file = headers.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(RecordedDelivery {
        name: file.strip_suffix(HEADERS_SUFFIX).unwrap_or(file).to_owned(),
        headers: parse_headers(&text).with_context(|| format!("in {}", headers.display()))?,
        body: fs::read(body).with_context(|| format!("could not read {}", body.display()))?,
    })
}

/// A delivery with `Content-Length: 0`.
fn read_case_without_body(headers: &Path, name: &str) -> anyhow::Result<RecordedDelivery> {
    let text = fs::read_to_string(headers).with_context(|| format!("could not read {}", headers.display()))?;
    let parsed = parse_headers(&text).with_context(|| format!("in {}", headers.display()))?;
    let empty = parsed.get(http::header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    ensure!(
        empty,
        "{name}{HEADERS_SUFFIX} has no body: add {name}.json, .form or .multipart, or the header `Content-Length: 0`"
    );
    Ok(RecordedDelivery { name: name.to_owned(), headers: parsed, body: Vec::new() })
}

/// Parses `Name: value` lines. An error shows the line's number but not its value, which may be a
/// secret.
fn parse_headers(text: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let parsed = line.split_once(':').and_then(|(name, value)| {
            let value = HeaderValue::from_bytes(value.trim().as_bytes()).ok()?;
            Some((name.trim().parse::<HeaderName>().ok()?, value))
        });
        let (name, value) = parsed.with_context(|| format!("line {} is not `Name: value`", number + 1))?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines_of_name_and_value() {
        let headers = parse_headers("Content-Type: application/json\r\n\nX-A: b: c \nX-A: d\n").unwrap();
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["b: c", "d"]);
        let error = parse_headers("X-A: b\nsecret value").unwrap_err().to_string();
        assert_eq!(error, "line 2 is not `Name: value`");
    }

    #[test]
    fn a_case_without_a_body_takes_that_of_the_case_before_its_first_dot() {
        let folder_path = tempfile::tempdir().unwrap();
        for (name, text) in [("a.headers.txt", "X-N: 1"), ("a.again.headers.txt", "X-N: 2"), ("a.json", "{}")] {
            fs::write(folder_path.path().join(name), text).unwrap();
        }
        let cases = read_folder(folder_path.path()).unwrap();
        assert_eq!(cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["a", "a.again"]);
        assert!(cases.iter().all(|case| case.body == b"{}"));
        fs::write(folder_path.path().join("b.headers.txt"), "").unwrap();
        assert!(read_folder(folder_path.path()).is_err());
    }
}
