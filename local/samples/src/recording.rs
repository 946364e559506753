//! The recorded deliveries of `events/`, with what a right reading yields.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "an unreadable sample ends the test")]

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{
    WebhookPost,
    sample_file::{read_sample_json, sample_path},
};

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

fn manifest_cases(folder_name: &str) -> Vec<Value> {
    match read_sample_json(&format!("{folder_name}/manifest.json"))["cases"].take() {
        Value::Array(cases) => cases,
        _ => panic!("the manifest of {folder_name} lists no cases"),
    }
}

/// The deliveries of a folder such as `stores/shopify`. Skips cases that are not deliveries, such
/// as the `GET` of a handshake.
pub fn sample_deliveries(folder_name: &str) -> Vec<SampleDelivery> {
    let system = folder_name.rsplit('/').next().unwrap_or(folder_name);
    let cases = manifest_cases(folder_name).into_iter().filter(|case| case["headers_file"].is_string());
    cases
        .map(|mut case| {
            let name = case["case"].as_str().unwrap().to_owned();
            let WebhookPost { headers, body, .. } = WebhookPost::from_sample(&format!("{folder_name}/{name}"), "");
            let (auth, facts) = (case["auth"].take(), case["facts"].take());
            SampleDelivery { system: system.to_owned(), name, headers, body, auth, facts }
        })
        .collect()
}

/// Asserts that the manifest lists every file of the folder, except `unlisted`.
pub fn assert_all_files_listed(folder_name: &str, unlisted: &[&str]) {
    let cases = manifest_cases(folder_name);
    let listed = cases.iter().flat_map(|case| [case["body_file"].as_str(), case["headers_file"].as_str()]);
    let known: BTreeSet<&str> = listed.flatten().chain(unlisted.iter().copied()).chain(["manifest.json"]).collect();
    for file in fs::read_dir(sample_path(folder_name)).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&*file), "{folder_name}/{file} is in no case of its manifest");
    }
}

/// Asserts that the folder contains only the `known` folders.
pub fn assert_all_folders_known(folder_name: &str, known: &[&str]) {
    for system in fs::read_dir(sample_path(folder_name)).unwrap() {
        let system = system.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&&*system), "{folder_name}/{system} is read by no test");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_file::{read_body, read_sample};

    #[test]
    fn every_manifest_names_its_folder_and_the_body_of_each_case() {
        let mut checked = 0;
        for kind in ["stores", "bookings", "leads"] {
            for folder in fs::read_dir(sample_path(kind)).unwrap() {
                let system = folder.unwrap().file_name().into_string().unwrap();
                let manifest = read_sample_json(&format!("{kind}/{system}/manifest.json"));
                assert_eq!(manifest["system"], *system);
                for case in manifest_cases(&format!("{kind}/{system}")) {
                    let Some(file) = case["body_file"].as_str() else { continue };
                    let body = read_sample(&format!("{kind}/{system}/{file}"));
                    if case["headers_file"].is_string() {
                        assert_eq!(body, read_body(&format!("{kind}/{system}/{}", case["case"].as_str().unwrap())));
                    }
                    let hash = ring::digest::digest(&ring::digest::SHA256, &body);
                    assert_eq!(case["body_sha256"], crate::sender_proof::encode_hex(hash.as_ref()), "{system}/{file}");
                    checked += 1;
                }
            }
        }
        assert!(checked >= 50, "{checked} bodies");
    }
}
