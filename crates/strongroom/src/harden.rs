//! What the process gives up at its start so that keys and content stay inside it.

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};

/// New files are the owner's alone; no core dumps; no other process of the user may attach and read.
///
/// Best effort where the system forbids one of them: the rest still holds, and the log says what did not.
pub fn harden() -> Vec<Weakness> {
    umask(Mode::RWXG | Mode::RWXO);
    let mut left = Vec::new();
    // One byte, not none: of none the kernel thinks otherwise where dumps go to a program, and a trainer's cage inherits this.
    let most = Rlimit {
        current: Some(1),
        maximum: Some(1),
    };
    if setrlimit(Resource::Core, most).is_err() {
        left.push(Weakness::CoreDumps);
    }
    if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        left.push(Weakness::Dumpable);
    }
    left
}

/// Lets the process hold as many files and connections as it is allowed to at most.
pub(crate) fn raise_file_limit() {
    let allowed = getrlimit(Resource::Nofile);
    // Where it cannot be raised, fewer connections are accepted at once.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: allowed.maximum,
            ..allowed
        },
    );
}

/// A protection that this system does not give.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weakness {
    /// A crash may write memory to a file.
    CoreDumps,
    /// Other processes of the same user may read memory.
    Dumpable,
}

/// Bytes of swap that the machine has: memory that is not locked may end there.
pub(crate) fn swap_bytes() -> Option<u64> {
    let table = std::fs::read_to_string("/proc/swaps").ok()?;
    let kibibytes: u64 = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
        .sum();
    Some(kibibytes * 1024)
}
