//! One secret with its versions. A version has stages: `AWSCURRENT` counts, `AWSPREVIOUS` is the
//! one before it, and a caller may give others. A version without a stage is gone.
//!
//! Source: AWS Secrets Manager User Guide, "What's in a Secrets Manager secret?", "Version".

use std::collections::BTreeSet;

use serde_json::{Value, json};

pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";
const DAY_MS: i64 = 86_400_000;

#[derive(Debug, Clone)]
pub(super) struct SecretVersion {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) created_ms: i64,
    /// The day of the last read. AWS keeps no time of it.
    accessed_ms: Option<i64>,
    pub(super) stages: BTreeSet<String>,
}

impl SecretVersion {
    pub(super) fn new(id: String, text: String, created_ms: i64, stage: &str) -> Self {
        Self { id, text, created_ms, accessed_ms: None, stages: BTreeSet::from([stage.to_owned()]) }
    }

    fn describe(&self) -> Value {
        let mut entry =
            json!({"VersionId": self.id, "VersionStages": self.stages, "CreatedDate": seconds(self.created_ms)});
        if let Some(accessed) = self.accessed_ms {
            entry["LastAccessedDate"] = seconds(accessed).into();
        }
        entry
    }
}

#[derive(Debug, Clone)]
pub(super) struct StoredSecret {
    versions: Vec<SecretVersion>,
    created_ms: i64,
    pub(super) kms_key: Option<String>,
    pub(super) tags: Value,
}

/// Why a version or a stage cannot be changed: the kind of the error, and its message.
pub(super) type Refusal = (&'static str, String);

impl StoredSecret {
    pub(super) fn new(version: SecretVersion) -> Self {
        let created_ms = version.created_ms;
        Self { versions: vec![version], created_ms, kms_key: None, tags: json!([]) }
    }

    /// The same with a version before the current one. Its date is not known, and counts as a day
    /// before.
    pub(super) fn with_previous(mut self, id: String, text: String) -> Self {
        self.versions.push(SecretVersion::new(id, text, self.created_ms - DAY_MS, PREVIOUS));
        self
    }

    pub(super) fn find(&self, stage: &str) -> Option<&SecretVersion> {
        self.versions.iter().find(|version| version.stages.contains(stage))
    }

    pub(super) fn find_version(&self, id: &str) -> Option<&SecretVersion> {
        self.versions.iter().find(|version| version.id == id)
    }

    pub(super) fn current_text(&self) -> &str {
        self.find(CURRENT).map_or("", |version| &version.text)
    }

    /// Notes that a version was read on this day.
    pub(super) fn note_access(&mut self, id: &str, now_ms: i64) {
        let day = now_ms - now_ms.rem_euclid(DAY_MS);
        self.versions.iter_mut().filter(|version| version.id == id).for_each(|it| it.accessed_ms = Some(day));
    }

    /// Adds a version with these stages. The same version again changes nothing.
    pub(super) fn put(&mut self, id: &str, text: &str, stages: &[&str], now_ms: i64) -> Result<(), Refusal> {
        match self.find_version(id) {
            Some(known) if known.text == text => return Ok(()),
            Some(_) => return Err(("ResourceExistsException", format!("You can't change the version {id}."))),
            None => {}
        }
        let version =
            SecretVersion { stages: BTreeSet::new(), ..SecretVersion::new(id.to_owned(), text.to_owned(), now_ms, "") };
        self.versions.push(version);
        for stage in stages {
            self.attach(stage, id);
        }
        Ok(())
    }

    /// Moves a stage to a version, or takes it away. A stage that another version has moves only if
    /// the caller names that version.
    pub(super) fn move_stage(&mut self, stage: &str, from: Option<&str>, to: Option<&str>) -> Result<(), Refusal> {
        let invalid = |message: String| Err(("InvalidParameterException", message));
        let holder = self.find(stage).map(|version| version.id.clone());
        if let Some(holder) = holder.as_deref().filter(|holder| Some(*holder) != to && Some(*holder) != from) {
            return invalid(format!(
                "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to \
                 version {holder}, so you must explicitly reference that version in RemoveFromVersionId."
            ));
        }
        match to {
            Some(to) if self.find_version(to).is_none() => {
                Err(("ResourceNotFoundException", format!("Secrets Manager can't find the version {to}.")))
            }
            Some(to) => {
                self.attach(stage, to);
                Ok(())
            }
            None if stage == CURRENT => invalid("You can't remove the staging label AWSCURRENT.".to_owned()),
            None => {
                self.detach(stage);
                self.drop_unlabelled();
                Ok(())
            }
        }
    }

    /// Gives a version a stage. With `AWSCURRENT`, the version before gets `AWSPREVIOUS`.
    fn attach(&mut self, stage: &str, id: &str) {
        let before = self.find(stage).map(|version| version.id.clone()).filter(|before| before != id);
        self.detach(stage);
        self.versions.iter_mut().filter(|version| version.id == id).for_each(|it| {
            it.stages.insert(stage.to_owned());
        });
        if let Some(before) = before.filter(|_| stage == CURRENT) {
            self.attach(PREVIOUS, &before);
        }
        self.drop_unlabelled();
    }

    fn detach(&mut self, stage: &str) {
        self.versions.iter_mut().for_each(|version| {
            version.stages.remove(stage);
        });
    }

    fn drop_unlabelled(&mut self) {
        self.versions.retain(|version| !version.stages.is_empty());
    }

    /// The response to `DescribeSecret`, without name and ARN.
    pub(super) fn describe(&self) -> Value {
        let stages: serde_json::Map<String, Value> =
            self.versions.iter().map(|version| (version.id.clone(), json!(version.stages))).collect();
        let changed = self.versions.iter().map(|version| version.created_ms).max().unwrap_or(self.created_ms);
        let mut reply = json!({
            "CreatedDate": seconds(self.created_ms), "LastChangedDate": seconds(changed), "VersionIdsToStages": stages,
            "Tags": self.tags,
        });
        if let Some(accessed) = self.versions.iter().filter_map(|version| version.accessed_ms).max() {
            reply["LastAccessedDate"] = seconds(accessed).into();
        }
        if let Some(key) = &self.kms_key {
            reply["KmsKeyId"] = key.clone().into();
        }
        reply
    }

    /// The versions for `ListSecretVersionIds`.
    pub(super) fn list_versions(&self) -> Vec<Value> {
        self.versions.iter().map(SecretVersion::describe).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "AWS itself sends seconds as a double")]
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> StoredSecret {
        StoredSecret::new(SecretVersion::new("v1".to_owned(), "one".to_owned(), 0, CURRENT))
    }

    fn stage_of<'a>(secret: &'a StoredSecret, stage: &str) -> Option<&'a str> {
        secret.find(stage).map(|version| version.id.as_str())
    }

    #[test]
    fn a_new_version_becomes_current_and_the_one_before_previous() {
        let mut secret = secret();
        secret.put("v2", "two", &[CURRENT], 1).unwrap();
        secret.put("v2", "two", &[CURRENT], 2).unwrap();
        assert_eq!(secret.put("v2", "other", &[CURRENT], 2).unwrap_err().0, "ResourceExistsException");
        secret.put("v3", "three", &[CURRENT], 3).unwrap();
        assert_eq!((stage_of(&secret, CURRENT), stage_of(&secret, PREVIOUS)), (Some("v3"), Some("v2")));
        assert!(secret.find_version("v1").is_none(), "a version without a stage is gone");
    }

    #[test]
    fn a_stage_moves_only_from_the_version_that_the_caller_names() {
        let mut secret = secret();
        secret.put("v2", "two", &["own"], 1).unwrap();
        assert_eq!(stage_of(&secret, CURRENT), Some("v1"), "another stage makes no version current");
        for from in [None, Some("v0")] {
            assert_eq!(secret.move_stage(CURRENT, from, Some("v2")).unwrap_err().0, "InvalidParameterException");
        }
        secret.move_stage(CURRENT, Some("v1"), Some("v2")).unwrap();
        assert_eq!((stage_of(&secret, CURRENT), stage_of(&secret, PREVIOUS)), (Some("v2"), Some("v1")));
        secret.move_stage("own", Some("v2"), None).unwrap();
        assert_eq!((stage_of(&secret, "own"), stage_of(&secret, CURRENT)), (None, Some("v2")));
        assert_eq!(secret.move_stage(CURRENT, Some("v2"), None).unwrap_err().0, "InvalidParameterException");
        assert_eq!(secret.move_stage(CURRENT, Some("v2"), Some("v9")).unwrap_err().0, "ResourceNotFoundException");
    }

    #[test]
    fn a_read_is_dated_by_its_day() {
        let mut secret = secret();
        assert!(secret.describe().get("LastAccessedDate").is_none());
        secret.note_access("v1", 3 * DAY_MS + 5);
        assert_eq!(secret.describe()["LastAccessedDate"], 3.0 * 86_400.0);
        assert_eq!(secret.list_versions()[0]["LastAccessedDate"], 3.0 * 86_400.0);
    }
}
