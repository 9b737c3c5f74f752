//! A machine that stops at any step: what was acknowledged is whole, anything else is whole or absent.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_seal::AccountId;
use uuid::Uuid;

use super::rig::{Machine, Rig, noise};
use crate::{Action, Change, Expiry, StoreError, faults::Faults};

/// What may be found of an object afterwards: one of these revisions, or nothing (0).
type Possible = BTreeMap<&'static str, BTreeSet<u64>>;

/// Writes, changes and deletes until the machine stops; says what may be found then.
async fn work(rig: &Rig) -> Possible {
    let mut possible = Possible::new();
    let mut step = |id, answer: Result<u64, StoreError>, intended: u64, before: u64| {
        let outcome = match answer {
            Ok(found) => BTreeSet::from([found]),
            Err(_) => BTreeSet::from([before, intended]),
        };
        let went_well = outcome.len() == 1;
        possible.insert(id, outcome);
        went_well
    };
    let put = async |id, length| rig.put_blob(id, &noise(length)).await.map(|meta| meta.revision);
    let all = async {
        let _ = step("large", put("large", 1_200_000).await, 1, 0)
            && step("small", put("small", 900).await, 1, 0)
            && step("changed", put("changed", 70_000).await, 1, 0)
            && step("changed", change(rig, "changed").await, 2, 1)
            && step("large", rig.delete("large").await.map(|()| 0), 0, 1)
            && step("last", put("last", 66_000).await, 1, 0);
    };
    all.await;
    possible
}

async fn change(rig: &Rig, id: &str) -> Result<u64, StoreError> {
    let change = Change {
        body: b"body",
        expires: Expiry::Keep,
    };
    let changed = rig
        .store
        .update(&rig.permit(Action::Write), "file", id, Some(1), change)
        .await;
    changed.map(|meta| meta.revision)
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_at_any_step_leaves_whole_objects_or_none() {
    for steps in 0.. {
        let (machine, account) = (Machine::new(), AccountId::from_uuid(Uuid::new_v4()));
        let faults = Faults::after(steps);
        let dying = Rig::in_memory(&machine, account, faults.clone()).await;
        let possible = work(&dying).await;
        let survived = !faults.stopped();
        drop(dying);
        let rig = Rig::in_memory(&machine, account, Faults::default()).await;
        let mut files = 0;
        for (id, revisions) in possible {
            let found = match rig.get(id).await {
                Ok(object) => {
                    let length = usize::try_from(object.meta.size_of(0).unwrap()).unwrap();
                    assert_eq!(
                        rig.read_blob(id, None).await.unwrap(),
                        noise(length),
                        "{id} after {steps} steps"
                    );
                    files += usize::from(length > 65_536);
                    object.meta.revision
                }
                Err(StoreError::NotFound) => 0,
                Err(error) => panic!("{id} after {steps} steps: {error}"),
            };
            assert!(
                revisions.contains(&found),
                "{id} after {steps} steps: {found} is none of {revisions:?}"
            );
        }
        assert_eq!(machine.blobs.names().len(), files, "orphans after {steps} steps");
        if survived {
            return;
        }
    }
}
