//! A process that was just started: how soon it is ready, and what it holds when nobody asks.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use strongroom_testkit::{ChildOptions, strongroom_program};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::process::memory;
use crate::report::{Goal, median, report};

const STARTS: usize = 7;
const QUIET: Duration = Duration::from_secs(3);

pub(crate) async fn measure() {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        first.push(until_ready(&folder).await);
        later.push(until_ready(&folder).await);
    }
    report("first start to ready", median(&first), "ms", &Goal::AtMost(200.0));
    report(
        "a later start to ready",
        median(&later),
        "ms",
        &Goal::AtMost(200.0),
    );
    let place = tempfile::tempdir().unwrap();
    let child = ChildOptions::new(&place.path().join("data"))
        .start()
        .await
        .unwrap();
    tokio::time::sleep(QUIET).await;
    report(
        "idle memory",
        memory(child.id(), "VmRSS"),
        "MiB",
        &Goal::AtMost(40.0),
    );
}

/// Milliseconds from the start of the process to the first yes of `/readyz`.
async fn until_ready(folder: &Path) -> f64 {
    let [http, https] = [free_port().await, free_port().await];
    let mut command = Command::new(strongroom_program().unwrap());
    command.args([
        "up",
        "--http-port",
        &http.to_string(),
        "--https-port",
        &https.to_string(),
        "--data",
    ]);
    let begun = Instant::now();
    let mut process = command
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !is_ready(http).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let time = begun.elapsed();
    process.kill().unwrap();
    process.wait().unwrap();
    time.as_secs_f64() * 1e3
}

async fn is_ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else {
        return false;
    };
    let request = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    let sent = stream.write_all(request).await.is_ok() && stream.read_to_end(&mut answer).await.is_ok();
    sent && answer.starts_with(b"HTTP/1.1 200")
}

async fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
