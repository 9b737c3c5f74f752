//! Large bodies: processor time of uploads and downloads against the unsealed twin, and memory under eight at once and under a large
//! upload in parts.

use std::sync::LazyLock;

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use strongroom_testkit::Child;
use tokio::time::Instant;

use crate::process::{Helper, cpu, memory};
use crate::report::{Goal, median, median_ratio, number, report};
use crate::wire::{Target, Wire};

const MIB: usize = 1 << 20;
const ROUNDS: usize = 6;
/// Bodies of the default limit's half, four for a GiB.
const BODIES: usize = 4;
const AT_ONCE: usize = 8;
/// The longest part that an upload takes, and how many come at a time.
const PART: usize = 64 * MIB;
const PARTS_AT_ONCE: usize = 4;

pub(crate) async fn measure(child: &Child, twin: &Helper) {
    let length = number("STRONGROOM_BENCH_BODY", 256) * MIB;
    for tls in [true, false] {
        let (door, goal) = if tls { ("TLS", 0.95) } else { ("plain", 0.88) };
        let sides = [
            (Target::sealed(child, tls), child.id()),
            (Target::helper(twin, tls), twin.id()),
        ];
        // Up and down, sealed and not, in CPU seconds for a GB.
        let mut costs = [[const { Vec::new() }; 2], [const { Vec::new() }; 2]];
        let gigabytes = (BODIES * length) as f64 / 1e9;
        // One round goes by unmeasured: page cache that a virtual machine touches for the first time is charged to whoever comes first.
        for number in 0..=ROUNDS {
            // By turns the sealed and the unsealed side begin.
            for side in [number % 2, 1 - number % 2] {
                let (target, process) = &sides[side];
                let used = round(target, *process, length).await;
                for (way, seconds) in used.into_iter().enumerate().filter(|_| number > 0) {
                    costs[way][side].push(seconds / gigabytes);
                }
            }
        }
        for (way, [sealed, plain]) in ["upload", "download"].iter().zip(&costs) {
            report(
                &format!("{way}, {door}, unsealed"),
                median(plain),
                "CPU s/GB",
                &Goal::None,
            );
            let ratio = Goal::Ratio(median_ratio(plain, sealed), goal);
            report(
                &format!("{way}, {door}, sealed; unsealed ÷ sealed"),
                median(sealed),
                "CPU s/GB",
                &ratio,
            );
        }
    }
}

/// CPU seconds of the server for the uploads, and for the downloads.
async fn round(target: &Target, process: u32, length: usize) -> [f64; 2] {
    let mut wire = Wire::connect(target).await;
    let before = cpu(process);
    let mut files = Vec::new();
    for _ in 0..BODIES {
        files.push(upload(&mut wire, target, length).await);
    }
    let between = cpu(process);
    for file in &files {
        assert_eq!(download(&mut wire, target, file).await, length);
    }
    let after = cpu(process);
    for file in &files {
        wire.exchange(&target.bare("DELETE", &format!("/files/{file}")))
            .await;
    }
    [(between - before).as_secs_f64(), (after - between).as_secs_f64()]
}

/// Peak memory of a process that does nothing but this.
pub(crate) async fn at_once(child: &Child) {
    let length = number("STRONGROOM_BENCH_BODY", 256) * MIB;
    let target = Target::sealed(child, false);
    let files: Vec<String> = join_all((0..AT_ONCE / 2).map(|_| fresh_upload(&target, length))).await;
    let up = (0..AT_ONCE / 2)
        .map(async |number| fresh_upload(&Target::sealed(child, number % 2 == 0), length).await);
    let down = files.iter().enumerate().map(async |(number, file)| {
        let target = Target::sealed(child, number % 2 == 0);
        let mut wire = Wire::connect(&target).await;
        assert_eq!(download(&mut wire, &target, file).await, length);
    });
    tokio::join!(join_all(up), join_all(down));
    let peak = memory(child.id(), "VmHWM");
    report(
        "peak memory, eight transfers at once",
        peak,
        "MiB",
        &Goal::AtMost(64.0),
    );
}

async fn fresh_upload(target: &Target, length: usize) -> String {
    upload(&mut Wire::connect(target).await, target, length).await
}

/// Peak memory of a process that takes one large upload in parts, several at once, and gives it back.
pub(crate) async fn in_parts(child: &Child) {
    let parts = number("STRONGROOM_BENCH_UPLOAD", 5 * 1024).div_ceil(PART / MIB);
    let length = parts * PART;
    let target = Target::sealed(child, false);
    let mut wire = Wire::connect(&target).await;
    let wish = json!({
        "filename": "bench.bin", "purpose": "assistants", "bytes": length, "mime_type": "application/octet-stream",
    });
    let upload = id(&wire.exchange(&target.json("/uploads", &wish)).await);
    let begun = Instant::now();
    let parts: Vec<String> = stream::iter(0..parts)
        .map(|number| {
            let (target, upload) = (Target::sealed(child, number % 2 == 0), upload.clone());
            async move {
                let (before, after) = target.part(&upload, PART);
                send(&mut Wire::connect(&target).await, (&before, &after), PART).await
            }
        })
        .buffered(PARTS_AT_ONCE)
        .collect()
        .await;
    let rate = length as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let path = format!("/uploads/{upload}/complete");
    let done = wire
        .exchange(&target.json(&path, &json!({ "part_ids": parts })))
        .await;
    let completed = begun.elapsed().as_secs_f64() * 1e3;
    let done: Value = serde_json::from_slice(&done).unwrap();
    let file = done.pointer("/file/id").and_then(Value::as_str).unwrap();
    assert_eq!(download(&mut wire, &target, file).await, length);
    report("upload in parts, four at once", rate, "MB/s", &Goal::None);
    report("completing an upload", completed, "ms", &Goal::None);
    report(
        &format!("peak memory, upload of {} MiB in parts", length / MIB),
        memory(child.id(), "VmHWM"),
        "MiB",
        &Goal::AtMost(256.0),
    );
}

pub(crate) async fn upload(wire: &mut Wire, target: &Target, length: usize) -> String {
    let (before, after) = target.upload(length);
    send(wire, (&before, &after), length).await
}

/// Sends a form with content of this length, and answers with the id of what it became.
async fn send(wire: &mut Wire, (before, after): (&[u8], &[u8]), length: usize) -> String {
    let mut left = length;
    wire.send(before).await;
    while left > 0 {
        let piece = NOISE.get(..left.min(NOISE.len())).unwrap();
        wire.send(piece).await;
        left -= piece.len();
    }
    id(&wire.exchange(after).await)
}

fn id(answer: &[u8]) -> String {
    let made: Value = serde_json::from_slice(answer).unwrap();
    made.get("id").and_then(Value::as_str).unwrap().to_owned()
}

async fn download(wire: &mut Wire, target: &Target, file: &str) -> usize {
    let mut length = 0;
    wire.send(&target.bare("GET", &format!("/files/{file}/content")))
        .await;
    wire.flush().await;
    assert_eq!(wire.answer(|bytes| length += bytes.len()).await.unwrap(), 200);
    length
}

/// Content that has every byte and no boundary.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(MIB / 4).collect()
});
