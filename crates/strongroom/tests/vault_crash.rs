//! Vaults of a machine that stops at any moment: the program is killed again and again while vaults are made, changed, granted
//! roles on, deleted, recovered and purged. What was acknowledged is there and in the activity log, what was not is there whole or
//! not at all, and no role outlives its vault.
//!
//! `STRONGROOM_CRASH_SEED` repeats a run's choices, `STRONGROOM_CRASH_ROUNDS` makes it longer or shorter.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and says with which seed"
)]

#[path = "crash/dice.rs"]
#[expect(dead_code, reason = "contents of files are of no use here")]
mod dice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use dice::Dice;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use strongroom_testkit::{ChildOptions, Instance};
use uuid::Uuid;

const ROUNDS: u64 = 20;
/// How long the program may work before it is killed, in milliseconds.
const WORK: std::ops::Range<u64> = 50..600;
const WORKERS: usize = 4;
/// Vaults that each worker has at most.
const VAULTS: usize = 5;

/// Key Vault Reader.
const ROLE: &str = "21090545-7ca7-4776-b22c-e363652d74d2";

/// A vault as it must be known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Known {
    there: bool,
    deleted: bool,
    tag: String,
    /// Whose role assignments on it there are.
    assigned: BTreeSet<Uuid>,
}

/// Something that was asked for, and how the vault is once it is done.
type Asked = (String, Known);

#[derive(Default)]
struct Ledger {
    vaults: BTreeMap<String, Known>,
    /// What each worker asked for last and has not heard of.
    open: Vec<Asked>,
    done: BTreeMap<&'static str, u64>,
    /// The correlation ids of what Resource Manager acknowledged.
    acknowledged: BTreeSet<String>,
}

struct Worker<'a> {
    number: usize,
    instance: &'a Instance,
    ledger: &'a Mutex<Ledger>,
    dice: Dice,
}

fn path(instance: &Instance, name: &str) -> String {
    let group = instance.variable("STRONGROOM_RESOURCE_GROUP");
    format!("/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}")
}

fn body(instance: &Instance, tag: &str, mode: &str) -> Value {
    json!({"location": "local", "tags": {"t": tag}, "properties": {
        "tenantId": instance.variable("AZURE_TENANT_ID"), "sku": {"family": "A", "name": "standard"}, "createMode": mode,
    }})
}

fn assignment(instance: &Instance, id: Uuid, name: &str) -> String {
    let subscription = instance.variable("AZURE_SUBSCRIPTION_ID");
    format!(
        "role-assignments/{id}?scope=/subscriptions/{subscription}{}",
        path(instance, name)
    )
}

impl Worker<'_> {
    async fn until_killed(mut self, principal: &str) {
        while self.step(principal).await.is_some() {}
    }

    async fn step(&mut self, principal: &str) -> Option<()> {
        let number = self.dice.within(0..VAULTS as u64);
        let name = format!("w{}-{number}", self.number);
        let mut known = self
            .ledger
            .lock()
            .unwrap()
            .vaults
            .get(&name)
            .cloned()
            .unwrap_or_default();
        let at = path(self.instance, &name);
        let put = |tag: &str, mode| Some(body(self.instance, tag, mode));
        if known.deleted {
            known.assigned.clear();
            if self.dice.one_in(3) {
                let purge =
                    format!("/providers/Microsoft.KeyVault/locations/local/deletedVaults/{name}/purge");
                return self
                    .ask("purge", Method::POST, purge, None, (name, Known::default()))
                    .await;
            }
            known.deleted = false;
            return self
                .ask("recover", Method::PUT, at, put("", "recover"), (name, known))
                .await;
        }
        if !known.there {
            (known.there, known.tag) = (true, self.dice.next().to_string());
            return self
                .ask(
                    "create",
                    Method::PUT,
                    at,
                    put(&known.tag, "default"),
                    (name, known),
                )
                .await;
        }
        match self.dice.within(0..5) {
            0 | 1 => {
                known.tag = self.dice.next().to_string();
                let body = Some(json!({"tags": {"t": known.tag}}));
                self.ask("update", Method::PATCH, at, body, (name, known)).await
            }
            2 | 3 if known.assigned.is_empty() => {
                let id = Uuid::new_v4();
                known.assigned.insert(id);
                let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{ROLE}");
                let body = Some(json!({"properties": {"roleDefinitionId": role, "principalId": principal}}));
                let assign = assignment(self.instance, id, &name);
                self.ask("assign", Method::PUT, assign, body, (name, known)).await
            }
            _ => {
                known.deleted = true;
                known.assigned.clear();
                self.ask("delete", Method::DELETE, at, None, (name, known)).await
            }
        }
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
        let answer = if what == "assign" {
            self.instance.admin(method, &path, body).await
        } else {
            self.instance.manage(method, &path, body).await
        };
        let answer = answer.ok()?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let said = answer.text().await.ok()?;
        assert!(status.is_success(), "{what} {path}: {status}: {said}");
        if status == StatusCode::ACCEPTED {
            let operation = headers.get("azure-asyncoperation")?.to_str().ok()?;
            self.ended(operation).await?;
        }
        let correlation = headers.get("x-ms-correlation-request-id");
        let correlation = correlation.map(|id| id.to_str().unwrap().to_owned());
        let mut ledger = self.ledger.lock().unwrap();
        ledger.acknowledged.extend(correlation);
        ledger.open.retain(|open| *open != asked);
        ledger.vaults.insert(asked.0, asked.1);
        *ledger.done.entry(what).or_default() += 1;
        Some(())
    }

    /// Waits for what goes on after its answer.
    async fn ended(&self, operation: &str) -> Option<()> {
        let (_, rest) = operation.split_once("/subscriptions/")?;
        let rest = rest.split_once('/')?.1.split('?').next()?;
        loop {
            let told = self
                .instance
                .manage(Method::GET, &format!("/{rest}"), None)
                .await
                .ok()?;
            let told: Value = told.json().await.ok()?;
            match told["status"].as_str() {
                Some("InProgress") => tokio::task::yield_now().await,
                Some("Succeeded") => return Some(()),
                _ => panic!("{told}"),
            }
        }
    }
}

async fn get(instance: &Instance, path: &str) -> (StatusCode, Value) {
    let answer = instance.manage(Method::GET, path, None).await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// How a vault is known.
async fn look(instance: &Instance, name: &str) -> Known {
    let at = path(instance, name);
    let subscription = instance.variable("AZURE_SUBSCRIPTION_ID");
    let roles = format!("role-assignments?scope=/subscriptions/{subscription}{at}");
    let roles = instance.admin(Method::GET, &roles, None).await.unwrap();
    let roles: Value = roles.json().await.unwrap();
    let here = roles["value"].as_array().unwrap().iter();
    let here = here.filter(|known| known["properties"]["scope"].as_str().unwrap().ends_with(&at));
    let assigned = here
        .map(|known| known["name"].as_str().unwrap().parse().unwrap())
        .collect();
    let (status, vault) = get(instance, &at).await;
    let (gone, deleted) = get(
        instance,
        &format!("/providers/Microsoft.KeyVault/locations/local/deletedVaults/{name}"),
    )
    .await;
    assert!(
        status != StatusCode::OK || gone != StatusCode::OK,
        "{name} is there and deleted"
    );
    let tag = match (status, gone) {
        (StatusCode::OK, _) => vault["tags"]["t"].clone(),
        _ => deleted["properties"]["tags"]["t"].clone(),
    };
    Known {
        there: status == StatusCode::OK || gone == StatusCode::OK,
        deleted: gone == StatusCode::OK,
        tag: tag.as_str().unwrap_or_default().to_owned(),
        assigned,
    }
}

/// The correlation ids of the writes that the activity log knows as done.
async fn on_record(instance: &Instance) -> BTreeSet<String> {
    const LOG: &str = "/providers/Microsoft.Insights/eventtypes/management/values";
    let (mut found, mut path) = (BTreeSet::new(), LOG.to_owned());
    loop {
        let (_, page) = get(instance, &path).await;
        for row in page["value"].as_array().unwrap() {
            if matches!(row["status"]["value"].as_str(), Some("Succeeded" | "Accepted")) {
                found.insert(row["correlationId"].as_str().unwrap().to_owned());
            }
        }
        let Some(next) = page["nextLink"].as_str() else {
            return found;
        };
        let token = next.split_once("skiptoken=").unwrap().1.split('&').next();
        path = format!("{LOG}?$skiptoken={}", token.unwrap());
    }
}

/// Everything is as it was acknowledged, or as it was asked for last.
async fn check(instance: &Instance, ledger: &Mutex<Ledger>) {
    let (mut vaults, open) = {
        let mut ledger = ledger.lock().unwrap();
        let open = std::mem::take(&mut ledger.open);
        (ledger.vaults.clone(), open)
    };
    for (name, _) in &open {
        vaults.entry(name.clone()).or_default();
    }
    for (name, known) in vaults {
        let found = look(instance, &name).await;
        let mut asked = open.iter().filter(|(of, _)| *of == name).map(|(_, asked)| asked);
        assert!(
            found == known || asked.any(|asked| found == *asked),
            "{name} is {found:?}; {known:?} was acknowledged; open: {open:?}"
        );
        ledger.lock().unwrap().vaults.insert(name, found);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vaults_killed_at_random_moments_are_whole_and_on_record_and_no_role_outlives_its_vault() {
    let number = |variable: &str| std::env::var(variable).ok()?.parse().ok();
    let seed = number("STRONGROOM_CRASH_SEED").unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    eprintln!("STRONGROOM_CRASH_SEED={seed}");
    let mut dice = Dice::new(seed);
    let place = tempfile::tempdir().unwrap();
    let ledger = Mutex::new(Ledger::default());
    let mut principal = String::new();
    for _ in 0..number("STRONGROOM_CRASH_ROUNDS").unwrap_or(ROUNDS) {
        let child = ChildOptions::new(place.path()).start().await.unwrap();
        if principal.is_empty() {
            let app = json!({"kind": "app", "displayName": "user"});
            let made = child.admin(Method::POST, "principals", Some(app)).await.unwrap();
            let made: Value = made.json().await.unwrap();
            principal = made["id"].as_str().unwrap().to_owned();
        }
        check(&child, &ledger).await;
        let workers = (0..WORKERS).map(|number| {
            let worker = Worker {
                number,
                instance: &child,
                ledger: &ledger,
                dice: dice.another(),
            };
            worker.until_killed(&principal)
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
    let child = ChildOptions::new(place.path()).start().await.unwrap();
    check(&child, &ledger).await;
    let Ledger {
        done, acknowledged, ..
    } = std::mem::take(&mut *ledger.lock().unwrap());
    eprintln!("acknowledged: {done:?}");
    let on_record = on_record(&child).await;
    let lost: Vec<_> = acknowledged.difference(&on_record).collect();
    assert!(
        !acknowledged.is_empty() && lost.is_empty(),
        "not on record: {lost:?}"
    );
    let wanted = ["create", "update", "assign", "delete", "recover", "purge"];
    assert!(
        wanted.iter().all(|what| done.contains_key(what)),
        "too little was done"
    );
}
