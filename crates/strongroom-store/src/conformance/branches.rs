//! Branch versions, and the keys that are wrapped under them.

use strongroom_seal::{BranchVersion, WrappedKey};

use super::fixture::{KIND, Tenant, stored_branch};
use crate::records::{Change, HeldKey, Records, Rejected, Rewrap};

pub(super) async fn all(records: &dyn Records) {
    a_commit_under_a_retiring_branch_is_given_back(records).await;
    keys_are_exchanged_only_if_they_are_as_expected(records).await;
    a_branch_is_appended_to_the_one_expected(records).await;
    a_branch_in_use_is_not_dropped(records).await;
    the_branches_of_an_account_are_forgotten_once_nothing_is_under_them(records).await;
    a_seed_is_replaced_only_if_it_is_as_expected(records).await;
}

async fn a_commit_under_a_retiring_branch_is_given_back(records: &dyn Records) {
    let mut tenant = Tenant::settle(records).await;
    let late = tenant.insertion(tenant.record("late"));
    let current = tenant.grow(records).await;
    let returned = records.commit(late).await.err().unwrap();
    assert_eq!(
        returned.reason,
        Rejected::Retiring {
            current: Some(current)
        }
    );
    let mut again = returned.transaction.unwrap();
    again.name_branch(current);
    records
        .commit(again)
        .await
        .map_err(|returned| returned.reason)
        .unwrap();
}

fn id_of(held: &HeldKey) -> &str {
    held.record.as_ref().map(|(_, id)| id.as_str()).unwrap()
}

async fn keys_are_exchanged_only_if_they_are_as_expected(records: &dyn Records) {
    let mut tenant = Tenant::settle(records).await;
    let old = tenant.current();
    for id in ["a", "b"] {
        tenant.insert(records, tenant.record(id)).await.unwrap();
    }
    let new_version = tenant.grow(records).await;
    let held = records.keys_under(tenant.id, old, 0, 10).await.unwrap();
    assert_eq!(held.iter().map(id_of).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        records
            .keys_under(tenant.id, old, held[0].slot, 10)
            .await
            .unwrap(),
        held[1..]
    );
    let rewrap = |held: &HeldKey, expected| Rewrap {
        slot: held.slot,
        kind: KIND.to_owned(),
        bytes: held.bytes,
        is_record: true,
        expected,
        new: tenant.key(id_of(held)),
    };
    let as_found = WrappedKey::parse(&held[0].wrapped).unwrap();
    let another = tenant.key_under(&tenant.branches[0], "b");
    let changes = vec![rewrap(&held[0], as_found), rewrap(&held[1], another)];
    let receipt = records
        .commit(tenant.transaction().change(Change::Rewrap(changes)))
        .await;
    assert_eq!(receipt.map_err(|returned| returned.reason).unwrap().count, 1);
    assert_eq!(
        records.keys_under(tenant.id, old, 0, 10).await.unwrap(),
        held[1..]
    );
    assert_eq!(
        records
            .keys_under(tenant.id, new_version, 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn a_branch_is_appended_to_the_one_expected(records: &dyn Records) {
    let mut tenant = Tenant::settle(records).await;
    let append = |expected, version| {
        let branch = Box::new(stored_branch(BranchVersion::new(version)));
        tenant
            .transaction()
            .change(Change::AppendBranch { expected, branch })
    };
    for wrong in [
        append(None, 2),
        append(Some(BranchVersion::new(2)), 3),
        append(Some(BranchVersion::FIRST), 1),
    ] {
        assert_eq!(
            records.commit(wrong).await.err().unwrap().reason,
            Rejected::Conflict
        );
    }
    tenant.grow(records).await;
    let stored = records.branches(tenant.id).await.unwrap();
    assert_eq!(
        stored,
        [
            stored_branch(BranchVersion::new(1)),
            stored_branch(BranchVersion::new(2))
        ]
    );
}

async fn a_branch_in_use_is_not_dropped(records: &dyn Records) {
    let mut tenant = Tenant::settle(records).await;
    let old = tenant.current();
    tenant.insert(records, tenant.record("a")).await.unwrap();
    let new = tenant.grow(records).await;
    let drop_branch = |version| tenant.transaction().change(Change::DropBranch(version));
    assert!(records.is_in_use(tenant.id, old).await.unwrap());
    assert!(!records.is_in_use(tenant.id, new).await.unwrap());
    assert_eq!(
        records.commit(drop_branch(old)).await.err().unwrap().reason,
        Rejected::InUse
    );
    assert_eq!(
        records.commit(drop_branch(new)).await.err().unwrap().reason,
        Rejected::InUse
    );
    tenant.delete(records, "a").await.unwrap();
    records
        .commit(drop_branch(old))
        .await
        .map_err(|returned| returned.reason)
        .unwrap();
    assert_eq!(records.branches(tenant.id).await.unwrap(), [stored_branch(new)]);
}

async fn the_branches_of_an_account_are_forgotten_once_nothing_is_under_them(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    let other = Tenant::settle(records).await;
    tenant.insert(records, tenant.record("a")).await.unwrap();
    let forget = tenant.transaction().change(Change::ForgetBranches);
    let refused = records.commit(forget).await.err().unwrap();
    assert_eq!(refused.reason, Rejected::InUse);
    tenant.delete(records, "a").await.unwrap();
    records
        .commit(tenant.transaction().change(Change::ForgetBranches))
        .await
        .map_err(|returned| returned.reason)
        .unwrap();
    assert!(records.branches(tenant.id).await.unwrap().is_empty());
    assert_eq!(records.branches(other.id).await.unwrap().len(), 1);
}

async fn a_seed_is_replaced_only_if_it_is_as_expected(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    let replace = |expected: u8, seed: u8| {
        tenant.transaction().change(Change::ReplaceSeed {
            version: BranchVersion::FIRST,
            expected: vec![expected; 256],
            key: "https://vault.example/keys/name/next".to_owned(),
            algorithm: "RSA-OAEP",
            seed: vec![seed; 256],
        })
    };
    assert_eq!(
        records.commit(replace(1, 2)).await.err().unwrap().reason,
        Rejected::Conflict
    );
    records
        .commit(replace(9, 2))
        .await
        .map_err(|returned| returned.reason)
        .unwrap();
    let stored = &records.branches(tenant.id).await.unwrap()[0];
    assert_eq!(
        (stored.seed.as_slice(), stored.algorithm.as_str()),
        (vec![2; 256].as_slice(), "RSA-OAEP")
    );
    assert_eq!(
        (stored.key.as_str(), stored.check),
        ("https://vault.example/keys/name/next", [7; 32])
    );
}
