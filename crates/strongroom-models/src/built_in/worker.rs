//! The worker process: loads one model and answers one request after the other until its stdin ends.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use super::frame::{self, FrameError, FromWorker, Reply, ToWorker};
use crate::model::decoder::Weights;
use crate::model::generate::{self, ChatOrder, GenerateError, Passage};
use crate::model::load::{Model, ModelFiles};
use crate::model::rehearsal;
use crate::weights;

/// What the program's hidden worker command does: answers framed requests on stdin and stdout until stdin ends.
pub fn worker_main() {
    silence_panics();
    // A broken pipe means that the parent is gone; there is nobody left to tell.
    let _ = work();
}

fn work() -> Result<(), FrameError> {
    let Some(ToWorker::Load { folder, weights }) = frame::read(&mut io::stdin())? else {
        return Ok(());
    };
    let mut out = io::stdout().lock();
    // What comes over the pipe is read before requests are: they come behind it.
    let weights = leave_no_dumps().and_then(|()| take_weights(weights));
    let open = Open::default();
    let loaded = weights.and_then(|weights| {
        let tasks = listen(open.clone());
        Ok((load(folder, weights)?, tasks))
    });
    let (model, tasks) = match loaded {
        Ok(loaded) => loaded,
        Err(reason) => return frame::write(&mut out, &FromWorker::NotLoaded { reason }),
    };
    frame::write(&mut out, &FromWorker::Loaded)?;
    for task in tasks {
        let last = answer(&model, &task, &mut out)?;
        frame::write(
            &mut out,
            &FromWorker::Reply {
                id: task.id,
                reply: last,
            },
        )?;
        open.close(task.id);
    }
    Ok(())
}

fn take_weights(length: Option<u64>) -> Result<Option<Weights>, String> {
    length
        .map(|length| weights::read(&mut io::stdin().lock(), length))
        .transpose()
        .map_err(|error| error.to_string())
}

/// The model of a folder, or the one that comes along; with these weights instead of its own, if there are any.
fn load(folder: Option<PathBuf>, weights: Option<Weights>) -> Result<Model, String> {
    let files = match folder {
        None => Ok(rehearsal::files()),
        Some(folder) => ModelFiles::in_folder(&folder),
    };
    let model = files.and_then(|files| match weights {
        None => Model::from_files(files),
        Some(weights) => Model::with_weights(&files, weights),
    });
    model.map_err(|error| error.to_string())
}

/// What any process does first that holds customers' content: no dumps, and no words of a panic.
pub(crate) fn harden_worker() -> Result<(), String> {
    silence_panics();
    leave_no_dumps()
}

/// Neither a core file nor a debugger of the same user gets at the weights and the prompts.
fn leave_no_dumps() -> Result<(), String> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| format!("core dumps cannot be switched off: {error}"))
}

/// A panic's message may quote what was computed; only its place is told.
fn silence_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map(|place| format!("{}:{}", place.file(), place.line()));
        let _ = writeln!(
            io::stderr(),
            "the model worker failed at {}",
            place.unwrap_or_default()
        );
    }));
}

struct Task {
    id: u64,
    work: Work,
    cancelled: Arc<AtomicBool>,
}

enum Work {
    Chat(ChatOrder),
    Embed(Vec<Passage>),
}

/// The requests that are not answered yet, each with its mark of cancellation.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<u64, Arc<AtomicBool>>>>);

impl Open {
    fn add(&self, id: u64) -> Arc<AtomicBool> {
        let mark = Arc::<AtomicBool>::default();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, mark.clone());
        mark
    }

    fn cancel(&self, id: u64) {
        if let Some(mark) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            mark.store(true, Ordering::Relaxed);
        }
    }

    fn close(&self, id: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Reads requests on a thread of its own, so that a cancellation, or the end of the parent, is heard at once.
fn listen(open: Open) -> Receiver<Task> {
    // The parent holds back what is more than `limits::WORKER_REQUESTS`.
    let (sender, tasks) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Ok(Some(request)) = frame::read(&mut stdin) {
            if !take(request, &open, &sender) {
                break;
            }
        }
        // Whatever is being computed, nobody waits for it any more.
        std::process::exit(0);
    });
    tasks
}

/// Whether to go on reading.
fn take(request: ToWorker, open: &Open, tasks: &Sender<Task>) -> bool {
    let (id, work) = match request {
        ToWorker::Chat { id, order } => (id, Work::Chat(order)),
        ToWorker::Embed { id, passages } => (id, Work::Embed(passages)),
        ToWorker::Cancel { id } => {
            open.cancel(id);
            return true;
        }
        ToWorker::Load { .. } => return false,
    };
    tasks
        .send(Task {
            id,
            work,
            cancelled: open.add(id),
        })
        .is_ok()
}

/// Does the work; the reply that ends it is handed back.
fn answer(model: &Model, task: &Task, out: &mut impl Write) -> Result<Reply, FrameError> {
    let mut broken = None;
    let mut tell = |reply: Option<Reply>| {
        let told = match reply {
            Some(reply) => frame::write(out, &FromWorker::Reply { id: task.id, reply }),
            None => Ok(()),
        };
        let fine = told.is_ok();
        broken = broken.take().or(told.err());
        fine && !task.cancelled.load(Ordering::Relaxed)
    };
    let last = match &task.work {
        Work::Chat(order) => {
            let mut say = |text: &str| tell((!text.is_empty()).then(|| Reply::Text(text.to_owned())));
            generate::answer(model, order, &mut say).map(Reply::Answered)
        }
        Work::Embed(passages) => embed(model, passages, &mut tell),
    };
    match broken {
        Some(error) => Err(error),
        None => Ok(last.unwrap_or_else(Reply::Refused)),
    }
}

fn embed(
    model: &Model,
    passages: &[Passage],
    tell: &mut dyn FnMut(Option<Reply>) -> bool,
) -> Result<Reply, GenerateError> {
    let mut total = 0;
    for passage in passages {
        let (vector, tokens) = generate::vector(model, passage, &mut || tell(None))?;
        total += tokens;
        if !tell(Some(Reply::Vector(vector))) {
            return Err(GenerateError::Cancelled);
        }
    }
    Ok(Reply::Embedded { tokens: total })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::built_in::order;

    fn request() -> ChatOrder {
        let request = json!({"messages": [{"role": "user", "content": "Explain leases"}]});
        order::chat(request.as_object().expect("object")).expect("order")
    }

    fn replies(mut pipe: &[u8]) -> Vec<Reply> {
        std::iter::from_fn(|| match frame::read(&mut pipe).expect("frame") {
            Some(FromWorker::Reply { reply, .. }) => Some(reply),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn a_cancelled_request_is_given_up_before_it_says_anything() {
        let model = load(None, None).expect("model");
        let (open, (sender, tasks)) = (Open::default(), mpsc::channel());
        for request in [
            ToWorker::Chat {
                id: 4,
                order: request(),
            },
            ToWorker::Cancel { id: 4 },
            ToWorker::Cancel { id: 9 },
        ] {
            assert!(take(request, &open, &sender));
        }
        let mut out = Vec::new();
        let last = answer(&model, &tasks.recv().expect("task"), &mut out).expect("answer");
        assert!(matches!(last, Reply::Refused(GenerateError::Cancelled)));
        assert!(replies(&out).is_empty());
    }

    #[test]
    fn a_request_cancelled_midway_is_given_up_at_the_next_token() {
        let model = load(None, None).expect("model");
        let mut said = 0;
        let outcome = generate::answer(&model, &request(), &mut |text: &str| {
            said += usize::from(!text.is_empty());
            said < 3
        });
        assert_eq!((outcome, said), (Err(GenerateError::Cancelled), 3));
    }

    #[test]
    fn a_second_model_cannot_be_loaded() {
        assert!(!take(
            ToWorker::Load {
                folder: None,
                weights: None
            },
            &Open::default(),
            &mpsc::channel().0
        ));
    }
}
