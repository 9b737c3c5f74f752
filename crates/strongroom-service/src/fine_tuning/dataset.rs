//! Training sets: read line by line, checked before anything is trained, handed to a trainer.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::stream;
use strongroom_models::{BoxStream, EXAMPLE_BYTES, ExampleFault, Examples, Trainer};
use strongroom_store::{Permit, Store, StoreError};

use super::record::JobError;
use crate::files::{Content, File};
use crate::limits;

/// What came of checking a file.
pub(super) enum Verdict {
    /// So many examples.
    Fit(u64),
    /// What to tell.
    Unfit(JobError),
}

/// Checks every line of a file.
pub(super) async fn check(
    store: &Store,
    read: &Permit,
    trainer: &dyn Trainer,
    id: &str,
    param: &'static str,
) -> Result<Verdict, StoreError> {
    let unfit = |message: String| {
        Ok(Verdict::Unfit(JobError {
            code: format!("invalid_{param}"),
            message,
            param: Some(param.to_owned()),
        }))
    };
    let mut lines = match Lines::open(store, read, id).await {
        Err(StoreError::NotFound) => return unfit(format!("The file {id} does not exist any more.")),
        other => other?,
    };
    let (mut count, mut wrong, mut told) = (0_u64, 0_u64, String::new());
    while let Some(line) = lines.next().await? {
        count += 1;
        let fault = match &line.bytes {
            Some(bytes) => trainer.check(bytes).err(),
            None => Some(ExampleFault::TooLong),
        };
        if let Some(fault) = fault {
            wrong += 1;
            if wrong <= limits::FAULTS_TOLD {
                // Writing to a string does not fail.
                let _ = write!(told, " Line {}: {fault}.", line.number);
            }
        }
    }
    if wrong > 0 {
        let more = wrong.saturating_sub(limits::FAULTS_TOLD);
        if more > 0 {
            let _ = write!(told, " And {more} more.");
        }
        return unfit(format!(
            "The job failed due to an invalid {}: {wrong} of {count} lines are wrong.{told}",
            param.replace('_', " ")
        ));
    }
    let least = match param {
        "training_file" => limits::EXAMPLES_LEAST,
        _ => 1,
    };
    match count {
        _ if count < least => unfit(format!(
            "The file has {count} examples, but at least {least} are needed."
        )),
        _ if count > limits::EXAMPLES_MOST => unfit(format!(
            "The file has {count} examples, but at most {} are taken.",
            limits::EXAMPLES_MOST
        )),
        _ => Ok(Verdict::Fit(count)),
    }
}

/// Where it is noted why a stream of examples broke off: a trainer only hears that it did.
pub(super) type Broken = Arc<Mutex<Option<StoreError>>>;

/// A checked file for a trainer.
pub(super) async fn examples(
    store: &Store,
    read: &Permit,
    id: &str,
    count: u64,
    broken: &Broken,
) -> Result<Examples, StoreError> {
    let lines = Lines::open(store, read, id).await?;
    let broken = Arc::clone(broken);
    let lines = stream::unfold(Some(lines), move |lines| {
        let broken = Arc::clone(&broken);
        async move {
            let mut lines = lines?;
            match lines.next().await {
                Ok(Some(line)) => Some((Ok(line.whole()), Some(lines))),
                Ok(None) => None,
                Err(error) => Some((Err(note(&broken, error)), None)),
            }
        }
    });
    Ok(Examples {
        count,
        lines: Box::pin(lines),
    })
}

/// A blob for a trainer.
pub(super) fn pieces(
    reader: strongroom_store::BlobReader,
    broken: &Broken,
) -> BoxStream<'static, io::Result<Bytes>> {
    let broken = Arc::clone(broken);
    Box::pin(stream::unfold(Some(reader), move |reader| {
        let broken = Arc::clone(&broken);
        async move {
            let mut reader = reader?;
            match reader.next_chunk().await? {
                Ok(piece) => Some((Ok(piece), Some(reader))),
                Err(error) => Some((Err(note(&broken, error)), None)),
            }
        }
    }))
}

fn note(broken: &Broken, error: StoreError) -> io::Error {
    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    io::Error::other("the data could not be opened to its end")
}

/// The lines of a file that are not blank.
struct Lines {
    content: Content,
    rest: BytesMut,
    number: u64,
    /// The present line is longer than any may be, and what was read of it is gone.
    too_long: bool,
    ended: bool,
}

/// One line, without its end.
struct Line {
    /// Counted from 1, blank lines too.
    number: u64,
    /// None, if it is too long.
    bytes: Option<Bytes>,
}

impl Line {
    fn whole(self) -> Bytes {
        let mut line = BytesMut::from(self.bytes.unwrap_or_default());
        line.extend_from_slice(b"\n");
        line.freeze()
    }
}

impl Lines {
    async fn open(store: &Store, read: &Permit, id: &str) -> Result<Self, StoreError> {
        let file = File::find(store, read, id).await.map_err(super::store_error)?;
        Ok(Self {
            content: file.read(store, read, None).await?,
            rest: BytesMut::new(),
            number: 0,
            too_long: false,
            ended: false,
        })
    }

    async fn next(&mut self) -> Result<Option<Line>, StoreError> {
        let mut searched = 0;
        loop {
            let end = self
                .rest
                .get(searched..)
                .and_then(|rest| memchr::memchr(b'\n', rest));
            if let Some(end) = end {
                let line = self.rest.split_to(searched + end + 1);
                searched = 0;
                if let Some(line) = self.line(line) {
                    return Ok(Some(line));
                }
                continue;
            }
            searched = self.rest.len();
            if searched > EXAMPLE_BYTES + 2 {
                self.too_long = true;
                self.rest.clear();
                searched = 0;
            }
            if self.ended {
                let line = std::mem::take(&mut self.rest);
                return Ok(self.line(line));
            }
            match self.content.next_chunk().await {
                Some(piece) => self.rest.extend_from_slice(&piece?),
                None => self.ended = true,
            }
        }
    }

    fn line(&mut self, mut line: BytesMut) -> Option<Line> {
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.truncate(line.len() - 1);
        }
        let too_long = std::mem::take(&mut self.too_long);
        let blank = line.iter().all(u8::is_ascii_whitespace);
        if blank && line.is_empty() && self.ended && !too_long {
            return None;
        }
        self.number += 1;
        (!blank || too_long).then(|| Line {
            number: self.number,
            bytes: (!too_long).then(|| line.freeze()),
        })
    }
}
