//! Where names stand in text: GUIDs, addresses of people and machines, and whole words.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A piece of text. All pieces one after another are the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Guid(&'a str),
    Person(&'a str),
    Address(&'a str),
    /// A run of letters, digits, `-` and `_`.
    Word(&'a str),
    Other(&'a str),
}

impl<'a> Token<'a> {
    pub(super) fn text(&self) -> &'a str {
        match self {
            Self::Guid(text)
            | Self::Person(text)
            | Self::Address(text)
            | Self::Word(text)
            | Self::Other(text) => text,
        }
    }
}

/// Words of the protocols and of the judgement, which are no names even where a resource is called so.
const PROTOCOL_WORDS: &[&str] = &[
    "account",
    "accounts",
    "all",
    "allow",
    "answered",
    "azure",
    "body",
    "call",
    "conflict",
    "could-not-check",
    "covered",
    "critical",
    "current",
    "declared",
    "default",
    "deny",
    "dependent",
    "deployment",
    "disabled",
    "documented",
    "enabled",
    "excepted",
    "expires",
    "fail",
    "failed",
    "false",
    "high",
    "https",
    "identity",
    "info",
    "key",
    "keys",
    "key-version",
    "low",
    "medium",
    "name",
    "not-applicable",
    "not-covered",
    "null",
    "openai",
    "partial",
    "pass",
    "proven",
    "read",
    "sink",
    "standard",
    "subscriptions",
    "system",
    "true",
    "unknown",
    "used",
    "user",
    "value",
    "vault",
    "vaults",
    "drill",
    "grant",
    "network",
    "use",
    "version",
];

/// What comes before a GUID that everybody knows.
const PUBLIC_BEFORE: [&str; 3] = ["roleDefinitions", "policyDefinitions", "policySetDefinitions"];

/// Segments of an ARM id or a vault's URL after which a name comes.
const BEFORE_NAMES: [&str; 3] = ["resourcegroups", "keys", "providers"];

/// Domains whose first label is a resource's name.
const DOMAINS: [&str; 8] = [
    ".vault.",
    ".managedhsm.",
    ".cognitiveservices.",
    ".openai.",
    ".services.ai.",
    ".blob.core.",
    ".search.windows.",
    ".documents.azure.",
];

/// Cuts the text up.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|letter| !is_wide(letter)).unwrap_or(rest.len());
        if run > 0 {
            let (wide, after) = rest.split_at(run);
            wide_run(wide, &mut tokens);
            rest = after;
        }
        let other = rest.find(is_wide).unwrap_or(rest.len());
        let (between, after) = rest.split_at(other);
        if !between.is_empty() {
            tokens.push(Token::Other(between));
        }
        rest = after;
    }
    tokens
}

/// Letters that addresses are made of.
fn is_wide(letter: char) -> bool {
    is_word(letter) || matches!(letter, '.' | '@' | ':' | '+')
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '-' | '_')
}

/// A run without spaces and slashes: an address as a whole, or words.
fn wide_run<'a>(run: &'a str, tokens: &mut Vec<Token<'a>>) {
    let core = run.trim_end_matches(['.', ':']);
    let end = run.get(core.len()..).unwrap_or_default();
    if is_person(core) {
        tokens.push(Token::Person(core));
    } else if is_address(core) {
        tokens.push(Token::Address(core));
    } else {
        return words(run, tokens);
    }
    if !end.is_empty() {
        tokens.push(Token::Other(end));
    }
}

fn words<'a>(run: &'a str, tokens: &mut Vec<Token<'a>>) {
    let mut rest = run;
    while !rest.is_empty() {
        let word = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let (found, after) = rest.split_at(word);
        if is_guid(found) && !is_public(tokens) {
            tokens.push(Token::Guid(found));
        } else if !found.is_empty() {
            tokens.push(Token::Word(found));
        }
        let other = after.find(is_word).unwrap_or(after.len());
        let (between, after) = after.split_at(other);
        if !between.is_empty() {
            tokens.push(Token::Other(between));
        }
        rest = after;
    }
}

/// Whether what came last says that a public id follows.
fn is_public(tokens: &[Token<'_>]) -> bool {
    let [.., Token::Word(before), Token::Other(slash)] = tokens else {
        return false;
    };
    slash.ends_with('/')
        && PUBLIC_BEFORE
            .iter()
            .any(|public| before.eq_ignore_ascii_case(public))
}

fn is_guid(word: &str) -> bool {
    word.len() == 36 && uuid::Uuid::try_parse(word).is_ok_and(|guid| !guid.is_nil())
}

fn is_person(run: &str) -> bool {
    let mut parts = run.split('@');
    let (Some(user), Some(domain), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    !user.is_empty() && domain.contains('.') && !run.contains(':')
}

/// An address that tells where somebody is: not "any" and not "this machine".
fn is_address(run: &str) -> bool {
    if let Ok(address) = run.parse::<Ipv4Addr>() {
        return !address.is_unspecified() && !address.is_loopback() && !address.is_broadcast();
    }
    run.matches(':').count() > 1
        && run
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| !address.is_unspecified() && !address.is_loopback())
}

/// Notes the names of resources and the subscriptions in a text, in small letters.
pub(super) fn names_in(text: &str, names: &mut BTreeSet<String>, subscriptions: &mut BTreeSet<String>) {
    for id in text.split(|letter: char| !is_wide(letter) && letter != '/') {
        let segments: Vec<&str> = id.split('/').collect();
        for (at, pair) in segments.windows(2).enumerate() {
            let &[before, name] = pair else { continue };
            if before.eq_ignore_ascii_case("subscriptions") && is_guid(name) {
                subscriptions.insert(name.to_lowercase());
            } else if before.eq_ignore_ascii_case("providers") {
                typed_names(segments.get(at + 2..).unwrap_or_default(), names);
            } else if BEFORE_NAMES
                .iter()
                .any(|known| before.eq_ignore_ascii_case(known))
            {
                note(name, names);
            }
        }
        for host in segments
            .iter()
            .filter(|segment| DOMAINS.iter().any(|domain| segment.contains(domain)))
        {
            note(host.split('.').next().unwrap_or_default(), names);
        }
    }
}

/// After the provider: type, name, type, name.
fn typed_names(segments: &[&str], names: &mut BTreeSet<String>) {
    for pair in segments.chunks_exact(2) {
        let &[kind, name] = pair else { continue };
        if kind.eq_ignore_ascii_case("providers") {
            return;
        }
        if !PUBLIC_BEFORE
            .iter()
            .any(|public| kind.eq_ignore_ascii_case(public))
        {
            note(name, names);
        }
    }
}

fn note(name: &str, names: &mut BTreeSet<String>) {
    let name = name.to_lowercase();
    let is_name =
        name.len() > 2 && name.contains(char::is_alphabetic) && name.chars().all(is_word) && !is_guid(&name);
    let is_ours = PROTOCOL_WORDS.contains(&name.as_str()) || is_control_id(&name);
    if is_name && !is_ours && !name.starts_with("microsoft") {
        names.insert(name);
    }
}

/// Whether the word means something to a program that reads it.
pub(super) fn is_protocol_word(word: &str) -> bool {
    PROTOCOL_WORDS.contains(&word)
}

/// The longest of the names that stands in the word between dashes or its ends, with what is before and after it.
pub(super) fn longest_name<'a>(
    word: &'a str,
    names: &BTreeSet<String>,
) -> Option<(&'a str, &'a str, &'a str)> {
    let ends: Vec<usize> = word.match_indices(['-', '_']).map(|(at, _)| at).collect();
    let starts = std::iter::once(0).chain(ends.iter().map(|at| at + 1));
    let ends: Vec<usize> = ends.iter().copied().chain([word.len()]).collect();
    let parts = starts.flat_map(|start| ends.iter().map(move |end| (start, *end)));
    let found = parts.filter_map(|(start, end)| {
        let name = word.get(start..end)?;
        names.contains(&name.to_lowercase()).then_some((start, end))
    });
    let (start, end) = found.max_by_key(|(start, end)| end - start)?;
    Some((word.get(..start)?, word.get(start..end)?, word.get(end..)?))
}

/// The ids of controls are a letter and two digits.
fn is_control_id(name: &str) -> bool {
    matches!(name.as_bytes(), [b'a'..=b'z', b'0'..=b'9', b'0'..=b'9'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "/subscriptions/3f2504e0-4f89-41d3-9a0c-0305e82c3301/resourceGroups/rg-claims/providers/Microsoft.CognitiveServices/accounts/ai-claims/deployments/gpt-4o";

    #[test]
    fn the_pieces_are_the_text() {
        for text in [
            ID,
            "",
            "a@b.example, 203.0.113.7/32; [::1] 2001:db8::7.",
            "{\"x\":\"\\u00e9é\"}",
            "...@@::",
        ] {
            let pieces: String = tokens(text).iter().map(Token::text).collect();
            assert_eq!(pieces, text);
        }
    }

    #[test]
    fn people_addresses_and_ids_are_told_from_words() {
        let found =
            tokens("ann.lee@example.org at 203.0.113.7/32, 2001:db8::7 or 0.0.0.0; v 1.2.3; 17:38:44");
        let named: Vec<&Token<'_>> = found
            .iter()
            .filter(|token| !matches!(token, Token::Word(_) | Token::Other(_)))
            .collect();
        assert_eq!(
            named,
            [
                &Token::Person("ann.lee@example.org"),
                &Token::Address("203.0.113.7"),
                &Token::Address("2001:db8::7")
            ]
        );
    }

    #[test]
    fn ids_of_built_in_roles_stay() {
        let id = "12338af0-0e69-4776-bea7-57ae8d297424";
        let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{id}");
        assert!(tokens(&role).iter().all(|token| !matches!(token, Token::Guid(_))));
        assert!(tokens(id).iter().any(|token| matches!(token, Token::Guid(_))));
    }

    #[test]
    fn names_are_found_in_what_was_made_of_them() {
        let names = BTreeSet::from(["kv-one", "kv"].map(str::to_owned));
        assert_eq!(
            longest_name("my-KV-One-link", &names),
            Some(("my-", "KV-One", "-link"))
        );
        assert_eq!(longest_name("kvone-link", &names), None);
        assert_eq!(longest_name("", &names), None);
    }

    #[test]
    fn names_come_from_ids_and_hosts() {
        let (mut names, mut subscriptions) = (BTreeSet::new(), BTreeSet::new());
        names_in(
            &format!("{{\"id\":\"{ID}\",\"u\":\"https://kv-claims.vault.azure.net:443/keys/cmk1/0123\"}}"),
            &mut names,
            &mut subscriptions,
        );
        let expected = ["ai-claims", "cmk1", "gpt-4o", "kv-claims", "rg-claims"].map(str::to_owned);
        assert_eq!(names, BTreeSet::from(expected));
        assert_eq!(subscriptions.len(), 1);
    }
}
