//! Blobs that come to an object after it was put, and go before it does.

use std::fs;

use futures::future::join_all;

use super::rig::{Rig, noise};
use crate::{Action, Change, Expiry, Meta, StoreError};

async fn attach(rig: &Rig, id: &str, part: u32, plain: &[u8]) -> Result<Meta, StoreError> {
    let blob = rig.stage(id, part, plain).await?;
    rig.store
        .attach(&rig.permit(Action::Write), blob, |_| Ok(()))
        .await
}

async fn read(rig: &Rig, part: u32) -> Result<Vec<u8>, StoreError> {
    let read = rig.permit(Action::Read);
    let mut reader = rig.store.open_blob(&read, "file", "a", part, None).await?;
    let mut all = Vec::new();
    while let Some(piece) = reader.next_chunk().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

fn numbers(meta: &Meta) -> Vec<u32> {
    meta.parts.iter().map(|size| size.part).collect()
}

/// How many wrapped keys stand in the database, and how many blob files there are.
fn left(folder: &tempfile::TempDir) -> (u32, usize) {
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    let sql = "SELECT count(*) FROM key_slot WHERE wrapped <> zeroblob(81)";
    let shelves = fs::read_dir(folder.path().join("blobs")).unwrap();
    let files = shelves.map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap().count());
    (
        database.query_row(sql, [], |row| row.get(0)).unwrap(),
        files.sum(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_blobs_come_to_an_object_at_once_and_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    rig.put("a", b"body").await.unwrap();
    let parts: Vec<u32> = (0..40).map(|n| (n * 7_919 + 13) % 101).collect();
    let added = parts.iter().map(|part| {
        let length = if part % 2 == 0 { 100 } else { 70_000 } + *part as usize;
        let rig = &rig;
        async move { attach(rig, "a", *part, &noise(length)).await }
    });
    for answer in join_all(added).await {
        answer.unwrap();
    }
    let object = rig.get("a").await.unwrap();
    assert_eq!((&object.body[..], object.meta.revision), (&b"body"[..], 41));
    let mut sorted = parts.clone();
    sorted.sort_unstable();
    assert_eq!(numbers(&object.meta), sorted);
    rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
    while rig
        .jobs()
        .await
        .unwrap()
        .iter()
        .any(|job| job.finished_ms.is_none())
    {
        tokio::task::yield_now().await;
    }
    for part in parts {
        let length = object.meta.size_of(part).unwrap();
        assert_eq!(
            read(&rig, part).await.unwrap(),
            noise(usize::try_from(length).unwrap())
        );
    }
    rig.delete("a").await.unwrap();
    while left(&folder) != (0, 0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_admitted_or_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    rig.put_blob("a", &noise(70_000)).await.unwrap();
    let missing = attach(&rig, "b", 1, &noise(70_000)).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
    let doubled = attach(&rig, "a", 0, &noise(70_000)).await;
    assert!(matches!(doubled, Err(StoreError::AlreadyExists)));
    let blob = rig.stage("a", 1, &noise(70_000)).await.unwrap();
    let refused = rig
        .store
        .attach(&rig.permit(Action::Write), blob, |object| {
            assert_eq!(object.meta.size_of(0), Some(70_000));
            Err(StoreError::Busy)
        })
        .await;
    assert!(matches!(refused, Err(StoreError::Busy)));
    let blob = rig.stage("a", 1, &noise(70_000)).await.unwrap();
    let foreign = rig.neighbour(Action::Write);
    let misplaced = rig
        .store
        .attach(&foreign, blob, |_| Ok::<_, StoreError>(()))
        .await;
    assert!(matches!(misplaced, Err(StoreError::BadName)));
    assert_eq!(numbers(&rig.get("a").await.unwrap().meta), [0]);
    while left(&folder) != (2, 1) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_are_not_kept_are_destroyed_with_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    rig.put("a", b"body").await.unwrap();
    for part in [5, 3, 8, 1] {
        attach(&rig, "a", part, &noise(70_000)).await.unwrap();
    }
    let write = rig.permit(Action::Write);
    let seen = rig.get("a").await.unwrap().meta;
    let keep = async |revision, keep: &[u32]| {
        let change = Change {
            body: b"new",
            expires: Expiry::Keep,
        };
        let seen = Meta {
            revision,
            ..seen.clone()
        };
        rig.store.update_keeping(&write, &seen, change, keep).await
    };
    let stale = keep(4, &[3]).await;
    assert!(matches!(stale, Err(StoreError::RevisionConflict { current: 5 })));
    assert!(matches!(keep(5, &[3, 4]).await, Err(StoreError::NotFound)));
    let meta = keep(5, &[8, 3]).await.unwrap();
    assert_eq!(numbers(&meta), [3, 8]);
    assert_eq!(left(&folder).0, 3, "their keys went in the same transaction");
    assert!(matches!(read(&rig, 5).await, Err(StoreError::NotFound)));
    assert_eq!(read(&rig, 8).await.unwrap(), noise(70_000));
    assert_eq!(&rig.get("a").await.unwrap().body[..], b"new");
    // The files go, and so does the note that they are to go.
    let unwanted = || {
        let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
        let sql = "SELECT count(*) FROM unwanted";
        database.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    while (left(&folder), unwanted()) != ((3, 2), 0) {
        tokio::task::yield_now().await;
    }
    attach(&rig, "a", 5, &noise(10)).await.unwrap();
    assert_eq!(read(&rig, 5).await.unwrap(), noise(10));
}
