//! What stands before and after every route, as in the service: the caller's key, ids, no caching. Without it, a comparison would
//! be with a server that lets everybody in.

use std::path::Path;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use strongroom_control::{Control, Encryption, NewAccount};
use strongroom_seal::AccountId;
use strongroom_service::AccountName;
use strongroom_vault::{RootKey, VaultEngine};
use tokio::time::Instant;
use uuid::Uuid;

use super::routes::Shared;
use crate::clock::HandClock;
use crate::error::TestkitError;

/// The account behind the plain door.
pub(super) const ACCOUNT: &str = "main";

/// Knows the keys of the twin's one account.
pub(super) struct Door {
    control: Control,
}

impl Door {
    pub(super) fn open(folder: &Path) -> Result<Self, TestkitError> {
        let clock = Arc::new(HandClock::default());
        let vaults = folder.join("vault");
        let root = RootKey::File(vaults.join("root-key"));
        let vaults = VaultEngine::open(&vaults, root, Arc::clone(&clock) as _)?;
        let control = Control::open(folder, vaults, clock)?;
        control.ensure_account(&NewAccount {
            name: ACCOUNT.to_owned(),
            resource_group: "twin".to_owned(),
            location: "local".to_owned(),
            // An account has to name a key; here nothing is sealed under it.
            encryption: Encryption::customer("https://none.vault.localhost", "none", None),
        })?;
        Ok(Self { control })
    }

    /// A key that opens it.
    pub(super) fn key(&self) -> String {
        let keys = self.control.account_keys(ACCOUNT);
        keys.map(|[key, _]| key.to_string()).unwrap_or_default()
    }
}

/// A request whose sender is known.
pub(super) struct Admitted {
    pub(super) account: AccountId,
    id: Uuid,
    began: Instant,
}

impl FromRequestParts<Arc<Shared>> for Admitted {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, StatusCode> {
        let began = Instant::now();
        let name = parts.extensions.get::<AccountName>();
        let key = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let (name, key) = name.zip(key).ok_or(StatusCode::UNAUTHORIZED)?;
        let known = shared.door.control.authenticate_key(&name.0, key);
        let (account, _) = known.ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self {
            account: account.id,
            id: Uuid::new_v4(),
            began,
        })
    }
}

impl Admitted {
    /// Puts the ids on an answer.
    pub(super) fn answer(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        headers.insert(
            HeaderName::from_static("openai-processing-ms"),
            milliseconds.into(),
        );
        if let Ok(id) = HeaderValue::from_str(&format!("req_{}", self.id.simple())) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        response
    }
}
