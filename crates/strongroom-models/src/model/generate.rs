//! Prompts to answers, texts to vectors.

use candle_core::{Device, IndexOp, Tensor};
use serde::{Deserialize, Serialize};

use super::decoder::Past;
use super::load::Model;
use super::sampler::{Sampler, Sampling};
use super::template::Turn;
use super::tokens::TextStream;
use crate::limits;

/// A conversation to continue.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChatOrder {
    pub(crate) turns: Vec<Turn>,
    /// `None`: as long as the context allows.
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stops: Vec<String>,
    pub(crate) sampling: Sampling,
}

/// Something to make a vector of.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Passage {
    Text(String),
    Tokens(Vec<u32>),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    Stop,
    Length,
}

/// How an answer came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    pub(crate) prompt_tokens: usize,
    pub(crate) answer_tokens: usize,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GenerateError {
    #[error("the input has {tokens} tokens; at most {most} fit")]
    TooLong { tokens: usize, most: usize },
    #[error("the input is empty")]
    Empty,
    #[error("the input has a token that the model does not know")]
    UnknownToken,
    #[error("nobody waits for the answer")]
    Cancelled,
    #[error("the computation failed")]
    Failed,
}

impl From<candle_core::Error> for GenerateError {
    fn from(_: candle_core::Error) -> Self {
        Self::Failed
    }
}

impl From<super::tokens::TokenError> for GenerateError {
    fn from(_: super::tokens::TokenError) -> Self {
        Self::Failed
    }
}

/// Continues a conversation; `say` gets each piece of text as soon as it is certain and answers whether to go on.
pub(crate) fn answer(
    model: &Model,
    order: &ChatOrder,
    say: &mut dyn FnMut(&str) -> bool,
) -> Result<Outcome, GenerateError> {
    let prompt = model
        .template
        .prompt(&model.tokens, model.config.start, &order.turns)?;
    let room = match model.config.context.checked_sub(prompt.len()) {
        None | Some(0) => {
            let most = model.config.context - 1;
            return Err(GenerateError::TooLong {
                tokens: prompt.len(),
                most,
            });
        }
        Some(room) => room,
    };
    let most = order.max_tokens.unwrap_or(room).min(room);
    let mut past = Past::new(&model.config);
    let mut scores = prefill(model, &prompt, &mut past, &mut || say(""))?;
    let mut sampler = Sampler::new(order.sampling);
    let mut text = Text::new(model, order);
    let mut answered = 0;
    let ending = loop {
        if answered == most {
            break Ending::Length;
        }
        let token = sampler.choose(&scores).ok_or(GenerateError::Failed)?;
        answered += 1;
        if model.ends_with(token) {
            break Ending::Stop;
        }
        let piece = text.push(token)?;
        if !say(&piece) {
            return Err(GenerateError::Cancelled);
        }
        if text.stopped {
            break Ending::Stop;
        }
        if answered < most {
            scores = next_scores(model, &[token], &mut past)?;
        }
    };
    let rest = text.finish()?;
    if !say(&rest) {
        return Err(GenerateError::Cancelled);
    }
    Ok(Outcome {
        ending,
        prompt_tokens: prompt.len(),
        answer_tokens: answered,
    })
}

/// The mean of the final hidden states of a passage, at length 1, and how many tokens it had.
pub(crate) fn vector(
    model: &Model,
    passage: &Passage,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(Vec<f32>, usize), GenerateError> {
    let tokens = match passage {
        Passage::Text(text) => model.tokens.encode(text)?,
        Passage::Tokens(tokens) => tokens.clone(),
    };
    let known = u32::try_from(model.config.vocabulary).unwrap_or(u32::MAX);
    if tokens.iter().any(|token| *token >= known) {
        return Err(GenerateError::UnknownToken);
    }
    match tokens.len() {
        0 => return Err(GenerateError::Empty),
        length if length > model.config.context => {
            return Err(GenerateError::TooLong {
                tokens: length,
                most: model.config.context,
            });
        }
        _ => {}
    }
    let mut past = Past::new(&model.config);
    let mut sum = Tensor::zeros(model.config.hidden, candle_core::DType::F32, &Device::Cpu)?;
    for piece in tokens.chunks(limits::PREFILL_TOKENS) {
        if !go_on() {
            return Err(GenerateError::Cancelled);
        }
        sum = (sum + hidden(model, piece, &mut past)?.sum(1)?.i(0)?)?;
    }
    let sum: Vec<f32> = sum.to_vec1()?;
    let length = sum
        .iter()
        .map(|part| f64::from(*part).powi(2))
        .sum::<f64>()
        .sqrt();
    if !(length.is_finite() && length > 0.0) {
        return Err(GenerateError::Failed);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a vector's part, computed in f64, is handed out in f32"
    )]
    let vector = sum
        .iter()
        .map(|part| (f64::from(*part) / length) as f32)
        .collect();
    Ok((vector, tokens.len()))
}

/// Reads the prompt in pieces, which bounds the memory for attention and lets a cancelled request end early.
fn prefill(
    model: &Model,
    prompt: &[u32],
    past: &mut Past,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<f32>, GenerateError> {
    let mut scores = Vec::new();
    for piece in prompt.chunks(limits::PREFILL_TOKENS) {
        if !go_on() {
            return Err(GenerateError::Cancelled);
        }
        scores = next_scores(model, piece, past)?;
    }
    Ok(scores)
}

fn next_scores(model: &Model, tokens: &[u32], past: &mut Past) -> Result<Vec<f32>, GenerateError> {
    let hidden = hidden(model, tokens, past)?;
    let last = hidden.i((.., tokens.len().saturating_sub(1), ..))?.contiguous()?;
    Ok(model.decoder.logits(&last)?.i(0)?.to_vec1()?)
}

fn hidden(model: &Model, tokens: &[u32], past: &mut Past) -> Result<Tensor, GenerateError> {
    let ids = Tensor::from_slice(tokens, (1, tokens.len()), &Device::Cpu)?;
    Ok(model.decoder.hidden(&ids, Some(past))?)
}

/// The answer's text as far as it is certain: whole characters, and nothing that may yet turn out to be a stop sequence.
struct Text<'a> {
    stream: TextStream<'a>,
    stops: Vec<&'a str>,
    held: String,
    stopped: bool,
}

impl<'a> Text<'a> {
    fn new(model: &'a Model, order: &'a ChatOrder) -> Self {
        let stops = order
            .stops
            .iter()
            .map(String::as_str)
            .chain(model.template.stop())
            .collect();
        Self {
            stream: TextStream::new(&model.tokens),
            stops,
            held: String::new(),
            stopped: false,
        }
    }

    fn push(&mut self, token: u32) -> Result<String, GenerateError> {
        self.held += &self.stream.push(token)?;
        Ok(self.certain())
    }

    fn finish(mut self) -> Result<String, GenerateError> {
        if self.stopped {
            return Ok(String::new());
        }
        let rest = std::mem::take(&mut self.held) + &self.stream.finish()?;
        Ok(match first_stop(&rest, &self.stops) {
            Some(at) => rest.get(..at).unwrap_or_default().to_owned(),
            None => rest,
        })
    }

    fn certain(&mut self) -> String {
        if let Some(at) = first_stop(&self.held, &self.stops) {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let doubtful = self
            .stops
            .iter()
            .map(|stop| overlap(&self.held, stop))
            .max()
            .unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - doubtful);
        std::mem::replace(&mut self.held, rest)
    }
}

fn first_stop(text: &str, stops: &[&str]) -> Option<usize> {
    stops.iter().filter_map(|stop| text.find(stop)).min()
}

/// How many bytes at the end of `text` begin `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = stop.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|length| {
            text.as_bytes()
                .ends_with(stop.as_bytes().get(..*length).unwrap_or(b"\xff"))
        })
        .unwrap_or(0)
}
