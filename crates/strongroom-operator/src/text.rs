//! Looks for readable text where only sealed bytes, numbers and documented names may stand.
//!
//! Sealed bytes look random: 32 printable ones in a row do not happen (the chance is below 10^-13 at each place). What the format
//! leaves readable (kinds, ids, key identifiers, states) uses few characters and stands in long unbroken names; bytes beside a name may
//! be printable by chance. What is left of a run without its names is text that nobody sealed, if it is long.

use crate::limits::{LONG_NAME, READABLE_RUN};

/// Finds runs of readable text across chunks.
pub(crate) struct Scanner<'a> {
    allowed: &'a [&'a str],
    run: Vec<u8>,
    start: u64,
    position: u64,
    found: Vec<(u64, usize)>,
}

impl<'a> Scanner<'a> {
    /// `allowed` are the documented texts that may stand in the file, such as the schema.
    pub(crate) fn new(allowed: &'a [&'a str]) -> Self {
        Self {
            allowed,
            run: Vec::new(),
            start: 0,
            position: 0,
            found: Vec::new(),
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if is_readable(*byte) {
                if self.run.is_empty() {
                    self.start = self.position;
                }
                self.run.push(*byte);
            } else if !self.run.is_empty() {
                self.end_run();
            }
            self.position += 1;
        }
    }

    /// Offsets and lengths of the runs that nothing explains.
    pub(crate) fn finish(mut self) -> Vec<(u64, usize)> {
        self.end_run();
        self.found
    }

    fn end_run(&mut self) {
        // Sealed bytes are full of short runs: they cost nothing more than this.
        let reported = self.run.len() >= READABLE_RUN
            && beside_names(&self.run) >= READABLE_RUN
            && !self.is_documented(&self.run);
        if reported {
            self.found.push((self.start, self.run.len()));
        }
        self.run.clear();
    }

    /// Runs are cut at line breaks, so a documented text shows up line by line; neighbours may add a byte at either end.
    fn is_documented(&self, run: &[u8]) -> bool {
        let text = String::from_utf8_lossy(run);
        let lines = self.allowed.iter().flat_map(|text| text.lines());
        let longest = lines
            .filter(|line| text.contains(line.trim()))
            .map(|line| line.trim().len())
            .max();
        longest.is_some_and(|length| length + READABLE_RUN > run.len())
            || self.allowed.iter().any(|allowed| allowed.contains(text.as_ref()))
    }
}

/// Bytes of the run that are not part of a long name.
fn beside_names(run: &[u8]) -> usize {
    let names = run
        .split(|byte| !is_name(*byte))
        .map(<[u8]>::len)
        .filter(|length| *length >= LONG_NAME);
    run.len() - names.sum::<usize>()
}

fn is_readable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

/// What kinds, ids, key identifiers and states are made of.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(parts: &[&[u8]]) -> Vec<(u64, usize)> {
        let mut scanner = Scanner::new(&[
            "CREATE TABLE record (seq INTEGER PRIMARY KEY) STRICT\n  second line of the schema text;",
        ]);
        parts.iter().for_each(|part| scanner.feed(part));
        scanner.finish()
    }

    #[test]
    fn text_that_nobody_sealed_is_found_even_across_chunks() {
        assert_eq!(
            found(&[b"\x01\x02the quick brown fox ", b"jumps over the lazy dog\xff"]),
            [(2, 43)]
        );
        assert_eq!(
            found(&[b"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"]),
            [(0, 44)]
        );
    }

    #[test]
    fn names_numbers_and_the_schema_are_not_reported() {
        assert!(found(&[b"\x00filefile-0123456789abcdefghijklmnopqrstuvwxyz\x00"]).is_empty());
        assert!(found(&[b"https://vault.vault.localhost:8443/keys/name/0123456789abcdef"]).is_empty());
        assert!(
            found(&[
                b"zCREATE TABLE record (seq INTEGER PRIMARY KEY) STRICT\n  second line of the schema text;y"
            ])
            .is_empty()
        );
        assert!(found(&[&[7; 4096]]).is_empty());
        assert!(found(&[b"\x00R! (filefile-0123456789abcdefghijklmnopqrstuvwxyz$ %\x00"]).is_empty());
    }
}
