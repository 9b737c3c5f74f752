//! Backups: what they bring back, where, and what is no backup.

use super::*;
use crate::engine::period::Period;
use crate::engine::policy::{RotationPolicy, Trigger};

async fn second_vault(bench: &Bench, resource_id: &str) -> &'static str {
    let settings = VaultSettings {
        name: "other".to_owned(),
        resource_id: resource_id.to_owned(),
        ..vault_settings()
    };
    bench.engine.create_vault(settings).unwrap();
    "other"
}

const SAME_SUBSCRIPTION: &str = "/subscriptions/S/resourceGroups/h/providers/Microsoft.KeyVault/vaults/other";

#[tokio::test]
async fn a_restored_key_is_the_key_that_was_backed_up() {
    let bench = bench(false).await;
    let engine = &bench.engine;
    let first = bench.create("cmk").await;
    let wrapped = bench.wrap("cmk", None).await.unwrap();
    bench.clock.advance(DAY);
    engine.rotate_key(VAULT, "cmk").await.unwrap();
    let change = KeyChange {
        expires: Some(bench.clock.seconds() + 9),
        tags: Some(Tags::from([("team".to_owned(), "red".to_owned())])),
        ..KeyChange::default()
    };
    bench.change("cmk", change).await;
    let policy = RotationPolicy {
        rotate: Some(Trigger::AfterCreate(Period::of_days(30))),
        ..RotationPolicy::unset()
    };
    let (_, policy) = engine.set_rotation_policy(VAULT, "cmk", policy).await.unwrap();
    let versions = engine.list_versions(VAULT, "cmk", all()).await.unwrap();
    let (latest, backup) = engine.backup_key(VAULT, "CMK").await.unwrap();

    let exists = engine.restore_key(VAULT, backup.clone()).await;
    assert_eq!(exists, Err(VaultFault::KeyExists("cmk".to_owned())));
    engine.delete_key(VAULT, "cmk").await.unwrap();
    let held = engine.restore_key(VAULT, backup.clone()).await;
    assert_eq!(held, Err(VaultFault::NameHeld("cmk".to_owned())));
    engine.purge_key(VAULT, "cmk").await.unwrap();
    assert_eq!(engine.restore_key(VAULT, backup.clone()).await.unwrap(), latest);
    assert_eq!(engine.list_versions(VAULT, "cmk", all()).await.unwrap(), versions);
    assert_eq!(engine.rotation_policy(VAULT, "cmk").await.unwrap().1, policy);
    assert_eq!(
        bench.unwrap("cmk", Some(&first.version), &wrapped).await.unwrap(),
        [5; 32]
    );

    let other = second_vault(&bench, SAME_SUBSCRIPTION).await;
    assert_eq!(engine.restore_key(other, backup).await.unwrap(), latest);
    let there = Using {
        vault: other,
        name: "cmk",
        version: Some(&first.version),
    };
    let used = engine.unwrap(there, ALGORITHM, wrapped).await.unwrap();
    assert_eq!(*used.value, [5; 32]);
    bench.clock.advance(DAY * 30);
    engine.maintain().await.unwrap();
    for vault in [VAULT, other] {
        assert_eq!(
            engine
                .list_versions(vault, "cmk", all())
                .await
                .unwrap()
                .rows
                .len(),
            3
        );
    }
}

#[tokio::test]
async fn keys_on_curves_are_restored_too() {
    let bench = bench(false).await;
    let engine = &bench.engine;
    engine
        .create_key(VAULT, "ec", NewKey::of(KeySpec::P521))
        .await
        .unwrap();
    let (latest, backup) = engine.backup_key(VAULT, "ec").await.unwrap();
    let other = second_vault(&bench, SAME_SUBSCRIPTION).await;
    assert_eq!(engine.restore_key(other, backup).await.unwrap(), latest);
    let key = |vault| Using {
        vault,
        name: "ec",
        version: None,
    };
    let algorithm = crate::SignatureAlgorithm::Es512;
    let signed = engine
        .sign(key(other), algorithm, vec![1; 64])
        .await
        .unwrap()
        .value;
    assert!(
        engine
            .verify(key(VAULT), algorithm, vec![1; 64], signed)
            .await
            .unwrap()
            .value
    );
}

#[tokio::test]
async fn another_subscription_or_installation_or_an_altered_backup_restores_nothing() {
    let bench = bench(true).await;
    bench.create("cmk").await;
    let (_, backup) = bench.engine.backup_key(VAULT, "cmk").await.unwrap();
    let foreign = "/subscriptions/t/resourceGroups/g/providers/Microsoft.KeyVault/vaults/other";
    let other = second_vault(&bench, foreign).await;
    let refused = Err(VaultFault::ForeignBackup);
    assert_eq!(bench.engine.restore_key(other, backup.clone()).await, refused);
    let elsewhere = super::bench(true).await;
    assert_eq!(elsewhere.engine.restore_key(VAULT, backup.clone()).await, refused);
    for position in (0..backup.len()).step_by(97) {
        let mut altered = backup.clone();
        altered[position] ^= 1;
        assert_eq!(
            bench.engine.restore_key(VAULT, altered).await,
            refused,
            "byte {position}"
        );
        let cut = backup[..position].to_vec();
        assert_eq!(
            bench.engine.restore_key(VAULT, cut).await,
            refused,
            "cut at {position}"
        );
    }
}

#[tokio::test]
async fn a_backup_shows_no_private_key() {
    let bench = bench(true).await;
    let made = bench.create("cmk").await;
    let (_, backup) = bench.engine.backup_key(VAULT, "cmk").await.unwrap();
    assert!(!contains(&backup, modulus(&made)));
    assert!(!contains(&backup, b"cmk"));
}
