use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::engine::kinds::{EncryptionAlgorithm, KeySpec};
use crate::engine::settings::{KeyChange, KeyOperation, NewKey, Tags};
use crate::engine::uses::Using;
use crate::testing::{DAY, HandClock, VAULT, vault_settings};

const ALGORITHM: EncryptionAlgorithm = EncryptionAlgorithm::RsaOaep256;

mod backups;
mod rotation;

const fn using<'a>(name: &'a str, version: Option<&'a str>) -> Using<'a> {
    Using {
        vault: VAULT,
        name,
        version,
    }
}

fn modulus(key: &KeyVersion) -> &[u8] {
    key.public.numbers().0
}

fn open(folder: &Path, clock: &Arc<HandClock>) -> Result<VaultEngine, OpenVaultError> {
    let root = RootKey::File(folder.join("root.key"));
    VaultEngine::open(&folder.join("vault"), root, Arc::clone(clock) as Arc<dyn Clock>)
}

struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<HandClock>,
    engine: VaultEngine,
}

async fn bench(purge_protection: bool) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let engine = open(folder.path(), &clock).unwrap();
    engine
        .create_vault(VaultSettings {
            purge_protection,
            ..vault_settings()
        })
        .unwrap();
    Bench {
        folder,
        clock,
        engine,
    }
}

impl Bench {
    async fn create(&self, name: &str) -> KeyVersion {
        self.engine
            .create_key(VAULT, name, NewKey::of(KeySpec::Rsa2048))
            .await
            .unwrap()
    }

    async fn wrap(&self, name: &str, version: Option<&str>) -> Result<Vec<u8>, VaultFault> {
        let seed = Zeroizing::new(vec![5; 32]);
        Ok(self
            .engine
            .wrap(using(name, version), ALGORITHM, seed)
            .await?
            .value)
    }

    async fn unwrap(&self, name: &str, version: Option<&str>, wrapped: &[u8]) -> Result<Vec<u8>, VaultFault> {
        let used = self
            .engine
            .unwrap(using(name, version), ALGORITHM, wrapped.to_vec())
            .await?;
        Ok(used.value.to_vec())
    }

    async fn change(&self, name: &str, change: KeyChange) -> KeyVersion {
        self.engine.update_key(VAULT, name, None, change).await.unwrap()
    }
}

fn all() -> PageStart {
    PageStart {
        after: None,
        limit: 25,
    }
}

#[tokio::test]
async fn each_size_is_made_and_wraps() {
    let bench = bench(true).await;
    for spec in [KeySpec::Rsa2048, KeySpec::Rsa3072, KeySpec::Rsa4096] {
        let name = format!("k{}", spec.size());
        let made = bench
            .engine
            .create_key(VAULT, &name, NewKey::of(spec))
            .await
            .unwrap();
        let (modulus, exponent) = made.public.numbers();
        assert_eq!((modulus.len(), exponent), (spec.size(), &[1, 0, 1][..]));
        assert_eq!(made.version.len(), 32);
        let wrapped = bench.wrap(&name, None).await.unwrap();
        assert_eq!(
            bench.unwrap(&name, Some(&made.version), &wrapped).await.unwrap(),
            [5; 32]
        );
    }
}

#[tokio::test]
async fn old_versions_unwrap_after_rotation_and_new_ones_wrap() {
    let bench = bench(true).await;
    let tags = Tags::from([("team".to_owned(), "red".to_owned())]);
    let new = NewKey {
        tags: tags.clone(),
        expires: Some(99),
        ..NewKey::of(KeySpec::Rsa2048)
    };
    let first = bench
        .engine
        .create_key(VAULT, "cmk", NewKey { expires: None, ..new })
        .await
        .unwrap();
    let wrapped = bench.wrap("cmk", None).await.unwrap();
    let second = bench.engine.rotate_key(VAULT, "cmk").await.unwrap();
    assert_ne!(first.version, second.version);
    assert_eq!((second.tags, second.expires), (tags, None));
    assert_eq!(
        bench.engine.key(VAULT, "CMK", None).await.unwrap().version,
        second.version
    );
    assert_eq!(
        bench.unwrap("cmk", Some(&first.version), &wrapped).await.unwrap(),
        [5; 32]
    );
    assert_eq!(
        bench.unwrap("cmk", None, &wrapped).await,
        Err(VaultFault::NotAuthentic)
    );
    let listed = bench.engine.list_versions(VAULT, "cmk", all()).await.unwrap();
    assert_eq!(
        listed.rows.iter().map(|v| &v.version).collect::<Vec<_>>(),
        [&first.version, &second.version]
    );
}

#[tokio::test]
async fn a_disabled_key_neither_wraps_nor_unwraps_until_it_is_enabled_again() {
    let bench = bench(true).await;
    bench.create("cmk").await;
    let wrapped = bench.wrap("cmk", None).await.unwrap();
    bench
        .change(
            "cmk",
            KeyChange {
                enabled: Some(false),
                ..KeyChange::default()
            },
        )
        .await;
    assert_eq!(
        bench.wrap("cmk", None).await,
        Err(VaultFault::Disabled(KeyOperation::WrapKey))
    );
    assert_eq!(
        bench.unwrap("cmk", None, &wrapped).await,
        Err(VaultFault::Disabled(KeyOperation::UnwrapKey))
    );
    assert!(!bench.engine.key(VAULT, "cmk", None).await.unwrap().enabled);
    bench
        .change(
            "cmk",
            KeyChange {
                enabled: Some(true),
                ..KeyChange::default()
            },
        )
        .await;
    assert_eq!(bench.unwrap("cmk", None, &wrapped).await.unwrap(), [5; 32]);
}

#[tokio::test]
async fn outside_its_times_a_key_unwraps_but_does_not_wrap() {
    let bench = bench(true).await;
    bench.create("cmk").await;
    let wrapped = bench.wrap("cmk", None).await.unwrap();
    let now = bench.clock.seconds();
    bench
        .change(
            "cmk",
            KeyChange {
                expires: Some(now + 10),
                ..KeyChange::default()
            },
        )
        .await;
    assert!(bench.wrap("cmk", None).await.is_ok());
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(
        bench.wrap("cmk", None).await,
        Err(VaultFault::Expired(KeyOperation::WrapKey))
    );
    assert_eq!(bench.unwrap("cmk", None, &wrapped).await.unwrap(), [5; 32]);
    let later = KeyChange {
        not_before: Some(now + 100),
        expires: Some(now + 200),
        ..KeyChange::default()
    };
    bench.change("cmk", later).await;
    assert_eq!(
        bench.wrap("cmk", None).await,
        Err(VaultFault::NotYetValid(KeyOperation::WrapKey))
    );
    assert_eq!(bench.unwrap("cmk", None, &wrapped).await.unwrap(), [5; 32]);
}

#[tokio::test]
async fn what_is_not_among_a_keys_operations_is_not_done() {
    let bench = bench(true).await;
    bench.create("cmk").await;
    let wrapped = bench.wrap("cmk", None).await.unwrap();
    let only_wrap = KeyChange {
        operations: Some(vec![KeyOperation::WrapKey]),
        ..KeyChange::default()
    };
    bench.change("cmk", only_wrap).await;
    assert!(bench.wrap("cmk", None).await.is_ok());
    assert_eq!(
        bench.unwrap("cmk", None, &wrapped).await,
        Err(VaultFault::NotPermitted(KeyOperation::UnwrapKey))
    );
}

#[tokio::test]
async fn a_deleted_key_is_gone_its_name_is_taken_and_recovery_brings_it_back() {
    let bench = bench(true).await;
    let made = bench.create("cmk").await;
    let wrapped = bench.wrap("cmk", None).await.unwrap();
    let deleted = bench.engine.delete_key(VAULT, "cmk").await.unwrap();
    assert_eq!(deleted.purge - deleted.deleted, 90 * DAY.as_secs());
    assert!(matches!(
        bench.unwrap("cmk", None, &wrapped).await,
        Err(VaultFault::KeyNotFound(_))
    ));
    assert!(matches!(
        bench.engine.key(VAULT, "cmk", None).await,
        Err(VaultFault::KeyNotFound(_))
    ));
    let again = bench
        .engine
        .create_key(VAULT, "CMK", NewKey::of(KeySpec::Rsa2048))
        .await;
    assert_eq!(again, Err(VaultFault::NameHeld("cmk".to_owned())));
    assert_eq!(
        bench.engine.list_deleted(VAULT, all()).await.unwrap().rows,
        std::slice::from_ref(&deleted)
    );
    assert_eq!(bench.engine.deleted_key(VAULT, "cmk").await.unwrap(), deleted);
    assert!(
        bench
            .engine
            .list_keys(VAULT, all())
            .await
            .unwrap()
            .rows
            .is_empty()
    );
    assert_eq!(
        bench.engine.recover_key(VAULT, "cmk").await.unwrap().version,
        made.version
    );
    assert_eq!(bench.unwrap("cmk", None, &wrapped).await.unwrap(), [5; 32]);
    assert!(matches!(
        bench.engine.recover_key(VAULT, "cmk").await,
        Err(VaultFault::KeyNotFound(_))
    ));
}

#[tokio::test]
async fn purge_is_refused_under_protection_and_final_without() {
    let protected = bench(true).await;
    protected.create("cmk").await;
    protected.engine.delete_key(VAULT, "cmk").await.unwrap();
    assert_eq!(
        protected.engine.purge_key(VAULT, "cmk").await,
        Err(VaultFault::PurgeProtected)
    );

    let open = bench(false).await;
    open.create("cmk").await;
    assert!(matches!(
        open.engine.purge_key(VAULT, "cmk").await,
        Err(VaultFault::KeyNotFound(_))
    ));
    open.engine.delete_key(VAULT, "cmk").await.unwrap();
    open.engine.purge_key(VAULT, "cmk").await.unwrap();
    assert!(matches!(
        open.engine.recover_key(VAULT, "cmk").await,
        Err(VaultFault::KeyNotFound(_))
    ));
    open.create("cmk").await;
}

#[tokio::test]
async fn a_deleted_key_is_destroyed_once_its_days_have_passed() {
    let bench = bench(true).await;
    let first = bench.create("cmk").await;
    bench.engine.delete_key(VAULT, "cmk").await.unwrap();
    bench.clock.advance(DAY * 90);
    assert!(matches!(
        bench.engine.recover_key(VAULT, "cmk").await,
        Err(VaultFault::KeyNotFound(_))
    ));
    assert_ne!(bench.create("cmk").await.version, first.version);
    assert_eq!(
        bench
            .engine
            .list_versions(VAULT, "cmk", all())
            .await
            .unwrap()
            .rows
            .len(),
        1
    );
}

#[tokio::test]
async fn maintenance_destroys_what_is_due_and_leaves_no_trace_of_it_in_the_log() {
    let bench = bench(true).await;
    let made = bench.create("cmk").await;
    bench.create("kept").await;
    bench.engine.delete_key(VAULT, "cmk").await.unwrap();
    assert_eq!(bench.engine.maintain().await.unwrap().destroyed, 0);
    bench.clock.advance(DAY * 90);
    assert_eq!(bench.engine.maintain().await.unwrap().destroyed, 1);
    for file in ["vault.db", "vault.db-wal"] {
        let bytes = std::fs::read(bench.folder.path().join("vault").join(file)).unwrap();
        assert!(!contains(&bytes, modulus(&made)), "{file}");
    }
    bench.wrap("kept", None).await.unwrap();
}

#[tokio::test]
async fn a_log_that_is_in_use_is_emptied_as_soon_as_it_is_not() {
    let bench = bench(true).await;
    let made = bench.create("cmk").await;
    bench.create("kept").await;
    bench.engine.delete_key(VAULT, "cmk").await.unwrap();
    bench.clock.advance(DAY * 90);
    let reader = rusqlite::Connection::open(bench.folder.path().join("vault/vault.db")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM versions;")
        .unwrap();
    bench.create("new").await;
    let log = || std::fs::read(bench.folder.path().join("vault/vault.db-wal")).unwrap();
    assert!(
        contains(&log(), modulus(&made)),
        "the reader still sees what was destroyed"
    );
    reader.execute_batch("COMMIT").unwrap();
    bench.engine.key(VAULT, "kept", None).await.unwrap();
    assert!(log().is_empty());
}

#[tokio::test]
async fn a_use_that_began_before_a_key_was_purged_does_not_leave_it_in_memory() {
    let bench = bench(false).await;
    bench.create("cmk").await;
    let inner = &bench.engine.inner;
    let key = KeyPath::new(VAULT, "cmk", None);
    let visit = inner.safe.enter();
    let (version, row) = inner.database.read(|view| key.find(view, inner.now())).unwrap();
    let kept = inner.database.read(|view| rows::kept(view, row)).unwrap();
    bench.engine.delete_key(VAULT, "cmk").await.unwrap();
    bench.engine.purge_key(VAULT, "cmk").await.unwrap();
    let open = |visit: safe::Visit<'_>, kept| {
        let load = |private: &[u8]| Ok(inner.backend.load(version.spec, private, &version.public)?);
        let opened = visit.open(row, &key, &version.version, || kept, load);
        opened.map(|_| ())
    };
    open(visit, Ok(kept)).unwrap();
    let again = open(inner.safe.enter(), Err(VaultFault::Unusable));
    assert_eq!(again, Err(VaultFault::Unusable));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_the_process_is_killed_right_after() {
    let bench = bench(true).await;
    let mut acknowledged = vec![bench.create("cmk").await];
    acknowledged.push(bench.engine.rotate_key(VAULT, "cmk").await.unwrap());
    let off = KeyChange {
        enabled: Some(false),
        ..KeyChange::default()
    };
    acknowledged.push(bench.change("cmk", off).await);
    // A killed process leaves its files as they are at that moment; so does a copy of them while the engine runs.
    let after = tempfile::tempdir().unwrap();
    std::fs::create_dir(after.path().join("vault")).unwrap();
    for file in ["root.key", "vault/vault.db", "vault/vault.db-wal"] {
        std::fs::copy(bench.folder.path().join(file), after.path().join(file)).unwrap();
    }
    let engine = open(after.path(), &bench.clock).unwrap();
    let versions = engine.list_versions(VAULT, "cmk", all()).await.unwrap().rows;
    assert_eq!(versions, [acknowledged[0].clone(), acknowledged[2].clone()]);
}

#[tokio::test]
async fn lists_come_in_pages_without_gaps_or_repeats() {
    let bench = bench(true).await;
    for name in ["c", "a", "e", "B", "d"] {
        bench.create(name).await;
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = bench
            .engine
            .list_keys(VAULT, PageStart { after, limit: 2 })
            .await
            .unwrap();
        seen.extend(page.rows.iter().map(|key| key.name.clone()));
        after = seen.last().cloned();
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, ["a", "B", "c", "d", "e"]);
}

#[tokio::test]
async fn every_change_is_announced() {
    let bench = bench(true).await;
    let mut changes = bench.engine.subscribe();
    let made = bench.create("cmk").await;
    bench
        .change(
            "cmk",
            KeyChange {
                enabled: Some(false),
                ..KeyChange::default()
            },
        )
        .await;
    bench.engine.delete_key(VAULT, "cmk").await.unwrap();
    bench.engine.recover_key(VAULT, "cmk").await.unwrap();
    for version in [Some(made.version.clone()), Some(made.version), None, None] {
        let expected = KeyChanged {
            vault: VAULT.to_owned(),
            key: Some("cmk".to_owned()),
            version,
        };
        assert_eq!(changes.recv().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn changes_are_announced_under_the_name_that_was_given_first() {
    let bench = bench(false).await;
    let mut changes = bench.engine.subscribe();
    let (engine, vault) = (&bench.engine, VAULT.to_uppercase());
    bench.create("cmk").await;
    bench.create("CMK").await;
    let change = KeyChange {
        enabled: Some(false),
        ..KeyChange::default()
    };
    engine.update_key(&vault, "Cmk", None, change).await.unwrap();
    engine.delete_key(&vault, "CMK").await.unwrap();
    engine.recover_key(&vault, "CMK").await.unwrap();
    engine.delete_key(&vault, "CMK").await.unwrap();
    engine.purge_key(&vault, "CMK").await.unwrap();
    for _ in 0..7 {
        let announced = changes.recv().await.unwrap();
        assert_eq!(
            (announced.vault.as_str(), announced.key.as_deref()),
            (VAULT, Some("cmk"))
        );
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening_and_only_for_the_right_root_key() {
    let bench = bench(true).await;
    let made = bench.create("cmk").await;
    let wrapped = bench.wrap("cmk", None).await.unwrap();
    assert!(matches!(
        open(bench.folder.path(), &bench.clock),
        Err(OpenVaultError::InUse)
    ));
    let Bench {
        folder,
        clock,
        engine,
    } = bench;
    drop(engine);
    let engine = open(folder.path(), &clock).unwrap();
    let again = Bench {
        folder,
        clock,
        engine,
    };
    assert_eq!(again.engine.key(VAULT, "cmk", None).await.unwrap(), made);
    assert_eq!(again.unwrap("cmk", None, &wrapped).await.unwrap(), [5; 32]);
    let Bench {
        folder,
        clock,
        engine,
    } = again;
    drop(engine);
    std::fs::write(folder.path().join("root.key"), [3; 32]).unwrap();
    assert!(matches!(
        open(folder.path(), &clock),
        Err(OpenVaultError::WrongRootKey)
    ));
    std::fs::remove_file(folder.path().join("root.key")).unwrap();
    assert!(matches!(
        open(folder.path(), &clock),
        Err(OpenVaultError::RootKey(RootKeyError::Missing(_)))
    ));
}

#[tokio::test]
async fn a_passphrase_opens_its_own_vault_only() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let open = |passphrase: &str| {
        let root = RootKey::Passphrase(Zeroizing::new(passphrase.to_owned()));
        VaultEngine::open(folder.path(), root, Arc::clone(&clock) as Arc<dyn Clock>)
    };
    drop(open("correct horse battery").unwrap());
    assert!(open("correct horse battery").is_ok());
    assert!(matches!(
        open("correct horse batterz"),
        Err(OpenVaultError::WrongRootKey)
    ));
    let file = RootKey::File(folder.path().join("root.key"));
    let opened = VaultEngine::open(folder.path(), file, Arc::clone(&clock) as Arc<dyn Clock>);
    assert!(matches!(
        opened,
        Err(OpenVaultError::RootKey(RootKeyError::Missing(_)))
    ));
}

#[tokio::test]
async fn no_private_key_is_on_disk_in_the_clear() {
    let bench = bench(true).await;
    let made = bench.create("cmk").await;
    // PKCS#8 of RSA keys holds rsaEncryption's identifier, and the private part the modulus behind a version of 0.
    let identifier = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let mut private_head = vec![0x02, 0x01, 0x00, 0x02, 0x82, 0x01, 0x01, 0x00];
    private_head.extend_from_slice(modulus(&made));
    let mut files = 0;
    for entry in std::fs::read_dir(bench.folder.path().join("vault")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        files += 1;
        assert!(!contains(&bytes, &identifier));
        assert!(!contains(&bytes, &private_head));
    }
    assert!(files >= 3, "database, log and lock are there");
    // The search itself works: the public half is stored in the clear.
    let log = std::fs::read(bench.folder.path().join("vault/vault.db-wal")).unwrap();
    assert!(contains(&log, modulus(&made)));
    let other = SoftwareKeys.generate(KeySpec::Rsa2048).unwrap();
    assert!(contains(&other.private, &identifier));
    let mut head = private_head[..8].to_vec();
    head.extend_from_slice(other.public.numbers().0);
    assert!(contains(&other.private, &head));
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn private_keys_exchanged_on_disk_do_not_open() {
    let bench = bench(true).await;
    bench.create("one").await;
    bench.create("two").await;
    let Bench {
        folder,
        clock,
        engine,
    } = bench;
    drop(engine);
    let database = rusqlite::Connection::open(folder.path().join("vault/vault.db")).unwrap();
    database
        .execute_batch(
            "UPDATE versions SET (wrapped, sealed) = (SELECT wrapped, sealed FROM versions o WHERE o.id <> versions.id)",
        )
        .unwrap();
    drop(database);
    let engine = open(folder.path(), &clock).unwrap();
    let exchanged = Bench {
        folder,
        clock,
        engine,
    };
    assert_eq!(exchanged.wrap("one", None).await, Err(VaultFault::Unusable));
}

#[tokio::test]
async fn an_unknown_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("vault.db")).unwrap();
    database.pragma_update(None, "user_version", 9).unwrap();
    drop(database);
    let root = RootKey::File(folder.path().join("root.key"));
    let opened = VaultEngine::open(folder.path(), root, HandClock::new());
    assert!(matches!(opened, Err(OpenVaultError::UnknownFormat(9))));
}

#[tokio::test]
async fn names_and_numbers_that_azure_refuses_are_refused() {
    let bench = bench(true).await;
    for name in ["", "a_b", "a/b", "a b", "ä", &"a".repeat(128)] {
        let made = bench
            .engine
            .create_key(VAULT, name, NewKey::of(KeySpec::Rsa2048))
            .await;
        assert!(matches!(made, Err(VaultFault::BadParameter(_))), "{name:?}");
    }
    let tags = (0..16).map(|n| (n.to_string(), String::new())).collect();
    let made = bench
        .engine
        .create_key(
            VAULT,
            "k",
            NewKey {
                tags,
                ..NewKey::of(KeySpec::Rsa2048)
            },
        )
        .await;
    assert!(matches!(made, Err(VaultFault::BadParameter(_))));
    for settings in [
        VaultSettings {
            name: "ab".to_owned(),
            ..vault_settings()
        },
        VaultSettings {
            name: "a--b".to_owned(),
            ..vault_settings()
        },
        VaultSettings {
            name: "1abc".to_owned(),
            ..vault_settings()
        },
        VaultSettings {
            name: "other".to_owned(),
            soft_delete_days: 6,
            ..vault_settings()
        },
    ] {
        assert!(matches!(
            bench.engine.create_vault(settings),
            Err(VaultFault::BadParameter(_) | VaultFault::VaultName(_))
        ));
    }
    let twice = bench.engine.create_vault(vault_settings());
    assert!(matches!(twice, Err(VaultFault::VaultExists(_))));
    let nowhere = bench.engine.key("nowhere", "k", None).await;
    assert!(matches!(nowhere, Err(VaultFault::NoSuchVault(_))));
}

proptest! {
    #[test]
    fn key_operation_names_go_both_ways(index in 0..6_usize) {
        let operation = KeyOperation::ALL[index];
        prop_assert_eq!(KeyOperation::from_name(operation.name()), Some(operation));
        prop_assert_eq!(KeyOperation::from_name(&operation.name().to_uppercase()), Some(operation));
    }
}
