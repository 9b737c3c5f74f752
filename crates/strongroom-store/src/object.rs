//! What goes in and comes out: objects, pages, statistics.

use std::time::Duration;

use strongroom_seal::{BranchVersion, KeyId};
use zeroize::Zeroizing;

use crate::staging::StagedBlob;

/// An object to be stored: a sealed record and any number of sealed blobs, committed as one.
pub struct NewObject<'a> {
    /// What it is: "file", "response", ... Readable without the key.
    pub kind: &'static str,
    /// Its id, unique within account and kind. Readable without the key.
    pub id: String,
    /// The record's body, usually JSON. Sealed.
    pub body: &'a [u8],
    /// How long from now it is kept; then it is shredded. `None` keeps it.
    pub expires: Option<Duration>,
    /// Blobs staged for this very kind and id.
    pub blobs: Vec<StagedBlob>,
}

impl<'a> NewObject<'a> {
    /// An object without blobs that does not expire.
    #[must_use]
    pub fn new(kind: &'static str, id: impl Into<String>, body: &'a [u8]) -> Self {
        Self {
            kind,
            id: id.into(),
            body,
            expires: None,
            blobs: Vec::new(),
        }
    }
}

/// What replaces a record's body. A blob never changes; [`attach`](crate::Store::attach) and
/// [`update_keeping`](crate::Store::update_keeping) add and remove whole ones.
pub struct Change<'a> {
    /// The new body. Sealed under a new key; the old one is destroyed.
    pub body: &'a [u8],
    /// What becomes of the expiry.
    pub expires: Expiry,
}

impl<'a> Change<'a> {
    /// Leaves the expiry as it is.
    #[must_use]
    pub fn keeping(body: &'a [u8]) -> Self {
        Self {
            body,
            expires: Expiry::Keep,
        }
    }
}

/// What a change does to the expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Leaves it as it is.
    Keep,
    /// The object no longer expires.
    Never,
    /// It expires this long from now.
    In(Duration),
}

/// What is readable without the key, and repeated inside the seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The kind.
    pub kind: String,
    /// The id.
    pub id: String,
    /// When it was stored first, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
    /// 1 when new, one more with each change.
    pub revision: u64,
    /// The length of each blob, before sealing.
    pub parts: Vec<PartSize>,
}

impl Meta {
    /// The most blobs that an object can have.
    pub const PARTS: usize = crate::limits::PARTS;

    /// When it was stored first, in whole seconds since the Unix epoch.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.created_ms / 1000
    }

    /// When it expires, in whole seconds since the Unix epoch.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.expires_ms.map(|ms| ms / 1000)
    }

    /// The length of one blob.
    #[must_use]
    pub fn size_of(&self, part: u32) -> Option<u64> {
        self.parts
            .iter()
            .find(|size| size.part == part)
            .map(|size| size.size)
    }
}

/// One blob's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSize {
    /// The part's number within its object.
    pub part: u32,
    /// Its length before sealing.
    pub size: u64,
}

/// A record, opened.
pub struct Object {
    /// What is readable without the key; checked against the seal.
    pub meta: Meta,
    /// The body, wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

/// In which direction to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// Which part of a listing is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The id of the last object of the page before; unknown ids answer `NotFound`.
    pub after: Option<String>,
    /// How many at most; capped at [`Page::MAX`].
    pub limit: u32,
    /// The direction.
    pub order: Order,
}

impl Page {
    /// The longest page served.
    pub const MAX: u32 = crate::limits::PAGE;
}

/// One page of a listing.
pub struct Listing {
    /// The objects, opened.
    pub objects: Vec<Object>,
    /// Whether more follow.
    pub has_more: bool,
}

/// How much is sealed for an account, by kind and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The kind of object.
    pub kind: String,
    /// The branch version that wraps their keys.
    pub branch: BranchVersion,
    /// The customer-key version that wraps the branch's seed.
    pub key: Option<KeyId>,
    /// Objects whose record is sealed under it.
    pub objects: u64,
    /// Sealed bytes, blobs included.
    pub bytes: u64,
}

/// What the store holds for an account, cheaply counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// One row for each kind and branch version in use.
    pub sealed: Vec<Usage>,
    /// How often an object was exported, ever.
    pub exports: u64,
    /// Objects deleted but not yet erased from database and log.
    pub awaiting_erasure: u64,
}

/// Why a version of the customer key must stay enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVersionNeed {
    /// The versioned key.
    pub key: KeyId,
    /// The branch versions whose seeds it wraps.
    pub branch_versions: Vec<BranchVersion>,
    /// The objects that depend on them.
    pub objects: u64,
    /// Their sealed bytes.
    pub bytes: u64,
}
