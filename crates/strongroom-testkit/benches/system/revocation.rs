//! From the moment the key is off to the last byte that anybody got.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_testkit::{Child, Cue, Instance, SystemOptions};
use tokio::time::Instant;

use crate::report::{Goal, median, number, report};
use crate::transfers::upload;
use crate::wire::{Target, Wire};

const BOUND: Duration = Duration::from_secs(1);
const BODY: usize = 32 << 20;
/// So that the key goes off at any moment of a lease and of a download.
const SPREAD: u64 = 7;

/// The administrator turns the key off at the vault, which pushes.
pub(crate) async fn pushed(child: &Child) {
    let reader = Reader::new(&Target::sealed(child, false)).await;
    let mut times = Vec::new();
    for run in 0..runs() {
        let reading = reader.begin(child, run).await;
        child.disable_key().await.unwrap();
        times.push(reading.last_after(Instant::now()).await);
        child.enable_key().await.unwrap();
    }
    tell("with the vault's push", &times, 1.0);
}

/// The vault answers no from one moment on, and tells nobody.
pub(crate) async fn by_the_lease_alone() {
    let options = SystemOptions::new().unwrap().revocation_bound(BOUND);
    let (system, vault) = options.start_with_failing_vault().await.unwrap();
    let reader = Reader::new(&Target::sealed(&system, false)).await;
    let mut times = Vec::new();
    for run in 0..runs() {
        let reading = reader.begin(&system, run).await;
        vault.answer(Cue::Refused);
        times.push(reading.last_after(Instant::now()).await);
        vault.answer(Cue::Ok);
    }
    tell("by the lease alone", &times, BOUND.as_secs_f64());
    drop(system.stop().await);
}

fn runs() -> u64 {
    number("STRONGROOM_BENCH_RUNS", 100) as u64
}

fn tell(how: &str, times: &[f64], goal: f64) {
    let worst = times.iter().copied().fold(0.0, f64::max);
    let runs = times.len();
    report(
        &format!("key off to last byte, {how}, median of {runs}"),
        median(times),
        "s",
        &Goal::None,
    );
    report(
        &format!("key off to last byte, {how}, worst of {runs}"),
        worst,
        "s",
        &Goal::AtMost(goal),
    );
}

/// Downloads the same file over and over, until it is cut or refused.
struct Reader {
    target: Target,
    file: String,
}

struct Reading {
    last: Arc<Mutex<Option<Instant>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Reader {
    async fn new(target: &Target) -> Self {
        let mut wire = Wire::connect(target).await;
        let file = upload(&mut wire, target, BODY).await;
        Self {
            target: target.clone(),
            file,
        }
    }

    async fn begin(&self, instance: &Instance, run: u64) -> Reading {
        // The key may still be coming back.
        while !instance
            .download(&self.file)
            .await
            .is_ok_and(|content| content.len() == BODY)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (last, noted) = (Arc::new(Mutex::new(None)), self.target.clone());
        let request = self.target.bare("GET", &format!("/files/{}/content", self.file));
        let told = Arc::clone(&last);
        let task = tokio::spawn(async move {
            let mut wire = Wire::connect(&noted).await;
            let note = |_: &[u8]| *told.lock().unwrap() = Some(Instant::now());
            loop {
                wire.send(&request).await;
                // A refusal is no content: what it overwrote is put back.
                let before = *told.lock().unwrap();
                match wire.answer(note).await {
                    Ok(200) => {}
                    Ok(_) => return *told.lock().unwrap() = before,
                    Err(_) => return,
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(50 + run * SPREAD % 400)).await;
        Reading { last, task }
    }
}

impl Reading {
    /// Seconds from `off` to the last byte of content.
    async fn last_after(self, off: Instant) -> f64 {
        // A send on a connection that was cut between two answers fails, and ends the task as well.
        let _ = self.task.await;
        let last = self.last.lock().unwrap().unwrap_or(off);
        last.saturating_duration_since(off).as_secs_f64()
    }
}
