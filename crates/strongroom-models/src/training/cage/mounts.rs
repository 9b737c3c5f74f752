//! What the inside of the cage looks like: the machine's files, none of which can be written; memory where programs
//! look for room; the few devices that programs need.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_move, mount_remount,
};

use super::told;

/// Room for what programs write, in memory. `/run` holds other programs' sockets, which must not be seen.
const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/run"];
/// Where the devices are put together.
const STAGE: &str = "/tmp/.devices";
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Accelerators, by the start of their names.
const ACCELERATORS: [&str; 3] = ["nvidia", "kfd", "dri"];

/// Arranges the mounts.
pub(super) fn arrange(hidden: &[PathBuf]) -> io::Result<()> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(told("mounts cannot be made private"))?;
    for (place, options) in table()? {
        let flags = kept(&options) | MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
        match mount_remount(&place, flags | MountFlags::NODEV, c"") {
            // Hidden under another mount, and so out of reach.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let place = place.display();
                return Err(io::Error::other(format!(
                    "{place} cannot be made read-only: {error}"
                )));
            }
        }
    }
    for place in SCRATCH {
        if Path::new(place).is_dir() {
            memory(place, MountFlags::NOSUID | MountFlags::NODEV)?;
        }
    }
    devices()?;
    for folder in hidden {
        if folder.is_dir() {
            memory(
                folder,
                MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
            )?;
        }
    }
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(told("/proc cannot be made anew"))
}

/// Every mount that can be reached is read-only or memory of this cage.
pub(super) fn verify() -> io::Result<()> {
    let mut seen = BTreeMap::new();
    // The last at a place hides the others.
    seen.extend(table()?);
    for (place, options) in seen {
        let private = SCRATCH.iter().any(|scratch| place == Path::new(scratch));
        // In there: memory, and devices that are no disks.
        let private = private || place.parent().is_some_and(|folder| folder == Path::new("/dev"));
        let read_only = options.iter().any(|option| option == "ro");
        if !read_only && !private && place.exists() {
            let place = place.display();
            return Err(io::Error::other(format!("{place} is not read-only")));
        }
    }
    match fs::File::create("/strongroom-cage") {
        Err(_) => Ok(()),
        Ok(_) => Err(io::Error::other("the root folder can be written")),
    }
}

fn memory(place: impl AsRef<Path>, flags: MountFlags) -> io::Result<()> {
    // A part of the machine's memory, so that a program that writes without end does not take it all.
    mount(
        "tmpfs",
        place.as_ref(),
        "tmpfs",
        flags,
        c"mode=0700,size=25%,nr_inodes=1000000",
    )
    .map_err(told("there is no memory to write to"))
}

/// A folder of devices in memory takes the place of `/dev`, whose block devices are disks.
fn devices() -> io::Result<()> {
    let failed = "the devices cannot be arranged";
    fs::create_dir(STAGE)?;
    memory(STAGE, MountFlags::NOSUID | MountFlags::NOEXEC)?;
    let stage = Path::new(STAGE);
    let more = fs::read_dir("/dev")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| ACCELERATORS.iter().any(|start| name.starts_with(start)));
    for name in DEVICES.into_iter().map(str::to_owned).chain(more) {
        let (from, to) = (Path::new("/dev").join(&name), stage.join(&name));
        match from.is_dir() {
            true => fs::create_dir(&to)?,
            false => drop(fs::File::create(&to)?),
        }
        mount_bind(&from, &to).map_err(told(failed))?;
        mount_remount(
            &to,
            MountFlags::BIND | MountFlags::NOSUID | MountFlags::NOEXEC,
            c"",
        )
        .map_err(told(failed))?;
    }
    fs::create_dir(stage.join("shm"))?;
    memory(stage.join("shm"), MountFlags::NOSUID | MountFlags::NODEV)?;
    symlink("/proc/self/fd", stage.join("fd"))?;
    for (number, name) in ["stdin", "stdout", "stderr"].into_iter().enumerate() {
        symlink(format!("/proc/self/fd/{number}"), stage.join(name))?;
    }
    mount_move(STAGE, "/dev").map_err(told(failed))?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_remount("/dev", flags, c"").map_err(told(failed))
}

/// The mounts of this process and their options, in the order in which they lie on each other.
fn table() -> io::Result<Vec<(PathBuf, Vec<String>)>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let rows = table.split(|byte| *byte == b'\n').filter(|row| !row.is_empty());
    rows.map(|row| {
        let mut columns = row.split(|byte| *byte == b' ').skip(4);
        let (place, options) = (columns.next(), columns.next());
        let (Some(place), Some(options)) = (place, options) else {
            return Err(io::Error::other("the table of mounts cannot be read"));
        };
        let options = String::from_utf8_lossy(options);
        Ok((plain(place), options.split(',').map(str::to_owned).collect()))
    })
    .collect()
}

/// Undoes the octal escapes of a path.
fn plain(escaped: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((first, more)) = rest.split_first() {
        let code = more
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        path.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => more.get(3..).unwrap_or_default(),
            None => more,
        };
    }
    PathBuf::from(std::ffi::OsString::from_vec(path))
}

/// The flags that whoever made a mount may have locked; leaving one out would be refused.
fn kept(options: &[String]) -> MountFlags {
    let has = |name: &str| options.iter().any(|option| option == name);
    let mut flags = MountFlags::empty();
    for (name, flag) in [
        ("noexec", MountFlags::NOEXEC),
        ("noatime", MountFlags::NOATIME),
        ("nodiratime", MountFlags::NODIRATIME),
        ("relatime", MountFlags::RELATIME),
    ] {
        if has(name) {
            flags |= flag;
        }
    }
    if !has("noatime") && !has("relatime") {
        flags |= MountFlags::STRICTATIME;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_paths_and_locked_flags_are_read() {
        assert_eq!(plain(br"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(plain(br"/a\04"), Path::new(r"/a\04"));
        let options = ["rw", "noexec", "relatime"].map(str::to_owned);
        assert_eq!(kept(&options), MountFlags::NOEXEC | MountFlags::RELATIME);
        assert_eq!(kept(&[]), MountFlags::STRICTATIME);
    }

    #[test]
    fn the_table_of_this_process_has_its_root() {
        assert!(
            table()
                .expect("table")
                .iter()
                .any(|(place, _)| place == Path::new("/"))
        );
    }
}
