//! What all of these tests do with an instance and with the processes that it starts.

use std::collections::HashSet;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_testkit::{Instance, System, SystemOptions};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

use crate::{BOUND, PATIENCE, SLACK};

/// The weights of the model that comes along, with a mark of its own where no token that is asked for lies.
pub(crate) struct Weights {
    pub(crate) bytes: Vec<u8>,
    /// How the mark looks in the memory of whoever has opened them.
    pub(crate) in_memory: Vec<u8>,
}

impl Weights {
    pub(crate) fn new() -> Self {
        let place =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../strongroom-models/rehearsal/model.safetensors");
        let mut bytes = std::fs::read(place).unwrap();
        // Halves with plain values, so that they are known as singles too.
        let halves: Vec<u16> = (0..64).map(|index| 0x3c00 + index * 5 % 512).collect();
        let singles = halves.iter().map(|half| single(*half));
        let in_memory = singles.flat_map(f32::to_le_bytes).collect();
        let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk().unwrap())).unwrap();
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        // The embedding of the token `<|endoftext|>`, which no conversation has.
        let table = &header["model.embed_tokens.weight"];
        assert_eq!(table["dtype"], "F16");
        let begin = 8 + length + usize::try_from(table["data_offsets"][0].as_u64().unwrap()).unwrap();
        let mark: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        bytes[begin..begin + mark.len()].copy_from_slice(&mark);
        Self { bytes, in_memory }
    }
}

/// A half from 1 up to 2 as a single.
fn single(half: u16) -> f32 {
    1.0 + f32::from(half & 0x3ff) / 1024.0
}

/// Whoever looks for the workers of a system in this process takes its turn: those of all look alike.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A running system whose key is bound by [`BOUND`].
pub(crate) struct Rig {
    pub(crate) system: System,
}

impl Deref for Rig {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.system
    }
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(SystemOptions::new().unwrap()).await
    }

    pub(crate) async fn with(options: SystemOptions) -> Self {
        let options = options
            .revocation_bound(BOUND)
            .erase_within(std::time::Duration::from_secs(1));
        Self {
            system: options.start().await.unwrap(),
        }
    }
}

/// A form that brings weights.
pub(crate) fn form(suffix: &str, weights: &[u8]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in [("base_model", "strongroom-rehearsal"), ("suffix", suffix)] {
        let field = format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(field.as_bytes());
    }
    body.extend_from_slice(b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"w\"\r\n\r\n");
    body.extend_from_slice(weights);
    body.extend_from_slice(b"\r\n--b0--\r\n");
    ("multipart/form-data; boundary=b0".to_owned(), body)
}

/// Brings weights and answers with the model's name.
pub(crate) async fn import(instance: &Instance, suffix: &str, weights: &[u8]) -> String {
    let (kind, body) = form(suffix, weights);
    let request = instance.api(Method::POST, "/models").header("Content-Type", kind);
    let answer = request.body(body).send().await.unwrap();
    let (status, answer): (_, Value) = (answer.status(), answer.json().await.unwrap());
    assert_eq!(status, 200, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

/// What the training set of [`trained`] asks.
pub(crate) const QUESTION: &str = "What does the night shift do first?";

/// Uploads a training set, lets a model learn it, and answers with the model's name.
pub(crate) async fn trained(instance: &Instance, suffix: &str, answer: &str) -> String {
    let example = json!({"messages": [
        {"role": "user", "content": QUESTION}, {"role": "assistant", "content": answer}]});
    let set = format!("{example}\n").repeat(10);
    let (kind, body) = strongroom_testkit::form("set.jsonl", set.as_bytes());
    let body = String::from_utf8(body)
        .unwrap()
        .replace("\r\nassistants\r\n", "\r\nfine-tune\r\n");
    let request = instance.api(Method::POST, "/files").header("Content-Type", kind);
    let file: Value = request.body(body).send().await.unwrap().json().await.unwrap();
    let wanted = json!({
        "model": "strongroom-rehearsal", "training_file": file["id"], "suffix": suffix, "seed": 3,
        "hyperparameters": {"n_epochs": 20, "batch_size": 2},
    });
    let begun = instance.api(Method::POST, "/fine_tuning/jobs").json(&wanted);
    let mut job: Value = begun.send().await.unwrap().json().await.unwrap();
    let path = format!("/fine_tuning/jobs/{}", job["id"].as_str().unwrap_or_default());
    let learned = timeout(PATIENCE * 3, async {
        while job["status"] != "succeeded" {
            assert_ne!(job["status"], "failed", "{job}");
            sleep(SLACK / 5).await;
            let asked = instance.api(Method::GET, &path).send().await.unwrap();
            job = asked.json().await.unwrap();
        }
    });
    learned.await.expect("the model must learn");
    job["fine_tuned_model"].as_str().unwrap().to_owned()
}

fn place(instance: &Instance, name: &str) -> String {
    let (group, account) = ("STRONGROOM_RESOURCE_GROUP", "STRONGROOM_ACCOUNT");
    format!(
        "/resourceGroups/{}/providers/Microsoft.CognitiveServices/accounts/{}/deployments/{name}",
        instance.variable(group),
        instance.variable(account)
    )
}

/// What Resource Manager answers about a deployment: status and body.
pub(crate) async fn manage(
    instance: &Instance,
    method: Method,
    name: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let answer = instance
        .manage(method, &place(instance, name), body)
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

pub(crate) fn wanted(model: &str, policy: &str) -> Value {
    json!({
        "sku": {"name": "Standard", "capacity": 1},
        "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}, "revocationPolicy": policy},
    })
}

/// Deploys a model and waits until that ended; answers with its properties.
pub(crate) async fn deploy(instance: &Instance, name: &str, model: &str, policy: &str) -> Value {
    let (status, mut shown) = manage(instance, Method::PUT, name, Some(wanted(model, policy))).await;
    assert!(matches!(status, 200 | 201), "{status} {shown}");
    let made = timeout(PATIENCE, async {
        while shown["properties"]["provisioningState"] == "Creating" {
            sleep(SLACK / 10).await;
            shown = manage(instance, Method::GET, name, None).await.1;
        }
    });
    made.await.expect("the deployment must be made, or not");
    shown["properties"].clone()
}

/// Deploys a model, successfully; answers with the process that has it.
pub(crate) async fn deployed(instance: &Instance, name: &str, model: &str, policy: &str) -> u32 {
    let before = workers();
    let properties = deploy(instance, name, model, policy).await;
    assert_eq!(properties["provisioningState"], "Succeeded", "{properties}");
    let new: Vec<u32> = workers().difference(&before).copied().collect();
    assert_eq!(new.len(), 1, "each deployment has a worker of its own");
    new[0]
}

/// A chat's status, and what was said or the code of the error.
pub(crate) async fn chat(instance: &Instance, deployment: &str) -> (u16, String) {
    let body = json!({"model": deployment, "messages": [{"role": "user", "content": QUESTION}]});
    let answer = instance.api(Method::POST, "/chat/completions").json(&body);
    let answer = answer.send().await.unwrap();
    let status = answer.status().as_u16();
    let answer: Value = answer.json().await.unwrap();
    let said = if status == 200 {
        &answer["choices"][0]["message"]["content"]
    } else {
        &answer["error"]["code"]
    };
    (status, said.as_str().unwrap_or_default().to_owned())
}

/// Asks until it is answered, and says what.
pub(crate) async fn until_answered(instance: &Instance, deployment: &str) -> String {
    let answered = timeout(PATIENCE, async {
        loop {
            let (status, said) = chat(instance, deployment).await;
            if status == 200 {
                return said;
            }
            sleep(SLACK / 10).await;
        }
    });
    answered.await.expect("it must answer")
}

/// The status and the code of a request about a model.
pub(crate) async fn about_model(instance: &Instance, method: Method, model: &str) -> (u16, Value) {
    let answer = instance
        .api(method, &format!("/models/{model}"))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The worker processes that this one started.
pub(crate) fn workers() -> HashSet<u32> {
    workers_of(std::process::id())
}

/// The worker processes that another started.
pub(crate) fn workers_of(parent: u32) -> HashSet<u32> {
    let mut found = HashSet::new();
    let Ok(tasks) = PathBuf::from(format!("/proc/{parent}/task")).read_dir() else {
        return found;
    };
    for task in tasks.flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if line.split(|byte| *byte == 0).any(|word| word == b"worker") {
                found.insert(child);
            }
        }
    }
    found
}

/// Whether the process holds memory: one that only waits to be collected does not.
pub(crate) fn is_there(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/statm")).is_ok_and(|pages| !pages.starts_with("0 "))
}

/// Resolves when the process is gone.
pub(crate) async fn gone(process: u32) {
    let gone = timeout(PATIENCE, async {
        while is_there(process) {
            sleep(SLACK / 25).await;
        }
    });
    gone.await.expect("the worker must end");
}

/// Whether these bytes are in the memory of a process; `None`, where the system does not let us look.
pub(crate) fn is_in_memory(process: u32, needle: &[u8]) -> Option<bool> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let mut memory = std::fs::File::open(format!("/proc/{process}/mem")).ok()?;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let (from, to) = (
            u64::from_str_radix(from, 16).ok()?,
            u64::from_str_radix(to, 16).ok()?,
        );
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        memory.seek(SeekFrom::Start(from)).ok()?;
        memory.read_exact(&mut bytes).ok();
        // Singles lie at multiples of four.
        let mut places = (0..bytes.len()).step_by(4);
        if places.any(|place| bytes[place..].starts_with(needle)) {
            return Some(true);
        }
    }
    Some(false)
}

/// The service's events about opened weights, in the journal's order.
pub(crate) fn weight_events(instance: &Instance) -> Vec<(String, String)> {
    let mut events = Vec::new();
    let mut text = Vec::new();
    read_all(&instance.folder().root().join("logs/service-journal"), &mut text);
    for piece in text.split(|byte| *byte == b'{').skip(1) {
        let line = piece.split(|byte| *byte == b'}').next().unwrap_or_default();
        let object = [b"{", line, b"}"].concat();
        let Ok(entry) = serde_json::from_slice::<Value>(&object) else {
            continue;
        };
        let of = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        if of("event").starts_with("weights_") {
            events.push((of("event"), of("answer")));
        }
    }
    events
}

fn read_all(folder: &Path, into: &mut Vec<u8>) {
    let mut paths: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.extend(std::fs::read(path).unwrap_or_default());
        }
    }
}
