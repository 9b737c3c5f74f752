//! Which key an account is under: what takes over from what, and everything that can be wrong with a key.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use strongroom_control::{Account, BuiltInRole, KeySource, ServiceFault};
use strongroom_vault::{
    IpRange, KeyChange, KeyOperation, KeySpec, NetworkRules, NewKey, VaultFault, VaultSettings,
};

use crate::accounts::{ONE, made, patch, rig_with_group};
use crate::rig::{Rig, Told};

const VAULT_URL: &str = "https://kvault.vault.localhost/";

/// A vault as customer keys need it, with the key `ck`.
async fn vault(rig: &Rig, change: impl FnOnce(&mut VaultSettings)) {
    let id = format!(
        "{}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kvault",
        rig.subscription
    );
    let mut settings = VaultSettings::new("kvault", id, rig.control.tenant(), "eastus");
    settings.purge_protection = true;
    change(&mut settings);
    rig.vaults.create_vault(settings).unwrap();
    rig.vaults
        .create_key("kvault", "ck", NewKey::of(KeySpec::Rsa2048))
        .await
        .unwrap();
}

fn grant(rig: &Rig, role: &str) {
    let identity = rig.control.account("one").unwrap().identity.unwrap();
    let id = format!(
        "{}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kvault",
        rig.subscription
    );
    let role = BuiltInRole::by_name(role).unwrap();
    rig.control
        .ensure_assignment(identity, role, &id.parse().unwrap())
        .unwrap();
}

fn key(name: &str) -> Value {
    json!({"properties": {"encryption": {
        "keySource": "Microsoft.KeyVault",
        "keyVaultProperties": {"keyVaultUri": VAULT_URL, "keyName": name, "keyVersion": ""},
    }}})
}

/// The codes of everything that is wrong.
fn faults(told: &Told) -> Vec<String> {
    assert_eq!(
        (told.status.as_u16(), told.code()),
        (400, "InvalidEncryption"),
        "{}",
        told.body
    );
    let details = told.body["error"]["details"].as_array().unwrap();
    details
        .iter()
        .map(|fault| fault["code"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_customer_key_takes_over_and_the_service_key_comes_back() {
    let rig = granted().await;
    let begun = patch(&rig, key("ck")).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(begun.body["properties"]["provisioningState"], "Accepted");
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    let shown = rig.get(ONE).await;
    let encryption = &shown.body["properties"]["encryption"];
    assert_eq!(
        encryption["keyVaultProperties"],
        json!({"keyName": "ck", "keyVersion": "", "keyVaultUri": VAULT_URL})
    );
    assert_eq!(shown.body["properties"]["provisioningState"], "Succeeded");
    // The same again is no change; a port says nothing.
    let mut same = key("ck");
    same["properties"]["encryption"]["keyVaultProperties"]["keyVaultUri"] =
        json!("https://KVAULT.vault.localhost:8443");
    assert_eq!(patch(&rig, same).await.status, 200);
    assert_eq!(patch(&rig, json!({"tags": {"x": "y"}})).await.status, 200);
    assert!(rig.control.account("one").unwrap().switch.is_none());

    let back = patch(
        &rig,
        json!({"properties": {"encryption": {"keySource": "Microsoft.CognitiveServices"}}}),
    )
    .await;
    assert_eq!(rig.finish(&back).await.body["status"], "Succeeded");
    assert_eq!(
        rig.control.account("one").unwrap().encryption.source,
        KeySource::Service
    );
    // The service's own key is nobody's to see or to use.
    let mut own = key("service-key");
    own["properties"]["encryption"]["keyVaultProperties"]["keyVaultUri"] =
        json!("https://strongroom-service.vault.localhost/");
    assert_eq!(faults(&patch(&rig, own).await), ["KeyVaultNotFound"]);
}

#[tokio::test]
async fn a_key_that_does_not_hold_leaves_the_one_before_and_a_stop_in_the_midst_loses_nothing() {
    let rig = granted().await;
    let refused = || Err(ServiceFault::Refused("disabled meanwhile".to_owned()));
    // Refused on the way there, and unreachable once on the way back.
    rig.service
        .says
        .lock()
        .unwrap()
        .extend([refused(), Err(ServiceFault::Unreachable("silent".to_owned()))]);
    let begun = patch(&rig, key("ck")).await;
    let busy = patch(&rig, key("other")).await;
    assert_eq!(
        (busy.status.as_u16(), busy.code()),
        (409, "AccountProvisioningStateInvalid")
    );
    let ended = rig.finish(&begun).await;
    assert_eq!(ended.body["status"], "Failed");
    assert!(
        ended.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("disabled meanwhile")
    );
    let account = rig.control.account("one").unwrap();
    assert_eq!(
        (account.encryption.source, account.switch.is_none()),
        (KeySource::Service, true)
    );

    // The program stops: the switch goes on at the next start, and its operation tells.
    rig.service
        .says
        .lock()
        .unwrap()
        .push_back(Err(ServiceFault::Closed));
    let begun = patch(&rig, key("ck")).await;
    assert_eq!(begun.status, 202);
    while !rig.service.says.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let rig = rig.again().await;
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    assert_eq!(rig.control.account("one").unwrap().encryption.key_name, "ck");
}

#[tokio::test]
async fn what_does_not_touch_the_keys_can_be_changed_while_a_switch_cannot_end() {
    let rig = granted().await;
    // Back cannot be gone now, and is tried again much later.
    let silent = || Err(ServiceFault::Unreachable("silent".to_owned()));
    let refused = Err(ServiceFault::Refused("disabled meanwhile".to_owned()));
    rig.service
        .says
        .lock()
        .unwrap()
        .extend([refused, silent(), silent()]);
    let begun = patch(&rig, key("ck")).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let mut accounts = rig.control.accounts();
    let is_back = |account: &Arc<Account>| account.switch.as_ref().is_some_and(|switch| switch.is_back());
    accounts.wait_for(|all| all.iter().any(is_back)).await.unwrap();
    for change in [
        json!({"tags": {"x": "y"}}),
        json!({"properties": {"disableLocalAuth": true}}),
        json!({"properties": {"networkAcls": {"defaultAction": "Deny", "ipRules": []}}}),
        json!({"properties": {"encryption": {"keySource": "Microsoft.CognitiveServices"}}}),
        json!({"identity": {"type": "None"}}),
    ] {
        let told = patch(&rig, change.clone()).await;
        assert_eq!(told.status, 200, "{change}: {}", told.body);
        assert_eq!(
            told.body["properties"]["provisioningState"], "Accepted",
            "{change}"
        );
    }
    let account = rig.control.account("one").unwrap();
    assert!(account.switch.is_some() && account.disable_local_auth && !account.network.default_allow);
    assert_eq!(
        account.identity, None,
        "this way of taking the key away is open too"
    );
    assert_eq!(rig.finish(&begun).await.body["status"], "Failed");
    assert!(rig.control.account("one").unwrap().disable_local_auth);
}

#[tokio::test]
async fn an_account_whose_keys_are_being_switched_can_be_deleted_and_goes_on_when_it_is_recovered() {
    let rig = granted().await;
    let silent = Err(ServiceFault::Unreachable("silent".to_owned()));
    rig.service.says.lock().unwrap().push_back(silent);
    assert_eq!(patch(&rig, key("ck")).await.status, 202);
    assert_eq!(rig.ask(Method::DELETE, ONE, Value::Null).await.status, 200);
    assert!(rig.control.account("one").is_none());
    let mut accounts = rig.control.accounts();
    let restored = json!({"location": "eastus", "properties": {"restore": true}});
    assert_eq!(rig.put(ONE, restored).await.status, 200);
    let is_over = |account: &Arc<Account>| account.name == "one" && account.switch.is_none();
    accounts.wait_for(|all| all.iter().any(is_over)).await.unwrap();
    assert_eq!(rig.control.account("one").unwrap().encryption.key_name, "ck");
}

#[tokio::test]
async fn each_fault_of_a_key_is_named_by_itself() {
    let rig = rig_with_group().await;
    made(&rig).await;
    vault(&rig, |_| {}).await;
    assert_eq!(
        faults(&patch(&rig, key("ck")).await),
        [
            "KeyVaultPermissionMissing",
            "KeyVaultPermissionMissing",
            "KeyVaultPermissionMissing"
        ]
    );
    grant(&rig, "Key Vault Crypto Service Encryption User");
    let other = |uri: &str| {
        let mut body = key("ck");
        body["properties"]["encryption"]["keyVaultProperties"]["keyVaultUri"] = json!(uri);
        body
    };
    assert_eq!(
        faults(&patch(&rig, other("https://kvault.vault.azure.net/")).await),
        ["KeyVaultUriInvalid"]
    );
    assert_eq!(
        faults(&patch(&rig, other("https://none.vault.localhost/")).await),
        ["KeyVaultNotFound"]
    );
    assert_eq!(faults(&patch(&rig, key("none")).await), ["KeyNotFound"]);
    assert_eq!(
        faults(&patch(&rig, key("a/b")).await),
        ["KeyNameInvalid", "KeyNotFound"]
    );
    let mut version = key("ck");
    version["properties"]["encryption"]["keyVaultProperties"]["keyVersion"] = json!("0".repeat(32));
    assert_eq!(faults(&patch(&rig, version).await), ["KeyNotFound"]);
    let mut client = key("ck");
    client["properties"]["encryption"]["keyVaultProperties"]["identityClientId"] =
        json!(uuid::Uuid::new_v4());
    assert_eq!(faults(&patch(&rig, client).await), ["IdentityNotAssigned"]);
}

/// An account that may use every key of a vault, with the service's own key.
async fn granted() -> Rig {
    let rig = rig_with_group().await;
    made(&rig).await;
    vault(&rig, |_| {}).await;
    grant(&rig, "Key Vault Crypto Service Encryption User");
    rig
}

#[tokio::test]
async fn keys_of_the_wrong_kind_size_time_or_use_are_refused() {
    let rig = granted().await;
    let now = 1_800_000_000;
    let keys = [
        ("large", NewKey::of(KeySpec::Rsa4096), "KeySizeNotSupported"),
        ("curve", NewKey::of(KeySpec::P256), "KeyTypeNotSupported"),
        (
            "off",
            NewKey {
                enabled: false,
                ..NewKey::of(KeySpec::Rsa2048)
            },
            "KeyDisabled",
        ),
        (
            "late",
            NewKey {
                not_before: Some(now + 1_000_000),
                ..NewKey::of(KeySpec::Rsa2048)
            },
            "KeyNotYetValid",
        ),
        (
            "old",
            NewKey {
                expires: Some(now - 1000),
                ..NewKey::of(KeySpec::Rsa2048)
            },
            "KeyExpired",
        ),
        (
            "signs",
            NewKey {
                operations: vec![KeyOperation::Sign, KeyOperation::WrapKey],
                ..NewKey::of(KeySpec::Rsa2048)
            },
            "KeyOperationNotPermitted",
        ),
    ];
    for (name, new, code) in keys {
        rig.vaults.create_key("kvault", name, new).await.unwrap();
        let found = faults(&patch(&rig, key(name)).await);
        assert!(found.contains(&code.to_owned()), "{name}: {found:?}");
        assert!(found.len() == 1 || name == "curve", "{name}: {found:?}");
    }
}

#[tokio::test]
async fn a_vault_that_does_not_let_the_service_in_or_is_deleted_is_refused() {
    let rig = granted().await;
    let network = |network: NetworkRules| {
        move |vault: &VaultSettings| {
            Ok::<_, VaultFault>(VaultSettings {
                network: network.clone(),
                ..vault.clone()
            })
        }
    };
    let shut = NetworkRules {
        default_allow: false,
        trusted_services: false,
        ..NetworkRules::default()
    };
    let open = NetworkRules {
        ranges: vec!["127.0.0.1".parse::<IpRange>().unwrap()],
        ..shut.clone()
    };
    let trusting = NetworkRules {
        trusted_services: true,
        ..shut.clone()
    };
    rig.vaults.update_vault("kvault", network(shut)).unwrap();
    assert_eq!(faults(&patch(&rig, key("ck")).await), ["KeyVaultFirewall"]);
    for lets_in in [open, trusting] {
        rig.vaults.update_vault("kvault", network(lets_in)).unwrap();
        let begun = patch(&rig, key("ck")).await;
        assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
        let back = patch(
            &rig,
            json!({"properties": {"encryption": {"keySource": "Microsoft.CognitiveServices"}}}),
        )
        .await;
        rig.finish(&back).await;
    }
    rig.vaults.delete_vault("kvault").unwrap();
    assert_eq!(faults(&patch(&rig, key("ck")).await), ["KeyVaultDeleted"]);
    patch(&rig, json!({"identity": {"type": "None"}})).await;
    assert_eq!(
        faults(&patch(&rig, key("ck")).await),
        ["IdentityRequired", "KeyVaultDeleted"]
    );
    let account = rig.control.account("one").unwrap();
    assert_eq!(
        (account.encryption.source, account.switch.is_none()),
        (KeySource::Service, true)
    );
}

#[tokio::test]
async fn all_faults_of_a_key_are_told_at_once() {
    let rig = rig_with_group().await;
    made(&rig).await;
    vault(&rig, |vault| {
        vault.purge_protection = false;
        vault.location = "westus".to_owned();
        vault.tenant = uuid::Uuid::new_v4().to_string();
        vault.network = NetworkRules {
            public_access: false,
            trusted_services: false,
            ..NetworkRules::default()
        };
    })
    .await;
    let bad = NewKey {
        not_before: Some(1_900_000_000),
        operations: vec![KeyOperation::Sign],
        ..NewKey::of(KeySpec::Rsa3072)
    };
    rig.vaults.create_key("kvault", "bad", bad).await.unwrap();
    let off = KeyChange {
        enabled: Some(false),
        ..KeyChange::default()
    };
    rig.vaults.update_key("kvault", "bad", None, off).await.unwrap();
    let told = patch(&rig, key("bad")).await;
    assert_eq!(
        faults(&told),
        [
            "KeyVaultTenantMismatch",
            "KeyVaultRegionMismatch",
            "KeyVaultPurgeProtectionRequired",
            "KeyVaultFirewall",
            "KeyVaultPermissionMissing",
            "KeyVaultPermissionMissing",
            "KeyVaultPermissionMissing",
            "KeyDisabled",
            "KeyNotYetValid",
            "KeySizeNotSupported",
            "KeyOperationNotPermitted",
            "KeyOperationNotPermitted",
        ]
    );
    assert!(rig.control.account("one").unwrap().switch.is_none());
    // A new account with a key that cannot be is not made at all.
    let mut body = key("bad");
    body["location"] = json!("eastus");
    body["identity"] = json!({"type": "SystemAssigned"});
    let two = ONE.replace("one", "two");
    assert_eq!(faults(&rig.put(&two, body).await).len(), 12);
    assert!(rig.control.account("two").is_none());
}
