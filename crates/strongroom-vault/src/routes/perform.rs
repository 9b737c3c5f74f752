//! Each operation: read the body, ask the engine, write the bundle.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::engine::fault::VaultFault;
use crate::engine::settings::{KeyVersion, Page, VaultSettings};
use crate::routes::body::{self, base64url};
use crate::routes::bundle::Bundles;
use crate::routes::path::{Operation, Target};
use crate::routes::respond::Answer;
use crate::routes::{Asked, VaultRoutes};

/// An answer, and the id of the key version it is about.
type Performed = Result<(Answer, Option<String>), VaultFault>;

impl VaultRoutes {
    pub(super) async fn perform(
        &self,
        asked: &Asked,
        vault: &VaultSettings,
        target: &Target,
        body: &[u8],
    ) -> Performed {
        let bundles = Bundles {
            vault,
            authority: &asked.host.authority,
        };
        let (engine, name) = (&self.engine, target.name.as_str());
        let version = target.version.as_deref();
        let one = |key: KeyVersion| Ok((Answer::Json(bundles.key(&key)), Some(bundles.kid(&key))));
        match target.operation {
            Operation::CreateKey => one(engine.create_key(&vault.name, name, body::create(body)?).await?),
            Operation::GetKey => one(engine.key(&vault.name, name, version).await?),
            Operation::RotateKey => one(engine.rotate_key(&vault.name, name).await?),
            Operation::UpdateKey => one(engine
                .update_key(&vault.name, name, version, body::update(body)?)
                .await?),
            Operation::RecoverKey => one(engine.recover_key(&vault.name, name).await?),
            Operation::WrapKey => self.wrap(&bundles, target, body).await,
            Operation::UnwrapKey => self.unwrap(&bundles, target, body).await,
            Operation::DeleteKey => {
                let deleted = engine.delete_key(&vault.name, name).await?;
                Ok((
                    Answer::Json(bundles.deleted(&deleted)),
                    Some(bundles.kid(&deleted.latest)),
                ))
            }
            Operation::GetDeletedKey => {
                let deleted = engine.deleted_key(&vault.name, name).await?;
                Ok((
                    Answer::Json(bundles.deleted(&deleted)),
                    Some(bundles.kid(&deleted.latest)),
                ))
            }
            Operation::PurgeKey => {
                engine.purge_key(&vault.name, name).await?;
                Ok((Answer::Nothing, None))
            }
            Operation::ListKeys | Operation::ListVersions | Operation::ListDeletedKeys => {
                Ok((Answer::Json(self.list(asked, &bundles, target).await?), None))
            }
        }
    }

    async fn wrap(&self, bundles: &Bundles<'_>, target: &Target, body: &[u8]) -> Performed {
        let (algorithm, plain) = body::operation(body)?;
        let version = target.version.as_deref();
        let used = self
            .engine
            .wrap(&bundles.vault.name, &target.name, version, algorithm, plain)
            .await?;
        let kid = bundles.kid(&used.key);
        Ok((
            Answer::Json(json!({"kid": kid, "value": base64url(&used.value)})),
            Some(kid),
        ))
    }

    async fn unwrap(&self, bundles: &Bundles<'_>, target: &Target, body: &[u8]) -> Performed {
        let (algorithm, wrapped) = body::operation(body)?;
        let version = target.version.as_deref();
        let wrapped = wrapped.to_vec();
        let used = self
            .engine
            .unwrap(&bundles.vault.name, &target.name, version, algorithm, wrapped)
            .await?;
        let kid = bundles.kid(&used.key);
        Ok((Answer::Secret(unwrapped(&kid, &used.value)), Some(kid)))
    }

    async fn list(&self, asked: &Asked, bundles: &Bundles<'_>, target: &Target) -> Result<Value, VaultFault> {
        let start = asked.query.page()?;
        let (vault, name) = (bundles.vault.name.as_str(), target.name.as_str());
        let next = |path: String, last: Option<&String>| match last {
            Some(last) => json!(format!(
                "https://{}{path}?{}",
                bundles.authority,
                asked.query.next(last)
            )),
            None => Value::Null,
        };
        Ok(match target.operation {
            Operation::ListVersions => {
                let page = self.engine.list_versions(vault, name, start).await?;
                let last = last(&page, |key| &key.version);
                listed(
                    &page,
                    |key| bundles.version_row(key),
                    next(format!("/keys/{name}/versions"), last),
                )
            }
            Operation::ListDeletedKeys => {
                let page = self.engine.list_deleted(vault, start).await?;
                let last = last(&page, |deleted| &deleted.latest.name);
                listed(
                    &page,
                    |deleted| bundles.deleted_row(deleted),
                    next("/deletedkeys".to_owned(), last),
                )
            }
            _ => {
                let page = self.engine.list_keys(vault, start).await?;
                let last = last(&page, |key| &key.name);
                listed(&page, |key| bundles.key_row(key), next("/keys".to_owned(), last))
            }
        })
    }
}

/// The mark of the last row, if more follow.
fn last<T>(page: &Page<T>, mark: impl Fn(&T) -> &String) -> Option<&String> {
    page.rows.last().filter(|_| page.more).map(mark)
}

fn listed<T>(page: &Page<T>, row: impl Fn(&T) -> Value, next: Value) -> Value {
    json!({"value": page.rows.iter().map(row).collect::<Vec<_>>(), "nextLink": next})
}

/// The answer to an unwrap, in memory that is wiped. The id holds nothing that JSON would escape: it was checked part by part.
fn unwrapped(kid: &str, plain: &[u8]) -> Zeroizing<Vec<u8>> {
    const QUOTES: usize = 24;
    let value = Zeroizing::new(base64url(plain));
    let mut body = Zeroizing::new(Vec::with_capacity(kid.len() + value.len() + QUOTES));
    body.extend_from_slice(br#"{"kid":""#);
    body.extend_from_slice(kid.as_bytes());
    body.extend_from_slice(br#"","value":""#);
    body.extend_from_slice(value.as_bytes());
    body.extend_from_slice(br#""}"#);
    body
}
