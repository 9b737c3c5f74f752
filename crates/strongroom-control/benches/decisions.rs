//! How long a decision takes when there is as much to decide about as there may be: 4,000 assignments, 10,000 accounts.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench stops at the first thing that is wrong, prints its lines and measures time"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strongroom_azure::ResourceId;
use strongroom_control::{
    Account, ActionKind, Assignment, BuiltInRole, Control, Encryption, NewAccount, NewAssignment,
};
use strongroom_seal::{AccountId, Clock, Moment};
use strongroom_vault::{Access, Caller, KeyAction, RootKey, VaultEngine};
use uuid::Uuid;

const ACCOUNTS: usize = 10_000;
const ASSIGNMENTS: usize = 4_000;
const DECISIONS: u32 = 200_000;

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Moment {
        Moment {
            boot: Duration::from_secs(5),
            wall: Duration::from_secs(1_800_000_000),
        }
    }
}

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let root = RootKey::File(folder.path().join("root-key"));
    let vaults = VaultEngine::open(&folder.path().join("vault"), root, Arc::new(StillClock)).unwrap();
    let open = || Control::open(&path, vaults.clone(), Arc::new(StillClock)).unwrap();
    let control = open();
    let (administrator, _) = control.ensure_administrator(None).unwrap();
    let vault = control.ensure_vault("kv1", "rg").unwrap();
    let template = control.ensure_account(&account()).unwrap();
    let owner = BuiltInRole::by_name("Owner").unwrap();
    let assignment = control
        .ensure_assignment(administrator.object_id, owner, &vault)
        .unwrap();
    let group = control
        .actor(administrator.object_id)
        .create_group("group")
        .unwrap()
        .object_id;
    control
        .actor(administrator.object_id)
        .add_member(group, template.identity.unwrap())
        .unwrap();
    drop(control);
    fill(&path.join("control.db"), &template, &assignment, group);
    let control = open();

    let caller = Caller {
        object_id: template.identity.unwrap().to_string(),
        app_id: None,
        upn: None,
        tenant: control.tenant(),
        issuer: String::new(),
    };
    let user = BuiltInRole::by_name("Key Vault Crypto User").unwrap();
    control.remove_assignments_below(&vault).unwrap();
    control.ensure_assignment(group, user, &vault).unwrap();
    decision("the vault asks about a key, the role is a group's", || {
        Access::may(
            &control,
            &caller,
            vault.as_str(),
            Some("customer"),
            KeyAction::Unwrap,
        ) == strongroom_vault::Decision::Allowed
    });
    let holder = administrator.object_id.to_string();
    let scope: ResourceId = template.resource_id().parse().unwrap();
    decision("a principal with all the assignments is refused", || {
        !control.may(
            &holder,
            &scope,
            ActionKind::Data,
            "Microsoft.KeyVault/vaults/keys/unwrap/action",
        )
    });
    decision("an account by its name, and nine rights in it", || {
        let account = control.account("A5000").unwrap();
        control.openai_rights(&holder, &account).is_none()
    });
    change(&control, administrator.object_id, &vault);
}

fn account() -> NewAccount {
    NewAccount {
        name: "acct".to_owned(),
        resource_group: "rg".to_owned(),
        location: "local".to_owned(),
        encryption: Encryption::customer("https://kv1.vault.localhost", "customer", None),
    }
}

/// As many documents as there may be, in one transaction: one at a time they would take minutes.
fn fill(database: &Path, account: &Account, assignment: &Assignment, group: Uuid) {
    let mut database = rusqlite::Connection::open(database).unwrap();
    let transaction = database.transaction().unwrap();
    let put = |kind: &str, name: &str, document: Value| {
        let row = (kind, name, document.to_string());
        transaction
            .execute("INSERT INTO document (kind, name, json) VALUES (?1, ?2, ?3)", row)
            .unwrap();
    };
    for number in 0..ACCOUNTS {
        let identity = Uuid::new_v4();
        let name = format!("a{number}");
        let account = Account {
            id: AccountId::from_uuid(Uuid::new_v4()),
            name: name.clone(),
            identity: Some(identity),
            ..account.clone()
        };
        put("account", &name, json!(account));
        let principal = json!({
            "object_id": identity, "display_name": name, "created": 1, "kind": "ManagedIdentity",
            "client_id": Uuid::new_v4(), "resource": account.resource_id(),
        });
        put("principal", &identity.to_string(), principal);
    }
    // Half of them are one principal's, each on an account of its own; half are spread over a group's keys.
    let roles = BuiltInRole::all();
    for number in 0..ASSIGNMENTS - 8 {
        let id = Uuid::new_v4();
        let scope = format!("{}{number}", account.resource_id().replace("acct", "a"));
        let holder = if number % 2 == 0 {
            assignment.principal
        } else {
            group
        };
        let role = roles.get(number % roles.len()).unwrap().id;
        put(
            "assignment",
            &id.to_string(),
            json!(Assignment {
                id,
                principal: holder,
                role,
                scope,
                ..assignment.clone()
            }),
        );
    }
    transaction.commit().unwrap();
}

fn decision(name: &str, mut decide: impl FnMut() -> bool) {
    assert!(decide());
    let begin = Instant::now();
    let mut right = 0;
    for _ in 0..DECISIONS {
        right += u32::from(decide());
    }
    let each = begin.elapsed().as_secs_f64() * 1e6 / f64::from(DECISIONS);
    assert_eq!(right, DECISIONS);
    println!(
        "{}",
        json!({"name": name, "value": each, "unit": "µs", "goal": 10, "better": "lower"})
    );
}

/// How long a decision takes while roles are given and taken away as fast as the disk lets it.
fn change(control: &Control, principal: Uuid, vault: &ResourceId) {
    let (done, mut took, mut count) = (AtomicBool::new(false), Vec::new(), 0_u32);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut took = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let begin = Instant::now();
                control.may(&principal.to_string(), vault, ActionKind::Control, "x/read");
                took.push(begin.elapsed());
            }
            took
        });
        let actor = control.actor(principal);
        while begin.elapsed() < Duration::from_secs(3) {
            let role = BuiltInRole::by_name("Reader").unwrap().id;
            let new = NewAssignment {
                id: Uuid::new_v4(),
                principal,
                principal_type: None,
                role,
                scope: vault.clone(),
                description: None,
            };
            let _ = actor.assign(new.clone());
            let _ = control.remove_assignments_below(vault);
            count += 2;
        }
        done.store(true, Ordering::Relaxed);
        took = asking.join().unwrap();
    });
    let each = begin.elapsed().as_secs_f64() * 1e3 / f64::from(count);
    println!(
        "{}",
        json!({"name": "a role given or taken away, kept on disk", "value": each, "unit": "ms"})
    );
    took.sort_unstable();
    let p999 = took.get(took.len() * 999 / 1000).unwrap().as_secs_f64() * 1e6;
    println!(
        "{}",
        json!({"name": "999 of 1000 decisions meanwhile", "value": p999, "unit": "µs", "better": "lower"})
    );
}
