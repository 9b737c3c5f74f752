//! Names of fine-tuned models: `ft:BASE:OWNER:SUFFIX:ID`, as OpenAI writes them, and `:ckpt-step-N` behind that for a checkpoint.

use super::NewModel;
use crate::call::is_id;
use crate::limits;

const PREFIX: &str = "ft:";
const CHECKPOINT: &str = "ckpt-step-";

/// A fine-tuned model's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunedName<'a> {
    /// The model that it was made from.
    pub base: &'a str,
    /// What the store knows it by: random, and nobody's words.
    pub id: &'a str,
}

impl<'a> TunedName<'a> {
    /// Takes a name apart; `None`, if it is no fine-tuned model's.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        if name.len() > limits::TUNED_NAME_BYTES {
            return None;
        }
        let rest = name.strip_prefix(PREFIX)?;
        let rest = match rest.rsplit_once(':') {
            Some((before, step)) if step.starts_with(CHECKPOINT) => before,
            _ => rest,
        };
        // From behind: a base model's name may have colons of its own.
        let mut parts = rest.rsplitn(4, ':');
        let (id, _suffix, _owner, base) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        (is_id(id) && !base.is_empty()).then_some(Self { base, id })
    }

    pub(super) fn make(new: &NewModel<'_>, id: &str) -> String {
        let (base, owner, suffix) = (new.base, new.owner, new.suffix.unwrap_or_default());
        let name = format!("{PREFIX}{base}:{owner}:{suffix}:{id}");
        match new.step {
            Some(step) => format!("{name}:{CHECKPOINT}{step}"),
            None => name,
        }
    }
}

/// Whether a name may end in these words.
pub(crate) fn is_suffix(text: &str) -> bool {
    (1..=limits::SUFFIX_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: NewModel<'static> = NewModel {
        base: "org/base:8b",
        owner: "main",
        suffix: None,
        step: None,
        job: None,
    };

    #[test]
    fn a_name_comes_apart_as_it_was_made_whatever_the_base_is_called() {
        let expected = Some(TunedName {
            base: "org/base:8b",
            id: "0af1",
        });
        for (suffix, step, name) in [
            (None, None, "ft:org/base:8b:main::0af1"),
            (Some("night-shift"), None, "ft:org/base:8b:main:night-shift:0af1"),
            (Some("x"), Some(20), "ft:org/base:8b:main:x:0af1:ckpt-step-20"),
        ] {
            let made = TunedName::make(&NewModel { suffix, step, ..NEW }, "0af1");
            assert_eq!(made, name);
            assert_eq!(TunedName::parse(name), expected);
        }
    }

    #[test]
    fn other_names_are_no_fine_tuned_models() {
        for name in [
            "",
            "base",
            "ft:",
            "ft:base:main:0af1",
            "ft::main:x:0af1",
            "ft:base:main:x:",
            "ft:b:m:x:../y",
        ] {
            assert_eq!(TunedName::parse(name), None, "{name}");
        }
        assert_eq!(TunedName::parse(&format!("ft:{}:m:x:1", "b".repeat(600))), None);
    }

    #[test]
    fn a_suffix_is_a_few_plain_characters() {
        assert!(is_suffix("night-shift_2.1"));
        for text in ["", "a b", "a:b", "ü", &"x".repeat(65)] {
            assert!(!is_suffix(text), "{text}");
        }
    }
}
