//! The decoder in training: the base model's weights, and those of them, or beside them, that change.

use std::collections::BTreeMap;
use std::io::BufRead;

use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::loss;

use super::TeachError;
use super::adam::{Gradients, Trained};
use super::lessons::{Lessons, Score, Sheet};
use crate::model::config::DecoderConfig;
use crate::model::decoder::{ADAPTER_NARROW, ADAPTER_SCALE, ADAPTER_WIDE, Decoder, Kernels, Weights};
use crate::model::load::{ModelError, ModelFiles};
use crate::model::template::Template;
use crate::model::tokens::Tokens;
use crate::random::Random;
use crate::training::weights::OWN;
use crate::training::{Adaptation, Plan, Progress};

/// How narrow the adapters' matrices are.
const RANK: usize = 8;
/// The step sizes that a multiplier of 1 means.
const LORA_RATE: f64 = 4e-3;
const FULL_RATE: f64 = 1e-3;
const WARM_UP: f64 = 5.0;

pub(super) struct Learner {
    config: DecoderConfig,
    tokens: Tokens,
    template: Template,
    /// The base model in f32, and the type that its weights have in their file.
    base: BTreeMap<String, (Tensor, DType)>,
    trained: BTreeMap<String, Trained>,
    decoder: Decoder,
    rate: f64,
    adaptation: Adaptation,
}

impl Learner {
    pub(super) fn new(files: ModelFiles<'_>, plan: &Plan) -> Result<Self, TeachError> {
        let config = DecoderConfig::parse(&files.config).map_err(ModelError::from)?;
        let tokens = Tokens::parse(&files.tokenizer).map_err(ModelError::from)?;
        let mut base = BTreeMap::new();
        for file in files.weights {
            for (name, tensor) in candle_core::safetensors::load_buffer(&file?, &Device::Cpu)? {
                let kind = tensor.dtype();
                if !matches!(kind, DType::F32 | DType::F16 | DType::BF16) {
                    return Err(ModelError::WeightType(kind).into());
                }
                base.insert(name, (tensor.to_dtype(DType::F32)?, kind));
            }
        }
        let trained = match plan.adaptation {
            Adaptation::Lora => adapters(&config, plan.seed)?,
            Adaptation::Full => base
                .iter()
                .map(|(name, (tensor, _))| Ok((name.clone(), Trained::new(Var::from_tensor(tensor)?)?)))
                .collect::<candle_core::Result<_>>()?,
        };
        let decoder = decoder(&config, &base, &trained)?;
        let rate = match plan.adaptation {
            Adaptation::Lora => LORA_RATE,
            Adaptation::Full => FULL_RATE,
        };
        Ok(Self {
            template: Template::of(&tokens),
            config,
            tokens,
            base,
            trained,
            decoder,
            rate: rate * plan.learning_rate_multiplier,
            adaptation: plan.adaptation,
        })
    }

    /// Reads a set of examples.
    pub(super) fn lessons(&self, input: &mut impl BufRead, count: u64) -> Result<Lessons, TeachError> {
        let reader = (&self.tokens, self.template, self.config.start);
        Lessons::read(input, count, reader, self.config.context)
    }

    /// One step.
    pub(super) fn learn(
        &mut self,
        lessons: &Lessons,
        batch: &[usize],
        step: u64,
        steps: u64,
    ) -> Result<Score, TeachError> {
        let all = lessons.learnt(batch).max(1) as f64;
        let mut gradients = Gradients::default();
        let mut score = Score::default();
        for sheet in lessons.sheets(batch)? {
            let (loss, known) = self.look(&sheet)?;
            // Each token counts the same, whichever sheet it is on.
            let share = (&loss * (sheet.count as f64 / all))?;
            gradients.add(&self.trained, &share.backward()?)?;
            score.add(known);
        }
        let rate = self.rate * schedule(step, steps);
        gradients.apply(&mut self.trained, step, rate)?;
        Ok(score)
    }

    /// How well a set of examples is known.
    pub(super) fn measure(&self, lessons: &Lessons) -> Result<Score, TeachError> {
        let mut score = Score::default();
        for sheet in lessons.sheets(&lessons.all())? {
            score.add(self.look(&sheet)?.1);
        }
        Ok(score)
    }

    fn look(&self, sheet: &Sheet) -> Result<(Tensor, Score), TeachError> {
        let hidden = self.decoder.hidden(&sheet.ids, None)?.flatten_to(1)?;
        let there = hidden.index_select(&sheet.places, 0)?;
        // The decoder's head expects a batch.
        let logits = self.decoder.logits(&there.unsqueeze(0)?)?.squeeze(0)?;
        let loss = loss::cross_entropy(&logits, &sheet.wanted)?;
        let right = logits.detach().argmax(D::Minus1)?.eq(&sheet.wanted)?;
        let right = right.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
        let score = Score {
            loss_sum: f64::from(loss.to_scalar::<f32>()?) * sheet.count as f64,
            right: f64::from(right),
            count: sheet.count,
        };
        Ok((loss, score))
    }

    /// The model as it is now, in the form of the base model's files.
    pub(super) fn model(&self) -> Result<BTreeMap<String, Tensor>, TeachError> {
        let mut model = BTreeMap::new();
        for (name, (base, kind)) in &self.base {
            let value = match self.adaptation {
                Adaptation::Full => self
                    .trained
                    .get(name)
                    .map(|weights| weights.value.as_detached_tensor()),
                Adaptation::Lora => self.merged(name, base)?,
            };
            model.insert(
                name.clone(),
                value.unwrap_or_else(|| base.clone()).to_dtype(*kind)?,
            );
        }
        Ok(model)
    }

    fn merged(&self, name: &str, base: &Tensor) -> Result<Option<Tensor>, TeachError> {
        let Some(place) = name.strip_suffix(".weight") else {
            return Ok(None);
        };
        let part = |part: &str| self.trained.get(&format!("{place}.{part}"));
        let (Some(narrow), Some(wide)) = (part(ADAPTER_NARROW), part(ADAPTER_WIDE)) else {
            return Ok(None);
        };
        let beside = wide
            .value
            .as_detached_tensor()
            .matmul(&narrow.value.as_detached_tensor())?;
        Ok(Some((base + (beside * ADAPTER_SCALE)?)?))
    }

    /// The model as it is now, and what it takes to go on from here exactly.
    pub(super) fn checkpoint(&self) -> Result<BTreeMap<String, Tensor>, TeachError> {
        let mut tensors = self.model()?;
        for (name, weights) in &self.trained {
            tensors.insert(format!("{OWN}value.{name}"), weights.value.as_detached_tensor());
            tensors.insert(format!("{OWN}first.{name}"), weights.first.clone());
            tensors.insert(format!("{OWN}second.{name}"), weights.second.clone());
        }
        Ok(tensors)
    }

    /// Goes on from a checkpoint.
    pub(super) fn take_up(&mut self, bytes: &[u8]) -> Result<Progress, TeachError> {
        let progress = said(bytes).ok_or(TeachError::Checkpoint)?;
        let mut tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?;
        for (name, weights) in &mut self.trained {
            let mut take = |part: &str| {
                let tensor = tensors.remove(&format!("{OWN}{part}.{name}"));
                tensor
                    .filter(|tensor| tensor.shape() == weights.value.shape() && tensor.dtype() == DType::F32)
                    .ok_or(TeachError::Checkpoint)
            };
            let (value, first, second) = (take("value")?, take("first")?, take("second")?);
            weights.value.set(&value)?;
            (weights.first, weights.second) = (first, second);
        }
        Ok(progress)
    }
}

/// What the metadata of a checkpoint says.
fn said(bytes: &[u8]) -> Option<Progress> {
    let (prefix, rest) = bytes.split_first_chunk()?;
    let head = rest.get(..crate::training::weights::head_length(*prefix)?)?;
    let head: serde_json::Value = serde_json::from_slice(head).ok()?;
    serde_json::from_str(head.get("__metadata__")?.get("checkpoint")?.as_str()?).ok()
}

/// Adapters beside every projection. The wide matrix starts at nothing, and so does their product.
fn adapters(config: &DecoderConfig, seed: u64) -> Result<BTreeMap<String, Trained>, TeachError> {
    let (hidden, wide) = (config.hidden, config.intermediate);
    let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let mut random = Random::new(seed);
    let mut trained = BTreeMap::new();
    for layer in 0..config.layers {
        for (name, from, to) in [
            ("self_attn.q_proj", hidden, queries),
            ("self_attn.k_proj", hidden, keys),
            ("self_attn.v_proj", hidden, keys),
            ("self_attn.o_proj", queries, hidden),
            ("mlp.gate_proj", hidden, wide),
            ("mlp.up_proj", hidden, wide),
            ("mlp.down_proj", wide, hidden),
        ] {
            let place = format!("model.layers.{layer}.{name}");
            let narrow = random.matrix(RANK, from, 1.0 / (from as f64).sqrt())?;
            let nothing = Var::zeros((to, RANK), DType::F32, &Device::Cpu)?;
            trained.insert(format!("{place}.{ADAPTER_NARROW}"), Trained::new(narrow)?);
            trained.insert(format!("{place}.{ADAPTER_WIDE}"), Trained::new(nothing)?);
        }
    }
    Ok(trained)
}

/// The weights that are trained stand in their place, or beside it, as what they are: when they move, the decoder moves.
fn decoder(
    config: &DecoderConfig,
    base: &BTreeMap<String, (Tensor, DType)>,
    trained: &BTreeMap<String, Trained>,
) -> Result<Decoder, TeachError> {
    let mut weights: Weights = base
        .iter()
        .map(|(name, (tensor, _))| (name.clone(), tensor.clone()))
        .collect();
    for (name, trained) in trained {
        weights.insert(name.clone(), trained.value.as_tensor().clone());
    }
    Ok(Decoder::new(config, &mut weights, Kernels::Differentiable)?)
}

/// Rises over the warm-up, then falls along a half cosine to a tenth.
fn schedule(step: u64, steps: u64) -> f64 {
    let warm = ((step + 1) as f64 / WARM_UP).min(1.0);
    let done = step as f64 / steps.max(1) as f64;
    warm * (0.1 + 0.9 * 0.5 * (1.0 + (done * std::f64::consts::PI).cos()))
}
