//! From files, or from bytes that never were files, to a model ready to answer.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};

use super::config::{ConfigError, DecoderConfig};
use super::decoder::{Decoder, Kernels, Weights};
use super::template::Template;
use super::tokens::{TokenError, Tokens};
use crate::limits;

/// A model ready to answer.
pub(crate) struct Model {
    pub(crate) config: DecoderConfig,
    pub(crate) tokens: Tokens,
    pub(crate) template: Template,
    pub(crate) decoder: Decoder,
}

/// The bytes of a model's files. Weights come one file at a time, so that only one of them is in memory beside the model.
pub(crate) struct ModelFiles<'a> {
    pub(crate) config: Cow<'a, [u8]>,
    pub(crate) tokenizer: Cow<'a, [u8]>,
    pub(crate) weights: Box<dyn Iterator<Item = Result<Cow<'a, [u8]>, ModelError>> + 'a>,
}

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error("{file} cannot be read: {source}")]
    File { file: String, source: std::io::Error },
    #[error("{file} is larger than {most} bytes")]
    TooLarge { file: String, most: u64 },
    #[error("the folder has no *.safetensors file")]
    NoWeights,
    #[error("the folder has more than {} *.safetensors files", limits::MODEL_FILES)]
    TooManyFiles,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("tokenizer.json cannot be used: {0}")]
    Tokenizer(#[from] TokenError),
    #[error("tokenizer.json has {tokens} tokens, but config.json only {vocabulary}")]
    Vocabulary { tokens: usize, vocabulary: usize },
    #[error("the weights have the type {0:?}, which is not f32, f16 or bf16")]
    WeightType(DType),
    #[error("the weights cannot be used: {0}")]
    Weights(#[from] candle_core::Error),
}

impl Model {
    /// Builds the model out of its files.
    pub(crate) fn from_files(mut files: ModelFiles<'_>) -> Result<Self, ModelError> {
        let mut weights = Weights::new();
        for file in &mut files.weights {
            place(&file?, &mut weights)?;
        }
        Self::with_weights(&files, weights)
    }

    /// Builds the model out of configuration and tokenizer, and of weights that are in memory already.
    pub(crate) fn with_weights(files: &ModelFiles<'_>, mut weights: Weights) -> Result<Self, ModelError> {
        let config = DecoderConfig::parse(&files.config)?;
        let tokens = Tokens::parse(&files.tokenizer)?;
        if tokens.count() > config.vocabulary {
            return Err(ModelError::Vocabulary {
                tokens: tokens.count(),
                vocabulary: config.vocabulary,
            });
        }
        let decoder = Decoder::new(&config, &mut weights, Kernels::Fused)?;
        let template = Template::of(&tokens);
        Ok(Self {
            config,
            tokens,
            template,
            decoder,
        })
    }

    /// Whether this token ends an answer.
    pub(crate) fn ends_with(&self, token: u32) -> bool {
        self.config.ends.contains(&token) || self.template.end() == Some(token)
    }
}

impl ModelFiles<'static> {
    /// The files of a folder in Hugging Face's layout.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, ModelError> {
        let config = read(&folder.join("config.json"), limits::MODEL_CONFIG_BYTES)?;
        let tokenizer = read(&folder.join("tokenizer.json"), limits::MODEL_TOKENIZER_BYTES)?;
        let paths = weight_files(folder)?;
        let weights = paths
            .into_iter()
            .map(|path| read(&path, limits::MODEL_WEIGHT_FILE_BYTES).map(Cow::Owned));
        Ok(Self {
            config: Cow::Owned(config),
            tokenizer: Cow::Owned(tokenizer),
            weights: Box::new(weights),
        })
    }
}

fn place(file: &[u8], weights: &mut Weights) -> Result<(), ModelError> {
    for (name, tensor) in candle_core::safetensors::load_buffer(file, &Device::Cpu)? {
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            return Err(ModelError::WeightType(tensor.dtype()));
        }
        weights.insert(name, tensor.to_dtype(DType::F32)?);
    }
    Ok(())
}

/// In the order of their names, so that the same folder always loads alike.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let unreadable = |source| ModelError::File {
        file: "the folder".into(),
        source,
    };
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            paths.push(path);
        }
        if paths.len() > limits::MODEL_FILES {
            return Err(ModelError::TooManyFiles);
        }
    }
    if paths.is_empty() {
        return Err(ModelError::NoWeights);
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, ModelError> {
    let file = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|opened| opened.take(most + 1).read_to_end(&mut bytes));
    match outcome {
        Err(source) => Err(ModelError::File { file, source }),
        Ok(_) if bytes.len() as u64 > most => Err(ModelError::TooLarge { file, most }),
        Ok(_) => Ok(bytes),
    }
}
