//! The canary test: random words go in through every door, and none of them may be found in anything that is kept.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::indexing_slicing, reason = "a missing field is a failed test")]

mod restored;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use strongroom_testkit::{
    Canaries, Child, ChildOptions, Instance, InstantUpstream, PlainTwin, Storage, form, part_form,
    search_bytes, strongroom_command,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
const ERASE_WITHIN: Duration = Duration::from_secs(1);
const LARGE: usize = 3 << 20;

/// One place to send canaries to: the sealed service or its unsealed twin.
struct Place<'a> {
    client: &'a Client,
    base: String,
    key: String,
    models: Vec<String>,
    canaries: &'a Canaries,
}

impl Place<'_> {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.key)
    }

    async fn answer(&self, request: RequestBuilder) -> Value {
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    }

    async fn upload(&self, place: &str, content: &[u8]) -> String {
        let (kind, body) = form(&format!("{}.txt", self.canaries.at(place)), content);
        let request = self
            .request(Method::POST, "/files")
            .header("Content-Type", kind)
            .body(body);
        self.answer(request).await["id"].as_str().unwrap().to_owned()
    }

    /// Uploads in two parts, each with the whole canary in it, and answers with the file's id.
    async fn upload_in_parts(&self, place: &str) -> String {
        let part = repeated(&self.canaries.at(place), LARGE / 2);
        let wish = json!({
            "filename": format!("{}.txt", self.canaries.at(place)), "bytes": part.len() * 2,
            "purpose": "assistants", "mime_type": "text/plain",
        });
        let upload = self
            .answer(self.request(Method::POST, "/uploads").json(&wish))
            .await;
        let upload = upload["id"].as_str().unwrap();
        let mut ids = Vec::new();
        for _ in 0..2 {
            let (kind, body) = part_form(&part);
            let request = self.request(Method::POST, &format!("/uploads/{upload}/parts"));
            let added = self.answer(request.header("Content-Type", kind).body(body)).await;
            ids.push(added["id"].clone());
        }
        let complete = self.request(Method::POST, &format!("/uploads/{upload}/complete"));
        let done = self.answer(complete.json(&json!({ "part_ids": ids }))).await;
        done["file"]["id"].as_str().unwrap().to_owned()
    }

    /// What both the service and its twin take: files, small and large and in every spelling, prompts, and a response.
    async fn common_work(&self) -> Vec<String> {
        let canary = |place: &str| self.canaries.at(place);
        let mut files = vec![
            self.upload("small-name", canary("small-content").as_bytes())
                .await,
            self.upload("large-name", &repeated(&canary("large-content"), LARGE))
                .await,
            self.upload("spelled-name", &spelled(&canary("spelled-content")))
                .await,
        ];
        files.push(self.upload("twice-name", b"no canary").await);
        for model in &self.models {
            let chat = json!({
                "model": model, "max_tokens": 16, "metadata": {canary("chat-key"): canary("chat-value")},
                "user": canary("user"),
                "messages": [
                    {"role": "system", "content": canary("system")},
                    {"role": "user", "content": canary("prompt")},
                ],
            });
            self.answer(self.request(Method::POST, "/chat/completions").json(&chat))
                .await;
            let response = json!({
                "model": model, "instructions": canary("instructions"), "input": canary("input"),
                "max_output_tokens": 16, "metadata": {canary("metadata-key"): canary("metadata-value")},
            });
            self.answer(self.request(Method::POST, "/responses").json(&response))
                .await;
        }
        files
    }
}

/// What only the real service takes.
async fn further_work(place: &Place<'_>, model: &str) {
    let canary = |at: &str| place.canaries.at(at);
    let chat = json!({
        "model": model, "stream": true,
        "messages": [{"role": "user", "content": [{"type": "text", "text": canary("streamed-prompt")}]}],
    });
    let streamed = place.request(Method::POST, "/chat/completions").json(&chat);
    let streamed = streamed
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        streamed.contains(&canary("streamed-prompt")),
        "the completion repeats the prompt"
    );
    let first = json!({
        "model": model, "input": [{"role": "user", "content": canary("first-turn")}],
        "instructions": canary("instructions"), "metadata": {"key": canary("metadata")},
    });
    let first = place
        .answer(place.request(Method::POST, "/responses").json(&first))
        .await;
    assert!(
        first.to_string().contains(&canary("first-turn")),
        "the response repeats the input"
    );
    let id = first["id"].as_str().unwrap();
    let second =
        json!({"model": model, "stream": true, "previous_response_id": id, "input": canary("second-turn")});
    let second = place.request(Method::POST, "/responses").json(&second);
    let second = second
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(second.contains("response.completed"), "{second}");
    for path in [format!("/responses/{id}"), format!("/responses/{id}/input_items")] {
        place.answer(place.request(Method::GET, &path)).await;
    }
    uploads_and_kept_chats(place, model).await;
    let embedded = json!({"model": model, "input": [canary("embedded"), canary("embedded-too")]});
    place
        .answer(place.request(Method::POST, "/embeddings").json(&embedded))
        .await;
}

/// Uploads that are completed, open and given up; chats that are kept, listed, changed, and exported to a file.
async fn uploads_and_kept_chats(place: &Place<'_>, model: &str) {
    let canary = |at: &str| place.canaries.at(at);
    place.upload_in_parts("in-parts").await;
    for (at, is_cancelled) in [("open-upload", false), ("cancelled-upload", true)] {
        let wish = json!({
            "filename": canary(at), "bytes": LARGE, "purpose": "user_data", "mime_type": "text/plain",
        });
        let upload = place
            .answer(place.request(Method::POST, "/uploads").json(&wish))
            .await;
        let upload = upload["id"].as_str().unwrap();
        for part in [canary(at).into_bytes(), repeated(&canary(at), LARGE / 2)] {
            let (kind, body) = part_form(&part);
            let request = place.request(Method::POST, &format!("/uploads/{upload}/parts"));
            place
                .answer(request.header("Content-Type", kind).body(body))
                .await;
        }
        if is_cancelled {
            let cancel = place.request(Method::POST, &format!("/uploads/{upload}/cancel"));
            place.answer(cancel).await;
        }
    }
    for stream in [false, true] {
        let chat = json!({
            "model": model, "stream": stream, "store": true, "user": canary("kept-user"),
            "metadata": {canary("kept-key"): canary("kept-value")},
            "messages": [{"role": "user", "content": canary("kept-prompt")}],
        });
        let kept = place
            .request(Method::POST, "/chat/completions")
            .json(&chat)
            .send()
            .await
            .unwrap();
        let told = kept.error_for_status().unwrap().text().await.unwrap();
        assert!(
            told.contains(&canary("kept-prompt")),
            "the completion repeats the prompt"
        );
    }
    let filter = format!(
        "/chat/completions?metadata[{}]={}",
        canary("kept-key"),
        canary("kept-value")
    );
    let listed = place.answer(place.request(Method::GET, &filter)).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let path = format!("/chat/completions/{}", listed["data"][0]["id"].as_str().unwrap());
    let asked = place
        .answer(place.request(Method::GET, &format!("{path}/messages")))
        .await;
    assert_eq!(asked["data"][0]["content"], canary("kept-prompt"));
    let change = json!({"metadata": {"key": canary("changed-value")}});
    place
        .answer(place.request(Method::POST, &path).json(&change))
        .await;
    let export = json!({"filename": canary("export-name")});
    let exported = place
        .answer(
            place
                .request(Method::POST, "/chat/completions/export")
                .json(&export),
        )
        .await;
    assert!(exported["bytes"].as_u64().unwrap() > 0);
}

/// Requests that fail, with canaries wherever one can be put.
async fn failing_work(place: &Place<'_>, model: &str) {
    let canary = |at: &str| place.canaries.at(at);
    let get = |path: String| place.request(Method::GET, &path);
    let post = |path: &str, body: String| {
        place
            .request(Method::POST, path)
            .header("Content-Type", "application/json")
            .body(body)
    };
    let wrong_key = place
        .client
        .get(format!("{}/files", place.base))
        .bearer_auth(canary("bearer"));
    let (no_file_kind, no_file) = (
        format!("multipart/form-data; boundary={}", canary("boundary")),
        canary("no-form"),
    );
    for request in [
        get(format!("/files/{}", canary("file-id"))),
        get(format!("/{}", canary("path"))),
        get(format!(
            "/files?after={}&purpose={}",
            canary("after"),
            canary("purpose")
        )),
        get("/files".to_owned())
            .header("range", canary("range"))
            .header(canary("header"), canary("value")),
        get("/models/none".to_owned())
            .header("user-agent", canary("agent"))
            .header("cookie", canary("cookie")),
        get(format!("/responses/{}", canary("response-id"))),
        wrong_key.header("api-key", canary("api-key")),
        post(
            "/chat/completions",
            format!(
                "{{\"model\": \"{model}\", \"{}\": \"{}",
                canary("bad"),
                canary("json")
            ),
        ),
        post(
            "/chat/completions",
            json!({"model": canary("model"), "messages": [{"role": "user", "content": "x"}]}).to_string(),
        ),
        post(
            "/chat/completions",
            json!({"model": model, "messages": [{"role": canary("role"), "content": {canary("k"): 1}}]})
                .to_string(),
        ),
        post(
            "/responses",
            json!({"model": model, "input": {canary("wrong-type"): canary("input")}}).to_string(),
        ),
        post(
            "/responses",
            json!({"model": model, "input": "x", "previous_response_id": canary("previous")}).to_string(),
        ),
        place
            .request(Method::POST, "/files")
            .header("Content-Type", no_file_kind)
            .body(no_file),
    ] {
        // Whether and how each fails is tested elsewhere; a list with an odd header may well succeed.
        let _ = request.send().await.unwrap().bytes().await.unwrap();
    }
    failing_uploads_and_chats(place, model).await;
}

async fn failing_uploads_and_chats(place: &Place<'_>, model: &str) {
    let canary = |at: &str| place.canaries.at(at);
    let get = |path: String| place.request(Method::GET, &path);
    let post = |path: &str, body: String| {
        place
            .request(Method::POST, path)
            .header("Content-Type", "application/json")
            .body(body)
    };
    for request in [
        post(
            "/embeddings",
            json!({"model": model, "input": {canary("wrong-type"): 1}}).to_string(),
        ),
        post(
            "/uploads",
            json!({"filename": canary("upload-name"), "purpose": canary("upload-purpose"), canary("upload-key"): 1}).to_string(),
        ),
        post(
            &format!("/uploads/{}/complete", canary("upload-id")),
            json!({"part_ids": [canary("part-id")], "md5": canary("md5")}).to_string(),
        ),
        get(format!("/chat/completions/{}/messages?after={}", canary("chat-id"), canary("after"))),
        post(
            "/chat/completions",
            json!({"model": model, "store": canary("store"), "messages": [{"role": "user", "content": "x"}]}).to_string(),
        ),
        post("/chat/completions/export", json!({canary("export-key"): 1}).to_string()),
    ] {
        let _ = request.send().await.unwrap().bytes().await.unwrap();
    }
}

/// An upload that breaks off in the middle of its second MiB, after the service has taken it in.
async fn abort_an_upload(instance: &Instance, canaries: &Canaries) {
    let (kind, body) = form(
        &canaries.at("aborted-name"),
        &repeated(&canaries.at("aborted-content"), LARGE),
    );
    let head = format!(
        "POST /openai/v1/files HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        instance.http_port(),
        instance.variable("OPENAI_API_KEY"),
        body.len()
    );
    let mut socket = TcpStream::connect(("127.0.0.1", instance.http_port()))
        .await
        .unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&body[..LARGE / 2]).await.unwrap();
    // The half that was sent lies on disk, if anywhere, when the other side closes.
    socket.shutdown().await.unwrap();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut Vec::new()))
        .await
        .unwrap();
}

fn repeated(canary: &str, length: usize) -> Vec<u8> {
    canary.bytes().chain([b'\n']).cycle().take(length).collect()
}

/// The canary as software likes to write it, all in one file.
fn spelled(canary: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for before in ["", "x", "xy"] {
        all.extend(STANDARD.encode(format!("{before}{canary}")).into_bytes());
        all.push(b'\n');
    }
    all.extend(hex::encode(canary).into_bytes());
    all.extend(canary.encode_utf16().flat_map(u16::to_le_bytes));
    all.extend(
        canary
            .bytes()
            .flat_map(|byte| format!("%{byte:02X}").into_bytes()),
    );
    all
}

/// A running program that logs, with a folder of its own for temporary files.
struct Sealed {
    child: Child,
    _upstream: InstantUpstream,
    folders: [PathBuf; 3],
    place: TempDir,
}

impl Sealed {
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let folders = ["data", "temporary", "output"].map(|name| place.path().join(name));
        let [data, temporary, output] = &folders;
        fs::create_dir(temporary).unwrap();
        fs::create_dir(output).unwrap();
        let upstream = InstantUpstream::start().await.unwrap();
        let options = ChildOptions::new(data)
            .arg("--upstream")
            .arg(upstream.url())
            .arg("--erase-within")
            .arg(format!("{}s", ERASE_WITHIN.as_secs()))
            .env("TMPDIR", temporary)
            .stderr(output.join("stderr"));
        let child = options.start().await.unwrap();
        Self {
            child,
            _upstream: upstream,
            folders,
            place,
        }
    }

    fn place<'a>(&'a self, canaries: &'a Canaries, models: Vec<String>) -> Place<'a> {
        Place {
            client: self.child.client(),
            base: self.child.base_url(),
            key: self.child.variable("OPENAI_API_KEY").to_owned(),
            models,
            canaries,
        }
    }

    fn deployment(&self) -> &str {
        self.child.variable("STRONGROOM_DEPLOYMENT")
    }

    fn folders(&self) -> Vec<&Path> {
        self.folders.iter().map(PathBuf::as_path).collect()
    }

    fn data(&self) -> &Path {
        &self.folders[0]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_is_found_in_anything_that_is_kept() {
    let sealed = Sealed::start().await;
    let canaries = Canaries::random();
    let listed = sealed.child.api(Method::GET, "/models").send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    // The upstream's and the rehearsal model, which runs in a process of its own.
    let models: Vec<String> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(models.len() >= 2, "{models:?}");
    let place = sealed.place(&canaries, models);
    let files = place.common_work().await;
    further_work(&place, sealed.deployment()).await;
    failing_work(&place, sealed.deployment()).await;
    abort_an_upload(&sealed.child, &canaries).await;
    place
        .answer(place.request(Method::DELETE, &format!("/files/{}", files[0])))
        .await;
    let kept = sealed.child.download(&files[1]).await.unwrap();
    assert_eq!(
        kept,
        repeated(&canaries.at("large-content"), LARGE),
        "it was really stored"
    );

    assert_eq!(canaries.search(&sealed.folders()).unwrap(), [], "while it runs");
    let log = fs::read_to_string(sealed.folders[2].join("stderr")).unwrap();
    assert!(!log.is_empty(), "logs are on");
    let Sealed {
        child,
        folders,
        place,
        ..
    } = sealed;
    child.terminate().await.unwrap();
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    assert_eq!(canaries.search(&folders).unwrap(), [], "after a clean end");
    drop(place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_search_finds_every_canary_of_the_unsealed_twin() {
    let folder = tempfile::tempdir().unwrap();
    let twin = PlainTwin::start(folder.path()).await.unwrap();
    let (canaries, client) = (Canaries::random(), Client::new());
    let place = Place {
        client: &client,
        base: twin.base_url(),
        key: twin.key(),
        models: vec!["any".to_owned()],
        canaries: &canaries,
    };
    place.common_work().await;
    let sightings = canaries.search(&[twin.folder()]).unwrap();
    let spellings: BTreeSet<&str> = sightings.iter().map(|sighting| sighting.spelling).collect();
    for spelling in [
        "raw",
        "base64",
        "base64, off by one",
        "base64, off by two",
        "hex",
        "UTF-16, little end first",
        "URL",
    ] {
        assert!(
            spellings.contains(spelling),
            "{spelling} is not among {spellings:?}"
        );
    }
    let in_file = |name: &str| sightings.iter().any(|sighting| sighting.path.ends_with(name));
    assert!(
        in_file("records.db") || in_file("records.db-wal"),
        "names and small contents"
    );
    assert!(sightings.iter().any(|sighting| {
        sighting
            .path
            .parent()
            .is_some_and(|folder| folder.ends_with("blobs"))
    }));
    twin.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_deletion_the_wrapped_keys_are_nowhere_in_time() {
    let sealed = Sealed::start().await;
    let storage = Storage::of(&sealed.child);
    let canaries = Canaries::random();
    let place = sealed.place(&canaries, Vec::new());
    let small = place.upload("small", b"few").await;
    let large = place.upload("large", &repeated("large", LARGE)).await;
    let kept = place.upload("kept", b"kept").await;
    let in_parts = place.upload_in_parts("in-parts").await;
    let mut blobs = storage.blob_files(&large).unwrap();
    blobs.extend(storage.blob_files(&in_parts).unwrap());
    assert_eq!(blobs.len(), 3);
    let old: Vec<Vec<u8>> = [&small, &large, &in_parts]
        .iter()
        .flat_map(|id| storage.wrapped_keys(id).unwrap())
        .collect();
    assert_eq!(old.len(), 7, "a record's and each blob's");
    let found = |key: &Vec<u8>| !search_bytes(key, &sealed.folders()).unwrap().is_empty();
    assert!(old.iter().all(found), "the search sees them");
    for id in [&small, &large, &in_parts] {
        place
            .answer(place.request(Method::DELETE, &format!("/files/{id}")))
            .await;
    }
    let deleted = Instant::now();
    while sealed.child.status().await.unwrap()["awaiting_erasure"] != 0 {
        assert!(deleted.elapsed() < PATIENCE, "the deleted files are not erased");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(!old.iter().any(found), "an old key is still there");
    assert!(blobs.iter().all(|blob| !blob.exists()));
    assert!(
        storage.wrapped_keys(&kept).unwrap().iter().all(found),
        "those of what is kept are not touched"
    );
    assert_eq!(sealed.child.download(&kept).await.unwrap(), b"kept");
}

/// `strongroom verify` on the folder: its exit code and its report.
async fn verify(sealed: &Sealed, blind: bool) -> (Option<i32>, Value) {
    let arguments: &[&str] = if blind { &["--blind"] } else { &[] };
    let arguments = [&["verify", "--output", "json"], arguments].concat();
    let output = strongroom_command(sealed.data(), &arguments).await.unwrap();
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
    )
}

async fn assert_verified(sealed: &Sealed, blind: bool, clean: bool, when: &str) {
    let (code, report) = verify(sealed, blind).await;
    assert_eq!(
        code,
        Some(if clean { 0 } else { 65 }),
        "{when}, blind {blind}: {:#}",
        report["faults"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verify_command_is_clean_until_something_is_planted() {
    let sealed = Sealed::start().await;
    let canaries = Canaries::random();
    let place = sealed.place(&canaries, vec![sealed.deployment().to_owned()]);
    let files = place.common_work().await;
    for blind in [false, true] {
        assert_verified(&sealed, blind, true, "after the workload").await;
    }
    let storage = Storage::of(&sealed.child);

    let planted = storage.folder().join("notes.txt");
    fs::write(&planted, "a file that nobody sealed").unwrap();
    for blind in [false, true] {
        assert_verified(&sealed, blind, false, "a planted file").await;
    }
    fs::remove_file(planted).unwrap();

    let blob = storage.blob_files(&files[1]).unwrap().remove(0);
    let whole = fs::read(&blob).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&blob, flipped).unwrap();
    assert_verified(&sealed, false, false, "a flipped byte").await;
    // Without a key a flipped byte of ciphertext is as good as any other.
    assert_verified(&sealed, true, true, "a flipped byte").await;
    fs::write(&blob, whole).unwrap();

    storage.execute("CREATE TABLE notes (text TEXT)").unwrap();
    for blind in [false, true] {
        assert_verified(&sealed, blind, false, "a table that is not in the format").await;
    }
    storage.mend("DROP TABLE notes").unwrap();

    sealed.child.disable_key().await.unwrap();
    let (code, report) = verify(&sealed, false).await;
    assert!(
        code.is_some_and(|code| code != 0),
        "with keys, but without the key: {report:#}"
    );
    assert_verified(&sealed, true, true, "without the key").await;
}
