//! An access token: header, payload and signature, a line each, that somebody else wrote. Nothing verifies under a key that nobody
//! holds.
#![no_main]

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use strongroom_azure::token::{Jwk, Jwks, StaticKeys, TrustedIssuer, Verifier};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    // 2048 bits of ones: no product of two primes that anybody knows.
    let key = Jwk::rsa("k", &[0xff; 256], &[1, 0, 1]);
    Verifier::new([TrustedIssuer {
        names: vec!["i".to_owned()],
        tenant: "t".to_owned(),
        audiences: None,
        guest: false,
        keys: Arc::new(StaticKeys::new(Jwks { keys: vec![key] })),
    }])
});

fuzz_target!(|text: &str| {
    let parts: Vec<String> = text.split('\n').map(|part| encode(part.as_bytes())).collect();
    for token in [parts.join(".").as_str(), text] {
        let mut verified = pin!(VERIFIER.verify(token, &["a"], 1_800_000_000));
        match verified.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => assert!(outcome.is_err()),
            Poll::Pending => unreachable!(),
        }
    }
});

/// Base64url without padding, so that what is found is behind it.
fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(LETTERS[((word >> (18 - 6 * place)) & 63) as usize]));
        }
    }
    text
}
