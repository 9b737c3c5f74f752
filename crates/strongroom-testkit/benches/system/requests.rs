//! Many small requests: durable uploads, stored responses, chat completions.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use strongroom_testkit::{Child, INSTANT_MODEL};
use tokio::time::Instant;

use crate::process::{Helper, cpu};
use crate::report::{Goal, median, median_ratio, report};
use crate::wire::{Target, Wire};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(2000);
const SMALL: usize = 4096;
const UPLOADERS: usize = 64;
const RESPONDERS: usize = 32;
const CHATTERS: usize = 16;

/// Durable 4 KiB uploads, sealed and unsealed by turns.
pub(crate) async fn uploads(child: &Child, twin: &Helper) {
    let sides = [
        (Target::sealed(child, false), child.id()),
        (Target::helper(twin, false), twin.id()),
    ];
    let mut rates = [const { Vec::new() }; 2];
    let mut costs = [const { Vec::new() }; 2];
    for number in 0..ROUNDS {
        // By turns the sealed and the unsealed side begin.
        for side in [number % 2, 1 - number % 2] {
            let (target, process) = &sides[side];
            let (before, after) = target.upload(SMALL);
            let request = [before, vec![7; SMALL], after].concat();
            let (rate, cost) = rate(target, *process, UPLOADERS, &request).await;
            rates[side].push(rate);
            costs[side].push(cost);
        }
    }
    let [sealed, plain] = &rates;
    report(
        "durable 4 KiB uploads, 64 clients, unsealed",
        median(plain),
        "/s",
        &Goal::None,
    );
    let ratio = Goal::Ratio(median_ratio(sealed, plain), 0.9);
    report(
        "durable 4 KiB uploads, 64 clients, sealed ÷ unsealed",
        median(sealed),
        "/s",
        &ratio,
    );
    report(
        "durable 4 KiB uploads, 64 clients, sealed",
        median(sealed),
        "/s",
        &Goal::AtLeast(10_000.0),
    );
    let [sealed, plain] = &costs;
    report(
        "server CPU of a 4 KiB upload, unsealed",
        median(plain),
        "µs",
        &Goal::None,
    );
    report(
        "server CPU of a 4 KiB upload, sealed; unsealed ÷ sealed",
        median(sealed),
        "µs",
        &Goal::Ratio(median_ratio(plain, sealed), 0.9),
    );
}

/// Responses stored over an instant upstream, and what the service adds to a chat completion.
pub(crate) async fn inference(child: &Child, proxy: &Helper) {
    let sealed = Target::sealed(child, false);
    let request = sealed.json(
        "/responses",
        &json!({"model": INSTANT_MODEL, "input": "Say it again."}),
    );
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (rate, cost) = rate(&sealed, child.id(), RESPONDERS, &request).await;
        rates.push(rate);
        costs.push(cost);
    }
    report(
        "stored responses, 32 clients",
        median(&rates),
        "/s",
        &Goal::AtLeast(2000.0),
    );
    report(
        "server CPU of a stored response",
        median(&costs),
        "µs",
        &Goal::None,
    );

    let bare = Target::helper(proxy, false);
    let chat = json!({"model": INSTANT_MODEL, "messages": [{"role": "user", "content": "Say it again."}]});
    let mut costs = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (side, (target, process)) in [(&sealed, child.id()), (&bare, proxy.id())].iter().enumerate() {
            let request = target.json("/chat/completions", &chat);
            costs[side].push(rate(target, *process, CHATTERS, &request).await.1);
        }
    }
    let [sealed, bare] = costs.map(|costs| median(&costs));
    report("server CPU of a chat completion", sealed, "µs", &Goal::None);
    report("the same through a bare proxy", bare, "µs", &Goal::None);
    report(
        "CPU added for a chat completion",
        sealed - bare,
        "µs",
        &Goal::AtMost(100.0),
    );
}

/// Requests per second, and server CPU for each in µs.
async fn rate(target: &Target, process: u32, clients: usize, request: &[u8]) -> (f64, f64) {
    let wires: Vec<Wire> = join_all((0..clients).map(|_| Wire::connect(target))).await;
    let (cpu_before, begun) = (cpu(process), Instant::now());
    let clients = wires.into_iter().map(|mut wire| {
        let request = request.to_vec();
        tokio::spawn(async move {
            let mut done = 0_u64;
            while begun.elapsed() < ROUND {
                wire.exchange(&request).await;
                done += 1;
            }
            done
        })
    });
    let done: u64 = join_all(clients).await.into_iter().map(Result::unwrap).sum();
    let (time, used) = (begun.elapsed(), cpu(process) - cpu_before);
    (
        done as f64 / time.as_secs_f64(),
        used.as_secs_f64() * 1e6 / done as f64,
    )
}
