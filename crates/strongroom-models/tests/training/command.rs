//! Programs of the user's, well and badly behaved.

use std::time::Duration;

use futures::stream;
use strongroom_models::{
    Adaptation, CommandConfig, CommandTrainer, Examples, Trainer, TrainingError, TrainingEvent,
};

use crate::rig::{checkpoint, order, plan, processes, program, rehearsal, train};

pub(crate) fn config(script: &str) -> CommandConfig {
    let command = ["python3", "-c", script].map(Into::into).into();
    CommandConfig::new(command, vec![rehearsal()], program())
}

pub(crate) async fn trainer(script: &str) -> CommandTrainer {
    CommandTrainer::new(config(script)).await.expect("caged")
}

/// What a script does that gets its order and examples.
async fn fails(script: &str) -> TrainingError {
    let order = order(plan(Adaptation::Lora, 1, 1), 2);
    match train(&trainer(script).await, order).await {
        Ok(_) => panic!("a model came out"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn the_example_trains_and_goes_on_from_a_checkpoint() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/training/example_trainer.py");
    let mut config = config("");
    config.command = ["python3", example].map(Into::into).into();
    let trainer = CommandTrainer::new(config).await.expect("caged");
    let results = train(&trainer, order(plan(Adaptation::Lora, 4, 1), 3))
        .await
        .expect("trained");
    assert_eq!(results.progress.len(), 4);
    assert_eq!(results.progress[3].train_loss, Some(0.25));
    let base = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/rehearsal/model.safetensors"
    ));
    assert!(results.model == base.expect("base"));

    let head = br#"{"__metadata__":{"checkpoint":"{\"step\":3}"}}"#;
    let state = [&(head.len() as u64).to_le_bytes()[..], head].concat();
    let mut rest = order(plan(Adaptation::Lora, 4, 1), 3);
    rest.checkpoint = Some(checkpoint(&state));
    let results = train(&trainer, rest).await.expect("trained");
    assert_eq!(results.progress.len(), 1);
}

#[tokio::test]
async fn a_trainer_that_crashes_is_told_from_one_that_says_why_it_gave_up() {
    assert_eq!(fails("import os; os.abort()").await, TrainingError::Crashed);
    assert_eq!(fails("pass").await, TrainingError::Crashed);
    let gives_up = "import sys; print('{\"event\":\"error\",\"message\":\"no room\\\\u0007\"}', file=sys.stderr); sys.exit(3)";
    assert_eq!(fails(gives_up).await, TrainingError::Told("no room".to_owned()));
    assert_eq!(
        fails("import nothing_of_that_name").await,
        TrainingError::Crashed,
        "what is not of the protocol is not passed on"
    );
}

#[tokio::test]
async fn garbage_in_place_of_weights_is_refused() {
    let write =
        |bytes: &str| format!("import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write({bytes})");
    let file = |head: &str| write(&format!("(h:=b'''{head}''') and len(h).to_bytes(8,'little')+h"));
    for (script, told) in [
        (write("b'garbage and more of it'"), "impossible length"),
        (write("b'abc'"), "breaks off"),
        (write("(100).to_bytes(8,'little')+b'{}'"), "breaks off"),
        (file("no JSON"), "not JSON"),
        (file("{}"), "are missing"),
        (
            file(r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#),
            "does not have",
        ),
        (
            file(r#"{"model.norm.weight":{"dtype":"F32","shape":[127],"data_offsets":[0,508]}}"#),
            "instead of [128]",
        ),
        (
            file(r#"{"model.norm.weight":{"dtype":"F32","shape":[128],"data_offsets":[0,4]}}"#),
            "do not fit",
        ),
        (
            file(r#"{"model.norm.weight":{"dtype":"I64","shape":[128],"data_offsets":[0,1024]}}"#),
            "not F32",
        ),
        (file(r#"{"__metadata__":{"checkpoint":"soon"}}"#), "how far"),
    ] {
        match fails(&script).await {
            TrainingError::Garbage(reason) => assert!(reason.contains(told), "{reason}"),
            other => panic!("{other:?} for {script}"),
        }
    }
}

#[tokio::test]
async fn something_behind_the_model_and_a_model_cut_short_are_refused() {
    let model = "import sys,json; o=json.loads(sys.stdin.buffer.readline()); sys.stdin.buffer.read(); \
                 w=open(o['model_folder']+'/model.safetensors','rb').read(); ";
    for (more, told) in [
        ("sys.stdout.buffer.write(w+b'x')", "follows the model"),
        ("sys.stdout.buffer.write(w[:-1])", "breaks off"),
    ] {
        match fails(&format!("{model}{more}")).await {
            TrainingError::Garbage(reason) => assert!(reason.contains(told), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_flood_is_dammed() {
    let progress = "import sys\nwhile True: print('{\"event\":\"progress\",\"step\":1}', file=sys.stderr)";
    assert_eq!(fails(progress).await, TrainingError::Flooded);
    let noise = "import sys\nwhile True: sys.stderr.write('x'*1000000)";
    assert_eq!(fails(noise).await, TrainingError::Flooded);
}

#[tokio::test]
async fn a_trainer_that_hangs_or_takes_too_long_is_killed_with_all_that_it_started() {
    let mark = format!("strongroom-test-{}", std::process::id());
    // A grandchild in a session of its own, which no signal to the group reaches.
    let script = format!(
        "import subprocess,time; subprocess.Popen(['python3','-c','import time;time.sleep(600)','{mark}'], \
         start_new_session=True); time.sleep(600)"
    );
    let mut hangs = config(&script);
    hangs.silence = Duration::from_secs(3);
    let mut slow = config(&script);
    slow.total = Duration::from_secs(3);
    for (config, error) in [(hangs, TrainingError::Hung), (slow, TrainingError::TooLong)] {
        let trainer = CommandTrainer::new(config).await.expect("caged");
        let training = trainer
            .start(order(plan(Adaptation::Lora, 1, 1), 1))
            .expect("started");
        let ended = tokio::spawn(crate::rig::results(training));
        while processes(&format!("time.sleep(600)\0{mark}")) == 0 {
            assert!(!ended.is_finished(), "it must start first");
            tokio::task::yield_now().await;
        }
        assert_eq!(ended.await.expect("ended").err(), Some(error));
        assert_eq!(processes(&mark), 0);
    }
}

#[tokio::test]
async fn examples_that_break_off_end_the_training() {
    let mut broken = order(plan(Adaptation::Lora, 1, 1), 1);
    broken.training = Examples {
        count: 1,
        lines: Box::pin(stream::iter([Err(std::io::Error::other("refused"))])),
    };
    let trainer = trainer("import sys; sys.stdin.buffer.read()").await;
    assert_eq!(train(&trainer, broken).await.err(), Some(TrainingError::Data));
}

#[tokio::test]
async fn words_that_are_not_of_the_protocol_do_no_harm() {
    let script = "import sys,json; o=json.loads(sys.stdin.buffer.readline()); sys.stdin.buffer.read(); \
                  print('warning: '+'x'*100000, file=sys.stderr); print('{\"event\":\"progress\",\"step\":1,\"train_loss\":NaN}', file=sys.stderr); \
                  print('{\"event\":\"progress\",\"step\":2}', file=sys.stderr); \
                  sys.stdout.buffer.write(open(o['model_folder']+'/model.safetensors','rb').read())";
    let mut training = trainer(script)
        .await
        .start(order(plan(Adaptation::Lora, 1, 1), 1))
        .expect("started");
    let mut steps = Vec::new();
    while let Some(event) = training.next().await.expect("event") {
        if let TrainingEvent::Progress(progress) = event {
            steps.push(progress.step);
        }
    }
    assert_eq!(steps, [2]);
}
