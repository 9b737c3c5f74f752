//! The keys that sign tokens: rollover, by command and by time, whole or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use strongroom_azure::token::TokenError;
use strongroom_control::{Control, ControlError, TokenKeyState};
use strongroom_seal::Clock;

use crate::rig::{Rig, client};

const DAY: u64 = 86_400;

impl Rig {
    async fn token(&self) -> String {
        let answer = self
            .ask_as(&client(&self.administrator), &[("client_secret", &self.secret)])
            .await;
        answer.token().to_owned()
    }

    async fn published(&self) -> BTreeSet<String> {
        let body = self
            .get(&format!("/{}/discovery/v2.0/keys", self.control.tenant()))
            .await
            .body;
        let keys = body["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("control/token-keys"))
            .unwrap()
            .count()
    }
}

#[tokio::test]
async fn a_rotation_changes_the_key_that_signs_and_breaks_no_token() {
    let mut rig = Rig::new();
    // Made once, as the planes do: a rotation reaches it without a restart.
    let verifier = rig.issuer.verifier([]);
    let (old, before) = (rig.token().await, rig.published().await);
    let keys = rig.actor().rotate_token_keys().unwrap();
    let new = rig.token().await;
    let kid = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_ne!(kid(&old), kid(&new));
    for token in [&old, &new] {
        let now = rig.clock.seconds();
        assert!(
            verifier
                .verify(token, &["https://vault.azure.net"], now)
                .await
                .is_ok()
        );
    }
    // The key that signs now was published before it did.
    let active = keys
        .iter()
        .find(|key| key.state == TokenKeyState::Active)
        .unwrap();
    assert!(before.contains(active.id()));
    assert_eq!((rig.published().await.len(), rig.files()), (3, 2));
    rig.restart();
    assert_eq!(rig.actor().token_keys().unwrap(), keys);
    assert!(rig.verify(&old).await.is_ok());
}

#[tokio::test]
async fn a_retired_key_is_kept_until_its_last_token_is_over() {
    let rig = Rig::new();
    let old = rig.token().await;
    rig.actor().rotate_token_keys().unwrap();
    rig.clock.advance(3659);
    rig.control.tend_token_keys().unwrap();
    assert!(rig.verify(&old).await.is_ok());
    rig.clock.advance(241);
    assert_eq!(rig.verify(&old).await, Err(TokenError::UnknownKey));
    assert_eq!(rig.published().await.len(), 2);
    rig.control.tend_token_keys().unwrap();
    assert_eq!(rig.actor().token_keys().unwrap().len(), 2);
}

#[tokio::test]
async fn keys_rotate_by_themselves_when_their_time_is_over() {
    let rig = Rig::new();
    let before = rig.actor().token_keys().unwrap();
    rig.clock.advance(30 * DAY - 1);
    rig.control.tend_token_keys().unwrap();
    assert_eq!(rig.actor().token_keys().unwrap(), before);
    rig.clock.advance(1);
    rig.control.tend_token_keys().unwrap();
    let after = rig.actor().token_keys().unwrap();
    assert_eq!(after.len(), 3);
    assert_eq!(
        (after[1].id(), after[1].state),
        (before[1].id(), TokenKeyState::Active)
    );
    rig.control.tend_token_keys().unwrap();
    assert_eq!(rig.actor().token_keys().unwrap(), after);
}

#[tokio::test]
async fn too_many_rotations_are_refused_until_retired_keys_are_over() {
    let rig = Rig::new();
    let mut count = 0;
    while rig.actor().rotate_token_keys().is_ok() {
        count += 1;
    }
    assert_eq!(count, 14);
    assert!(rig.verify(&rig.token().await).await.is_ok());
    rig.clock.advance(3901);
    assert!(rig.actor().rotate_token_keys().is_ok());
}

#[tokio::test]
async fn what_a_crash_left_is_swept_away_and_no_key_is_lost() {
    let mut rig = Rig::new();
    let old = rig.token().await;
    // The process died after the new key's file was there and before the list named it.
    let folder = rig.folder.path().join("control/token-keys");
    std::fs::write(folder.join("half.new"), b"half").unwrap();
    std::fs::write(folder.join("unnamed.key"), b"whole").unwrap();
    rig.restart();
    assert_eq!(rig.files(), 2);
    assert!(rig.verify(&old).await.is_ok());
    assert!(rig.verify(&rig.token().await).await.is_ok());
}

#[tokio::test]
async fn a_first_start_that_died_before_its_token_key_was_made_makes_it_at_the_next() {
    let mut rig = Rig::new();
    let control = rig.folder.path().join("control");
    for key in std::fs::read_dir(control.join("token-keys")).unwrap() {
        std::fs::remove_file(key.unwrap().path()).unwrap();
    }
    rusqlite::Connection::open(control.join("control.db"))
        .unwrap()
        .execute("UPDATE document SET json = '[]' WHERE kind = 'token-keys'", [])
        .unwrap();
    rig.restart();
    assert!(rig.control.token_keys_ready().is_ok());
    assert!(rig.verify(&rig.token().await).await.is_ok());
}

#[tokio::test]
async fn a_missing_token_key_is_an_error_and_not_a_silent_new_one() {
    let rig = Rig::new();
    for key in std::fs::read_dir(rig.folder.path().join("control/token-keys")).unwrap() {
        std::fs::remove_file(key.unwrap().path()).unwrap();
    }
    let opened = Control::open(
        &rig.folder.path().join("control"),
        rig.vaults.clone(),
        Arc::clone(&rig.clock) as Arc<dyn Clock>,
    );
    assert!(matches!(opened.err(), Some(ControlError::Key { .. })));
}

#[tokio::test]
async fn the_one_key_of_an_earlier_version_goes_on_signing() {
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig::new();
    let old = rig.token().await;
    let control = rig.folder.path().join("control");
    let active = rig.actor().token_keys().unwrap()[0].id().to_owned();
    let before = control.join("signing-key");
    std::fs::rename(control.join(format!("token-keys/{active}.key")), &before).unwrap();
    std::fs::set_permissions(&before, std::fs::Permissions::from_mode(0o600)).unwrap();
    rusqlite::Connection::open(control.join("control.db"))
        .unwrap()
        .execute("DELETE FROM document WHERE kind = 'token-keys'", [])
        .unwrap();
    rig.restart();
    assert!(rig.verify(&old).await.is_ok());
    assert_eq!(rig.actor().token_keys().unwrap()[0].id(), active);
    assert!(!before.exists());
}

#[test]
fn only_the_administrator_rotates_token_keys() {
    let rig = Rig::new();
    let (application, _) = rig.application(None);
    let stranger = rig.control.actor(application.object_id);
    assert!(matches!(
        stranger.rotate_token_keys(),
        Err(ControlError::DirectoryDenied)
    ));
    assert!(matches!(
        stranger.token_keys(),
        Err(ControlError::DirectoryDenied)
    ));
    let host = strongroom_control::IdentityHost::default();
    assert!(matches!(
        stranger.admit_host(&rig.issuer, host),
        Err(ControlError::DirectoryDenied)
    ));
}
