//! Credential → caller → permit.

use futures::future::BoxFuture;
use strongroom_store::AccountId;

use crate::parts::AccountName;

/// Knows who holds which credential.
pub trait Authenticate: Send + Sync + 'static {
    /// Who is calling this account with this credential.
    fn authenticate<'a>(
        &'a self,
        account: &'a AccountName,
        credential: Credential<'a>,
    ) -> BoxFuture<'a, Result<Caller, AuthDenied>>;
}

/// What a request shows. Has no `Debug`, on purpose.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// One of the account's keys.
    Key(&'a str),
    /// A token of the issuer (JWT).
    Token(&'a str),
}

/// Who is calling, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account that the credential is good for.
    pub account: AccountId,
    /// That account's name; must be the one that was addressed.
    pub account_name: String,
    /// Who it is, for permits and journals: an object id or the name of a key slot. No secret.
    pub name: String,
    /// What they may do in this account.
    pub rights: Rights,
}

/// What a caller may do in the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Read files, responses and models.
    pub read: bool,
    /// Upload, create responses.
    pub write: bool,
    /// Delete files and responses.
    pub delete: bool,
    /// Ask a model.
    pub infer: bool,
}

impl Rights {
    /// Everything: what an account key may do.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        delete: true,
        infer: true,
    };
}

/// Why a credential was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthDenied {
    /// Nobody holds this credential, or it is not for this account.
    #[error("the credential is not valid for this account")]
    Unknown,
    /// The token is over; get a new one.
    #[error("the token has expired")]
    Expired,
    /// The caller is known but has no right in this account.
    #[error("the caller has no right in this account")]
    Forbidden,
    /// It cannot be told now; try again.
    #[error("credentials cannot be checked now")]
    Unavailable,
}
