//! What a query may cost: steps and bytes, counted down.

use std::cell::Cell;

use super::error::QueryError;
use crate::limits::GRAPH_FUEL;

pub(crate) struct Fuel(Cell<u64>);

impl Fuel {
    pub(crate) fn full() -> Self {
        Self(Cell::new(GRAPH_FUEL))
    }

    /// Takes so much, if there is so much.
    pub(crate) fn burn(&self, amount: usize) -> Result<(), QueryError> {
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        let left = self.0.get().checked_sub(amount).ok_or(QueryError::TooCostly)?;
        self.0.set(left);
        Ok(())
    }
}
