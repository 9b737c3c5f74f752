//! A package of any files: the pieces of the input between zero bytes are the contents of the known names, in a zip that is in its form, so
//! that the readers of manifest, statements, checkpoint and log are reached.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use strongroom_evidence::{Trust, verify_zip};

/// In the order of the pieces; the zip has them in the order of their names.
const NAMES: [&str; 8] = [
    "manifest.json",
    "statement.dsse.json",
    "checkpoint.txt",
    "log.txt",
    "completeness.dsse.json",
    "completeness.json",
    "README.md",
    "run.json",
];

fuzz_target!(|data: &[u8]| {
    let mut pieces = data.split(|byte| *byte == 0);
    let mut files: Vec<(&str, &[u8])> = NAMES.into_iter().zip(&mut pieces).collect();
    files.sort();
    let zip = zip(&files);
    let checkpoint = pieces.next().map(|piece| String::from_utf8_lossy(piece).into_owned());
    let trust = Trust { checkpoint, ..Trust::default() };
    let verdict = verify_zip(Cursor::new(zip), &trust).unwrap();
    assert!(!verdict.is_proven());
    let _ = verdict.to_string();
});

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let common = [10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (path, content) in files {
        let name = format!("evidence/{path}");
        let size = (content.len() as u32).to_le_bytes();
        let length = (name.len() as u16).to_le_bytes();
        let sizes = [&crc(content).to_le_bytes()[..], &size, &size, &length, &[0, 0]].concat();
        let here = (out.len() as u32).to_le_bytes();
        out.extend([b"PK\x03\x04", &common[..], &sizes, name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x1e\x03", &common[..], &sizes, &[0; 8], &[0xa4, 0x81], &here, name.as_bytes()].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let (size, at) = ((directory.len() as u32).to_le_bytes(), (out.len() as u32).to_le_bytes());
    [&out[..], &directory, b"PK\x05\x06", &[0; 4], &count, &count, &size, &at, &[0, 0]].concat()
}

fn crc(content: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !content.iter().fold(u32::MAX, byte)
}
