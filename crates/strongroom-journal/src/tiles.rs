//! The files: full tiles of entries and hashes, the head (the entries after the last full tile), the checkpoint.
//!
//! The head is append-only and has the form of an entry bundle: each entry behind its length in two big-endian
//! bytes. When it holds 256 entries it becomes a full tile by rename, after the hash tiles that it completes are
//! durable. A crash between these steps repeats them with the same bytes.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::JournalError;
use crate::limits::{TILE_HEIGHT, TILE_WIDTH};
use crate::note::VerifyingKey;
use crate::tree::{Hash, Nodes, leaf_hash, range_root, root_of};

/// The journal's folder with what the right edge of the tree needs in memory.
pub(crate) struct Tiles {
    folder: PathBuf,
    head: File,
    head_bytes: u64,
    /// `edge[t]` holds the hashes of the last, partial tile of tile level `t`.
    edge: Vec<Vec<Hash>>,
    size: u64,
}

impl Tiles {
    /// Opens or creates the folder. An append that was cut off by a crash is dropped, once what the checkpoint covers has
    /// turned out to be there.
    pub(crate) fn open(folder: &Path, key: &VerifyingKey) -> Result<Self, JournalError> {
        fs::create_dir_all(folder.join("tile/entries"))?;
        let full = count_full(folder);
        let head_path = folder.join("head");
        let bytes = read_or_empty(&head_path)?;
        let (entries, whole) = split_bundle(&bytes);
        if entries.len() > TILE_WIDTH {
            return Err(JournalError::Damaged {
                what: "the head holds more than a tile",
            });
        }
        let mut tiles = Self {
            folder: folder.to_owned(),
            head: OpenOptions::new().create(true).append(true).open(&head_path)?,
            head_bytes: whole as u64,
            edge: load_edge(folder, full)?,
            size: full * TILE_WIDTH as u64,
        };
        for entry in entries {
            tiles.push_leaf(leaf_hash(entry));
        }
        tiles.check_signed(key)?;
        tiles.head.set_len(whole as u64)?;
        tiles.head.sync_all()?;
        sync_folder(folder)?;
        tiles.roll_if_full()?;
        Ok(tiles)
    }

    /// Compares what is there with the folder's checkpoint, if there is one: there is none before the first is signed.
    fn check_signed(&self, key: &VerifyingKey) -> Result<(), JournalError> {
        let note = match fs::read_to_string(self.folder.join("checkpoint")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let signed = key.verify(&note)?;
        if signed.size > self.size {
            return Err(JournalError::Shortened {
                size: self.size,
                signed: signed.size,
            });
        }
        if range_root(&FileNodes { tiles: self }, 0, signed.size)? == signed.root {
            Ok(())
        } else {
            Err(JournalError::Altered { signed: signed.size })
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Entries that fit into the head before it becomes a tile.
    pub(crate) fn room(&self) -> usize {
        TILE_WIDTH - self.edge.first().map_or(0, Vec::len)
    }

    /// Appends the entries (at most [`room`](Self::room)) and makes them durable. After an error the head is as it was.
    pub(crate) fn append<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        for entry in entries.clone() {
            let length =
                u16::try_from(entry.len()).map_err(|_| JournalError::EntrySize { bytes: entry.len() })?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(entry);
        }
        if let Err(error) = self.head.write_all(&bytes).and_then(|()| self.head.sync_data()) {
            // A torn tail would hide later entries; if even this fails the caller closes the journal.
            self.head.set_len(self.head_bytes)?;
            return Err(error.into());
        }
        self.head_bytes += bytes.len() as u64;
        entries.for_each(|entry| self.push_leaf(leaf_hash(entry)));
        self.roll_if_full()
    }

    /// Writes the partial tiles and then the checkpoint, so that a reader of the folder alone can follow.
    pub(crate) fn publish(&self, checkpoint: &str) -> Result<(), JournalError> {
        for (level, hashes) in self
            .edge
            .iter()
            .enumerate()
            .filter(|(_, hashes)| !hashes.is_empty())
        {
            let path = partial(
                hash_tile(&self.folder, level, self.tile_index(level)),
                hashes.len(),
            );
            write_durably(&path, &hashes.concat())?;
        }
        if let Some(width) = self.edge.first().map(Vec::len).filter(|width| *width > 0) {
            let bytes = read_or_empty(&self.folder.join("head"))?;
            write_durably(
                &partial(entry_tile(&self.folder, self.tile_index(0)), width),
                &bytes,
            )?;
        }
        write_durably(&self.folder.join("checkpoint"), checkpoint.as_bytes())
    }

    /// The last, partial tile of a level, with its index. While the head is full and not a tile yet, what it will add to the
    /// levels above counts there.
    fn last_tile(&self, level: usize) -> (u64, Cow<'_, [Hash]>) {
        let pending = if self.room() == 0 { TILE_WIDTH as u64 } else { 0 };
        let index = ((self.size - pending) >> (TILE_HEIGHT as usize * level)) / TILE_WIDTH as u64;
        let hashes = self.edge.get(level).map(Vec::as_slice).unwrap_or_default();
        match level.checked_sub(1).map(|below| self.last_tile(below).1) {
            Some(below) if below.len() == TILE_WIDTH => (index, [hashes, &[root_of(&below)]].concat().into()),
            _ => (index, hashes.into()),
        }
    }

    fn tile_index(&self, level: usize) -> u64 {
        (self.size >> (TILE_HEIGHT as usize * level)) / TILE_WIDTH as u64
    }

    fn push_leaf(&mut self, hash: Hash) {
        match self.edge.first_mut() {
            Some(leaves) => leaves.push(hash),
            None => self.edge.push(vec![hash]),
        }
        self.size += 1;
    }

    fn roll_if_full(&mut self) -> Result<(), JournalError> {
        if self.room() > 0 {
            return Ok(());
        }
        let index = self.size / TILE_WIDTH as u64 - 1;
        self.write_full_hash_tiles(index)?;
        let target = entry_tile(&self.folder, index);
        create_parent(&target)?;
        fs::rename(self.folder.join("head"), &target)?;
        sync_parent(&target)?;
        let _ = fs::remove_dir_all(partial_folder(&target));
        self.head = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("head"))?;
        self.head_bytes = 0;
        sync_folder(&self.folder)?;
        Ok(())
    }

    fn write_full_hash_tiles(&mut self, mut index: u64) -> Result<(), JournalError> {
        for level in 0.. {
            let Some(hashes) = self
                .edge
                .get_mut(level)
                .filter(|hashes| hashes.len() == TILE_WIDTH)
            else {
                return Ok(());
            };
            let full = std::mem::take(hashes);
            let path = hash_tile(&self.folder, level, index);
            write_durably(&path, &full.concat())?;
            // The full tile replaces the partial forms; a reader falls back to it.
            let _ = fs::remove_dir_all(partial_folder(&path));
            match self.edge.get_mut(level + 1) {
                Some(above) => above.push(root_of(&full)),
                None => self.edge.push(vec![root_of(&full)]),
            }
            index /= TILE_WIDTH as u64;
        }
        Ok(())
    }
}

/// Reads entries `start .. end` of the journal in `folder`, of which `size` are durable.
pub(crate) fn read_entries(
    folder: &Path,
    size: u64,
    start: u64,
    end: u64,
) -> Result<Vec<Vec<u8>>, JournalError> {
    let width = TILE_WIDTH as u64;
    let mut found = Vec::new();
    for tile in start / width..end.div_ceil(width) {
        // The head may have become a tile since `size` was read; the tile is looked for first.
        let path = entry_tile(folder, tile);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => read_head(folder, &path, size, tile)?,
            Err(error) => return Err(error.into()),
        };
        let (entries, _) = split_bundle(&bytes);
        // The hashes are what was compared with the checkpoint at the start; the entries are compared with them here.
        if tile < size / width {
            check_bundle(&entries, &hash_tile(folder, 0, tile))?;
        }
        let first = tile * width;
        for (index, entry) in (first..).zip(entries) {
            if (start..end).contains(&index) {
                found.push(entry.to_vec());
            }
        }
    }
    if found.len() as u64 != end - start {
        return Err(JournalError::Damaged {
            what: "entries are missing from a tile",
        });
    }
    Ok(found)
}

/// Whether these are the entries that a full hash tile was made of.
fn check_bundle(entries: &[&[u8]], hashes: &Path) -> Result<(), JournalError> {
    let found: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    if found == read_hash_tile(hashes)? {
        Ok(())
    } else {
        Err(JournalError::Damaged {
            what: "the entries of a tile are not those that its hashes were made of",
        })
    }
}

/// The hashes of full subtrees as the files and the edge in memory give them.
pub(crate) struct FileNodes<'a> {
    pub(crate) tiles: &'a Tiles,
}

impl Nodes for FileNodes<'_> {
    fn node(&self, level: u32, index: u64) -> Result<Hash, JournalError> {
        let tile_level = (level / TILE_HEIGHT) as usize;
        let span = 1_usize << (level % TILE_HEIGHT);
        let first = index * span as u64;
        let tile = first / TILE_WIDTH as u64;
        let offset = usize::try_from(first % TILE_WIDTH as u64).unwrap_or(TILE_WIDTH);
        let damaged = JournalError::Damaged {
            what: "a hash tile is too short",
        };
        let (last, hashes) = self.tiles.last_tile(tile_level);
        if tile == last {
            return hashes.get(offset..offset + span).map(root_of).ok_or(damaged);
        }
        let hashes = read_hash_tile(&hash_tile(&self.tiles.folder, tile_level, tile))?;
        hashes.get(offset..offset + span).map(root_of).ok_or(damaged)
    }
}

/// Makes a rename or creation in the parent folder of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn read_head(folder: &Path, tile_path: &Path, size: u64, tile: u64) -> Result<Vec<u8>, JournalError> {
    if tile != size / TILE_WIDTH as u64 {
        return Err(JournalError::Damaged {
            what: "an entry tile is missing",
        });
    }
    let bytes = read_or_empty(&folder.join("head"))?;
    // Renamed between the two looks: the tile is there now, and holds at least what the head held.
    match fs::read(tile_path) {
        Ok(full) => Ok(full),
        Err(_) => Ok(bytes),
    }
}

/// Entries of a bundle, and the number of bytes that whole entries take.
fn split_bundle(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        // No entry is empty: zeros are what a file system leaves of an append that was cut off.
        let Some(entry) = after.get(..length).filter(|entry| !entry.is_empty()) else {
            break;
        };
        entries.push(entry);
        rest = after.get(length..).unwrap_or_default();
    }
    (entries, bytes.len() - rest.len())
}

fn load_edge(folder: &Path, full: u64) -> Result<Vec<Vec<Hash>>, JournalError> {
    let mut edge = vec![Vec::new()];
    let mut tiles = full;
    for level in 0_usize.. {
        if tiles == 0 {
            break;
        }
        let first = tiles - tiles % TILE_WIDTH as u64;
        let hashes =
            (first..tiles).map(|tile| read_hash_tile(&hash_tile(folder, level, tile)).map(|h| root_of(&h)));
        edge.push(hashes.collect::<Result<_, _>>()?);
        tiles /= TILE_WIDTH as u64;
    }
    Ok(edge)
}

fn read_hash_tile(path: &Path) -> Result<Vec<Hash>, JournalError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(JournalError::Damaged {
                what: "a hash tile is missing",
            });
        }
        other => other?,
    };
    let (hashes, rest) = bytes.as_chunks::<32>();
    if hashes.len() != TILE_WIDTH || !rest.is_empty() {
        return Err(JournalError::Damaged {
            what: "a full hash tile does not have 256 hashes",
        });
    }
    Ok(hashes.to_vec())
}

/// Number of full entry tiles: they are contiguous, so doubling and then halving finds the end.
fn count_full(folder: &Path) -> u64 {
    let exists = |index: u64| entry_tile(folder, index).is_file();
    if !exists(0) {
        return 0;
    }
    let (mut present, mut absent) = (0, 1);
    while exists(absent) {
        (present, absent) = (absent, absent * 2);
    }
    while absent - present > 1 {
        let middle = present + (absent - present) / 2;
        if exists(middle) {
            present = middle;
        } else {
            absent = middle;
        }
    }
    absent
}

fn entry_tile(folder: &Path, index: u64) -> PathBuf {
    folder.join("tile/entries").join(tile_name(index))
}

fn hash_tile(folder: &Path, level: usize, index: u64) -> PathBuf {
    folder.join("tile").join(level.to_string()).join(tile_name(index))
}

/// The index in groups of three digits, all but the last behind an `x`: 1234067 is `x001/x234/067`.
fn tile_name(index: u64) -> String {
    let mut name = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1000);
        rest /= 1000;
    }
    name
}

fn partial_folder(tile: &Path) -> PathBuf {
    let mut name = tile.as_os_str().to_owned();
    name.push(".p");
    name.into()
}

fn partial(tile: PathBuf, width: usize) -> PathBuf {
    partial_folder(&tile).join(width.to_string())
}

fn read_or_empty(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

fn create_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) else {
        return Ok(());
    };
    fs::create_dir_all(parent)?;
    sync_parent(parent)
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    create_parent(path)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)?;
    Ok(())
}
