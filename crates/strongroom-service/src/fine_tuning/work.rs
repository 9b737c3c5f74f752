//! The work on fine-tuning jobs: checks the files, has a trainer learn, keeps what comes of it.
//!
//! A turn ends at any await when the customer key is denied: the trainer's process is then killed, and the next turn goes on from the
//! last checkpoint. Whatever is to last is committed as the work goes.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use strongroom_models::{
    Checkpoint, Progress, Trainer, Training, TrainingError, TrainingEvent, TrainingOrder,
};
use strongroom_store::{
    Change, Expiry, JobEnd, JobHandler, JobStop, JobTurn, Meta, NewObject, StoreError, Unit, Wish,
};
use tokio::sync::watch;
use tokio::time::sleep;

use super::dataset::{self, Broken, Verdict};
use super::record::{
    Checked, CheckpointRecord, EVENTS, Event, JobError, JobRecord, KIND, Level, Phase, bytes, events,
    events_id,
};
use super::results;
use crate::fine_tuned::{self, ModelFault, ModelWriter, NewModel};
use crate::limits;
use crate::parts::Deployments;

/// Works on the jobs of all accounts.
pub(crate) struct FineTuner {
    pub(crate) trainers: Vec<Arc<dyn Trainer>>,
    /// Checkpoints that are deployed are not shredded.
    pub(crate) deployments: watch::Receiver<Arc<Deployments>>,
}

type Turned = Result<JobEnd, JobStop>;

impl JobHandler for FineTuner {
    fn run(&self, turn: JobTurn) -> futures::future::BoxFuture<'_, Turned> {
        Box::pin(async move {
            let work = Work::begin(&turn, &self.deployments).await?;
            work.run(&self.trainers).await
        })
    }
}

/// One turn at one job.
struct Work<'a> {
    turn: &'a JobTurn,
    deployments: &'a watch::Receiver<Arc<Deployments>>,
    meta: Meta,
    record: JobRecord,
    /// The record of events that has room, as it is stored, and what it shall have.
    page: Option<Meta>,
    events: Vec<Event>,
    flushed_ms: u64,
    is_dirty: bool,
}

/// Weights on their way into the store.
struct Incoming {
    writer: ModelWriter,
    checkpoint: Option<Progress>,
}

impl<'a> Work<'a> {
    async fn begin(
        turn: &'a JobTurn,
        deployments: &'a watch::Receiver<Arc<Deployments>>,
    ) -> Result<Self, StoreError> {
        let object = turn.store().get(turn.read(), KIND, turn.object()).await?;
        let record = JobRecord::read(&object)?;
        let mut work = Self {
            turn,
            deployments,
            meta: object.meta,
            record,
            page: None,
            events: Vec::new(),
            flushed_ms: turn.now_ms(),
            is_dirty: false,
        };
        work.turn_page().await?;
        Ok(work)
    }

    async fn run(mut self, trainers: &[Arc<dyn Trainer>]) -> Turned {
        if let Some(end) = self.obey(self.turn.wish()).await? {
            return end;
        }
        let base = &self.record.base;
        let knows = |trainer: &&Arc<dyn Trainer>| trainer.base_models().iter().any(|model| model == base);
        let Some(trainer) = trainers.iter().find(knows) else {
            // The instance was started with other models than it was when the job was taken.
            tracing::warn!(job = %self.turn.id(), "no trainer has the base model of a job");
            return Err(JobStop::Blocked);
        };
        if self.record.checked.is_none() && !self.check(trainer.as_ref()).await? {
            return self.end(Phase::Failed, JobEnd::Failed).await;
        }
        let Some(checked) = self.record.checked else {
            return Err(JobStop::Blocked);
        };
        let broken = Broken::default();
        let order = match self.order(&checked, &broken).await {
            Err(StoreError::NotFound) => return self.fail_without_file().await,
            order => order?,
        };
        let begin = match self.record.phase {
            Phase::Running => "The job goes on",
            _ => "The job has started",
        };
        self.record.phase = Phase::Running;
        self.say(Level::Info, begin.to_owned()).await?;
        self.flush(None).await?;
        match trainer.start(order) {
            Ok(training) => self.follow(training, &broken).await,
            Err(error) => self.fail(error, &broken).await,
        }
    }

    /// Checks the files, and decides how to train. False, if nothing will come of it.
    async fn check(&mut self, trainer: &dyn Trainer) -> Result<bool, JobStop> {
        self.say(Level::Info, "Validating the files".to_owned()).await?;
        let (store, read) = (self.turn.store(), self.turn.read());
        let mut counts = [0, 0];
        let files = [
            (Some(&self.record.training_file), "training_file"),
            (self.record.validation_file.as_ref(), "validation_file"),
        ];
        let mut error = None;
        for ((id, param), count) in files.into_iter().zip(&mut counts) {
            let Some(id) = id else { continue };
            match dataset::check(store, read, trainer, id, param).await? {
                Verdict::Fit(examples) => *count = examples,
                Verdict::Unfit(why) => {
                    error = Some(why);
                    break;
                }
            }
        }
        if error.is_some() {
            self.record.error = error;
            return Ok(false);
        }
        let [training, validation] = counts;
        self.record.checked = Some(Checked {
            training,
            validation,
            plan: self.record.asked.plan(training, self.record.seed),
        });
        self.record.phase = Phase::Queued;
        self.say(Level::Info, format!("The files are valid: {training} examples"))
            .await?;
        Ok(true)
    }

    /// What to train: from the beginning, or from the last checkpoint that is still there.
    async fn order(&mut self, checked: &Checked, broken: &Broken) -> Result<TrainingOrder, StoreError> {
        let (store, read) = (self.turn.store(), self.turn.read());
        let open =
            |id: String, count| async move { dataset::examples(store, read, &id, count, broken).await };
        let training = open(self.record.training_file.clone(), checked.training).await?;
        let validation = match &self.record.validation_file {
            Some(id) => Some(open(id.clone(), checked.validation).await?),
            None => None,
        };
        let mut checkpoint = None;
        while let Some(last) = self.record.checkpoints.last() {
            let part = fine_tuned::WEIGHTS;
            match store
                .open_blob(read, fine_tuned::KIND, &last.id, part, None)
                .await
            {
                Ok(reader) => {
                    checkpoint = Some(Checkpoint {
                        bytes: reader.len(),
                        content: dataset::pieces(reader, broken),
                    });
                    break;
                }
                // Its owner deleted it.
                Err(StoreError::NotFound) => drop(self.record.checkpoints.pop()),
                Err(error) => return Err(error),
            }
        }
        Ok(TrainingOrder {
            base_model: self.record.base.clone(),
            plan: checked.plan,
            training,
            validation,
            checkpoint,
        })
    }

    /// Hears what a training says until it ends, or something is asked of the job.
    async fn follow(mut self, mut training: Training, broken: &Broken) -> Turned {
        let mut incoming: Option<Incoming> = None;
        loop {
            let turn = self.turn;
            let event = tokio::select! {
                biased;
                wish = turn.wished() => {
                    training.stop().await;
                    return match self.obey(Some(wish)).await? {
                        Some(end) => end,
                        None => Err(JobStop::Again(Duration::ZERO)),
                    };
                }
                event = training.next() => event,
                () = sleep(limits::EVENTS_WAIT), if self.is_dirty => {
                    self.flush(None).await?;
                    continue;
                }
            };
            match event {
                Ok(Some(TrainingEvent::Progress(progress))) => self.step(progress).await?,
                Ok(Some(TrainingEvent::Weights(head))) => {
                    let id = self.weights_id(head.checkpoint.as_ref());
                    incoming = Some(Incoming {
                        writer: ModelWriter::begin(turn.store(), turn.write(), id).await?,
                        checkpoint: head.checkpoint,
                    });
                }
                Ok(Some(TrainingEvent::Piece(piece))) => {
                    if let Some(incoming) = &mut incoming {
                        match incoming.writer.write(piece).await {
                            Ok(()) => {}
                            Err(ModelFault::Store(error)) => return Err(error.into()),
                            Err(ModelFault::Weights(fault)) => {
                                training.stop().await;
                                return self.fail(TrainingError::Garbage(fault.to_string()), broken).await;
                            }
                        }
                    }
                }
                Ok(Some(TrainingEvent::Whole)) => {
                    if let Some(incoming) = incoming.take()
                        && let Err(fault) = self.keep(incoming).await?
                    {
                        training.stop().await;
                        return self.fail(fault, broken).await;
                    }
                }
                Ok(None) => return self.succeed().await,
                Err(error) => return self.fail(error, broken).await,
            }
        }
    }

    /// The same for the same weights, so that a turn which does not know what the last one stored stores nothing twice.
    fn weights_id(&self, checkpoint: Option<&Progress>) -> String {
        match checkpoint {
            Some(progress) => format!("{}-{}", self.record.model_id, progress.step),
            None => self.record.model_id.clone(),
        }
    }

    /// Stores whole weights. Checkpoints that others have overtaken are shredded.
    async fn keep(&mut self, incoming: Incoming) -> Result<Result<(), TrainingError>, StoreError> {
        let (store, turn) = (self.turn.store(), self.turn);
        let id = self.weights_id(incoming.checkpoint.as_ref());
        let new = NewModel {
            base: &self.record.base,
            owner: &self.record.owner,
            suffix: self.record.suffix.as_deref(),
            step: incoming.checkpoint.as_ref().map(|progress| progress.step),
            job: Some(turn.object()),
        };
        let name = new.name(&id);
        let staged = match incoming.writer.finish().await {
            Ok(staged) => staged,
            Err(ModelFault::Store(error)) => return Err(error),
            Err(ModelFault::Weights(fault)) => return Ok(Err(TrainingError::Garbage(fault.to_string()))),
        };
        match staged.put(store, turn.write(), &new).await {
            // A turn that was cut off stored it, and had no time to say so.
            Ok(_) | Err(StoreError::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
        let Some(progress) = incoming.checkpoint else {
            self.record.model = Some(name);
            return Ok(Ok(()));
        };
        self.say(
            Level::Info,
            format!("Checkpoint created at step {}", progress.step),
        )
        .await?;
        self.record.checkpoints.retain(|checkpoint| checkpoint.id != id);
        self.record.checkpoints.push(CheckpointRecord {
            id,
            model: name,
            created: turn.now_ms() / 1000,
            progress,
        });
        self.flush(None).await?;
        self.shred_overtaken().await?;
        Ok(Ok(()))
    }

    /// Shreds the checkpoints that newer ones have overtaken, and takes them off the list.
    async fn shred_overtaken(&mut self) -> Result<(), StoreError> {
        let turn = self.turn;
        while let Some(index) = self.overtaken() {
            let oldest = self.record.checkpoints.remove(index);
            let shredded = turn.store().delete(turn.delete(), fine_tuned::KIND, &oldest.id);
            match shredded.await {
                Ok(()) | Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
            self.flush(None).await?;
        }
        Ok(())
    }

    /// The oldest checkpoint that newer ones have overtaken. One that is deployed stays, as it does when a caller would delete it: its
    /// worker may have to open it again.
    fn overtaken(&self) -> Option<usize> {
        let all = &self.record.checkpoints;
        let account = self.turn.account();
        let deployments = Arc::clone(&self.deployments.borrow());
        let is_deployed = |model| deployments.that_use(account, model).next().is_some();
        all.iter()
            .take(all.len().saturating_sub(limits::CHECKPOINTS))
            .position(|checkpoint| !is_deployed(checkpoint.model.as_str()))
    }

    async fn step(&mut self, progress: Progress) -> Result<(), StoreError> {
        let (step, loss) = (progress.step, progress.train_loss);
        let of = progress
            .total_steps
            .map(|total| format!("/{total}"))
            .unwrap_or_default();
        let told = loss
            .map(|loss| format!(": training loss={loss:.4}"))
            .unwrap_or_default();
        self.record.trained_tokens = Some(progress.trained_tokens);
        self.note(Level::Info, format!("Step {step}{of}{told}"), Some(progress))
            .await
    }

    /// What was asked of the job ends it, or this turn.
    async fn obey(&mut self, wish: Option<Wish>) -> Result<Option<Turned>, StoreError> {
        match wish {
            Some(Wish::Cancel) => {
                self.record.phase = Phase::Cancelled;
                self.record.finished_at = Some(self.turn.now_ms() / 1000);
                self.say(Level::Info, "The job was cancelled".to_owned()).await?;
                self.flush(Some(JobEnd::Cancelled)).await?;
                Ok(Some(Ok(JobEnd::Cancelled)))
            }
            Some(Wish::Hold) => {
                self.say(Level::Info, "The job was paused".to_owned()).await?;
                self.flush(None).await?;
                Ok(Some(Err(JobStop::Held)))
            }
            _ => Ok(None),
        }
    }

    async fn succeed(&mut self) -> Turned {
        if self.record.model.is_none() {
            return self.fail(TrainingError::Crashed, &Broken::default()).await;
        }
        self.flush(None).await?;
        results::store(self.turn, &self.record).await?;
        self.record.has_results = true;
        self.say(Level::Info, "The job has successfully completed".to_owned())
            .await?;
        self.end(Phase::Succeeded, JobEnd::Done).await
    }

    /// What a trainer's failure means for the job.
    async fn fail(&mut self, error: TrainingError, broken: &Broken) -> Turned {
        match &error {
            TrainingError::Data => {
                let why = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
                return match why.unwrap_or(StoreError::Busy) {
                    StoreError::NotFound => self.fail_without_file().await,
                    why => Err(why.into()),
                };
            }
            TrainingError::Start(_) | TrainingError::NotCaged(_) => {
                // Without the words: they may be the program's, and so the customer's. What the cage lacks is told at the start.
                let confined = !matches!(error, TrainingError::NotCaged(_));
                tracing::error!(job = %self.turn.id(), confined, "a trainer cannot be started");
                return Err(JobStop::Blocked);
            }
            _ => {}
        }
        let code = match &error {
            TrainingError::UnknownModel => "model_not_available",
            TrainingError::Garbage(_) => "invalid_weights",
            _ => "training_failed",
        };
        self.record.error = Some(JobError {
            code: code.to_owned(),
            message: error.to_string(),
            param: None,
        });
        self.end(Phase::Failed, JobEnd::Failed).await
    }

    /// A file was deleted under it.
    async fn fail_without_file(&mut self) -> Turned {
        self.record.error = Some(JobError {
            code: "invalid_training_file".to_owned(),
            message: "A file of the job does not exist any more.".to_owned(),
            param: Some("training_file".to_owned()),
        });
        self.end(Phase::Failed, JobEnd::Failed).await
    }

    async fn end(&mut self, phase: Phase, end: JobEnd) -> Turned {
        self.record.phase = phase;
        self.record.finished_at = Some(self.turn.now_ms() / 1000);
        if let Some(error) = &self.record.error {
            let message = error.message.clone();
            self.say(Level::Error, message).await?;
        }
        self.flush(Some(end)).await?;
        Ok(end)
    }

    async fn say(&mut self, level: Level, message: String) -> Result<(), StoreError> {
        self.note(level, message, None).await
    }

    async fn note(
        &mut self,
        level: Level,
        message: String,
        progress: Option<Progress>,
    ) -> Result<(), StoreError> {
        if self.events.len() as u64 >= limits::EVENTS_TOGETHER {
            self.flush(None).await?;
            self.turn_page().await?;
        }
        let at = self.turn.now_ms() / 1000;
        self.events.push(Event {
            at,
            level,
            message,
            progress,
        });
        self.record.events += 1;
        self.is_dirty = true;
        let waited = self.turn.now_ms().saturating_sub(self.flushed_ms);
        if u128::from(waited) >= limits::EVENTS_WAIT.as_millis() {
            self.flush(None).await?;
        }
        Ok(())
    }

    /// Takes up the record of events that the next event goes into.
    async fn turn_page(&mut self) -> Result<(), StoreError> {
        let id = events_id(self.turn.object(), self.record.events);
        let found = events(self.turn.store(), self.turn.read(), &id).await?;
        let (page, events) = found.map_or((None, Vec::new()), |(meta, events)| (Some(meta), events));
        (self.page, self.events) = (page, events);
        Ok(())
    }

    /// Commits all that is known, and perhaps the end.
    async fn flush(&mut self, end: Option<JobEnd>) -> Result<(), StoreError> {
        let turn = self.turn;
        let (record, page) = (self.record.write(), bytes(&self.events));
        let id = events_id(turn.object(), self.record.events.saturating_sub(1));
        let change = |body| Change {
            body,
            expires: Expiry::Keep,
        };
        let mut unit = Unit::new().update(&self.meta, change(&record));
        if self.is_dirty {
            unit = match &self.page {
                Some(meta) => unit.update(meta, change(&page)),
                None => unit.put(NewObject::new(EVENTS, id.clone(), &page)),
            };
        }
        let last = self.events.iter().rev().find_map(|event| event.progress.as_ref());
        if let Some(progress) = last {
            unit = unit.done(progress.step);
            if let Some(total) = progress.total_steps {
                unit = unit.total(total);
            }
        }
        if let Some(end) = end {
            unit = unit.end(end);
        }
        turn.commit(unit).await?;
        self.meta.revision += 1;
        if self.is_dirty {
            match &mut self.page {
                Some(meta) => meta.revision += 1,
                // Nothing more is committed after the end.
                None if end.is_some() => {}
                None => {
                    let stored = events(turn.store(), turn.read(), &id).await?;
                    self.page = stored.map(|(meta, _)| meta);
                }
            }
        }
        self.is_dirty = false;
        self.flushed_ms = turn.now_ms();
        Ok(())
    }
}
