//! Records: sealed writes against unsealed ones, pages, rotation and rekey at size. Prints JSON lines.
//!
//! `STRONGROOM_BENCH_RECORDS` sets how many records "a million" is (for a quick look).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench stops at the first surprise and prints"
)]

#[path = "records/bench_rig.rs"]
mod bench_rig;
#[path = "records/plain_records.rs"]
mod plain_records;

use std::{sync::Arc, time::Duration};

use bench_rig::BenchRig;
use bytes::Bytes;
use futures::future::join_all;
use plain_records::PlainRecords;
use strongroom_store::{JobState, NewObject, Order, Page, StoreError};
use tokio::time::Instant;

const WRITERS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1500);
const BODY: usize = 1024;

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        writes().await;
        uploads().await;
        at_size().await;
    });
}

/// What a measure is held against.
enum Goal {
    None,
    /// The ratio must be at least this.
    RatioAtLeast(f64, f64),
    /// The ratio must be at most this.
    RatioAtMost(f64, f64),
    /// The value must be at most this.
    AtMost(f64),
}

fn report(name: &str, value: f64, unit: &str, goal: &Goal) {
    let rest = match goal {
        Goal::None => String::new(),
        Goal::RatioAtLeast(ratio, goal) => format!(r#","ratio":{ratio:.3},"goal":{goal}"#),
        Goal::RatioAtMost(ratio, goal) => format!(r#","ratio":{ratio:.3},"goal":{goal},"better":"lower""#),
        Goal::AtMost(goal) => format!(r#","goal":{goal},"better":"lower""#),
    };
    println!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}"{rest}}}"#);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Durable writes per second by 64 writers, sealed and unsealed by turns.
async fn writes() {
    let folder = tempfile::tempdir().unwrap();
    let rig = BenchRig::open(&folder.path().join("sealed")).await;
    let plain = Arc::new(PlainRecords::open(&folder.path().join("plain.db")));
    let (mut sealed_rates, mut plain_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let sealed = rate(|writer, number| {
            let rig = rig.clone();
            async move { rig.put(&format!("{round}-{writer}-{number}"), &[7; BODY]).await }
        });
        let sealed = sealed.await;
        let unsealed = rate(|writer, number| {
            let plain = Arc::clone(&plain);
            async move {
                plain
                    .put(format!("{round}-{writer}-{number}"), vec![7; BODY])
                    .await;
            }
        });
        let unsealed = unsealed.await;
        sealed_rates.push(sealed);
        plain_rates.push(unsealed);
        ratios.push(sealed / unsealed);
    }
    report(
        "record_writes_unsealed_64_writers",
        median(plain_rates),
        "1/s",
        &Goal::None,
    );
    let goal = Goal::RatioAtLeast(median(ratios), 0.85);
    report(
        "record_writes_sealed_64_writers",
        median(sealed_rates),
        "1/s",
        &goal,
    );
    rig.store.close().await;
}

/// Durable 4 KiB uploads per second by 64 clients, without the HTTP around them.
async fn uploads() {
    let folder = tempfile::tempdir().unwrap();
    let rig = BenchRig::open(folder.path()).await;
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let uploads = rate(|writer, number| {
            let rig = rig.clone();
            async move { rig.upload(&format!("{round}-{writer}-{number}"), 4096).await }
        });
        rates.push(uploads.await);
    }
    report(
        "uploads_of_4_kib_sealed_64_clients",
        median(rates),
        "1/s",
        &Goal::None,
    );
    rig.store.close().await;
}

/// Runs 64 writers for a while; how many writes per second they did.
async fn rate<F: Future<Output = ()> + Send + 'static>(write: impl Fn(usize, u64) -> F) -> f64 {
    let until = Instant::now() + ROUND;
    let write = &write;
    let started = Instant::now();
    let counts = join_all((0..WRITERS).map(|writer| async move {
        let mut number = 0;
        while Instant::now() < until {
            tokio::spawn(write(writer, number)).await.unwrap();
            number += 1;
        }
        number
    }));
    let total: u64 = counts.await.into_iter().sum();
    per_second(total, started.elapsed())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn records() -> u64 {
    std::env::var("STRONGROOM_BENCH_RECORDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000)
}

async fn at_size() {
    let folder = tempfile::tempdir().unwrap();
    let small = BenchRig::open(&folder.path().join("small")).await;
    let large = BenchRig::open(&folder.path().join("large")).await;
    fill(&small, 1000).await;
    let count = records();
    let started = Instant::now();
    fill(&large, count).await;
    report(
        "record_writes_sealed_until_a_million",
        per_second(count, started.elapsed()),
        "1/s",
        &Goal::None,
    );
    pages(&large, count).await;
    rotation(&small, &large).await;
    rekey(&large, count).await;
    small.store.close().await;
    large.store.close().await;
}

async fn fill(rig: &BenchRig, count: u64) {
    let writers = (0..WRITERS as u64).map(|writer| {
        let rig = rig.clone();
        tokio::spawn(async move {
            for number in (writer..count).step_by(WRITERS) {
                rig.put(&format!("id-{number}"), &[7; 256]).await;
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|done| done.unwrap());
}

/// A page of 100 at depths spread over all records, opened.
async fn pages(rig: &BenchRig, count: u64) {
    let mut times = Vec::new();
    for number in 0..500 {
        let after = Some(format!("id-{}", number * (count / 500)));
        let order = if number % 2 == 0 { Order::Asc } else { Order::Desc };
        let started = Instant::now();
        let listing = rig
            .store
            .list(
                &rig.read,
                "bench",
                Page {
                    after,
                    limit: 100,
                    order,
                },
            )
            .await
            .unwrap();
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        drop(listing);
    }
    report(
        "page_of_100_out_of_a_million",
        median(times),
        "ms",
        &Goal::AtMost(1.0),
    );
}

/// Rotation of the customer key: the same work whatever the number of objects.
async fn rotation(small: &BenchRig, large: &BenchRig) {
    let (mut times, mut ratios) = (Vec::new(), Vec::new());
    for number in 0..41 {
        let few = rotate(small, number).await;
        let many = rotate(large, number).await;
        times.push(many);
        ratios.push(many / few);
    }
    let goal = Goal::RatioAtMost(median(ratios), 1.1);
    report(
        "customer_key_rotation_at_a_million_objects",
        median(times),
        "ms",
        &goal,
    );
}

async fn rotate(rig: &BenchRig, number: u32) -> f64 {
    rig.vault.rotate(number);
    let started = Instant::now();
    assert_eq!(rig.store.rewrap(&rig.administer).await.unwrap(), 1);
    started.elapsed().as_secs_f64() * 1000.0
}

async fn rekey(rig: &BenchRig, count: u64) {
    let started = Instant::now();
    let job = loop {
        match rig.store.rekey(&rig.administer).await {
            Err(StoreError::Busy) => tokio::task::yield_now().await,
            job => break job.unwrap(),
        }
    };
    loop {
        let jobs = rig.store.jobs(&rig.administer).await.unwrap();
        if jobs
            .iter()
            .any(|status| status.id == job && status.state == JobState::Done)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    report(
        "rekey_objects",
        per_second(count, started.elapsed()),
        "1/s",
        &Goal::None,
    );
}

impl BenchRig {
    async fn upload(&self, id: &str, length: usize) {
        let mut writer = self.store.stage(&self.write, "bench", id, 0).await.unwrap();
        writer.write(Bytes::from(vec![7; length])).await.unwrap();
        let blobs = vec![writer.finish().await.unwrap()];
        let new = NewObject {
            blobs,
            ..NewObject::new("bench", id, &[7; 256])
        };
        self.store.put(&self.write, new).await.unwrap();
    }

    async fn put(&self, id: &str, body: &[u8]) {
        loop {
            match self
                .store
                .put(&self.write, NewObject::new("bench", id, body))
                .await
            {
                Err(StoreError::Busy) => tokio::task::yield_now().await,
                done => {
                    done.unwrap();
                    return;
                }
            }
        }
    }
}
