//! From the store's events to the journal: in order, none lost while they can wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use strongroom_store::{AccountId, StoreEvent};
use tokio::sync::{broadcast, oneshot};
use uuid::Uuid;

use crate::journal::{ServiceEvent, ServiceJournal, follow};

/// A journal whose disk fails so many times.
struct Failing {
    fails: AtomicUsize,
    kept: Mutex<Vec<ServiceEvent>>,
}

impl Failing {
    fn new(fails: usize) -> Arc<Self> {
        Arc::new(Self {
            fails: AtomicUsize::new(fails),
            kept: Mutex::default(),
        })
    }

    fn kept(&self) -> Vec<ServiceEvent> {
        self.kept.lock().unwrap().clone()
    }
}

impl ServiceJournal for Failing {
    fn record(&self, event: ServiceEvent) {
        self.kept.lock().unwrap().push(event);
    }

    fn keep(&self, events: Vec<ServiceEvent>) -> BoxFuture<'_, Vec<ServiceEvent>> {
        let fails = self
            .fails
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |fails| fails.checked_sub(1));
        let left = if fails.is_ok() {
            events
        } else {
            events.into_iter().for_each(|event| self.record(event));
            Vec::new()
        };
        Box::pin(std::future::ready(left))
    }
}

fn event(at_ms: u64) -> StoreEvent {
    let account = AccountId::from_uuid(Uuid::nil());
    StoreEvent::LastUse { account, at_ms }
}

fn events(times: std::ops::Range<u64>) -> Vec<ServiceEvent> {
    times.map(|at_ms| ServiceEvent::Store(event(at_ms))).collect()
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_a_disk_that_fails_and_are_kept_in_order() {
    let (tell, told) = broadcast::channel(1000);
    let journal = Failing::new(5);
    for at_ms in 0..600 {
        tell.send(event(at_ms)).unwrap();
    }
    let (close, closed) = oneshot::channel::<()>();
    let closed = async move { drop(closed.await) };
    let following = tokio::spawn(follow(told, journal.clone(), closed));
    while journal.kept().len() < 600 {
        tokio::time::advance(crate::limits::KEEP_AGAIN).await;
    }
    tell.send(event(600)).unwrap();
    close.send(()).unwrap();
    following.await.unwrap();
    assert_eq!(journal.kept(), events(0..601), "what is told last is kept too");
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_disk_that_fails_for_good() {
    let (tell, told) = broadcast::channel(1000);
    let journal = Failing::new(usize::MAX);
    tell.send(event(0)).unwrap();
    follow(told, journal.clone(), std::future::ready(())).await;
    assert!(journal.kept().is_empty());
}

#[tokio::test]
async fn how_many_events_were_too_many_is_an_event_itself() {
    let (tell, told) = broadcast::channel(4);
    let journal = Failing::new(0);
    for at_ms in 0..10 {
        tell.send(event(at_ms)).unwrap();
    }
    drop(tell);
    follow(told, journal.clone(), std::future::pending()).await;
    let missed = vec![ServiceEvent::Missed { count: 6 }];
    assert_eq!(journal.kept(), [missed, events(6..10)].concat());
}
