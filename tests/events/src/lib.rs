//! The sample deliveries of `events/`, for the tests of whoever reads them; and samples torn apart.
//!
//! Only tests use this. `events/README.md` says what a folder of samples holds.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a sample that can't be read ends the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proptest::{prelude::*, sample::Index};
use serde_json::Value;

/// One delivery, and what is true of it.
#[derive(Debug, Clone)]
pub struct SampleDelivery {
    /// The folder's name.
    pub system: String,
    /// The case's name in its manifest.
    pub name: String,
    /// As they are sent.
    pub headers: Vec<(String, String)>,
    /// The raw bytes; none of a delivery without a body.
    pub body: Vec<u8>,
    /// How it proves itself, and by what secret.
    pub auth: Value,
    /// What a right reading yields.
    pub facts: Value,
}

impl SampleDelivery {
    /// A fact that is a text.
    pub fn text_fact(&self, name: &str) -> Option<&str> {
        self.facts[name].as_str()
    }

    /// Its name among all cases.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.system, self.name)
    }
}

/// A folder of samples: `stores/shopify`.
pub fn sample_folder(folder_name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(folder_name)
}

/// The body of a case as JSON, to be changed.
pub fn sample_json(folder_name: &str, file_stem: &str) -> Value {
    serde_json::from_slice(&fs::read(sample_folder(folder_name).join(format!("{file_stem}.json"))).unwrap()).unwrap()
}

fn manifest_cases(folder_name: &str) -> Vec<Value> {
    match sample_json(folder_name, "manifest")["cases"].take() {
        Value::Array(cases) => cases,
        _ => panic!("the manifest of {folder_name} lists no cases"),
    }
}

/// The deliveries of a folder. What is no delivery, such as the `GET` of a handshake, is left out.
pub fn sample_deliveries(folder_name: &str) -> Vec<SampleDelivery> {
    let folder = sample_folder(folder_name);
    let mut cases = Vec::new();
    for case in manifest_cases(folder_name) {
        let Some(headers) = case["headers_file"].as_str() else { continue };
        let name = case["case"].as_str().unwrap().to_owned();
        let headers = fs::read_to_string(folder.join(headers)).unwrap();
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        // Without a body of its own, it is other headers for that of the case which its name begins with.
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

/// No file in the folder is left out of its manifest, but those that are read `besides`.
pub fn assert_all_files_listed(folder_name: &str, unlisted: &[&str]) {
    let cases = manifest_cases(folder_name);
    let listed = cases.iter().flat_map(|case| [case["body_file"].as_str(), case["headers_file"].as_str()]);
    let known: BTreeSet<&str> = listed.flatten().chain(unlisted.iter().copied()).chain(["manifest.json"]).collect();
    for file in fs::read_dir(sample_folder(folder_name)).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&*file), "{folder_name}/{file} is in no case of its manifest");
    }
}

/// No folder in `of` but these.
pub fn assert_all_folders_known(folder_name: &str, known: &[&str]) {
    for system in fs::read_dir(sample_folder(folder_name)).unwrap() {
        let system = system.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&&*system), "{folder_name}/{system} is read by no test");
    }
}

/// One of the bodies with a few bytes changed, and often cut off.
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

/// A JSON body with `with` in the place of its `at`-th value, counted through all of it; none if it is no JSON. `with` is
/// written as it is: not all that can be sent survives in a [`Value`].
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
