//! A disk that fills up and is given room again, under the whole system. Needs Linux's user namespaces for a small file system of its
//! own; where they are not allowed the test says so and passes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use strongroom_testkit::{ChildOptions, Instance, InstantUpstream, SystemOptions, strongroom_command};

const PLACE: &str = "STRONGROOM_SMALL_DISK";
const SMALL_DISK: &str = "mount -t tmpfs -o size=48m none \"$0\" && echo MOUNTED && exec \"$@\"";
const MIB: usize = 1 << 20;
const LARGE: usize = MIB;

#[test]
#[expect(clippy::print_stderr, reason = "who reads the output should know")]
fn a_full_disk_is_answered_as_one_and_forgotten_when_there_is_room() {
    let place = tempfile::tempdir().unwrap();
    let inner = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK])
        .arg(place.path())
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "inside_a_small_file_system",
            "--ignored",
            "--nocapture",
        ])
        .env(PLACE, place.path())
        .output();
    let Some(output) = inner.ok().filter(|output| output.stdout.starts_with(b"MOUNTED")) else {
        eprintln!("not run: no file system can be mounted here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What takes the room away, and gives it back.
struct Ballast(PathBuf);

impl Ballast {
    /// Fills the disk but for this much.
    fn leave(place: &Path, room: usize) -> Self {
        let path = place.join("ballast");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(room as u64)).unwrap();
        Self(path)
    }

    fn lift(self) {
        fs::remove_file(self.0).unwrap();
    }
}

async fn told(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

fn assert_full((status, body): &(u16, Value)) {
    assert_eq!(*status, 507, "{body}");
    assert_eq!(body["error"]["code"], "insufficient_storage");
    assert_eq!(body["error"]["type"], "server_error");
}

/// The files and responses that were acknowledged, with their content.
#[derive(Default)]
struct Kept {
    files: Vec<(String, Vec<u8>)>,
    responses: Vec<(String, Value)>,
}

impl Kept {
    /// Uploads until one is refused, and says how many were taken.
    async fn upload_until_full(&mut self, system: &Instance, length: usize) -> usize {
        for taken in 0..10_000 {
            let content = vec![u8::try_from(self.files.len() % 251).unwrap(); length];
            let answer = system.upload_request("a", content.clone()).send().await.unwrap();
            if answer.status() != 200 {
                assert_eq!(answer.headers()["x-should-retry"], "false");
                assert_full(&told(answer).await);
                return taken;
            }
            let id = told(answer).await.1["id"].as_str().unwrap().to_owned();
            self.files.push((id, content));
        }
        unreachable!("the disk is never full");
    }

    async fn respond_until_full(&mut self, system: &Instance) {
        for _ in 0..10_000 {
            let answer = told(ask(system, false).await).await;
            if answer.0 != 200 {
                return assert_full(&answer);
            }
            let id = answer.1["id"].as_str().unwrap().to_owned();
            self.responses.push((id, answer.1["output"].clone()));
        }
        unreachable!("the disk is never full");
    }

    async fn are_all_there(&self, system: &Instance) {
        for (id, content) in &self.files {
            assert!(system.download(id).await.unwrap() == *content, "{id}");
        }
        for (id, output) in &self.responses {
            let found = system.api(Method::GET, &format!("/responses/{id}")).send().await;
            let (status, found) = told(found.unwrap()).await;
            assert_eq!((status, &found["output"]), (200, output), "{id}");
        }
        let listed = system
            .api(Method::GET, "/files?limit=10000")
            .send()
            .await
            .unwrap();
        let (_, listed) = told(listed).await;
        assert_eq!(listed["data"].as_array().unwrap().len(), self.files.len());
    }

    /// The blob files are those of the acknowledged uploads, and nothing is left of the others.
    async fn nothing_else_is_on_the_disk(&self, system: &Instance) {
        let large = self.files.iter().filter(|(_, content)| content.len() >= LARGE);
        let (wanted, blobs) = (large.count(), system.folder().service().join("blobs"));
        // What was given up is removed in the background.
        while files_in(&blobs) != wanted {
            tokio::task::yield_now().await;
        }
    }
}

async fn ask(system: &Instance, stream: bool) -> Response {
    let body = json!({
        "model": system.variable("STRONGROOM_DEPLOYMENT"), "input": "x".repeat(20_000), "stream": stream,
    });
    let request = system.api(Method::POST, "/responses").json(&body);
    request.send().await.unwrap()
}

fn files_in(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_in(&entry.path()),
            _ => 1,
        })
        .sum()
}

async fn verify_is_clean(system: &Instance) {
    for arguments in [&["verify"][..], &["verify", "--blind"]] {
        let output = strongroom_command(system.folder().root(), arguments).await;
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

async fn export(system: &Instance, id: &str) -> (u16, Vec<u8>) {
    let wanted = json!({"kind": "file", "id": id, "part": 0});
    let answer = system.admin(Method::POST, "export", Some(wanted)).await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the small file system that the test above makes"]
async fn inside_a_small_file_system() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        return;
    };
    let upstream = InstantUpstream::start().await.unwrap();
    let start = async || {
        let options = SystemOptions::over(&place.join("data")).unwrap();
        let options = options
            .upstream(upstream.url())
            .erase_within(Duration::from_secs(1));
        options.start().await.unwrap()
    };
    let system = start().await;
    let mut kept = Kept::default();

    let ballast = Ballast::leave(&place, 5 * MIB);
    let taken = kept.upload_until_full(&system, LARGE).await;
    assert!((1..5).contains(&taken), "{taken}");
    let whole = vec![1; 16 * MIB];
    let refused = system.upload_request("whole", whole).send().await;
    // It may not wait for the rest of what it refuses.
    if let Ok(refused) = refused {
        assert_full(&told(refused).await);
    }
    let _ = Ballast::leave(&place, 0);
    kept.respond_until_full(&system).await;
    let _ = Ballast::leave(&place, 0);
    kept.upload_until_full(&system, 30_000).await;
    assert_full(&told(ask(&system, false).await).await);
    let streamed = ask(&system, true).await.text().await.unwrap();
    assert!(streamed.contains("response.failed"), "{streamed}");
    assert!(!streamed.contains("response.completed"), "{streamed}");
    let (status, said) = export(&system, &kept.files[0].0).await;
    assert_eq!(status, 507, "{}", String::from_utf8_lossy(&said));
    kept.are_all_there(&system).await;
    kept.nothing_else_is_on_the_disk(&system).await;

    ballast.lift();
    kept.files.push((
        system.upload("later", vec![9; LARGE]).await.unwrap(),
        vec![9; LARGE],
    ));
    let answer = told(ask(&system, false).await).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    assert_eq!(export(&system, &kept.files[0].0).await.0, 200);
    verify_is_clean(&system).await;
    let (deleted, _) = kept.files.remove(0);
    let delete = system.api(Method::DELETE, &format!("/files/{deleted}"));
    assert_eq!(delete.send().await.unwrap().status(), 200);
    system.stop().await;
    let system = start().await;
    kept.are_all_there(&system).await;
    kept.nothing_else_is_on_the_disk(&system).await;
    verify_is_clean(&system).await;
    system.stop().await;
    killed_while_full(&place, &upstream.url(), &mut kept).await;
}

/// A process that dies while its disk is full leaves nothing half-written.
async fn killed_while_full(place: &Path, upstream: &str, kept: &mut Kept) {
    let start = async || {
        let options = ChildOptions::new(&place.join("data"));
        options.arg("--upstream").arg(upstream).start().await.unwrap()
    };
    let child = start().await;
    let ballast = Ballast::leave(place, 3 * MIB);
    kept.upload_until_full(&child, LARGE).await;
    kept.respond_until_full(&child).await;
    let more = (0..16).map(|_| child.upload_request("a", vec![1; LARGE]).send());
    let mut answers: FuturesUnordered<_> = more.collect();
    assert_full(&told(answers.next().await.unwrap().unwrap()).await);
    child.strike().unwrap();
    // Some were answered before the end.
    while let Some(answer) = answers.next().await {
        assert!(answer.is_err() || answer.unwrap().status() == 507);
    }
    child.kill().unwrap();
    ballast.lift();
    let child = start().await;
    kept.are_all_there(&child).await;
    kept.nothing_else_is_on_the_disk(&child).await;
    verify_is_clean(&child).await;
}
