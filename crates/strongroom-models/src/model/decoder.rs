//! A pre-norm decoder with rotary positions, grouped attention and a gated feed-forward: what the Llama and Qwen2
//! families share. They differ in the bias of three projections.
//!
//! It is written here, rather than taken from candle's model collection, because embeddings need the hidden states,
//! training needs every position's logits and operations with gradients, and a missing tensor must be an error.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{Embedding, Linear, Module, ops, rotary_emb};

use super::config::{DecoderConfig, Llama3Scaling};

/// Weights by their names in the file, taken out as they are placed.
pub(crate) type Weights = HashMap<String, Tensor>;

/// Which form of the same operations to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// Fused; cannot be differentiated.
    Fused,
    /// Made of small steps that have gradients, for training.
    Differentiable,
}

/// The two matrices of an adapter, named after the projection that they stand beside.
pub(crate) const ADAPTER_NARROW: &str = "lora_a";
pub(crate) const ADAPTER_WIDE: &str = "lora_b";
/// How much an adapter's product counts.
pub(crate) const ADAPTER_SCALE: f64 = 2.0;

/// The decoder with its weights in `f32`.
pub(crate) struct Decoder {
    tokens: Embedding,
    blocks: Vec<Block>,
    norm: Norm,
    head: Projection,
    rotary: Rotary,
}

/// Keys and values of the positions already seen, one pair a layer.
pub(crate) struct Past {
    layers: Vec<Option<(Tensor, Tensor)>>,
    length: usize,
}

impl Past {
    /// Nothing seen yet.
    pub(crate) fn new(config: &DecoderConfig) -> Self {
        Self {
            layers: vec![None; config.layers],
            length: 0,
        }
    }
}

impl Decoder {
    /// Places the weights. Names are those of Hugging Face's files.
    pub(crate) fn new(config: &DecoderConfig, weights: &mut Weights, kernels: Kernels) -> Result<Self> {
        let mut from = Placer { weights, kernels };
        let table = from.take("model.embed_tokens.weight", &[config.vocabulary, config.hidden])?;
        let blocks = (0..config.layers)
            .map(|layer| Block::new(config, &mut from, &format!("model.layers.{layer}")))
            .collect::<Result<Vec<_>>>()?;
        let norm = from.norm(config, "model.norm")?;
        let tied = config.tied || !from.weights.contains_key("lm_head.weight");
        let head = match tied {
            true => Projection {
                linear: Linear::new(table.clone(), None),
                adapter: None,
            },
            false => from.linear("lm_head", config.hidden, config.vocabulary, false)?,
        };
        let tokens = Embedding::new(table, config.hidden);
        Ok(Self {
            tokens,
            blocks,
            norm,
            head,
            rotary: Rotary::new(config, kernels)?,
        })
    }

    /// The normalised hidden state of every position of `ids` (batch × length), which follow those in `past`.
    /// Without a past each call starts afresh.
    pub(crate) fn hidden(&self, ids: &Tensor, mut past: Option<&mut Past>) -> Result<Tensor> {
        let (_, length) = ids.dims2()?;
        let seen = past.as_ref().map_or(0, |past| past.length);
        let step = Step {
            mask: causal_mask(length, seen, ids.device())?,
            turn: self.rotary.at(seen, length)?,
            kernels: self.rotary.kernels,
        };
        let mut state = self.tokens.forward(ids)?;
        for (index, block) in self.blocks.iter().enumerate() {
            let remembered = past.as_mut().and_then(|past| past.layers.get_mut(index));
            state = block.forward(&state, &step, remembered)?;
        }
        if let Some(past) = past {
            past.length += length;
        }
        self.norm.forward(&state)
    }

    /// The scores of every next token after each of the given hidden states.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }
}

/// A matrix, and beside it, while an adapter is trained, the product of two narrow ones.
struct Projection {
    linear: Linear,
    adapter: Option<(Tensor, Tensor)>,
}

impl Projection {
    fn forward(&self, state: &Tensor) -> Result<Tensor> {
        let straight = self.linear.forward(state)?;
        let Some((narrow, wide)) = &self.adapter else {
            return Ok(straight);
        };
        let (batch, length, from) = state.dims3()?;
        let aside = state
            .reshape((batch * length, from))?
            .matmul(&narrow.t()?)?
            .matmul(&wide.t()?)?;
        straight + (aside.reshape((batch, length, ()))? * ADAPTER_SCALE)?
    }
}

struct Block {
    before_attention: Norm,
    attention: Attention,
    before_feed: Norm,
    gate: Projection,
    up: Projection,
    down: Projection,
}

impl Block {
    fn new(config: &DecoderConfig, from: &mut Placer<'_>, at: &str) -> Result<Self> {
        let (hidden, wide) = (config.hidden, config.intermediate);
        Ok(Self {
            before_attention: from.norm(config, &format!("{at}.input_layernorm"))?,
            attention: Attention::new(config, from, &format!("{at}.self_attn"))?,
            before_feed: from.norm(config, &format!("{at}.post_attention_layernorm"))?,
            gate: from.linear(&format!("{at}.mlp.gate_proj"), hidden, wide, false)?,
            up: from.linear(&format!("{at}.mlp.up_proj"), hidden, wide, false)?,
            down: from.linear(&format!("{at}.mlp.down_proj"), wide, hidden, false)?,
        })
    }

    fn forward(
        &self,
        state: &Tensor,
        step: &Step,
        past: Option<&mut Option<(Tensor, Tensor)>>,
    ) -> Result<Tensor> {
        let attended = self
            .attention
            .forward(&self.before_attention.forward(state)?, step, past)?;
        let state = (state + attended)?;
        let normed = self.before_feed.forward(&state)?;
        let fed = (ops::silu(&self.gate.forward(&normed)?)? * self.up.forward(&normed)?)?;
        state + self.down.forward(&fed)?
    }
}

struct Attention {
    query: Projection,
    key: Projection,
    value: Projection,
    output: Projection,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

/// What all layers share in one forward pass.
struct Step {
    mask: Option<Tensor>,
    turn: (Tensor, Tensor),
    kernels: Kernels,
}

impl Attention {
    fn new(config: &DecoderConfig, from: &mut Placer<'_>, at: &str) -> Result<Self> {
        let (hidden, dim) = (config.hidden, config.head_dim);
        let (wide, narrow) = (config.heads * dim, config.kv_heads * dim);
        Ok(Self {
            query: from.linear(&format!("{at}.q_proj"), hidden, wide, config.qkv_bias)?,
            key: from.linear(&format!("{at}.k_proj"), hidden, narrow, config.qkv_bias)?,
            value: from.linear(&format!("{at}.v_proj"), hidden, narrow, config.qkv_bias)?,
            output: from.linear(&format!("{at}.o_proj"), wide, hidden, config.output_bias)?,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: dim,
        })
    }

    fn forward(
        &self,
        state: &Tensor,
        step: &Step,
        past: Option<&mut Option<(Tensor, Tensor)>>,
    ) -> Result<Tensor> {
        let (batch, length, _) = state.dims3()?;
        let query = step.turned(&self.split(&self.query.forward(state)?, self.heads)?)?;
        let mut key = step.turned(&self.split(&self.key.forward(state)?, self.kv_heads)?)?;
        let mut value = self.split(&self.value.forward(state)?, self.kv_heads)?;
        if let Some(past) = past {
            if let Some((keys, values)) = past.as_ref() {
                key = Tensor::cat(&[keys, &key], 2)?.contiguous()?;
                value = Tensor::cat(&[values, &value], 2)?.contiguous()?;
            }
            *past = Some((key.clone(), value.clone()));
        }
        // Heads that share a key stand one after the other, so grouping is a reshape and keys need no copies.
        let (_, _, total, dim) = key.dims4()?;
        let group = self.heads / self.kv_heads;
        let query = query.reshape((batch, self.kv_heads, group * length, dim))?;
        let scores = (query.matmul(&key.t()?)? / (dim as f64).sqrt())?;
        let scores = scores.reshape((batch, self.heads, length, total))?;
        let scores = match &step.mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let weights = step
            .softmax(&scores)?
            .reshape((batch, self.kv_heads, group * length, total))?;
        let mixed = weights
            .matmul(&value)?
            .reshape((batch, self.heads, length, dim))?;
        self.output.forward(
            &mixed
                .transpose(1, 2)?
                .reshape((batch, length, self.heads * dim))?,
        )
    }

    fn split(&self, tensor: &Tensor, heads: usize) -> Result<Tensor> {
        let (batch, length, _) = tensor.dims3()?;
        tensor
            .reshape((batch, length, heads, self.head_dim))?
            .transpose(1, 2)?
            .contiguous()
    }
}

impl Step {
    fn turned(&self, heads: &Tensor) -> Result<Tensor> {
        let (cos, sin) = &self.turn;
        match self.kernels {
            Kernels::Fused => rotary_emb::rope(heads, cos, sin),
            Kernels::Differentiable => rotary_emb::rope_slow(heads, cos, sin),
        }
    }

    fn softmax(&self, scores: &Tensor) -> Result<Tensor> {
        match self.kernels {
            Kernels::Fused => ops::softmax_last_dim(scores),
            Kernels::Differentiable => ops::softmax(scores, D::Minus1),
        }
    }
}

/// Root-mean-square normalisation.
struct Norm {
    weight: Tensor,
    eps: f32,
    kernels: Kernels,
}

impl Norm {
    fn forward(&self, state: &Tensor) -> Result<Tensor> {
        match self.kernels {
            Kernels::Fused => ops::rms_norm(&state.contiguous()?, &self.weight, self.eps),
            Kernels::Differentiable => ops::rms_norm_slow(state, &self.weight, self.eps),
        }
    }
}

/// Cosines and sines of every position.
struct Rotary {
    cos: Tensor,
    sin: Tensor,
    kernels: Kernels,
}

impl Rotary {
    fn new(config: &DecoderConfig, kernels: Kernels) -> Result<Self> {
        let mut angles = Vec::with_capacity(config.context * config.head_dim / 2);
        let frequencies = frequencies(config);
        for position in 0..config.context {
            angles.extend(frequencies.iter().map(|frequency| position as f64 * frequency));
        }
        // Angles are computed in f64 and rounded once, so that far positions stay exact.
        let angles = Tensor::from_vec(angles, (config.context, config.head_dim / 2), &Device::Cpu)?;
        let cos = angles.cos()?.to_dtype(DType::F32)?;
        let sin = angles.sin()?.to_dtype(DType::F32)?;
        Ok(Self { cos, sin, kernels })
    }

    fn at(&self, position: usize, length: usize) -> Result<(Tensor, Tensor)> {
        Ok((
            self.cos.narrow(0, position, length)?,
            self.sin.narrow(0, position, length)?,
        ))
    }
}

fn frequencies(config: &DecoderConfig) -> Vec<f64> {
    let dim = config.head_dim as f64;
    (0..config.head_dim / 2)
        .map(|pair| config.rope_theta.powf(-2.0 * pair as f64 / dim))
        .map(|frequency| match &config.rope_scaling {
            None => frequency,
            Some(scaling) => stretched(frequency, scaling),
        })
        .collect()
}

/// Llama 3.1's rule: high frequencies stay, low ones are divided, those between are blended.
fn stretched(frequency: f64, scaling: &Llama3Scaling) -> f64 {
    let turns = scaling.original * frequency / std::f64::consts::TAU;
    if turns > scaling.high {
        frequency
    } else if turns < scaling.low {
        frequency / scaling.factor
    } else {
        let share = (turns - scaling.low) / (scaling.high - scaling.low);
        frequency * (share + (1.0 - share) / scaling.factor)
    }
}

/// Minus infinity where a position would look ahead; nothing to hide from a single one.
fn causal_mask(length: usize, seen: usize, device: &Device) -> Result<Option<Tensor>> {
    if length <= 1 {
        return Ok(None);
    }
    let total = seen + length;
    let mask: Vec<f32> = (0..length)
        .flat_map(|row| {
            (0..total).map(move |column| {
                if column > seen + row {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
        })
        .collect();
    Tensor::from_vec(mask, (length, total), device).map(Some)
}

/// Takes weights out by name and checks their shapes.
struct Placer<'a> {
    weights: &'a mut Weights,
    kernels: Kernels,
}

impl Placer<'_> {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Some(tensor) = self.weights.remove(name) else {
            candle_core::bail!("the weights lack {name}")
        };
        if tensor.dims() != shape {
            candle_core::bail!("{name} has the shape {:?} instead of {shape:?}", tensor.dims())
        }
        Ok(tensor)
    }

    fn linear(&mut self, name: &str, from: usize, to: usize, bias: bool) -> Result<Projection> {
        let weight = self.take(&format!("{name}.weight"), &[to, from])?;
        let bias = match bias {
            true => Some(self.take(&format!("{name}.bias"), &[to])?),
            false => None,
        };
        let adapter = match self.weights.remove(&format!("{name}.{ADAPTER_NARROW}")) {
            Some(narrow) => {
                let rank = narrow.dims2()?.0;
                Some((narrow, self.take(&format!("{name}.{ADAPTER_WIDE}"), &[to, rank])?))
            }
            None => None,
        };
        Ok(Projection {
            linear: Linear::new(weight, bias),
            adapter,
        })
    }

    fn norm(&mut self, config: &DecoderConfig, name: &str) -> Result<Norm> {
        let weight = self.take(&format!("{name}.weight"), &[config.hidden])?;
        Ok(Norm {
            weight,
            eps: config.norm_eps,
            kernels: self.kernels,
        })
    }
}
