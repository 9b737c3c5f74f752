//! Canaries: random words that go in through every door, and a search for them, in every spelling that
//! software is likely to give them, over every byte that is kept.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

const READ: usize = 4 << 20;

/// A run's canaries: all begin with one random word, so one search finds any of them.
#[derive(Clone)]
pub struct Canaries {
    word: String,
}

/// A canary where none may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// The file (or folder, when its name sings).
    pub path: PathBuf,
    /// How it is spelled there.
    pub spelling: &'static str,
    /// At which byte; `None` for a name.
    pub offset: Option<u64>,
}

impl Canaries {
    /// A run with a random word of its own.
    pub fn random() -> Self {
        Self {
            word: format!("Canary{}", uuid::Uuid::new_v4().simple()),
        }
    }

    /// A canary for one place, such as a file's name: safe in URLs, JSON and headers.
    pub fn at(&self, place: &str) -> String {
        format!("{}-{place}", self.word)
    }

    /// Searches names and bytes of everything under `folders`. Missing folders are an error: a search that
    /// looks at nothing proves nothing.
    pub fn search(&self, folders: &[&Path]) -> io::Result<Vec<Sighting>> {
        let spellings = spellings(self.word.as_bytes());
        let mut sightings = Vec::new();
        for folder in folders {
            walk(folder, &mut |path, is_file| {
                let name = path.file_name().unwrap_or_default().as_bytes();
                for (spelling, finder) in &spellings {
                    if finder.find(name).is_some() {
                        sightings.push(Sighting {
                            path: path.to_owned(),
                            spelling,
                            offset: None,
                        });
                    }
                }
                if is_file {
                    search_file(path, &spellings, &mut sightings)
                } else {
                    Ok(())
                }
            })?;
        }
        Ok(sightings)
    }

    /// The same search over bytes in memory.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        spellings(self.word.as_bytes())
            .iter()
            .any(|(_, finder)| finder.find(bytes).is_some())
    }
}

/// Searches for exact bytes, such as an old wrapped key, under `folders`.
pub fn search_bytes(needle: &[u8], folders: &[&Path]) -> io::Result<Vec<Sighting>> {
    let spellings = vec![("raw", Finder::new(needle).into_owned())];
    let mut sightings = Vec::new();
    for folder in folders {
        walk(folder, &mut |path, is_file| {
            if is_file {
                search_file(path, &spellings, &mut sightings)
            } else {
                Ok(())
            }
        })?;
    }
    Ok(sightings)
}

fn walk(path: &Path, visit: &mut impl FnMut(&Path, bool) -> io::Result<()>) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    visit_if_there(visit, path, kind.is_file())?;
    if !kind.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        match walk(&entry?.path(), visit) {
            // A live system removes files while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn visit_if_there(
    visit: &mut impl FnMut(&Path, bool) -> io::Result<()>,
    path: &Path,
    is_file: bool,
) -> io::Result<()> {
    match visit(path, is_file) {
        Err(error) if is_file && error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn search_file(
    path: &Path,
    spellings: &[(&'static str, Finder<'static>)],
    sightings: &mut Vec<Sighting>,
) -> io::Result<()> {
    let longest = spellings
        .iter()
        .map(|(_, finder)| finder.needle().len())
        .max()
        .unwrap_or(1);
    let mut file = File::open(path)?;
    let mut window = Vec::with_capacity(READ + longest);
    let mut start = 0_u64;
    loop {
        let kept = window.len();
        (&mut file).take(READ as u64).read_to_end(&mut window)?;
        if window.len() == kept {
            return Ok(());
        }
        for (spelling, finder) in spellings {
            if let Some(at) = finder.find(&window) {
                let offset = Some(start + at as u64);
                sightings.push(Sighting {
                    path: path.to_owned(),
                    spelling,
                    offset,
                });
            }
        }
        // What straddles two reads is found in the next: the end of this one stays.
        let drop = window.len().saturating_sub(longest - 1);
        window.drain(..drop);
        start += drop as u64;
    }
}

/// Every spelling of `word`, each under its name.
fn spellings(word: &[u8]) -> Vec<(&'static str, Finder<'static>)> {
    let mut all = vec![
        ("raw", word.to_vec()),
        ("raw, upper case", word.to_ascii_uppercase()),
        ("raw, lower case", word.to_ascii_lowercase()),
        ("backwards", word.iter().rev().copied().collect()),
        ("hex", hex::encode(word).into_bytes()),
        ("hex, upper case", hex::encode_upper(word).into_bytes()),
        (
            "UTF-16, little end first",
            word.iter().flat_map(|byte| [*byte, 0]).collect(),
        ),
        (
            "UTF-16, big end first",
            word.iter().flat_map(|byte| [0, *byte]).collect(),
        ),
        (
            "URL",
            word.iter()
                .flat_map(|byte| format!("%{byte:02X}").into_bytes())
                .collect(),
        ),
        (
            "URL, lower case",
            word.iter()
                .flat_map(|byte| format!("%{byte:02x}").into_bytes())
                .collect(),
        ),
        (
            "JSON escapes",
            word.iter()
                .flat_map(|byte| format!("\\u{byte:04x}").into_bytes())
                .collect(),
        ),
    ];
    for (name, offset) in [
        ("base64", 0),
        ("base64, off by one", 1),
        ("base64, off by two", 2),
    ] {
        all.push((name, base64_inside(&STANDARD_NO_PAD, word, offset)));
    }
    for (name, offset) in [
        ("base64url", 0),
        ("base64url, off by one", 1),
        ("base64url, off by two", 2),
    ] {
        all.push((name, base64_inside(&URL_SAFE_NO_PAD, word, offset)));
    }
    all.into_iter()
        .map(|(name, needle)| (name, Finder::new(&needle).into_owned()))
        .collect()
}

/// The characters of `word`'s base64 that do not depend on what stands before or after it, when `offset`
/// bytes stand before it in its group of three.
fn base64_inside(engine: &impl base64::Engine, word: &[u8], offset: usize) -> Vec<u8> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(word);
    let text = engine.encode(&padded).into_bytes();
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    text.get(first..last).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn every_spelling_is_found_wherever_it_stands() {
        let canaries = Canaries::random();
        let song = canaries.at("place");
        for before in ["", "x", "xy", "xyz"] {
            let text = format!("{before}{song} and more");
            assert!(canaries.is_in(text.as_bytes()));
            assert!(canaries.is_in(STANDARD_NO_PAD.encode(&text).as_bytes()));
            assert!(canaries.is_in(URL_SAFE_NO_PAD.encode(&text).as_bytes()));
            assert!(canaries.is_in(hex::encode(&text).as_bytes()));
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert!(canaries.is_in(&wide));
        }
        assert!(!canaries.is_in(Canaries::random().at("place").as_bytes()));
    }

    #[test]
    fn names_and_bytes_are_searched_across_reads() {
        let place = tempfile::tempdir().unwrap();
        let canaries = Canaries::random();
        assert!(canaries.search(&[place.path()]).unwrap().is_empty());
        fs::write(place.path().join(canaries.at("name")), b"nothing").unwrap();
        let mut long = vec![0; READ - 5];
        long.extend_from_slice(canaries.at("inside").as_bytes());
        fs::write(place.path().join("long"), long).unwrap();
        let found = canaries.search(&[place.path()]).unwrap();
        assert!(found.iter().any(|sighting| sighting.offset.is_none()));
        assert!(
            found
                .iter()
                .any(|sighting| sighting.offset == Some(READ as u64 - 5))
        );
        assert!(canaries.search(&[&place.path().join("missing")]).is_err());
    }
}
