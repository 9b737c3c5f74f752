//! Kinds of keys, their public halves, and what can be done with which: names and sizes, no cryptography.

use strongroom_seal::WrapAlgorithm;

use crate::engine::settings::KeyOperation;

/// A kind of key that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpec {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// The curve P-256 (secp256r1).
    P256,
    /// The curve P-384 (secp384r1).
    P384,
    /// The curve P-521 (secp521r1).
    P521,
    /// The curve secp256k1, which Key Vault calls P-256K.
    P256K,
}

impl KeySpec {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::P256K,
    ];

    /// RSA with a modulus of this many bits, if it can be made.
    pub const fn rsa(bits: u32) -> Option<Self> {
        match bits {
            2048 => Some(Self::Rsa2048),
            3072 => Some(Self::Rsa3072),
            4096 => Some(Self::Rsa4096),
            _ => None,
        }
    }

    /// The elliptic curve of this name, as Key Vault spells it.
    pub fn curve(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|spec| !spec.is_rsa() && spec.name() == name)
    }

    /// Its name: a curve's as Key Vault spells it, or RSA with its bits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::P256K => "P-256K",
        }
    }

    /// The kind of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|spec| spec.name() == name)
    }

    /// Whether a private operation takes about as long as handing it to another thread and back does, a quarter of a millisecond
    /// at most. Then it is done where it is asked for; on few cores that hop would cost a third of the operations.
    pub(crate) const fn is_brief(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::P256)
    }

    /// Whether it is RSA and not an elliptic curve.
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    /// Bytes of an RSA modulus, or of one coordinate of a curve's point.
    pub const fn size(self) -> usize {
        match self {
            Self::Rsa2048 => 256,
            Self::Rsa3072 => 384,
            Self::Rsa4096 => 512,
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// What a key of this kind can be used for at all.
    pub const fn operations(self) -> &'static [KeyOperation] {
        if self.is_rsa() {
            &KeyOperation::ALL
        } else {
            &[KeyOperation::Sign, KeyOperation::Verify]
        }
    }
}

/// The public half of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicHalf {
    /// Of an RSA key: big-endian, without leading zeros.
    Rsa {
        /// The modulus.
        modulus: Vec<u8>,
        /// The public exponent.
        exponent: Vec<u8>,
    },
    /// Of a key on a curve: big-endian, as long as the curve's size.
    Ec {
        /// The point's first coordinate.
        x: Vec<u8>,
        /// The point's second coordinate.
        y: Vec<u8>,
    },
}

impl PublicHalf {
    /// Its two numbers: modulus and exponent, or the coordinates.
    pub(crate) fn numbers(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Rsa { modulus, exponent } => (modulus, exponent),
            Self::Ec { x, y } => (x, y),
        }
    }

    /// The public half of such a key with these two numbers.
    pub(crate) fn of(spec: KeySpec, first: Vec<u8>, second: Vec<u8>) -> Self {
        if spec.is_rsa() {
            Self::Rsa {
                modulus: first,
                exponent: second,
            }
        } else {
            Self::Ec { x: first, y: second }
        }
    }
}

/// How an RSA key encrypts and wraps, by the names of JWA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncryptionAlgorithm {
    /// RSA-OAEP with SHA-256.
    RsaOaep256,
    /// RSA-OAEP with SHA-1.
    RsaOaep,
    /// PKCS #1 v1.5. Whoever learns which values do not decrypt can decrypt (Bleichenbacher), so it is for what exists already.
    Rsa15,
}

impl EncryptionAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::RsaOaep256, Self::RsaOaep, Self::Rsa15];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::RsaOaep => "RSA-OAEP",
            Self::Rsa15 => "RSA1_5",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl From<WrapAlgorithm> for EncryptionAlgorithm {
    fn from(algorithm: WrapAlgorithm) -> Self {
        match algorithm {
            WrapAlgorithm::RsaOaep256 => Self::RsaOaep256,
            WrapAlgorithm::RsaOaep => Self::RsaOaep,
        }
    }
}

/// How a key signs, by the names of JWA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// PKCS #1 v1.5 with SHA-384.
    Rs384,
    /// PKCS #1 v1.5 with SHA-512.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// ECDSA on secp256k1 with SHA-256.
    Es256K,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 10] = [
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Es256K,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Es256K => "ES256K",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Whether a key of this kind signs so. Each curve has one algorithm.
    pub const fn is_for(self, spec: KeySpec) -> bool {
        match self {
            Self::Ps256 | Self::Ps384 | Self::Ps512 | Self::Rs256 | Self::Rs384 | Self::Rs512 => {
                spec.is_rsa()
            }
            Self::Es256 => matches!(spec, KeySpec::P256),
            Self::Es384 => matches!(spec, KeySpec::P384),
            Self::Es512 => matches!(spec, KeySpec::P521),
            Self::Es256K => matches!(spec, KeySpec::P256K),
        }
    }
}
