//! What a sealed thing is, as bytes that its seal is bound to.

use crate::account::AccountId;
use crate::limits::{MAX_ID_LEN, MAX_KIND_LEN};

/// Names one thing that is sealed: a record (part `u32::MAX` by custom) or one of its blobs.
///
/// The canonical encoding is associated data wherever the thing's key is wrapped and wherever its content is sealed, so
/// neither can be moved to another account, kind, id or part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context<'a> {
    account: AccountId,
    kind: &'a str,
    id: &'a str,
    part: u32,
}

/// Why a context was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// The kind is empty, too long, or has a byte outside `a-z 0-9 . _ -`.
    #[error("a kind has 1 to 64 of a-z, 0-9, '.', '_' and '-'")]
    Kind,
    /// The id is empty, too long, or has a byte outside printable ASCII.
    #[error("an id has 1 to 255 printable ASCII characters without spaces")]
    Id,
}

/// What an encoded context is used for. One label per use keeps the uses apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    ObjectKey,
    Record,
    Blob,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::ObjectKey => "strongroom/object-key/v1",
            Self::Record => "strongroom/record/v1",
            Self::Blob => "strongroom/blob/v1",
        }
    }
}

impl<'a> Context<'a> {
    /// Checks the names and makes the context.
    pub fn new(account: AccountId, kind: &'a str, id: &'a str, part: u32) -> Result<Self, ContextError> {
        let kind_byte =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if kind.is_empty() || kind.len() > MAX_KIND_LEN || !kind.bytes().all(kind_byte) {
            return Err(ContextError::Kind);
        }
        if id.is_empty() || id.len() > MAX_ID_LEN || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ContextError::Id);
        }
        Ok(Self {
            account,
            kind,
            id,
            part,
        })
    }

    /// The account.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The kind of object.
    pub const fn kind(&self) -> &'a str {
        self.kind
    }

    /// The object's id.
    pub const fn id(&self) -> &'a str {
        self.id
    }

    /// Which part of the object.
    pub const fn part(&self) -> u32 {
        self.part
    }

    /// The canonical bytes: each field behind its length, so no two contexts or uses share an encoding.
    pub(crate) fn encode(&self, purpose: Purpose) -> Vec<u8> {
        let part = self.part.to_be_bytes();
        let fields: [&[u8]; 5] = [
            purpose.label().as_bytes(),
            self.account.as_bytes(),
            self.kind.as_bytes(),
            self.id.as_bytes(),
            &part,
        ];
        let mut encoded = Vec::with_capacity(fields.iter().map(|field| 2 + field.len()).sum());
        for field in fields {
            // Every field is far below 64 KiB by the limits above.
            let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
            encoded.extend_from_slice(&length.to_be_bytes());
            encoded.extend_from_slice(field);
        }
        encoded
    }
}
