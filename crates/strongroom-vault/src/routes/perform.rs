//! Each operation: read the body, ask the engine, write the bundle.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::engine::fault::VaultFault;
use crate::engine::settings::{KeyVersion, Page, VaultSettings};
use crate::engine::uses::Using;
use crate::routes::body::{self, base64url};
use crate::routes::bundle::Bundles;
use crate::routes::import;
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
            Operation::ImportKey => {
                let (new, foreign) = import::import(body)?;
                one(engine.import_key(&vault.name, name, new, foreign).await?)
            }
            Operation::GetKey => one(engine.key(&vault.name, name, version).await?),
            Operation::RotateKey => one(engine.rotate_key(&vault.name, name).await?),
            Operation::UpdateKey => one(engine
                .update_key(&vault.name, name, version, body::update(body)?)
                .await?),
            Operation::RecoverKey => one(engine.recover_key(&vault.name, name).await?),
            Operation::BackupKey => {
                let (key, backup) = engine.backup_key(&vault.name, name).await?;
                Ok((
                    Answer::Json(json!({"value": base64url(&backup)})),
                    Some(bundles.kid(&key)),
                ))
            }
            Operation::RestoreKey => one(engine.restore_key(&vault.name, body::backup(body)?).await?),
            Operation::DeleteKey | Operation::GetDeletedKey => {
                let deleted = match target.operation {
                    Operation::DeleteKey => engine.delete_key(&vault.name, name).await?,
                    _ => engine.deleted_key(&vault.name, name).await?,
                };
                let kid = bundles.kid(&deleted.latest);
                Ok((Answer::Json(bundles.deleted(&deleted)), Some(kid)))
            }
            Operation::PurgeKey => {
                engine.purge_key(&vault.name, name).await?;
                Ok((Answer::Nothing, None))
            }
            Operation::ListKeys | Operation::ListVersions | Operation::ListDeletedKeys => {
                Ok((Answer::Json(self.list(asked, &bundles, target).await?), None))
            }
            Operation::GetRotationPolicy | Operation::SetRotationPolicy => {
                let (key, policy) = match target.operation {
                    Operation::SetRotationPolicy => {
                        let policy = body::policy(body)?;
                        engine.set_rotation_policy(&vault.name, name, policy).await?
                    }
                    _ => engine.rotation_policy(&vault.name, name).await?,
                };
                Ok((Answer::Json(bundles.policy(&key, &policy)), None))
            }
            Operation::Random => {
                let bytes = engine.random(body::random(body)?)?;
                Ok((Answer::Secret(secret_value(None, &bytes)), None))
            }
            Operation::ReleaseKey => Err(VaultFault::NotExportable),
            Operation::Sign | Operation::Verify => self.sign_or_verify(&bundles, target, body).await,
            Operation::Encrypt | Operation::WrapKey => self.encrypt(&bundles, target, body).await,
            Operation::Decrypt | Operation::UnwrapKey => self.decrypt(&bundles, target, body).await,
        }
    }

    async fn encrypt(&self, bundles: &Bundles<'_>, target: &Target, body: &[u8]) -> Performed {
        let (algorithm, plain) = body::operation(body)?;
        let key = using(bundles, target);
        let used = match target.operation {
            Operation::WrapKey => self.engine.wrap(key, algorithm, plain).await?,
            _ => self.engine.encrypt(key, algorithm, plain).await?,
        };
        let kid = bundles.kid(&used.key);
        Ok((
            Answer::Json(json!({"kid": kid, "value": base64url(&used.value)})),
            Some(kid),
        ))
    }

    async fn decrypt(&self, bundles: &Bundles<'_>, target: &Target, body: &[u8]) -> Performed {
        let (algorithm, encrypted) = body::operation(body)?;
        let key = using(bundles, target);
        let encrypted = encrypted.to_vec();
        let used = match target.operation {
            Operation::UnwrapKey => self.engine.unwrap(key, algorithm, encrypted).await?,
            _ => self.engine.decrypt(key, algorithm, encrypted).await?,
        };
        let kid = bundles.kid(&used.key);
        Ok((Answer::Secret(secret_value(Some(&kid), &used.value)), Some(kid)))
    }

    async fn sign_or_verify(&self, bundles: &Bundles<'_>, target: &Target, body: &[u8]) -> Performed {
        let key = using(bundles, target);
        if target.operation == Operation::Sign {
            let (algorithm, digest) = body::sign(body)?;
            let used = self.engine.sign(key, algorithm, digest).await?;
            let kid = bundles.kid(&used.key);
            let answer = json!({"kid": kid, "value": base64url(&used.value)});
            return Ok((Answer::Json(answer), Some(kid)));
        }
        let (algorithm, digest, signature) = body::verify(body)?;
        let used = self.engine.verify(key, algorithm, digest, signature).await?;
        let kid = bundles.kid(&used.key);
        Ok((Answer::Json(json!({"value": used.value})), Some(kid)))
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

fn using<'a>(bundles: &'a Bundles<'_>, target: &'a Target) -> Using<'a> {
    Using {
        vault: &bundles.vault.name,
        name: &target.name,
        version: target.version.as_deref(),
    }
}

/// An answer with a value that is secret, in memory that is wiped. The id holds nothing that JSON would escape: it was checked
/// part by part.
fn secret_value(kid: Option<&str>, plain: &[u8]) -> Zeroizing<Vec<u8>> {
    const QUOTES: usize = 24;
    let value = Zeroizing::new(base64url(plain));
    let mut body = Zeroizing::new(Vec::with_capacity(
        kid.unwrap_or_default().len() + value.len() + QUOTES,
    ));
    body.push(b'{');
    if let Some(kid) = kid {
        body.extend_from_slice(br#""kid":""#);
        body.extend_from_slice(kid.as_bytes());
        body.extend_from_slice(br#"","#);
    }
    body.extend_from_slice(br#""value":""#);
    body.extend_from_slice(value.as_bytes());
    body.extend_from_slice(br#""}"#);
    body
}
