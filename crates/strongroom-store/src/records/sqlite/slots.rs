//! Which rows of `key_slot` are free.

use rusqlite::Connection;

/// Free slots kept in memory; the others are found again when these are used up.
const REMEMBERED: usize = 65_536;

/// Hands out slots: freed ones first, then new ones at the end. What a failed unit took is given back exactly, so that new
/// rows are only ever appended and no row moves.
pub(super) struct Slots {
    next: i64,
    free: Vec<i64>,
    more_in_table: bool,
    log: Vec<Step>,
}

enum Step {
    Grew,
    Popped(i64),
    Pushed,
}

/// A place for a wrapped key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// A row to be appended.
    New(i64),
    /// A row to be overwritten.
    Reused(i64),
}

impl Slot {
    pub(super) fn number(self) -> i64 {
        match self {
            Self::New(slot) | Self::Reused(slot) => slot,
        }
    }
}

/// A point to go back to.
#[derive(Clone, Copy)]
pub(super) struct Mark(usize);

impl Slots {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let next = connection.query_row("SELECT coalesce(max(slot), 0) + 1 FROM key_slot", [], |row| {
            row.get(0)
        })?;
        let mut slots = Self {
            next,
            free: Vec::new(),
            more_in_table: true,
            log: Vec::new(),
        };
        slots.refill(connection)?;
        Ok(slots)
    }

    /// Looks for free slots in the table once the remembered ones are used up. Call it between transactions.
    pub(super) fn refill(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.free.is_empty() || !self.more_in_table {
            return Ok(());
        }
        let limit = i64::try_from(REMEMBERED).unwrap_or(i64::MAX);
        self.free = connection
            .prepare_cached(
                "SELECT slot FROM key_slot INDEXED BY key_slot_free
                 WHERE account = x'00000000000000000000000000000000' ORDER BY slot DESC LIMIT ?1",
            )?
            .query_map([limit], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        self.more_in_table = self.free.len() == REMEMBERED;
        Ok(())
    }

    pub(super) fn take(&mut self) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.log.push(Step::Popped(slot));
            return Slot::Reused(slot);
        }
        let slot = self.next;
        self.next += 1;
        self.log.push(Step::Grew);
        Slot::New(slot)
    }

    pub(super) fn give(&mut self, slot: i64) {
        if self.free.len() < REMEMBERED {
            self.free.push(slot);
            self.log.push(Step::Pushed);
        } else {
            self.more_in_table = true;
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.log.len())
    }

    pub(super) fn back_to(&mut self, mark: Mark) {
        while self.log.len() > mark.0 {
            match self.log.pop() {
                Some(Step::Grew) => self.next -= 1,
                Some(Step::Popped(slot)) => self.free.push(slot),
                Some(Step::Pushed) => drop(self.free.pop()),
                None => return,
            }
        }
    }

    pub(super) fn committed(&mut self) {
        self.log.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Slots {
        Slots {
            next: 1,
            free: Vec::new(),
            more_in_table: false,
            log: Vec::new(),
        }
    }

    #[test]
    fn freed_slots_are_used_before_new_ones() {
        let mut slots = empty();
        assert_eq!(slots.take(), Slot::New(1));
        slots.give(1);
        slots.committed();
        assert_eq!(slots.take(), Slot::Reused(1));
        assert_eq!(slots.take(), Slot::New(2));
    }

    #[test]
    fn a_failed_unit_gives_back_exactly_what_it_took() {
        let mut slots = empty();
        slots.take();
        slots.give(1);
        slots.committed();
        let mark = slots.mark();
        slots.take();
        slots.take();
        slots.give(1);
        slots.back_to(mark);
        assert_eq!(slots.take(), Slot::Reused(1));
        assert_eq!(slots.take(), Slot::New(2));
    }
}
