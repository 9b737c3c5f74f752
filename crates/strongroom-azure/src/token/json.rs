//! JSON that says each thing once. A token whose claim stands twice means one thing to one reader and another to the next.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads a document in which no object has two members of one name, at any depth.
pub(super) fn read<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice::<SaidOnce>(json).ok()?;
    serde_json::from_slice(json).ok()
}

/// Any value without doubled members. Holds nothing: it is read for its faults.
struct SaidOnce;

impl<'de> Deserialize<'de> for SaidOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = SaidOnce;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without doubled members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SaidOnce, A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name) {
                return Err(A::Error::custom("a member stands twice"));
            }
            map.next_value::<SaidOnce>()?;
        }
        Ok(SaidOnce)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<SaidOnce, A::Error> {
        while items.next_element::<SaidOnce>()?.is_some() {}
        Ok(SaidOnce)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<SaidOnce, E> {
        Ok(SaidOnce)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SaidOnce, E> {
        Ok(SaidOnce)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SaidOnce, E> {
        Ok(SaidOnce)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SaidOnce, E> {
        Ok(SaidOnce)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SaidOnce, E> {
        Ok(SaidOnce)
    }

    fn visit_unit<E: Error>(self) -> Result<SaidOnce, E> {
        Ok(SaidOnce)
    }
}
