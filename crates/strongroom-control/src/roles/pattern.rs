//! Actions as roles name them.

use serde::{Deserialize, Serialize};

/// An action, or many: `*` stands for any text. Case does not matter; the spelling is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) struct Pattern {
    text: String,
    folded: Box<str>,
}

impl Pattern {
    /// Whether it names the action, which is in lower case.
    pub(crate) fn names(&self, action: &str) -> bool {
        let mut parts = self.folded.split('*');
        let Some(mut rest) = parts.next().and_then(|first| action.strip_prefix(first)) else {
            return false;
        };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        true
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is an action as Resource Manager writes them: a provider and what it does, or `*` and the end of one.
    pub(crate) fn is_well_formed(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
        let segment = |segment: &str| !segment.is_empty() && segment.bytes().all(allowed);
        let all = self.text.split('/').all(segment);
        all && (self.text == "*" || self.text.contains('/'))
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        let folded = text.to_ascii_lowercase().into();
        Self { text, folded }
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(pattern: &str, action: &str) -> bool {
        Pattern::from(pattern).names(&action.to_ascii_lowercase())
    }

    /// What a wildcard means, said in the simplest way.
    fn naive(pattern: &[u8], action: &[u8]) -> bool {
        match pattern.split_first() {
            None => action.is_empty(),
            Some((b'*', rest)) => (0..=action.len()).any(|skip| naive(rest, &action[skip..])),
            Some((byte, rest)) => action
                .split_first()
                .is_some_and(|(first, action)| first == byte && naive(rest, action)),
        }
    }

    #[test]
    fn patterns_match_whole_actions_without_regard_to_case() {
        assert!(names("*", "anything/at/all"));
        assert!(names(
            "Microsoft.KeyVault/vaults/*/read",
            "microsoft.keyvault/VAULTS/keys/read"
        ));
        assert!(names("a/*/b/*", "a/x/y/b/c"));
        assert!(!names(
            "Microsoft.KeyVault/vaults/*/read",
            "Microsoft.KeyVault/vaults/keys/wrap/action"
        ));
        assert!(!names("a/b", "a/b/c"));
        assert!(!names("a/*", "b/a/x"));
    }

    #[test]
    fn what_is_no_action_is_told_apart() {
        for good in [
            "*",
            "*/read",
            "Microsoft.KeyVault/*",
            "Microsoft.KeyVault/vaults/keys/unwrap/action",
        ] {
            assert!(Pattern::from(good).is_well_formed(), "{good}");
        }
        for bad in [
            "", "read", "/read", "a//b", "a/b/", "a b/read", "a/\u{e9}", "a/../b?",
        ] {
            assert!(!Pattern::from(bad).is_well_formed(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn wildcards_mean_what_the_simplest_reading_says(pattern in "[ab/*]{0,10}", action in "[ab/]{0,14}") {
            prop_assert_eq!(names(&pattern, &action), naive(pattern.as_bytes(), action.as_bytes()));
        }
    }
}
