//! Reads the files of `events/`. `events/README.md` describes them.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "an unreadable sample ends the test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub(crate) fn sample_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(name)
}

/// The bytes of a file, such as `bookings/acuity/changed.form`.
pub fn read_sample(file: &str) -> Vec<u8> {
    fs::read(sample_path(file)).unwrap_or_else(|error| panic!("could not read events/{file}: {error}"))
}

/// The text of a file.
pub fn read_sample_text(file: &str) -> String {
    String::from_utf8(read_sample(file)).unwrap()
}

/// The content of a JSON file.
pub fn read_sample_json(file: &str) -> Value {
    serde_json::from_slice(&read_sample(file)).unwrap()
}

/// The body of a recorded case. A case without a body file uses the body of the case named before
/// its first dot; a case without any has an empty body.
pub(crate) fn read_body(case: &str) -> Vec<u8> {
    let (folder, name) = case.rsplit_once('/').unwrap();
    let of = format!("{folder}/{}", name.split('.').next().unwrap_or(name));
    let files = [case, &of].map(|case| ["json", "form", "multipart", "ics"].map(|end| format!("{case}.{end}")));
    files
        .as_flattened()
        .iter()
        .find(|file| sample_path(file).exists())
        .map(|file| read_sample(file))
        .unwrap_or_default()
}
