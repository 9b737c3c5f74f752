//! `config.json` of a Hugging Face folder, as far as a decoder of the Llama or Qwen2 family needs it.

use serde::Deserialize;

use crate::limits;

/// The two families that the decoder speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Llama,
    Qwen2,
}

/// What the decoder must know of a model's shape; checked, so that no later arithmetic can go wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecoderConfig {
    pub(crate) family: Family,
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) norm_eps: f32,
    pub(crate) rope_theta: f64,
    pub(crate) rope_scaling: Option<Llama3Scaling>,
    /// Longest sequence, prompt and answer together.
    pub(crate) context: usize,
    pub(crate) tied: bool,
    pub(crate) qkv_bias: bool,
    pub(crate) output_bias: bool,
    /// Tokens that end an answer.
    pub(crate) ends: Vec<u32>,
    /// The token that starts a sequence, where the model has one.
    pub(crate) start: Option<u32>,
}

/// How Llama 3.1 and later stretch the rotary frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Llama3Scaling {
    pub(crate) factor: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) original: f64,
}

/// Why a `config.json` will not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("config.json cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("config.json asks for {what}, which the built-in decoder does not have")]
    Unsupported { what: String },
    #[error("config.json has an impossible {field}")]
    Impossible { field: &'static str },
}

#[derive(Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    max_position_embeddings: usize,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    use_sliding_window: Option<bool>,
    sliding_window: Option<usize>,
    hidden_act: Option<String>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
    quantization_config: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl DecoderConfig {
    /// Reads and checks `config.json`.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let raw: Raw = serde_json::from_slice(json)?;
        let family = match raw.model_type.as_str() {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            other => return Err(unsupported(format!("the model type `{other}`"))),
        };
        raw.refuse_what_is_not_here()?;
        let kv_heads = raw.num_key_value_heads.unwrap_or(raw.num_attention_heads);
        let head_dim = match raw.head_dim {
            Some(given) => given,
            None => raw.hidden_size.checked_div(raw.num_attention_heads).unwrap_or(0),
        };
        let bias = raw.attention_bias.unwrap_or(false);
        let config = Self {
            family,
            vocabulary: raw.vocab_size,
            hidden: raw.hidden_size,
            intermediate: raw.intermediate_size,
            layers: raw.num_hidden_layers,
            heads: raw.num_attention_heads,
            kv_heads,
            head_dim,
            norm_eps: narrow(raw.rms_norm_eps),
            rope_theta: raw.rope_theta(),
            rope_scaling: raw.rope_scaling()?,
            context: raw.context(),
            tied: raw.tie_word_embeddings.unwrap_or(false),
            qkv_bias: bias || family == Family::Qwen2,
            output_bias: bias,
            ends: match raw.eos_token_id {
                None => Vec::new(),
                Some(OneOrMany::One(end)) => vec![end],
                Some(OneOrMany::Many(ends)) => ends,
            },
            start: raw.bos_token_id,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let within = |field, value: usize, most: usize| match value {
            1.. if value <= most => Ok(()),
            _ => Err(ConfigError::Impossible { field }),
        };
        within("vocab_size", self.vocabulary, limits::MODEL_VOCABULARY)?;
        within("hidden_size", self.hidden, limits::MODEL_WIDTH)?;
        within("intermediate_size", self.intermediate, limits::MODEL_WIDTH)?;
        within("num_hidden_layers", self.layers, limits::MODEL_LAYERS)?;
        within("num_attention_heads", self.heads, limits::MODEL_WIDTH)?;
        within("num_key_value_heads", self.kv_heads, self.heads)?;
        within("head_dim", self.head_dim, limits::MODEL_WIDTH)?;
        within("max_position_embeddings", self.context, limits::MODEL_CONTEXT)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(ConfigError::Impossible {
                field: "num_key_value_heads",
            });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ConfigError::Impossible { field: "head_dim" });
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(ConfigError::Impossible {
                field: "rms_norm_eps",
            });
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(ConfigError::Impossible { field: "rope_theta" });
        }
        Ok(())
    }
}

impl Raw {
    fn refuse_what_is_not_here(&self) -> Result<(), ConfigError> {
        if self.quantization_config.is_some() {
            return Err(unsupported("quantised weights"));
        }
        if self.mlp_bias == Some(true) {
            return Err(unsupported("a bias in the feed-forward layers"));
        }
        match self.hidden_act.as_deref() {
            None | Some("silu") => Ok(()),
            Some(other) => Err(unsupported(format!("the activation `{other}`"))),
        }
    }

    fn rope(&self) -> Option<&RawRope> {
        self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())
    }

    fn rope_theta(&self) -> f64 {
        self.rope_theta
            .or_else(|| self.rope()?.rope_theta)
            .unwrap_or(10_000.0)
    }

    fn rope_scaling(&self) -> Result<Option<Llama3Scaling>, ConfigError> {
        let Some(rope) = self.rope() else { return Ok(None) };
        match rope.rope_type.as_deref() {
            None | Some("default") => Ok(None),
            Some("llama3") => {
                let positive = |field, value: Option<f64>| match value {
                    Some(value) if value.is_finite() && value > 0.0 => Ok(value),
                    _ => Err(ConfigError::Impossible { field }),
                };
                Ok(Some(Llama3Scaling {
                    factor: positive("factor", rope.factor)?,
                    low: positive("low_freq_factor", rope.low_freq_factor)?,
                    high: positive("high_freq_factor", rope.high_freq_factor)?,
                    original: positive(
                        "original_max_position_embeddings",
                        rope.original_max_position_embeddings,
                    )?,
                }))
            }
            Some(other) => Err(unsupported(format!("the rotary scaling `{other}`"))),
        }
    }

    /// Within a sliding window attention is full, so the window bounds the context instead of being implemented.
    fn context(&self) -> usize {
        let window = match self.use_sliding_window {
            Some(true) => self.sliding_window.unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        self.max_position_embeddings
            .min(window)
            .min(limits::MODEL_CONTEXT)
    }
}

fn unsupported(what: impl Into<String>) -> ConfigError {
    ConfigError::Unsupported { what: what.into() }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an epsilon; the decoder computes in f32"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}
