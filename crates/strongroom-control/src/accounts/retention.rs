//! How long an account's objects are kept, class by class.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits;

/// A class of objects that is kept for a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetentionClass {
    /// Files, however they came.
    Files,
    /// Stored responses.
    Responses,
    /// Stored chat completions.
    StoredCompletions,
    /// Batches and the files with their results.
    Batches,
}

impl RetentionClass {
    /// Every class.
    pub const ALL: [Self; 4] = [
        Self::Files,
        Self::Responses,
        Self::StoredCompletions,
        Self::Batches,
    ];

    /// Its name, as a property of the account has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Responses => "responses",
            Self::StoredCompletions => "storedCompletions",
            Self::Batches => "batches",
        }
    }

    /// Of its name, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|class| class.name().eq_ignore_ascii_case(text))
    }
}

/// For how many days objects are kept from when they are made, where the account says so.
pub type Retention = BTreeMap<RetentionClass, u32>;

/// What is to be different of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionChange(BTreeMap<RetentionClass, Option<u32>>);

impl RetentionChange {
    /// Of an object with a number of days for each class, or null to take a class back to what is usual. An error says what is wrong, for a person.
    pub fn read(given: &Map<String, Value>) -> Result<Self, String> {
        let mut change = BTreeMap::new();
        for (name, days) in given {
            let class = RetentionClass::parse(name).ok_or_else(|| {
                let known = RetentionClass::ALL.map(RetentionClass::name).join(", ");
                format!("'retentionDays' has a class that is not known; known are {known}")
            })?;
            let days = match days {
                Value::Null => None,
                days => Some(read_days(days).ok_or_else(|| {
                    let most = limits::RETENTION_DAYS;
                    format!(
                        "'retentionDays.{}' must be a whole number from 1 to {most}",
                        class.name()
                    )
                })?),
            };
            change.insert(class, days);
        }
        Ok(Self(change))
    }

    pub(super) fn apply(&self, retention: &mut Retention) {
        for (class, days) in &self.0 {
            match days {
                None => drop(retention.remove(class)),
                Some(days) => drop(retention.insert(*class, *days)),
            }
        }
    }
}

fn read_days(days: &Value) -> Option<u32> {
    let days = u32::try_from(days.as_u64()?).ok()?;
    (1..=limits::RETENTION_DAYS).contains(&days).then_some(days)
}

pub(super) fn shape(retention: &Retention) -> Value {
    let days = retention
        .iter()
        .map(|(class, days)| (class.name().to_owned(), Value::from(*days)));
    Value::Object(days.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Retention, RetentionChange, RetentionClass, shape};

    fn read(given: Value) -> Result<RetentionChange, String> {
        RetentionChange::read(given.as_object().unwrap())
    }

    #[test]
    fn days_are_set_and_taken_back_class_by_class() {
        let mut retention = Retention::new();
        read(json!({ "responses": 7, "FILES": 90 }))
            .unwrap()
            .apply(&mut retention);
        assert_eq!(retention.get(&RetentionClass::Files), Some(&90));
        read(json!({ "files": null, "batches": 3650 }))
            .unwrap()
            .apply(&mut retention);
        assert_eq!(shape(&retention), json!({ "responses": 7, "batches": 3650 }));
    }

    #[test]
    fn what_is_no_class_or_no_number_of_days_is_refused() {
        for wrong in [
            json!({ "letters": 1 }),
            json!({ "files": 0 }),
            json!({ "files": 3651 }),
            json!({ "files": "7" }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
