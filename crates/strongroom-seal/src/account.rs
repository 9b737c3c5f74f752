//! The identity that every key is bound to.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// An account's immutable GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Uuid);

/// The text is not a GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an account GUID (expected 8-4-4-4-12 hexadecimal digits)")]
pub struct AccountIdError;

impl AccountId {
    /// Takes a GUID as an account's.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The GUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// The 16 bytes of the GUID in the order in which it is written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for AccountId {
    type Err = AccountIdError;

    /// Accepts the hyphenated form alone, so that one account has one spelling (letter case aside).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HYPHENATED: usize = 36;
        if text.len() != HYPHENATED {
            return Err(AccountIdError);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| AccountIdError)
    }
}
