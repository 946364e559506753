//! Writes the posts at the gateway into files, as `tellonce preview --folder` reads them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use jiff::Timestamp;

/// Read by its owner only: a delivery has secrets in its headers and personal data in its body.
const FILE_MODE: u32 = 0o600;

/// A run records no more deliveries: a stranger who posts for hours fills no disk.
const MAX_DELIVERIES: u32 = 1_000;

/// A folder with a folder for each sender. Each delivery is `TIME.headers.txt` and its body.
#[derive(Debug)]
pub(crate) struct DeliveryRecording {
    folder: PathBuf,
    /// Tells deliveries of one millisecond apart.
    count: AtomicU32,
}

impl DeliveryRecording {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, count: AtomicU32::new(0) }
    }

    /// Writes a delivery. A failure is logged: the sender gets its response in any case.
    pub(crate) fn write(&self, sender: &str, headers: &HeaderMap, body: &Bytes, now_ms: i64) {
        if let Err(error) = self.try_write(sender, headers, body, now_ms) {
            tracing::warn!("could not record a delivery in {}: {error}", self.folder.display());
        }
    }

    fn try_write(&self, sender: &str, headers: &HeaderMap, body: &Bytes, now_ms: i64) -> io::Result<()> {
        // The name in the path is a stranger's, so it names no other folder.
        let sender: String = sender.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        let folder = self.folder.join(if sender.is_empty() { "unknown" } else { &sender });
        fs::create_dir_all(&folder)?;
        let at = Timestamp::from_millisecond(now_ms).unwrap_or_default().strftime("%Y%m%dT%H%M%S%.3fZ");
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if number > MAX_DELIVERIES {
            return Ok(());
        }
        let name = format!("{at}-{number}").replace('.', "_");
        let create = |name: String| {
            let mut options = File::options();
            options.write(true).create_new(true).mode(FILE_MODE).open(folder.join(name))
        };
        let mut headers_file = create(format!("{name}.headers.txt"))?;
        for (name, value) in headers {
            headers_file.write_all(name.as_str().as_bytes())?;
            headers_file.write_all(b": ")?;
            headers_file.write_all(value.as_bytes())?;
            headers_file.write_all(b"\n")?;
        }
        create(format!("{name}.{}", body_extension(headers)))?.write_all(body)
    }
}

/// The ending by which `tellonce preview` finds a body.
fn body_extension(headers: &HeaderMap) -> &'static str {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.starts_with("multipart/") {
        "multipart"
    } else if content_type.starts_with("application/x-www-form-urlencoded") {
        "form"
    } else {
        "json"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_is_a_pair_of_files_in_the_folder_of_its_sender() {
        let folder = tempfile::tempdir().unwrap();
        let recording = DeliveryRecording::new(folder.path().to_owned());
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap())]);
        for sender in ["shop", "shop", "../../etc"] {
            recording.write(sender, &headers, &Bytes::from_static(b"a=1"), 1_795_000_000_123);
        }
        let names = |sender: &str| {
            let entries = fs::read_dir(folder.path().join(sender)).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(
            names("shop"),
            [
                "20261118T110640_123Z-1.form",
                "20261118T110640_123Z-1.headers.txt",
                "20261118T110640_123Z-2.form",
                "20261118T110640_123Z-2.headers.txt"
            ]
        );
        assert_eq!(names("etc").len(), 2, "no folder above is written");
        let read = |name: &str| fs::read_to_string(folder.path().join("shop").join(name)).unwrap();
        assert_eq!(read("20261118T110640_123Z-1.form"), "a=1");
        let headers = read("20261118T110640_123Z-1.headers.txt");
        assert_eq!(headers, "content-type: application/x-www-form-urlencoded\n");
    }
}
