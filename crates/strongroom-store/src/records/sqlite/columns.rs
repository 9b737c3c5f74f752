//! How values stand in columns.

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use strongroom_seal::{AccountId, BranchVersion, WrappedKey};
use uuid::Uuid;

use crate::{jobs::Wish, limits, records::JobPhase};

pub(super) const FREE_ACCOUNT: [u8; 16] = [0; 16];
pub(super) const FREE_BRANCH: [u8; 4] = [0; 4];
pub(super) const FREE_OWNER: [u8; Owner::LEN] = [0; Owner::LEN];
pub(super) const FREE_KEY: [u8; WrappedKey::LEN] = [0; WrappedKey::LEN];

/// SQLite has no unsigned integers. Nothing here comes near the limit.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn len(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn branch_bytes(version: BranchVersion) -> [u8; 4] {
    version.get().to_be_bytes()
}

/// An account in a column: its 16 bytes.
pub(super) struct Account(pub(super) AccountId);

impl ToSql for Account {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

impl FromSql for Account {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let uuid =
            Uuid::from_slice(value.as_blob()?).map_err(|error| FromSqlError::Other(Box::new(error)))?;
        Ok(Self(AccountId::from_uuid(uuid)))
    }
}

/// A branch version as four big-endian bytes, so that rows of `key_slot` keep their length.
pub(super) struct Branch(pub(super) BranchVersion);

impl FromSql for Branch {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 4]>::column_result(value).map(|bytes| Self(BranchVersion::new(u32::from_be_bytes(bytes))))
    }
}

/// A branch version as a number.
pub(super) struct Version(pub(super) BranchVersion);

impl ToSql for Version {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.get()))
    }
}

impl FromSql for Version {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u32::column_result(value).map(|number| Self(BranchVersion::new(number)))
    }
}

/// The places in `part` that belong to a record, the first and the last: its parts stand there as they came. A record whose
/// `seq` is beyond what this program gives has none.
pub(super) fn places(seq: i64) -> (i64, i64) {
    let first = seq.saturating_mul(len(limits::PARTS));
    (first, first.saturating_add(len(limits::PARTS) - 1))
}

/// Whose key a slot holds: the record's `seq`, the part, and the length of what the key seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) seq: i64,
    pub(super) part: u32,
    pub(super) bytes: u64,
}

impl Owner {
    pub(super) const LEN: usize = 8 + 4 + 8;

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let (seq, rest) = out.split_at_mut(8);
        let (part, bytes) = rest.split_at_mut(4);
        seq.copy_from_slice(&self.seq.to_be_bytes());
        part.copy_from_slice(&self.part.to_be_bytes());
        bytes.copy_from_slice(&self.bytes.to_be_bytes());
        out
    }
}

impl FromSql for Owner {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = <[u8; Self::LEN]>::column_result(value)?;
        let number = |from: usize, to: usize| {
            bytes
                .get(from..to)
                .unwrap_or_default()
                .iter()
                .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte))
        };
        let part = u32::try_from(number(8, 12)).map_err(|error| FromSqlError::Other(Box::new(error)))?;
        Ok(Self {
            seq: int(number(0, 8)),
            part,
            bytes: number(12, 20),
        })
    }
}

/// Some branch versions, as text with commas.
pub(super) struct Versions(pub(super) Vec<BranchVersion>);

impl ToSql for Versions {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let numbers: Vec<_> = self.0.iter().map(|version| version.get().to_string()).collect();
        Ok(ToSqlOutput::from(numbers.join(",")))
    }
}

impl FromSql for Versions {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let numbers = value.as_str()?.split(',').filter(|number| !number.is_empty());
        let version = |number: &str| number.parse().map(BranchVersion::new);
        numbers
            .map(version)
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl JobPhase {
    pub(super) fn as_text(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromSql for JobPhase {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        let mut all = Self::ALL.into_iter();
        all.find(|phase| phase.as_text() == text)
            .ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Wish {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        // A row holds what is still to be done; taking a hold back leaves nothing.
        let wish = Self::parse(value.as_str()?).filter(|wish| *wish != Self::Resume);
        wish.ok_or(FromSqlError::InvalidType)
    }
}
