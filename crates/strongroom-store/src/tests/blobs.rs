//! Blobs.

use std::fs;

use bytes::Bytes;
use strongroom_seal::{NoAnswer, blob_layout};

use super::rig::{CueVault, HandClock, Rig, noise};
use crate::{Action, Corruption, KeyDenied, OpenStoreError, Store, StoreConfig, StoreError};

async fn rig() -> (tempfile::TempDir, Rig) {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    (folder, rig)
}

/// How many files there are under `blobs/`.
fn files(folder: &tempfile::TempDir) -> usize {
    let shelves = fs::read_dir(folder.path().join("blobs")).unwrap();
    shelves
        .map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap().count())
        .sum()
}

/// Waits until there are so many.
async fn until_files(folder: &tempfile::TempDir, count: usize) {
    while files(folder) != count {
        tokio::task::yield_now().await;
    }
}

/// The place of the only blob, once it has the name that it keeps.
async fn settled(folder: &tempfile::TempDir) -> std::path::PathBuf {
    loop {
        let shelves = fs::read_dir(folder.path().join("blobs")).unwrap();
        let mut entries = shelves.flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap());
        if let Some(path) =
            entries.find_map(|entry| Some(entry.unwrap().path()).filter(|path| path.extension().is_none()))
        {
            return path;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_every_length_come_back_whole_and_in_ranges() {
    let (folder, rig) = rig().await;
    let full = blob_layout::FIRST_ROOM + blob_layout::ROOM;
    let lengths = [
        0,
        1,
        65_536,
        65_537,
        blob_layout::FIRST_ROOM,
        blob_layout::FIRST_ROOM + 1,
        full,
        full + 77,
    ];
    for (number, length) in lengths.into_iter().enumerate() {
        let (id, plain) = (format!("id-{number}"), noise(length));
        let meta = rig.put_blob(&id, &plain).await.unwrap();
        assert_eq!(meta.size_of(0), Some(length as u64));
        assert_eq!(rig.read_blob(&id, None).await.unwrap(), plain);
        for (from, to) in [
            (0, 1),
            (length / 2, length / 2 + 5),
            (length.saturating_sub(1), length + 9),
        ] {
            let range = from as u64..to as u64;
            let answer = rig.read_blob(&id, Some(range)).await;
            match plain.get(from..to.min(length)) {
                Some(expected) if !expected.is_empty() => assert_eq!(answer.unwrap(), expected),
                _ => assert!(matches!(answer, Err(StoreError::OutOfRange { .. }))),
            }
        }
    }
    assert_eq!(files(&folder), 5, "only what is longer than 64 KiB has a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_blob_leaves_nothing() {
    let (folder, rig) = rig().await;
    let mut writer = rig
        .store
        .stage(&rig.permit(Action::Write), "file", "a", 0)
        .await
        .unwrap();
    writer.write(Bytes::from(noise(3_000_000))).await.unwrap();
    assert_eq!(files(&folder), 1);
    drop(writer);
    until_files(&folder, 0).await;
    let staged = rig.stage("a", 0, &noise(100_000)).await.unwrap();
    assert_eq!(files(&folder), 1);
    drop(staged);
    until_files(&folder, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_writer_is_dropped_while_it_writes_leaves_nothing() {
    let (folder, rig) = rig().await;
    for pieces in [1_100_000, 2_200_000, 70_000] {
        let mut writer = rig
            .store
            .stage(&rig.permit(Action::Write), "file", "a", 0)
            .await
            .unwrap();
        // Polled once, so that the work begins in the background, and then dropped.
        let whole = async move {
            writer.write(Bytes::from(noise(pieces))).await.unwrap();
            writer.finish().await.unwrap()
        };
        drop(futures::poll!(std::pin::pin!(whole)));
        rig.put_blob("b", &noise(100_000)).await.unwrap();
        rig.delete("b").await.unwrap();
        until_files(&folder, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_refused_removes_its_blobs() {
    let (folder, rig) = rig().await;
    rig.put("a", b"x").await.unwrap();
    assert!(matches!(
        rig.put_blob("a", &noise(100_000)).await,
        Err(StoreError::AlreadyExists)
    ));
    until_files(&folder, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_removes_the_file() {
    let (folder, rig) = rig().await;
    rig.put_blob("a", &noise(100_000)).await.unwrap();
    rig.delete("a").await.unwrap();
    until_files(&folder, 0).await;
    assert!(matches!(
        rig.read_blob("a", None).await,
        Err(StoreError::NotFound)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_never_committed_are_swept_when_the_store_opens() {
    let (folder, rig) = rig().await;
    rig.put_blob("a", &noise(100_000)).await.unwrap();
    let account = rig.account;
    rig.store.close().await;
    drop(rig);
    let stray = "0123456789abcdef0123456789abcdef";
    let staged = format!("01/{stray}.staged");
    fs::create_dir_all(folder.path().join("blobs/01")).unwrap();
    for place in [&staged, &format!("incoming/{stray}")] {
        fs::write(folder.path().join("blobs").join(place), b"stray").unwrap();
    }
    let rig = Rig::on_disk_as(folder.path(), account).await;
    assert_eq!(files(&folder), 1);
    assert_eq!(rig.read_blob("a", None).await.unwrap(), noise(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_removes_no_blob_and_the_newer_one_finds_them_all() {
    let (folder, rig) = rig().await;
    let (account, database) = (rig.account, folder.path().join("records.db"));
    rig.put_blob("a", &noise(100_000)).await.unwrap();
    rig.store.close().await;
    drop(rig);
    let older = fs::read(&database).unwrap();
    let rig = Rig::on_disk_as(folder.path(), account).await;
    rig.put_blob("b", &noise(100_001)).await.unwrap();
    rig.store.close().await;
    drop(rig);
    let newer = fs::read(&database).unwrap();
    // Not even what looks like an upload that was cut off.
    let staged = "blobs/01/0123456789abcdef0123456789abcdef.staged";
    fs::create_dir_all(folder.path().join("blobs/01")).unwrap();
    fs::write(folder.path().join(staged), b"stray").unwrap();

    fs::write(&database, older).unwrap();
    let rig = Rig::on_disk_as(folder.path(), account).await;
    assert_eq!(files(&folder), 3);
    assert!(matches!(rig.get("b").await, Err(StoreError::NotFound)));
    rig.store.close().await;
    drop(rig);

    fs::write(&database, newer).unwrap();
    let rig = Rig::on_disk_as(folder.path(), account).await;
    assert_eq!(rig.read_blob("b", None).await.unwrap(), noise(100_001));
    assert_eq!(files(&folder), 2, "what was never committed is swept again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_stops_when_the_lease_ends() {
    let (_folder, rig) = rig().await;
    rig.put_blob("a", &noise(4_000_000)).await.unwrap();
    let mut reader = rig
        .store
        .open_blob(&rig.permit(Action::Read), "file", "a", 0, None)
        .await
        .unwrap();
    reader.next_chunk().await.unwrap().unwrap();
    let ended = rig.store.lease(rig.account).await.unwrap().ended();
    rig.vault.says(Some(NoAnswer::Gone));
    rig.store.nudge(rig.account);
    assert_eq!(ended.await, KeyDenied::Gone);
    assert!(matches!(
        reader.next_chunk().await,
        Some(Err(StoreError::Key(KeyDenied::Gone)))
    ));
    assert!(reader.next_chunk().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_stops_when_the_lease_ends() {
    let (folder, rig) = rig().await;
    let mut writer = rig
        .store
        .stage(&rig.permit(Action::Write), "file", "a", 0)
        .await
        .unwrap();
    writer.write(Bytes::from(noise(2_000_000))).await.unwrap();
    let staged = rig.stage("b", 0, b"small").await.unwrap();
    let ended = rig.store.lease(rig.account).await.unwrap().ended();
    rig.vault.says(Some(NoAnswer::Refused));
    rig.store.nudge(rig.account);
    ended.await;
    let refused = writer.write(Bytes::from_static(b"more")).await;
    assert!(matches!(refused, Err(StoreError::Key(KeyDenied::Refused))));
    drop(writer);
    until_files(&folder, 0).await;
    let new = crate::NewObject {
        blobs: vec![staged],
        ..crate::NewObject::new("file", "b", b"x")
    };
    let refused = rig.store.put(&rig.permit(Action::Write), new).await;
    assert!(matches!(refused, Err(StoreError::Key(KeyDenied::Refused))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_or_swapped_does_not_open() {
    let (folder, rig) = rig().await;
    rig.put_blob("a", &noise(100_000)).await.unwrap();
    let path = settled(&folder).await;
    let stored = fs::read(&path).unwrap();
    fs::write(&path, &stored[..stored.len() - 1]).unwrap();
    assert!(matches!(
        rig.read_blob("a", None).await,
        Err(StoreError::Corrupt(Corruption::Length))
    ));
    let mut flipped = stored.clone();
    flipped[500] ^= 1;
    fs::write(&path, flipped).unwrap();
    assert!(matches!(
        rig.read_blob("a", None).await,
        Err(StoreError::Corrupt(Corruption::Sealed))
    ));
    fs::write(&path, stored).unwrap();
    assert_eq!(rig.read_blob("a", None).await.unwrap(), noise(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_opens_without_the_store_and_is_counted() {
    let (_folder, rig) = rig().await;
    let plain = noise(70_000);
    rig.put_blob("a", &plain).await.unwrap();
    let mut events = rig.store.events();
    let mut export = rig
        .store
        .export(&rig.permit(Action::Export), "file", "a", 0)
        .await
        .unwrap();
    assert!(export.keyset_json.contains("AesGcmHkdfStreamingKey"));
    assert!(!export.associated_data.is_empty());
    let mut stored = Vec::new();
    while let Some(piece) = export.stored.next_chunk().await {
        stored.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(stored.len() as u64, blob_layout::stored_len(70_000).unwrap());
    assert_eq!(rig.statistics().await.unwrap().exports, 1);
    loop {
        if let crate::StoreEvent::Exported { id, part, caller, .. } = events.recv().await.unwrap() {
            assert_eq!((id.as_str(), part, caller.as_str()), ("a", Some(0), "tester"));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_without_their_database_are_not_swept_but_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (database, kept) = (folder.path().join("records.db"), folder.path().join("kept.db"));
    let rig = Rig::on_disk(folder.path()).await;
    rig.put_blob("a", &noise(100_000)).await.unwrap();
    let account = rig.account;
    rig.store.close().await;
    drop(rig);
    fs::rename(&database, &kept).unwrap();
    for _ in 0..2 {
        let opened = Store::open(StoreConfig::new(folder.path()), CueVault::new(), HandClock::new()).await;
        assert!(matches!(opened, Err(OpenStoreError::BlobsWithoutDatabase { .. })));
        assert!(!database.exists());
    }
    fs::rename(&kept, &database).unwrap();
    let rig = Rig::on_disk_as(folder.path(), account).await;
    assert_eq!(rig.read_blob("a", None).await.unwrap(), noise(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_of_an_object_whose_record_does_not_open() {
    let (folder, rig) = rig().await;
    rig.put_blob("a", &noise(100_000)).await.unwrap();
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    let permit = rig.permit(Action::Export);
    for (change, undo, how) in [
        (
            "UPDATE record SET created = created + 1",
            "UPDATE record SET created = created - 1",
            Corruption::Columns,
        ),
        (
            "UPDATE record SET expires = 99000000000",
            "UPDATE record SET expires = NULL",
            Corruption::Columns,
        ),
        (
            "UPDATE record SET body = zeroblob(length(body))",
            "SELECT 1",
            Corruption::Format,
        ),
    ] {
        database.execute_batch(change).unwrap();
        let answer = rig.store.export(&permit, "file", "a", 0).await.map(drop);
        assert!(
            matches!(answer, Err(StoreError::Corrupt(found)) if found == how),
            "{change}: {answer:?}"
        );
        database.execute_batch(undo).unwrap();
    }
    assert_eq!(rig.statistics().await.unwrap().exports, 0);
}
