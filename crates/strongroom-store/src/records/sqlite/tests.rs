//! What only the database can be asked.

use std::{collections::BTreeMap, collections::HashSet, fs, path::Path};

use strongroom_seal::WrappedKey;

use super::schema::{told, write_to};
use super::*;
use crate::{
    blobs::Litter,
    conformance::fixture::{KIND, Tenant},
    error::OpenStoreError,
    records::{Change, Rejected, Replacement, Rewrap},
    sealing::Sealed,
};

fn open(folder: &Path) -> Result<Sqlite, OpenStoreError> {
    Sqlite::open(&folder.join("records.db"), Litter::new().0)
}

/// A wrapped key's nonce: random, and nowhere but in its stored form.
fn nonce(key: &WrappedKey) -> [u8; 24] {
    key.as_bytes()[9..33].try_into().unwrap()
}

/// Which of these stand anywhere in the database's files.
fn found_in_files(folder: &Path, nonces: &HashSet<[u8; 24]>) -> HashSet<[u8; 24]> {
    let mut found = HashSet::new();
    for name in ["records.db", "records.db-wal"] {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        found.extend(bytes.windows(24).filter_map(|window| nonces.get(window)).copied());
    }
    found
}

/// A small generator, so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Keys in and out of use while records come and go.
struct Churn<'r> {
    records: &'r Sqlite,
    tenant: Tenant,
    live: BTreeMap<String, WrappedKey>,
    dead: HashSet<[u8; 24]>,
    dice: Dice,
}

impl Churn<'_> {
    async fn step(&mut self, number: u64) {
        let pick = usize::try_from(self.dice.roll(self.live.len().max(1) as u64)).unwrap();
        let picked = self.live.keys().nth(pick).cloned();
        match (self.dice.roll(10), picked) {
            (0..=4, _) | (_, None) => {
                let id = format!("id-{number}");
                let new = self.tenant.record(&id);
                self.live.insert(id, new.key.clone());
                self.tenant.insert(self.records, new).await.unwrap();
            }
            (5..=7, Some(id)) => {
                self.tenant.delete(self.records, &id).await.unwrap();
                self.dead.extend(self.live.remove(&id).as_ref().map(nonce));
            }
            (_, Some(id)) => self.replace(id).await,
        }
    }

    async fn replace(&mut self, id: String) {
        let expected_revision = self
            .records
            .record(self.tenant.name(&id))
            .await
            .unwrap()
            .unwrap()
            .revision;
        let key = self.tenant.key(&id);
        let replacement = Replacement {
            kind: KIND.to_owned(),
            id: id.clone(),
            expected_revision,
            expires_ms: None,
            key: key.clone(),
            body: Sealed::pretend(vec![7; usize::try_from(self.dice.roll(3000)).unwrap()]),
            dropped: Vec::new(),
            added: Vec::new(),
        };
        let change = Change::Replace(Box::new(replacement));
        self.records
            .commit(self.tenant.transaction().change(change))
            .await
            .map_err(|r| r.reason)
            .unwrap();
        self.dead.extend(self.live.insert(id, key).as_ref().map(nonce));
    }

    async fn rekey(&mut self) {
        let old = self.tenant.current();
        self.tenant.grow(self.records).await;
        let held = self
            .records
            .keys_under(self.tenant.id, old, 0, u32::MAX)
            .await
            .unwrap();
        let rewraps = held.into_iter().map(|held| {
            let (kind, id) = held.record.unwrap();
            let new = self.tenant.key(&id);
            let expected = WrappedKey::parse(&held.wrapped).unwrap();
            self.dead.insert(nonce(&expected));
            self.live.insert(id, new.clone());
            Rewrap {
                slot: held.slot,
                kind,
                bytes: held.bytes,
                is_record: true,
                expected,
                new,
            }
        });
        let change = Change::Rewrap(rewraps.collect());
        self.records
            .commit(self.tenant.transaction().change(change))
            .await
            .map_err(|r| r.reason)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn destroyed_keys_are_nowhere_in_database_or_log_once_erased() {
    let folder = tempfile::tempdir().unwrap();
    let records = open(folder.path()).unwrap();
    let tenant = Tenant::settle(&records).await;
    let (live, dead) = (BTreeMap::new(), HashSet::new());
    let mut churn = Churn {
        records: &records,
        tenant,
        live,
        dead,
        dice: Dice(2),
    };
    for number in 0..600 {
        churn.step(number).await;
        if number % 250 == 249 {
            churn.rekey().await;
        }
    }
    let live: HashSet<_> = churn.live.values().map(nonce).collect();
    assert!(
        churn.dead.len() > 250 && live.len() > 50,
        "{} {}",
        churn.dead.len(),
        live.len()
    );
    assert!(
        !found_in_files(folder.path(), &churn.dead).is_empty(),
        "the search finds what is there"
    );
    assert!(records.erase().await.unwrap());
    assert_eq!(found_in_files(folder.path(), &churn.dead), HashSet::new());
    assert_eq!(found_in_files(folder.path(), &live), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_delays_erasing_and_does_not_prevent_it() {
    let folder = tempfile::tempdir().unwrap();
    let records = open(folder.path()).unwrap();
    let tenant = Tenant::settle(&records).await;
    tenant.insert(&records, tenant.record("a")).await.unwrap();
    let reader = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = |reader: &rusqlite::Connection| {
        reader
            .query_row("SELECT count(*) FROM record", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(count(&reader), 1);
    tenant.delete(&records, "a").await.unwrap();
    assert!(!records.erase().await.unwrap());
    reader.execute_batch("COMMIT").unwrap();
    assert!(records.erase().await.unwrap());
    assert_eq!(count(&reader), 0);
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let records = open(folder.path()).unwrap();
    let tenant = Tenant::settle(&records).await;
    tenant.insert(&records, tenant.record("a")).await.unwrap();
    tenant.insert(&records, tenant.record("b")).await.unwrap();
    tenant.delete(&records, "b").await.unwrap();
    records.close().await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the log is gone");
    let records = open(folder.path()).unwrap();
    assert!(records.record(tenant.name("a")).await.unwrap().is_some());
    tenant.insert(&records, tenant.record("c")).await.unwrap();
    assert_eq!(records.key_count(tenant.id).await.unwrap(), 2);
}

#[test]
fn a_database_of_a_future_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let connection = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    connection.pragma_update(None, "user_version", 4).unwrap();
    drop(connection);
    let refused = open(folder.path()).err().unwrap();
    assert!(
        matches!(refused, OpenStoreError::FutureFormat { found: 4, known: 3 }),
        "{refused}"
    );
}

#[test]
fn a_database_of_the_format_before_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    drop(open(folder.path()).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let refused = open(folder.path()).err().unwrap();
    assert!(
        matches!(refused, OpenStoreError::PastFormat { found: 2, known: 3 }),
        "{refused}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    assert!(matches!(
        open(folder.path()).err().unwrap(),
        OpenStoreError::NotAStore
    ));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, b"not a database at all, but long enough to be looked at").unwrap();
    assert!(matches!(
        open(folder.path()).err().unwrap(),
        OpenStoreError::NotAStore
    ));
}

#[tokio::test]
async fn a_unit_heavier_than_the_queue_allows_is_refused_while_others_wait() {
    let folder = tempfile::tempdir().unwrap();
    let records = open(folder.path()).unwrap();
    let tenant = Tenant::settle(&records).await;
    let heavy = |id: &str| {
        let body = Sealed::pretend(vec![7; crate::limits::WRITER_BYTES]);
        tenant.insertion(crate::records::NewRecord {
            body,
            ..tenant.record(id)
        })
    };
    let (first, second) = tokio::join!(records.commit(heavy("a")), records.commit(heavy("b")));
    assert!(first.is_ok());
    assert_eq!(second.err().unwrap().reason, Rejected::Busy);
}

#[tokio::test]
async fn a_full_disk_is_told_apart_keeps_what_was_acknowledged_and_is_written_to_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let bin = Litter::new().0;
    let connection = schema::open_writer(&path).unwrap();
    connection.pragma_update(None, "max_page_count", 60).unwrap();
    let records = Sqlite {
        writer: Writer::start(connection, bin).unwrap(),
        readers: Readers::open(&path).unwrap(),
    };
    let tenant = Tenant::settle(&records).await;
    let large = |id: &str| {
        let mut new = tenant.record(id);
        new.body = Sealed::pretend(vec![7; 50_000]);
        new
    };
    let mut kept = Vec::new();
    let fault = loop {
        let id = format!("id-{}", kept.len());
        match tenant.insert(&records, large(&id)).await {
            Ok(()) => kept.push(id),
            Err(Rejected::Fault(fault)) => break fault,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(fault.is_full(), "{fault}");
    assert!(!kept.is_empty());
    for id in &kept {
        assert!(records.record(tenant.name(id)).await.unwrap().is_some(), "{id}");
    }
    tenant.delete(&records, &kept[0]).await.unwrap();
    tenant.insert(&records, large("again")).await.unwrap();
}

#[test]
fn errors_of_the_system_that_say_full_are_told_apart() {
    let fault = |number| StorageFault::from(std::io::Error::from_raw_os_error(number));
    assert!(fault(28).is_full(), "ENOSPC");
    assert!(fault(122).is_full(), "EDQUOT");
    assert!(!fault(5).is_full(), "EIO");
}

#[test]
fn a_write_that_failed_where_nothing_else_can_be_written_either_failed_for_want_of_room() {
    let failed = || StorageFault::new("disk I/O error");
    let system = |number| Err(std::io::Error::from_raw_os_error(number));
    assert!(told(failed(), system(122)).is_full(), "EDQUOT");
    assert!(told(failed(), system(28)).is_full(), "ENOSPC");
    assert!(!told(failed(), system(5)).is_full(), "EIO");
    let place = tempfile::tempdir().unwrap();
    assert!(!told(failed(), write_to(place.path())).is_full());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    assert!(write_to(&place.path().join("none")).is_err());
}
