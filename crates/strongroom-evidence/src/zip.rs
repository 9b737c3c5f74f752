//! A package as a zip, in the one form that the format allows: stored files in the order of their names, one after another from the first
//! byte, each with the same fixed attributes, then the directory, then its end. Every byte outside the files follows from names, sizes
//! and checksums; it is made again here and compared, so that nothing can hide between them.

use std::io::{self, Read, Seek, SeekFrom};

use crate::crc::Crc32;
use crate::defect::Defect;
use crate::limits::{DIRECTORY_BYTES, FILES};
use crate::package::{Listed, pump};

/// The folder that everything in the zip lies in.
const PREFIX: &str = "evidence/";

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const LOCAL_BYTES: u64 = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: u64 = 22;

/// Version 1.0, no flags, stored, 1 January 1980 00:00.
const COMMON: [u8; 10] = [10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];

/// Made on Unix, as of version 3.0.
const MADE_BY: [u8; 2] = [30, 3];

/// A plain file that its owner may write and everybody read (mode 100644).
const ATTRIBUTES: u32 = 0o100_644 << 16;

/// An open zip.
pub(crate) struct Zip<R> {
    reader: R,
    files: Vec<Listed>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    crc: u32,
    data: u64,
}

/// Reads the directory and compares everything outside the files. With a defect there is no file to look at.
pub(crate) fn open<R: Read + Seek>(reader: R) -> io::Result<(Zip<R>, Vec<Defect>)> {
    let mut zip = Zip {
        reader,
        files: Vec::new(),
        entries: Vec::new(),
    };
    let defects = match zip.walk()? {
        Ok(()) => Vec::new(),
        Err((at, what)) => {
            zip.files.clear();
            vec![Defect::Zip { at, what }]
        }
    };
    Ok((zip, defects))
}

type Walked = io::Result<Result<(), (u64, &'static str)>>;

impl<R: Read + Seek> Zip<R> {
    pub(crate) fn files(&self) -> &[Listed] {
        &self.files
    }

    /// Hands a file's bytes to `take`; says whether they are all there with the checksum of the directory.
    pub(crate) fn read(&mut self, path: &str, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let found = self
            .files
            .binary_search_by(|listed| listed.path.as_str().cmp(path))
            .ok();
        let Some((listed, entry)) = found.and_then(|at| Some((self.files.get(at)?, self.entries.get(at)?)))
        else {
            return Ok(false);
        };
        self.reader.seek(SeekFrom::Start(entry.data))?;
        let mut crc = Crc32::new();
        let mut bytes = self.reader.by_ref().take(listed.size);
        let read = pump(&mut bytes, |chunk| {
            crc.update(chunk);
            take(chunk);
        })?;
        Ok(read == listed.size && crc.finish() == entry.crc)
    }

    fn walk(&mut self) -> Walked {
        let length = self.reader.seek(SeekFrom::End(0))?;
        let Some(end_at) = length.checked_sub(END_BYTES) else {
            return Ok(Err((0, "it is shorter than any zip")));
        };
        let end = self.bytes_at(end_at, END_BYTES)?;
        let (count, size, at) = (number(&end, 10, 2), number(&end, 12, 4), number(&end, 16, 4));
        if end != end_record(count, size, at) {
            return Ok(Err((
                end_at,
                "it does not end as one does, or something follows its end",
            )));
        }
        if at.checked_add(size) != Some(end_at) || size > DIRECTORY_BYTES || count > FILES as u64 {
            return Ok(Err((
                end_at,
                "the directory does not lie between the files and the end",
            )));
        }
        let directory = self.bytes_at(at, size)?;
        let mut rest = directory.as_slice();
        let mut expected: u64 = 0;
        for _ in 0..count {
            let here = end_at.saturating_sub(rest.len() as u64);
            let Some((name, crc, size, after)) = split_central(rest, expected) else {
                return Ok(Err((
                    here,
                    "an entry of the directory is not written in the one way",
                )));
            };
            rest = after;
            if let Err(what) = self.take_entry(name, crc, size, &mut expected)? {
                return Ok(Err((here, what)));
            }
        }
        Ok(match (rest.is_empty(), expected == at) {
            (true, true) => Ok(()),
            (false, _) => Err((at, "the directory has more than its entries")),
            (_, false) => Err((expected, "something lies between the files and the directory")),
        })
    }

    /// Compares the file's own header and notes the entry; moves `expected` to where the next one must begin.
    fn take_entry(
        &mut self,
        name: &str,
        crc: u32,
        size: u64,
        expected: &mut u64,
    ) -> io::Result<Result<(), &'static str>> {
        let Some(path) = name.strip_prefix(PREFIX) else {
            return Ok(Err("a file lies outside the folder of the package"));
        };
        if self
            .files
            .last()
            .is_some_and(|before| before.path.as_str() >= path)
        {
            return Ok(Err("the files are not in order, or one is there twice"));
        }
        let header = local_header(name, crc, size);
        if self.bytes_at(*expected, header.len() as u64)? != header {
            return Ok(Err("a file's own header is not what the directory says"));
        }
        let data = expected
            .saturating_add(LOCAL_BYTES)
            .saturating_add(name.len() as u64);
        *expected = data.saturating_add(size);
        self.files.push(Listed {
            path: path.to_owned(),
            size,
        });
        self.entries.push(Entry { crc, data });
        Ok(Ok(()))
    }

    fn bytes_at(&mut self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        self.reader.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Name, checksum, size and what follows, if the entry is written as it must be for a file at `offset`.
fn split_central(bytes: &[u8], offset: u64) -> Option<(&str, u32, u64, &[u8])> {
    let (crc, size) = (u32::try_from(number(bytes, 16, 4)).ok()?, number(bytes, 24, 4));
    let length = usize::try_from(number(bytes, 28, 2)).ok()?;
    let end = CENTRAL_BYTES.checked_add(length)?;
    let name = std::str::from_utf8(bytes.get(CENTRAL_BYTES..end)?).ok()?;
    let (entry, rest) = bytes.split_at_checked(end)?;
    (entry == central_entry(name, crc, size, offset)).then_some((name, crc, size, rest))
}

fn local_header(name: &str, crc: u32, size: u64) -> Vec<u8> {
    [&LOCAL[..], &COMMON, &sizes(name, crc, size), name.as_bytes()].concat()
}

fn central_entry(name: &str, crc: u32, size: u64, offset: u64) -> Vec<u8> {
    let mut entry = [&CENTRAL[..], &MADE_BY, &COMMON, &sizes(name, crc, size)].concat();
    // No comment, first disk, no internal attributes.
    entry.extend_from_slice(&[0; 6]);
    entry.extend_from_slice(&ATTRIBUTES.to_le_bytes());
    entry.extend_from_slice(&low(offset));
    entry.extend_from_slice(name.as_bytes());
    entry
}

/// Checksum, both sizes (nothing is compressed), lengths of the name and of no extra field.
fn sizes(name: &str, crc: u32, size: u64) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    [
        &crc.to_le_bytes()[..],
        &low(size),
        &low(size),
        &length.to_le_bytes(),
        &[0, 0],
    ]
    .concat()
}

fn end_record(count: u64, size: u64, at: u64) -> Vec<u8> {
    let count = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    [&END[..], &[0; 4], &count, &count, &low(size), &low(at), &[0, 0]].concat()
}

/// A number in four bytes: one that does not fit there was not read from there.
fn low(number: u64) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// The little-endian number of `length` bytes at `at`; zero where there are not so many, which fails the comparison that follows.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes.get(at..at.saturating_add(length)).unwrap_or_default();
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
