//! The control plane as the program uses it: on a real disk, through its real routes.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom_control::{
    Account, ActionKind, Anchor, AnchorFault, BuiltInRole, Control, ControlError, Encryption, NewAccount,
};
use strongroom_seal::{BranchVersion, CheckValue, Clock, Moment};
use strongroom_vault::{Access, Caller, Decision, KeyAction, RootKey, VaultEngine};
use tempfile::TempDir;

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Moment {
        Moment {
            boot: Duration::from_secs(5),
            wall: Duration::from_secs(1_800_000_000),
        }
    }
}

fn open(folder: &Path) -> Control {
    let control = Control::open(&folder.join("control"), vaults(folder), Arc::new(StillClock)).unwrap();
    // Whoever makes the first key for tokens holds all of it until then.
    control.token_keys_ready().unwrap();
    control
}

fn vaults(folder: &Path) -> VaultEngine {
    let root = RootKey::File(folder.join("root-key"));
    VaultEngine::open(&folder.join("vault"), root, Arc::new(StillClock)).unwrap()
}

fn account(control: &Control) -> Arc<Account> {
    let encryption = Encryption::customer("https://kv1.vault.localhost", "customer", None);
    let (name, resource_group) = ("acct".to_owned(), "rg".to_owned());
    control
        .ensure_account(&NewAccount {
            name,
            resource_group,
            location: "local".to_owned(),
            encryption,
        })
        .unwrap()
}

#[test]
fn a_second_start_finds_everything_as_it_was() {
    let folder = TempDir::new().unwrap();
    let first = open(folder.path());
    let made = account(&first);
    let (administrator, secret) = first.ensure_administrator(None).unwrap();
    let keys = first.account_keys("acct").unwrap();
    drop(first);
    let second = open(folder.path());
    assert_eq!(account(&second), made);
    assert_eq!(second.account_keys("ACCT").unwrap(), keys);
    let (again, renewed) = second
        .ensure_administrator(secret.as_ref().map(|s| s.as_str()))
        .unwrap();
    assert_eq!((again.object_id, renewed), (administrator.object_id, None));
}

#[test]
fn a_lost_administrator_secret_is_replaced_and_the_old_one_no_longer_counts() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    let (_, old) = control.ensure_administrator(None).unwrap();
    let (_, new) = control.ensure_administrator(Some("lost")).unwrap();
    let (_, kept) = control
        .ensure_administrator(new.as_ref().map(|s| s.as_str()))
        .unwrap();
    assert_eq!(kept, None);
    assert_ne!(
        control
            .ensure_administrator(old.as_ref().map(|s| s.as_str()))
            .unwrap()
            .1,
        None
    );
}

#[test]
fn no_secret_of_the_control_plane_stands_in_its_database() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    account(&control);
    let (_, secret) = control.ensure_administrator(None).unwrap();
    let [one, two] = control.account_keys("acct").unwrap();
    for file in ["control.db", "control.db-wal"] {
        let bytes = std::fs::read(folder.path().join("control").join(file)).unwrap();
        for needle in [secret.as_ref().unwrap(), &one, &two] {
            assert!(
                !bytes
                    .windows(needle.len())
                    .any(|window| window == needle.as_bytes())
            );
        }
    }
}

#[test]
fn an_account_key_opens_its_own_account_and_no_other() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    account(&control);
    let [one, two] = control.account_keys("acct").unwrap();
    assert_eq!(control.authenticate_key("acct", &one).unwrap().1, 0);
    assert_eq!(control.authenticate_key("acct", &two).unwrap().1, 1);
    assert!(control.authenticate_key("acct", "").is_none());
    assert!(control.authenticate_key("acct", &one[1..]).is_none());
    assert!(control.authenticate_key("other", &one).is_none());
}

#[test]
fn an_anchor_moves_only_from_where_it_was_expected() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    let id = account(&control).id;
    let anchor = |version, byte| Anchor {
        version: BranchVersion::new(version),
        check: CheckValue::from_bytes([byte; 32]),
    };
    control.pin_anchor(id, None, anchor(1, 1)).unwrap();
    control.pin_anchor(id, None, anchor(1, 1)).unwrap();
    assert!(matches!(
        control.pin_anchor(id, None, anchor(1, 2)),
        Err(AnchorFault::Moved)
    ));
    control.pin_anchor(id, Some(anchor(1, 1)), anchor(2, 3)).unwrap();
    drop(control);
    assert_eq!(account(&open(folder.path())).anchor, Some(anchor(2, 3)));
}

#[test]
fn only_one_of_many_racing_anchors_is_pinned() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    let id = account(&control).id;
    let pin = |byte: u8| {
        let to = Anchor {
            version: BranchVersion::new(1),
            check: CheckValue::from_bytes([byte; 32]),
        };
        control.pin_anchor(id, None, to).is_ok()
    };
    let won: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|byte| scope.spawn(move || usize::from(pin(byte))))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
}

#[test]
fn the_vault_asks_and_roles_answer() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    let identity = account(&control).identity.unwrap();
    let vault = control.ensure_vault("kv1", "rg").unwrap();
    let caller = Caller {
        object_id: identity.to_string(),
        app_id: None,
        upn: None,
        tenant: control.tenant(),
        issuer: String::new(),
    };
    let id = |name: &str| vault.as_str().replace("kv1", name);
    let ask = |caller: &Caller, vault: &str, action| {
        Access::may(&control, caller, &id(vault), Some("customer"), action)
    };
    assert_eq!(ask(&caller, "kv1", KeyAction::Unwrap), Decision::DeniedByRbac);
    let role = BuiltInRole::by_name("Key Vault Crypto Service Encryption User").unwrap();
    let assigned = control.ensure_assignment(identity, role, &vault).unwrap();
    assert_eq!(
        control.ensure_assignment(identity, role, &vault).unwrap(),
        assigned
    );
    assert_eq!(ask(&caller, "KV1", KeyAction::Unwrap), Decision::Allowed);
    assert_eq!(ask(&caller, "kv1", KeyAction::Update), Decision::DeniedByRbac);
    assert_eq!(ask(&caller, "kv2", KeyAction::Unwrap), Decision::DeniedByRbac);
    assert!(control.is_trusted_service(&caller));
    assert!(
        !control.is_trusted_service(&Caller {
            object_id: control
                .ensure_administrator(None)
                .unwrap()
                .0
                .object_id
                .to_string(),
            ..caller.clone()
        })
    );
    let stranger = Caller {
        tenant: "other".to_owned(),
        ..caller
    };
    assert_eq!(ask(&stranger, "kv1", KeyAction::Unwrap), Decision::DeniedByRbac);
    assert!(!control.is_trusted_service(&stranger));
}

#[test]
fn data_actions_become_rights_in_the_service() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    let account = account(&control);
    let (administrator, _) = control.ensure_administrator(None).unwrap();
    let who = administrator.object_id.to_string();
    assert!(control.openai_rights(&who, &account).is_none());
    let scope = account.resource_id().parse().unwrap();
    let user = BuiltInRole::by_name("Cognitive Services OpenAI User").unwrap();
    control
        .ensure_assignment(administrator.object_id, user, &scope)
        .unwrap();
    let rights = control.openai_rights(&who, &account);
    assert!(rights.models.read && rights.chat && rights.embeddings);
    assert!(rights.files.read && !rights.files.write && !rights.files.delete);
    assert!(rights.responses.read && rights.responses.write && rights.responses.delete);
    assert!(!control.may(
        &who,
        &scope,
        ActionKind::Data,
        "Strongroom/accounts/export/action"
    ));
}

#[test]
fn names_with_tricks_are_refused() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    for name in ["", "a", "../x", "a/b", "-x", &"a".repeat(65), "n\u{e4}me"] {
        assert!(
            matches!(
                control.ensure_vault(name, "rg"),
                Err(ControlError::BadName { .. })
            ),
            "{name}"
        );
    }
}

#[test]
fn a_missing_short_or_open_secret_is_never_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    let secret = folder.path().join("control/secret");
    let kept = std::fs::read(&secret).unwrap();
    let refused = || {
        let vaults = vaults(folder.path());
        let opened = Control::open(&folder.path().join("control"), vaults, Arc::new(StillClock));
        assert!(matches!(opened.err(), Some(ControlError::Key { .. })));
    };
    std::fs::write(&secret, b"short").unwrap();
    refused();
    std::fs::write(&secret, &kept).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused();
    std::fs::remove_file(&secret).unwrap();
    refused();
}

#[test]
fn an_anchor_never_goes_back() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    let id = account(&control).id;
    let anchor = |version| Anchor {
        version: BranchVersion::new(version),
        check: CheckValue::from_bytes([1; 32]),
    };
    control.pin_anchor(id, None, anchor(2)).unwrap();
    assert!(matches!(
        control.pin_anchor(id, Some(anchor(2)), anchor(1)),
        Err(AnchorFault::Moved)
    ));
}

#[test]
fn what_is_granted_at_the_first_start_is_not_granted_again() {
    let folder = TempDir::new().unwrap();
    let mut grants = 0;
    for _ in 0..2 {
        let control = open(folder.path());
        control
            .grant_once(|| {
                grants += 1;
                Ok::<_, ControlError>(())
            })
            .unwrap();
    }
    assert_eq!(grants, 1);
}

#[test]
fn secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    open(folder.path());
    for (name, mode) in [("", 0o700), ("secret", 0o600), ("token-keys", 0o700)] {
        let path = folder.path().join("control").join(name);
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            mode,
            "{name}"
        );
    }
    for key in std::fs::read_dir(folder.path().join("control/token-keys")).unwrap() {
        assert_eq!(
            key.unwrap().metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
