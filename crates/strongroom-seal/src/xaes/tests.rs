//! The vectors that C2SP publishes with the specification.

use super::{KEY_LEN, TAG_LEN, XNONCE_LEN, open, seal};

fn sealed(key: [u8; KEY_LEN], nonce: [u8; XNONCE_LEN], plain: &[u8], aad: &[u8]) -> Vec<u8> {
    let mut bytes = plain.to_vec();
    let tag = seal(&key, &nonce, aad, &mut bytes).unwrap();
    let mut opened = bytes.clone();
    open(&key, &nonce, aad, &mut opened, &tag).unwrap();
    assert_eq!(opened, plain);
    bytes.extend_from_slice(&tag);
    bytes
}

#[test]
fn the_published_vector_whose_cmac_subkey_needs_no_reduction_is_met() {
    let sealed = sealed([1; KEY_LEN], *b"ABCDEFGHIJKLMNOPQRSTUVWX", b"XAES-256-GCM", b"");
    assert_eq!(
        hex::encode(sealed),
        "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
    );
}

#[test]
fn the_published_vector_whose_cmac_subkey_needs_a_reduction_is_met() {
    let aad = b"c2sp.org/XAES-256-GCM";
    let sealed = sealed([3; KEY_LEN], *b"ABCDEFGHIJKLMNOPQRSTUVWX", b"XAES-256-GCM", aad);
    assert_eq!(
        hex::encode(sealed),
        "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
    );
}

#[test]
fn the_published_hash_over_ten_thousand_random_messages_is_met() {
    let mut random = Shake128::absorb_nothing();
    let mut hash = Shake128::new();
    for _ in 0..10_000 {
        let key = random.squeeze_array();
        let nonce = random.squeeze_array();
        let plain = random.squeeze_prefixed();
        let aad = random.squeeze_prefixed();
        hash.absorb(&sealed(key, nonce, &plain, &aad));
    }
    hash.finish();
    let digest: [u8; 32] = hash.squeeze_array();
    assert_eq!(
        hex::encode(digest),
        "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
    );
}

#[test]
fn the_random_stream_of_the_accumulated_vector_starts_as_published() {
    let start: [u8; 16] = Shake128::absorb_nothing().squeeze_array();
    assert_eq!(hex::encode(start), "7f9c2ba4e88f827d616045507605853e");
}

#[test]
fn a_flipped_bit_in_key_nonce_associated_data_content_or_tag_is_refused() {
    let (key, nonce) = ([7; KEY_LEN], [9; XNONCE_LEN]);
    let mut content = *b"content";
    let tag = seal(&key, &nonce, b"aad", &mut content).unwrap();
    let refused =
        |key: [u8; KEY_LEN],
         nonce: [u8; XNONCE_LEN],
         aad: &[u8],
         mut content: [u8; 7],
         tag: [u8; TAG_LEN]| { open(&key, &nonce, aad, &mut content, &tag).is_err() };
    for at in 0..KEY_LEN {
        let mut key = key;
        key[at] ^= 1;
        assert!(refused(key, nonce, b"aad", content, tag));
    }
    for at in 0..XNONCE_LEN {
        let mut nonce = nonce;
        nonce[at] ^= 1;
        assert!(refused(key, nonce, b"aad", content, tag));
    }
    for at in 0..TAG_LEN {
        let mut tag = tag;
        tag[at] ^= 1;
        assert!(refused(key, nonce, b"aad", content, tag));
    }
    content[3] ^= 1;
    assert!(refused(key, nonce, b"aad", content, tag));
    content[3] ^= 1;
    assert!(refused(key, nonce, b"aae", content, tag));
    assert!(!refused(key, nonce, b"aad", content, tag));
}

/// SHAKE-128 (FIPS 202), for the accumulated vector only.
struct Shake128 {
    state: [u64; 25],
    at: usize,
}

impl Shake128 {
    const RATE: usize = 168;

    fn new() -> Self {
        Self {
            state: [0; 25],
            at: 0,
        }
    }

    fn absorb_nothing() -> Self {
        let mut shake = Self::new();
        shake.finish();
        shake
    }

    fn xor(&mut self, at: usize, byte: u8) {
        self.state[at / 8] ^= u64::from(byte) << (8 * (at % 8));
    }

    fn absorb(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.xor(self.at, byte);
            self.step();
        }
    }

    fn finish(&mut self) {
        self.xor(self.at, 0x1f);
        self.xor(Self::RATE - 1, 0x80);
        keccak_f(&mut self.state);
        self.at = 0;
    }

    fn step(&mut self) {
        self.at += 1;
        if self.at == Self::RATE {
            keccak_f(&mut self.state);
            self.at = 0;
        }
    }

    fn squeeze(&mut self) -> u8 {
        let byte = self.state[self.at / 8].to_le_bytes()[self.at % 8];
        self.step();
        byte
    }

    fn squeeze_array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.squeeze())
    }

    fn squeeze_prefixed(&mut self) -> Vec<u8> {
        let length = self.squeeze();
        (0..length).map(|_| self.squeeze()).collect()
    }
}

fn keccak_f(state: &mut [u64; 25]) {
    let mut constant: u8 = 1;
    for _ in 0..24 {
        let columns: [u64; 5] = std::array::from_fn(|x| (0..5).fold(0, |sum, y| sum ^ state[x + 5 * y]));
        for (at, lane) in state.iter_mut().enumerate() {
            *lane ^= columns[(at + 4) % 5] ^ columns[(at + 1) % 5].rotate_left(1);
        }
        let (mut x, mut y, mut moving) = (1, 0, state[1]);
        for step in 1..=24u32 {
            (x, y) = (y, (2 * x + 3 * y) % 5);
            let place = &mut state[x + 5 * y];
            moving = std::mem::replace(place, moving.rotate_left(step * (step + 1) / 2 % 64));
        }
        for row in state.chunks_exact_mut(5) {
            let old: [u64; 5] = row.try_into().unwrap();
            for (x, lane) in row.iter_mut().enumerate() {
                *lane ^= !old[(x + 1) % 5] & old[(x + 2) % 5];
            }
        }
        for bit in 0..7u32 {
            if constant & 1 == 1 {
                state[0] ^= 1 << ((1u32 << bit) - 1);
            }
            constant = (constant << 1) ^ (if constant & 0x80 == 0 { 0 } else { 0x71 });
        }
    }
}
