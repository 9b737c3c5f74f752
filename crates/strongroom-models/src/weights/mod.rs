//! Weights on their way as a stream: a file in the safetensors format, read from its beginning to its end and never kept whole.
//!
//! The format: eight bytes that tell the length of a JSON header, the header, which names each tensor's type, shape and place, and
//! then the tensors, one after the other without gaps.

mod layout;
mod read;
mod source;

pub(crate) use read::read;
pub use source::{OpenWeights, WeightSource, Withheld};

use crate::limits;
use layout::Layout;

/// Why bytes are not weights that can be used. Says nothing of what the tensors are called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// The beginning is not that of a safetensors file.
    #[error("the weights do not begin like a safetensors file")]
    NotSafetensors,
    /// The header is longer than is taken.
    #[error("the header of the weights is longer than {} bytes", limits::WEIGHTS_HEADER)]
    LongHeader,
    /// There are more tensors than are taken.
    #[error("the weights have more than {} tensors", limits::WEIGHTS_TENSORS)]
    ManyTensors,
    /// One tensor's description does not fit itself or its neighbours.
    #[error("tensor {index} of the weights has an impossible type, shape or place")]
    Tensor {
        /// Counted from 1, in the order of their places.
        index: usize,
    },
    /// A tensor has a type that no model here is made of.
    #[error("tensor {index} of the weights is not of the type F32, F16 or BF16")]
    Type {
        /// Counted from 1, in the order of their places.
        index: usize,
    },
    /// They end before or after the header says.
    #[error("the weights have {found} bytes, but their header says {expected}")]
    Length {
        /// What the header says, itself included.
        expected: u64,
        /// What came.
        found: u64,
    },
}

/// Checks weights as they pass by, in pieces of any length; keeps the header alone.
#[derive(Default)]
pub struct WeightsCheck {
    head: Vec<u8>,
    layout: Option<Layout>,
    seen: u64,
}

impl WeightsCheck {
    /// Takes the next piece. An error says that nothing which follows could make these weights.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), WeightsError> {
        self.seen = self
            .seen
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.layout.is_none() {
            self.take_head(piece)?;
        }
        match &self.layout {
            Some(layout) if self.seen > layout.length() => Err(self.wrong_length(layout)),
            _ => Ok(()),
        }
    }

    /// Ends the weights: `Ok` says that they are whole.
    pub fn finish(&self) -> Result<(), WeightsError> {
        match &self.layout {
            None => Err(WeightsError::NotSafetensors),
            Some(layout) if self.seen != layout.length() => Err(self.wrong_length(layout)),
            Some(_) => Ok(()),
        }
    }

    fn wrong_length(&self, layout: &Layout) -> WeightsError {
        WeightsError::Length {
            expected: layout.length(),
            found: self.seen,
        }
    }

    fn take_head(&mut self, piece: &[u8]) -> Result<(), WeightsError> {
        let most = limits::WEIGHTS_HEADER + layout::PREFIX;
        let room = most.saturating_sub(self.head.len());
        self.head.extend_from_slice(piece.get(..room).unwrap_or(piece));
        let Some(length) = layout::header_length(&self.head)? else {
            return Ok(());
        };
        if let Some(header) = self.head.get(layout::PREFIX..layout::PREFIX + length) {
            self.layout = Some(Layout::parse(header)?);
            self.head = Vec::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file of this header and so many bytes behind it.
    pub(crate) fn file(header: &str, bytes: usize) -> Vec<u8> {
        let mut file = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + bytes, 7);
        file
    }

    fn check(file: &[u8], pieces: usize) -> Result<(), WeightsError> {
        let mut check = WeightsCheck::default();
        file.chunks(pieces).try_for_each(|piece| check.push(piece))?;
        check.finish()
    }

    const TWO: &str = r#"{"__metadata__":{"made":"here"},"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},
        "a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;

    proptest! {
        #[test]
        fn whatever_comes_is_judged_alike_in_any_pieces_and_read_alike(
            (from, to) in (0_u64..40, 0_u64..40),
            (side, other) in (any::<u16>(), 0_u64..6),
            tail in 0_usize..40,
            (cut, pieces) in (0_usize..200, 1_usize..60),
        ) {
            let shape = format!("[{side},{other}]");
            let header = format!(r#"{{"a":{{"dtype":"F16","shape":{shape},"data_offsets":[{from},{to}]}}}}"#);
            let mut bytes = file(&header, tail);
            bytes.truncate(cut.max(bytes.len() / 2));
            let judged = check(&bytes, pieces);
            prop_assert_eq!(&judged, &check(&bytes, bytes.len().max(1)));
            let read = read(&mut bytes.as_slice(), bytes.len() as u64);
            prop_assert_eq!(judged.is_ok(), read.is_ok());
        }
    }

    #[test]
    fn whole_weights_are_found_sound_in_pieces_of_any_length() {
        let file = file(TWO, 12);
        for pieces in [1, 7, 64, file.len()] {
            assert_eq!(check(&file, pieces), Ok(()));
        }
    }

    #[test]
    fn what_is_too_short_or_too_long_says_by_how_much() {
        let whole = file(TWO, 12);
        let expected = whole.len() as u64;
        let found = |file: &[u8]| check(file, 9);
        let length = |found| Err(WeightsError::Length { expected, found });
        assert_eq!(found(&whole[..whole.len() - 1]), length(expected - 1));
        let longer = [whole.as_slice(), b"x"].concat();
        assert_eq!(found(&longer), length(expected + 1));
        assert_eq!(found(&whole[..20]), Err(WeightsError::NotSafetensors));
        assert_eq!(found(&[]), Err(WeightsError::NotSafetensors));
    }

    #[test]
    fn each_defect_of_a_header_has_its_own_error() {
        let found = |header: &str, bytes| check(&file(header, bytes), 16);
        let first = Err(WeightsError::Tensor { index: 1 });
        let tensor = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        assert_eq!(found("not json", 0), Err(WeightsError::NotSafetensors));
        assert_eq!(found("{}", 0), Err(WeightsError::NotSafetensors));
        assert_eq!(
            found(&tensor("I64", "[1]", "[0,8]"), 8),
            Err(WeightsError::Type { index: 1 })
        );
        // A gap, a shape of another size, places that run backwards, and numbers beyond any memory.
        assert_eq!(found(&tensor("F32", "[1]", "[4,8]"), 8), first);
        assert_eq!(found(&tensor("F32", "[3]", "[0,8]"), 8), first);
        assert_eq!(found(&tensor("F32", "[1]", "[8,4]"), 8), first);
        let giant = format!("[{0},{0},{0}]", u64::MAX);
        assert_eq!(found(&tensor("F32", &giant, "[0,8]"), 8), first);
        let mut long = u64::MAX.to_le_bytes().to_vec();
        long.push(b'{');
        assert_eq!(check(&long, 9), Err(WeightsError::LongHeader));
        assert_eq!(
            check(b"GGUF\x03\0\0\0 and so on", 4),
            Err(WeightsError::LongHeader)
        );
    }
}
