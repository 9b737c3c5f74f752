//! The engine: turns that are given, cut off, taken over and ended, for a kind of job that only these tests know.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use strongroom_seal::{AccountId, BoxFuture, NoAnswer};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::rig::{Machine, Rig};
use crate::{
    Action, Change, Expiry, JobEnd, JobHandler, JobState, JobStatus, JobStop, JobTurn, NewObject, StoreError,
    Unit, Wish, faults::Faults,
};

const KIND: &str = "work";
const TOTAL: u64 = 3;

fn someone() -> AccountId {
    AccountId::from_uuid(Uuid::new_v4())
}

/// Does a unit of work for each step that it is given, and writes into the object how many it has done.
struct Worker {
    steps: Arc<Semaphore>,
    begun: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    panics: AtomicUsize,
}

/// Counts a turn until it ends, however it does.
struct AtWork<'w>(&'w Worker);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Worker {
    fn new(steps: usize) -> Arc<Self> {
        Arc::new(Self {
            steps: Arc::new(Semaphore::new(steps)),
            begun: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
        })
    }

    fn begin(&self) -> AtWork<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        AtWork(self)
    }

    async fn work(&self, turn: &JobTurn) -> Result<JobEnd, JobStop> {
        let _at_work = self.begin();
        let next = |left: usize| left.checked_sub(1);
        let panics = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        assert!(panics.is_err(), "on cue");
        while turn.done() < TOTAL {
            let step = tokio::select! {
                biased;
                wish = turn.wished() => match wish {
                    Wish::Cancel => return Ok(JobEnd::Cancelled),
                    _ => return Err(JobStop::Held),
                },
                step = self.steps.acquire() => step.unwrap(),
            };
            let found = turn.store().get(turn.read(), KIND, turn.object()).await?;
            let done = turn.done() + 1;
            assert_eq!(found.body.as_slice(), turn.done().to_string().as_bytes());
            let body = done.to_string();
            let change = Change {
                body: body.as_bytes(),
                expires: Expiry::Keep,
            };
            let result = format!("{}-{done}", turn.object());
            let unit = Unit::new()
                .update(&found.meta, change)
                .put(NewObject::new("result", result, b"x"))
                .done(done);
            let unit = if done == TOTAL {
                unit.end(JobEnd::Done)
            } else {
                unit
            };
            turn.commit(unit).await?;
            step.forget();
        }
        Ok(JobEnd::Done)
    }
}

impl JobHandler for Worker {
    fn run(&self, turn: JobTurn) -> BoxFuture<'_, Result<JobEnd, JobStop>> {
        Box::pin(async move { self.work(&turn).await })
    }
}

impl Rig {
    async fn begin(&self, id: &str) -> Result<(), StoreError> {
        let new = NewObject::new(KIND, id, b"0");
        self.store
            .begin_job(&self.permit(Action::Write), new, TOTAL)
            .await
            .map(drop)
    }

    async fn job(&self, id: &str) -> Result<JobStatus, StoreError> {
        self.store.job_of(&self.permit(Action::Read), KIND, id).await
    }

    async fn ask(&self, id: &str, wish: Wish) -> JobStatus {
        let permit = self.permit(Action::Write);
        self.store.ask_job_of(&permit, KIND, id, wish).await.unwrap()
    }

    /// Waits until the job is there.
    async fn until(&self, id: &str, is: impl Fn(&JobStatus) -> bool) -> JobStatus {
        loop {
            let status = self.job(id).await.unwrap();
            if is(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn body(&self, id: &str) -> String {
        let found = self
            .store
            .get(&self.permit(Action::Read), KIND, id)
            .await
            .unwrap();
        String::from_utf8(found.body.to_vec()).unwrap()
    }
}

async fn rig(machine: &Machine, account: AccountId, worker: &Arc<Worker>) -> Rig {
    let rig = Rig::in_memory(machine, account, Faults::default()).await;
    rig.store.register(&rig.authority, KIND, 2, worker.clone());
    rig
}

fn is_done(status: &JobStatus) -> bool {
    status.state == JobState::Done
}

#[tokio::test(start_paused = true)]
async fn a_job_is_worked_on_to_its_end_and_shows_how_far_it_is() {
    let worker = Worker::new(1);
    let rig = rig(&Machine::new(), someone(), &worker).await;
    rig.begin("a").await.unwrap();
    let half = rig.until("a", |status| status.done == 1).await;
    assert_eq!((half.state, half.total), (JobState::Running, TOTAL));
    assert!(half.claimed_until_ms > 0);
    worker.steps.add_permits(2);
    let whole = rig.until("a", is_done).await;
    assert_eq!((whole.done, whole.claimed_until_ms), (3, 0));
    assert_eq!(rig.body("a").await, "3");
    assert_eq!(worker.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_cuts_a_turn_off_and_the_next_goes_on_where_it_was() {
    let worker = Worker::new(1);
    let rig = rig(&Machine::new(), someone(), &worker).await;
    rig.begin("a").await.unwrap();
    rig.until("a", |status| status.done == 1).await;
    rig.vault.says(Some(NoAnswer::Refused));
    rig.store.nudge(rig.account);
    // How far it is can be read all the same.
    let paused = rig.until("a", |status| status.state == JobState::Paused).await;
    assert_eq!((paused.done, paused.claimed_until_ms), (1, 0));
    assert_eq!(worker.at_once.load(Ordering::SeqCst), 0);
    worker.steps.add_permits(2);
    rig.vault.says(None);
    rig.until("a", is_done).await;
    assert_eq!(rig.body("a").await, "3");
}

#[tokio::test(start_paused = true)]
async fn deleting_the_object_ends_the_turn_and_leaves_no_job() {
    let worker = Worker::new(0);
    let rig = rig(&Machine::new(), someone(), &worker).await;
    rig.begin("a").await.unwrap();
    rig.until("a", |status| status.state == JobState::Running).await;
    let delete = rig.permit(Action::Delete);
    rig.store.delete(&delete, KIND, "a").await.unwrap();
    assert!(matches!(rig.job("a").await, Err(StoreError::NotFound)));
    while worker.at_once.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(rig.jobs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stood_still_cannot_commit_over_the_one_that_took_over() {
    let (machine, account) = (Machine::new(), someone());
    let (slow, fast) = (Worker::new(0), Worker::new(9));
    let stalled = rig(&machine, account, &slow).await;
    stalled.begin("a").await.unwrap();
    stalled
        .until("a", |status| status.state == JobState::Running)
        .await;
    // Its own clock did not move; the other's says that the claim has run out.
    let busy = rig(&machine, account, &fast).await;
    busy.clock.turn(Duration::from_secs(31));
    busy.until("a", is_done).await;
    slow.steps.add_permits(9);
    while slow.at_once.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stalled.body("a").await, "3");
    assert!(slow.steps.available_permits() >= 9, "nothing was committed");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_held_goes_on_and_is_cancelled_as_it_is_asked() {
    let worker = Worker::new(1);
    let rig = rig(&Machine::new(), someone(), &worker).await;
    rig.begin("a").await.unwrap();
    rig.until("a", |status| status.done == 1).await;
    rig.ask("a", Wish::Hold).await;
    rig.until("a", |status| status.state == JobState::Held).await;
    worker.steps.add_permits(1);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.job("a").await.unwrap().done, 1);
    rig.ask("a", Wish::Resume).await;
    rig.until("a", |status| status.done == 2).await;
    rig.ask("a", Wish::Cancel).await;
    let end = rig.until("a", |status| status.state.is_end()).await;
    assert_eq!((end.state, end.done, end.wish), (JobState::Cancelled, 2, None));
    assert_eq!(rig.ask("a", Wish::Resume).await.state, JobState::Cancelled);
    // No key is needed to ask, and a held job is cancelled in a turn of its own.
    rig.begin("b").await.unwrap();
    rig.ask("b", Wish::Hold).await;
    rig.until("b", |status| status.state == JobState::Held).await;
    let ended = rig.store.lease(rig.account).await.unwrap().ended();
    rig.vault.says(Some(NoAnswer::Refused));
    rig.store.nudge(rig.account);
    ended.await;
    assert_eq!(rig.ask("b", Wish::Cancel).await.wish, Some(Wish::Cancel));
    rig.until("b", |status| status.state == JobState::Paused).await;
    rig.vault.says(None);
    rig.until("b", |status| status.state == JobState::Cancelled).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_turns_are_given_at_once_than_the_kind_allows_and_no_account_takes_them_all() {
    let worker = Worker::new(0);
    let machine = Machine::new();
    let rig = rig(&machine, someone(), &worker).await;
    for id in ["a", "b", "c", "d"] {
        rig.begin(id).await.unwrap();
    }
    let neighbour = rig.neighbour(Action::Write);
    let new = NewObject::new(KIND, "other", b"0");
    rig.store.begin_job(&neighbour, new, TOTAL).await.unwrap();
    let running = async |id: &str| rig.job(id).await.unwrap().state == JobState::Running;
    rig.until("a", |status| status.state == JobState::Running).await;
    rig.until("b", |status| status.state == JobState::Running).await;
    assert!(!running("c").await);
    // One place gets free: the account that has none is next.
    rig.ask("a", Wish::Cancel).await;
    while worker.begun.load(Ordering::SeqCst) < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!running("c").await && !running("d").await);
    worker.steps.add_permits(20);
    join_all(["b", "c", "d"].map(|id| rig.until(id, is_done))).await;
    assert_eq!(worker.most_at_once.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_unit_of_work_is_committed_whole_or_not_at_all() {
    let worker = Worker::new(1);
    let rig = rig(&Machine::new(), someone(), &worker).await;
    let write = rig.permit(Action::Write);
    // The second result's name is taken.
    let taken = NewObject::new("result", "a-2", b"x");
    rig.store.put(&write, taken).await.unwrap();
    rig.begin("a").await.unwrap();
    rig.until("a", |status| status.done == 1).await;
    worker.steps.add_permits(9);
    rig.until("a", |status| status.state == JobState::Waiting).await;
    assert_eq!(
        (rig.job("a").await.unwrap().done, rig.body("a").await.as_str()),
        (1, "1")
    );
    let delete = rig.permit(Action::Delete);
    rig.store.delete(&delete, "result", "a-2").await.unwrap();
    rig.until("a", is_done).await;
    assert_eq!(rig.body("a").await, "3");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_panics_is_tried_again_later_each_time() {
    let worker = Worker::new(9);
    worker.panics.store(3, Ordering::SeqCst);
    let rig = rig(&Machine::new(), someone(), &worker).await;
    let begun = tokio::time::Instant::now();
    rig.begin("a").await.unwrap();
    rig.until("a", is_done).await;
    assert_eq!(worker.begun.load(Ordering::SeqCst), 4);
    // 2, 4 and 8 seconds.
    assert!(
        begun.elapsed() >= Duration::from_secs(14),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_opened_again_lets_nobody_wait_for_a_claim_of_its_last_life() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::new(1);
    let account = someone();
    let rig = Rig::on_disk_as(folder.path(), account).await;
    rig.store.register(&rig.authority, KIND, 2, worker.clone());
    rig.begin("a").await.unwrap();
    rig.until("a", |status| status.done == 1).await;
    rig.store.close().await;
    drop(rig);
    worker.steps.add_permits(2);
    let rig = Rig::on_disk_as(folder.path(), account).await;
    rig.store.register(&rig.authority, KIND, 2, worker.clone());
    // The clock stands still: no claim runs out by itself.
    rig.until("a", is_done).await;
    assert_eq!(rig.body("a").await, "3");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_stops_at_any_step_of_a_job_ends_it_after_it_comes_back() {
    for steps in 0.. {
        let (machine, account) = (Machine::new(), someone());
        let faults = Faults::after(steps);
        let worker = Worker::new(9);
        let dying = Rig::in_memory(&machine, account, faults.clone()).await;
        dying.store.register(&dying.authority, KIND, 2, worker.clone());
        let is_begun = dying.begin("a").await.is_ok();
        while !faults.stopped() && !dying.job("a").await.is_ok_and(|status| is_done(&status)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let was_whole = !faults.stopped();
        drop(dying);
        let rig = rig(&machine, account, &Worker::new(9)).await;
        rig.clock.turn(Duration::from_secs(60));
        match rig.job("a").await {
            Ok(_) => {
                rig.until("a", is_done).await;
                assert_eq!(rig.body("a").await, "3", "after {steps} steps");
                let read = rig.permit(Action::Read);
                for done in 1..=TOTAL {
                    let result = format!("a-{done}");
                    rig.store.get(&read, "result", &result).await.unwrap();
                }
            }
            Err(_) => assert!(!is_begun, "a job that was begun is gone after {steps} steps"),
        }
        if was_whole {
            return;
        }
    }
}
