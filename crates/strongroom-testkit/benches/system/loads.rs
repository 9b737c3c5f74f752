//! A deployment's load: from the start of its worker until it can answer, with weights from the sealed store and from a plain file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::{Map, Value, json};
use strongroom_models::{
    BoxFuture, BuiltIn, BuiltInConfig, Engine as _, ModelSource, OpenWeights, Tuned, WeightSource, Withheld,
};
use strongroom_service::{RevocationPolicy, ServiceEvent, ServiceJournal, TunedDeployment, TunedParts};
use strongroom_store::{Action, NewObject};
use strongroom_testkit::{System, strongroom_program};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::report::{Goal, median, median_ratio, number, report};

/// What a model of a few hundred MB is made of.
const HIDDEN: usize = 1024;
const WIDE: usize = 2816;
const LAYERS: usize = 12;
/// That of the model that comes along, whose tokenizer it has.
const VOCABULARY: usize = 1024;
const NAME: &str = "ft:bench:main::0af1";
const PIECE: usize = 1 << 20;

pub(crate) async fn measure() {
    let system = System::start().await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let folder = write_model(place.path());
    let file = folder.join("model.safetensors");
    seal(&system, &file).await;
    let (sealed, plain) = (sealed(&system, &folder), plain(&folder, &file));
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..number("STRONGROOM_BENCH_LOADS", 7) {
        let began = Instant::now();
        plain.load().await.unwrap();
        without.push(began.elapsed().as_secs_f64());
        plain.stop().await;
        let began = Instant::now();
        sealed.load().await.unwrap();
        with.push(began.elapsed().as_secs_f64());
        sealed.stop().await;
    }
    let megabytes = std::fs::metadata(&file).unwrap().len() / 1_000_000;
    let name = |how: &str| format!("deployment load, {megabytes} MB of weights, {how}");
    report(&name("unsealed"), median(&without), "s", &Goal::None);
    let ratio = median_ratio(&without, &with);
    report(&name("sealed"), median(&with), "s", &Goal::Ratio(ratio, 0.8));
    drop(system.stop().await);
}

fn config(folder: &Path) -> BuiltInConfig {
    BuiltInConfig {
        model: ModelSource::Folder(folder.to_owned()),
        worker_program: strongroom_program().unwrap(),
        worker_args: vec!["worker".into()],
    }
}

fn sealed(system: &System, folder: &Path) -> TunedDeployment {
    let parts = TunedParts {
        store: system.running().store().clone(),
        permits: system.running().permits().clone(),
        journal: Arc::new(NoJournal),
        now: Arc::new(std::time::Duration::default),
    };
    let made = (0, RevocationPolicy::Shutdown);
    TunedDeployment::new(
        parts,
        config(folder),
        system.running().account(),
        "bench",
        NAME,
        made,
    )
    .unwrap()
}

fn plain(folder: &Path, file: &Path) -> BuiltIn {
    let tuned = Tuned {
        name: NAME.to_owned(),
        created: 0,
        owned_by: String::new(),
        weights: Arc::new(PlainFile(file.to_owned())),
    };
    BuiltIn::tuned(config(folder), tuned)
}

struct NoJournal;

impl ServiceJournal for NoJournal {
    fn record(&self, _: ServiceEvent) {}
}

/// The unsealed twin: the same bytes from a file.
struct PlainFile(PathBuf);

impl WeightSource for PlainFile {
    fn open(&self) -> BoxFuture<'_, Result<OpenWeights, Withheld>> {
        async {
            let file = tokio::fs::File::open(&self.0).await.map_err(Withheld::new)?;
            let length = file.metadata().await.map_err(Withheld::new)?.len();
            let pieces = stream::unfold(file, |mut file| async {
                let mut piece = vec![0; PIECE];
                let mut filled = 0;
                while filled < PIECE {
                    match file.read(&mut piece[filled..]).await.unwrap() {
                        0 => break,
                        more => filled += more,
                    }
                }
                piece.truncate(filled);
                (filled > 0).then(|| (Ok(Bytes::from(piece)), file))
            });
            Ok(OpenWeights {
                length,
                pieces: pieces.boxed(),
            })
        }
        .boxed()
    }
}

/// Stores the weights as the service does.
async fn seal(system: &System, file: &Path) {
    let (store, permits) = (system.running().store(), system.running().permits());
    let permit = permits.permit(system.running().account(), Action::Write, "bench");
    let (kind, id) = ("fine_tuned_model", "0af1");
    let mut writer = store.stage(&permit, kind, id, 0).await.unwrap();
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    for start in (0..bytes.len()).step_by(PIECE) {
        let piece = bytes.slice(start..(start + PIECE).min(bytes.len()));
        writer.write(piece).await.unwrap();
    }
    let new = NewObject {
        blobs: vec![writer.finish().await.unwrap()],
        ..NewObject::new(kind, id, b"{}")
    };
    store.put(&permit, new).await.unwrap();
}

/// A model that answers nonsense, in Hugging Face's layout.
fn write_model(place: &Path) -> PathBuf {
    let folder = place.join("bench");
    std::fs::create_dir(&folder).unwrap();
    let rehearsal = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strongroom-models/rehearsal");
    std::fs::copy(rehearsal.join("tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    let config = json!({
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS, "num_attention_heads": 16, "num_key_value_heads": 16, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 1024, "tie_word_embeddings": true, "hidden_act": "silu",
        "eos_token_id": 2,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut tensors = vec![
        ("model.embed_tokens".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("input_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.v_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("mlp.gate_proj", vec![WIDE, HIDDEN]),
            ("mlp.up_proj", vec![WIDE, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, WIDE]),
        ] {
            tensors.push((format!("model.layers.{layer}.{name}"), shape));
        }
    }
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in tensors {
        let begin = end;
        end += 2 * shape.iter().product::<usize>();
        let tensor = json!({"dtype": "F16", "shape": shape, "data_offsets": [begin, end]});
        header.insert(format!("{name}.weight"), tensor);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    // Halves of small numbers that are not all alike.
    let halves = (0x2000..0x2400_u16).cycle().take(end / 2);
    bytes.extend(halves.flat_map(u16::to_le_bytes));
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
    folder
}
