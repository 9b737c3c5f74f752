//! The vault of a machine that stops at any moment: the program is killed again and again while keys are made, imported,
//! rotated, altered, deleted, recovered, purged and restored. What was acknowledged is there, what was not is there whole or not at
//! all, and every version does what it should.
//!
//! `STRONGROOM_CRASH_SEED` repeats a run's choices, `STRONGROOM_CRASH_ROUNDS` makes it longer or shorter.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and says with which seed"
)]

#[path = "crash/dice.rs"]
#[expect(dead_code, reason = "contents of files are of no use here")]
mod dice;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use dice::Dice;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use strongroom_testkit::{ChildOptions, Instance, strongroom_command};

const ROUNDS: u64 = 25;
/// A vault whose deleted keys can be purged.
const VAULT: &str = "crash-vault";
/// How long the program may work before it is killed, in milliseconds.
const WORK: std::ops::Range<u64> = 50..500;
const WORKERS: usize = 6;
/// Keys that each worker has at most.
const KEYS: usize = 8;
/// Versions that a key is given at most: so many are on one page.
const VERSIONS: usize = 24;
/// Keys that wait in backups.
const BACKUPS: usize = 30;

/// A key as the vault must know it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Known {
    versions: usize,
    enabled: bool,
    tag: String,
    /// The rotation policy's expiry.
    expiry: String,
    deleted: bool,
}

/// Something that was asked for, and how the key is once it is done.
type Asked = (String, Known);

#[derive(Default)]
struct Ledger {
    keys: BTreeMap<String, Known>,
    /// What each worker asked for last and has not heard of.
    open: Vec<Asked>,
    done: BTreeMap<&'static str, u64>,
    backups: Vec<(String, String)>,
    /// Versions that were seen to work.
    tried: BTreeSet<String>,
}

struct Worker<'a> {
    number: usize,
    instance: &'a Instance,
    ledger: &'a Mutex<Ledger>,
    dice: Dice,
}

impl Worker<'_> {
    async fn until_killed(mut self) {
        while self.step().await.is_some() {}
    }

    async fn step(&mut self) -> Option<()> {
        let mine = format!("w{}-", self.number);
        let keys: Vec<(String, Known)> = {
            let ledger = self.ledger.lock().unwrap();
            let keys = ledger.keys.iter().filter(|(name, _)| name.starts_with(&mine));
            // What was purged is not there.
            let keys = keys.filter(|(_, known)| **known != Known::default());
            keys.map(|(name, known)| (name.clone(), known.clone())).collect()
        };
        if keys.is_empty() || (keys.len() < KEYS && self.dice.one_in(4)) {
            let name = format!("{mine}{:x}", self.dice.next());
            return self.begin(name).await;
        }
        let chosen = usize::try_from(self.dice.within(0..keys.len() as u64)).unwrap();
        let (name, mut known) = keys.get(chosen).unwrap().clone();
        if known.deleted {
            if self.dice.one_in(3) {
                let path = format!("deletedkeys/{name}");
                return self
                    .ask("purge", Method::DELETE, path, None, (name, Known::default()))
                    .await;
            }
            known.deleted = false;
            let path = format!("deletedkeys/{name}/recover");
            return self.ask("recover", Method::POST, path, None, (name, known)).await;
        }
        match self.dice.within(0..7) {
            0 | 1 if known.versions < VERSIONS => {
                known.versions += 1;
                known.enabled = true;
                let path = format!("keys/{name}/rotate");
                self.ask("rotate", Method::POST, path, None, (name, known)).await
            }
            0..=3 => {
                known.enabled = !self.dice.one_in(3);
                known.tag = self.dice.next().to_string();
                let body = json!({"attributes": {"enabled": known.enabled}, "tags": {"t": known.tag}});
                let path = format!("keys/{name}");
                self.ask("update", Method::PATCH, path, Some(body), (name, known))
                    .await
            }
            4 => {
                known.expiry = format!("P{}D", self.dice.within(30..900));
                let body = json!({"attributes": {"expiryTime": known.expiry}});
                let path = format!("keys/{name}/rotationpolicy");
                self.ask("policy", Method::PUT, path, Some(body), (name, known))
                    .await
            }
            5 => {
                known.deleted = true;
                let path = format!("keys/{name}");
                self.ask("delete", Method::DELETE, path, None, (name, known))
                    .await
            }
            _ => self.restore().await,
        }
    }

    /// Makes a key or brings one in.
    async fn begin(&mut self, name: String) -> Option<()> {
        let known = Known {
            versions: 1,
            enabled: true,
            tag: self.dice.next().to_string(),
            ..Known::default()
        };
        if self.dice.one_in(2) {
            let body = json!({"key": example(), "tags": {"t": known.tag}});
            let path = format!("keys/{name}");
            return self
                .ask("import", Method::PUT, path, Some(body), (name, known))
                .await;
        }
        let kind = if self.dice.one_in(8) {
            json!("RSA")
        } else {
            json!("EC")
        };
        let body = json!({"kty": kind, "tags": {"t": known.tag}});
        let path = format!("keys/{name}/create");
        self.ask("create", Method::POST, path, Some(body), (name, known))
            .await
    }

    async fn restore(&self) -> Option<()> {
        let Some((name, backup)) = self.ledger.lock().unwrap().backups.pop() else {
            return Some(());
        };
        let known = Known {
            versions: 2,
            enabled: true,
            tag: "kept".to_owned(),
            expiry: "P100D".to_owned(),
            deleted: false,
        };
        let (path, body) = ("keys/restore".to_owned(), json!({"value": backup}));
        self.ask("restore", Method::POST, path, Some(body), (name, known))
            .await
    }

    /// The acknowledgement; nothing if the program died first. A program that lives has no reason to refuse.
    async fn ask(
        &self,
        what: &'static str,
        method: Method,
        path: String,
        body: Option<Value>,
        asked: Asked,
    ) -> Option<()> {
        self.ledger.lock().unwrap().open.push(asked.clone());
        let answer = self.instance.vault_of(VAULT, method, &path, body).await.ok()?;
        let (status, said) = (answer.status(), answer.text().await.ok()?);
        assert!(status.is_success(), "{what} {path}: {status}: {said}");
        let mut ledger = self.ledger.lock().unwrap();
        ledger.open.retain(|open| *open != asked);
        ledger.keys.insert(asked.0, asked.1);
        *ledger.done.entry(what).or_default() += 1;
        Some(())
    }
}

/// The example of RFC 7515, appendix A.3: everybody's key and nobody's secret.
fn example() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    })
}

async fn get(instance: &Instance, path: &str) -> (StatusCode, Value) {
    let answer = instance.vault_of(VAULT, Method::GET, path, None).await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn post(instance: &Instance, path: &str, body: Value) -> Value {
    let answer = instance.vault_of(VAULT, Method::POST, path, Some(body)).await;
    answer.unwrap().json().await.unwrap()
}

/// How the vault knows a key; nothing if it does not.
async fn look(instance: &Instance, name: &str, tried: &mut BTreeSet<String>) -> Option<Known> {
    let (status, key) = get(instance, &format!("keys/{name}")).await;
    if status == StatusCode::NOT_FOUND {
        let (status, deleted) = get(instance, &format!("deletedkeys/{name}")).await;
        // What a deleted key has besides is looked at once it is back.
        return (status == StatusCode::OK).then(|| Known {
            deleted: true,
            enabled: deleted.pointer("/attributes/enabled") == Some(&json!(true)),
            tag: text(&deleted, "/tags/t"),
            ..Known::default()
        });
    }
    let (_, versions) = get(instance, &format!("keys/{name}/versions")).await;
    let (_, policy) = get(instance, &format!("keys/{name}/rotationpolicy")).await;
    let mut seen = 0;
    for version in versions.get("value").and_then(Value::as_array).unwrap() {
        seen += 1;
        let kid = text(version, "/kid");
        let (_, path) = kid.split_once("/keys/").unwrap();
        if version.pointer("/attributes/enabled") == Some(&json!(true)) && tried.insert(path.to_owned()) {
            does_its_work(instance, path, &key).await;
        }
    }
    Some(Known {
        versions: seen,
        enabled: key.pointer("/attributes/enabled") == Some(&json!(true)),
        tag: text(&key, "/tags/t"),
        expiry: text(&policy, "/attributes/expiryTime"),
        deleted: false,
    })
}

/// A version that is half there would not sign, or not by its own public half.
async fn does_its_work(instance: &Instance, path: &str, key: &Value) {
    let algorithm = match text(key, "/key/kty").as_str() {
        "RSA" => "PS256",
        _ => "ES256",
    };
    let digest = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let body = json!({"alg": algorithm, "value": digest});
    let signed = post(instance, &format!("keys/{path}/sign"), body).await;
    let body = json!({"alg": algorithm, "digest": digest, "value": text(&signed, "/value")});
    let verified = post(instance, &format!("keys/{path}/verify"), body).await;
    assert_eq!(verified, json!({"value": true}), "{path}: {signed}");
}

fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// Everything is as it was acknowledged, or as it was asked for last.
async fn check(instance: &Instance, ledger: &Mutex<Ledger>) {
    let (mut keys, open, mut tried) = {
        let mut ledger = ledger.lock().unwrap();
        let open = std::mem::take(&mut ledger.open);
        (ledger.keys.clone(), open, std::mem::take(&mut ledger.tried))
    };
    for (name, _) in &open {
        keys.entry(name.clone()).or_default();
    }
    for (name, known) in keys {
        let found = look(instance, &name, &mut tried).await;
        let is = |wanted: &Known| match &found {
            Some(found) if found.deleted => {
                wanted.deleted && found.enabled == wanted.enabled && found.tag == wanted.tag
            }
            Some(found) => found == wanted,
            None => *wanted == Known::default(),
        };
        let asked = open.iter().filter(|(of, _)| *of == name).map(|(_, asked)| asked);
        let mut allowed = std::iter::once(&known).chain(asked);
        let Some(now) = allowed.find(|wanted| is(wanted)) else {
            panic!("{name} is {found:?}; {known:?} was acknowledged; open: {open:?}");
        };
        let mut ledger = ledger.lock().unwrap();
        if *now == Known::default() {
            ledger.keys.remove(&name);
        } else {
            ledger.keys.insert(name, now.clone());
        }
    }
    ledger.lock().unwrap().tried = tried;
}

/// Without purge protection, and the administrator's to use.
async fn make_vault(instance: &Instance, folder: &Path) {
    let command = async |arguments: &[&str]| {
        let arguments = [arguments, &["--output", "json"]].concat();
        let output = strongroom_command(folder, &arguments).await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let made = command(&["vault", "create", "--name", VAULT, "--retention-days", "7"]).await;
    let scope = text(&made, "/0/id");
    let who = instance.variable("AZURE_CLIENT_ID");
    let role = [
        "role",
        "assignment",
        "create",
        "--role",
        "Key Vault Administrator",
    ];
    command(&[&role[..], &["--assignee", who, "--scope", &scope]].concat()).await;
}

/// Keys of the same installation that the vault under test does not have: made in a copy of its folder.
async fn backups(folder: &Path, copy: &Path) -> Vec<(String, String)> {
    let first = ChildOptions::new(folder).start().await.unwrap();
    make_vault(&first, folder).await;
    assert!(first.terminate().await.unwrap().success());
    let copied = Command::new("cp")
        .arg("-a")
        .arg(folder)
        .arg(copy)
        .status()
        .unwrap();
    assert!(copied.success());
    let instance = ChildOptions::new(copy).start().await.unwrap();
    let mut backups = Vec::new();
    for number in 0..BACKUPS {
        let name = format!("r{number}");
        let policy = json!({"attributes": {"expiryTime": "P100D"}});
        for (method, path, body) in [
            (
                Method::POST,
                "create",
                Some(json!({"kty": "EC", "tags": {"t": "kept"}})),
            ),
            (Method::POST, "rotate", None),
            (Method::PUT, "rotationpolicy", Some(policy)),
            (Method::POST, "backup", None),
        ] {
            let answer = instance
                .vault_of(VAULT, method, &format!("keys/{name}/{path}"), body)
                .await;
            let answer: Value = answer.unwrap().error_for_status().unwrap().json().await.unwrap();
            if path == "backup" {
                backups.push((name.clone(), text(&answer, "/value")));
            }
        }
    }
    instance.kill().unwrap();
    backups
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_killed_at_random_moments_loses_no_key_version_attribute_or_policy() {
    let number = |variable: &str| std::env::var(variable).ok()?.parse().ok();
    let seed = number("STRONGROOM_CRASH_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    eprintln!("STRONGROOM_CRASH_SEED={seed}");
    let mut dice = Dice::new(seed);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    let ledger = Mutex::new(Ledger {
        backups: backups(&folder, &place.path().join("copy")).await,
        ..Ledger::default()
    });
    for _ in 0..number("STRONGROOM_CRASH_ROUNDS").unwrap_or(ROUNDS) {
        let child = ChildOptions::new(&folder).start().await.unwrap();
        check(&child, &ledger).await;
        let workers = (0..WORKERS).map(|number| {
            let worker = Worker {
                number,
                instance: &child,
                ledger: &ledger,
                dice: dice.another(),
            };
            worker.until_killed()
        });
        let workers: Vec<_> = workers.collect();
        let time = Duration::from_millis(dice.within(WORK));
        let kill = async {
            tokio::time::sleep(time).await;
            child.strike().unwrap();
        };
        tokio::join!(join_all(workers), kill);
        child.kill().unwrap();
    }
    let child = ChildOptions::new(&folder).start().await.unwrap();
    ledger.lock().unwrap().tried.clear();
    check(&child, &ledger).await;
    let done = std::mem::take(&mut ledger.lock().unwrap().done);
    eprintln!("acknowledged: {done:?}");
    let wanted = [
        "create", "import", "rotate", "update", "policy", "delete", "recover", "purge", "restore",
    ];
    assert!(
        wanted.iter().all(|what| done.contains_key(what)),
        "too little was done"
    );
}
