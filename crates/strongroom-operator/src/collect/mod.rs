//! Collects facts: asks everything that the controls need to know, once, and keeps what is answered.
//!
//! What Resource Graph knows comes in pages of a thousand rows; what only others tell is asked of them: deployments and settings of
//! Resource Manager, keys of their vault, principals of Microsoft Graph. A collection that is interrupted goes on where it was.

mod accounts;
mod inventory;
mod keys;
pub(crate) mod plan;
mod recorder;
mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use futures::StreamExt as _;
use futures::stream;
use serde_json::Value;

pub use self::recorder::{Recorder, RecorderError};
pub use self::records::stored_bytes;

pub(crate) use self::keys::{vault_host, vault_text};

use self::accounts::AccountBrief;
use crate::ask::{Asker, Next, Question, next};
use crate::fact::{Fact, Failure};

/// What a collection is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The subscriptions, as GUIDs; those that the caller sees, if none is named.
    pub subscriptions: Vec<String>,
    /// Names or ARM ids of accounts; all accounts, if none is named.
    pub accounts: Vec<String>,
    /// A folder with logs as diagnostic settings write them to storage; vaults' audit events in it are read.
    pub audit_logs: Option<PathBuf>,
}

/// Asks about everything in the scope. What could not be read is a fact like any other; an error is only that facts
/// could not be kept.
pub async fn collect(asker: &Asker, recorder: &Recorder, scope: &Scope) -> Result<(), RecorderError> {
    let collector = Collector { asker, recorder };
    let subscriptions = collector.subscriptions(scope).await?;
    recorder.concerns(&subscriptions)?;
    let found = collector.inventory(&subscriptions, scope).await?;
    collector.around(&subscriptions).await?;
    collector.accounts(&found.accounts).await?;
    collector.vaults(&found).await?;
    collector.people(&found).await?;
    if let Some(folder) = &scope.audit_logs {
        asker.tally().begin("audit logs");
        records::read(asker, recorder, folder)?;
    }
    Ok(())
}

/// What later questions need of earlier answers; the answers themselves are on disk.
#[derive(Default)]
struct Found {
    accounts: Vec<AccountBrief>,
    /// Vaults' ARM ids by their host, in small letters.
    vaults: BTreeMap<String, String>,
    principals: BTreeSet<String>,
    groups: BTreeSet<String>,
    /// Workspaces' ids for queries, by their ARM id in small letters.
    workspaces: BTreeMap<String, String>,
}

struct Collector<'a> {
    asker: &'a Asker,
    recorder: &'a Recorder,
}

impl Collector<'_> {
    /// One answer, from before or now.
    async fn answer(&self, question: &Question) -> Result<Fact, RecorderError> {
        let digest = question.digest();
        if let Some(fact) = self.recorder.known(&digest)? {
            self.asker.tally().knew();
            return Ok(fact);
        }
        let fact = self.asker.ask(question).await;
        self.recorder.keep(&digest, &fact)?;
        Ok(fact)
    }

    /// All pages of a list; each goes to `page` and is let go. Whatever keeps the list from being whole is a fact of its own.
    async fn pages(&self, first: Question, mut page: impl FnMut(&Fact)) -> Result<(), RecorderError> {
        let mut seen = HashSet::new();
        let mut question = first;
        loop {
            seen.insert(question.digest());
            let fact = self.answer(&question).await?;
            page(&fact);
            question = match next(&question, &fact) {
                Next::End => return Ok(()),
                Next::Page(next) if seen.contains(&next.digest()) => {
                    let why = "the pages lead in a circle";
                    return self.refuse(next, Failure::NotTheProtocol, why);
                }
                Next::Page(next) if seen.len() >= self.asker.most_pages() => {
                    let why = "the list has more pages than are read";
                    return self.refuse(next, Failure::NotAsked, why);
                }
                Next::Page(next) => next,
                Next::Refused(next, failure, why) => return self.refuse(next, failure, why),
            };
            self.asker.tally().plans(1);
        }
    }

    /// A page that is not asked for is a fact beside the one that led to it, so that nobody takes the list for whole.
    fn refuse(&self, question: Question, failure: Failure, why: &str) -> Result<(), RecorderError> {
        self.asker.tally().plans(1);
        let fact = self.asker.failed(&question, failure, why.to_owned());
        let digest = format!("{}-refused", question.digest());
        self.recorder.keep(&digest, &fact)
    }

    /// All pages of each of these lists, some at once; what `row` makes of the rows.
    async fn rows<T>(
        &self,
        questions: Vec<Question>,
        row: impl Fn(&Question, &Value) -> Option<T>,
    ) -> Result<Vec<T>, RecorderError> {
        self.asker.tally().plans(questions.len());
        let row = &row;
        let mut lists = stream::iter(questions)
            .map(|question| async move {
                let mut found = Vec::new();
                self.pages(question.clone(), |fact| {
                    found.extend(rows(fact).iter().filter_map(|value| row(&question, value)));
                })
                .await?;
                Ok::<_, RecorderError>(found)
            })
            .buffer_unordered(self.asker.calls_in_flight());
        let mut all = Vec::new();
        while let Some(list) = lists.next().await {
            all.extend(list?);
        }
        Ok(all)
    }

    /// Each of these, some at once, for the facts alone.
    async fn all(&self, questions: Vec<Question>) -> Result<(), RecorderError> {
        self.rows(questions, |_, _| None::<()>).await.map(drop)
    }
}

/// The rows of a page; none where there are none to be read.
pub(crate) fn rows(fact: &Fact) -> Vec<Value> {
    let body = fact
        .body()
        .and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let Some(Value::Object(mut body)) = body else {
        return Vec::new();
    };
    for name in ["data", "value"] {
        if let Some(Value::Array(rows)) = body.remove(name) {
            return rows;
        }
    }
    Vec::new()
}

/// A text member, found by a path.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str().filter(|text| !text.is_empty())
}
