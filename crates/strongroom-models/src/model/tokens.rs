//! Text to tokens and back.

use tokenizers::Tokenizer;

/// A tokenizer that treats markers in a caller's text as plain text: only the template places real ones.
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
}

/// The tokenizer refused a text or a token.
#[derive(Debug, thiserror::Error)]
#[error("the tokenizer failed")]
pub(crate) struct TokenError;

impl Tokens {
    /// Reads `tokenizer.json`.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, TokenError> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|_| TokenError)?;
        tokenizer.set_encode_special_tokens(true);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|_| TokenError)?;
        Ok(Self { tokenizer })
    }

    /// The tokens of a text, without any that start or end a sequence.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenError> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|_| TokenError)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The id of a marker such as `<|im_start|>`, if this model has it.
    pub(crate) fn marker(&self, name: &str) -> Option<u32> {
        self.tokenizer.token_to_id(name)
    }

    /// How many tokens there are.
    pub(crate) fn count(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    fn decode(&self, ids: &[u32]) -> Result<String, TokenError> {
        self.tokenizer.decode(ids, true).map_err(|_| TokenError)
    }
}

/// Turns tokens into text as they come, holding back bytes that do not make a whole character yet.
///
/// Tokens are decoded together with their forerunners, because some decoders treat the first token of a text
/// differently; only what is new is handed out.
pub(crate) struct TextStream<'a> {
    tokens: &'a Tokens,
    window: Vec<u32>,
    /// How many tokens of the window are handed out, and their text.
    settled: usize,
    settled_text: String,
}

impl<'a> TextStream<'a> {
    /// An empty text.
    pub(crate) fn new(tokens: &'a Tokens) -> Self {
        Self {
            tokens,
            window: Vec::new(),
            settled: 0,
            settled_text: String::new(),
        }
    }

    /// The text that `token` completes; may be empty.
    pub(crate) fn push(&mut self, token: u32) -> Result<String, TokenError> {
        self.window.push(token);
        let text = self.tokens.decode(&self.window)?;
        // A character that is cut short decodes to a replacement character at the end.
        if text.ends_with(char::REPLACEMENT_CHARACTER) && self.window.len() - self.settled < LONGEST_WAIT {
            return Ok(String::new());
        }
        let fresh = self.fresh(&text)?;
        self.window.drain(..self.settled);
        self.settled = self.window.len();
        self.settled_text = self.tokens.decode(&self.window)?;
        Ok(fresh)
    }

    /// What was held back when the text ends.
    pub(crate) fn finish(self) -> Result<String, TokenError> {
        let text = self.tokens.decode(&self.window)?;
        self.fresh(&text)
    }

    fn fresh(&self, text: &str) -> Result<String, TokenError> {
        match text.strip_prefix(self.settled_text.as_str()) {
            Some(fresh) => Ok(fresh.to_owned()),
            // A decoder that rewrites what came before; nothing may be lost.
            None => self
                .tokens
                .decode(self.window.get(self.settled..).unwrap_or_default()),
        }
    }
}

/// A character has at most four bytes; a token that has waited longer is not the start of one.
const LONGEST_WAIT: usize = 4;
