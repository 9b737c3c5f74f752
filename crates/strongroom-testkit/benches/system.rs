//! The whole system, measured from outside: the release build of the program in a process of its own, beside the
//! unsealed twin in another. Prints JSON lines.
//!
//! `STRONGROOM_BENCH_BODY` is the size of a large body in MiB, `STRONGROOM_BENCH_UPLOAD` that of an upload in parts,
//! `STRONGROOM_BENCH_RUNS` how often the key is turned off; `STRONGROOM_BENCH_ONLY` names one part: start, transfers, parts, uploads,
//! loads, inference, trainings, unwraps, revocation. `STRONGROOM_BENCH_LOADS` is how often a model is loaded, `STRONGROOM_BENCH_TRAININGS` how
//! often one is trained.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]

#[path = "system/loads.rs"]
mod loads;
#[path = "system/process.rs"]
mod process;
#[path = "system/report.rs"]
mod report;
#[path = "system/requests.rs"]
mod requests;
#[path = "system/revocation.rs"]
mod revocation;
#[path = "system/roles.rs"]
mod roles;
#[path = "system/start.rs"]
mod start;
#[path = "system/trainings.rs"]
mod trainings;
#[path = "system/transfers.rs"]
mod transfers;
#[path = "system/unwraps.rs"]
mod unwraps;
#[path = "system/wire.rs"]
mod wire;

use std::path::Path;
use std::process::Command;

use process::Helper;
use strongroom_testkit::{Child, ChildOptions};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments
        .iter()
        .any(|argument| argument == "--list" || argument == "--test")
    {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if let [_, role, argument] = arguments.as_slice()
            && roles::play(role, argument).await
        {
            return;
        }
        build();
        measure().await;
    });
}

/// The program in the same profile as this bench, unless `STRONGROOM_BINARY` names one.
fn build() {
    if std::env::var_os("STRONGROOM_BINARY").is_some() {
        return;
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let cargo = cargo.args([
        "build",
        "--release",
        "--quiet",
        "--package",
        "strongroom",
        "--bin",
        "strongroom",
    ]);
    assert!(cargo.status().unwrap().success());
}

async fn measure() {
    let only = std::env::var("STRONGROOM_BENCH_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only == part;
    let place = tempfile::tempdir().unwrap();
    if wanted("start") {
        start::measure().await;
    }
    if wanted("transfers") || wanted("uploads") {
        let twin = Helper::start(&["twin", place.path().join("twin").to_str().unwrap()]);
        if wanted("transfers") {
            transfers::at_once(&start_child(&place.path().join("at-once"), &[]).await).await;
        }
        let child = start_child(&place.path().join("sealed"), &[]).await;
        if wanted("transfers") {
            transfers::measure(&child, &twin).await;
        }
        if wanted("uploads") {
            requests::uploads(&child, &twin).await;
        }
    }
    if wanted("loads") {
        loads::measure().await;
    }
    if wanted("trainings") {
        let child = start_child(&place.path().join("trainings"), &[]).await;
        trainings::measure(&child, place.path()).await;
    }
    if wanted("parts") {
        transfers::in_parts(&start_child(&place.path().join("parts"), &[]).await).await;
    }
    if wanted("inference") {
        let upstream = Helper::start(&["upstream", ""]);
        let proxy = Helper::start(&["proxy", upstream.text("url")]);
        let child = start_child(
            &place.path().join("inference"),
            &["--upstream", upstream.text("url")],
        )
        .await;
        requests::inference(&child, &proxy).await;
    }
    if wanted("unwraps") {
        unwraps::measure(&start_child(&place.path().join("unwraps"), &[]).await).await;
    }
    if wanted("revocation") {
        revocation::pushed(&start_child(&place.path().join("revoked"), &[]).await).await;
        revocation::by_the_lease_alone().await;
    }
}

async fn start_child(folder: &Path, arguments: &[&str]) -> Child {
    let options = ChildOptions::new(folder);
    arguments
        .iter()
        .fold(options, |options, argument| options.arg(*argument))
        .start()
        .await
        .unwrap()
}
