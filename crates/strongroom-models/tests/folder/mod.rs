//! Tiny models with random weights, in Hugging Face's layout.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

/// Which kind of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `f32`, in one file, plain prompts.
    Llama,
    /// `bf16`, in two files, ChatML.
    Qwen2,
}

/// A folder named `tiny`, removed when dropped.
pub(crate) struct ModelFolder {
    path: PathBuf,
    _home: TempDir,
}

impl ModelFolder {
    /// Writes a model of this family.
    pub(crate) fn new(family: Family) -> Self {
        let home = tempfile::tempdir().expect("folder");
        let path = home.path().join("tiny");
        std::fs::create_dir(&path).expect("folder");
        let tokenizer = tokenizer(family);
        let vocabulary = tokenizer.get_vocab_size(true);
        tokenizer
            .save(path.join("tokenizer.json"), false)
            .expect("tokenizer");
        let config = config(family, vocabulary);
        std::fs::write(path.join("config.json"), config.to_string()).expect("config");
        write_weights(&path, family, vocabulary);
        Self { path, _home: home }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the configuration speak of another shape than the weights have.
pub(crate) fn widen(path: &Path) {
    let file = path.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).expect("config")).expect("json");
    config["intermediate_size"] = json!(999);
    std::fs::write(file, config.to_string()).expect("config");
}

const HIDDEN: usize = 32;
const WIDE: usize = 48;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const KEY_HEADS: usize = 2;

fn config(family: Family, vocabulary: usize) -> Value {
    json!({
        "model_type": match family { Family::Llama => "llama", Family::Qwen2 => "qwen2" },
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": 256,
        "tie_word_embeddings": family == Family::Llama,
        "hidden_act": "silu",
        "eos_token_id": 0,
    })
}

fn tokenizer(family: Family) -> Tokenizer {
    let mut letters: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    letters.sort_unstable();
    let mut vocabulary = json!({"<|end|>": 0});
    for (id, letter) in (1u32..).zip(letters) {
        vocabulary[letter.to_string()] = json!(id);
    }
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let bytes = json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    });
    let mut tokenizer = Tokenizer::from_bytes(bytes.to_string()).expect("tokenizer");
    let markers = match family {
        Family::Llama => vec!["<|end|>"],
        Family::Qwen2 => vec!["<|end|>", "<|im_start|>", "<|im_end|>"],
    };
    let markers = markers.into_iter().map(|marker| AddedToken::from(marker, true));
    tokenizer.add_special_tokens(markers).expect("markers");
    tokenizer
}

fn write_weights(path: &Path, family: Family, vocabulary: usize) {
    let kv = HIDDEN / HEADS * KEY_HEADS;
    let kind = match family {
        Family::Llama => DType::F32,
        Family::Qwen2 => DType::BF16,
    };
    let random = |shape: &[usize]| {
        Tensor::randn(0f32, 0.4, shape, &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(kind))
            .expect("tensor")
    };
    let mut weights = HashMap::from([
        (
            "model.embed_tokens.weight".to_owned(),
            random(&[vocabulary, HIDDEN]),
        ),
        ("model.norm.weight".to_owned(), random(&[HIDDEN])),
    ]);
    if family == Family::Qwen2 {
        weights.insert("lm_head.weight".to_owned(), random(&[vocabulary, HIDDEN]));
    }
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("input_layernorm.weight", vec![HIDDEN]),
            ("post_attention_layernorm.weight", vec![HIDDEN]),
            ("self_attn.q_proj.weight", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj.weight", vec![kv, HIDDEN]),
            ("self_attn.v_proj.weight", vec![kv, HIDDEN]),
            ("self_attn.o_proj.weight", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj.weight", vec![WIDE, HIDDEN]),
            ("mlp.up_proj.weight", vec![WIDE, HIDDEN]),
            ("mlp.down_proj.weight", vec![HIDDEN, WIDE]),
        ] {
            weights.insert(format!("model.layers.{layer}.{name}"), random(&shape));
        }
        if family == Family::Qwen2 {
            for (name, length) in [("q", HIDDEN), ("k", kv), ("v", kv)] {
                weights.insert(
                    format!("model.layers.{layer}.self_attn.{name}_proj.bias"),
                    random(&[length]),
                );
            }
        }
    }
    match family {
        Family::Llama => {
            candle_core::safetensors::save(&weights, path.join("model.safetensors")).expect("weights");
        }
        Family::Qwen2 => {
            let (one, other): (HashMap<_, _>, HashMap<_, _>) = weights
                .into_iter()
                .partition(|(name, _)| name.contains("layers.0"));
            candle_core::safetensors::save(&one, path.join("model-00001-of-00002.safetensors"))
                .expect("weights");
            candle_core::safetensors::save(&other, path.join("model-00002-of-00002.safetensors"))
                .expect("weights");
        }
    }
}
