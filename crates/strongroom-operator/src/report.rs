//! The verdict: what every byte is, and what is wrong.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::limits::NAMED_FAULTS;

/// What a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Part of a sealed record or blob.
    Sealed,
    /// A wrapped object key or a wrapped seed.
    WrappedKey,
    /// One of the columns that are readable without the key.
    Clear,
    /// Structure of the database: pages, headers, pointers, indexes, its log and its shared memory.
    Index,
    /// Free space in the database, overwritten with zeros.
    Erased,
    /// A blob that is being written or removed, or that a crash left for the next start to sweep.
    Incoming,
    /// Nothing that the format names. A failure.
    Unaccounted,
}

/// Bytes by class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tally(BTreeMap<Class, u64>);

impl Tally {
    pub(crate) fn add(&mut self, class: Class, bytes: u64) {
        *self.0.entry(class).or_default() += bytes;
    }

    /// Bytes of one class.
    pub fn get(&self, class: Class) -> u64 {
        self.0.get(&class).copied().unwrap_or(0)
    }

    /// The classes that occur, with their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Class, u64)> + '_ {
        self.0.iter().map(|(class, bytes)| (*class, *bytes))
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file or the object, by its readable name.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

/// Objects of one account and kind, under one branch version and customer-key version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// The account's GUID.
    pub account: String,
    /// The kind.
    pub kind: String,
    /// The branch version that wraps the keys.
    pub branch: u32,
    /// The customer-key version that wraps the branch's seed.
    pub key: String,
    /// Records and blobs.
    pub objects: u64,
    /// Of these, opened and authenticated. Zero when blind.
    pub opened: u64,
    /// Their sealed bytes.
    pub bytes: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether keys were used.
    pub blind: bool,
    /// Files looked at.
    pub files: u64,
    /// Bytes by class; their sum is the size of all files.
    pub bytes: Tally,
    /// Sealed objects by kind and key.
    pub sealed: Vec<KindCount>,
    /// The first faults by name.
    pub faults: Vec<Fault>,
    /// How many there are in all.
    pub fault_count: u64,
}

impl Report {
    /// Whether every byte is accounted for and nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.fault_count == 0 && self.bytes.get(Class::Unaccounted) == 0
    }

    pub(crate) fn fault(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.fault_count += 1;
        if self.faults.len() < NAMED_FAULTS {
            self.faults.push(Fault {
                place: place.into(),
                what: what.into(),
            });
        }
    }

    /// Bytes that the format does not name are a fault by themselves.
    pub(crate) fn unaccounted(&mut self, place: impl Into<String>, bytes: u64, what: impl Into<String>) {
        self.bytes.add(Class::Unaccounted, bytes);
        self.fault(place, what);
    }
}
