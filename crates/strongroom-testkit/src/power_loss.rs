//! A disk that loses every write that was not synchronised.
//!
//! A child process is started with a small library in front of `fsync` and `fdatasync` (`power_loss.c`). Each
//! time one succeeds it keeps, in a mirror folder, the file's content or the folder's entries as they are then.
//! After the child was killed, [`PowerLoss::rebuild`] makes of the data folder exactly that: a file that was
//! never synchronised is empty, an entry whose folder was not synchronised is gone, a deletion that was not
//! synchronised is undone.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use crate::error::TestkitError;

/// The mirror of one disk.
pub struct PowerLoss {
    library: PathBuf,
    mirror: PathBuf,
}

/// An entry of a folder, as the mirror has it.
struct Entry {
    kept: String,
    is_folder: bool,
    name: String,
}

impl PowerLoss {
    /// Compiles the library with the C compiler and makes an empty mirror, both in `place`, which must not be
    /// the folder that is to be rebuilt.
    pub fn prepare(place: &Path) -> Result<Self, TestkitError> {
        let (source, library) = (place.join("power_loss.c"), place.join("power_loss.so"));
        fs::write(&source, include_str!("power_loss.c"))?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let flags = ["-shared", "-fPIC", "-O1", "-Wall", "-o"];
        let mut command = Command::new(compiler);
        command
            .args(flags)
            .arg(&library)
            .arg(&source)
            .args(["-ldl", "-lpthread"]);
        if !command.status()?.success() {
            return Err(TestkitError::Compiler);
        }
        let mirror = place.join("mirror");
        fs::create_dir_all(&mirror)?;
        Ok(Self { library, mirror })
    }

    /// The variables that a child needs to run over this disk.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("STRONGROOM_POWER_LOSS", self.mirror.clone()),
        ]
    }

    /// Makes of `folder` what of it would have survived, and takes that as the disk's content from now on. Every
    /// process that wrote to it must have ended. The folder itself stays, whatever became of its parent.
    pub fn rebuild(&self, folder: &Path) -> Result<(), TestkitError> {
        let survivor = folder.with_extension("survivor");
        self.rebuild_folder(&identity(&fs::metadata(folder)?)?, &survivor)?;
        fs::remove_dir_all(folder)?;
        fs::rename(&survivor, folder)?;
        // Everything has a new identity now, so what was kept names nothing any more.
        fs::remove_dir_all(&self.mirror)?;
        fs::create_dir_all(&self.mirror)?;
        self.settle(folder)
    }

    /// Takes everything under `folder` as synchronised.
    fn settle(&self, folder: &Path) -> Result<(), TestkitError> {
        let mut lines = String::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let (kept, name) = (identity(&metadata)?, entry.file_name());
            let kind = if metadata.is_dir() { 'd' } else { 'f' };
            lines.push_str(&format!("{kept} {kind} {}\n", name.to_string_lossy()));
            if metadata.is_dir() {
                self.settle(&entry.path())?;
            } else {
                fs::copy(entry.path(), self.kept("file", &kept))?;
            }
        }
        Ok(fs::write(
            self.kept("folder", &identity(&fs::metadata(folder)?)?),
            lines,
        )?)
    }

    fn rebuild_folder(&self, kept: &str, target: &Path) -> Result<(), TestkitError> {
        fs::create_dir_all(target)?;
        for entry in self.entries(kept)? {
            let target = target.join(&entry.name);
            if entry.is_folder {
                self.rebuild_folder(&entry.kept, &target)?;
                continue;
            }
            match fs::copy(self.kept("file", &entry.kept), &target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::write(&target, [])?,
                other => drop(other?),
            }
        }
        Ok(())
    }

    fn entries(&self, kept: &str) -> Result<Vec<Entry>, TestkitError> {
        let listing = match fs::read_to_string(self.kept("folder", kept)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let entries = listing.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ' ').map(str::to_owned);
            let (kept, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Entry {
                kept,
                is_folder: kind == "d",
                name,
            })
        });
        Ok(entries.collect())
    }

    fn kept(&self, kind: &str, name: &str) -> PathBuf {
        self.mirror.join(format!("{kind}-{name}"))
    }
}

/// As in `power_loss.c`: inodes are used again, so the time of birth belongs to it.
fn identity(metadata: &Metadata) -> Result<String, TestkitError> {
    let born = metadata
        .created()?
        .duration_since(UNIX_EPOCH)
        .map_err(io::Error::other)?;
    Ok(format!(
        "{}-{}-{}",
        metadata.ino(),
        born.as_secs(),
        born.subsec_nanos()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(loss: &PowerLoss, folder: &Path, script: &str) {
        let mut shell = Command::new("sh");
        let shell = shell
            .args(["-ec", script])
            .current_dir(folder)
            .envs(loss.variables());
        assert!(shell.status().unwrap().success());
    }

    /// What is in the folder, sorted: names of folders, names and contents of files.
    fn content(folder: &Path) -> Vec<(String, Option<String>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                found.extend(
                    content(&path)
                        .into_iter()
                        .map(|(below, text)| (format!("{name}/{below}"), text)),
                );
                found.push((name, None));
            } else {
                found.push((name, Some(fs::read_to_string(&path).unwrap())));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn only_what_was_synchronised_survives() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        fs::create_dir(&folder).unwrap();
        let loss = PowerLoss::prepare(place.path()).unwrap();
        let script = "
            printf old > changed; printf kept > deleted; printf kept > renamed
            mkdir deep shallow; printf kept > deep/file; printf lost > shallow/file
            printf lost > content-not-synchronised
            sync changed deleted renamed deep/file deep .
            printf new > changed
            rm deleted; printf 'has the inode of the deleted' > entry-not-synchronised; sync entry-not-synchronised
            mv renamed to";
        run(&loss, &folder, script);
        loss.rebuild(&folder).unwrap();
        let file = |name: &str, text: &str| (name.to_owned(), Some(text.to_owned()));
        let survived = vec![
            file("changed", "old"),
            file("content-not-synchronised", ""),
            ("deep".to_owned(), None),
            file("deep/file", "kept"),
            file("deleted", "kept"),
            file("renamed", "kept"),
            ("shallow".to_owned(), None),
        ];
        assert_eq!(content(&folder), survived);
        run(
            &loss,
            &folder,
            "rm -r deep changed; printf lost > another; printf lost > deleted",
        );
        loss.rebuild(&folder).unwrap();
        assert_eq!(content(&folder), survived);
    }
}
