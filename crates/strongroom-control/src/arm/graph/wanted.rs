//! What of the rows a query looks at. The rest is skipped when a document is read, not made.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use super::ast::{Expr, Operator};

/// What is looked at of a value: all of it, or some of its members. Names are in small letters.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Wanted {
    whole: bool,
    members: BTreeMap<String, Self>,
}

impl Wanted {
    pub(super) fn all() -> Self {
        Self {
            whole: true,
            members: BTreeMap::new(),
        }
    }

    /// What these operators look at of the rows that they begin with.
    pub(super) fn by(operators: &[Operator]) -> Self {
        let mut wanted = Self::default();
        for operator in operators {
            match operator {
                Operator::Where(expr) => wanted.see(expr),
                Operator::Extend(all) => all.iter().for_each(|one| wanted.see(&one.expr)),
                Operator::Expand(one) => wanted.see(&one.expr),
                Operator::Order(keys) | Operator::Top(_, keys) => {
                    keys.iter().for_each(|key| wanted.see(&key.expr));
                }
                Operator::Join(join) => join.on.iter().for_each(|(left, _)| wanted.add(&[left])),
                Operator::Take(_) => {}
                Operator::Count => return wanted,
                Operator::Project(all) | Operator::Distinct(all) => {
                    all.iter().for_each(|one| wanted.see(&one.expr));
                    return wanted;
                }
                Operator::Summarize { by, of } => {
                    by.iter().for_each(|one| wanted.see(&one.expr));
                    of.iter()
                        .filter_map(|one| one.of.as_ref())
                        .for_each(|of| wanted.see(of));
                    return wanted;
                }
                Operator::ProjectAway(_) | Operator::ProjectRename(_) => return Self::all(),
            }
        }
        Self::all()
    }

    fn see(&mut self, expr: &Expr) {
        expr.paths(&mut |path| self.add(path));
    }

    fn add(&mut self, path: &[&str]) {
        match path {
            [] => self.whole = true,
            [name, rest @ ..] => {
                let name = name.to_ascii_lowercase();
                self.members.entry(name).or_default().add(rest);
            }
        }
    }

    /// What is looked at of this member, if anything is.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        if self.whole {
            return Some(self);
        }
        self.members
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, wanted)| wanted)
    }

    /// The wanted part of a document, which is an object.
    pub(super) fn of_document(&self, json: &str) -> Result<Map<String, Value>, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        match self.deserialize(&mut deserializer)? {
            Value::Object(members) => Ok(members),
            _ => Err(de::Error::custom("a document is an object")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Wanted {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.whole {
            return Value::deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

/// Of what has no members nothing is wanted, where only members are.
impl<'de> Visitor<'de> for &Wanted {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(member) = map.next_key_seed(Member(self))? {
            match member {
                Some((name, wanted)) => {
                    found.insert(name, map.next_value_seed(wanted)?);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// A member's name, kept only if the member is wanted.
struct Member<'a>(&'a Wanted);

impl<'a, 'de> DeserializeSeed<'de> for Member<'a> {
    type Value = Option<(String, &'a Wanted)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Member<'a> {
    type Value = Option<(String, &'a Wanted)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.member(name).map(|wanted| (name.to_owned(), wanted)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::arm::graph::parse::parse;

    const DOCUMENT: &str = r#"{"kind":"OpenAI","tags":{"owner":"a","cost":"b"},"properties":{
        "encryption":{"keySource":"Microsoft.KeyVault","keyVaultProperties":{"keyName":"k"}},
        "list":[{"x":1},{"x":2}],"n":1,"deep":{"a":{"b":true}}}}"#;

    fn read(query: &str) -> Value {
        let query = parse(query).unwrap();
        Value::Object(Wanted::by(&query.operators).of_document(DOCUMENT).unwrap())
    }

    #[test]
    fn only_what_a_query_looks_at_is_made() {
        assert_eq!(read("Resources | count"), json!({}));
        assert_eq!(
            read("Resources | where Properties.Encryption.KEYSOURCE == 'x' | count"),
            json!({ "properties": { "encryption": { "keySource": "Microsoft.KeyVault" } } })
        );
        assert_eq!(
            read("Resources | where properties.deep['a'].b and tags['owner'] == 'a' | project kind"),
            json!({ "kind": "OpenAI", "tags": { "owner": "a" }, "properties": { "deep": { "a": { "b": true } } } })
        );
    }

    #[test]
    fn what_is_looked_at_as_a_whole_is_made_whole() {
        let all: Value = serde_json::from_str(DOCUMENT).unwrap();
        for query in [
            "Resources",
            "Resources | where properties.n == 1",
            "Resources | project-away tags",
            "Resources | project properties, tags, kind",
        ] {
            assert_eq!(read(query), all, "{query}");
        }
        assert_eq!(
            read("Resources | extend e = properties.encryption | where e.keySource == 'x' | count"),
            json!({ "properties": { "encryption": all["properties"]["encryption"] } })
        );
        assert_eq!(
            read("Resources | where properties.list[0].x == 1 | count"),
            json!({ "properties": { "list": all["properties"]["list"] } })
        );
    }

    #[test]
    fn members_of_what_has_none_are_nothing() {
        assert_eq!(
            read("Resources | where kind.x == 1 or properties.list.x == 1 | count"),
            json!({ "kind": null, "properties": { "list": null } })
        );
    }
}
