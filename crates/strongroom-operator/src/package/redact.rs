//! Redaction: names of people, things and places become pseudonyms, the same name always the same, so that a redacted package can still be read
//! and verified. The pseudonyms follow from a key that stays with the operator; the map from them to the names is written apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::hmac;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::error::PackageError;
use super::manifest::sha256;
use super::words::{Token, is_protocol_word, longest_name, names_in, tokens};
use crate::fact::{Bytes, Fact, FactId, Outcome, encode};
use crate::facts::{Facts, FactsError};
use crate::finding::Judgement;
use crate::run::Run;

/// What can be redacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Ids of subscriptions.
    Subscriptions,
    /// Every other id in the form of a GUID: objects, principals, tenants. Those of role and policy definitions stay, they are public.
    Objects,
    /// Names of people, in the form of an e-mail address.
    People,
    /// IP addresses.
    Addresses,
    /// Names of resources: groups, accounts, vaults, keys.
    Names,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Subscriptions,
        Self::Objects,
        Self::People,
        Self::Addresses,
        Self::Names,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Subscriptions => "subscriptions",
            Self::Objects => "objects",
            Self::People => "people",
            Self::Addresses => "addresses",
            Self::Names => "names",
        }
    }
}

/// The key that pseudonyms follow from. Whoever has it can test whether a pseudonym is a name they guess.
pub struct RedactionKey {
    key: hmac::Key,
    id: String,
}

impl RedactionKey {
    /// The key at `path`, which is made at first use and can be read by its owner alone.
    pub fn load_or_create(path: &Path) -> Result<Self, PackageError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = Zeroizing::new(vec![0; 32]);
                aws_lc_rs::rand::fill(&mut bytes)
                    .map_err(|_| PackageError::io(path)(io::Error::other("no randomness")))?;
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path);
                let written = file.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
                written.map_err(PackageError::io(path))?;
                bytes
            }
            Err(cause) => return Err(PackageError::io(path)(cause)),
        };
        if bytes.len() != 32 {
            return Err(PackageError::io(path)(io::Error::other(
                "a redaction key has 32 bytes",
            )));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        // Tells keys apart, and nothing of them.
        let id = sha256(hmac::sign(&key, b"strongroom/redaction-key-id/v1").as_ref());
        Ok(Self {
            key,
            id: id.get(..16).unwrap_or_default().to_owned(),
        })
    }
}

/// What a redacted package says of its redaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redacted {
    #[serde(serialize_with = "words")]
    classes: Vec<Class>,
    #[serde(rename = "keyId")]
    key_id: String,
}

impl Redacted {
    pub(super) fn classes(&self) -> Vec<&'static str> {
        self.classes.iter().map(|class| class.word()).collect()
    }
}

fn words<S: Serializer>(classes: &[Class], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(classes.iter().map(|class| class.word()))
}

/// Puts pseudonyms in the place of names, and remembers which. First it must be shown everything ([`Redactor::learn`]), then it is given everything
/// again ([`Redactor::fact`], [`Redactor::judgement`], [`Redactor::run`]), facts first.
pub struct Redactor {
    key: RedactionKey,
    classes: BTreeSet<Class>,
    subscriptions: BTreeSet<String>,
    names: BTreeSet<String>,
    map: BTreeMap<String, (Class, String)>,
    facts: BTreeMap<FactId, FactId>,
}

impl Redactor {
    /// For these classes.
    #[must_use]
    pub fn new(key: RedactionKey, classes: &[Class]) -> Self {
        Self {
            key,
            classes: classes.iter().copied().collect(),
            subscriptions: BTreeSet::new(),
            names: BTreeSet::new(),
            map: BTreeMap::new(),
            facts: BTreeMap::new(),
        }
    }

    /// What the package is to say of it.
    #[must_use]
    pub fn redacted(&self) -> Redacted {
        Redacted {
            classes: self.classes.iter().copied().collect(),
            key_id: self.key.id.clone(),
        }
    }

    /// Looks which names there are.
    pub fn learn(&mut self, fact: &Fact) {
        let body = match &fact.outcome {
            Outcome::Answered { body, .. } => std::str::from_utf8(&body.0).unwrap_or_default(),
            Outcome::Failed { message, .. } => message,
        };
        for text in [fact.about.as_deref().unwrap_or_default(), &fact.request.url, body] {
            names_in(text, &mut self.names, &mut self.subscriptions);
        }
    }

    /// Names of the run itself.
    pub fn learn_run(&mut self, run: &Run) {
        self.subscriptions
            .extend(run.subscriptions.iter().map(|id| id.to_lowercase()));
    }

    /// The fact with pseudonyms, and its new id.
    pub fn fact(&mut self, id: &FactId, fact: &Fact) -> (FactId, Vec<u8>) {
        let mut fact = fact.clone();
        fact.about = fact.about.map(|about| self.text(&about));
        fact.caller = self.text(&fact.caller);
        fact.request.url = self.text(&fact.request.url);
        fact.request.body = fact.request.body.map(|body| self.bytes(&body));
        fact.outcome = match fact.outcome {
            Outcome::Answered {
                status,
                headers,
                body,
            } => Outcome::Answered {
                status,
                headers: headers
                    .into_iter()
                    .map(|(name, value)| (name, self.text(&value)))
                    .collect(),
                body: self.bytes(&body),
            },
            Outcome::Failed { failure, message } => Outcome::Failed {
                failure,
                message: self.text(&message),
            },
        };
        let (redacted, bytes) = encode(&fact);
        self.facts.insert(id.clone(), redacted.clone());
        (redacted, bytes)
    }

    /// Looks at all facts of a folder and gives each the id that it will have: in the order of the new ids, each once, with one that it was.
    pub fn facts(&mut self, facts: &Facts) -> Result<BTreeMap<FactId, FactId>, FactsError> {
        for fact in facts.iter() {
            self.learn(&fact?);
        }
        let mut renamed = BTreeMap::new();
        for id in facts.ids() {
            let (redacted, _) = self.fact(&id, &facts.get(&id)?);
            renamed.insert(redacted, id);
        }
        Ok(renamed)
    }

    /// The judgement with pseudonyms, on the redacted facts.
    pub fn judgement(&mut self, judgement: &Judgement) -> Result<Judgement, serde_json::Error> {
        let mut value = serde_json::to_value(judgement)?;
        self.value(&mut value);
        serde_json::from_value(value)
    }

    /// The run with pseudonyms, on the redacted facts.
    pub fn run(&mut self, run: &Run) -> Result<Run, serde_json::Error> {
        let mut value = serde_json::to_value(run)?;
        self.value(&mut value);
        let mut run: Run = serde_json::from_value(value)?;
        run.asked.sort();
        Ok(run)
    }

    /// The map, to be kept apart: each pseudonym with its name, and each redacted fact with the one that it was.
    #[must_use]
    pub fn map(&self) -> Value {
        let names: Vec<Value> = self
            .map
            .iter()
            .map(|(pseudonym, (class, name))| json!({"pseudonym": pseudonym, "class": class.word(), "name": name}))
            .collect();
        let facts: Vec<Value> = self
            .facts
            .iter()
            .map(|(was, is)| json!({"fact": is, "was": was}))
            .collect();
        json!({"keyId": self.key.id, "names": names, "facts": facts})
    }

    /// Strings within, member names apart; what is a fact's id becomes the redacted one's.
    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let renamed = FactId::parse(text).and_then(|id| self.facts.get(&id));
                *text = match renamed {
                    Some(id) => id.to_string(),
                    None => self.text(text),
                };
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(members) => members.values_mut().for_each(|value| self.value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn bytes(&mut self, bytes: &Bytes) -> Bytes {
        match std::str::from_utf8(&bytes.0) {
            Ok(text) => Bytes(self.text(text).into_bytes()),
            // Nobody can say what names stand in them.
            Err(_) => Bytes(format!("redacted: {} bytes that are not text", bytes.0.len()).into_bytes()),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut redacted = String::with_capacity(text.len());
        for token in tokens(text) {
            match self.class_of(&token) {
                Some(class) if self.classes.contains(&class) => {
                    let name = token.text().to_lowercase();
                    let pseudonym = self.pseudonym(class, &name);
                    redacted.push_str(&pseudonym);
                    self.map.insert(pseudonym, (class, name));
                }
                _ if self.classes.contains(&Class::Names) => self.compound(token.text(), &mut redacted),
                _ => redacted.push_str(token.text()),
            }
        }
        redacted
    }

    /// A word that was made of a name, such as `kv1-link`: the longest name in it that ends at dashes is replaced.
    fn compound(&mut self, word: &str, redacted: &mut String) {
        let found = longest_name(word, &self.names);
        let Some((before, name, after)) = found.filter(|_| !is_protocol_word(word)) else {
            return redacted.push_str(word);
        };
        let name = name.to_lowercase();
        let pseudonym = self.pseudonym(Class::Names, &name);
        redacted.push_str(before);
        redacted.push_str(&pseudonym);
        self.map.insert(pseudonym, (Class::Names, name));
        self.compound(after, redacted);
    }

    fn class_of(&self, token: &Token<'_>) -> Option<Class> {
        match token {
            Token::Guid(guid) if self.subscriptions.contains(&guid.to_lowercase()) => {
                Some(Class::Subscriptions)
            }
            Token::Guid(_) => Some(Class::Objects),
            Token::Person(_) => Some(Class::People),
            Token::Address(_) => Some(Class::Addresses),
            Token::Word(word) if self.names.contains(&word.to_lowercase()) => Some(Class::Names),
            Token::Word(_) | Token::Other(_) => None,
        }
    }

    /// In the form of what it stands for, so that a reader sees what it is.
    fn pseudonym(&self, class: Class, name: &str) -> String {
        let tag = hmac::sign(&self.key.key, format!("{}\0{name}", class.word()).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(tag.as_ref().get(..16).unwrap_or(&[0; 16]));
        let hex = hex::encode(bytes);
        let short = hex.get(..16).unwrap_or_default();
        match class {
            Class::Subscriptions | Class::Objects => {
                uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
            }
            Class::People => format!("p-{short}@redacted.invalid"),
            Class::Addresses => {
                let groups: Vec<&str> = (0..6)
                    .filter_map(|group| hex.get(group * 4..group * 4 + 4))
                    .collect();
                format!("2001:db8:{}", groups.join(":"))
            }
            Class::Names => format!("n-{short}"),
        }
    }
}
