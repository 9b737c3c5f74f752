//! Records, keys, branch versions.

use futures::future::join_all;
use strongroom_seal::BranchVersion;

use super::fixture::{ClosesAfter, Fixture, KIND, NOW, Tenant};
use crate::{
    blobs::BlobName,
    error::Corruption,
    keyring::KeyDenied,
    object::{Order, PartSize},
    records::{
        Change, Check, NewRecord, PageQuery, PartBytes, Records, Rejected, Replacement, StoredBytes, UsageRow,
    },
    sealing::Sealed,
};

pub(super) async fn all(records: &dyn Records, fixture: &Fixture) {
    what_is_inserted_is_read_back(records, fixture).await;
    a_name_is_taken_once(records).await;
    one_unit_that_fails_does_not_fail_the_others(records).await;
    a_replacement_needs_the_revision_it_was_made_for(records).await;
    a_replacement_adds_parts_and_drops_others(records, fixture).await;
    a_deletion_leaves_nothing_but_its_note(records).await;
    pages_follow_the_order_of_insertion(records).await;
    a_gate_that_closes_undoes_its_unit_alone(records).await;
    only_what_expired_is_deleted_as_expired(records).await;
    usage_is_counted_by_kind_and_branch(records).await;
    exports_are_counted(records).await;
    files_of_deleted_objects_are_unwanted_until_they_are_forgotten(records, fixture).await;
    blobs_that_no_record_refers_to_are_found(records, fixture).await;
}

pub(super) async fn closed(records: &dyn Records) {
    let tenant = Tenant {
        id: strongroom_seal::AccountId::from_uuid(uuid::Uuid::nil()),
        branches: Vec::new(),
    };
    // Memory stays; what matters is that nothing hangs.
    drop(records.commit(tenant.transaction()).await);
}

async fn what_is_inserted_is_read_back(records: &dyn Records, fixture: &Fixture) {
    let tenant = Tenant::settle(records).await;
    let name = BlobName::random();
    let inline = PartBytes::Inline(Sealed::pretend(b"sealed".to_vec()));
    let parts = vec![
        tenant.part("a", 0, inline),
        tenant.part("a", 3, fixture.file(name)),
    ];
    let new = NewRecord {
        expires_ms: Some(NOW + 5),
        parts,
        ..tenant.record("a")
    };
    let (key, part_key) = (new.key.clone(), new.parts[1].key.clone());
    tenant.insert(records, new).await.unwrap();
    let stored = records.record(tenant.name("a")).await.unwrap().unwrap();
    assert_eq!(
        (stored.created_ms, stored.expires_ms, stored.revision),
        (NOW, Some(NOW + 5), 1)
    );
    assert_eq!(
        (stored.wrapped, stored.body),
        (key.as_bytes().to_vec(), b"body of a".to_vec())
    );
    assert_eq!(
        stored.parts,
        [PartSize { part: 0, size: 7 }, PartSize { part: 3, size: 7 }]
    );
    let first = records.part(tenant.name("a"), 0).await.unwrap().unwrap();
    assert_eq!(first.bytes, StoredBytes::Inline(b"sealed".to_vec()));
    let second = records.part(tenant.name("a"), 3).await.unwrap().unwrap();
    assert_eq!(
        (second.bytes, second.wrapped),
        (StoredBytes::File(name), part_key.as_bytes().to_vec())
    );
    assert!(records.part(tenant.name("a"), 1).await.unwrap().is_none());
    assert!(records.record(tenant.name("b")).await.unwrap().is_none());
}

async fn a_name_is_taken_once(records: &dyn Records) {
    let (one, other) = (Tenant::settle(records).await, Tenant::settle(records).await);
    one.insert(records, one.record("a")).await.unwrap();
    let again = NewRecord {
        body: Sealed::pretend(b"other".to_vec()),
        ..one.record("a")
    };
    assert_eq!(one.insert(records, again).await, Err(Rejected::AlreadyExists));
    other.insert(records, other.record("a")).await.unwrap();
    assert_eq!(
        records.record(one.name("a")).await.unwrap().unwrap().body,
        b"body of a"
    );
}

async fn one_unit_that_fails_does_not_fail_the_others(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    let ids: Vec<_> = (0..60).map(|n| format!("id-{}", n / 2)).collect();
    let answers = join_all(ids.iter().map(|id| tenant.insert(records, tenant.record(id)))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 30);
    for id in &ids {
        assert!(records.record(tenant.name(id)).await.unwrap().is_some());
    }
    assert_eq!(records.key_count(tenant.id).await.unwrap(), 30);
}

fn replacement(tenant: &Tenant, id: &str, expected_revision: u64, body: &[u8]) -> Change {
    Change::Replace(Box::new(Replacement {
        kind: KIND.to_owned(),
        id: id.to_owned(),
        expected_revision,
        expires_ms: Some(NOW + 9),
        key: tenant.key(id),
        body: Sealed::pretend(body.to_vec()),
        dropped: Vec::new(),
        added: Vec::new(),
    }))
}

async fn a_replacement_needs_the_revision_it_was_made_for(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    tenant.insert(records, tenant.record("a")).await.unwrap();
    let send = async |change| {
        let answer = records.commit(tenant.transaction().change(change)).await;
        answer.map(drop).map_err(|returned| returned.reason)
    };
    let stale = send(replacement(&tenant, "a", 2, b"no")).await;
    assert_eq!(stale, Err(Rejected::Revision { current: 1 }));
    assert_eq!(
        send(replacement(&tenant, "b", 1, b"no")).await,
        Err(Rejected::NotFound)
    );
    send(replacement(&tenant, "a", 1, b"a longer body than the one before"))
        .await
        .unwrap();
    let stored = records.record(tenant.name("a")).await.unwrap().unwrap();
    assert_eq!((stored.revision, stored.expires_ms), (2, Some(NOW + 9)));
    assert_eq!(stored.body, b"a longer body than the one before");
    assert_eq!(records.key_count(tenant.id).await.unwrap(), 1);
}

async fn a_replacement_adds_parts_and_drops_others(records: &dyn Records, fixture: &Fixture) {
    let tenant = Tenant::settle(records).await;
    let inline = || PartBytes::Inline(Sealed::pretend(b"sealed".to_vec()));
    let file = BlobName::random();
    let new = NewRecord {
        parts: vec![
            tenant.part("a", 4, inline()),
            tenant.part("a", 6, fixture.file(file)),
        ],
        ..tenant.record("a")
    };
    tenant.insert(records, new).await.unwrap();
    let send = async |expected_revision, dropped: &[u32], added: &[u32]| {
        let change = Change::Replace(Box::new(Replacement {
            kind: KIND.to_owned(),
            id: "a".to_owned(),
            expected_revision,
            expires_ms: None,
            key: tenant.key("a"),
            body: Sealed::pretend(b"body of a".to_vec()),
            dropped: dropped.to_vec(),
            added: added
                .iter()
                .map(|part| tenant.part("a", *part, inline()))
                .collect(),
        }));
        let answer = records.commit(tenant.transaction().change(change)).await;
        answer.map(drop).map_err(|returned| returned.reason)
    };
    let numbers = async || {
        let stored = records.record(tenant.name("a")).await.unwrap().unwrap();
        stored.parts.iter().map(|size| size.part).collect::<Vec<_>>()
    };
    send(1, &[], &[9, 1]).await.unwrap();
    assert_eq!(numbers().await, [1, 4, 6, 9]);
    assert_eq!(send(2, &[], &[6]).await, Err(Rejected::AlreadyExists));
    assert_eq!(send(1, &[4], &[]).await, Err(Rejected::Revision { current: 2 }));
    assert_eq!(
        send(2, &[4, 5], &[7]).await,
        Err(Rejected::Corrupt(Corruption::Place))
    );
    assert_eq!(
        (numbers().await, records.key_count(tenant.id).await.unwrap()),
        (vec![1, 4, 6, 9], 5)
    );
    send(2, &[6, 4], &[5]).await.unwrap();
    assert_eq!(numbers().await, [1, 5, 9]);
    assert_eq!(records.key_count(tenant.id).await.unwrap(), 4);
    assert!(records.part(tenant.name("a"), 6).await.unwrap().is_none());
    assert!(records.part(tenant.name("a"), 5).await.unwrap().is_some());
    assert_eq!(records.unwanted(10).await.unwrap(), [(tenant.id, file)]);
    let usage = records.usage().await.unwrap();
    let mine = usage.iter().find(|row| row.account == tenant.id).unwrap();
    assert_eq!((mine.objects, mine.bytes), (1, 9 + 3 * 63));
    tenant.delete(records, "a").await.unwrap();
    assert_eq!(records.key_count(tenant.id).await.unwrap(), 0);
    let forget = Change::ForgetUnwanted(vec![file]);
    let forgotten = records.commit(tenant.transaction().change(forget)).await;
    assert!(forgotten.is_ok());
}

async fn a_deletion_leaves_nothing_but_its_note(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    let inline = PartBytes::Inline(Sealed::pretend(b"sealed".to_vec()));
    let new = NewRecord {
        parts: vec![tenant.part("a", 0, inline)],
        ..tenant.record("a")
    };
    tenant.insert(records, new).await.unwrap();
    tenant.delete(records, "a").await.unwrap();
    assert!(records.record(tenant.name("a")).await.unwrap().is_none());
    assert!(records.part(tenant.name("a"), 0).await.unwrap().is_none());
    assert_eq!(records.key_count(tenant.id).await.unwrap(), 0);
    assert_eq!(tenant.delete(records, "a").await, Err(Rejected::NotFound));
    let notes = records.shreddings(u32::MAX).await.unwrap();
    let notes: Vec<_> = notes
        .iter()
        .filter(|note| note.name.account == tenant.id)
        .collect();
    assert_eq!(
        notes.iter().map(|note| note.name.id.as_str()).collect::<Vec<_>>(),
        ["a"]
    );
    assert!(records.erase().await.unwrap());
    let forget = Change::ForgetShreddings {
        up_to: notes[0].number,
    };
    records
        .commit(tenant.transaction().change(forget))
        .await
        .map_err(|r| r.reason)
        .unwrap();
    assert!(
        records
            .shreddings(u32::MAX)
            .await
            .unwrap()
            .iter()
            .all(|note| note.name.account != tenant.id)
    );
    tenant.insert(records, tenant.record("a")).await.unwrap();
}

async fn pages_follow_the_order_of_insertion(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    for id in ["z", "m", "a", "q"] {
        let expires_ms = (id == "m").then_some(NOW);
        tenant
            .insert(
                records,
                NewRecord {
                    expires_ms,
                    ..tenant.record(id)
                },
            )
            .await
            .unwrap();
    }
    let page = async |after, limit, order| {
        let query = PageQuery {
            account: tenant.id,
            kind: KIND,
            after,
            limit,
            order,
            now_ms: NOW,
        };
        let found = records.page(query).await.unwrap()?;
        Some(found.into_iter().map(|record| record.id).collect::<Vec<_>>())
    };
    assert_eq!(page(None, 10, Order::Asc).await.unwrap(), ["z", "a", "q"]);
    assert_eq!(page(None, 2, Order::Desc).await.unwrap(), ["q", "a"]);
    assert_eq!(page(Some("z"), 1, Order::Asc).await.unwrap(), ["a"]);
    assert_eq!(page(Some("m"), 9, Order::Desc).await.unwrap(), ["z"]);
    assert_eq!(page(Some("gone"), 9, Order::Desc).await, None);
}

async fn a_gate_that_closes_undoes_its_unit_alone(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    for open_for in 0..2 {
        let id = format!("closed-{open_for}");
        let gated = tenant
            .insertion(tenant.record(&id))
            .gated(ClosesAfter::new(open_for));
        let other = format!("other-{open_for}");
        let (gated, other) = tokio::join!(
            records.commit(gated),
            tenant.insert(records, tenant.record(&other))
        );
        assert_eq!(gated.err().unwrap().reason, Rejected::Key(KeyDenied::Refused));
        other.unwrap();
        assert!(records.record(tenant.name(&id)).await.unwrap().is_none());
    }
    assert_eq!(records.key_count(tenant.id).await.unwrap(), 2);
}

async fn only_what_expired_is_deleted_as_expired(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    for (id, expires_ms) in [("now", Some(NOW)), ("later", Some(NOW + 1)), ("never", None)] {
        tenant
            .insert(
                records,
                NewRecord {
                    expires_ms,
                    ..tenant.record(id)
                },
            )
            .await
            .unwrap();
    }
    let due = records.expired(NOW, u32::MAX).await.unwrap();
    let due: Vec<_> = due.into_iter().filter(|name| name.account == tenant.id).collect();
    assert_eq!(
        due.iter().map(|name| name.id.as_str()).collect::<Vec<_>>(),
        ["now"]
    );
    for (id, deleted) in [("now", 1), ("later", 0), ("never", 0), ("unknown", 0)] {
        let change = Change::Delete {
            kind: KIND.to_owned(),
            id: id.to_owned(),
            expired_by_ms: Some(NOW),
        };
        let receipt = records.commit(tenant.transaction().change(change)).await;
        assert_eq!(
            receipt.map_err(|returned| returned.reason).unwrap().count,
            deleted,
            "{id}"
        );
    }
    assert_eq!(records.key_count(tenant.id).await.unwrap(), 2);
}

async fn usage_is_counted_by_kind_and_branch(records: &dyn Records) {
    let mut tenant = Tenant::settle(records).await;
    let inline = || PartBytes::Inline(Sealed::pretend(vec![0; 63]));
    let with_part = |id| NewRecord {
        parts: vec![tenant.part(id, 0, inline())],
        ..tenant.record(id)
    };
    for new in [with_part("a"), with_part("b"), tenant.record("c")] {
        tenant.insert(records, new).await.unwrap();
    }
    tenant.delete(records, "b").await.unwrap();
    tenant.grow(records).await;
    tenant.insert(records, tenant.record("d")).await.unwrap();
    let usage = records.usage().await.unwrap();
    let usage: Vec<_> = usage.into_iter().filter(|row| row.account == tenant.id).collect();
    let body = "body of a".len() as u64;
    let row = |branch: u32, objects, bytes| UsageRow {
        account: tenant.id,
        kind: KIND.to_owned(),
        branch: BranchVersion::new(branch),
        objects,
        bytes,
    };
    assert_eq!(usage, [row(1, 2, 2 * body + 63), row(2, 1, body)]);
}

async fn exports_are_counted(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    for _ in 0..3 {
        let count = tenant
            .transaction()
            .check(Check::CurrentBranch(tenant.current()))
            .change(Change::CountExport);
        records
            .commit(count)
            .await
            .map_err(|returned| returned.reason)
            .unwrap();
    }
    assert!(records.exports().await.unwrap().contains(&(tenant.id, 3)));
}

async fn files_of_deleted_objects_are_unwanted_until_they_are_forgotten(
    records: &dyn Records,
    fixture: &Fixture,
) {
    let tenant = Tenant::settle(records).await;
    let name = BlobName::random();
    let mut new = tenant.record("a");
    new.parts.push(tenant.part("a", 0, fixture.file(name)));
    tenant.insert(records, new).await.unwrap();
    assert_eq!(records.unwanted(10).await.unwrap(), []);
    tenant.delete(records, "a").await.unwrap();
    assert_eq!(records.unwanted(10).await.unwrap(), [(tenant.id, name)]);
    let forget = Change::ForgetUnwanted(vec![name]);
    records
        .commit(tenant.transaction().change(forget))
        .await
        .map_err(|returned| returned.reason)
        .unwrap();
    assert_eq!(records.unwanted(10).await.unwrap(), []);
}

async fn blobs_that_no_record_refers_to_are_found(records: &dyn Records, fixture: &Fixture) {
    let tenant = Tenant::settle(records).await;
    let (kept, gone, never) = (BlobName::random(), BlobName::random(), BlobName::random());
    for (id, name) in [("kept", kept), ("gone", gone)] {
        let new = NewRecord {
            parts: vec![tenant.part(id, 0, fixture.file(name))],
            ..tenant.record(id)
        };
        tenant.insert(records, new).await.unwrap();
    }
    tenant.delete(records, "gone").await.unwrap();
    assert_eq!(
        records.unreferenced(&[kept, gone, never]).await.unwrap(),
        [gone, never]
    );
}
