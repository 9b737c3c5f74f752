//! A turn at a batch: its lines validated, asked a few at once, and their answers committed piece by piece, each piece together with how far the batch is.
//!
//! A kill, a denied key or a lost claim costs the lines that are in flight and those of the piece that is being written; they are asked again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use strongroom_store::{
    AccountId, Change, Expiry, JobEnd, JobHandler, JobStop, JobTurn, Object, StoreError, Unit, Wish,
};
use tokio::sync::mpsc;

use super::ask::{self, Asked, Asker};
use super::lines::{Line, Lines};
use super::record::{BatchRecord, End, Position, Status};
use super::results::{Closing, Piece, Results};
use super::task::LineFault;
use super::{KIND, now, validate};
use crate::files::File;
use crate::limits;
use crate::problem::Problem;
use crate::service::Service;

/// Works on batches.
pub(super) struct Batches {
    /// The store, which the service holds, holds this.
    pub(super) service: Weak<Service>,
}

impl JobHandler for Batches {
    fn run(&self, turn: JobTurn) -> futures::future::BoxFuture<'_, Result<JobEnd, JobStop>> {
        Box::pin(async move {
            let service = self
                .service
                .upgrade()
                .ok_or(JobStop::Again(limits::RETRY_AFTER))?;
            Work { service, turn }.go().await.map_err(stop)
        })
    }
}

/// Why a turn ends before the batch.
enum Halt {
    /// It is to wait.
    Held,
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

fn stop(halt: Halt) -> JobStop {
    match halt {
        Halt::Held => JobStop::Held,
        Halt::Problem(Problem::Key(denied)) => StoreError::Key(denied).into(),
        Halt::Problem(problem) => {
            if let Some(detail) = problem.for_the_log() {
                tracing::error!(detail, "a batch stopped for now");
            }
            JobStop::Blocked
        }
    }
}

struct Work {
    service: Arc<Service>,
    turn: JobTurn,
}

/// A line that was asked.
struct Done {
    end: u64,
    number: u64,
    asked: Asked,
}

impl Work {
    async fn go(&self) -> Result<JobEnd, Halt> {
        loop {
            let (object, record) = self.find().await?;
            match record.status {
                Status::Validating => self.validate(&object, record).await?,
                Status::InProgress => self.work(record).await?,
                Status::Finalizing(end) => self.finish(&object, record, end).await?,
                Status::Failed => return Ok(JobEnd::Failed),
                Status::Ended(End::Cancelled) => return Ok(JobEnd::Cancelled),
                Status::Ended(_) => return Ok(JobEnd::Done),
            }
        }
    }

    fn account(&self) -> AccountId {
        self.turn.account()
    }

    async fn find(&self) -> Result<(Object, BatchRecord), Halt> {
        let object = self
            .turn
            .store()
            .get(self.turn.read(), KIND, self.turn.object())
            .await?;
        let record = BatchRecord::read(&object)?;
        Ok((object, record))
    }

    /// The lines from a position on; none if the file is gone.
    async fn lines(&self, record: &BatchRecord) -> Result<Option<Lines>, Halt> {
        let (store, read) = (self.turn.store(), self.turn.read());
        let file = match File::find(store, read, &record.input).await {
            Ok(file) => file,
            Err(Problem::NotFound { .. }) => return Ok(None),
            Err(problem) => return Err(problem.into()),
        };
        let from = record.position.offset;
        let content = file.read(store, read, Some(from..file.len())).await?;
        Ok(Some(Lines::new(content, from, record.position.lines)))
    }

    async fn validate(&self, object: &Object, mut record: BatchRecord) -> Result<(), Halt> {
        if self.turn.wish() == Some(Wish::Cancel) {
            return self.turn_to(object, record, End::Cancelled).await;
        }
        match self.lines(&record).await? {
            Some(lines) => {
                let look = validate::validate(&self.service, self.account(), &mut record, lines);
                tokio::select! {
                    biased;
                    wish = self.turn.wished() => return self.heed(wish).await,
                    looked = look => looked?,
                }
            }
            None => gone(&mut record),
        }
        let now = now(&self.service);
        let mut unit = Unit::new().total(record.total);
        if record.faults.is_empty() {
            record.status = Status::InProgress;
            record.times.in_progress = Some(now);
        } else {
            record.status = Status::Failed;
            record.times.failed = Some(now);
            unit = unit.end(JobEnd::Failed);
        }
        self.commit(object, &record, unit).await
    }

    /// A wish that came while nothing was to be kept.
    async fn heed(&self, wish: Wish) -> Result<(), Halt> {
        match wish {
            Wish::Cancel => {
                let (object, record) = self.find().await?;
                self.turn_to(&object, record, End::Cancelled).await
            }
            Wish::Hold | Wish::Resume => Err(Halt::Held),
        }
    }

    /// Replaces the record.
    async fn commit(&self, object: &Object, record: &BatchRecord, unit: Unit<'_>) -> Result<(), Halt> {
        let body = record.write()?;
        let change = Change {
            body: &body,
            expires: self.expiry(record),
        };
        let whole: Unit<'_> = unit.update(&object.meta, change);
        Ok(self.turn.commit(whole).await?)
    }

    /// A batch has no end of life before its end: what is left to be done must not be shredded with what is done.
    fn expiry(&self, record: &BatchRecord) -> Expiry {
        let life = self.service.retention(self.account()).batches;
        match life.filter(|_| record.status.is_end()) {
            Some(life) => Expiry::In(life),
            None => Expiry::Keep,
        }
    }

    /// Nothing more is asked.
    async fn turn_to(&self, object: &Object, mut record: BatchRecord, end: End) -> Result<(), Halt> {
        let now = now(&self.service);
        match end {
            End::Cancelled => record.times.cancelling = Some(now),
            End::Completed | End::Expired => record.times.finalizing = Some(now),
        }
        record.status = Status::Finalizing(end);
        self.commit(object, &record, Unit::new()).await
    }

    /// Asks what is left to be asked.
    async fn work(&self, record: BatchRecord) -> Result<(), Halt> {
        let Some(lines) = self.lines(&record).await? else {
            // Deleted under way: what is there is kept, the rest cannot be asked.
            let (object, mut record) = self.find().await?;
            gone(&mut record);
            return self.turn_to(&object, record, End::Cancelled).await;
        };
        let asker = Asker {
            service: Arc::clone(&self.service),
            account: self.account(),
            batch: self.turn.object().to_owned(),
            endpoint: record.endpoint,
            window: record.window,
            rights: record.rights,
        };
        // What is asked and what is written go on beside each other; a line that waits here is in flight, too.
        let (sender, receiver) = mpsc::channel(limits::BATCH_LINES_AT_ONCE);
        let asking = async {
            let end = self.ask_all(&asker, lines, &sender).await;
            drop(sender);
            end
        };
        let writing = self.write_all(record, receiver);
        let (end, written) = tokio::join!(asking, writing);
        written?;
        let (object, record) = self.find().await?;
        self.turn_to(&object, record, end?).await
    }

    /// Asks line after line, a few at once, until there are none or no more are to be asked.
    async fn ask_all(&self, asker: &Asker, lines: Lines, sender: &mpsc::Sender<Done>) -> Result<End, Halt> {
        let asked = stream::unfold(
            lines,
            |mut lines| async move { Some((lines.next().await?, lines)) },
        )
        .map(|line| async move { ask_line(asker, line?).await })
        .buffered(limits::BATCH_LINES_AT_ONCE);
        let mut asked = std::pin::pin!(asked);
        let expiry = tokio::time::sleep(self.left(asker.window));
        let mut expiry = std::pin::pin!(expiry);
        loop {
            let done = tokio::select! {
                biased;
                wish = self.turn.wished() => return match wish {
                    Wish::Cancel => Ok(End::Cancelled),
                    Wish::Hold | Wish::Resume => Err(Halt::Held),
                },
                () = &mut expiry => return Ok(End::Expired),
                next = asked.next() => match next {
                    Some(done) => done?,
                    None => return Ok(End::Completed),
                },
            };
            if sender.send(done).await.is_err() {
                // The other side failed, and says why.
                return Ok(End::Completed);
            }
        }
    }

    /// How long a window still is.
    fn left(&self, window: Duration) -> Duration {
        let passed = self.turn.now_ms().saturating_sub(self.turn.created_ms());
        window.saturating_sub(Duration::from_millis(passed))
    }

    /// Writes what was asked, in pieces.
    async fn write_all(&self, record: BatchRecord, mut asked: mpsc::Receiver<Done>) -> Result<(), Halt> {
        // So many that the files can hold all pieces, however often a turn ends with one that is short.
        let pieces = limits::BATCH_PIECES.saturating_sub(record.output.len().max(record.errors.len()));
        let left = record.total.saturating_sub(record.position.done());
        let of_a_piece = left
            .div_ceil(pieces.max(1))
            .max(limits::BATCH_LINES_AT_ONCE as u64);
        let mut piece = Growing::of(&record);
        while let Some(done) = asked.recv().await {
            let Done { end, number, asked } = done;
            piece.write(&self.turn, asked).await?;
            piece.position.offset = end;
            piece.position.lines = number;
            piece.lines += 1;
            if piece.lines >= of_a_piece {
                piece = self.keep(piece).await?;
            }
        }
        if piece.lines > 0 {
            self.keep(piece).await?;
        }
        Ok(())
    }

    /// Commits a piece, with how far the batch is then.
    async fn keep(&self, piece: Growing) -> Result<Growing, Halt> {
        let (object, mut record) = self.find().await?;
        let (output, output_blob) = piece.output.end(&self.turn, &mut record.output).await?.part();
        let (errors, errors_blob) = piece.errors.end(&self.turn, &mut record.errors).await?.part();
        record.position = piece.position;
        let body = record.write()?;
        let change = Change {
            body: &body,
            expires: Expiry::Keep,
        };
        let unit = Unit::new()
            .update(&object.meta, change)
            .done(record.position.done());
        let unit = errors.add(output.add(unit, output_blob), errors_blob);
        self.turn.commit(unit).await?;
        Ok(Growing::of(&record))
    }

    /// Makes files of the results and ends the batch, in one commit.
    async fn finish(&self, object: &Object, mut record: BatchRecord, end: End) -> Result<(), Halt> {
        if end == End::Expired && record.position.done() < record.total {
            return self.write_expired(record).await;
        }
        let now = now(&self.service);
        let life = record.output_life;
        let output = Closing::of(&self.turn, &record.output, life, now).await?;
        let errors = Closing::of(&self.turn, &record.errors, life, now).await?;
        record.status = Status::Ended(end);
        let job_end = match end {
            End::Completed => {
                record.times.completed = Some(now);
                JobEnd::Done
            }
            End::Expired => {
                record.times.expired = Some(now);
                JobEnd::Done
            }
            End::Cancelled => {
                record.times.cancelled = Some(now);
                JobEnd::Cancelled
            }
        };
        let body = record.write()?;
        let change = Change {
            body: &body,
            expires: self.expiry(&record),
        };
        let unit = Unit::new().update(&object.meta, change).end(job_end);
        let unit = [&output, &errors]
            .into_iter()
            .flatten()
            .fold(unit, |unit, closing| closing.add(unit));
        Ok(self.turn.commit(unit).await?)
    }

    /// Says of each line that there was no time for it.
    async fn write_expired(&self, record: BatchRecord) -> Result<(), Halt> {
        let Some(mut lines) = self.lines(&record).await? else {
            let (object, mut record) = self.find().await?;
            gone(&mut record);
            return self.turn_to(&object, record, End::Cancelled).await;
        };
        let endpoint = record.endpoint;
        let mut piece = Growing::of(&record);
        while let Some(line) = lines.next().await {
            let Line { number, end, text } = line?;
            let asked = ask::expired(&text.unwrap_or_default(), endpoint)?;
            piece.write(&self.turn, asked).await?;
            piece.position.offset = end;
            piece.position.lines = number;
        }
        self.keep(piece).await.map(drop)
    }
}

/// What was asked since the last commit.
struct Growing {
    output: Piece,
    errors: Piece,
    /// Where they go.
    results: (Results, Results),
    position: Position,
    lines: u64,
}

impl Growing {
    fn of(record: &BatchRecord) -> Self {
        Self {
            output: Piece::default(),
            errors: Piece::default(),
            results: (record.output.clone(), record.errors.clone()),
            position: record.position,
            lines: 0,
        }
    }

    async fn write(&mut self, turn: &JobTurn, asked: Asked) -> Result<(), StoreError> {
        if asked.is_success {
            self.position.completed += 1;
            self.output.write(turn, &self.results.0, asked.line).await
        } else {
            self.position.failed += 1;
            self.errors.write(turn, &self.results.1, asked.line).await
        }
    }
}

async fn ask_line(asker: &Asker, line: Line) -> Result<Done, Halt> {
    let Line { number, end, text } = line;
    let text = text.ok_or_else(|| Problem::Internal("a line grew".to_owned()))?;
    Ok(Done {
        end,
        number,
        asked: asker.ask(&text).await?,
    })
}

fn gone(record: &mut BatchRecord) {
    let message = "The input file was deleted.";
    record.fault(
        LineFault::new("input_file_not_found", Some("input_file_id"), message),
        None,
    );
}
