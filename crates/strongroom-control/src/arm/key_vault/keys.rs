//! Keys through Resource Manager: made if they are not there, and seen. Whatever else is done with keys, vaults do it themselves.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_vault::{KeyOperation, KeyVersion, NewKey, Page, PageStart, Tags, VaultFault, VaultSettings};

use super::super::call::{Answer, Call};
use super::super::fault::{Fault, Outcome, bad};
use super::super::route::{Handler, Permission, Route};
use super::super::{Shared, tags};
use super::{TYPE, id, not_there};
use crate::error::ControlError;
use crate::limits::{ARM_BODY, ARM_KEYS};

pub(super) fn routes() -> Vec<Route> {
    let all = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{vault}/keys";
    let one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{vault}/keys/{key}";
    let versions = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{vault}/keys/{key}/versions";
    let version = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{vault}/keys/{key}/versions/{version}";
    let read = Permission::Action("Microsoft.KeyVault/vaults/keys/read");
    let write = Permission::Action("Microsoft.KeyVault/vaults/keys/write");
    let read_versions = Permission::Action("Microsoft.KeyVault/vaults/keys/versions/read");
    vec![
        Route::new(Method::GET, all, read, 0, handler(list)).audited("KeyList"),
        Route::new(Method::GET, one, read, 0, handler(get)).audited("KeyGet"),
        Route::new(Method::PUT, one, write, ARM_BODY, handler(put)).audited("KeyCreate"),
        Route::new(Method::GET, versions, read_versions, 0, handler(list_versions))
            .audited("KeyListVersions"),
        Route::new(Method::GET, version, read_versions, 0, handler(get)).audited("KeyGet"),
    ]
}

/// The vaults' engine waits for itself.
fn handler<F>(work: impl Fn(Arc<Call>) -> F + Copy + Send + Sync + 'static) -> Handler
where
    F: Future<Output = Outcome<Answer>> + Send + 'static,
{
    Arc::new(move |call| Box::pin(work(call)))
}

/// The vault that the path is in, which must be there.
async fn vault(call: &Arc<Call>) -> Outcome<Arc<VaultSettings>> {
    let asked = Arc::clone(call);
    let look = move || {
        let id = asked.arm.inventory.read(|rows| id(&asked, rows))?;
        super::find(&asked.arm, &id).ok_or_else(|| not_there(&asked))
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or(Err(Fault::Interrupted))
}

#[derive(Deserialize)]
struct KeyBody {
    tags: Option<Tags>,
    properties: KeyProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyProperties {
    kty: Option<String>,
    key_size: Option<u32>,
    curve_name: Option<String>,
    key_ops: Option<Vec<String>>,
    attributes: Option<Value>,
    rotation_policy: Option<Value>,
    #[serde(rename = "release_policy")]
    release_policy: Option<Value>,
}

impl KeyBody {
    /// The same in the vault's own protocol, so that what a key may be is written down once.
    fn read(self) -> Result<NewKey, ControlError> {
        let asked = self.properties;
        if asked.rotation_policy.is_some() {
            let reason = "A rotation policy is set in the vault's own protocol, once the key is there.";
            return Err(ControlError::InvalidVault {
                reason: reason.to_owned(),
            });
        }
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        set("kty", Some(json!(asked.kty.unwrap_or_else(|| "RSA".to_owned()))));
        set("key_size", asked.key_size.map(Value::from));
        set("crv", asked.curve_name.map(Value::from));
        set("key_ops", asked.key_ops.map(Value::from));
        set("attributes", asked.attributes);
        set("release_policy", asked.release_policy);
        set("tags", self.tags.map(|tags| json!(tags)));
        let body = Value::Object(body).to_string();
        Ok(NewKey::read(body.as_bytes())?)
    }
}

async fn put(call: Arc<Call>) -> Outcome<Answer> {
    tags::check(call.object()?.get("tags"))?;
    let asked: KeyBody = call.read()?;
    let vault = vault(&call).await?;
    let (engine, name) = (call.arm.control.vaults(), call.name("key"));
    // A key that is there is shown as it is, whatever was asked for.
    let known = match engine.key(&vault.name, name, None).await {
        Err(VaultFault::KeyNotFound(_)) => engine.create_key(&vault.name, name, asked.read()?).await,
        known => known,
    };
    let key = known.map_err(ControlError::from)?;
    Ok(Answer::ok(shape(&call.arm, &vault, &key, false)))
}

async fn get(call: Arc<Call>) -> Outcome<Answer> {
    let vault = vault(&call).await?;
    let version = call.names.get("version");
    let engine = call.arm.control.vaults();
    let found = engine
        .key(&vault.name, call.name("key"), version.map(String::as_str))
        .await;
    let key = found.map_err(ControlError::from)?;
    Ok(Answer::ok(shape(&call.arm, &vault, &key, version.is_some())))
}

async fn list(call: Arc<Call>) -> Outcome<Answer> {
    let vault = vault(&call).await?;
    let found = call
        .arm
        .control
        .vaults()
        .list_keys(&vault.name, start(&call)?)
        .await;
    Ok(page(&call, &vault, found.map_err(ControlError::from)?, false))
}

async fn list_versions(call: Arc<Call>) -> Outcome<Answer> {
    let vault = vault(&call).await?;
    let engine = call.arm.control.vaults();
    let found = engine
        .list_versions(&vault.name, call.name("key"), start(&call)?)
        .await;
    Ok(page(&call, &vault, found.map_err(ControlError::from)?, true))
}

fn start(call: &Call) -> Outcome<PageStart> {
    let after = call.parameter("$skiptoken").map(str::to_owned);
    let fits = |token: &String| {
        token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if after.as_ref().is_some_and(|token| !fits(token)) {
        return Err(bad("InvalidSkipToken", "The skip token is not one of this list."));
    }
    Ok(PageStart {
        after,
        limit: ARM_KEYS,
    })
}

fn page(call: &Call, vault: &VaultSettings, page: Page<KeyVersion>, of_versions: bool) -> Answer {
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|last| call.next_link(if of_versions { &last.version } else { &last.name }));
    let rows = page
        .rows
        .iter()
        .map(|key| shape(&call.arm, vault, key, of_versions));
    Answer::page(rows.collect(), next)
}

/// A key, or one version of it.
fn shape(arm: &Shared, vault: &VaultSettings, key: &KeyVersion, as_version: bool) -> Value {
    let mut attributes = json!({
        "enabled": key.enabled,
        "created": key.created,
        "updated": key.updated,
        "recoveryLevel": vault.recovery_level(),
        "exportable": false,
    });
    let uri = format!("{}keys/{}", arm.vault_uri(&vault.name), key.name);
    let operations: Vec<&str> = key.operations.iter().copied().map(KeyOperation::name).collect();
    let mut properties = json!({
        "kty": if key.spec.is_rsa() { "RSA" } else { "EC" },
        "keyOps": operations,
        "keyUri": uri,
        "keyUriWithVersion": format!("{uri}/{}", key.version),
    });
    for (name, time) in [("nbf", key.not_before), ("exp", key.expires)] {
        if let (Some(time), Some(attributes)) = (time, attributes.as_object_mut()) {
            attributes.insert(name.to_owned(), json!(time));
        }
    }
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("attributes".to_owned(), attributes);
        if key.spec.is_rsa() {
            properties.insert("keySize".to_owned(), json!(key.spec.size() * 8));
        } else {
            properties.insert("curveName".to_owned(), json!(key.spec.name()));
        }
    }
    let id = format!("{}/keys/{}", vault.resource_id, key.name);
    let (id, name, kind) = if as_version {
        (
            format!("{id}/versions/{}", key.version),
            &key.version,
            "keys/versions",
        )
    } else {
        (id, &key.name, "keys")
    };
    json!({
        "id": id,
        "name": name,
        "type": format!("{TYPE}/{kind}"),
        "location": vault.location,
        "tags": key.tags,
        "properties": properties,
    })
}
