//! XAES-256-GCM as specified by C2SP: AES-256-GCM with a 192-bit nonce that may be random for any number of messages.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use zeroize::{Zeroize, Zeroizing};

pub(crate) const KEY_LEN: usize = 32;
pub(crate) const XNONCE_LEN: usize = 24;
pub(crate) const TAG_LEN: usize = 16;
const BLOCK_LEN: usize = 16;

/// Seals `in_place` and returns the tag. After a failure the bytes are zero.
pub(crate) fn seal(
    key: &[u8; KEY_LEN],
    nonce: &[u8; XNONCE_LEN],
    aad: &[u8],
    in_place: &mut [u8],
) -> Result<[u8; TAG_LEN], Unspecified> {
    let sealed = derive(key, nonce).and_then(|(key, nonce)| {
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), in_place)?;
        tag.as_ref().try_into().map_err(|_| Unspecified)
    });
    if sealed.is_err() {
        in_place.zeroize();
    }
    sealed
}

/// Opens `in_place` if `tag` holds; otherwise its content is undefined and must not be used.
pub(crate) fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; XNONCE_LEN],
    aad: &[u8],
    in_place: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Unspecified> {
    let (key, nonce) = derive(key, nonce)?;
    key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, in_place)?;
    Ok(())
}

/// The AES-256-GCM key and nonce for one message: NIST SP 800-108r1 in counter mode over CMAC-AES256, whose input is always
/// one whole block, so that two calls of the block cipher and one constant are all of it.
fn derive(key: &[u8; KEY_LEN], nonce: &[u8; XNONCE_LEN]) -> Result<(LessSafeKey, Nonce), Unspecified> {
    let cipher = EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, key)?)?;
    let (context, rest) = nonce.split_first_chunk::<NONCE_LEN>().ok_or(Unspecified)?;
    let mask = cmac_subkey(&cipher)?;
    let mut derived = Zeroizing::new([0; KEY_LEN]);
    for (counter, block) in (1..).zip(derived.as_chunks_mut::<BLOCK_LEN>().0) {
        let message = [0, counter, b'X', 0].into_iter().chain(*context);
        for ((byte, message), mask) in block.iter_mut().zip(message).zip(mask.iter()) {
            *byte = message ^ mask;
        }
    }
    // ECB enciphers each block by itself.
    cipher.encrypt(derived.as_mut_slice())?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.as_slice())?);
    Ok((key, Nonce::try_assume_unique_for_key(rest)?))
}

/// K1 of CMAC: the enciphered zero block, doubled in GF(2^128).
fn cmac_subkey(cipher: &EncryptingKey) -> Result<Zeroizing<[u8; BLOCK_LEN]>, Unspecified> {
    const REDUCTION: u128 = 0b1000_0111;
    let mut block = Zeroizing::new([0; BLOCK_LEN]);
    cipher.encrypt(block.as_mut_slice())?;
    let mut value = u128::from_be_bytes(*block);
    // The top bit as a mask: no branch on secret data.
    let carry = (value >> 127).wrapping_neg() & REDUCTION;
    *block = ((value << 1) ^ carry).to_be_bytes();
    value.zeroize();
    Ok(block)
}

#[cfg(test)]
mod tests;
