//! Makes the rehearsal model out of a text, from nothing but that text and a seed: the same text gives the same model on
//! the same machine.

mod corpus;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, loss};
use serde_json::{Value, json};
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use crate::model::config::DecoderConfig;
use crate::model::decoder::{Decoder, Kernels, Weights};
use crate::model::template::Template;
use crate::model::tokens::Tokens;
use crate::random::Random;
use corpus::Corpus;

/// Why no model came out.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The text has no question with an answer.
    #[error("line {line} of the text: {reason}")]
    Corpus {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The tokenizer could not be made.
    #[error("the tokenizer could not be made: {0}")]
    Tokenizer(String),
    /// The computation failed.
    #[error("the computation failed: {0}")]
    Computation(#[from] candle_core::Error),
    /// A file could not be written.
    #[error("a file could not be written: {0}")]
    File(#[from] std::io::Error),
}

/// Trains on `text` for `steps` steps and writes `config.json`, `tokenizer.json` and `model.safetensors` into `folder`.
/// `report` hears each step's number and loss.
pub fn train_rehearsal(
    text: &str,
    steps: usize,
    folder: &Path,
    report: &mut dyn FnMut(usize, f32),
) -> Result<(), TrainError> {
    let corpus = Corpus::parse(text)?;
    let tokenizer = tokenizer_json(&corpus)?;
    let tokens =
        Tokens::parse(tokenizer.as_bytes()).map_err(|error| TrainError::Tokenizer(error.to_string()))?;
    let config_json = config_json(&tokens);
    let config = DecoderConfig::parse(config_json.to_string().as_bytes())
        .map_err(|error| TrainError::Tokenizer(error.to_string()))?;
    let mut random = Random::new(SEED);
    let weights = first_weights(&config, &mut random)?;
    let mut placed: Weights = weights
        .iter()
        .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
        .collect();
    let decoder = Decoder::new(&config, &mut placed, Kernels::Differentiable)?;
    let mut lessons = Lessons {
        corpus: &corpus,
        tokens: &tokens,
        template: Template::of(&tokens),
        random,
    };
    teach(&decoder, &weights, &mut lessons, steps, report)?;
    write(folder, &config_json, &tokenizer, &weights)
}

const SEED: u64 = 20_261_123;
const VOCABULARY: usize = 1024;
const MARKERS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// Sequences in one step and tokens in one sequence.
const BATCH: usize = 8;
const LENGTH: usize = 160;
const RATE: f64 = 3e-3;
const WARM_UP: usize = 50;

fn tokenizer_json(corpus: &Corpus) -> Result<String, TrainError> {
    let failed = |error: tokenizers::Error| TrainError::Tokenizer(error.to_string());
    let mut trainer: TrainerWrapper = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(VOCABULARY)
        .special_tokens(
            MARKERS
                .iter()
                .map(|marker| AddedToken::from(*marker, true))
                .collect(),
        )
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build()
        .into();
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevelDecoder::new(false, true, true)));
    tokenizer.train(&mut trainer, corpus.texts()).map_err(failed)?;
    tokenizer.to_string(true).map_err(failed)
}

fn config_json(tokens: &Tokens) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": true,
        "hidden_act": "silu",
        "eos_token_id": tokens.marker("<|im_end|>"),
        "torch_dtype": "float16",
    })
}

fn first_weights(config: &DecoderConfig, random: &mut Random) -> Result<Vec<(String, Var)>, TrainError> {
    let (hidden, wide) = (config.hidden, config.intermediate);
    let kv = config.kv_heads * config.head_dim;
    let mut weights = vec![(
        "model.embed_tokens.weight".to_owned(),
        random.matrix(config.vocabulary, hidden, 0.02)?,
    )];
    // What is added to the running state starts smaller, the deeper the model.
    let added = 0.02 / (2.0 * config.layers as f64).sqrt();
    for layer in 0..config.layers {
        let mut add = |name: &str, var| weights.push((format!("model.layers.{layer}.{name}.weight"), var));
        add("input_layernorm", ones(hidden)?);
        add("self_attn.q_proj", random.matrix(hidden, hidden, 0.05)?);
        add("self_attn.k_proj", random.matrix(kv, hidden, 0.05)?);
        add("self_attn.v_proj", random.matrix(kv, hidden, 0.05)?);
        add("self_attn.o_proj", random.matrix(hidden, hidden, added)?);
        add("post_attention_layernorm", ones(hidden)?);
        add("mlp.gate_proj", random.matrix(wide, hidden, 0.05)?);
        add("mlp.up_proj", random.matrix(wide, hidden, 0.05)?);
        add("mlp.down_proj", random.matrix(hidden, wide, added)?);
    }
    weights.push(("model.norm.weight".to_owned(), ones(hidden)?));
    Ok(weights)
}

fn ones(length: usize) -> Result<Var, TrainError> {
    Ok(Var::ones(length, DType::F32, &Device::Cpu)?)
}

fn teach(
    decoder: &Decoder,
    weights: &[(String, Var)],
    lessons: &mut Lessons<'_>,
    steps: usize,
    report: &mut dyn FnMut(usize, f32),
) -> Result<(), TrainError> {
    let settings = ParamsAdamW {
        beta2: 0.98,
        weight_decay: 0.01,
        ..ParamsAdamW::default()
    };
    let mut optimizer = AdamW::new(weights.iter().map(|(_, var)| var.clone()).collect(), settings)?;
    for step in 0..steps {
        optimizer.set_learning_rate(rate(step, steps));
        let lesson = lessons.next()?;
        let given = lesson.narrow(1, 0, LENGTH)?.contiguous()?;
        let wanted = lesson.narrow(1, 1, LENGTH)?.contiguous()?;
        let logits = decoder.logits(&decoder.hidden(&given, None)?)?;
        let loss = loss::cross_entropy(&logits.flatten_to(1)?, &wanted.flatten_all()?)?;
        optimizer.backward_step(&loss)?;
        report(step, loss.to_scalar()?);
    }
    Ok(())
}

/// Rises over the warm-up, then falls along a half cosine.
fn rate(step: usize, steps: usize) -> f64 {
    let warm = ((step + 1) as f64 / WARM_UP as f64).min(1.0);
    let done = step as f64 / steps.max(1) as f64;
    RATE * warm * (0.02 + 0.98 * 0.5 * (1.0 + (done * std::f64::consts::PI).cos()))
}

/// Draws sequences of conversations, each starting at the start of one.
struct Lessons<'a> {
    corpus: &'a Corpus,
    tokens: &'a Tokens,
    template: Template,
    random: Random,
}

impl Lessons<'_> {
    fn next(&mut self) -> Result<Tensor, TrainError> {
        let mut ids = Vec::with_capacity(BATCH * (LENGTH + 1));
        for _ in 0..BATCH {
            let mut sequence = Vec::new();
            while sequence.len() <= LENGTH {
                sequence.extend(self.conversation()?);
            }
            sequence.truncate(LENGTH + 1);
            ids.extend(sequence);
        }
        Ok(Tensor::from_vec(ids, (BATCH, LENGTH + 1), &Device::Cpu)?)
    }

    fn conversation(&mut self) -> Result<Vec<u32>, TrainError> {
        let (turns, answer) = self.corpus.draw(&mut |choices| self.random.below(choices));
        let failed = |_| TrainError::Tokenizer("a text of the corpus cannot be encoded".to_owned());
        let mut ids = self.template.prompt(self.tokens, None, &turns).map_err(failed)?;
        ids.extend(self.tokens.encode(answer).map_err(failed)?);
        ids.extend(self.template.end());
        ids.extend(self.tokens.encode("\n").map_err(failed)?);
        Ok(ids)
    }
}

fn write(
    folder: &Path,
    config: &Value,
    tokenizer: &str,
    weights: &[(String, Var)],
) -> Result<(), TrainError> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("config.json"), format!("{config:#}\n"))?;
    std::fs::write(folder.join("tokenizer.json"), format!("{tokenizer}\n"))?;
    let halves = weights
        .iter()
        .map(|(name, var)| Ok((name.clone(), var.as_tensor().to_dtype(DType::F16)?)))
        .collect::<candle_core::Result<HashMap<String, Tensor>>>()?;
    candle_core::safetensors::save(&halves, folder.join("model.safetensors"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::load::{Model, ModelFiles};

    #[test]
    fn training_is_repeatable_lowers_the_loss_and_makes_a_folder_that_loads() {
        let text =
            "@ Be brief.\n? What is a lease? | Explain leases\n! The right to use a key for a while.\n";
        let train = || {
            let folder = tempfile::tempdir().expect("folder");
            let mut losses = Vec::new();
            train_rehearsal(text, 3, folder.path(), &mut |_, loss| losses.push(loss)).expect("trained");
            (folder, losses)
        };
        let ((one, losses), (other, _)) = (train(), train());
        assert!(losses[2] < losses[0], "{losses:?}");
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            let read = |folder: &Path| std::fs::read(folder.join(file)).expect("file");
            assert_eq!(read(one.path()), read(other.path()), "{file}");
        }
        let model = Model::from_files(ModelFiles::in_folder(one.path()).expect("files")).expect("model");
        assert!(model.ends_with(model.tokens.marker("<|im_end|>").expect("marker")));
    }
}
