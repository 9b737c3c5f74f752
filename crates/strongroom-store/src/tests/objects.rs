//! Records.

use std::time::Duration;

use strongroom_seal::NoAnswer;

use super::rig::Rig;
use crate::{
    Action, Change, Corruption, Expiry, KeyDenied, NewObject, OpenStoreError, Order, Page, Store, StoreError,
};

async fn rig() -> (tempfile::TempDir, Rig) {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    (folder, rig)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_got() {
    let (_folder, rig) = rig().await;
    let meta = rig.put("a", b"{\"name\":\"secret\"}").await.unwrap();
    let object = rig.get("a").await.unwrap();
    assert_eq!(object.meta, meta);
    assert_eq!(object.body.as_slice(), b"{\"name\":\"secret\"}");
    assert_eq!((meta.revision, meta.created()), (1, 1000));
    assert!(matches!(rig.put("a", b"x").await, Err(StoreError::AlreadyExists)));
    assert!(matches!(rig.get("b").await, Err(StoreError::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_there_after_opening_again() {
    let (folder, rig) = rig().await;
    rig.put("a", b"body").await.unwrap();
    rig.store.close().await;
    assert!(matches!(
        rig.put("b", b"x").await,
        Err(StoreError::Closed | StoreError::Key(KeyDenied::Closed))
    ));
    let account = rig.account;
    drop(rig);
    let rig = Rig::on_disk_as(folder.path(), account).await;
    assert_eq!(rig.get("a").await.unwrap().body.as_slice(), b"body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_of_the_folder_is_refused() {
    let (folder, rig) = rig().await;
    let config = crate::StoreConfig::new(folder.path());
    let refused = Store::open(config, rig.vault.clone(), rig.clock.clone()).await;
    assert!(matches!(refused, Err(OpenStoreError::InUse { .. })));
    rig.put("a", b"body").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_allows_its_action_and_its_account_alone() {
    let (_folder, rig) = rig().await;
    rig.put("a", b"body").await.unwrap();
    let read = rig.permit(Action::Read);
    assert!(matches!(
        rig.store.put(&read, NewObject::new("file", "b", b"x")).await,
        Err(StoreError::NotPermitted)
    ));
    assert!(matches!(
        rig.store.delete(&read, "file", "a").await,
        Err(StoreError::NotPermitted)
    ));
    assert!(matches!(
        rig.store.export(&read, "file", "a", 0).await,
        Err(StoreError::NotPermitted)
    ));
    assert!(matches!(
        rig.store.rekey(&read).await,
        Err(StoreError::NotPermitted)
    ));
    assert!(matches!(
        rig.store.jobs(&read).await,
        Err(StoreError::NotPermitted)
    ));
    assert!(matches!(
        rig.store.still_needed(&read).await,
        Err(StoreError::NotPermitted)
    ));
    assert!(matches!(
        rig.store.statistics(&read).await,
        Err(StoreError::NotPermitted)
    ));
    let write = rig.permit(Action::Write);
    assert!(matches!(
        rig.store.get(&write, "file", "a").await,
        Err(StoreError::NotPermitted)
    ));
    let neighbour = rig.neighbour(Action::Read);
    assert!(matches!(
        rig.store.get(&neighbour, "file", "a").await,
        Err(StoreError::NotFound)
    ));
    rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
    let neighbour = rig.neighbour(Action::Administer);
    assert!(rig.store.jobs(&neighbour).await.unwrap().is_empty());
    assert!(rig.store.still_needed(&neighbour).await.unwrap().is_empty());
    let statistics = rig.store.statistics(&neighbour).await.unwrap();
    assert!(statistics.sealed.is_empty());
    assert_eq!(rig.statistics().await.unwrap().sealed[0].objects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_the_revision_it_was_made_for() {
    let (_folder, rig) = rig().await;
    rig.put("a", b"one").await.unwrap();
    let write = rig.permit(Action::Write);
    let change = |body| Change {
        body,
        expires: Expiry::Keep,
    };
    let meta = rig
        .store
        .update(&write, "file", "a", Some(1), change(b"two"))
        .await
        .unwrap();
    assert_eq!(meta.revision, 2);
    let stale = rig
        .store
        .update(&write, "file", "a", Some(1), change(b"three"))
        .await;
    assert!(matches!(stale, Err(StoreError::RevisionConflict { current: 2 })));
    rig.store
        .update(&write, "file", "a", None, change(b"four"))
        .await
        .unwrap();
    assert_eq!(rig.get("a").await.unwrap().body.as_slice(), b"four");
    assert!(matches!(
        rig.store.update(&write, "file", "b", None, change(b"x")).await,
        Err(StoreError::NotFound)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_all_count_once() {
    let (_folder, rig) = rig().await;
    rig.put("a", b"zero").await.unwrap();
    let write = rig.permit(Action::Write);
    let change = || {
        rig.store.update(
            &write,
            "file",
            "a",
            None,
            Change {
                body: b"x",
                expires: Expiry::Keep,
            },
        )
    };
    for answer in futures::future::join_all((0..5).map(|_| change())).await {
        answer.unwrap();
    }
    assert_eq!(rig.get("a").await.unwrap().meta.revision, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_both_ways_and_say_whether_more_follow() {
    let (_folder, rig) = rig().await;
    for id in ["c", "a", "b"] {
        rig.put(id, id.as_bytes()).await.unwrap();
    }
    let list = async |after: Option<&str>, limit, order| {
        let page = Page {
            after: after.map(str::to_owned),
            limit,
            order,
        };
        let listing = rig.store.list(&rig.permit(Action::Read), "file", page).await?;
        let ids: Vec<_> = listing.objects.into_iter().map(|object| object.meta.id).collect();
        Ok::<_, StoreError>((ids.concat(), listing.has_more))
    };
    assert_eq!(list(None, 2, Order::Asc).await.unwrap(), ("ca".to_owned(), true));
    assert_eq!(
        list(Some("a"), 2, Order::Asc).await.unwrap(),
        ("b".to_owned(), false)
    );
    assert_eq!(
        list(None, 3, Order::Desc).await.unwrap(),
        ("bac".to_owned(), false)
    );
    assert!(matches!(
        list(Some("?"), 3, Order::Desc).await,
        Err(StoreError::NotFound)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_nothing_is_read_or_written_but_deleting_works() {
    let (_folder, rig) = rig().await;
    rig.put("a", b"body").await.unwrap();
    rig.vault.says(Some(NoAnswer::Refused));
    rig.store.nudge(rig.account);
    let mut state = rig.store.key_state(rig.account);
    let denied =
        |status: &crate::KeyStatus| matches!(status.state, crate::KeyState::Denied(KeyDenied::Refused));
    state.wait_for(denied).await.unwrap();
    assert!(matches!(
        rig.get("a").await,
        Err(StoreError::Key(KeyDenied::Refused))
    ));
    assert!(matches!(
        rig.put("b", b"x").await,
        Err(StoreError::Key(KeyDenied::Refused))
    ));
    rig.delete("a").await.unwrap();
    rig.vault.says(None);
    rig.store.nudge(rig.account);
    rig.store
        .key_state(rig.account)
        .wait_for(|status| !denied(status))
        .await
        .unwrap();
    assert!(matches!(rig.get("a").await, Err(StoreError::NotFound)));
    rig.put("b", b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_tampered_with_does_not_open() {
    let (folder, rig) = rig().await;
    for id in ["a", "b", "c", "d"] {
        rig.put(id, b"body").await.unwrap();
    }
    rig.store.close().await;
    let account = rig.account;
    drop(rig);
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    for change in [
        "UPDATE record SET created = created + 1 WHERE id = 'a'",
        "UPDATE record SET body = (SELECT body FROM record WHERE id = 'c') WHERE id = 'b'",
        "UPDATE record SET slot = (SELECT slot FROM record WHERE id = 'd') WHERE id = 'c'",
        "UPDATE record SET expires = 99000000000 WHERE id = 'd'",
    ] {
        assert_eq!(database.execute(change, []).unwrap(), 1);
    }
    drop(database);
    let rig = Rig::on_disk_as(folder.path(), account).await;
    for (id, corruption) in [
        ("a", Corruption::Columns),
        ("b", Corruption::Sealed),
        ("c", Corruption::Key),
        ("d", Corruption::Columns),
    ] {
        let answer = rig.get(id).await;
        assert!(
            matches!(answer, Err(StoreError::Corrupt(found)) if found == corruption),
            "{id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_a_key_is_neither_reused_nor_freed_unless_it_is_what_it_must_be() {
    let (folder, rig) = rig().await;
    for id in ["a", "b", "c"] {
        rig.put(id, id.as_bytes()).await.unwrap();
    }
    rig.delete("a").await.unwrap();
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    let slot_of = "(SELECT slot FROM record WHERE id = 'b')";
    // The place that was freed holds a key again, which the store does not know of.
    for change in [
        format!(
            "UPDATE key_slot SET account = k.account, owner = k.owner, branch = k.branch, wrapped = k.wrapped
                 FROM key_slot AS k WHERE key_slot.account = zeroblob(16) AND k.slot = {slot_of}"
        ),
        format!("UPDATE record SET slot = {slot_of} WHERE id = 'c'"),
    ] {
        assert_eq!(database.execute(&change, []).unwrap(), 1);
    }
    let place = |answer| matches!(answer, Err(StoreError::Corrupt(Corruption::Place)));
    assert!(place(rig.put("d", b"body").await.map(drop)));
    let change = Change {
        body: b"body",
        expires: Expiry::Keep,
    };
    assert!(place(rig.delete("c").await));
    assert_eq!(rig.get("b").await.unwrap().body.as_slice(), b"b");
    let permit = rig.permit(Action::Write);
    let changed = rig.store.update(&permit, "file", "b", None, change).await;
    assert_eq!(changed.unwrap().revision, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_bodies_that_cannot_be_are_refused() {
    let (_folder, rig) = rig().await;
    assert!(matches!(rig.put("../a b", b"x").await, Err(StoreError::BadName)));
    assert!(matches!(rig.put("", b"x").await, Err(StoreError::BadName)));
    assert!(matches!(rig.get("../a b").await, Err(StoreError::NotFound)));
    let huge = vec![0; crate::limits::RECORD_BODY + 1];
    assert!(matches!(
        rig.put("a", &huge).await,
        Err(StoreError::TooLarge { .. })
    ));
    let staged = rig.stage("a", 0, b"x").await.unwrap();
    let elsewhere = NewObject {
        blobs: vec![staged],
        ..NewObject::new("file", "b", b"x")
    };
    assert!(matches!(
        rig.store.put(&rig.permit(Action::Write), elsewhere).await,
        Err(StoreError::BadName)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_gone_the_moment_it_expires() {
    let (_folder, rig) = rig().await;
    let expires = Some(Duration::from_secs(5));
    let new = NewObject {
        expires,
        ..NewObject::new("file", "a", b"x")
    };
    rig.store.put(&rig.permit(Action::Write), new).await.unwrap();
    rig.get("a").await.unwrap();
    rig.clock.turn(Duration::from_secs(5));
    assert!(matches!(rig.get("a").await, Err(StoreError::NotFound)));
}
