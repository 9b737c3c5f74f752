//! Pages of lists: what a caller asks for, and the list object.

use serde_json::{Map, Value, json};
use strongroom_store::Order;

use crate::call::{Query, is_id};
use crate::problem::Problem;

/// Which page a caller asks for.
pub(crate) struct Paging {
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
    pub(crate) order: Order,
}

impl Paging {
    /// Reads `after`, `limit` and `order`; newest first unless asked otherwise.
    pub(crate) fn read(query: &Query, default: u32, most: u32) -> Result<Self, Problem> {
        Self::read_from(query, Order::Desc, default, most)
    }

    /// The same with another order where none is asked for.
    pub(crate) fn read_from(query: &Query, order: Order, default: u32, most: u32) -> Result<Self, Problem> {
        let limit = match query.get("limit") {
            None => default,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=most).contains(limit))
                .ok_or_else(|| {
                    Problem::invalid(
                        "limit",
                        format!("Invalid 'limit': it must be a whole number from 1 to {most}."),
                    )
                })?,
        };
        let order = match query.get("order") {
            None => order,
            Some("desc") => Order::Desc,
            Some("asc") => Order::Asc,
            Some(_) => {
                return Err(Problem::invalid(
                    "order",
                    "Invalid 'order': it must be 'asc' or 'desc'.",
                ));
            }
        };
        let after = match query.get("after") {
            None | Some("") => None,
            Some(id) if is_id(id) => Some(id.to_owned()),
            Some(_) => {
                return Err(Problem::invalid(
                    "after",
                    "Invalid 'after': it is not an object's id.",
                ));
            }
        };
        Ok(Self {
            after,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            order,
        })
    }

    /// The page of a list that is there as a whole, oldest first.
    pub(crate) fn of_all(
        self,
        mut all: Vec<Value>,
        what: &'static str,
    ) -> Result<Map<String, Value>, Problem> {
        if self.order == Order::Desc {
            all.reverse();
        }
        let from = match self.after {
            None => 0,
            Some(after) => {
                let is_it = |item: &Value| item.get("id").and_then(Value::as_str) == Some(&after);
                let at = all.iter().position(is_it).map(|at| at + 1);
                at.ok_or(Problem::NotFound {
                    what,
                    id: after,
                    param: Some("after"),
                })?
            }
        };
        let has_more = all.len() - from > self.limit;
        Ok(list(
            all.into_iter().skip(from).take(self.limit).collect(),
            has_more,
        ))
    }
}

/// The official list object.
pub(crate) fn list(data: Vec<Value>, has_more: bool) -> Map<String, Value> {
    let id = |value: Option<&Value>| {
        value
            .and_then(|value| value.get("id"))
            .cloned()
            .unwrap_or(Value::Null)
    };
    let (first, last) = (id(data.first()), id(data.last()));
    let mut list = Map::new();
    list.insert("object".to_owned(), json!("list"));
    list.insert("data".to_owned(), Value::Array(data));
    list.insert("first_id".to_owned(), first);
    list.insert("last_id".to_owned(), last);
    list.insert("has_more".to_owned(), Value::Bool(has_more));
    list
}
