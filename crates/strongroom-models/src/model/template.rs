//! How a conversation becomes a prompt: by the markers that the model's vocabulary has.

use serde::{Deserialize, Serialize};

use super::tokens::{TokenError, Tokens};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) role: Role,
    pub(crate) text: String,
}

/// The form of prompt that a model was taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// `<|im_start|>role … <|im_end|>`, as Qwen2 and the rehearsal model.
    ChatMl { open: u32, close: u32 },
    /// `<|start_header_id|>role<|end_header_id|> … <|eot_id|>`, as Llama 3.
    Headers { open: u32, shut: u32, close: u32 },
    /// Plain headings, for models without markers.
    Plain,
}

impl Template {
    /// The template that the vocabulary's markers speak for.
    pub(crate) fn of(tokens: &Tokens) -> Self {
        if let (Some(open), Some(close)) = (tokens.marker("<|im_start|>"), tokens.marker("<|im_end|>")) {
            return Self::ChatMl { open, close };
        }
        let headers =
            ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"].map(|name| tokens.marker(name));
        if let [Some(open), Some(shut), Some(close)] = headers {
            return Self::Headers { open, shut, close };
        }
        Self::Plain
    }

    /// The token that ends an answer, where the template has one.
    pub(crate) fn end(self) -> Option<u32> {
        match self {
            Self::ChatMl { close, .. } | Self::Headers { close, .. } => Some(close),
            Self::Plain => None,
        }
    }

    /// Text that means a plain model has begun to speak for somebody else.
    pub(crate) fn stop(self) -> Option<&'static str> {
        match self {
            Self::Plain => Some("\n### "),
            Self::ChatMl { .. } | Self::Headers { .. } => None,
        }
    }

    /// The prompt after which the assistant speaks.
    pub(crate) fn prompt(
        self,
        tokens: &Tokens,
        start: Option<u32>,
        turns: &[Turn],
    ) -> Result<Vec<u32>, TokenError> {
        let mut prompt: Vec<u32> = match self {
            Self::ChatMl { .. } => Vec::new(),
            Self::Headers { .. } | Self::Plain => start.into_iter().collect(),
        };
        for turn in turns {
            self.begin(tokens, turn.role, &turn.text, &mut prompt)?;
            self.end_turn(tokens, &mut prompt)?;
        }
        self.begin(tokens, Role::Assistant, "", &mut prompt)?;
        Ok(prompt)
    }

    /// A conversation to learn from: its tokens, and of each whether it is to be learnt. What the assistant says, and that it
    /// ends, is; `learnt` can except a turn.
    pub(crate) fn lesson(
        self,
        tokens: &Tokens,
        start: Option<u32>,
        turns: &[(Turn, bool)],
    ) -> Result<(Vec<u32>, Vec<bool>), TokenError> {
        let mut ids: Vec<u32> = match self {
            Self::ChatMl { .. } => Vec::new(),
            Self::Headers { .. } | Self::Plain => start.into_iter().collect(),
        };
        let mut learnt = vec![false; ids.len()];
        for (turn, learn) in turns {
            if turn.role != Role::Assistant {
                self.begin(tokens, turn.role, &turn.text, &mut ids)?;
                self.end_turn(tokens, &mut ids)?;
                learnt.resize(ids.len(), false);
                continue;
            }
            self.begin(tokens, Role::Assistant, "", &mut ids)?;
            learnt.resize(ids.len(), false);
            let text = match self {
                Self::Headers { .. } => turn.text.trim(),
                Self::ChatMl { .. } | Self::Plain => &turn.text,
            };
            ids.extend(tokens.encode(text)?);
            ids.extend(self.end());
            learnt.resize(ids.len(), *learn);
            let ended = ids.len();
            self.end_turn(tokens, &mut ids)?;
            // The end stands there already, where the template has one; what follows it is not the assistant's to say.
            if self.end().is_some() && ids.len() > ended {
                ids.remove(ended);
            }
            learnt.resize(ids.len(), *learn && self.end().is_none());
        }
        Ok((ids, learnt))
    }

    fn begin(self, tokens: &Tokens, role: Role, text: &str, to: &mut Vec<u32>) -> Result<(), TokenError> {
        let role = role.name();
        match self {
            Self::ChatMl { open, .. } => {
                to.push(open);
                to.extend(tokens.encode(&format!("{role}\n{text}"))?);
            }
            Self::Headers { open, shut, .. } => {
                to.push(open);
                to.extend(tokens.encode(role)?);
                to.push(shut);
                to.extend(tokens.encode(&format!("\n\n{}", text.trim()))?);
            }
            Self::Plain => to.extend(tokens.encode(&format!("### {role}:\n{text}"))?),
        }
        Ok(())
    }

    fn end_turn(self, tokens: &Tokens, to: &mut Vec<u32>) -> Result<(), TokenError> {
        match self {
            Self::ChatMl { close, .. } => {
                to.push(close);
                to.extend(tokens.encode("\n")?);
            }
            Self::Headers { close, .. } => to.push(close),
            Self::Plain => to.extend(tokens.encode("\n\n")?),
        }
        Ok(())
    }
}
