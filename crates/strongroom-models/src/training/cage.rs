//! The cage of a program that trains: every disk is read-only, what it may write is memory, there is no network, and when
//! its keeper ends everything in it ends.
//!
//! It is built of Linux namespaces by two processes, both this program. The keeper makes the namespaces, and stays outside
//! of the one for processes; the builder, first in that one, arranges the mounts, gives up every right, and becomes the
//! trainer. As its number there is 1, the kernel ends all others with it, and the kernel ends it with its keeper.

mod mounts;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{
    Resource, Rlimit, Signal, getgid, getpgrp, getppid, getuid, kill_process_group,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::wire::Said;
use crate::limits;

/// Why a program cannot be confined here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trainer cannot be confined on this machine: {reason}")]
pub struct NotCaged {
    /// What the system refused.
    pub reason: String,
}

/// Where the rehearsal model's files are inside.
pub(super) const REHEARSAL: &str = "/tmp/base-model";
/// Marks the second of the two processes.
const BUILDER: &str = "STRONGROOM_CAGE_BUILDER";

/// What to run, and how confined.
#[derive(Default)]
pub(super) struct Caging {
    /// No cage at all: only the keeper, which ends the program's group with its own parent.
    pub(super) open: bool,
    /// Build the cage and run nothing.
    pub(super) only_try: bool,
    pub(super) network: bool,
    /// Lay out the rehearsal model's files.
    pub(super) rehearsal: bool,
    pub(super) hidden: Vec<PathBuf>,
    pub(super) command: Vec<OsString>,
}

impl Caging {
    /// As arguments of this program's trainer command.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["cage".into()];
        let switches = [
            (self.open, "--open"),
            (self.only_try, "--only-try"),
            (self.network, "--network"),
            (self.rehearsal, "--rehearsal"),
        ];
        let set = switches.into_iter().filter(|(set, _)| *set);
        arguments.extend(set.map(|(_, switch)| switch.into()));
        for folder in &self.hidden {
            arguments.extend(["--hide".into(), folder.into()]);
        }
        arguments.push("--".into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }

    fn read(arguments: Vec<OsString>) -> Option<Self> {
        let mut caging = Self::default();
        let mut arguments = arguments.into_iter().skip(1);
        loop {
            match arguments.next()?.to_str()? {
                "--open" => caging.open = true,
                "--only-try" => caging.only_try = true,
                "--network" => caging.network = true,
                "--rehearsal" => caging.rehearsal = true,
                "--hide" => caging.hidden.push(arguments.next()?.into()),
                "--" => break,
                _ => return None,
            }
        }
        caging.command = arguments.collect();
        Some(caging)
    }
}

/// What the program has in its environment.
pub(super) fn environment() -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let fixed = [("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("LANG", "C.UTF-8")];
    let fixed = fixed.map(|(name, value)| (name.into(), value.into()));
    [("PATH".into(), path)].into_iter().chain(fixed).collect()
}

/// Why the cage could not be built, by what was said on stderr.
pub(super) fn reason(stderr: &[u8]) -> String {
    let mut lines = stderr.split(|byte| *byte == b'\n').filter_map(Said::read);
    match lines.next() {
        Some(Said::NotCaged { message }) => message,
        _ => "it does not say why".to_owned(),
    }
}

/// Both processes start here.
pub(super) fn main(arguments: Vec<OsString>) -> u8 {
    let Some(caging) = Caging::read(arguments) else {
        return refuse("the arguments are wrong");
    };
    let outcome = match std::env::var_os(BUILDER) {
        Some(_) => build(&caging),
        None => keep(&caging),
    };
    outcome.unwrap_or_else(|error| refuse(&error.to_string()))
}

fn refuse(reason: &str) -> u8 {
    let message = reason.to_owned();
    if let Ok(line) = serde_json::to_string(&Said::NotCaged { message }) {
        let _ = writeln!(io::stderr(), "{line}");
    }
    125
}

/// The keeper: makes the namespaces and waits.
fn keep(caging: &Caging) -> io::Result<u8> {
    let parent = getppid();
    if !caging.open {
        unshare(caging.network)?;
    }
    let mut inner = match (caging.open, caging.command.split_first()) {
        (true, Some((program, arguments))) => {
            forbid_dumps();
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        (true, None) => return Err(io::Error::other("there is no command")),
        (false, _) => {
            let mut command = Command::new("/proc/self/exe");
            command.args(std::env::args_os().skip(1)).env(BUILDER, "1");
            command
        }
    };
    let mut inner = inner.spawn()?;
    // A look now and then, because no thread can be had once there is a namespace for processes, and because a death signal
    // would come when the thread ends that asked for this process.
    let status = loop {
        if let Some(status) = inner.try_wait()? {
            break status;
        }
        if getppid() != parent {
            kill_process_group(getpgrp(), Signal::KILL)?;
        }
        std::thread::sleep(limits::CAGE_LOOK);
    };
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}

fn unshare(network: bool) -> io::Result<()> {
    let (user, group) = (getuid(), getgid());
    let mut flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC;
    if !network {
        flags |= UnshareFlags::NEWNET;
    }
    #[expect(
        deprecated,
        reason = "what is unsafe about it is sharing descriptors, which is not given up here"
    )]
    rustix::thread::unshare(flags).map_err(told("namespaces cannot be made"))?;
    fs::write("/proc/self/setgroups", "deny").map_err(told("groups cannot be fixed"))?;
    let own = |id: u32| format!("0 {id} 1");
    fs::write("/proc/self/uid_map", own(user.as_raw())).map_err(told("the user cannot be mapped"))?;
    fs::write("/proc/self/gid_map", own(group.as_raw())).map_err(told("the group cannot be mapped"))
}

/// The builder: arranges everything and becomes the trainer.
fn build(caging: &Caging) -> io::Result<u8> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(told("it would outlive its keeper"))?;
    mounts::arrange(&caging.hidden)?;
    if caging.rehearsal {
        lay_out_rehearsal()?;
    }
    forbid_dumps();
    give_up_rights().map_err(told("rights cannot be given up"))?;
    mounts::verify()?;
    if caging.only_try {
        return Ok(0);
    }
    let Some((program, arguments)) = caging.command.split_first() else {
        return Err(io::Error::other("there is no command"));
    };
    let error = Command::new(program)
        .args(arguments)
        .env_remove(BUILDER)
        .current_dir("/tmp")
        .exec();
    Err(io::Error::new(
        error.kind(),
        format!("the program cannot be run: {error}"),
    ))
}

fn lay_out_rehearsal() -> io::Result<()> {
    let put = |name: &str, bytes: &[u8]| fs::write(format!("{REHEARSAL}/{name}"), bytes);
    let files = crate::model::rehearsal::files();
    fs::create_dir(REHEARSAL)?;
    put("config.json", &files.config)?;
    put("tokenizer.json", &files.tokenizer)?;
    for weights in files.weights {
        put("model.safetensors", &weights.map_err(io::Error::other)?)?;
    }
    Ok(())
}

/// At most one byte: of 0 the kernel thinks otherwise where dumps go to a program.
fn forbid_dumps() {
    for most in [1, 0] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        if setrlimit(Resource::Core, limit).is_ok() {
            return;
        }
    }
}

/// Nothing that it runs can undo the mounts: it has no right to, and in namespaces of its own they are locked.
fn give_up_rights() -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // The kernel knows no more.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    set_no_new_privs(true)
}

fn told<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}
