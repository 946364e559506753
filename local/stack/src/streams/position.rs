//! The position of each mapping in its stream, kept over restarts.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::Context as _;

/// Mapping id → sequence number of the last record that is done; also in a file if the stack has
/// one.
#[derive(Debug)]
pub(crate) struct StreamPositions {
    file: Option<PathBuf>,
    by_mapping: Mutex<BTreeMap<String, String>>,
}

impl StreamPositions {
    pub(crate) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let held = match file.filter(|path| path.exists()) {
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
                serde_json::from_str(&text)
                    .with_context(|| format!("{} is damaged; start with --fresh", path.display()))?
            }
            None => BTreeMap::new(),
        };
        Ok(Self { file: file.map(Path::to_owned), by_mapping: Mutex::new(held) })
    }

    pub(super) fn get(&self, mapping: &str) -> Option<String> {
        tellonce_fakes::lock_mutex(&self.by_mapping).get(mapping).cloned()
    }

    pub(super) fn set(&self, mapping: &str, sequence_number: &str) -> anyhow::Result<()> {
        let mut held = tellonce_fakes::lock_mutex(&self.by_mapping);
        held.insert(mapping.to_owned(), sequence_number.to_owned());
        match &self.file {
            Some(path) => tellonce_fakes::replace_file(path, &serde_json::to_vec(&*held)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("streams.json");
        StreamPositions::open(Some(&path)).unwrap().set("F/E", "100000000000000000005").unwrap();
        let reopened = StreamPositions::open(Some(&path)).unwrap();
        assert_eq!(reopened.get("F/E").as_deref(), Some("100000000000000000005"));
        assert_eq!(reopened.get("F/Other"), None);
    }
}
