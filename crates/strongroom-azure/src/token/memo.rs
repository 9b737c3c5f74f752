//! Signatures that verified before: callers send one token again and again, and its signature is the dearest part of it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, Digest, SHA256};

use super::jwks::{Algorithm, Jwk};
use crate::limits::SIGNATURES_REMEMBERED;

/// Remembers that a key made a signature, which stays true whatever changes. Whether the key counts still, and what the token
/// says, is asked anew each time. Of a token only a digest is kept.
#[derive(Default)]
pub(super) struct Memo(Mutex<Seen>);

/// Two generations, so that what is in use outlives what was seen once.
#[derive(Default)]
struct Seen {
    recent: HashSet<Print>,
    earlier: HashSet<Print>,
}

type Print = [u8; 32];

impl Memo {
    /// Whether the key made this signature, as [`Jwk::verifies`] says.
    pub(super) fn verifies(&self, key: &Jwk, algorithm: Algorithm, message: &str, signature: &[u8]) -> bool {
        let Some(print) = print(key, algorithm, message, signature) else {
            return key.verifies(algorithm, message.as_bytes(), signature);
        };
        if key.is_for(algorithm) && self.knows(print) {
            return true;
        }
        let verified = key.verifies(algorithm, message.as_bytes(), signature);
        if verified {
            self.keep(print);
        }
        verified
    }

    fn knows(&self, print: Print) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.recent.contains(&print) {
            return true;
        }
        let known = seen.earlier.contains(&print);
        if known {
            seen.keep(print);
        }
        known
    }

    fn keep(&self, print: Print) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(print);
    }
}

impl Seen {
    fn keep(&mut self, print: Print) {
        if self.recent.len() >= SIGNATURES_REMEMBERED {
            self.earlier = std::mem::take(&mut self.recent);
        }
        self.recent.insert(print);
    }
}

/// One digest for key, algorithm, message and signature. None of the first four parts can hold the separator.
fn print(key: &Jwk, algorithm: Algorithm, message: &str, signature: &[u8]) -> Option<Print> {
    const SEPARATOR: &str = "\n";
    let texts = [algorithm.name(), &key.n, &key.e, message];
    if texts.iter().any(|text| text.contains(SEPARATOR)) {
        return None;
    }
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(text.as_bytes());
        context.update(SEPARATOR.as_bytes());
    }
    context.update(signature);
    let digest: Digest = context.finish();
    digest.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHM: Algorithm = Algorithm::Rs256;

    fn mark(memo: &Memo, number: usize) -> bool {
        let mut print = [0; 32];
        print[..8].copy_from_slice(&number.to_le_bytes());
        let known = memo.knows(print);
        memo.keep(print);
        known
    }

    #[test]
    fn what_is_in_use_stays_known_and_what_was_seen_once_is_forgotten_in_bounded_room() {
        let memo = Memo::default();
        let often = SIGNATURES_REMEMBERED * 10;
        mark(&memo, often);
        for number in 0..SIGNATURES_REMEMBERED * 3 {
            mark(&memo, number);
            assert!(mark(&memo, often));
        }
        assert!(!mark(&memo, 0));
        let seen = memo.0.lock().unwrap();
        assert!(seen.recent.len() + seen.earlier.len() <= 2 * SIGNATURES_REMEMBERED);
    }

    #[test]
    fn another_key_algorithm_message_or_signature_has_another_print() {
        let key = Jwk::rsa("key", &[7; 256], &[1, 0, 1]);
        let others = [
            print(
                &Jwk::rsa("key", &[8; 256], &[1, 0, 1]),
                ALGORITHM,
                "a.b",
                b"signature",
            ),
            print(
                &Jwk::rsa("key", &[7; 256], &[1, 1, 1]),
                ALGORITHM,
                "a.b",
                b"signature",
            ),
            print(&key, Algorithm::Ps256, "a.b", b"signature"),
            print(&key, ALGORITHM, "a.c", b"signature"),
            print(&key, ALGORITHM, "a.b", b"signaturf"),
        ];
        let own = print(&key, ALGORITHM, "a.b", b"signature");
        assert!(own.is_some());
        assert!(others.iter().all(|other| other.is_some() && *other != own));
    }
}
