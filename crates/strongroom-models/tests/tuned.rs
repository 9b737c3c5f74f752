//! Models whose weights come as a stream, against real worker processes.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use strongroom_models::{
    BoxFuture, BuiltIn, BuiltInConfig, Engine, EngineError, ModelSource, Object, OpenWeights,
    REHEARSAL_MODEL, Tuned, WeightSource, Withheld,
};

const WORKER: &str = env!("CARGO_BIN_EXE_strongroom-model-worker");
/// The weights of the model that comes along, as another model's.
const WEIGHTS: &[u8] = include_bytes!("../rehearsal/model.safetensors");
const NAME: &str = "ft:strongroom-rehearsal:us:night:0af1";

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("locked up")]
struct Locked;

/// Gives out what it is told, and counts how often.
#[derive(Default)]
struct Keeper {
    opened: AtomicUsize,
    /// The bytes, and whether they break off instead of ending.
    gives: Mutex<Option<(Bytes, bool)>>,
}

impl Keeper {
    fn give(&self, bytes: &[u8], broken: bool) {
        *self.gives.lock().expect("lock") = Some((Bytes::copy_from_slice(bytes), broken));
    }
}

impl WeightSource for Keeper {
    fn open(&self) -> BoxFuture<'_, Result<OpenWeights, Withheld>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let given = self.gives.lock().expect("lock").clone();
        Box::pin(async move {
            let (bytes, broken) = given.ok_or_else(|| Withheld::new(Locked))?;
            let length = bytes.len() as u64;
            let kept = if broken { bytes.len() / 2 } else { bytes.len() };
            let pieces: Vec<_> = bytes[..kept]
                .chunks(100_000)
                .map(Bytes::copy_from_slice)
                .map(Ok)
                .collect();
            let end = broken.then(|| Err(Withheld::new(Locked)));
            let pieces = futures::stream::iter(pieces.into_iter().chain(end)).boxed();
            Ok(OpenWeights { length, pieces })
        })
    }
}

fn config() -> BuiltInConfig {
    BuiltInConfig {
        model: ModelSource::Rehearsal,
        worker_program: WORKER.into(),
        worker_args: Vec::new(),
    }
}

fn tuned(keeper: &Arc<Keeper>) -> BuiltIn {
    let tuned = Tuned {
        name: NAME.to_owned(),
        created: 7,
        owned_by: "us".to_owned(),
        weights: Arc::clone(keeper) as Arc<dyn WeightSource>,
    };
    BuiltIn::tuned(config(), tuned)
}

fn ask(model: &str) -> Object {
    let request = json!({"model": model, "messages": [{"role": "user", "content": "What is a lease?"}]});
    let Value::Object(request) = request else {
        panic!("not an object")
    };
    request
}

async fn said(engine: &BuiltIn, model: &str) -> Value {
    engine.chat(ask(model)).await.expect("answer")["choices"][0]["message"]["content"].clone()
}

#[tokio::test]
async fn weights_that_come_over_the_pipe_answer_like_the_same_from_a_file() {
    let keeper = Arc::new(Keeper::default());
    keeper.give(WEIGHTS, false);
    let engine = tuned(&keeper);
    assert_eq!(engine.models()[0].id, NAME);
    let plain = BuiltIn::spawn(config());
    assert_eq!(said(&engine, NAME).await, said(&plain, REHEARSAL_MODEL).await);
    assert!(engine.is_resident());
    assert_eq!(
        engine.chat(ask(REHEARSAL_MODEL)).await,
        Err(EngineError::UnknownModel)
    );
    // The process holds them: they are not asked for again, until it was stopped.
    said(&engine, NAME).await;
    assert_eq!(keeper.opened.load(Ordering::Relaxed), 1);
    let gone = engine.gone();
    engine.stop().await;
    gone.await;
    assert!(!engine.is_resident());
    said(&engine, NAME).await;
    assert_eq!(keeper.opened.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn weights_that_are_withheld_are_an_error_with_the_keepers_reason_and_cost_no_waiting() {
    let keeper = Arc::new(Keeper::default());
    let engine = tuned(&keeper);
    let locked = |outcome: Result<Object, EngineError>| match outcome {
        Err(EngineError::Withheld(withheld)) => withheld.reason::<Locked>() == Some(&Locked),
        other => panic!("{other:?}"),
    };
    for _ in 0..4 {
        assert!(locked(engine.chat(ask(NAME)).await));
    }
    keeper.give(WEIGHTS, true);
    assert!(locked(engine.chat(ask(NAME)).await), "cut off midway");
    keeper.give(WEIGHTS, false);
    said(&engine, NAME).await;
}

#[tokio::test]
async fn what_are_no_weights_for_the_model_is_said_in_words() {
    let cut = &WEIGHTS[..WEIGHTS.len() - 1];
    let other_type = String::from_utf8_lossy(&WEIGHTS[8..60]).contains("F16");
    assert!(other_type, "the header begins with a tensor of halves");
    let mut misshapen = WEIGHTS.to_vec();
    let at = misshapen
        .windows(5)
        .position(|bytes| bytes == b"\"F16\"")
        .expect("a type");
    misshapen[at..at + 5].copy_from_slice(b"\"I64\"");
    let foreign = br#"6       {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut foreign = foreign.to_vec();
    foreign[..8].copy_from_slice(&54_u64.to_le_bytes());
    foreign.truncate(8 + 54);
    foreign.extend([0; 4]);
    for (bytes, hint) in [
        (cut, "their header says"),
        (b"PK\x03\x04 a zip, or so it seems", "header"),
        (&misshapen, "F32, F16 or BF16"),
        (&foreign, "model.embed_tokens.weight"),
    ] {
        let keeper = Arc::new(Keeper::default());
        keeper.give(bytes, false);
        let engine = tuned(&keeper);
        let error = engine.load().await.expect_err(hint);
        assert!(error.reason.contains(hint), "{hint}: {}", error.reason);
        assert_eq!(error.withheld, None);
        assert_eq!(engine.chat(ask(NAME)).await, Err(EngineError::Unavailable));
        engine.gone().await;
        // However often: the reason is not lost.
        for _ in 0..4 {
            let error = engine.load().await.expect_err(hint);
            assert!(error.reason.contains(hint), "{hint}: {}", error.reason);
        }
    }
}
