//! How close sealing and opening come to raw AES-256-GCM of the same library, in one run.
//!
//! Prints one JSON object a line: `name`, `value`, `unit`, and where there is one `ratio` and `goal` (of the ratio, or else of the value; the
//! least, or with `better` `lower` the most). Rounds of what is compared alternate; medians are reported.
//! Rates are by the processor time of each thread, so that what else the machine does is left out. The file lies in `/dev/shm`, so it is page cache that is read.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use strongroom_seal::{
    AccountId, BlobSealer, BranchKey, BranchVersion, Context, ObjectKey, Secret, blob_layout, open_stream,
    seal_stream,
};

type Failure = Box<dyn Error>;

const SEGMENT: usize = blob_layout::SEGMENT_LEN;
const TAG: usize = blob_layout::TAG_LEN;
/// Segments in one round of one measure: about 30 ms.
const ROUND: u32 = 256;
const ROUNDS: usize = 9;
const FILE_LEN: u64 = 1 << 30;
const FILE_ROUNDS: usize = 5;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["child-seal", path] => file_child("file_seal", Path::new(path), 1.0, seal_file),
        ["child-open", path] => file_child("file_open", Path::new(path), 0.9, open_file),
        other if other.contains(&"--list") || other.contains(&"--test") => Ok(()),
        _ => {
            memory()?;
            small()?;
            files()
        }
    }
}

fn context() -> Result<Context<'static>, Failure> {
    let account = AccountId::from_uuid(uuid::Uuid::from_u128(1));
    Ok(Context::new(account, "file", "file-bench", 1)?)
}

/// A moment by the processor time of this thread.
struct Start(Duration);

fn now() -> Start {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Start(time.try_into().unwrap_or_default())
}

impl Start {
    fn elapsed(&self) -> Duration {
        now().0.saturating_sub(self.0)
    }
}

/// Rates in bytes per second.
fn rate(bytes: f64, time: Duration) -> f64 {
    bytes / time.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn report(name: &str, bytes_per_second: f64, compared: Option<(f64, f64)>) -> io::Result<()> {
    let value = bytes_per_second / 1e9;
    let rest = compared.map_or_else(String::new, |(ratio, goal)| {
        format!(r#","ratio":{ratio:.3},"goal":{goal}"#)
    });
    writeln!(
        io::stdout(),
        r#"{{"name":"{name}","value":{value:.3},"unit":"GB/s"{rest}}}"#
    )
}

// In memory.

type Round = fn() -> Result<f64, Failure>;

fn memory() -> Result<(), Failure> {
    let measures: [Round; 5] = [raw_seal, raw_open, seal, open, push];
    let mut rates: [Vec<f64>; 5] = Default::default();
    let mut two_cores: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (measure, rates) in measures.iter().zip(&mut rates) {
            rates.push(measure()?);
        }
        two_cores[0].push(twice(seal)?);
        two_cores[1].push(twice(open)?);
    }
    let [raw_seal, raw_open, seal, open, push] = rates.map(median);
    let [seal_twice, open_twice] = two_cores.map(median);
    report("raw_aes_256_gcm_seal", raw_seal, None)?;
    report("raw_aes_256_gcm_open", raw_open, None)?;
    report("seal_in_memory", seal, Some((seal / raw_seal, 0.9)))?;
    report("open_in_memory", open, Some((open / raw_open, 0.9)))?;
    report("seal_in_memory_with_one_copy", push, None)?;
    report(
        "seal_in_memory_on_two_cores",
        seal_twice,
        Some((seal_twice / seal, 1.8)),
    )?;
    report(
        "open_in_memory_on_two_cores",
        open_twice,
        Some((open_twice / open, 1.8)),
    )?;
    Ok(())
}

fn raw_key() -> Result<LessSafeKey, Failure> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32])?))
}

fn nonce(number: u32) -> Nonce {
    let [a, b, c, d] = number.to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

fn raw_seal() -> Result<f64, Failure> {
    let (key, mut buffer) = (raw_key()?, vec![1; SEGMENT]);
    let start = now();
    for number in 0..ROUND {
        let tag = key.seal_in_place_separate_tag(nonce(number), Aad::empty(), &mut buffer)?;
        drop(black_box(tag));
    }
    Ok(rate(f64::from(ROUND) * buffer.len() as f64, start.elapsed()))
}

fn raw_open() -> Result<f64, Failure> {
    let (key, mut sealed) = (raw_key()?, vec![1; SEGMENT]);
    let tag = key.seal_in_place_separate_tag(nonce(0), Aad::empty(), &mut sealed)?;
    let (mut buffer, mut time) = (sealed.clone(), Duration::ZERO);
    for _ in 0..ROUND {
        buffer.copy_from_slice(&sealed);
        let start = now();
        black_box(key.open_in_place_separate_tag(nonce(0), Aad::empty(), tag.as_ref(), &mut buffer)?);
        time += start.elapsed();
    }
    Ok(rate(f64::from(ROUND) * buffer.len() as f64, time))
}

fn sealer() -> Result<BlobSealer, Failure> {
    let mut sealer = ObjectKey::generate()?.blob_sealer(&context()?)?;
    // The first segment makes the buffer grow to its final size.
    fill(&mut sealer)?;
    sealer.seal_segment()?;
    Ok(sealer)
}

/// As a reader would that reads straight into the buffer.
fn fill(sealer: &mut BlobSealer) -> Result<(), Failure> {
    while !sealer.is_full() {
        let count = sealer.spare().len();
        sealer.filled(count)?;
    }
    Ok(())
}

fn seal() -> Result<f64, Failure> {
    let mut sealer = sealer()?;
    let (before, start) = (sealer.plain_len(), now());
    for _ in 0..ROUND {
        fill(&mut sealer)?;
        black_box(sealer.seal_segment()?);
    }
    Ok(rate((sealer.plain_len() - before) as f64, start.elapsed()))
}

/// As a handler does that is given its bytes in a buffer of someone else's.
fn push() -> Result<f64, Failure> {
    let (mut sealer, plain) = (sealer()?, vec![1; SEGMENT - TAG]);
    let (before, start) = (sealer.plain_len(), now());
    for _ in 0..ROUND {
        sealer.push(&mut plain.as_slice());
        black_box(sealer.seal_segment()?);
    }
    Ok(rate((sealer.plain_len() - before) as f64, start.elapsed()))
}

fn open() -> Result<f64, Failure> {
    let key = ObjectKey::generate()?;
    let mut sealer = key.blob_sealer(&context()?)?;
    let opener = key.blob_opener(&context()?, sealer.header())?;
    fill(&mut sealer)?;
    sealer.seal_segment()?;
    fill(&mut sealer)?;
    let sealed = sealer.seal_segment()?.to_vec();
    let (mut buffer, mut time) = (sealed.clone(), Duration::ZERO);
    for _ in 0..ROUND {
        buffer.copy_from_slice(&sealed);
        let start = now();
        black_box(opener.open_segment(1, false, &mut buffer)?);
        time += start.elapsed();
    }
    Ok(rate(f64::from(ROUND) * (SEGMENT - TAG) as f64, time))
}

/// The same on two threads at once: the sum of their rates. What they slow each other down by shows.
fn twice(round: Round) -> Result<f64, Failure> {
    let both = std::sync::Barrier::new(2);
    let run = || {
        both.wait();
        round().unwrap_or(0.0)
    };
    let rates: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    Ok(rates.iter().sum())
}

// Small things: what one record costs.

fn small() -> Result<(), Failure> {
    let (context, content) = (context()?, [0x5a; 1024]);
    let seed = Secret::random()?;
    let branch = BranchKey::derive(&seed, context.account(), BranchVersion::FIRST)?;
    let key = ObjectKey::generate()?;
    let (record, wrapped) = (key.seal_record(&context, &content)?, branch.wrap(&context, &key)?);
    each("seal_record_1_kib", || Ok(key.seal_record(&context, &content)?))?;
    each("open_record_1_kib", || Ok(key.open_record(&context, &record)?))?;
    each("wrap_fresh_object_key", || {
        Ok(branch.wrap(&context, &ObjectKey::generate()?)?)
    })?;
    each("unwrap_object_key", || Ok(branch.unwrap(&context, &wrapped)?))
}

fn each<T>(name: &str, operation: impl Fn() -> Result<T, Failure>) -> Result<(), Failure> {
    const TIMES: u32 = 20_000;
    let start = now();
    for _ in 0..TIMES {
        black_box(operation()?);
    }
    let microseconds = start.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES);
    writeln!(
        io::stdout(),
        r#"{{"name":"{name}","value":{microseconds:.3},"unit":"µs"}}"#
    )?;
    Ok(())
}

// Files. Each direction runs in a process of its own, so that its peak memory can be read off.

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn files() -> Result<(), Failure> {
    let folder = Path::new("/dev/shm");
    let folder = if folder.is_dir() {
        folder.to_owned()
    } else {
        std::env::temp_dir()
    };
    let file = Removed(folder.join(format!("strongroom-bench-{}", std::process::id())));
    let mut writer = File::create(&file.0)?;
    io::copy(&mut io::repeat(0x5a).take(FILE_LEN), &mut writer)?;
    for child in ["child-seal", "child-open"] {
        let status = Command::new(std::env::current_exe()?)
            .arg(child)
            .arg(&file.0)
            .status()?;
        if !status.success() {
            return Err(format!("{child} failed").into());
        }
    }
    Ok(())
}

type FileRound = fn(&ObjectKey, &Path) -> Result<f64, Failure>;

fn file_child(name: &str, path: &Path, goal: f64, round: FileRound) -> Result<(), Failure> {
    let key = ObjectKey::generate()?;
    if name == "file_open" {
        // Seals the file in place of its content, once.
        let sealed = Removed(path.with_extension("sealed"));
        let writer = File::create(&sealed.0)?;
        seal_stream(key.blob_sealer(&context()?)?, File::open(path)?, &writer)?;
        return file_rounds(name, &key, &sealed.0, goal, round);
    }
    file_rounds(name, &key, path, goal, round)
}

fn file_rounds(name: &str, key: &ObjectKey, path: &Path, goal: f64, round: FileRound) -> Result<(), Failure> {
    let (mut copies, mut raws, mut ours) = (vec![], vec![], vec![]);
    for _ in 0..FILE_ROUNDS {
        copies.push(copy_file(path)?);
        raws.push(if name == "file_open" {
            raw_open()?
        } else {
            raw_seal()?
        });
        ours.push(round(key, path)?);
    }
    let (copy, raw, ours) = (median(copies), median(raws), median(ours));
    let bound = 1.0 / (1.0 / copy + 1.0 / raw);
    report(&format!("{name}_copy_alone"), copy, None)?;
    report(name, ours, Some((ours / bound, goal)))?;
    writeln!(
        io::stdout(),
        r#"{{"name":"{name}_peak_memory","value":{:.1},"unit":"MiB","goal":8,"better":"lower"}}"#,
        peak_memory()?
    )?;
    Ok(())
}

fn copy_file(path: &Path) -> Result<f64, Failure> {
    let (mut file, mut buffer, mut total) = (File::open(path)?, vec![0; SEGMENT], 0);
    let start = now();
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(rate(total as f64, start.elapsed()));
        }
        io::sink().write_all(black_box(buffer.split_at(count).0))?;
        total += count;
    }
}

fn seal_file(key: &ObjectKey, path: &Path) -> Result<f64, Failure> {
    let (file, start) = (File::open(path)?, now());
    let stored = seal_stream(key.blob_sealer(&context()?)?, file, io::sink())?;
    Ok(rate(stored as f64, start.elapsed()))
}

fn open_file(key: &ObjectKey, path: &Path) -> Result<f64, Failure> {
    let (file, start) = (File::open(path)?, now());
    let stored = file.metadata()?.len();
    let plain = open_stream(key, &context()?, stored, file, io::sink())?;
    Ok(rate(plain as f64, start.elapsed()))
}

/// The most memory this process ever held, in MiB.
fn peak_memory() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .ok_or("no VmHWM")?;
    Ok(kibibytes.trim().parse::<f64>()? / 1024.0)
}
