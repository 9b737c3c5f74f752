//! What is done with private keys, behind one trait, so that a token can stand where the software is now.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::KeyPair as _;
use strongroom_seal::WrapAlgorithm;
use zeroize::Zeroizing;

/// A kind of key that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpec {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

impl KeySpec {
    /// The modulus' size.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        }
    }

    /// The spec with this many bits, if there is one.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            2048 => Some(Self::Rsa2048),
            3072 => Some(Self::Rsa3072),
            4096 => Some(Self::Rsa4096),
            _ => None,
        }
    }
}

/// The public half of an RSA key: big-endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHalf {
    /// The modulus.
    pub modulus: Vec<u8>,
    /// The public exponent.
    pub exponent: Vec<u8>,
}

/// A key operation did not yield a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The input has a length that this key and algorithm cannot take. The caller's mistake.
    #[error("the value has the wrong length for this key and algorithm")]
    WrongLength,
    /// The value was not wrapped with this key and algorithm, or was altered. The caller's mistake.
    #[error("the value was not wrapped with this key and algorithm")]
    NotAuthentic,
    /// The stored private key cannot be read, or is not the one that belongs to the public half on record.
    #[error("the stored private key cannot be used")]
    Unusable,
    /// The cryptographic library refused to work.
    #[error("the cryptographic library refused to work")]
    Library,
}

/// Makes private keys and brings stored ones back to use.
pub(crate) trait KeyBackend: Send + Sync + 'static {
    /// Makes a key. What it returns is what the database keeps, sealed.
    fn generate(&self, spec: KeySpec) -> Result<(Zeroizing<Vec<u8>>, PublicHalf), KeyFault>;
    /// Brings a kept key back to use; it must belong to `public`.
    fn load(&self, kept: &[u8], public: &PublicHalf) -> Result<Arc<dyn PrivateKey>, KeyFault>;
}

/// A private key ready for use. It blocks while it computes.
pub(crate) trait PrivateKey: Send + Sync + 'static {
    fn wrap(&self, algorithm: WrapAlgorithm, plain: &[u8]) -> Result<Vec<u8>, KeyFault>;
    fn unwrap(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFault>;
}

/// Keys held by AWS-LC in this process' memory.
pub(crate) struct SoftwareKeys;

impl KeyBackend for SoftwareKeys {
    fn generate(&self, spec: KeySpec) -> Result<(Zeroizing<Vec<u8>>, PublicHalf), KeyFault> {
        let size = match spec {
            KeySpec::Rsa2048 => KeySize::Rsa2048,
            KeySpec::Rsa3072 => KeySize::Rsa3072,
            KeySpec::Rsa4096 => KeySize::Rsa4096,
        };
        let key = PrivateDecryptingKey::generate(size).map_err(|_| KeyFault::Library)?;
        // AWS-LC wipes this buffer when it is dropped.
        let document: Pkcs8V1Der<'static> = key.as_der().map_err(|_| KeyFault::Library)?;
        let public = public_half(document.as_ref())?;
        Ok((Zeroizing::new(document.as_ref().to_vec()), public))
    }

    fn load(&self, kept: &[u8], public: &PublicHalf) -> Result<Arc<dyn PrivateKey>, KeyFault> {
        if public_half(kept)? != *public {
            return Err(KeyFault::Unusable);
        }
        let private = PrivateDecryptingKey::from_pkcs8(kept).map_err(|_| KeyFault::Unusable)?;
        let public = OaepPublicEncryptingKey::new(private.public_key()).map_err(|_| KeyFault::Unusable)?;
        let private = OaepPrivateDecryptingKey::new(private).map_err(|_| KeyFault::Unusable)?;
        Ok(Arc::new(RsaKey { private, public }))
    }
}

struct RsaKey {
    private: OaepPrivateDecryptingKey,
    public: OaepPublicEncryptingKey,
}

impl PrivateKey for RsaKey {
    fn wrap(&self, algorithm: WrapAlgorithm, plain: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let padding = padding(algorithm);
        if plain.is_empty() || plain.len() > self.public.max_plaintext_size(padding) {
            return Err(KeyFault::WrongLength);
        }
        let mut wrapped = vec![0; self.public.ciphertext_size()];
        let written = self
            .public
            .encrypt(padding, plain, &mut wrapped, None)
            .map_err(|_| KeyFault::Library)?
            .len();
        wrapped.truncate(written);
        Ok(wrapped)
    }

    fn unwrap(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        if wrapped.len() != self.private.key_size_bytes() {
            return Err(KeyFault::WrongLength);
        }
        let mut plain = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let written = self
            .private
            .decrypt(padding(algorithm), wrapped, &mut plain, None)
            .map_err(|_| KeyFault::NotAuthentic)?
            .len();
        plain.truncate(written);
        Ok(plain)
    }
}

const fn padding(algorithm: WrapAlgorithm) -> &'static OaepAlgorithm {
    match algorithm {
        WrapAlgorithm::RsaOaep256 => &OAEP_SHA256_MGF1SHA256,
        WrapAlgorithm::RsaOaep => &OAEP_SHA1_MGF1SHA1,
    }
}

fn public_half(document: &[u8]) -> Result<PublicHalf, KeyFault> {
    let pair = KeyPair::from_pkcs8(document).map_err(|_| KeyFault::Unusable)?;
    let public = pair.public_key();
    Ok(PublicHalf {
        modulus: public.modulus().big_endian_without_leading_zero().to_vec(),
        exponent: public.exponent().big_endian_without_leading_zero().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrapped_unwraps_with_the_same_algorithm_and_key_only() {
        let (kept, public) = SoftwareKeys.generate(KeySpec::Rsa2048).unwrap();
        let key = SoftwareKeys.load(&kept, &public).unwrap();
        for algorithm in [WrapAlgorithm::RsaOaep256, WrapAlgorithm::RsaOaep] {
            let wrapped = key.wrap(algorithm, &[9; 32]).unwrap();
            assert_eq!(wrapped.len(), 256);
            assert_eq!(*key.unwrap(algorithm, &wrapped).unwrap(), vec![9; 32]);
        }
        let wrapped = key.wrap(WrapAlgorithm::RsaOaep, &[9; 32]).unwrap();
        assert_eq!(
            key.unwrap(WrapAlgorithm::RsaOaep256, &wrapped),
            Err(KeyFault::NotAuthentic)
        );
    }

    #[test]
    fn lengths_that_cannot_be_are_the_callers_mistake() {
        let (kept, public) = SoftwareKeys.generate(KeySpec::Rsa2048).unwrap();
        let key = SoftwareKeys.load(&kept, &public).unwrap();
        assert_eq!(key.wrap(WrapAlgorithm::RsaOaep256, &[0; 190]).map(|_| ()), Ok(()));
        assert_eq!(
            key.wrap(WrapAlgorithm::RsaOaep256, &[0; 191]),
            Err(KeyFault::WrongLength)
        );
        assert_eq!(
            key.wrap(WrapAlgorithm::RsaOaep256, &[]),
            Err(KeyFault::WrongLength)
        );
        assert_eq!(
            key.unwrap(WrapAlgorithm::RsaOaep256, &[1; 255]),
            Err(KeyFault::WrongLength)
        );
        assert_eq!(
            key.unwrap(WrapAlgorithm::RsaOaep256, &[1; 256]),
            Err(KeyFault::NotAuthentic)
        );
    }

    #[test]
    fn a_private_key_under_anothers_public_half_is_not_used() {
        let (kept, public) = SoftwareKeys.generate(KeySpec::Rsa2048).unwrap();
        let mut other = public;
        other.modulus[10] ^= 1;
        assert!(matches!(
            SoftwareKeys.load(&kept, &other),
            Err(KeyFault::Unusable)
        ));
    }
}
