//! The one type in which key material travels.

use aws_lc_rs::rand;
use zeroize::Zeroize;

use crate::error::SealError;

/// `N` secret bytes on the heap, wiped when dropped.
///
/// It is built in place, so that no copy stays behind on the stack, and cannot be printed, cloned or compared.
/// [`Secret::expose_secret`] is the only way to its content; its uses are counted by `cargo xtask tidy`.
pub struct Secret<const N: usize> {
    bytes: Box<[u8; N]>,
}

impl<const N: usize> Secret<N> {
    /// Lets `fill` write the secret where it will live.
    pub fn build(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self {
            bytes: Box::new([0; N]),
        };
        fill(&mut secret.bytes);
        secret
    }

    /// As [`Secret::build`], for sources that can fail; what was written until then is wiped.
    pub fn try_build<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self {
            bytes: Box::new([0; N]),
        };
        fill(&mut secret.bytes)?;
        Ok(secret)
    }

    /// Draws a secret from the system's randomness.
    pub fn random() -> Result<Self, SealError> {
        Self::try_build(|bytes| rand::fill(bytes).map_err(|_| SealError::NoRandomness))
    }

    /// Shows the bytes to a primitive that needs them. Do not copy them out.
    pub fn expose_secret(&self) -> &[u8; N] {
        &self.bytes
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}
