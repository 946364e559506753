//! A file with one JSON object per line, only ever appended: what must survive a restart.
//!
//! An entry is in the file before the caller goes on, so it survives `kill -9`. The operating
//! system holds it, so a power cut may lose it. A full disk, or a kill during a write, may cut a
//! line short. The rest of such a line is removed before the next one is written, so that no later
//! line is lost with it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Serialize, de::DeserializeOwned};

/// Where the lines are: a file, or the small disk of a test.
trait LineStorage: Write {
    fn cut_to(&mut self, length: u64) -> io::Result<()>;
}

impl LineStorage for File {
    fn cut_to(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Whole lines in a storage.
#[derive(Debug)]
struct WholeLines<S> {
    storage: S,
    /// Bytes of the whole lines.
    length: u64,
    /// Whether a line after them may be cut short.
    is_torn: bool,
}

impl<S: LineStorage> WholeLines<S> {
    /// Writes all lines or none.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.storage.cut_to(self.length)?;
        }
        self.is_torn = true;
        if let Err(error) = self.storage.write_all(lines) {
            // If this fails too, the next append tries it again.
            self.is_torn = self.storage.cut_to(self.length).is_err();
            return Err(error);
        }
        self.length += lines.len() as u64;
        self.is_torn = false;
        Ok(())
    }
}

/// The file.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    lines: WholeLines<File>,
}

impl JsonLines {
    /// Opens or creates the file and reads its entries, oldest first. A last line without its end
    /// is dropped with a warning: its write failed, so no caller relied on it.
    pub fn open<T: DeserializeOwned>(path: &Path) -> anyhow::Result<(Self, Vec<T>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .with_context(|| format!("could not open {}", path.display()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(|| format!("could not read {}", path.display()))?;
        let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if length < bytes.len() {
            tracing::warn!("dropped the last line of {}, which was cut short", path.display());
            file.set_len(length as u64).with_context(|| format!("could not repair {}", path.display()))?;
        }
        let entries = parse_entries(&bytes[..length], path)?;
        Ok((
            Self { path: path.to_owned(), lines: WholeLines { storage: file, length: length as u64, is_torn: false } },
            entries,
        ))
    }

    /// Appends all entries or none.
    pub fn append<T: Serialize>(&mut self, entries: &[T]) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        self.lines.append(&lines).with_context(|| format!("could not write {}", self.path.display()))
    }

    /// Removes all entries.
    pub fn clear(&mut self) -> anyhow::Result<()> {
        self.lines.storage.set_len(0).with_context(|| format!("could not empty {}", self.path.display()))?;
        (self.lines.length, self.lines.is_torn) = (0, false);
        Ok(())
    }
}

fn parse_entries<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> anyhow::Result<Vec<T>> {
    let mut entries = Vec::new();
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(error) => bail!(
                "{} line {} is unreadable ({error}); delete that line, or start with --fresh, which removes all state",
                path.display(),
                number + 1
            ),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    struct SmallDisk {
        bytes: Vec<u8>,
        room: usize,
        cuts: bool,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room - self.bytes.len());
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.bytes.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl LineStorage for SmallDisk {
        fn cut_to(&mut self, length: u64) -> io::Result<()> {
            if !self.cuts {
                return Err(io::ErrorKind::Other.into());
            }
            self.bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    #[test]
    fn a_line_that_a_full_disk_cut_short_damages_no_other_line() {
        for can_cut in [true, false] {
            let disk = SmallDisk { bytes: Vec::new(), room: 7, cuts: can_cut };
            let mut lines = WholeLines { storage: disk, length: 0, is_torn: false };
            lines.append(b"one\n").unwrap();
            assert_eq!(lines.append(b"three\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
            // An operator makes room.
            (lines.storage.room, lines.storage.cuts) = (100, true);
            lines.append(b"two\n").unwrap();
            lines.append(b"four\n").unwrap();
            assert_eq!(lines.storage.bytes, b"one\ntwo\nfour\n");
        }
    }

    fn read_numbers(path: &Path) -> Vec<u32> {
        JsonLines::open(path).unwrap().1
    }

    #[test]
    fn entries_survive_reopening_and_a_torn_last_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines.jsonl");
        let (mut file, entries) = JsonLines::open::<u32>(&path).unwrap();
        assert!(entries.is_empty());
        file.append(&[1, 2]).unwrap();
        // The second one is cut within a character.
        for torn in ["3", "\"שלום"] {
            let mut other = OpenOptions::new().append(true).open(&path).unwrap();
            other.write_all(&torn.as_bytes()[..torn.len() - usize::from(torn.len() > 1)]).unwrap();
            assert_eq!(read_numbers(&path), [1, 2], "{torn}");
        }
        JsonLines::open::<u32>(&path).unwrap().0.append(&[4]).unwrap();
        assert_eq!(read_numbers(&path), [1, 2, 4]);
        file.clear().unwrap();
        assert!(read_numbers(&path).is_empty());
    }

    #[test]
    fn an_unreadable_line_among_others_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines.jsonl");
        std::fs::write(&path, "1\n{\n3\n").unwrap();
        let error = JsonLines::open::<u32>(&path).unwrap_err().to_string();
        assert!(error.contains("lines.jsonl line 2 is unreadable"), "{error}");
    }
}
