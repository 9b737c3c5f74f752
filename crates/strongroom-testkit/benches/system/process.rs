//! Processes that are measured: what they used, and helpers made of this same binary.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Linux counts processor time for others in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// `utime` and `stime` in `/proc/PID/stat`, after the name.
const UTIME: usize = 11;

/// Processor time used so far, of all threads.
pub(crate) fn cpu(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(UTIME).take(2);
    ticks.map(|ticks| TICK * ticks.parse::<u32>().unwrap()).sum()
}

/// A line of `/proc/PID/status`, in MiB.
pub(crate) fn memory(process: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let found = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    let kib: f64 = found
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024.0
}

/// This binary in a process of its own, in another role, until its standard input ends.
pub(crate) struct Helper {
    process: Child,
    pub(crate) said: Value,
}

impl Helper {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            process,
            said: serde_json::from_str(&line).unwrap(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.said.get(name).and_then(Value::as_str).unwrap()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
