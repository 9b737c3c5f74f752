//! Weights on a pipe: files in the safetensors format, one after the other. Each says in its head how long it is.

use std::collections::BTreeMap;
use std::io::{self, Write};

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Progress;
use crate::limits;
use crate::model::config::DecoderConfig;

/// The names of tensors that only the trainer itself needs, in a checkpoint.
pub(super) const OWN: &str = "training.";
/// The key of the metadata that makes a file a checkpoint: progress as JSON.
const CHECKPOINT: &str = "checkpoint";
/// The length of the head stands in front of it.
pub(super) const PREFIX: usize = 8;

/// What the head of a file says.
#[derive(Debug)]
pub(super) struct Head {
    /// How far training was, if this is a checkpoint; the model otherwise.
    pub(super) checkpoint: Option<Progress>,
    /// Bytes after the head.
    pub(super) body: u64,
}

/// The tensors that a model must have.
pub(super) struct Shapes {
    wanted: BTreeMap<String, Vec<usize>>,
    /// May be there: a head of its own where the embedding can serve as one.
    optional: BTreeMap<String, Vec<usize>>,
}

#[derive(Deserialize, Serialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Shapes {
    pub(super) fn of(config: &DecoderConfig) -> Self {
        let (hidden, wide) = (config.hidden, config.intermediate);
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        let mut wanted = BTreeMap::new();
        wanted.insert(
            "model.embed_tokens.weight".to_owned(),
            vec![config.vocabulary, hidden],
        );
        wanted.insert("model.norm.weight".to_owned(), vec![hidden]);
        for layer in 0..config.layers {
            let mut add = |name: &str, shape: Vec<usize>| {
                wanted.insert(format!("model.layers.{layer}.{name}"), shape);
            };
            add("input_layernorm.weight", vec![hidden]);
            add("post_attention_layernorm.weight", vec![hidden]);
            for (name, to) in [("q", queries), ("k", keys), ("v", keys)] {
                add(&format!("self_attn.{name}_proj.weight"), vec![to, hidden]);
                if config.qkv_bias {
                    add(&format!("self_attn.{name}_proj.bias"), vec![to]);
                }
            }
            add("self_attn.o_proj.weight", vec![hidden, queries]);
            if config.output_bias {
                add("self_attn.o_proj.bias", vec![hidden]);
            }
            add("mlp.gate_proj.weight", vec![wide, hidden]);
            add("mlp.up_proj.weight", vec![wide, hidden]);
            add("mlp.down_proj.weight", vec![hidden, wide]);
        }
        let optional = BTreeMap::from([("lm_head.weight".to_owned(), vec![config.vocabulary, hidden])]);
        Self { wanted, optional }
    }

    /// The bytes of all of them in f32.
    pub(super) fn bytes(&self) -> u64 {
        let all = self.wanted.values().chain(self.optional.values());
        all.map(|shape| {
            shape.iter().fold(4, |bytes: u64, side| {
                bytes.saturating_mul(u64::try_from(*side).unwrap_or(u64::MAX))
            })
        })
        .fold(0, u64::saturating_add)
    }

    /// What is wrong with the head of a file.
    pub(super) fn check(&self, head: &[u8]) -> Result<Head, String> {
        let mut entries: Map<String, Value> =
            serde_json::from_slice(head).map_err(|_| "its head is not JSON".to_owned())?;
        let checkpoint = match entries.remove("__metadata__") {
            None => None,
            Some(metadata) => checkpoint(&metadata)?,
        };
        let mut missing = self.wanted.len();
        let mut places = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            let entry: Entry =
                serde_json::from_value(entry).map_err(|_| "a tensor is described wrongly".to_owned())?;
            let own = checkpoint.is_some() && name.starts_with(OWN);
            let shape = self.wanted.get(&name);
            missing -= usize::from(shape.is_some());
            match shape.or_else(|| self.optional.get(&name)) {
                Some(shape) if *shape != entry.shape => {
                    return Err(format!(
                        "{name} has the shape {:?} instead of {shape:?}",
                        entry.shape
                    ));
                }
                None if !own => return Err("it has a tensor that the model does not have".to_owned()),
                _ => {}
            }
            places.push(entry.place()?);
        }
        if missing > 0 {
            return Err(format!("{missing} tensors of the model are missing"));
        }
        places.sort_unstable();
        let mut body = 0;
        for (start, end) in places {
            if start != body {
                return Err("its tensors overlap or leave gaps".to_owned());
            }
            body = end;
        }
        Ok(Head { checkpoint, body })
    }
}

impl Entry {
    fn place(&self) -> Result<(u64, u64), String> {
        let width: u64 = match self.dtype.as_str() {
            "F32" => 4,
            "F16" | "BF16" => 2,
            _ => return Err("a tensor has a type that is not F32, F16 or BF16".to_owned()),
        };
        let bytes = self
            .shape
            .iter()
            .try_fold(width, |bytes, side| bytes.checked_mul(u64::try_from(*side).ok()?));
        let (start, end) = self.data_offsets;
        match end.checked_sub(start) {
            Some(length) if Some(length) == bytes => Ok((start, end)),
            _ => Err("a tensor's bytes do not fit its shape".to_owned()),
        }
    }
}

fn checkpoint(metadata: &Value) -> Result<Option<Progress>, String> {
    let Some(said) = metadata.get(CHECKPOINT) else {
        return Ok(None);
    };
    let progress = said.as_str().and_then(|said| serde_json::from_str(said).ok());
    progress
        .map(Some)
        .ok_or_else(|| "a checkpoint does not say how far it is".to_owned())
}

/// Writes one file.
pub(super) fn write(
    out: &mut impl Write,
    tensors: &BTreeMap<String, Tensor>,
    checkpoint: Option<&Progress>,
) -> io::Result<()> {
    let mut head = Map::new();
    if let Some(progress) = checkpoint {
        let said = serde_json::to_string(progress).map_err(io::Error::other)?;
        head.insert("__metadata__".to_owned(), serde_json::json!({CHECKPOINT: said}));
    }
    let mut at = 0;
    for (name, tensor) in tensors {
        let dtype = match tensor.dtype() {
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            _ => "F32",
        };
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        let end = at + u64::try_from(bytes).map_err(io::Error::other)?;
        let entry = Entry {
            dtype: dtype.to_owned(),
            shape: tensor.dims().to_vec(),
            data_offsets: (at, end),
        };
        head.insert(
            name.clone(),
            serde_json::to_value(entry).map_err(io::Error::other)?,
        );
        at = end;
    }
    let mut head = serde_json::to_vec(&head).map_err(io::Error::other)?;
    // Readers map the file into memory and want numbers to lie straight.
    head.resize(head.len().next_multiple_of(PREFIX), b' ');
    out.write_all(&(head.len() as u64).to_le_bytes())?;
    out.write_all(&head)?;
    for tensor in tensors.values() {
        tensor
            .contiguous()
            .and_then(|tensor| tensor.write_bytes(out))
            .map_err(io::Error::other)?;
    }
    out.flush()
}

/// How long the head is.
pub(super) fn head_length(prefix: [u8; PREFIX]) -> Option<usize> {
    let length = usize::try_from(u64::from_le_bytes(prefix)).ok()?;
    (2..=limits::WEIGHT_HEAD).contains(&length).then_some(length)
}
