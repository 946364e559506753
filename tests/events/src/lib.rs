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
pub struct Case {
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

impl Case {
    /// A fact that is a text.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts[name].as_str()
    }

    /// Its name among all cases.
    pub fn title(&self) -> String {
        format!("{}/{}", self.system, self.name)
    }
}

/// A folder of samples: `stores/shopify`.
pub fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(of)
}

/// The body of a case as JSON, to be changed.
pub fn json(of: &str, case: &str) -> Value {
    serde_json::from_slice(&fs::read(folder(of).join(format!("{case}.json"))).unwrap()).unwrap()
}

fn manifest(of: &str) -> Vec<Value> {
    match json(of, "manifest")["cases"].take() {
        Value::Array(cases) => cases,
        _ => panic!("the manifest of {of} lists no cases"),
    }
}

/// The deliveries of a folder. What is no delivery, such as the `GET` of a handshake, is left out.
pub fn cases(of: &str) -> Vec<Case> {
    let folder = folder(of);
    let mut cases = Vec::new();
    for case in manifest(of) {
        let Some(headers) = case["headers_file"].as_str() else { continue };
        let name = case["case"].as_str().unwrap().to_owned();
        let headers = fs::read_to_string(folder.join(headers)).unwrap();
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        // Without a body of its own, it is other headers for that of the case which its name begins with.
        let of = name.split('.').next().unwrap();
        let of = ["json", "form", "multipart"].map(|end| format!("{of}.{end}"));
        let named = case["body_file"].as_str().map(|file| folder.join(file));
        let body = named.or_else(|| of.map(|file| folder.join(file)).into_iter().find(|file| file.exists()));
        cases.push(Case {
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
pub fn assert_all_listed(of: &str, besides: &[&str]) {
    let cases = manifest(of);
    let listed = cases.iter().flat_map(|case| [case["body_file"].as_str(), case["headers_file"].as_str()]);
    let known: BTreeSet<&str> = listed.flatten().chain(besides.iter().copied()).chain(["manifest.json"]).collect();
    for file in fs::read_dir(folder(of)).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&*file), "{of}/{file} is in no case of its manifest");
    }
}

/// No folder in `of` but these.
pub fn assert_all_known(of: &str, known: &[&str]) {
    for system in fs::read_dir(folder(of)).unwrap() {
        let system = system.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&&*system), "{of}/{system} is read by no test");
    }
}

/// One of the bodies with a few bytes changed, and often cut off.
pub fn torn(bodies: &'static [Vec<u8>]) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    (any::<Index>(), edits, prop::option::of(any::<Index>())).prop_map(|(which, edits, end)| {
        let mut body = which.get(bodies).clone();
        for (at, byte) in edits {
            let at = at.index(body.len());
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
pub fn with_value(body: &[u8], at: usize, with: &str) -> Option<String> {
    let mut document: Value = serde_json::from_slice(body).ok()?;
    replace(&mut document, &mut { at }, &Value::from("@@"));
    Some(document.to_string().replace("\"@@\"", with))
}

fn replace(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, at, with)),
        Value::Object(map) => map.values_mut().for_each(|value| replace(value, at, with)),
        _ => {}
    }
}
