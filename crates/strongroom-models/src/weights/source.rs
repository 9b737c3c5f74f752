//! Whoever keeps a model's weights, seen from here.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{BoxFuture, BoxStream};

/// Keeps the weights of one model, and opens them when they are to be loaded.
pub trait WeightSource: Send + Sync + 'static {
    /// Opens them from their beginning. Asked anew for each worker process.
    fn open(&self) -> BoxFuture<'_, Result<OpenWeights, Withheld>>;
}

/// Weights on their way: a file in the safetensors format.
pub struct OpenWeights {
    /// How many bytes there are.
    pub length: u64,
    /// The bytes, in order, in pieces of any length.
    pub pieces: BoxStream<'static, Result<Bytes, Withheld>>,
}

/// Why weights are not given out, in the words of whoever keeps them.
#[derive(Clone, Debug)]
pub struct Withheld(Arc<dyn Error + Send + Sync>);

impl Withheld {
    /// Takes the reason. What it displays goes into the log.
    pub fn new(reason: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(reason))
    }

    /// The reason, if it is of this type.
    pub fn reason<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl PartialEq for Withheld {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Withheld {}
