//! The life of vaults, on a real database.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::engine::settings::{NewKey, PermissionModel};
use crate::testing::{DAY, HandClock, VAULT, vault_settings};
use crate::{KeySpec, PublicHalf};

fn open(folder: &Path, clock: &Arc<HandClock>) -> VaultEngine {
    let root = RootKey::File(folder.join("root.key"));
    VaultEngine::open(&folder.join("vault"), root, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
}

async fn bench(purge_protection: bool) -> (tempfile::TempDir, Arc<HandClock>, VaultEngine) {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let engine = open(folder.path(), &clock);
    let vault = VaultSettings {
        purge_protection,
        ..vault_settings()
    };
    engine.create_vault(vault).unwrap();
    engine
        .create_key(VAULT, "cmk", NewKey::of(KeySpec::Rsa2048))
        .await
        .unwrap();
    (folder, clock, engine)
}

fn no_vault<T>(asked: Result<T, VaultFault>) -> bool {
    matches!(asked, Err(VaultFault::NoSuchVault(_)))
}

async fn modulus(engine: &VaultEngine) -> Vec<u8> {
    match engine.key(VAULT, "cmk", None).await.unwrap().public {
        PublicHalf::Rsa { modulus, .. } => modulus,
        PublicHalf::Ec { x, .. } => x,
    }
}

fn gives_up_its_keys(folder: &Path, modulus: &[u8]) -> bool {
    ["vault.db", "vault.db-wal"].into_iter().all(|name| {
        let bytes = std::fs::read(folder.join("vault").join(name)).unwrap_or_default();
        !bytes.windows(modulus.len()).any(|window| window == modulus)
    })
}

#[tokio::test]
async fn a_deleted_vault_serves_nothing_holds_its_name_and_comes_back_whole() {
    let (folder, clock, engine) = bench(true).await;
    let key = engine.key(VAULT, "cmk", None).await.unwrap();
    let mut changes = engine.subscribe();
    let deleted = engine.delete_vault("KV1").unwrap();
    assert_eq!(deleted.purge, deleted.deleted + 90 * DAY.as_secs());
    assert_eq!(changes.recv().await.unwrap().key, None);
    drop(engine);
    let engine = open(folder.path(), &clock);
    assert!(no_vault(engine.vault(VAULT)) && engine.vaults().is_empty());
    assert!(no_vault(engine.key(VAULT, "cmk", None).await));
    assert!(no_vault(
        engine
            .create_key(VAULT, "new", NewKey::of(KeySpec::Rsa2048))
            .await
    ));
    assert!(no_vault(engine.delete_vault(VAULT)));
    assert_eq!(engine.deleted_vaults(), std::slice::from_ref(&deleted));
    let again = engine.create_vault(vault_settings());
    assert!(matches!(again, Err(VaultFault::VaultHeld(_))));
    let recovered = engine.recover_vault(VAULT).unwrap();
    assert_eq!(recovered, deleted.vault);
    assert_eq!(engine.key(VAULT, "cmk", None).await.unwrap(), key);
    assert!(engine.deleted_vaults().is_empty() && no_vault(engine.recover_vault(VAULT)));
}

#[tokio::test]
async fn a_purged_vault_leaves_no_trace_of_its_keys_and_frees_its_name() {
    let (folder, _, engine) = bench(false).await;
    let modulus = modulus(&engine).await;
    assert!(!gives_up_its_keys(folder.path(), &modulus));
    assert!(no_vault(engine.purge_vault(VAULT)));
    engine.delete_vault(VAULT).unwrap();
    engine.purge_vault(VAULT).unwrap();
    assert!(gives_up_its_keys(folder.path(), &modulus));
    assert!(engine.deleted_vaults().is_empty());
    engine.create_vault(vault_settings()).unwrap();
    assert!(matches!(
        engine.key(VAULT, "cmk", None).await,
        Err(VaultFault::KeyNotFound(_))
    ));
}

#[tokio::test]
async fn purge_protection_keeps_a_deleted_vault_until_its_time_and_no_longer() {
    let (folder, clock, engine) = bench(true).await;
    let modulus = modulus(&engine).await;
    engine.delete_vault(VAULT).unwrap();
    assert_eq!(engine.purge_vault(VAULT), Err(VaultFault::PurgeProtected));
    clock.advance(90 * DAY);
    assert!(engine.deleted_vaults().is_empty() && no_vault(engine.recover_vault(VAULT)));
    assert_eq!(engine.maintain().await.unwrap().destroyed, 2);
    assert!(gives_up_its_keys(folder.path(), &modulus));
    engine.create_vault(vault_settings()).unwrap();
}

#[tokio::test]
async fn a_start_and_a_new_vault_destroy_what_is_past_its_time() {
    for restart in [true, false] {
        let (folder, clock, mut engine) = bench(true).await;
        engine.delete_vault(VAULT).unwrap();
        clock.advance(90 * DAY);
        if restart {
            drop(engine);
            engine = open(folder.path(), &clock);
        }
        engine.create_vault(vault_settings()).unwrap();
        assert!(matches!(
            engine.key(VAULT, "cmk", None).await,
            Err(VaultFault::KeyNotFound(_))
        ));
    }
}

#[tokio::test]
async fn what_is_fixed_stays_and_the_rest_survives_a_restart() {
    let (folder, clock, engine) = bench(true).await;
    let turn = |change: fn(&mut VaultSettings)| {
        engine.update_vault(VAULT, |before| {
            let mut after = before.clone();
            change(&mut after);
            Ok::<_, VaultFault>(after)
        })
    };
    let fixed: [fn(&mut VaultSettings); 7] = [
        |vault| vault.soft_delete_days = 7,
        |vault| vault.purge_protection = false,
        |vault| vault.location = "elsewhere".to_owned(),
        |vault| vault.tenant = "other".to_owned(),
        |vault| vault.resource_id = "/other".to_owned(),
        |vault| vault.name = "other".to_owned(),
        |vault| vault.created = 1,
    ];
    for change in fixed {
        assert!(matches!(turn(change), Err(VaultFault::Fixed(_))));
    }
    let changed = turn(|vault| {
        vault.permissions = PermissionModel::AccessPolicies;
        vault.network.ranges = vec!["10.0.0.0/8".parse().unwrap()];
        vault.tags.insert("a".to_owned(), "b".to_owned());
    });
    let changed = changed.unwrap();
    assert_eq!(engine.vault(VAULT).unwrap(), changed);
    drop(engine);
    assert_eq!(open(folder.path(), &clock).vault(VAULT).unwrap(), changed);
}
