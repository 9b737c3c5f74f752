//! The header of a safetensors file: which tensor lies where.

use std::collections::HashMap;

use candle_core::DType;
use serde::Deserialize;
use serde_json::Value;

use super::WeightsError;
use crate::limits;

/// The bytes before the header, which tell its length.
pub(crate) const PREFIX: usize = 8;
/// The entry of the header that is no tensor.
const METADATA: &str = "__metadata__";

/// The tensors of a file in the order of their places.
pub(crate) struct Layout {
    pub(crate) tensors: Vec<Placed>,
    header: u64,
}

/// One tensor: what it is, and how many bytes it takes.
pub(crate) struct Placed {
    pub(crate) name: String,
    pub(crate) kind: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: usize,
}

#[derive(Deserialize)]
struct Described {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// How long the header is; `None` while too little is there to know.
pub(crate) fn header_length(head: &[u8]) -> Result<Option<usize>, WeightsError> {
    let Some(prefix) = head.first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    match usize::try_from(u64::from_le_bytes(*prefix)) {
        Ok(length) if length <= limits::WEIGHTS_HEADER => Ok(Some(length)),
        _ => Err(WeightsError::LongHeader),
    }
}

impl Layout {
    pub(crate) fn parse(header: &[u8]) -> Result<Self, WeightsError> {
        let entries: HashMap<String, Value> =
            serde_json::from_slice(header).map_err(|_| WeightsError::NotSafetensors)?;
        let mut described = Vec::new();
        for (name, entry) in entries {
            if name != METADATA {
                let entry: Described =
                    serde_json::from_value(entry).map_err(|_| WeightsError::NotSafetensors)?;
                described.push((name, entry));
            }
        }
        if described.is_empty() {
            return Err(WeightsError::NotSafetensors);
        }
        if described.len() > limits::WEIGHTS_TENSORS {
            return Err(WeightsError::ManyTensors);
        }
        described.sort_by_key(|(_, entry)| entry.data_offsets);
        let mut tensors = Vec::with_capacity(described.len());
        let mut end = 0;
        for (place, (name, entry)) in described.into_iter().enumerate() {
            let index = place + 1;
            let placed = Placed::read(name, entry, end, index)?;
            end += placed.bytes;
            tensors.push(placed);
        }
        Ok(Self {
            tensors,
            header: u64::try_from(header.len()).unwrap_or(u64::MAX),
        })
    }

    /// How long the whole file is.
    pub(crate) fn length(&self) -> u64 {
        let data: usize = self.tensors.iter().map(|tensor| tensor.bytes).sum();
        let data = u64::try_from(data).unwrap_or(u64::MAX);
        (PREFIX as u64).saturating_add(self.header).saturating_add(data)
    }
}

impl Placed {
    fn read(name: String, entry: Described, begin: usize, index: usize) -> Result<Self, WeightsError> {
        let kind = match entry.dtype.as_str() {
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            _ => return Err(WeightsError::Type { index }),
        };
        let bytes = entry
            .shape
            .iter()
            .try_fold(kind.size_in_bytes(), |bytes, side| bytes.checked_mul(*side));
        let (first, last) = entry.data_offsets;
        match bytes {
            Some(bytes) if first == begin && first.checked_add(bytes) == Some(last) => Ok(Self {
                name,
                kind,
                shape: entry.shape,
                bytes,
            }),
            _ => Err(WeightsError::Tensor { index }),
        }
    }
}
