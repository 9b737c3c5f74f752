//! Any sequence of operations does to the store what it does to a map.

use std::ops::Range;

use proptest::prelude::*;

use super::rig::{Rig, noise};
use crate::{Action, Change, Expiry, Order, Page, StoreError};

#[derive(Debug, Clone)]
enum Step {
    Put {
        id: u8,
        length: usize,
    },
    Change {
        id: u8,
        body: u8,
    },
    Delete {
        id: u8,
    },
    Read {
        id: u8,
        range: Range<u64>,
    },
    List {
        after: Option<u8>,
        limit: u32,
        newest_first: bool,
    },
    Rekey,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..6u8;
    let length = prop_oneof![
        0..200usize,
        Just(65_536),
        Just(65_537),
        Just(1_048_520),
        1_048_521..1_200_000usize
    ];
    prop_oneof![
        4 => (id(), length).prop_map(|(id, length)| Step::Put { id, length }),
        2 => (id(), any::<u8>()).prop_map(|(id, body)| Step::Change { id, body }),
        2 => id().prop_map(|id| Step::Delete { id }),
        2 => (id(), 0..1_200_000u64, 1..70_000u64)
            .prop_map(|(id, from, length)| Step::Read { id, range: from..from + length }),
        2 => (proptest::option::of(id()), 1..5u32, any::<bool>())
            .prop_map(|(after, limit, newest_first)| Step::List { after, limit, newest_first }),
        1 => Just(Step::Rekey),
        1 => Just(Step::Reopen),
    ]
}

/// An object as it should be, in the order of insertion.
struct Expected {
    id: u8,
    length: usize,
    body: Vec<u8>,
    revision: u64,
}

#[derive(Default)]
struct Model {
    objects: Vec<Expected>,
}

impl Model {
    fn find(&mut self, id: u8) -> Option<&mut Expected> {
        self.objects.iter_mut().find(|object| object.id == id)
    }
}

fn name(id: u8) -> String {
    format!("id-{id}")
}

async fn apply(rig: &Rig, model: &mut Model, step: &Step) {
    match step {
        Step::Put { id, length } => {
            let answer = rig.put_blob(&name(*id), &noise(*length)).await;
            if model.find(*id).is_some() {
                assert!(matches!(answer, Err(StoreError::AlreadyExists)));
            } else {
                answer.unwrap();
                model.objects.push(Expected {
                    id: *id,
                    length: *length,
                    body: b"body".to_vec(),
                    revision: 1,
                });
            }
        }
        Step::Change { id, body } => change(rig, model, *id, *body).await,
        Step::Delete { id } => {
            let answer = rig.delete(&name(*id)).await;
            assert_eq!(answer.is_ok(), model.find(*id).is_some());
            model.objects.retain(|object| object.id != *id);
        }
        Step::Read { id, range } => read(rig, model, *id, range.clone()).await,
        Step::List {
            after,
            limit,
            newest_first,
        } => list(rig, model, *after, *limit, *newest_first).await,
        Step::Rekey => drop(rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap()),
        Step::Reopen => {}
    }
}

async fn change(rig: &Rig, model: &mut Model, id: u8, body: u8) {
    let body = vec![body; usize::from(body)];
    let change = Change {
        body: &body,
        expires: Expiry::Keep,
    };
    let answer = rig
        .store
        .update(&rig.permit(Action::Write), "file", &name(id), None, change)
        .await;
    match model.find(id) {
        Some(expected) => {
            expected.revision += 1;
            expected.body = body;
            assert_eq!(answer.unwrap().revision, expected.revision);
        }
        None => assert!(matches!(answer, Err(StoreError::NotFound))),
    }
}

async fn read(rig: &Rig, model: &mut Model, id: u8, range: Range<u64>) {
    let answer = rig.read_blob(&name(id), Some(range.clone())).await;
    match model.find(id) {
        None => assert!(matches!(answer, Err(StoreError::NotFound))),
        Some(expected) if range.start >= expected.length as u64 => {
            assert!(matches!(answer, Err(StoreError::OutOfRange { .. })));
        }
        Some(expected) => {
            let plain = noise(expected.length);
            let place = |offset: u64| usize::try_from(offset).unwrap().min(plain.len());
            assert_eq!(answer.unwrap(), plain[place(range.start)..place(range.end)]);
        }
    }
}

async fn list(rig: &Rig, model: &mut Model, after: Option<u8>, limit: u32, newest_first: bool) {
    let order = if newest_first { Order::Desc } else { Order::Asc };
    let page = Page {
        after: after.map(name),
        limit,
        order,
    };
    let answer = rig.store.list(&rig.permit(Action::Read), "file", page).await;
    let mut expected: Vec<_> = model
        .objects
        .iter()
        .map(|object| (object.id, object.body.clone(), object.revision))
        .collect();
    if newest_first {
        expected.reverse();
    }
    if let Some(after) = after {
        let Some(position) = expected.iter().position(|(id, _, _)| *id == after) else {
            assert!(matches!(answer, Err(StoreError::NotFound)));
            return;
        };
        expected.drain(..=position);
    }
    let listing = answer.unwrap();
    let limit = usize::try_from(limit).unwrap();
    assert_eq!(listing.has_more, expected.len() > limit);
    expected.truncate(limit);
    let found: Vec<_> = listing
        .objects
        .into_iter()
        .map(|object| (object.meta.id, object.body.to_vec(), object.meta.revision))
        .collect();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(id, body, revision)| (name(id), body, revision))
        .collect();
    assert_eq!(found, expected);
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::on_disk(folder.path()).await;
    let mut model = Model::default();
    for step in &steps {
        if matches!(step, Step::Reopen) {
            let account = rig.account;
            rig.store.close().await;
            drop(rig);
            rig = Rig::on_disk_as(folder.path(), account).await;
        }
        apply(&rig, &mut model, step).await;
    }
    for expected in &model.objects {
        let object = rig.get(&name(expected.id)).await.unwrap();
        assert_eq!(object.body.as_slice(), expected.body);
        assert_eq!(
            rig.read_blob(&name(expected.id), None).await.unwrap(),
            noise(expected.length)
        );
    }
    let sealed = rig.statistics().await.unwrap().sealed;
    assert_eq!(
        sealed.iter().map(|row| row.objects).sum::<u64>(),
        model.objects.len() as u64
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_operations_does_what_it_does_to_a_map(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
