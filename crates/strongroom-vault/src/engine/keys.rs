//! What is done with private keys, behind one trait, so that a token can stand where the software is now.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::engine::kinds::{EncryptionAlgorithm, KeySpec, PublicHalf, SignatureAlgorithm};

/// A key operation did not yield a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The input has a length that this key and algorithm cannot take. The caller's mistake.
    #[error("the value has the wrong length for this key and algorithm")]
    WrongLength,
    /// Keys of this kind do not work by this algorithm. The caller's mistake.
    #[error("the algorithm is not one for keys of this kind")]
    WrongAlgorithm,
    /// The value was not made with this key and algorithm, or was altered. The caller's mistake. Nothing more is told, whatever
    /// the reason: a caller who could tell bad paddings apart could decrypt by asking.
    #[error("the value was not made with this key and algorithm")]
    NotAuthentic,
    /// The key to import is incomplete, or its parts do not belong together. The caller's mistake.
    #[error("the key is incomplete, or its parts do not belong together")]
    NotAKey,
    /// The stored private key cannot be read, or is not the one that belongs to the public half on record.
    #[error("the stored private key cannot be used")]
    Unusable,
    /// The cryptographic library refused to work.
    #[error("the cryptographic library refused to work")]
    Library,
}

/// A private key as it is brought in: big-endian numbers.
pub enum ForeignKey {
    /// An RSA key with all its parts.
    Rsa(Box<ForeignRsa>),
    /// A key on a curve.
    Ec {
        /// The curve.
        spec: KeySpec,
        /// The private number.
        d: Zeroizing<Vec<u8>>,
        /// The point's first coordinate.
        x: Vec<u8>,
        /// The point's second coordinate.
        y: Vec<u8>,
    },
}

/// The parts of an RSA key, by their names in JWK.
pub struct ForeignRsa {
    /// The modulus.
    pub n: Vec<u8>,
    /// The public exponent.
    pub e: Vec<u8>,
    /// The private exponent.
    pub d: Zeroizing<Vec<u8>>,
    /// The first prime.
    pub p: Zeroizing<Vec<u8>>,
    /// The second prime.
    pub q: Zeroizing<Vec<u8>>,
    /// The private exponent modulo the first prime less one.
    pub dp: Zeroizing<Vec<u8>>,
    /// The private exponent modulo the second prime less one.
    pub dq: Zeroizing<Vec<u8>>,
    /// The inverse of the second prime modulo the first.
    pub qi: Zeroizing<Vec<u8>>,
}

/// A private key as the database keeps it once it is sealed, and what is public of it.
pub(crate) struct Made {
    pub(crate) spec: KeySpec,
    pub(crate) private: Zeroizing<Vec<u8>>,
    pub(crate) public: PublicHalf,
}

/// Makes private keys, takes foreign ones in, and brings stored ones back to use.
pub(crate) trait KeyBackend: Send + Sync + 'static {
    /// Makes a key.
    fn generate(&self, spec: KeySpec) -> Result<Made, KeyFault>;
    /// Takes in a key that was made elsewhere, once its parts were found to belong together.
    fn import(&self, key: &ForeignKey) -> Result<Made, KeyFault>;
    /// Brings a kept key back to use; it must be of this kind and belong to `public`.
    fn load(&self, spec: KeySpec, kept: &[u8], public: &PublicHalf) -> Result<Arc<dyn PrivateKey>, KeyFault>;
}

/// A private key ready for use. It blocks while it computes. Wrapping is encrypting, as far as the key is concerned.
pub(crate) trait PrivateKey: Send + Sync + 'static {
    fn encrypt(&self, algorithm: EncryptionAlgorithm, plain: &[u8]) -> Result<Vec<u8>, KeyFault>;
    fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        encrypted: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyFault>;
    /// Signs a digest of the algorithm's hash. Signatures on curves are the two numbers, each as long as the curve's size.
    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<Vec<u8>, KeyFault>;
    /// Whether the signature is one of this digest by this key.
    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, KeyFault>;
}
