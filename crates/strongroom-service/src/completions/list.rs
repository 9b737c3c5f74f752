//! Lists of completions. What they are filtered by is sealed, so that each must be opened to be compared: a request opens so many and no
//! more, and says where the next one goes on.

use serde_json::{Map, Value};
use strongroom_store::{Order, Page, Permit, Store};

use super::{CompletionRecord, KIND, WHAT};
use crate::call::{Answer, Call, Query};
use crate::limits;
use crate::paging::{self, Paging};
use crate::problem::Problem;

/// `GET chat/completions`
pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let (default, most) = (limits::ITEMS_PAGE_DEFAULT, limits::ITEMS_PAGE);
    let paging = Paging::read_from(&call.query, Order::Asc, default, most)?;
    let filter = Filter::of_query(&call.query);
    let mut walk = Walk::new(paging.after, paging.order);
    let (mut data, mut bytes, mut has_more) = (Vec::new(), 0, false);
    let mut opened = 0;
    while let Some((id, record, length)) = walk.next(&call.service.store, call.permits.read()?).await? {
        let fits = filter.fits(&record);
        let is_full = data.len() == paging.limit || (!data.is_empty() && bytes + length > limits::LIST_BYTES);
        if fits && is_full {
            has_more = true;
            break;
        }
        opened += 1;
        if fits {
            bytes += length;
            data.push(Value::Object(record.show()));
        }
        if opened == limits::COMPLETIONS_OPENED {
            // There may be more. An empty page says itself where to go on.
            let mut list = paging::list(data, true);
            if list.get("last_id").is_some_and(Value::is_null) {
                list.insert("last_id".to_owned(), Value::String(id));
            }
            return Answer::json(&list);
        }
    }
    Answer::json(&paging::list(data, has_more))
}

/// Which completions are wanted.
#[derive(Default)]
pub(super) struct Filter {
    model: Option<String>,
    metadata: Vec<(String, String)>,
}

impl Filter {
    /// `model=...` and `metadata[key]=value`.
    fn of_query(query: &Query) -> Self {
        let pairs = query.pairs().filter_map(|(name, value)| {
            let key = name.strip_prefix("metadata[")?.strip_suffix(']')?;
            Some((key.to_owned(), value.to_owned()))
        });
        Self {
            model: query
                .get("model")
                .filter(|model| !model.is_empty())
                .map(str::to_owned),
            metadata: pairs.collect(),
        }
    }

    pub(super) fn new(model: Option<&str>, metadata: &Map<String, Value>) -> Self {
        let pairs = metadata
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        Self {
            model: model.map(str::to_owned),
            metadata: pairs.collect(),
        }
    }

    /// A model goes by the name under which it was asked, and by the one that it gives itself.
    pub(super) fn fits(&self, record: &CompletionRecord) -> bool {
        let answered = record.completion.get("model").and_then(Value::as_str);
        let is_model = |model: &String| record.deployment == *model || answered == Some(model);
        let has = |(key, value): &(String, String)| {
            record.metadata.get(key).and_then(Value::as_str) == Some(value.as_str())
        };
        self.model.as_ref().is_none_or(is_model) && self.metadata.iter().all(has)
    }
}

/// Goes through the account's completions, a few opened at a time.
pub(super) struct Walk {
    after: Option<String>,
    order: Order,
    found: std::vec::IntoIter<(String, CompletionRecord, usize)>,
    is_over: bool,
}

impl Walk {
    pub(super) fn new(after: Option<String>, order: Order) -> Self {
        Self {
            after,
            order,
            found: Vec::new().into_iter(),
            is_over: false,
        }
    }

    /// The next one: its id, its record, and how long that is.
    pub(super) async fn next(
        &mut self,
        store: &Store,
        read: &Permit,
    ) -> Result<Option<(String, CompletionRecord, usize)>, Problem> {
        loop {
            if let Some(found) = self.found.next() {
                return Ok(Some(found));
            }
            if self.is_over {
                return Ok(None);
            }
            let page = Page {
                after: self.after.clone(),
                limit: limits::COMPLETIONS_BATCH,
                order: self.order,
            };
            let listing = store.list(read, KIND, page).await;
            let listing = listing.map_err(|error| self.missing(Problem::store(error, WHAT, "")))?;
            self.is_over = !listing.has_more;
            self.after = listing.objects.last().map(|object| object.meta.id.clone());
            let records = listing.objects.iter().map(|object| {
                let record = CompletionRecord::read(object)?;
                Ok((object.meta.id.clone(), record, object.body.len()))
            });
            self.found = records.collect::<Result<Vec<_>, Problem>>()?.into_iter();
        }
    }

    fn missing(&self, problem: Problem) -> Problem {
        match problem {
            Problem::NotFound { what, .. } => Problem::NotFound {
                what,
                id: self.after.clone().unwrap_or_default(),
                param: Some("after"),
            },
            other => other,
        }
    }
}
