//! The model that comes along: tiny, trained on text about this project, for rehearsing only.

use std::borrow::Cow;

use super::load::ModelFiles;

const CONFIG: &[u8] = include_bytes!("../../rehearsal/config.json");
const TOKENIZER: &[u8] = include_bytes!("../../rehearsal/tokenizer.json");
const WEIGHTS: &[u8] = include_bytes!("../../rehearsal/model.safetensors");

/// Its files, which are part of the program. They stay on disk until a worker reads them.
pub(crate) fn files() -> ModelFiles<'static> {
    ModelFiles {
        config: Cow::Borrowed(CONFIG),
        tokenizer: Cow::Borrowed(TOKENIZER),
        weights: Box::new(std::iter::once(Ok(Cow::Borrowed(WEIGHTS)))),
    }
}
