//! The sample deliveries of `events/` for tests, and strategies that corrupt them.
//!
//! `events/README.md` describes the files of a folder of samples.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "an unreadable sample ends the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proptest::{prelude::*, sample::Index};
use serde_json::Value;

/// One delivery with its expected facts.
#[derive(Debug, Clone)]
pub struct SampleDelivery {
    /// The folder's name.
    pub system: String,
    /// The case's name in its manifest.
    pub name: String,
    /// Name and value of each header, as sent.
    pub headers: Vec<(String, String)>,
    /// The raw bytes. Empty for a delivery without a body.
    pub body: Vec<u8>,
    /// The verification scheme and its secret.
    pub auth: Value,
    /// The facts that a correct parser finds.
    pub facts: Value,
}

impl SampleDelivery {
    /// A fact, if it is a text.
    pub fn text_fact(&self, name: &str) -> Option<&str> {
        self.facts[name].as_str()
    }

    /// System and name: unique among all cases.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.system, self.name)
    }
}

/// The path of a folder of samples such as `stores/shopify`.
pub fn sample_folder(folder_name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(folder_name)
}

/// The JSON body of a case.
pub fn sample_json(folder_name: &str, file_stem: &str) -> Value {
    serde_json::from_slice(&fs::read(sample_folder(folder_name).join(format!("{file_stem}.json"))).unwrap()).unwrap()
}

fn manifest_cases(folder_name: &str) -> Vec<Value> {
    match sample_json(folder_name, "manifest")["cases"].take() {
        Value::Array(cases) => cases,
        _ => panic!("the manifest of {folder_name} lists no cases"),
    }
}

/// The deliveries of a folder. Skips cases that are not deliveries, such as the `GET` of a
/// handshake.
pub fn sample_deliveries(folder_name: &str) -> Vec<SampleDelivery> {
    let folder = sample_folder(folder_name);
    let mut cases = Vec::new();
    for case in manifest_cases(folder_name) {
        let Some(headers) = case["headers_file"].as_str() else { continue };
        let name = case["case"].as_str().unwrap().to_owned();
        let headers = fs::read_to_string(folder.join(headers)).unwrap();
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        // A case without a body file uses the body of the case named before its first dot.
        let of = name.split('.').next().unwrap();
        let body_names = ["json", "form", "multipart"].map(|end| format!("{of}.{end}"));
        let named = case["body_file"].as_str().map(|file| folder.join(file));
        let body = named.or_else(|| body_names.map(|file| folder.join(file)).into_iter().find(|file| file.exists()));
        cases.push(SampleDelivery {
            system: folder.file_name().unwrap().to_string_lossy().into_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: body.map(|file| fs::read(file).unwrap()).unwrap_or_default(),
            auth: case["auth"].clone(),
            facts: case["facts"].clone(),
            name,
        });
    }
    cases
}

/// Asserts that the manifest lists every file of the folder, except `unlisted`.
pub fn assert_all_files_listed(folder_name: &str, unlisted: &[&str]) {
    let cases = manifest_cases(folder_name);
    let listed = cases.iter().flat_map(|case| [case["body_file"].as_str(), case["headers_file"].as_str()]);
    let known: BTreeSet<&str> = listed.flatten().chain(unlisted.iter().copied()).chain(["manifest.json"]).collect();
    for file in fs::read_dir(sample_folder(folder_name)).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&*file), "{folder_name}/{file} is in no case of its manifest");
    }
}

/// Asserts that the folder contains only the `known` folders.
pub fn assert_all_folders_known(folder_name: &str, known: &[&str]) {
    for system in fs::read_dir(sample_folder(folder_name)).unwrap() {
        let system = system.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&&*system), "{folder_name}/{system} is read by no test");
    }
}

/// One of the bodies with a few bytes changed, and often truncated.
pub fn corrupted_body(bodies: &'static [Vec<u8>]) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    (any::<Index>(), edits, prop::option::of(any::<Index>())).prop_map(|(which, edits, end)| {
        let mut body = which.get(bodies).clone();
        for (index, byte) in edits {
            let at = index.index(body.len());
            body[at] = byte;
        }
        if let Some(end) = end {
            body.truncate(end.index(body.len()));
        }
        body
    })
}

/// A JSON body with its `nth` value, counted in document order, replaced. None if the body is not
/// JSON.
///
/// `replacement` is inserted as text, because a sender can send JSON that a [`Value`] does not
/// preserve.
pub fn replace_nth_value(body: &[u8], nth: usize, replacement: &str) -> Option<String> {
    let mut document: Value = serde_json::from_slice(body).ok()?;
    replace_value(&mut document, &mut { nth }, &Value::from("@@"));
    Some(document.to_string().replace("\"@@\"", replacement))
}

fn replace_value(value: &mut Value, remaining: &mut usize, replacement: &Value) {
    if *remaining == 0 {
        *value = replacement.clone();
    }
    *remaining = remaining.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| replace_value(value, remaining, replacement)),
        Value::Object(map) => map.values_mut().for_each(|value| replace_value(value, remaining, replacement)),
        _ => {}
    }
}
