//! Weights read from a pipe, one tensor after the other.

use std::io::{self, Read};

use candle_core::{DType, Device, Tensor};

use super::WeightsError;
use super::layout::{self, Layout};
use crate::limits;
use crate::model::decoder::Weights;

/// Why weights cannot be read from a pipe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("the weights broke off: {0}")]
    Pipe(#[from] io::Error),
    #[error("the weights cannot be used: {0}")]
    Computation(#[from] candle_core::Error),
}

/// Reads weights of `length` bytes. Beside the model there is never more in memory than the largest of its tensors as it came.
pub(crate) fn read(pipe: &mut impl Read, length: u64) -> Result<Weights, ReadError> {
    let mut prefix = [0; layout::PREFIX];
    pipe.read_exact(&mut prefix)?;
    let header = layout::header_length(&prefix)?.ok_or(WeightsError::NotSafetensors)?;
    let mut buffer = vec![0; header.min(limits::WEIGHTS_HEADER)];
    pipe.read_exact(&mut buffer)?;
    let layout = Layout::parse(&buffer)?;
    // Nothing is read, nor room made for it, that is not there.
    if layout.length() != length {
        return Err(ReadError::Weights(WeightsError::Length {
            expected: layout.length(),
            found: length,
        }));
    }
    let mut weights = Weights::with_capacity(layout.tensors.len());
    for tensor in layout.tensors {
        if buffer.len() < tensor.bytes {
            buffer.resize(tensor.bytes, 0);
        }
        let bytes = buffer.get_mut(..tensor.bytes).unwrap_or_default();
        pipe.read_exact(bytes)?;
        let placed = Tensor::from_raw_buffer(bytes, tensor.kind, &tensor.shape, &Device::Cpu)?;
        weights.insert(tensor.name, placed.to_dtype(DType::F32)?);
    }
    Ok(weights)
}
