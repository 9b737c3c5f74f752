//! The package as a zip, in one form only: files stored as they are, in the order of their names, with fixed attributes. Nothing in it
//! depends on a compressor, a clock or a machine.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::error::PackageError;

/// The folder that everything in the zip lies in.
const PREFIX: &str = "evidence/";

/// Version 1.0, no flags, stored, 1 January 1980 00:00.
const COMMON: [u8; 10] = [10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];

/// Made on Unix, as of version 3.0.
const MADE_BY: [u8; 2] = [30, 3];

/// Mode 100644 and no internal attributes.
const ATTRIBUTES: [u8; 6] = [0, 0, 0, 0, 0xa4, 0x81];

/// Writes the files, which must be in order, from the folder into a new file.
pub(super) fn write(folder: &Path, paths: &[String], target: &Path) -> Result<(), PackageError> {
    let file = File::create_new(target).map_err(PackageError::io(target))?;
    let mut out = BufWriter::new(file);
    let (mut offset, mut directory, mut count) = (0_u32, Vec::new(), 0_u16);
    for path in paths {
        let source = folder.join(path);
        let (size, crc) = measure(&source)?;
        let name = format!("{PREFIX}{path}");
        let length = u16::try_from(name.len()).map_err(|_| PackageError::TooLargeForZip)?;
        let (size, here) = (size.to_le_bytes(), offset.to_le_bytes());
        let sizes = [
            &crc.to_le_bytes()[..],
            &size,
            &size,
            &length.to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        let header = [b"PK\x03\x04", &COMMON[..], &sizes, name.as_bytes()].concat();
        out.write_all(&header).map_err(PackageError::io(target))?;
        let copied = File::open(&source).and_then(|mut file| io::copy(&mut file, &mut out));
        let copied = copied.map_err(PackageError::io(&source))?;
        directory.extend(
            [
                b"PK\x01\x02",
                &MADE_BY[..],
                &COMMON,
                &sizes,
                &[0; 2],
                &[0; 2],
                &ATTRIBUTES,
                &here,
                name.as_bytes(),
            ]
            .concat(),
        );
        offset = advance(offset, header.len() as u64 + copied)?;
        count = count.checked_add(1).ok_or(PackageError::TooLargeForZip)?;
    }
    let size = u32::try_from(directory.len()).map_err(|_| PackageError::TooLargeForZip)?;
    advance(offset, u64::from(size))?;
    let count = count.to_le_bytes();
    let end = [
        b"PK\x05\x06",
        &[0; 4][..],
        &count,
        &count,
        &size.to_le_bytes(),
        &offset.to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    out.write_all(&directory)
        .and_then(|()| out.write_all(&end))
        .and_then(|()| out.into_inner().map_err(io::IntoInnerError::into_error))
        .and_then(|file| file.sync_all())
        .map_err(PackageError::io(PathBuf::from(target)))
}

fn advance(offset: u32, by: u64) -> Result<u32, PackageError> {
    let moved = u64::from(offset)
        .checked_add(by)
        .and_then(|moved| u32::try_from(moved).ok());
    moved.ok_or(PackageError::TooLargeForZip)
}

/// A file's length and checksum.
fn measure(path: &Path) -> Result<(u32, u32), PackageError> {
    let mut file = File::open(path).map_err(PackageError::io(path))?;
    let (mut size, mut crc, mut buffer) = (0_u64, u32::MAX, vec![0; 64 * 1024]);
    loop {
        let count = file.read(&mut buffer).map_err(PackageError::io(path))?;
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        size += count as u64;
        crc = chunk.iter().fold(crc, |crc, byte| step(crc ^ u32::from(*byte)));
    }
    let size = u32::try_from(size).map_err(|_| PackageError::TooLargeForZip)?;
    Ok((size, !crc))
}

/// Eight steps of the CRC-32 of IEEE 802.3, reflected.
fn step(crc: u32) -> u32 {
    (0..8).fold(crc, |crc, _| {
        if crc & 1 == 1 {
            (crc >> 1) ^ 0xedb8_8320
        } else {
            crc >> 1
        }
    })
}
