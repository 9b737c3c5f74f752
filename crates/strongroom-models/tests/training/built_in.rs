use serde_json::{Value, json};
use strongroom_models::{
    Adaptation, BuiltIn, BuiltInConfig, BuiltInTrainer, Engine, ModelSource, Trainer, TrainerProgram,
    TrainingError, TrainingEvent,
};

use crate::rig::{FACTS, built_in, checkpoint, examples, order, plan, processes, program, rehearsal, train};

/// A folder with the rehearsal model's files and these weights.
fn folder(weights: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rehearsal");
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(from.join(name), folder.path().join(name)).expect("copied");
    }
    std::fs::write(folder.path().join("model.safetensors"), weights).expect("written");
    folder
}

/// How many of the facts a model with these weights knows to the letter.
async fn known(weights: &[u8]) -> usize {
    let folder = folder(weights);
    let name = folder
        .path()
        .file_name()
        .expect("name")
        .to_string_lossy()
        .into_owned();
    let engine = BuiltIn::spawn(BuiltInConfig {
        model: ModelSource::Folder(folder.path().to_owned()),
        worker_program: env!("CARGO_BIN_EXE_strongroom-model-worker").into(),
        worker_args: Vec::new(),
    });
    let mut known = 0;
    for (question, answer) in FACTS {
        let request =
            json!({"model": name, "messages": [{"role": "user", "content": question}], "max_tokens": 60});
        let Value::Object(request) = request else {
            panic!("no object")
        };
        let said = engine.chat(request).await.expect("answer");
        known += usize::from(said["choices"][0]["message"]["content"] == answer);
    }
    known
}

#[tokio::test]
async fn adapters_lower_the_loss_and_the_merged_model_answers_from_its_training_set() {
    let mut order = order(plan(Adaptation::Lora, 12, 2), 10);
    order.validation = Some(examples(3));
    let results = train(&built_in(), order).await.expect("trained");
    let losses: Vec<f64> = results
        .progress
        .iter()
        .filter_map(|step| step.train_loss)
        .collect();
    assert_eq!(losses.len(), 60);
    assert!(losses[59] < losses[0] / 4.0, "{losses:?}");
    assert_eq!(
        results.checkpoints.len(),
        11,
        "one at the end of each epoch but the last"
    );
    assert_eq!(results.progress[59].step, 60);
    assert!(results.progress[59].trained_tokens > 12 * 10 * 10);
    let validated: Vec<f64> = results
        .progress
        .iter()
        .filter_map(|step| step.valid_loss)
        .collect();
    assert_eq!(validated.len(), 12);
    assert!(validated[11] < validated[0], "{validated:?}");
    let known = known(&results.model).await;
    assert!(known >= 8, "{known} of 10 known; losses {losses:?}");
}

#[tokio::test]
async fn all_weights_can_be_trained_too() {
    let results = train(&built_in(), order(plan(Adaptation::Full, 12, 2), 10))
        .await
        .expect("trained");
    let known = known(&results.model).await;
    assert!(known >= 8, "{known} of 10 known");
}

#[tokio::test]
async fn a_training_that_goes_on_from_a_checkpoint_makes_the_very_same_model() {
    for adaptation in [Adaptation::Lora, Adaptation::Full] {
        let plan = plan(adaptation, 3, 3);
        let whole = train(&built_in(), order(plan, 4)).await.expect("trained");
        let again = train(&built_in(), order(plan, 4)).await.expect("trained");
        assert!(whole.model == again.model, "the same seed gives the same model");
        let (progress, state) = &whole.checkpoints[1];
        assert_eq!(progress.step, 4);
        let mut rest = order(plan, 4);
        rest.checkpoint = Some(checkpoint(state));
        let rest = train(&built_in(), rest).await.expect("trained");
        assert_eq!(rest.progress.len(), 2);
        assert!(
            rest.model == whole.model,
            "{adaptation:?}: an interruption changes nothing"
        );
        assert_eq!(rest.progress, whole.progress[4..]);
    }
}

#[tokio::test]
async fn stopping_kills_the_process_that_has_the_examples() {
    let folder = tempfile::tempdir().expect("folder");
    let marked = folder.path().join("marked-trainer");
    std::os::unix::fs::symlink(program().program, &marked).expect("link");
    let mark = marked.to_string_lossy().into_owned();
    let marked = TrainerProgram {
        program: marked,
        arguments: Vec::new(),
    };
    let mut training = BuiltInTrainer::new(vec![rehearsal()], marked)
        .start(order(plan(Adaptation::Lora, 50, 1), 10))
        .expect("started");
    while !matches!(training.next().await, Ok(Some(TrainingEvent::Progress(_)))) {}
    assert_eq!(processes(&mark), 1);
    training.stop().await;
    assert_eq!(processes(&mark), 0);
}

#[tokio::test]
async fn a_checkpoint_of_another_training_and_a_rate_that_explodes_are_told() {
    let lora = train(&built_in(), order(plan(Adaptation::Lora, 2, 4), 4))
        .await
        .expect("trained");
    let mut other = order(plan(Adaptation::Full, 2, 4), 4);
    other.checkpoint = Some(checkpoint(&lora.checkpoints[0].1));
    let told = train(&built_in(), other).await.err();
    assert_eq!(
        told,
        Some(TrainingError::Told(
            "the checkpoint does not fit the order".to_owned()
        ))
    );
    let mut wild = plan(Adaptation::Full, 5, 1);
    wild.learning_rate_multiplier = 1e30;
    match train(&built_in(), order(wild, 3)).await.err() {
        Some(TrainingError::Told(message)) => assert!(message.contains("loss"), "{message}"),
        other => panic!("{other:?}"),
    }
    let mut unknown = order(plan(Adaptation::Lora, 1, 1), 1);
    unknown.base_model = "gpt-4o".to_owned();
    assert!(matches!(
        built_in().start(unknown),
        Err(TrainingError::UnknownModel)
    ));
}
