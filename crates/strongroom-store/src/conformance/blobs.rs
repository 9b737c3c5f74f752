//! Blobs.

use std::sync::Arc;

use strongroom_seal::{AccountId, Context, ObjectKey, blob_layout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::fixture::Fixture;
use crate::{
    blobs::{BlobName, Blobs, StagedFile},
    sealing::{SealedSegment, SegmentBuffer},
};

pub(super) async fn all(blobs: Arc<dyn Blobs>, fixture: Fixture) {
    what_is_written_is_read_back(&*blobs).await;
    a_blob_that_is_dropped_was_never_there(&*blobs).await;
    what_is_removed_is_gone(&*blobs).await;
    what_is_thrown_away_is_removed(blobs, fixture).await;
}

/// Writes a blob of this many zeros; gives its name and its stored length.
async fn write(blobs: &dyn Blobs, length: usize) -> (BlobName, u64) {
    let account = AccountId::from_uuid(Uuid::new_v4());
    let context = Context::new(account, "file", "id", 0).unwrap();
    let sealer = ObjectKey::generate().unwrap().blob_sealer(&context).unwrap();
    let mut segment = SealedSegment::begin(Box::new(sealer));
    let mut sink = blobs.create();
    let plain = vec![0; length];
    let mut rest = plain.as_slice();
    loop {
        segment.sealer().push(&mut rest);
        if rest.is_empty() {
            break;
        }
        segment = sink.append(segment).await.unwrap();
    }
    segment.close();
    sink.append(segment).await.unwrap();
    (
        sink.finish().await.unwrap(),
        blob_layout::stored_len(length as u64).unwrap(),
    )
}

async fn what_is_written_is_read_back(blobs: &dyn Blobs) {
    for length in [0, 1, blob_layout::FIRST_ROOM, 3_000_000] {
        let (name, stored) = write(blobs, length).await;
        let source = blobs.open(name).await.unwrap().unwrap();
        assert_eq!(source.len(), stored);
        let header = source
            .read_at(0, SegmentBuffer::new(blob_layout::HEADER_LEN))
            .await
            .unwrap();
        assert_eq!(usize::from(header[0]), blob_layout::HEADER_LEN);
        let end = source.read_at(stored - 16, SegmentBuffer::new(16)).await.unwrap();
        assert_ne!(*end, [0; 16]);
        assert!(source.read_at(stored - 1, SegmentBuffer::new(2)).await.is_err());
        assert!(blobs.sweep().await.unwrap().staged.contains(&name));
        blobs.settle(name).await.unwrap();
        blobs.settle(name).await.unwrap();
        let found = blobs.sweep().await.unwrap();
        assert!(found.settled.contains(&name) && !found.staged.contains(&name));
        assert_eq!(blobs.open(name).await.unwrap().unwrap().len(), stored);
    }
}

async fn a_blob_that_is_dropped_was_never_there(blobs: &dyn Blobs) {
    let before = blobs.sweep().await.unwrap();
    drop(blobs.create());
    assert_eq!(blobs.sweep().await.unwrap(), before);
}

async fn what_is_removed_is_gone(blobs: &dyn Blobs) {
    let (name, _) = write(blobs, 10).await;
    blobs.remove(name).await.unwrap();
    assert!(blobs.open(name).await.unwrap().is_none());
    blobs.remove(name).await.unwrap();
    let (staged, settled) = (write(blobs, 10).await.0, write(blobs, 10).await.0);
    blobs.settle(settled).await.unwrap();
    blobs.remove_for_good(vec![staged, settled, name]).await.unwrap();
    for name in [staged, settled] {
        assert!(blobs.open(name).await.unwrap().is_none());
    }
}

async fn what_is_thrown_away_is_removed(blobs: Arc<dyn Blobs>, fixture: Fixture) {
    let (kept, thrown) = (write(&*blobs, 10).await.0, write(&*blobs, 10).await.0);
    let Fixture { bin, litter } = fixture;
    StagedFile::new(kept, bin.clone()).keep();
    drop(StagedFile::new(thrown, bin.clone()));
    let closed = CancellationToken::new();
    closed.cancel();
    litter.collect(Arc::clone(&blobs), closed).await;
    assert!(blobs.open(kept).await.unwrap().is_some());
    assert!(blobs.sweep().await.unwrap().settled.contains(&kept));
    assert!(blobs.open(thrown).await.unwrap().is_none());
}
