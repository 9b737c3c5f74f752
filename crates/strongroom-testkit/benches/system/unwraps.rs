//! Unwraps by the embedded vault over kept TLS connections, beside the bare RSA operations of the same library.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use strongroom_testkit::Child;
use tokio::time::Instant;

use crate::process::cpu;
use crate::report::{Goal, median, median_ratio, report};
use crate::wire::{Target, Wire};

const CLIENTS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(2000);
/// A seed in base64url: 32 bytes.
const SEED: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The bare operation and the vault by turns, for each size of key.
pub(crate) async fn measure(child: &Child) {
    for (bits, size) in [
        (2048, KeySize::Rsa2048),
        (3072, KeySize::Rsa3072),
        (4096, KeySize::Rsa4096),
    ] {
        let bare = Bare::new(size);
        let (target, request) = prepare(child, bits).await;
        let (mut raw, mut served, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        let mut costs = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            let (rate, cost) = tokio::task::block_in_place(|| bare.rate());
            raw.push(rate);
            costs[0].push(cost);
            let (rate, cost) = unwraps(&target, &request, child.id(), &mut latencies).await;
            served.push(rate);
            costs[1].push(cost);
        }
        let ratio = Goal::Ratio(median_ratio(&served, &raw), 0.85);
        let name = |what: &str| format!("RSA-{bits} {what}");
        report(
            &name("private operations, bare, all cores"),
            median(&raw),
            "/s",
            &Goal::None,
        );
        report(
            &name("unwraps over TLS, 64 clients ÷ bare"),
            median(&served),
            "/s",
            &ratio,
        );
        let [bare, served] = costs.map(|costs| median(&costs));
        report(&name("private operation, CPU"), bare, "µs", &Goal::None);
        report(
            &name("unwrap, CPU of the vault; bare ÷ vault"),
            served,
            "µs",
            &Goal::Ratio(bare / served, 0.85),
        );
        latencies.sort_by(f64::total_cmp);
        for (percent, index) in [(50, latencies.len() / 2), (99, latencies.len() * 99 / 100)] {
            let name = name(&format!("unwrap, 64 clients, p{percent}"));
            report(&name, latencies[index], "ms", &Goal::None);
        }
    }
}

/// What an unwrap cannot be cheaper than.
struct Bare {
    key: OaepPrivateDecryptingKey,
    wrapped: Vec<u8>,
}

impl Bare {
    fn new(size: KeySize) -> Self {
        let private = PrivateDecryptingKey::generate(size).unwrap();
        let public = OaepPublicEncryptingKey::new(private.public_key()).unwrap();
        let mut wrapped = vec![0; public.ciphertext_size()];
        public
            .encrypt(&OAEP_SHA256_MGF1SHA256, &[7; 32], &mut wrapped, None)
            .unwrap();
        let key = OaepPrivateDecryptingKey::new(private).unwrap();
        Self { key, wrapped }
    }

    /// Operations per second on all cores, and processor time for each in µs.
    fn rate(&self) -> (f64, f64) {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let done = AtomicU64::new(0);
        let (cpu_before, begun) = (cpu(std::process::id()), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    let mut plain = vec![0; self.key.min_output_size()];
                    while begun.elapsed() < ROUND {
                        let decrypted =
                            self.key
                                .decrypt(&OAEP_SHA256_MGF1SHA256, &self.wrapped, &mut plain, None);
                        black_box(decrypted.unwrap());
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let (time, used) = (begun.elapsed(), cpu(std::process::id()) - cpu_before);
        let done = done.into_inner() as f64;
        (done / time.as_secs_f64(), used.as_secs_f64() * 1e6 / done)
    }
}

/// A key of this size in the vault, and the request that unwraps with it.
async fn prepare(child: &Child, bits: u32) -> (Target, Vec<u8>) {
    let call = async |path: String, body: Value| -> Value {
        let answer = child.vault(Method::POST, &path, Some(body)).await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    };
    let made = call(
        format!("keys/bench-{bits}/create"),
        json!({"kty": "RSA", "key_size": bits}),
    )
    .await;
    let kid = made.pointer("/key/kid").and_then(Value::as_str).unwrap();
    let version = kid.rsplit('/').next().unwrap();
    let body = json!({"alg": "RSA-OAEP-256", "value": SEED});
    let wrapped = call(format!("keys/bench-{bits}/{version}/wrapkey"), body).await;
    let body = json!({"alg": "RSA-OAEP-256", "value": wrapped.get("value").unwrap()});
    let token = child.token("https://vault.azure.net").await.unwrap();
    let target = Target::vault(child, &token);
    let path = format!("/keys/bench-{bits}/{version}/unwrapkey?api-version=2025-07-01");
    let request = target.json(&path, &body);
    (target, request)
}

/// Unwraps per second, and the vault's processor time for each in µs.
async fn unwraps(target: &Target, request: &[u8], process: u32, latencies: &mut Vec<f64>) -> (f64, f64) {
    let wires: Vec<Wire> = join_all((0..CLIENTS).map(|_| Wire::connect(target))).await;
    let (cpu_before, begun) = (cpu(process), Instant::now());
    let clients = wires.into_iter().map(|mut wire| {
        let request = request.to_vec();
        tokio::spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < ROUND {
                let asked = Instant::now();
                wire.exchange(&request).await;
                times.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            times
        })
    });
    let times: Vec<Vec<f64>> = join_all(clients).await.into_iter().map(Result::unwrap).collect();
    let (time, used) = (begun.elapsed(), cpu(process) - cpu_before);
    let done = times.iter().map(Vec::len).sum::<usize>() as f64;
    latencies.extend(times.into_iter().flatten());
    (done / time.as_secs_f64(), used.as_secs_f64() * 1e6 / done)
}
