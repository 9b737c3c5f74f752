//! The second reader over a real store with one defect at a time, while the service runs beside it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::indexing_slicing, reason = "a missing field is a failed test")]

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_operator::{Anchor, Unwrap, Verification, verify};
use strongroom_seal::{AccountId, KeyId, NoAnswer, Secret, VaultError, WrappedSeed};
use strongroom_store::{Action, StoreEvent};
use strongroom_testkit::{InstantUpstream, Storage, System, SystemOptions, strongroom_command};
use tokio_util::sync::CancellationToken;

const LARGE: usize = (2 << 20) + 77;

/// A live system with a small file, two large ones of one length, and a response in it.
struct Live {
    system: System,
    storage: Storage,
    small: String,
    large: [String; 2],
    _upstream: InstantUpstream,
}

impl Live {
    async fn start() -> Self {
        let upstream = InstantUpstream::start().await.unwrap();
        let system = SystemOptions::new()
            .unwrap()
            .upstream(upstream.url())
            .start()
            .await
            .unwrap();
        let small = system.upload("small.txt", b"small".to_vec()).await.unwrap();
        let first = system.upload("first.bin", vec![1; LARGE]).await.unwrap();
        let second = system.upload("second.bin", vec![2; LARGE]).await.unwrap();
        let response = json!({"model": system.variable("STRONGROOM_DEPLOYMENT"), "input": "Keep this."});
        let response = system
            .api(Method::POST, "/responses")
            .json(&response)
            .send()
            .await
            .unwrap();
        response.error_for_status().unwrap();
        Self {
            storage: Storage::of(&system),
            system,
            small,
            large: [first, second],
            _upstream: upstream,
        }
    }

    /// What the command reports: whether all is well, and the faults in words.
    async fn verify(&self, blind: bool) -> (bool, String) {
        let arguments: &[&str] = if blind { &["--blind"] } else { &[] };
        let arguments = [&["verify", "--output", "json"], arguments].concat();
        let output = strongroom_command(self.system.folder().root(), &arguments)
            .await
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let faults = report["faults"].as_array().cloned().unwrap_or_default();
        let texts: Vec<String> = faults
            .iter()
            .map(|fault| format!("{}: {}", fault["place"], fault["what"]))
            .collect();
        match output.status.code() {
            Some(0) => (true, texts.join("\n")),
            Some(65) => (false, texts.join("\n")),
            code => panic_with(code, &output.stderr),
        }
    }

    async fn is_clean(&self, when: &str) {
        for blind in [false, true] {
            let (clean, faults) = self.verify(blind).await;
            assert!(clean, "{when}, blind {blind}: {faults}");
        }
    }

    /// Finds the defect with keys, and without any where `blind` says so, in these words.
    async fn finds(&self, defect: &str, blind: bool, words: &str) {
        let (clean, faults) = self.verify(false).await;
        assert!(!clean, "{defect} is not found");
        assert!(faults.contains(words), "{defect}: {faults}");
        let (clean, faults) = self.verify(true).await;
        assert_eq!(clean, !blind, "{defect}, blind: {faults}");
    }

    /// Changes one value of the database, looks, and puts it back.
    async fn finds_in_database(&self, defect: &str, (table, column, row): (&str, &str, &str), words: &str) {
        let select = format!("SELECT CAST({column} AS BLOB) FROM {table} WHERE {row}");
        let update = format!("UPDATE {table} SET {column} = ?1 WHERE {row}");
        let whole = self.storage.read(&select).unwrap();
        let mut bad = whole.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        self.storage.write(&update, &bad).unwrap();
        self.finds(defect, false, words).await;
        self.storage.write(&update, &whole).unwrap();
    }

    fn blob(&self, index: usize) -> std::path::PathBuf {
        self.storage.blob_files(&self.large[index]).unwrap().remove(0)
    }
}

#[expect(clippy::panic, reason = "the only way to say what the command said")]
fn panic_with(code: Option<i32>, stderr: &[u8]) -> ! {
    panic!(
        "the command ended with {code:?}: {}",
        String::from_utf8_lossy(stderr)
    );
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_defect_of_a_blob_file_is_found() {
    let live = Live::start().await;
    live.is_clean("before").await;
    let (first, second) = (live.blob(0), live.blob(1));
    let length = fs::metadata(&first).unwrap().len();
    // Salt, nonce prefix, the first segment, the last one, the last tag.
    for at in [1, 33, 40, LARGE, usize::try_from(length).unwrap() - 1] {
        flip(&first, at);
        live.finds(&format!("a flipped byte at {at}"), false, &live.large[0])
            .await;
        flip(&first, at);
    }
    flip(&first, 0);
    live.finds("a header of another form", true, &live.large[0]).await;
    flip(&first, 0);

    let aside = live.system.folder().root().join("aside");
    fs::rename(&first, &aside).unwrap();
    live.finds("a missing blob", true, &live.large[0]).await;
    fs::copy(&second, &first).unwrap();
    fs::copy(&aside, &second).unwrap();
    live.finds("swapped blobs", false, &live.large[1]).await;
    fs::copy(&first, &second).unwrap();

    fs::write(&first, &fs::read(&aside).unwrap()[..LARGE / 2]).unwrap();
    live.finds("a truncated blob", true, &live.large[0]).await;
    fs::copy(&aside, &first).unwrap();
    live.is_clean("after every defect was mended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_defect_of_the_database_is_found() {
    let live = Live::start().await;
    let small = format!("id = '{}'", live.small);
    live.finds_in_database(
        "a flipped byte in a record",
        ("record", "body", &small),
        &live.small,
    )
    .await;
    let part = format!("place >> 10 = (SELECT seq FROM record WHERE {small})");
    live.finds_in_database(
        "a flipped byte in an inline blob",
        ("part", "body", &part),
        &live.small,
    )
    .await;
    let slot = format!("slot = (SELECT slot FROM record WHERE {small})");
    live.finds_in_database(
        "a flipped byte in a wrapped key",
        ("key_slot", "wrapped", &slot),
        &live.small,
    )
    .await;
    live.finds_in_database(
        "a flipped byte in a wrapped seed",
        ("branch", "seed", "version = 1"),
        "branch 1",
    )
    .await;
    live.finds_in_database(
        "another check value",
        ("branch", "check_value", "version = 1"),
        "branch 1",
    )
    .await;

    let storage = &live.storage;
    for column in ["created", "revision"] {
        let change = |by: &str| {
            storage.execute(&format!(
                "UPDATE record SET {column} = {column} {by} WHERE {small}"
            ))
        };
        change("+ 1").unwrap();
        live.finds(&format!("a changed {column}"), false, "stands in the clear")
            .await;
        change("- 1").unwrap();
    }
    let expires =
        |value: &str| storage.execute(&format!("UPDATE record SET expires = {value} WHERE {small}"));
    expires("32503680000000").unwrap();
    live.finds("a changed expiry", false, "stands in the clear").await;
    expires("NULL").unwrap();

    let rename =
        |from: &str, to: &str| storage.execute(&format!("UPDATE record SET id = '{to}' WHERE id = '{from}'"));
    rename(&live.small, "file-other").unwrap();
    live.finds("a changed id", false, "file-other").await;
    rename("file-other", &live.small).unwrap();

    let swap = format!(
        "UPDATE record SET slot = (SELECT sum(slot) FROM record WHERE id IN ('{0}', '{1}')) - slot
         WHERE id IN ('{0}', '{1}')",
        live.large[0], live.large[1]
    );
    storage.execute(&swap).unwrap();
    live.finds("swapped keys", true, "belongs to something else")
        .await;
    storage.execute(&swap).unwrap();

    storage.execute("UPDATE usage SET objects = objects + 1").unwrap();
    live.finds("statistics that are not borne out", true, "statistics")
        .await;
    storage.execute("UPDATE usage SET objects = objects - 1").unwrap();
    live.is_clean("after every defect was mended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_the_format_does_not_name_is_found() {
    let live = Live::start().await;
    let folder = live.storage.folder();
    let shelf = live.blob(0).parent().unwrap().to_owned();
    let name = shelf.file_name().unwrap().to_string_lossy().into_owned();
    for planted in [
        folder.join("records.db.bak"),
        folder.join("blobs").join("notes.txt"),
        shelf.join("notes"),
        shelf.join(format!("{name}{}", "0".repeat(30))),
    ] {
        fs::write(&planted, [40, 0, 0, 0]).unwrap();
        let name = planted.file_name().unwrap().to_string_lossy().into_owned();
        live.finds("an unknown file", true, &name).await;
        fs::remove_file(planted).unwrap();
    }
    for (plant, mend) in [
        ("CREATE TABLE notes (text TEXT)", "DROP TABLE notes"),
        ("CREATE VIEW notes AS SELECT id FROM record", "DROP VIEW notes"),
        (
            "ALTER TABLE record ADD COLUMN note TEXT",
            "ALTER TABLE record DROP COLUMN note",
        ),
    ] {
        live.storage.execute(plant).unwrap();
        live.finds(plant, true, "records.db").await;
        live.storage.mend(mend).unwrap();
    }
    live.is_clean("after every defect was mended").await;
    // A row that came and went without being overwritten leaves its text in the free bytes of a page.
    let text = "The patient was told on Monday, by letter, that the result is not good. ".repeat(4);
    live.storage
        .execute(&format!(
            "PRAGMA secure_delete = OFF; BEGIN;
             INSERT INTO shredding VALUES (1, zeroblob(16), 'file', '{text}', 0, 0, '', '', zeroblob(32));
             DELETE FROM shredding WHERE number = 1; COMMIT"
        ))
        .unwrap();
    live.finds("readable text in the slack", true, "readable text")
        .await;
}

/// Works until `stop` and says how many rounds it went.
async fn rounds(stop: &CancellationToken, work: impl AsyncFn()) -> u32 {
    let mut rounds = 0;
    while !stop.is_cancelled() {
        work().await;
        rounds += 1;
    }
    rounds
}

impl Live {
    /// Uploads and deletes, responses, rotations and rekeys, as fast as they go.
    async fn work(&self, stop: &CancellationToken) -> [u32; 3] {
        let (files, responses, keys) = tokio::join!(
            rounds(stop, || self.files_come_and_go()),
            rounds(stop, || self.responses_come_and_go()),
            rounds(stop, || self.keys_change()),
        );
        [files, responses, keys]
    }

    async fn files_come_and_go(&self) {
        let small = self.system.upload("busy.txt", b"busy".to_vec()).await.unwrap();
        let large = self.system.upload("busy.bin", vec![3; LARGE / 4]).await.unwrap();
        for id in [small, large] {
            self.delete(&format!("/files/{id}")).await;
        }
    }

    async fn responses_come_and_go(&self) {
        let ask = json!({"model": self.system.variable("STRONGROOM_DEPLOYMENT"), "input": "Keep this."});
        let answer = self
            .system
            .api(Method::POST, "/responses")
            .json(&ask)
            .send()
            .await;
        let made: Value = answer.unwrap().error_for_status().unwrap().json().await.unwrap();
        self.delete(&format!("/responses/{}", made["id"].as_str().unwrap()))
            .await;
    }

    async fn keys_change(&self) {
        self.system.rotate_key().await.unwrap();
        let running = self.system.running();
        let permit = running
            .permits()
            .permit(running.account(), Action::Administer, "test");
        let mut events = running.store().events();
        running.store().rekey(&permit).await.unwrap();
        while !matches!(events.recv().await.unwrap(), StoreEvent::Rekeyed { .. }) {}
    }

    async fn delete(&self, path: &str) {
        let answer = self.system.api(Method::DELETE, path).send().await.unwrap();
        answer.error_for_status().unwrap();
    }

    async fn finds_what_is_planted(&self) {
        let blob = self.blob(0);
        flip(&blob, LARGE);
        self.finds("a flipped byte", false, &self.large[0]).await;
        flip(&blob, LARGE);
        let shelf = blob.parent().unwrap();
        let name = shelf.file_name().unwrap().to_string_lossy().into_owned();
        for (file, words) in [
            ("notes".to_owned(), "the format names no such file"),
            (
                format!("{name}{}", "0".repeat(30)),
                "no record refers to this blob",
            ),
        ] {
            fs::write(shelf.join(&file), [40, 0, 0, 0]).unwrap();
            self.finds("an unknown file", true, words).await;
            fs::remove_file(shelf.join(&file)).unwrap();
        }
        for (plant, mend, words) in [
            (
                "INSERT INTO usage VALUES (zeroblob(16), 'planted', 1, 1, 1)",
                "DELETE FROM usage WHERE kind = 'planted'",
                "statistics",
            ),
            (
                "INSERT INTO key_slot VALUES (-9, randomblob(16), zeroblob(4), zeroblob(20), zeroblob(81))",
                "DELETE FROM key_slot WHERE slot = -9",
                "belong to no object",
            ),
            (
                "INSERT INTO part VALUES (-5, 0, 1, 1, NULL, zeroblob(57))",
                "DELETE FROM part WHERE place = -5",
                "belong to no record",
            ),
        ] {
            self.storage.execute(plant).unwrap();
            self.finds(plant, true, words).await;
            self.storage.execute(mend).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_service_that_is_busy_it_is_clean_and_finds_what_is_planted() {
    let live = Live::start().await;
    let stop = CancellationToken::new();
    let look = async {
        for round in 0..4 {
            live.is_clean(&format!("round {round}")).await;
        }
        live.finds_what_is_planted().await;
        stop.cancel();
    };
    let (rounds, ()) = tokio::join!(live.work(&stop), look);
    assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
    live.is_clean("after every defect was mended").await;
}

/// Keeps the reader waiting for a key until it may go on, and then has none for it.
struct Stalled {
    asked: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Unwrap for Stalled {
    fn unwrap(&mut self, _: &KeyId, _: &WrappedSeed) -> Result<Secret<32>, VaultError> {
        self.asked.send(()).unwrap();
        self.go_on.recv().unwrap();
        Err(VaultError::new(NoAnswer::Unreachable, "stalled"))
    }

    fn admits(&self, _: AccountId, _: &KeyId) -> bool {
        true
    }

    fn anchor(&self, _: AccountId) -> Option<Anchor> {
        None
    }

    fn refresh(&mut self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_while_it_reads_is_erased_while_it_reads() {
    let options = SystemOptions::new().unwrap();
    let system = options
        .erase_within(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let file = system.upload("a", b"to be gone".to_vec()).await.unwrap();
    let storage = Storage::of(&system);
    let dead = storage.wrapped_keys(&file).unwrap();
    let (folder, (asked, was_asked), (go, go_on)) =
        (storage.folder().to_owned(), mpsc::channel(), mpsc::channel());
    let reader = std::thread::spawn(move || {
        let mut keys = Stalled { asked, go_on };
        let keys: Option<&mut dyn Unwrap> = Some(&mut keys);
        verify(Verification {
            folder: &folder,
            keys,
        })
    });
    was_asked.recv().unwrap();
    let delete = system.api(Method::DELETE, &format!("/files/{file}"));
    delete.send().await.unwrap().error_for_status().unwrap();
    let running = system.running();
    let permit = running
        .permits()
        .permit(running.account(), Action::Administer, "test");
    while running
        .store()
        .statistics(&permit)
        .await
        .unwrap()
        .awaiting_erasure
        > 0
    {
        tokio::task::yield_now().await;
    }
    for name in ["records.db", "records.db-wal"] {
        let bytes = fs::read(storage.folder().join(name)).unwrap();
        assert!(
            dead.iter()
                .all(|key| !bytes.windows(key.len()).any(|window| window == key)),
            "{name}"
        );
    }
    go.send(()).unwrap();
    let report = reader.join().unwrap().unwrap();
    assert_eq!(
        report.fault_count, 1,
        "only the key that it did not get: {:?}",
        report.faults
    );
}
