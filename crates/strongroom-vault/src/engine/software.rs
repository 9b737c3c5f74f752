//! Private keys held by AWS-LC in this process' memory.

use std::sync::Arc;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm,
    OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey,
    PrivateDecryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::engine::keys::{ForeignKey, ForeignRsa, KeyBackend, KeyFault, Made, PrivateKey};
use crate::engine::kinds::{EncryptionAlgorithm, KeySpec, PublicHalf, SignatureAlgorithm};

/// The only public exponent of RSA keys here: 65537.
const EXPONENT: [u8; 3] = [1, 0, 1];
/// What begins a point that is written as both coordinates.
const UNCOMPRESSED: u8 = 4;

pub(crate) struct SoftwareKeys;

impl KeyBackend for SoftwareKeys {
    fn generate(&self, spec: KeySpec) -> Result<Made, KeyFault> {
        let size = match spec {
            KeySpec::Rsa2048 => KeySize::Rsa2048,
            KeySpec::Rsa3072 => KeySize::Rsa3072,
            KeySpec::Rsa4096 => KeySize::Rsa4096,
            KeySpec::P256 | KeySpec::P384 | KeySpec::P521 | KeySpec::P256K => {
                let pair = EcdsaKeyPair::generate(curve(spec)?).map_err(|_| KeyFault::Library)?;
                return made_on_curve(spec, &pair);
            }
        };
        made_rsa(&KeyPair::generate(size).map_err(|_| KeyFault::Library)?)
    }

    fn import(&self, key: &ForeignKey) -> Result<Made, KeyFault> {
        match key {
            ForeignKey::Rsa(key) => import_rsa(key),
            ForeignKey::Ec { spec, d, x, y } => {
                let mut point = vec![UNCOMPRESSED];
                point.extend_from_slice(&padded(x, *spec)?);
                point.extend_from_slice(&padded(y, *spec)?);
                // Refuses what is not on the curve, and what does not belong together.
                let private = padded(d, *spec)?;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve(*spec)?, &private, &point);
                made_on_curve(*spec, &pair.map_err(|_| KeyFault::NotAKey)?)
            }
        }
    }

    fn load(&self, spec: KeySpec, kept: &[u8], public: &PublicHalf) -> Result<Arc<dyn PrivateKey>, KeyFault> {
        if spec.is_rsa() {
            Ok(Arc::new(RsaKey::load(kept, public)?))
        } else {
            Ok(Arc::new(CurveKey::load(spec, kept, public)?))
        }
    }
}

fn made_rsa(pair: &KeyPair) -> Result<Made, KeyFault> {
    // AWS-LC wipes this buffer when it is dropped.
    let document: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| KeyFault::Library)?;
    let bits = u32::try_from(pair.public_modulus_len() * 8).map_err(|_| KeyFault::NotAKey)?;
    Ok(Made {
        spec: KeySpec::rsa(bits).ok_or(KeyFault::NotAKey)?,
        private: Zeroizing::new(document.as_ref().to_vec()),
        public: public_rsa(pair),
    })
}

fn import_rsa(key: &ForeignRsa) -> Result<Made, KeyFault> {
    let (n, e) = (unpadded(&key.n), unpadded(&key.e));
    if e != EXPONENT {
        return Err(KeyFault::NotAKey);
    }
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d: key.d.as_slice(),
        p: key.p.as_slice(),
        q: key.q.as_slice(),
        dP: key.dp.as_slice(),
        dQ: key.dq.as_slice(),
        qInv: key.qi.as_slice(),
    };
    // Refuses parts that do not fit together; whether the primes are primes is the importer's affair.
    let pair = KeyPair::from_components(&components).map_err(|_| KeyFault::NotAKey)?;
    made_rsa(&pair)
}

fn public_rsa(pair: &KeyPair) -> PublicHalf {
    let public = pair.public_key();
    PublicHalf::Rsa {
        modulus: public.modulus().big_endian_without_leading_zero().to_vec(),
        exponent: public.exponent().big_endian_without_leading_zero().to_vec(),
    }
}

fn made_on_curve(spec: KeySpec, pair: &EcdsaKeyPair) -> Result<Made, KeyFault> {
    let document = pair.to_pkcs8v1().map_err(|_| KeyFault::Library)?;
    Ok(Made {
        spec,
        private: Zeroizing::new(document.as_ref().to_vec()),
        public: public_point(spec, pair).ok_or(KeyFault::Library)?,
    })
}

fn public_point(spec: KeySpec, pair: &EcdsaKeyPair) -> Option<PublicHalf> {
    let point = pair.public_key().as_ref().strip_prefix(&[UNCOMPRESSED])?;
    let (x, y) = point.split_at_checked(spec.size())?;
    Some(PublicHalf::Ec {
        x: x.to_vec(),
        y: y.to_vec(),
    })
}

/// As long as the curve's numbers are. Clients may leave leading zeros out, or put one before.
fn padded(number: &[u8], spec: KeySpec) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let number = unpadded(number);
    let missing = spec.size().checked_sub(number.len()).ok_or(KeyFault::NotAKey)?;
    let mut padded = Zeroizing::new(vec![0; missing]);
    padded.extend_from_slice(number);
    Ok(padded)
}

fn unpadded(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

struct RsaKey {
    pair: KeyPair,
    /// The public half as PKCS #1 writes it.
    public: Vec<u8>,
    oaep: (OaepPublicEncryptingKey, OaepPrivateDecryptingKey),
    pkcs1: (Pkcs1PublicEncryptingKey, Pkcs1PrivateDecryptingKey),
}

impl RsaKey {
    fn load(kept: &[u8], public: &PublicHalf) -> Result<Self, KeyFault> {
        let unusable = |_| KeyFault::Unusable;
        let pair = KeyPair::from_pkcs8(kept).map_err(|_| KeyFault::Unusable)?;
        if public_rsa(&pair) != *public {
            return Err(KeyFault::Unusable);
        }
        let private = PrivateDecryptingKey::from_pkcs8(kept).map_err(|_| KeyFault::Unusable)?;
        let encrypting = private.public_key();
        Ok(Self {
            public: pair.public_key().as_ref().to_vec(),
            pair,
            oaep: (
                OaepPublicEncryptingKey::new(encrypting.clone()).map_err(unusable)?,
                OaepPrivateDecryptingKey::new(private.clone()).map_err(unusable)?,
            ),
            pkcs1: (
                Pkcs1PublicEncryptingKey::new(encrypting).map_err(unusable)?,
                Pkcs1PrivateDecryptingKey::new(private).map_err(unusable)?,
            ),
        })
    }

    fn longest_plain(&self, algorithm: EncryptionAlgorithm) -> usize {
        match oaep(algorithm) {
            Some(padding) => self.oaep.0.max_plaintext_size(padding),
            None => self.pkcs1.0.max_plaintext_size(),
        }
    }
}

impl PrivateKey for RsaKey {
    fn encrypt(&self, algorithm: EncryptionAlgorithm, plain: &[u8]) -> Result<Vec<u8>, KeyFault> {
        if plain.is_empty() || plain.len() > self.longest_plain(algorithm) {
            return Err(KeyFault::WrongLength);
        }
        let mut encrypted = vec![0; self.oaep.0.ciphertext_size()];
        let written = match oaep(algorithm) {
            Some(padding) => self.oaep.0.encrypt(padding, plain, &mut encrypted, None),
            None => self.pkcs1.0.encrypt(plain, &mut encrypted),
        };
        let written = written.map_err(|_| KeyFault::Library)?.len();
        encrypted.truncate(written);
        Ok(encrypted)
    }

    fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        encrypted: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        if encrypted.len() != self.oaep.1.key_size_bytes() {
            return Err(KeyFault::WrongLength);
        }
        let mut plain = Zeroizing::new(vec![0; self.oaep.1.min_output_size()]);
        // AWS-LC looks at paddings in constant time; whatever is wrong with one is the same fault here.
        let written = match oaep(algorithm) {
            Some(padding) => self.oaep.1.decrypt(padding, encrypted, &mut plain, None),
            None => self.pkcs1.1.decrypt(encrypted, &mut plain),
        };
        let written = written.map_err(|_| KeyFault::NotAuthentic)?.len();
        plain.truncate(written);
        Ok(plain)
    }

    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let digest = imported(algorithm, digest)?;
        let encoding = match algorithm {
            SignatureAlgorithm::Ps256 => &signature::RSA_PSS_SHA256,
            SignatureAlgorithm::Ps384 => &signature::RSA_PSS_SHA384,
            SignatureAlgorithm::Ps512 => &signature::RSA_PSS_SHA512,
            SignatureAlgorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
            SignatureAlgorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
            SignatureAlgorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
            _ => return Err(KeyFault::WrongAlgorithm),
        };
        let mut signed = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign_digest(encoding, &digest, &mut signed)
            .map_err(|_| KeyFault::Library)?;
        Ok(signed)
    }

    fn verify(&self, algorithm: SignatureAlgorithm, digest: &[u8], signed: &[u8]) -> Result<bool, KeyFault> {
        let digest = imported(algorithm, digest)?;
        let parameters = match algorithm {
            SignatureAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            SignatureAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            SignatureAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            SignatureAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            SignatureAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            SignatureAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            _ => return Err(KeyFault::WrongAlgorithm),
        };
        let public = UnparsedPublicKey::new(parameters, &self.public);
        Ok(public.verify_digest(&digest, signed).is_ok())
    }
}

/// A key on an elliptic curve: it signs, and nothing else.
struct CurveKey {
    spec: KeySpec,
    pair: EcdsaKeyPair,
}

impl CurveKey {
    fn load(spec: KeySpec, kept: &[u8], public: &PublicHalf) -> Result<Self, KeyFault> {
        let pair = EcdsaKeyPair::from_pkcs8(curve(spec)?, kept).map_err(|_| KeyFault::Unusable)?;
        if public_point(spec, &pair).as_ref() == Some(public) {
            Ok(Self { spec, pair })
        } else {
            Err(KeyFault::Unusable)
        }
    }

    fn digest(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<Digest, KeyFault> {
        if algorithm.is_for(self.spec) {
            imported(algorithm, digest)
        } else {
            Err(KeyFault::WrongAlgorithm)
        }
    }
}

impl PrivateKey for CurveKey {
    fn encrypt(&self, _: EncryptionAlgorithm, _: &[u8]) -> Result<Vec<u8>, KeyFault> {
        Err(KeyFault::WrongAlgorithm)
    }

    fn decrypt(&self, _: EncryptionAlgorithm, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        Err(KeyFault::WrongAlgorithm)
    }

    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let digest = self.digest(algorithm, digest)?;
        let signed = self.pair.sign_digest(&digest).map_err(|_| KeyFault::Library)?;
        Ok(signed.as_ref().to_vec())
    }

    fn verify(&self, algorithm: SignatureAlgorithm, digest: &[u8], signed: &[u8]) -> Result<bool, KeyFault> {
        let digest = self.digest(algorithm, digest)?;
        let verification = match self.spec {
            KeySpec::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            KeySpec::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            KeySpec::P521 => &signature::ECDSA_P521_SHA512_FIXED,
            KeySpec::P256K => &signature::ECDSA_P256K1_SHA256_FIXED,
            KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 => return Err(KeyFault::Unusable),
        };
        if signed.len() != 2 * self.spec.size() {
            return Ok(false);
        }
        let public = UnparsedPublicKey::new(verification, self.pair.public_key());
        Ok(public.verify_digest(&digest, signed).is_ok())
    }
}

/// The padding of OAEP, unless it is the older one.
const fn oaep(algorithm: EncryptionAlgorithm) -> Option<&'static OaepAlgorithm> {
    match algorithm {
        EncryptionAlgorithm::RsaOaep256 => Some(&OAEP_SHA256_MGF1SHA256),
        EncryptionAlgorithm::RsaOaep => Some(&OAEP_SHA1_MGF1SHA1),
        EncryptionAlgorithm::Rsa15 => None,
    }
}

const fn curve(spec: KeySpec) -> Result<&'static EcdsaSigningAlgorithm, KeyFault> {
    match spec {
        KeySpec::P256 => Ok(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        KeySpec::P384 => Ok(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        KeySpec::P521 => Ok(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        KeySpec::P256K => Ok(&signature::ECDSA_P256K1_SHA256_FIXED_SIGNING),
        KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 => Err(KeyFault::Unusable),
    }
}

/// A digest that the caller computed, as the library takes it; its length must be that of the algorithm's hash.
fn imported(algorithm: SignatureAlgorithm, bytes: &[u8]) -> Result<Digest, KeyFault> {
    let hash = match algorithm {
        SignatureAlgorithm::Ps256
        | SignatureAlgorithm::Rs256
        | SignatureAlgorithm::Es256
        | SignatureAlgorithm::Es256K => &digest::SHA256,
        SignatureAlgorithm::Ps384 | SignatureAlgorithm::Rs384 | SignatureAlgorithm::Es384 => &digest::SHA384,
        SignatureAlgorithm::Ps512 | SignatureAlgorithm::Rs512 | SignatureAlgorithm::Es512 => &digest::SHA512,
    };
    Digest::import_less_safe(bytes, hash).map_err(|_| KeyFault::WrongLength)
}

#[cfg(test)]
#[path = "software_tests.rs"]
mod tests;
