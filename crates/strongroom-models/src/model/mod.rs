//! The built-in model itself: files to weights, text to tokens, prompts to answers.

pub(crate) mod config;
pub(crate) mod decoder;
pub(crate) mod generate;
pub(crate) mod load;
pub(crate) mod rehearsal;
pub(crate) mod sampler;
pub(crate) mod template;
pub(crate) mod tokens;

#[cfg(test)]
mod tests;
