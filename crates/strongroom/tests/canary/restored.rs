//! What copies of the storage are worth: blobs die with the deletion of their object, records with the versions of the customer key.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use strongroom_testkit::{Canaries, Child, ChildOptions, Instance, InstantUpstream, Storage, search_bytes};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{ERASE_WITHIN, LARGE, PATIENCE, repeated, strongroom_command};

/// A program that is stopped while its storage is exchanged.
struct Machine {
    place: TempDir,
    upstream: InstantUpstream,
}

/// What was stored.
struct Kept {
    small: String,
    in_parts: String,
    chat: String,
}

impl Machine {
    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn service(&self) -> PathBuf {
        self.data().join("service")
    }

    async fn start(&self) -> Child {
        let options = ChildOptions::new(&self.data())
            .arg("--upstream")
            .arg(self.upstream.url())
            .arg("--erase-within")
            .arg(format!("{}s", ERASE_WITHIN.as_secs()));
        options.start().await.unwrap()
    }

    /// Puts a copy of the storage in the place of what is there.
    fn restore(&self, copy: &Path) {
        fs::remove_dir_all(self.service()).unwrap();
        copy_folder(copy, &self.service());
    }

    async fn is_clean(&self) {
        let (clean, report) = self.verify_is_clean().await;
        assert!(clean, "{report}");
    }

    async fn verify_is_clean(&self) -> (bool, String) {
        let output = strongroom_command(&self.data(), &["verify", "--output", "json"])
            .await
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), report)
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Kept {
    async fn make(instance: &Instance, canaries: &Canaries) -> Self {
        let whole = repeated(&canaries.at("in-parts"), LARGE);
        let parts = whole.chunks(LARGE / 3).map(<[u8]>::to_vec).collect();
        let chat = instance.kept_chat(&canaries.at("chat")).send().await.unwrap();
        let chat: Value = chat.error_for_status().unwrap().json().await.unwrap();
        Self {
            small: instance.upload("small.txt", b"small".to_vec()).await.unwrap(),
            in_parts: instance.upload_in_parts("parts.txt", parts).await.unwrap(),
            chat: chat["id"].as_str().unwrap().to_owned(),
        }
    }

    fn paths(&self) -> [String; 3] {
        [
            format!("/files/{}", self.small),
            format!("/files/{}", self.in_parts),
            format!("/chat/completions/{}", self.chat),
        ]
    }

    async fn delete(&self, instance: &Instance) {
        for path in self.paths() {
            let deleted = instance.api(Method::DELETE, &path).send().await.unwrap();
            deleted.error_for_status().unwrap();
        }
    }

    async fn are_answered(&self, instance: &Instance, status: StatusCode) {
        for path in self.paths() {
            let answer = instance.api(Method::GET, &path).send().await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
        }
    }

    async fn is_whole(&self, instance: &Instance, canaries: &Canaries) {
        self.are_answered(instance, StatusCode::OK).await;
        assert_eq!(instance.download(&self.small).await.unwrap(), b"small");
        let content = instance.download(&self.in_parts).await.unwrap();
        assert!(content == repeated(&canaries.at("in-parts"), LARGE));
        let messages = instance.api(Method::GET, &format!("/chat/completions/{}/messages", self.chat));
        let messages: Value = messages.send().await.unwrap().json().await.unwrap();
        assert_eq!(messages["data"][0]["content"], canaries.at("chat"));
    }
}

/// The versions of the customer key that something still needs.
async fn needed(instance: &Instance) -> Vec<String> {
    let status = instance.status().await.unwrap();
    let rows = status["still_needed"].as_array().unwrap();
    let version = |row: &Value| {
        row["key"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    };
    rows.iter().map(version).collect()
}

async fn set_version(instance: &Instance, version: &str, enabled: bool) {
    let change = json!({"attributes": {"enabled": enabled}});
    let changed = instance
        .key(Method::PATCH, &format!("/{version}"), Some(change))
        .await
        .unwrap();
    changed.error_for_status().unwrap();
}

async fn until_erased(instance: &Instance) {
    let begun = Instant::now();
    while instance.status().await.unwrap()["awaiting_erasure"] != 0 {
        assert!(begun.elapsed() < PATIENCE, "what was deleted is not erased");
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_blobs_die_with_their_object_and_restored_records_with_their_key_version() {
    let machine = Machine {
        place: tempfile::tempdir().unwrap(),
        upstream: InstantUpstream::start().await.unwrap(),
    };
    let canaries = Canaries::random();
    let child = machine.start().await;
    let kept = Kept::make(&child, &canaries).await;
    let storage = Storage::of(&child);
    let blobs = storage.blob_files(&kept.in_parts).unwrap();
    let keys: Vec<Vec<u8>> = [&kept.small, &kept.in_parts, &kept.chat]
        .iter()
        .flat_map(|id| storage.wrapped_keys(id).unwrap())
        .collect();
    assert_eq!((blobs.len(), keys.len()), (3, 8));
    let old = needed(&child).await.remove(0);
    child.terminate().await.unwrap();
    let backup = machine.place.path().join("backup");
    copy_folder(&machine.service(), &backup);

    // The data moves on to another version of the key, and what was stored is deleted.
    let child = machine.start().await;
    child.rotate_key().await.unwrap();
    child
        .admin(Method::POST, "rewrap", None)
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    assert!(
        !needed(&child).await.contains(&old),
        "nothing here needs the old version"
    );
    kept.delete(&child).await;
    let other = child.upload("other.txt", b"other".to_vec()).await.unwrap();
    until_erased(&child).await;
    let service = machine.service();
    let found = |key: &Vec<u8>, folder: &Path| !search_bytes(key, &[folder]).unwrap().is_empty();
    assert!(
        keys.iter()
            .all(|key| found(key, &backup) && !found(key, &service))
    );
    machine.is_clean().await;
    child.terminate().await.unwrap();

    // Copies of its blobs alone open nothing, though the key is enabled.
    for blob in &blobs {
        let shelf = blob.parent().unwrap();
        fs::create_dir_all(shelf).unwrap();
        fs::copy(backup.join(blob.strip_prefix(&service).unwrap()), blob).unwrap();
    }
    let child = machine.start().await;
    kept.are_answered(&child, StatusCode::NOT_FOUND).await;
    let (clean, report) = machine.verify_is_clean().await;
    assert!(
        !clean
            && blobs
                .iter()
                .all(|blob| report.contains(blob.file_name().unwrap().to_str().unwrap())),
        "{report}"
    );
    assert_eq!(child.download(&other).await.unwrap(), b"other");
    set_version(&child, &old, false).await;
    child.terminate().await.unwrap();

    // A copy of the records is worth as much as the version that it is under: nothing while that is off.
    machine.restore(&backup);
    let child = machine.start().await;
    kept.are_answered(&child, StatusCode::FORBIDDEN).await;
    set_version(&child, &old, true).await;
    child.terminate().await.unwrap();
    machine.restore(&backup);
    let child = machine.start().await;
    kept.is_whole(&child, &canaries).await;
    machine.is_clean().await;
    child.terminate().await.unwrap();
}
