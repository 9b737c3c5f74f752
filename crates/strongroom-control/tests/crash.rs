//! What a kill leaves behind: everything that was acknowledged, and nothing half-made.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod rig;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rig::{Rig, assign, open};
use strongroom_control::{AssignmentFilter, KeySlot};

const FOLDER: &str = "STRONGROOM_CRASH_FOLDER";

/// The process that is killed: makes accounts with identities, roles, groups and deletions, and says what is done.
#[test]
#[ignore = "the other half of a_kill_leaves_whole_accounts_or_none; it runs until it is killed"]
fn child() {
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let control = open(&folder);
    let owner = control.actor(
        std::fs::read_to_string(folder.join("owner"))
            .unwrap()
            .parse()
            .unwrap(),
    );
    let subscription = format!("/subscriptions/{}", control.subscription());
    let vault = format!("{subscription}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv1")
        .parse()
        .unwrap();
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| {
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    };
    let group = owner.create_group("group").unwrap().object_id;
    for number in 0.. {
        let name = format!("a{}-{number}", std::process::id());
        let account = rig::ensure(&control, &name);
        say(format!("made {name}"));
        let identity = account.identity.unwrap();
        assign(&owner, identity, "Key Vault Crypto User", &vault).unwrap();
        say(format!("assigned {identity}"));
        owner.add_member(group, identity).unwrap();
        if number % 3 == 0 {
            say(format!("deleting {name}"));
            owner.delete_account(&name).unwrap();
            say(format!("deleted {name}"));
        } else {
            let [key, _] = owner.regenerate_account_key(&name, KeySlot::One).unwrap();
            say(format!("key {name} {}", key.as_str()));
        }
    }
}

#[test]
fn a_kill_leaves_whole_accounts_or_none() {
    let rig = Rig::new();
    let folder = rig.folder.path().to_owned();
    std::fs::write(folder.join("owner"), rig.owner.caller().to_string()).unwrap();
    let (kept, owner) = (rig.folder, rig.owner.caller());
    drop((rig.control, rig.vaults, rig.owner));
    let mut said: Vec<Vec<String>> = Vec::new();
    for round in 0..8_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(FOLDER, &folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The kill falls at another point of the work each time.
        let mut lines = lines.map(Result::unwrap).filter(|line| line.contains(' '));
        let wanted = 3 + round * 7 % 23;
        said.extend(
            lines
                .by_ref()
                .take(wanted)
                .map(|line| line.split(' ').map(str::to_owned).collect()),
        );
        child.kill().unwrap();
        said.extend(lines.map(|line| line.split(' ').map(str::to_owned).collect()));
        child.wait().unwrap();
        check(&folder, owner, &said);
    }
    drop(kept);
}

fn check(folder: &std::path::Path, owner: uuid::Uuid, said: &[Vec<String>]) {
    let control = open(folder);
    let accounts = control.accounts().borrow().clone();
    let names: BTreeSet<_> = accounts.iter().map(|account| account.name.clone()).collect();
    for account in accounts.iter() {
        // An account has its identity.
        let identity = control.principal(account.identity.unwrap()).unwrap();
        assert_eq!(identity.resource(), Some(account.resource_id().as_str()));
    }
    let owner = control.actor(owner);
    let identities = owner.principals(&Default::default()).unwrap();
    let of_accounts = identities.iter().filter(|known| known.resource().is_some());
    assert_eq!(of_accounts.count(), accounts.len(), "an identity has its account");
    let subscription = format!("/subscriptions/{}", control.subscription())
        .parse()
        .unwrap();
    let assigned = owner
        .assignments(&subscription, AssignmentFilter::default())
        .unwrap();
    let word = |line: &[String], at: usize| line.get(at).cloned().unwrap_or_default();
    let about = |what: &str, name: &str| {
        said.iter()
            .any(|line| word(line, 0) == what && word(line, 1) == name)
    };
    for line in said {
        let name = word(line, 1);
        match word(line, 0).as_str() {
            "made" if !about("deleting", &name) => assert!(names.contains(&name), "{name} was made"),
            "deleted" => assert!(!names.contains(&name), "{name} was deleted"),
            "assigned" => assert!(assigned.iter().any(|known| known.principal.to_string() == name)),
            "key" => assert!(control.authenticate_key(&name, &word(line, 2)).is_some()),
            _ => {}
        }
    }
}
