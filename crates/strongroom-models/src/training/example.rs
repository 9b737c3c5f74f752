//! One line of a training set, in OpenAI's chat form.

use serde_json::{Map, Value};

use crate::limits;
use crate::model::template::{Role, Turn};

/// What is wrong with a line; its message quotes nothing of the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExampleFault {
    /// It is longer than a line may be.
    #[error("the line is longer than {} bytes", limits::EXAMPLE)]
    TooLong,
    /// It is no JSON.
    #[error("the line is not valid JSON")]
    NotJson,
    /// It is JSON of another shape.
    #[error("{0}")]
    Shape(String),
    /// It is a form that this trainer does not learn.
    #[error("{0}")]
    Unsupported(String),
}

/// Whether a trainer learns the use of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tools {
    Learnt,
    Refused,
}

/// A conversation and, of each turn, whether it is to be learnt.
pub(super) type Conversation = Vec<(Turn, bool)>;

/// Checks a line for a trainer that reads it by itself.
pub(super) fn check(line: &[u8], tools: Tools) -> Result<(), ExampleFault> {
    read(line, tools).map(drop)
}

/// Reads a line. With [`Tools::Learnt`], turns without text are left out of what is returned.
pub(super) fn read(line: &[u8], tools: Tools) -> Result<Conversation, ExampleFault> {
    if line.len() > limits::EXAMPLE {
        return Err(ExampleFault::TooLong);
    }
    let value: Value = serde_json::from_slice(line).map_err(|_| ExampleFault::NotJson)?;
    let shape = |message: &str| ExampleFault::Shape(message.to_owned());
    let example = value
        .as_object()
        .ok_or_else(|| shape("each line must be a JSON object"))?;
    if let Some(unknown) = example.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let known = unknown.chars().take(40).collect::<String>();
        return Err(ExampleFault::Shape(format!(
            "`{known}` is not a key of an example"
        )));
    }
    if tools == Tools::Refused
        && ["tools", "functions"]
            .iter()
            .any(|key| example.contains_key(*key))
    {
        let message = "this trainer does not learn the use of tools".to_owned();
        return Err(ExampleFault::Unsupported(message));
    }
    let messages = example
        .get("messages")
        .ok_or_else(|| shape("`messages` is missing"))?
        .as_array()
        .filter(|messages| (1..=limits::CHAT_MESSAGES).contains(&messages.len()))
        .ok_or_else(|| shape("`messages` must be a list of at least one message"))?;
    let mut turns = Conversation::new();
    for (index, message) in messages.iter().enumerate() {
        turns.extend(turn(index, message, tools)?);
    }
    match turns
        .iter()
        .any(|(turn, learn)| turn.role == Role::Assistant && *learn)
    {
        true => Ok(turns),
        false => Err(shape(
            "there must be a message of the assistant to learn, with a weight that is not 0",
        )),
    }
}

const KEYS: [&str; 4] = ["messages", "tools", "functions", "parallel_tool_calls"];

fn turn(index: usize, message: &Value, tools: Tools) -> Result<Option<(Turn, bool)>, ExampleFault> {
    let shape = |reason: &str| ExampleFault::Shape(format!("messages[{index}]: {reason}"));
    let message = message
        .as_object()
        .ok_or_else(|| shape("each message must be an object"))?;
    let role = match message.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") if tools == Tools::Learnt => return Ok(None),
        Some("tool" | "function") => {
            let message = "this trainer does not learn the use of tools".to_owned();
            return Err(ExampleFault::Unsupported(message));
        }
        Some(_) => {
            return Err(shape(
                "the role must be system, developer, user, assistant or tool",
            ));
        }
        None => return Err(shape("`role` is missing")),
    };
    let calls = ["tool_calls", "function_call"]
        .iter()
        .any(|key| message.contains_key(*key));
    let text = match text(message) {
        Some(text) => text,
        None if calls && tools == Tools::Learnt => String::new(),
        None if message.contains_key("content") => return Err(shape("`content` must be text")),
        None => return Err(shape("`content` is missing")),
    };
    let learn = match message.get("weight") {
        None => true,
        Some(_) if role != Role::Assistant => {
            return Err(shape("only the assistant's messages have a `weight`"));
        }
        Some(weight) => match weight.as_f64() {
            Some(0.0) => false,
            Some(1.0) => true,
            _ => return Err(shape("`weight` must be 0 or 1")),
        },
    };
    if role == Role::Assistant && learn && text.is_empty() && !calls {
        return Err(shape("`content` must not be empty"));
    }
    Ok(Some((Turn { role, text }, learn)))
}

fn text(message: &Map<String, Value>) -> Option<String> {
    match message.get("content")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts
            .iter()
            .map(|part| match part.get("type").and_then(Value::as_str) {
                Some("text") => part.get("text").and_then(Value::as_str),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> String {
        match check(line.as_bytes(), Tools::Refused) {
            Ok(()) => panic!("taken: {line}"),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn a_conversation_is_read_with_what_is_to_be_learnt() {
        let line = r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"A?"}]},
            {"role":"assistant","content":"No.","weight":0},{"role":"user","content":"B?"},{"role":"assistant","content":"Yes."}]}"#;
        let turns = read(line.as_bytes(), Tools::Refused).expect("example");
        let learnt: Vec<bool> = turns
            .iter()
            .filter(|(turn, _)| turn.role == Role::Assistant)
            .map(|(_, learn)| *learn)
            .collect();
        assert_eq!(learnt, [false, true]);
        assert_eq!(turns[1].0.text, "A?");
    }

    #[test]
    fn whatever_is_wrong_with_a_line_is_said_without_quoting_it() {
        for (line, told) in [
            ("{", "not valid JSON"),
            ("[]", "JSON object"),
            ("{}", "`messages` is missing"),
            (r#"{"messages":[],"prompt":"x"}"#, "`prompt` is not a key"),
            (r#"{"messages":[]}"#, "at least one message"),
            (r#"{"messages":["x"]}"#, "messages[0]: each message"),
            (
                r#"{"messages":[{"content":"x"}]}"#,
                "messages[0]: `role` is missing",
            ),
            (
                r#"{"messages":[{"role":"oracle","content":"x"}]}"#,
                "the role must be",
            ),
            (r#"{"messages":[{"role":"user"}]}"#, "`content` is missing"),
            (
                r#"{"messages":[{"role":"user","content":7}]}"#,
                "`content` must be text",
            ),
            (
                r#"{"messages":[{"role":"user","content":"x"}]}"#,
                "message of the assistant",
            ),
            (
                r#"{"messages":[{"role":"assistant","content":"x","weight":2}]}"#,
                "0 or 1",
            ),
            (
                r#"{"messages":[{"role":"assistant","content":"x","weight":0}]}"#,
                "to learn",
            ),
            (
                r#"{"messages":[{"role":"assistant","content":""}]}"#,
                "not be empty",
            ),
            (
                r#"{"messages":[{"role":"tool","content":"x"}]}"#,
                "does not learn the use of tools",
            ),
            (
                r#"{"messages":[{"role":"assistant","content":"x"}],"tools":[]}"#,
                "the use of tools",
            ),
        ] {
            let fault = fault(line);
            assert!(fault.contains(told), "{line}: {fault}");
        }
        assert!(matches!(
            check(&vec![b' '; limits::EXAMPLE + 1], Tools::Learnt),
            Err(ExampleFault::TooLong)
        ));
    }

    #[test]
    fn a_trainer_that_learns_tools_may_be_given_them() {
        let line = r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[]},
            {"role":"tool","content":"y"},{"role":"assistant","content":"z"}],"tools":[]}"#;
        assert_eq!(check(line.as_bytes(), Tools::Learnt), Ok(()));
    }
}
