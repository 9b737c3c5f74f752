//! Object keys and the records they seal.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::blob::{BlobOpener, BlobSealer, HEADER_LEN as BLOB_HEADER_LEN};
use crate::context::{Context, Purpose};
use crate::error::{OpenError, SealError};
use crate::export::TinkKeyset;
use crate::limits::MAX_RECORD_LEN;
use crate::secret::Secret;
use crate::wrapped::check_head;
use crate::xaes::{self, KEY_LEN, TAG_LEN, XNONCE_LEN};

const HEADER_LEN: usize = 5;
/// Magic and format version.
const RECORD_HEADER: [u8; HEADER_LEN] = *b"SRrc\x01";

/// What sealing adds to the length of a record.
pub const RECORD_OVERHEAD: usize = HEADER_LEN + XNONCE_LEN + TAG_LEN;

/// The key of one record or one blob. Each has its own; destroying the wrapped form shreds what it sealed.
pub struct ObjectKey {
    secret: Secret<KEY_LEN>,
}

impl ObjectKey {
    /// Draws a fresh key.
    pub fn generate() -> Result<Self, SealError> {
        Ok(Self {
            secret: Secret::random()?,
        })
    }

    pub(crate) const fn from_secret(secret: Secret<KEY_LEN>) -> Self {
        Self { secret }
    }

    pub(crate) const fn secret(&self) -> &Secret<KEY_LEN> {
        &self.secret
    }

    /// Seals a record for `context`.
    pub fn seal_record(&self, context: &Context<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; XNONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        self.seal_record_with_nonce(context, plain, &nonce)
    }

    pub(crate) fn seal_record_with_nonce(
        &self,
        context: &Context<'_>,
        plain: &[u8],
        nonce: &[u8; XNONCE_LEN],
    ) -> Result<Vec<u8>, SealError> {
        if plain.len() > MAX_RECORD_LEN {
            return Err(SealError::TooLarge);
        }
        let mut sealed = Vec::with_capacity(RECORD_OVERHEAD + plain.len());
        sealed.extend_from_slice(&RECORD_HEADER);
        sealed.extend_from_slice(nonce);
        sealed.extend_from_slice(plain);
        let (_, body) = sealed.split_at_mut(HEADER_LEN + XNONCE_LEN);
        let tag = xaes::seal(self.secret.expose_secret(), nonce, &record_aad(context), body)
            .map_err(|_| SealError::Library)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens a record that was sealed for `context`.
    pub fn open_record(&self, context: &Context<'_>, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        check_head(stored, &RECORD_HEADER)?;
        let (nonce, sealed, tag) = record_parts(stored).ok_or(OpenError::Truncated)?;
        if sealed.len() > MAX_RECORD_LEN {
            return Err(OpenError::TooLarge);
        }
        let mut plain = Zeroizing::new(sealed.to_vec());
        xaes::open(
            self.secret.expose_secret(),
            nonce,
            &record_aad(context),
            &mut plain,
            tag,
        )
        .map_err(|_: Unspecified| OpenError::NotAuthentic)?;
        Ok(plain)
    }

    /// Begins a blob for `context`, under a fresh salt and nonce prefix.
    pub fn blob_sealer(&self, context: &Context<'_>) -> Result<BlobSealer, SealError> {
        BlobSealer::new(&self.secret, &context.encode(Purpose::Blob))
    }

    /// Opens a blob that was sealed for `context`, given its first 40 bytes.
    pub fn blob_opener(
        &self,
        context: &Context<'_>,
        header: &[u8; BLOB_HEADER_LEN],
    ) -> Result<BlobOpener, OpenError> {
        BlobOpener::new(&self.secret, &context.encode(Purpose::Blob), header)
    }

    /// Hands the key out as a Tink keyset that opens the blob sealed for `context`, for ever and without us. Whoever calls this must
    /// hold the permission to export and put it on record.
    pub fn export(&self, context: &Context<'_>) -> TinkKeyset {
        TinkKeyset::new(&self.secret, context.encode(Purpose::Blob))
    }
}

fn record_aad(context: &Context<'_>) -> Vec<u8> {
    [RECORD_HEADER.as_slice(), &context.encode(Purpose::Record)].concat()
}

/// Nonce, sealed content and tag.
fn record_parts(stored: &[u8]) -> Option<(&[u8; XNONCE_LEN], &[u8], &[u8; TAG_LEN])> {
    let (nonce, rest) = stored.get(HEADER_LEN..)?.split_first_chunk()?;
    let (sealed, tag) = rest.split_last_chunk()?;
    Some((nonce, sealed, tag))
}
