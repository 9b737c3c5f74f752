//! What `strongroom verify` said of the stored bytes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{field, list, number, text, truth};
use super::lookup::FactRef;
use super::names::guid;

/// The verdict over the stored bytes of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBytes {
    /// Whether keys were used; without, nothing was opened.
    pub blind: bool,
    /// What was found wrong.
    pub faults: u64,
    /// Bytes that nothing accounts for.
    pub unaccounted: u64,
    /// What is sealed, by the account's GUID.
    pub accounts: BTreeMap<String, Vec<StoredKind>>,
    /// Where that was read.
    pub fact: FactRef,
}

/// Objects of one kind under one version of the customer's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKind {
    /// The kind.
    pub kind: String,
    /// The version of the customer's key that holds the seed.
    pub key: String,
    /// How many there are.
    pub objects: u64,
    /// Of these, opened and authenticated.
    pub opened: u64,
}

impl StoredBytes {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        let count =
            |value: &Value, path: &str| number(value, path).and_then(|count| u64::try_from(count).ok());
        let mut accounts: BTreeMap<String, Vec<StoredKind>> = BTreeMap::new();
        field(body, "sealed")?;
        for entry in list(body, "sealed") {
            // With or without dashes.
            let account = guid(text(entry, "account")?)?.replace('-', "");
            accounts.entry(account).or_default().push(StoredKind {
                kind: text(entry, "kind")?.to_owned(),
                key: text(entry, "key").unwrap_or_default().to_owned(),
                objects: count(entry, "objects")?,
                opened: count(entry, "opened").unwrap_or(0),
            });
        }
        Some(Self {
            blind: truth(body, "blind")?,
            faults: count(body, "fault_count")?,
            unaccounted: count(field(body, "bytes")?, "unaccounted").unwrap_or(0),
            accounts,
            fact,
        })
    }

    /// Whether every byte is accounted for and nothing is wrong.
    pub const fn is_clean(&self) -> bool {
        self.faults == 0 && self.unaccounted == 0
    }
}
