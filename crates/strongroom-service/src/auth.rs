//! Credential → caller → permit.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use strongroom_store::{AccountId, Action, Permit, PermitAuthority};

use crate::limits;
use crate::parts::AccountName;
use crate::problem::Problem;

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

/// What a caller may do in the data plane, by family of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Models; those that are kept are the fine-tuned ones.
    pub models: Crud,
    /// Files.
    pub files: Crud,
    /// Fine-tuning jobs.
    pub fine_tuning: Crud,
    /// Stored responses. To make one is to ask a model and keep the answer.
    pub responses: Crud,
    /// Stored completions. To make one is to ask a model and keep the answer.
    pub completions: Crud,
    /// Ask a model, keeping nothing.
    pub chat: bool,
    /// Have text embedded.
    pub embeddings: bool,
}

/// Rights over things that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crud {
    /// See them.
    pub read: bool,
    /// Make and change them.
    pub write: bool,
    /// Delete them.
    pub delete: bool,
}

impl Crud {
    /// Everything.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        delete: true,
    };

    const NONE: Self = Self {
        read: false,
        write: false,
        delete: false,
    };

    fn holds(self, act: Act) -> bool {
        match act {
            Act::Read => self.read,
            Act::Write => self.write,
            Act::Delete => self.delete,
        }
    }
}

impl Rights {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        models: Crud::NONE,
        files: Crud::NONE,
        fine_tuning: Crud::NONE,
        responses: Crud::NONE,
        completions: Crud::NONE,
        chat: false,
        embeddings: false,
    };

    /// Everything: what an account key may do.
    pub const ALL: Self = Self {
        models: Crud::ALL,
        files: Crud::ALL,
        fine_tuning: Crud::ALL,
        responses: Crud::ALL,
        completions: Crud::ALL,
        chat: true,
        embeddings: true,
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

/// A right that a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Models(Act),
    Files(Act),
    FineTuning(Act),
    Responses(Act),
    Completions(Act),
    Chat,
    Embeddings,
}

/// What a route does with things that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Read,
    Write,
    Delete,
}

impl Rights {
    pub(crate) fn holds(self, right: Right) -> bool {
        match right {
            Right::Models(act) => self.models.holds(act),
            Right::Files(act) => self.files.holds(act),
            Right::FineTuning(act) => self.fine_tuning.holds(act),
            Right::Responses(act) => self.responses.holds(act),
            Right::Completions(act) => self.completions.holds(act),
            Right::Chat => self.chat,
            Right::Embeddings => self.embeddings,
        }
    }
}

/// The permits of one request: those that its route asks for, and no others.
pub(crate) struct Permits {
    permits: Vec<Permit>,
}

impl Permits {
    /// Turns rights that the caller holds into permits, or refuses.
    pub(crate) fn grant(
        authority: &PermitAuthority,
        caller: &Caller,
        needs: &[Right],
    ) -> Result<Self, Problem> {
        if !needs.iter().all(|right| caller.rights.holds(*right)) {
            return Err(Problem::NoRight);
        }
        let name: Arc<str> = Arc::from(caller.name.as_str());
        let actions = needs.iter().filter_map(|right| action(*right));
        let permits = actions.map(|action| authority.permit(caller.account, action, Arc::clone(&name)));
        Ok(Self {
            permits: permits.collect(),
        })
    }

    pub(crate) fn read(&self) -> Result<&Permit, Problem> {
        self.find(Action::Read)
    }

    pub(crate) fn write(&self) -> Result<&Permit, Problem> {
        self.find(Action::Write)
    }

    pub(crate) fn delete(&self) -> Result<&Permit, Problem> {
        self.find(Action::Delete)
    }

    fn find(&self, action: Action) -> Result<&Permit, Problem> {
        // A route that does not ask for what its handler does refuses everybody; its test finds out.
        self.permits
            .iter()
            .find(|permit| permit.action() == action)
            .ok_or(Problem::NoRight)
    }
}

/// Asking a model touches no storage.
fn action(right: Right) -> Option<Action> {
    match right {
        Right::Models(act)
        | Right::Files(act)
        | Right::FineTuning(act)
        | Right::Responses(act)
        | Right::Completions(act) => Some(match act {
            Act::Read => Action::Read,
            Act::Write => Action::Write,
            Act::Delete => Action::Delete,
        }),
        Right::Chat | Right::Embeddings => None,
    }
}

/// Who sent this request.
pub(crate) async fn identify(authenticate: &dyn Authenticate, head: &Parts) -> Result<Caller, Problem> {
    let account = head
        .extensions
        .get::<AccountName>()
        .ok_or(Problem::UnknownRoute)?;
    let credential = credential(&head.headers)?;
    let caller = authenticate
        .authenticate(account, credential)
        .await
        .map_err(Problem::Denied)?;
    if caller.account_name.eq_ignore_ascii_case(&account.0) {
        Ok(caller)
    } else {
        Err(Problem::Denied(AuthDenied::Unknown))
    }
}

/// `api-key` carries a key; `Authorization: Bearer` a key, or a token, which has three parts between dots.
fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Problem> {
    let unknown = || Problem::Denied(AuthDenied::Unknown);
    if let Some(key) = headers.get("api-key") {
        return Ok(Credential::Key(text(key.as_bytes()).ok_or_else(unknown)?));
    }
    let value = headers.get(AUTHORIZATION).ok_or(Problem::NoCredential)?;
    let (scheme, shown) = text(value.as_bytes())
        .and_then(|text| text.split_once(' '))
        .ok_or_else(unknown)?;
    let shown = shown.trim();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unknown());
    }
    match shown {
        "" => Err(Problem::NoCredential),
        token if token.split('.').count() == 3 => Ok(Credential::Token(token)),
        key => Ok(Credential::Key(key)),
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() <= limits::CREDENTIAL_BYTES)
}
