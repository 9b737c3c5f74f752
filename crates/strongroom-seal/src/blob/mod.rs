//! Blobs, in the streaming format of Google Tink's `AES256_GCM_HKDF_1MB`: constant memory, any range opens by itself, and
//! order, length and end are bound.

mod opener;
mod sealer;
mod stream;

pub mod layout;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use crate::secret::Secret;
use crate::xaes::KEY_LEN;

pub(crate) use layout::HEADER_LEN;
pub use opener::BlobOpener;
pub use sealer::BlobSealer;
pub use stream::{StreamError, open_range, open_stream, seal_stream};

const SALT_LEN: usize = 32;
const PREFIX_LEN: usize = 7;

/// The key of all of a blob's segments. The associated data is bound through it.
fn segment_key(
    main: &Secret<KEY_LEN>,
    salt: &[u8; SALT_LEN],
    associated_data: &[u8],
) -> Result<LessSafeKey, Unspecified> {
    let root = Salt::new(HKDF_SHA256, salt).extract(main.expose_secret());
    let info = [associated_data];
    Ok(LessSafeKey::new(UnboundKey::from(
        root.expand(&info, &AES_256_GCM)?,
    )))
}

/// The nonce of one segment: it says which one it is and whether it is the last.
fn segment_nonce(prefix: [u8; PREFIX_LEN], index: u32, last: bool) -> Nonce {
    let [a, b, c, d, e, f, g] = prefix;
    let [i, j, k, l] = index.to_be_bytes();
    let nonce: [u8; NONCE_LEN] = [a, b, c, d, e, f, g, i, j, k, l, u8::from(last)];
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests;
