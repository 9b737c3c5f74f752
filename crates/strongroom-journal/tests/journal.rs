//! The journal as its users see it: on a real disk, with real keys, through crashes.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use strongroom_journal::{
    Journal, JournalError, MAX_ENTRY_BYTES, SigningKey, VerifyingKey, leaf_hash, verify_consistency,
    verify_inclusion,
};
use tempfile::TempDir;

const ORIGIN: &str = "strongroom.example/journal";

fn open(folder: &Path) -> Journal {
    let key = SigningKey::load_or_create(&folder.join("key"), ORIGIN).unwrap();
    Journal::open(&folder.join("journal"), key).unwrap()
}

fn fill(journal: &Journal, range: std::ops::Range<u64>) {
    let receipts: Vec<_> = range
        .map(|i| journal.append(format!("entry {i}").into_bytes()).unwrap())
        .collect();
    receipts.into_iter().for_each(|receipt| {
        receipt.wait().unwrap();
    });
}

#[test]
fn entries_come_back_in_order_after_reopening_across_tiles() {
    let folder = TempDir::new().unwrap();
    let mut next = 0;
    for count in [0, 1, 254, 1, 1, 300, 255] {
        let journal = open(folder.path());
        assert_eq!(journal.size(), next);
        fill(&journal, next..next + count);
        next += count;
        let entries = journal.read(0, next).unwrap();
        let expected: Vec<_> = (0..next).map(|i| format!("entry {i}").into_bytes()).collect();
        assert_eq!(entries, expected);
    }
}

#[test]
fn an_append_cut_off_by_a_crash_is_dropped_and_the_rest_kept() {
    for torn in [&[0][..], &[0, 5, b'x'], &[0, 0, 0, 0]] {
        let folder = TempDir::new().unwrap();
        fill(&open(folder.path()), 0..3);
        let head = folder.path().join("journal/head");
        OpenOptions::new()
            .append(true)
            .open(&head)
            .unwrap()
            .write_all(torn)
            .unwrap();
        let journal = open(folder.path());
        assert_eq!(journal.size(), 3);
        fill(&journal, 3..4);
        assert_eq!(journal.read(3, 4).unwrap(), [b"entry 3".to_vec()]);
    }
}

#[test]
fn after_a_failure_nothing_is_built_on_a_journal_that_lost_what_was_durable() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..255);
    let place = folder.path().join("journal");
    let (tiles, aside) = (place.join("tile"), folder.path().join("aside"));
    fs::rename(&tiles, &aside).unwrap();
    fs::write(&tiles, b"in the way").unwrap();
    let refused = journal.append(b"entry 255".to_vec()).unwrap().wait();
    assert!(matches!(refused, Err(JournalError::Failing)), "{refused:?}");
    fs::remove_file(&tiles).unwrap();
    fs::rename(&aside, &tiles).unwrap();
    let whole = head_of(folder.path());
    fs::write(place.join("head"), &whole[..40]).unwrap();
    let refused = journal.append(b"entry 256".to_vec()).unwrap().wait();
    assert!(matches!(refused, Err(JournalError::Failing)), "{refused:?}");
    assert!(matches!(journal.checkpoint(), Err(JournalError::Damaged { .. })));
    assert!(
        !place.join("checkpoint").exists(),
        "nothing was signed over what is left"
    );
    assert_eq!(journal.size(), 256, "what was durable still counts");
    fs::write(place.join("head"), whole).unwrap();
    fill(&journal, 256..300);
    assert_eq!(
        journal.read(254, 257).unwrap(),
        [
            b"entry 254".to_vec(),
            b"entry 255".to_vec(),
            b"entry 256".to_vec()
        ]
    );
}

/// What of the journal is on the disk.
fn head_of(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("journal/head")).unwrap()
}

fn try_open(folder: &Path) -> Result<Journal, JournalError> {
    let key = SigningKey::load_or_create(&folder.join("key"), ORIGIN).unwrap();
    Journal::open(&folder.join("journal"), key)
}

#[test]
fn a_journal_shorter_than_its_checkpoint_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..300);
    journal.checkpoint().unwrap();
    drop(journal);
    let head = folder.path().join("journal/head");
    let whole = head_of(folder.path());
    // The length of the entry at the 44th place: as it stands there, all behind it would pass for a torn tail.
    let mut damaged = whole.clone();
    damaged[40 * 11..40 * 11 + 2].copy_from_slice(&[0, 0]);
    for bytes in [&damaged[..], &whole[..whole.len() - 1], &[]] {
        fs::write(&head, bytes).unwrap();
        let refused = try_open(folder.path());
        assert!(matches!(
            refused,
            Err(JournalError::Shortened { signed: 300, .. })
        ));
        assert_eq!(head_of(folder.path()), bytes, "nothing was cut");
    }
    fs::write(&head, whole).unwrap();
    assert_eq!(open(folder.path()).size(), 300);
}

#[test]
fn a_journal_that_differs_from_its_checkpoint_is_refused() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..300);
    let note = journal.checkpoint().unwrap();
    drop(journal);
    let place = folder.path().join("journal");
    for (file, at) in [("head", 5), ("tile/0/000", 77)] {
        let whole = fs::read(place.join(file)).unwrap();
        let mut altered = whole.clone();
        altered[at] ^= 1;
        fs::write(place.join(file), altered).unwrap();
        let refused = try_open(folder.path());
        assert!(
            matches!(refused, Err(JournalError::Altered { signed: 300 })),
            "{file}"
        );
        fs::write(place.join(file), whole).unwrap();
    }
    // A checkpoint that somebody else made says nothing.
    fs::write(place.join("checkpoint"), note.replacen("300", "299", 1)).unwrap();
    assert!(matches!(
        try_open(folder.path()),
        Err(JournalError::BadNote { .. })
    ));
    fs::write(place.join("checkpoint"), note).unwrap();
    assert_eq!(open(folder.path()).size(), 300);
}

#[test]
fn an_entry_that_was_altered_in_a_full_tile_is_not_read() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..300);
    let tile = folder.path().join("journal/tile/entries/000");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[5] ^= 1;
    fs::write(&tile, bytes).unwrap();
    assert!(matches!(journal.read(0, 10), Err(JournalError::Damaged { .. })));
    assert_eq!(journal.read(256, 257).unwrap(), [b"entry 256".to_vec()]);
}

#[test]
fn a_tail_torn_beyond_the_checkpoint_is_cut() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..3);
    journal.checkpoint().unwrap();
    fill(&journal, 3..5);
    drop(journal);
    let whole = head_of(folder.path());
    fs::write(folder.path().join("journal/head"), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(open(folder.path()).size(), 4);
}

#[test]
fn a_crash_between_the_hash_tile_and_the_rename_is_repeated_with_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    fill(&open(folder.path()), 0..256);
    let before = open(folder.path()).checkpoint().unwrap();
    let tile = folder.path().join("journal/tile/entries/000");
    fs::rename(&tile, folder.path().join("journal/head")).unwrap();
    let journal = open(folder.path());
    assert!(tile.is_file());
    assert_eq!(journal.checkpoint().unwrap(), before);
    drop(journal);
    // The same one step earlier.
    fs::rename(&tile, folder.path().join("journal/head")).unwrap();
    fs::remove_file(folder.path().join("journal/tile/0/000")).unwrap();
    assert_eq!(open(folder.path()).checkpoint().unwrap(), before);
}

#[test]
fn a_changed_entry_no_longer_proves_under_the_checkpoint_kept_before() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..700);
    let kept = journal
        .verifying_key()
        .verify(&journal.checkpoint().unwrap())
        .unwrap();
    let proof = journal.inclusion_proof(300, kept.size).unwrap();
    verify_inclusion(&leaf_hash(b"entry 300"), 300, kept.size, &proof, &kept.root).unwrap();
    assert!(verify_inclusion(&leaf_hash(b"entry 301"), 300, kept.size, &proof, &kept.root).is_err());
    assert!(verify_inclusion(&leaf_hash(b"entry 300"), 299, kept.size, &proof, &kept.root).is_err());
}

#[test]
fn a_checkpoint_verifies_only_with_its_own_key_and_text() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..5);
    let note = journal.checkpoint().unwrap();
    let key = VerifyingKey::parse(&journal.verifying_key().to_string()).unwrap();
    assert_eq!(key.verify(&note).unwrap().size, 5);
    assert_eq!(
        fs::read_to_string(folder.path().join("journal/checkpoint")).unwrap(),
        note
    );
    assert!(key.verify(&note.replacen("\n5\n", "\n6\n", 1)).is_err());
    let other = SigningKey::load_or_create(&folder.path().join("other"), ORIGIN)
        .unwrap()
        .verifying_key();
    assert!(other.verify(&note).is_err());
    for broken in ["", "\n\n", "x+y", "a+00000000+AQ=="] {
        assert!(VerifyingKey::parse(broken).is_err());
        assert!(key.verify(broken).is_err());
    }
}

#[test]
fn empty_and_oversized_entries_are_refused() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    assert!(matches!(
        journal.append(vec![]),
        Err(JournalError::EntrySize { bytes: 0 })
    ));
    assert!(matches!(
        journal.append(vec![0; MAX_ENTRY_BYTES + 1]),
        Err(JournalError::EntrySize { .. })
    ));
    journal.append(vec![1; MAX_ENTRY_BYTES]).unwrap().wait().unwrap();
    assert!(matches!(
        journal.read(0, 2),
        Err(JournalError::OutOfRange { size: 1 })
    ));
}

#[test]
fn the_signing_key_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    open(folder.path());
    let mode = fs::metadata(folder.path().join("key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_disk_that_is_well_again_takes_entries_again_and_nothing_that_was_acknowledged_is_lost() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..255);
    // The tile that the next entry completes cannot be written.
    let (tiles, aside) = (folder.path().join("journal/tile"), folder.path().join("aside"));
    fs::rename(&tiles, &aside).unwrap();
    fs::write(&tiles, b"in the way").unwrap();
    for _ in 0..2 {
        let refused = journal.append(b"entry 255".to_vec()).unwrap().wait();
        assert!(matches!(refused, Err(JournalError::Failing)), "{refused:?}");
        assert!(
            journal.checkpoint().is_err(),
            "nothing is signed that is not on disk"
        );
    }
    fs::remove_file(&tiles).unwrap();
    fs::rename(&aside, &tiles).unwrap();
    // It was written, only not taken for durable.
    fill(&journal, 256..600);
    let key = journal.verifying_key();
    let head = key.verify(&journal.checkpoint().unwrap()).unwrap();
    drop(journal);
    let journal = open(folder.path());
    let entries = journal.read(0, 600).unwrap();
    assert_eq!(entries.len(), 600);
    for (index, entry) in (0_u64..).zip(&entries) {
        assert_eq!(*entry, format!("entry {index}").into_bytes());
        let proof = journal.inclusion_proof(index, 600).unwrap();
        verify_inclusion(&leaf_hash(entry), index, 600, &proof, &head.root).unwrap();
    }
}

#[tokio::test]
async fn whoever_appends_in_turn_waits_for_room_in_a_full_queue_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    let mut receipts = Vec::new();
    let entry = |number: usize| format!("entry {number}").into_bytes();
    for round in 0..2 {
        loop {
            match journal.append(entry(receipts.len())) {
                Ok(receipt) => receipts.push(receipt),
                Err(JournalError::Busy) => break,
                Err(other) => panic!("{other}"),
            }
        }
        for _ in 0..1000 * round {
            receipts.push(journal.append_in_turn(entry(receipts.len())).await.unwrap());
        }
    }
    let count = receipts.len();
    assert!(count > 5000, "{count}");
    for (index, receipt) in (0..).zip(receipts) {
        assert_eq!(receipt.durable().await.unwrap(), index);
    }
    let entries = journal.read(0, count as u64).unwrap();
    assert!(
        entries
            .iter()
            .enumerate()
            .all(|(number, found)| *found == entry(number))
    );
}

#[test]
fn a_missing_tile_is_reported_as_damage() {
    let folder = TempDir::new().unwrap();
    let journal = open(folder.path());
    fill(&journal, 0..600);
    fs::remove_file(folder.path().join("journal/tile/entries/001")).unwrap();
    assert!(matches!(journal.read(0, 600), Err(JournalError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_entry_and_every_prefix_is_provable(size in 1_u64..900, pick in 0_u64..900, cut in 0_u64..900) {
        let folder = TempDir::new().unwrap();
        let journal = open(folder.path());
        let (index, old) = (pick % size, cut % (size + 1));
        let key = journal.verifying_key();
        fill(&journal, 0..old);
        let earlier = key.verify(&journal.checkpoint().unwrap()).unwrap();
        fill(&journal, old..size);
        let later = key.verify(&journal.checkpoint().unwrap()).unwrap();
        let leaf = leaf_hash(format!("entry {index}").as_bytes());
        verify_inclusion(&leaf, index, size, &journal.inclusion_proof(index, size).unwrap(), &later.root).unwrap();
        let proof = journal.consistency_proof(old, size).unwrap();
        verify_consistency((old, &earlier.root), (size, &later.root), &proof).unwrap();
        if old > 0 && old < size {
            prop_assert!(verify_consistency((old, &leaf), (size, &later.root), &proof).is_err());
        }
    }
}
