//! What is deleted is erased, in time, and told.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use strongroom_seal::BoxFuture;
use tokio::sync::watch;

use super::rig::{Rig, noise};
use crate::{Action, Change, Expiry, NewObject, NotKept, StoreEvent, Witness, limits};

async fn shredded(
    events: &mut tokio::sync::broadcast::Receiver<StoreEvent>,
    count: usize,
) -> HashSet<String> {
    let mut ids = HashSet::new();
    while ids.len() < count {
        if let StoreEvent::Shredded {
            id,
            deleted_ms,
            at_ms,
            ..
        } = events.recv().await.unwrap()
        {
            assert!(deleted_ms <= at_ms);
            ids.insert(id);
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_object_is_erased_and_then_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    let mut events = rig.store.events();
    for id in ["a", "b"] {
        rig.put_blob(id, &noise(1000)).await.unwrap();
        rig.delete(id).await.unwrap();
    }
    assert_eq!(
        shredded(&mut events, 2).await,
        HashSet::from(["a".to_owned(), "b".to_owned()])
    );
    // Nothing is left but what the forgetting itself writes after it was told: a header and at most one page, perhaps not whole yet.
    let log = std::fs::metadata(folder.path().join("records.db-wal")).unwrap();
    assert!(log.len() <= 32 + 24 + 4096, "{}", log.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_life_deleted_is_told_of_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    rig.put("a", b"x").await.unwrap();
    rig.delete("a").await.unwrap();
    let account = rig.account;
    rig.store.close().await;
    drop(rig);
    let rig = Rig::on_disk_as(folder.path(), account).await;
    while rig.statistics().await.unwrap().awaiting_erasure > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_an_update_and_a_rekey_destroy_are_erased_too() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    rig.put("a", b"x").await.unwrap();
    let blob = |sql: &str| -> Vec<u8> {
        let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let key = "SELECT wrapped FROM key_slot WHERE slot = 1";
    let mut dead = vec![blob(key), blob("SELECT seed FROM branch")];
    let change = Change {
        body: b"y",
        expires: Expiry::Keep,
    };
    let write = rig.permit(Action::Write);
    rig.store.update(&write, "file", "a", None, change).await.unwrap();
    dead.push(blob(key));
    rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
    let stands = |dead: &Vec<u8>| {
        ["records.db", "records.db-wal"].iter().any(|name| {
            let bytes = std::fs::read(folder.path().join(name)).unwrap_or_default();
            bytes.windows(dead.len()).any(|window| window == dead)
        })
    };
    loop {
        // Asked for before the look, so that none is missed.
        let erasure = std::pin::pin!(rig.store.inner().traces.erasure());
        if !dead.iter().any(stands) {
            break;
        }
        erasure.await;
    }
    rig.get("a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_object_is_shredded_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    let mut events = rig.store.events();
    let new = NewObject {
        expires: Some(Duration::from_secs(9)),
        ..NewObject::new("file", "a", b"x")
    };
    rig.store.put(&rig.permit(Action::Write), new).await.unwrap();
    rig.put("b", b"stays").await.unwrap();
    rig.clock.turn(Duration::from_secs(9));
    assert_eq!(shredded(&mut events, 1).await, HashSet::from(["a".to_owned()]));
    rig.get("b").await.unwrap();
}

/// Takes nothing down before it is told to, and then everything.
struct Slow {
    refuses: bool,
    is_well: watch::Sender<bool>,
    asked: watch::Sender<usize>,
    kept: Mutex<Vec<String>>,
}

impl Slow {
    fn new(refuses: bool) -> Arc<Self> {
        Arc::new(Self {
            refuses,
            is_well: watch::channel(false).0,
            asked: watch::channel(0).0,
            kept: Mutex::default(),
        })
    }

    async fn was_asked(&self, times: usize) {
        let mut asked = self.asked.subscribe();
        asked.wait_for(|asked| *asked >= times).await.unwrap();
    }
}

impl Witness for Slow {
    fn keep(&self, events: Vec<StoreEvent>) -> BoxFuture<'_, Result<(), NotKept>> {
        Box::pin(async move {
            assert!(events.len() <= limits::SHREDDINGS_TOLD);
            self.asked.send_modify(|asked| *asked += 1);
            let mut is_well = self.is_well.subscribe();
            if self.refuses && !*is_well.borrow() {
                return Err(NotKept("not yet".to_owned()));
            }
            is_well.wait_for(|is_well| *is_well).await.unwrap();
            let ids = events.into_iter().map(|event| match event {
                StoreEvent::Shredded { id, .. } => id,
                other => panic!("{other:?}"),
            });
            self.kept.lock().unwrap().extend(ids);
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shreddings_wait_for_a_witness_that_refuses_or_is_slow_and_nobody_else_does() {
    for refuses in [true, false] {
        let witness = Slow::new(refuses);
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::witnessed(folder.path(), witness.clone()).await;
        let ids: Vec<_> = (0..1300).map(|number| format!("id-{number:04}")).collect();
        join_all(ids.iter().map(|id| rig.put(id, b"x"))).await;
        for id in &ids {
            rig.delete(id).await.unwrap();
        }
        witness.was_asked(if refuses { 2 } else { 1 }).await;
        assert_eq!(rig.statistics().await.unwrap().awaiting_erasure, 1300);
        rig.put_blob("meanwhile", &noise(100_000)).await.unwrap();
        assert_eq!(rig.read_blob("meanwhile", None).await.unwrap(), noise(100_000));
        witness.is_well.send_replace(true);
        while rig.statistics().await.unwrap().awaiting_erasure > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*witness.kept.lock().unwrap(), ids);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_record_and_cannot_be_forgotten_yet_is_not_told_again() {
    let witness = Slow::new(false);
    witness.is_well.send_replace(true);
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::witnessed(folder.path(), witness.clone()).await;
    let ids: Vec<_> = (0..600).map(|number| format!("id-{number:03}")).collect();
    join_all(ids.iter().map(|id| rig.put(id, b"x"))).await;
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    database
        .execute_batch(
            "CREATE TRIGGER full BEFORE DELETE ON shredding BEGIN SELECT RAISE(ABORT, 'no room'); END",
        )
        .unwrap();
    for id in &ids {
        rig.delete(id).await.unwrap();
    }
    witness.was_asked(1).await;
    for _ in 0..2 {
        rig.store.inner().traces.erasure().await;
    }
    assert_eq!(rig.statistics().await.unwrap().awaiting_erasure, 600);
    database.execute_batch("DROP TRIGGER full").unwrap();
    while rig.statistics().await.unwrap().awaiting_erasure > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*witness.kept.lock().unwrap(), ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_a_shredding_says_why_and_what_was_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    let mut events = rig.store.events();
    rig.put_blob("a", &noise(100_000)).await.unwrap();
    let write = rig.permit(Action::Write);
    let brief = NewObject {
        expires: Some(Duration::from_secs(5)),
        ..NewObject::new("file", "b", b"x")
    };
    rig.store.put(&write, brief).await.unwrap();
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    // The record's key first, then its blob's.
    let mut keys = database
        .prepare("SELECT wrapped FROM key_slot WHERE slot <= 2 ORDER BY slot")
        .unwrap();
    let keys = keys.query_map([], |row| row.get(0)).unwrap();
    let keys: Vec<Vec<u8>> = keys.collect::<Result<_, _>>().unwrap();
    rig.delete("a").await.unwrap();
    rig.clock.turn(Duration::from_secs(6));
    let mut receipts = Vec::new();
    while receipts.len() < 2 {
        if let StoreEvent::Shredded {
            id,
            expired,
            branches,
            keys,
            digest,
            ..
        } = events.recv().await.unwrap()
        {
            assert_eq!(
                branches.iter().map(|version| version.get()).collect::<Vec<_>>(),
                [1]
            );
            assert_eq!(keys, ["https://vault.example/keys/name/v1"]);
            receipts.push((id, expired, digest));
        }
    }
    receipts.sort();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &keys.concat());
    assert_eq!(receipts[0].2.as_slice(), digest.as_ref());
    let whys: Vec<_> = receipts
        .iter()
        .map(|(id, expired, _)| (id.as_str(), *expired))
        .collect();
    assert_eq!(whys, [("a", false), ("b", true)]);
}
