//! What was acknowledged, what was only asked for, and whether the program still knows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use strongroom_testkit::Instance;

use crate::dice::{Dice, content};

/// Objects of earlier rounds that are read again in a round.
const SAMPLES: usize = 5;
/// Objects, large and small, that nobody deletes.
const LEFT_ALONE: usize = 6;

#[derive(Default)]
pub(crate) struct Ledger {
    numbers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By path, such as `/files/ID`.
    objects: BTreeMap<String, Object>,
    /// Versions of the customer key.
    versions: Vec<String>,
    rekeys: u64,
    unacknowledged: u64,
}

#[derive(Clone)]
struct Object {
    /// A file's name, which says what it holds; a response's input; a kept chat's prompt.
    said: String,
    fate: Fate,
    /// Read again since its round.
    checked: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Fate {
    Kept,
    DeletionAsked,
    Deleted,
}

impl Object {
    fn is_large(&self) -> bool {
        self.said
            .split_once('-')
            .is_some_and(|(_, length)| length.len() > 6)
    }
}

impl Ledger {
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn uploaded(&self, id: String, name: String) {
        self.keep(format!("/files/{id}"), name);
    }

    pub(crate) fn responded(&self, id: String, input: String) {
        self.keep(format!("/responses/{id}"), input);
    }

    pub(crate) fn kept_chat(&self, id: String, prompt: String) {
        self.keep(format!("/chat/completions/{id}"), prompt);
    }

    pub(crate) fn rotated(&self, version: String) {
        self.state().versions.push(version);
    }

    pub(crate) fn rekeyed(&self) {
        self.state().rekeys += 1;
    }

    /// The path of something that is kept, marked as asked to go: large files first, so that a run stays small. A
    /// part of everything is left alone.
    pub(crate) fn to_be_deleted(&self, dice: &mut Dice) -> Option<String> {
        let mut state = self.state();
        let kept = state
            .objects
            .iter_mut()
            .filter(|(_, object)| object.fate == Fate::Kept);
        let (large, small): (Vec<_>, Vec<_>) = kept.partition(|(_, object)| object.is_large());
        let mut kept = if large.len() > LEFT_ALONE { large } else { small };
        if kept.len() <= LEFT_ALONE {
            return None;
        }
        let chosen = usize::try_from(dice.within(0..kept.len() as u64)).unwrap();
        let (path, object) = kept.swap_remove(chosen);
        object.fate = Fate::DeletionAsked;
        object.checked = false;
        Some(path.clone())
    }

    pub(crate) fn deleted(&self, path: &str) {
        self.state().objects.get_mut(path).unwrap().fate = Fate::Deleted;
    }

    /// Everything is where it must be; what the last round touched, and some of the rest, is read.
    pub(crate) async fn check_last_round(&self, instance: &Instance, dice: &mut Dice) {
        self.check_presence(instance).await;
        let mut objects = self.kept(|object| !object.checked);
        let older = self.kept(|object| object.checked);
        if !older.is_empty() {
            let sample = |_| {
                older
                    .get(usize::try_from(dice.within(0..older.len() as u64)).unwrap())
                    .unwrap()
                    .clone()
            };
            objects.extend((0..SAMPLES).map(sample));
        }
        self.check_contents(instance, objects).await;
        let versions = std::mem::take(&mut self.state().versions);
        for version in versions {
            let answer = instance
                .key(Method::GET, &format!("/{version}"), None)
                .await
                .unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "key version {version}");
        }
    }

    pub(crate) async fn check_everything(&self, instance: &Instance, dice: &mut Dice) {
        self.check_last_round(instance, dice).await;
        self.check_contents(instance, self.kept(|_| true)).await;
    }

    pub(crate) fn summary(&self) -> String {
        let state = self.state();
        let count = |fate| {
            state
                .objects
                .values()
                .filter(|object| object.fate == fate)
                .count()
        };
        format!(
            "{} objects kept, {} deleted, {} found that were not acknowledged, {} rekeys",
            count(Fate::Kept),
            count(Fate::Deleted),
            state.unacknowledged,
            state.rekeys
        )
    }

    /// A run that did nothing proves nothing.
    pub(crate) fn assert_busy(&self) {
        let state = self.state();
        let deleted = state
            .objects
            .values()
            .filter(|object| object.fate == Fate::Deleted)
            .count();
        assert!(state.objects.len() > 50 && deleted > 5, "too little was done");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn keep(&self, path: String, said: String) {
        let object = Object {
            said,
            fate: Fate::Kept,
            checked: false,
        };
        assert!(
            self.state().objects.insert(path, object).is_none(),
            "an id was given twice"
        );
    }

    fn kept(&self, wanted: impl Fn(&Object) -> bool) -> Vec<(String, Object)> {
        let state = self.state();
        let kept = state
            .objects
            .iter()
            .filter(|(_, object)| object.fate == Fate::Kept && wanted(object));
        kept.map(|(path, object)| (path.clone(), object.clone()))
            .collect()
    }

    /// Files are compared with the list; the others are asked for.
    async fn check_presence(&self, instance: &Instance) {
        let listed = list(instance).await;
        let responses: Vec<String> = {
            let state = self.state();
            let unsure = |object: &Object| object.fate != Fate::Kept && !object.checked;
            let responses = state
                .objects
                .iter()
                .filter(|(path, _)| !path.starts_with("/files/"));
            responses
                .filter(|(_, object)| unsure(object))
                .map(|(path, _)| path.clone())
                .collect()
        };
        let mut found = Vec::new();
        for path in responses {
            let status = instance.api(Method::GET, &path).send().await.unwrap().status();
            assert!(
                matches!(status, StatusCode::OK | StatusCode::NOT_FOUND),
                "{path}: {status}"
            );
            if status == StatusCode::OK {
                found.push(path);
            } else {
                self.state().objects.get_mut(&path).unwrap().checked = true;
            }
        }
        let mut state = self.state();
        for (path, object) in &mut state.objects {
            let is_file = path.starts_with("/files/");
            let is_there = if is_file {
                listed.contains_key(path)
            } else {
                found.contains(path)
            };
            match object.fate {
                Fate::Kept => assert!(is_there || !is_file, "{path} was acknowledged and is gone"),
                Fate::Deleted => assert!(!is_there, "{path} was deleted and is there"),
                Fate::DeletionAsked if is_there => object.fate = Fate::Kept,
                Fate::DeletionAsked => object.fate = Fate::Deleted,
            }
        }
        for (path, said) in listed {
            if !state.objects.contains_key(&path) {
                state.unacknowledged += 1;
                state.objects.insert(
                    path,
                    Object {
                        said,
                        fate: Fate::Kept,
                        checked: false,
                    },
                );
            }
        }
    }

    async fn check_contents(&self, instance: &Instance, objects: Vec<(String, Object)>) {
        for (path, object) in objects {
            if path.starts_with("/files/") {
                check_file(instance, &path, &object.said).await;
            } else if path.starts_with("/responses/") {
                check_answer(instance, &path, "/output/0/content/0/text", &object.said).await;
            } else {
                check_answer(instance, &path, "/choices/0/message/content", &object.said).await;
            }
            self.state().objects.get_mut(&path).unwrap().checked = true;
        }
    }
}

/// Every file by its path, with its name.
async fn list(instance: &Instance) -> BTreeMap<String, String> {
    let (mut listed, mut after) = (BTreeMap::new(), String::new());
    loop {
        let page = instance.api(Method::GET, &format!("/files?limit=1000&order=asc{after}"));
        let page: Value = page
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap()
            .json()
            .await
            .unwrap();
        for file in page.get("data").and_then(Value::as_array).unwrap() {
            let text = |name| file.get(name).and_then(Value::as_str).unwrap();
            listed.insert(format!("/files/{}", text("id")), text("filename").to_owned());
            after = format!("&after={}", text("id"));
        }
        if page.get("has_more").and_then(Value::as_bool) != Some(true) {
            return listed;
        }
    }
}

async fn check_file(instance: &Instance, path: &str, name: &str) {
    let (number, length) = name.split_once('-').unwrap();
    let wanted = content(number.parse().unwrap(), length.parse().unwrap());
    let answer = instance
        .api(Method::GET, &format!("{path}/content"))
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let found = answer.bytes().await.unwrap();
    assert!(
        status.is_success(),
        "{path}: {status}: {}",
        String::from_utf8_lossy(&found)
    );
    assert!(
        found == wanted,
        "{path} ({name}) is not what was uploaded: {} bytes",
        found.len()
    );
}

/// The model repeats what it is told.
async fn check_answer(instance: &Instance, path: &str, place: &str, said: &str) {
    let answer = instance.api(Method::GET, path).send().await.unwrap();
    let (status, body) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{path}: {status}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let found = answer.pointer(place).and_then(Value::as_str);
    assert_eq!(found, Some(said), "{path}");
}
