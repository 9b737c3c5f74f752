//! What answers say about keys, in Key Vault's JSON.

use serde_json::{Map, Value, json};

use crate::engine::kinds::PublicHalf;
use crate::engine::period::Period;
use crate::engine::policy::{RotationPolicy, Trigger};
use crate::engine::settings::{DeletedKey, KeyOperation, KeyVersion, VaultSettings};
use crate::routes::body::base64url;

/// Writes answers of one vault as the client addressed it.
pub(crate) struct Bundles<'a> {
    pub(crate) vault: &'a VaultSettings,
    /// Host and port as addressed.
    pub(crate) authority: &'a str,
}

impl Bundles<'_> {
    /// The id of a version.
    pub(crate) fn kid(&self, key: &KeyVersion) -> String {
        format!("{}/{}", self.id(key), key.version)
    }

    fn id(&self, key: &KeyVersion) -> String {
        format!("https://{}/keys/{}", self.authority, key.name)
    }

    /// A key with its public half.
    pub(crate) fn key(&self, key: &KeyVersion) -> Value {
        Value::Object(self.key_members(key))
    }

    fn key_members(&self, key: &KeyVersion) -> Map<String, Value> {
        let operations: Vec<&str> = key.operations.iter().copied().map(KeyOperation::name).collect();
        let kind = if key.spec.is_rsa() { "RSA" } else { "EC" };
        let mut jwk = Map::new();
        jwk.insert("kid".to_owned(), self.kid(key).into());
        jwk.insert("kty".to_owned(), kind.into());
        jwk.insert("key_ops".to_owned(), operations.into());
        let names = match &key.public {
            PublicHalf::Rsa { .. } => ["n", "e"],
            PublicHalf::Ec { .. } => {
                jwk.insert("crv".to_owned(), key.spec.name().into());
                ["x", "y"]
            }
        };
        let (first, second) = key.public.numbers();
        for (name, number) in names.into_iter().zip([first, second]) {
            jwk.insert(name.to_owned(), base64url(number).into());
        }
        let mut members = Map::new();
        members.insert("key".to_owned(), Value::Object(jwk));
        self.insert_attributes(&mut members, key);
        members
    }

    /// A row of the list of keys: the id without a version.
    pub(crate) fn key_row(&self, key: &KeyVersion) -> Value {
        self.row(self.id(key), key)
    }

    /// A row of the list of versions.
    pub(crate) fn version_row(&self, key: &KeyVersion) -> Value {
        self.row(self.kid(key), key)
    }

    fn row(&self, kid: String, key: &KeyVersion) -> Value {
        let mut members = Map::new();
        members.insert("kid".to_owned(), Value::String(kid));
        self.insert_attributes(&mut members, key);
        Value::Object(members)
    }

    /// A deleted key with its public half.
    pub(crate) fn deleted(&self, deleted: &DeletedKey) -> Value {
        let mut members = self.key_members(&deleted.latest);
        self.insert_deletion(&mut members, deleted);
        Value::Object(members)
    }

    /// A row of the list of deleted keys: flat, with the id at the top.
    pub(crate) fn deleted_row(&self, deleted: &DeletedKey) -> Value {
        let mut members = Map::new();
        members.insert("kid".to_owned(), Value::String(self.id(&deleted.latest)));
        self.insert_attributes(&mut members, &deleted.latest);
        self.insert_deletion(&mut members, deleted);
        Value::Object(members)
    }

    /// A key's rotation policy.
    pub(crate) fn policy(&self, key: &KeyVersion, policy: &RotationPolicy) -> Value {
        let action = |name: &str, trigger: &str, period: &Period| json!({"trigger": {trigger: period.as_str()}, "action": {"type": name}});
        let rotate = policy.rotate.as_ref().map(|trigger| match trigger {
            Trigger::AfterCreate(period) => action("Rotate", "timeAfterCreate", period),
            Trigger::BeforeExpiry(period) => action("Rotate", "timeBeforeExpiry", period),
        });
        let notify = action("Notify", "timeBeforeExpiry", &policy.notify);
        let mut attributes = Map::new();
        if let Some(expiry) = &policy.expiry {
            attributes.insert("expiryTime".to_owned(), expiry.as_str().into());
        }
        if let Some((created, updated)) = policy.set {
            attributes.insert("created".to_owned(), created.into());
            attributes.insert("updated".to_owned(), updated.into());
        }
        json!({
            "id": format!("{}/rotationpolicy", self.id(key)),
            "lifetimeActions": rotate.into_iter().chain([notify]).collect::<Vec<_>>(),
            "attributes": attributes,
        })
    }

    fn insert_deletion(&self, members: &mut Map<String, Value>, deleted: &DeletedKey) {
        let recovery = format!("https://{}/deletedkeys/{}", self.authority, deleted.latest.name);
        members.insert("recoveryId".to_owned(), Value::String(recovery));
        members.insert("deletedDate".to_owned(), deleted.deleted.into());
        members.insert("scheduledPurgeDate".to_owned(), deleted.purge.into());
    }

    fn insert_attributes(&self, members: &mut Map<String, Value>, key: &KeyVersion) {
        let mut attributes = Map::new();
        attributes.insert("enabled".to_owned(), key.enabled.into());
        for (name, time) in [("nbf", key.not_before), ("exp", key.expires)] {
            if let Some(time) = time {
                attributes.insert(name.to_owned(), time.into());
            }
        }
        attributes.insert("created".to_owned(), key.created.into());
        attributes.insert("updated".to_owned(), key.updated.into());
        attributes.insert("recoveryLevel".to_owned(), self.vault.recovery_level().into());
        attributes.insert("recoverableDays".to_owned(), self.vault.soft_delete_days.into());
        attributes.insert("exportable".to_owned(), false.into());
        // Software protection, in Azure's numbering of platforms.
        attributes.insert("hsmPlatform".to_owned(), "0".into());
        members.insert("attributes".to_owned(), Value::Object(attributes));
        if !key.tags.is_empty() {
            members.insert("tags".to_owned(), json!(key.tags));
        }
    }
}
