//! What the server does with a row that several transactions want, under READ COMMITTED, as far as the protocols lean on it: rows as
//! statements see them, row locks, a write that goes through only to the version that was read, unique keys that wait for who is
//! about to take or to give up the same one, and the end of a transaction, which is one moment for everybody.

use std::fmt::{Debug, Formatter};

/// Who runs a transaction: a place among the backends of a model.
pub type Who = u8;

/// What comes of asking for a row that somebody else may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<T> {
    /// Somebody else's transaction must end first.
    Waits,
    Got(T),
}

/// A row at one place of a table, or that there is none.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Slot<T> {
    committed: Option<T>,
    /// Grows with each version that is committed, as which a row is named by who read it.
    version: u8,
    holder: Option<Who>,
    /// What the holder has made of it: another row, or none.
    written: Option<Option<T>>,
}

/// A table whose rows are known by their places. An index that is unique over them is a table, too: its rows are who has what key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Table<T>(Vec<Slot<T>>);

impl<T: Debug> Debug for Table<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut rows = f.debug_map();
        for (at, slot) in self.0.iter().enumerate() {
            match (&slot.committed, slot.holder) {
                (None, None) => {}
                (Some(row), None) => _ = rows.entry(&at, row),
                (row, Some(holder)) => _ = rows.entry(&at, &(row, format!("held by {holder}"), &slot.written)),
            }
        }
        rows.finish()
    }
}

impl<T: Clone> Table<T> {
    pub fn new(rows: Vec<Option<T>>) -> Table<T> {
        let slot = |committed| Slot { committed, version: 0, holder: None, written: None };
        Table(rows.into_iter().map(slot).collect())
    }

    pub fn places(&self) -> impl Iterator<Item = usize> + use<T> {
        0..self.0.len()
    }

    /// As a statement of this transaction sees it.
    pub fn read(&self, who: Who, at: usize) -> Option<&T> {
        let slot = &self.0[at];
        match &slot.written {
            Some(own) if slot.holder == Some(who) => own.as_ref(),
            _ => slot.committed.as_ref(),
        }
    }

    /// As everybody sees it.
    pub fn seen_by_all(&self, at: usize) -> Option<&T> {
        self.0[at].committed.as_ref()
    }

    /// All rows that everybody sees, with their places.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.committed.as_ref()?)))
    }

    /// As which version it is read just now.
    pub fn version(&self, at: usize) -> u8 {
        self.0[at].version
    }

    /// Locks a row and reads it as it is then; who finds none holds nothing.
    pub fn lock(&mut self, who: Who, at: usize) -> Asked<Option<T>> {
        let slot = &mut self.0[at];
        if slot.holder.is_some_and(|holder| holder != who) {
            // One that is not there for anybody yet is not found, and not waited for.
            return if slot.committed.is_some() { Asked::Waits } else { Asked::Got(None) };
        }
        if self.read(who, at).is_none() {
            return Asked::Got(None);
        }
        self.0[at].holder = Some(who);
        Asked::Got(self.read(who, at).cloned())
    }

    /// Writes a row that this transaction has locked, or made.
    pub fn write(&mut self, who: Who, at: usize, row: T) {
        assert_eq!(self.0[at].holder, Some(who), "only locked rows are written");
        self.0[at].written = Some(Some(row));
    }

    /// Writes a row that was read without a lock, if it is that version still and nobody is at it.
    pub fn write_seen(&mut self, who: Who, at: usize, version: u8, row: T) -> bool {
        let slot = &mut self.0[at];
        if slot.version != version || slot.holder.is_some_and(|holder| holder != who) {
            return false;
        }
        (slot.holder, slot.written) = (Some(who), Some(Some(row)));
        true
    }

    /// Inserts where a unique index allows but one; `false` where one is there. One in flight is waited for, and so is one that
    /// somebody is about to change or to delete.
    pub fn insert(&mut self, who: Who, at: usize, row: T) -> Asked<bool> {
        let slot = &mut self.0[at];
        if slot.holder.is_some_and(|holder| holder != who) && slot.written.is_some() {
            return Asked::Waits;
        }
        if self.read(who, at).is_some() {
            return Asked::Got(false);
        }
        (self.0[at].holder, self.0[at].written) = (Some(who), Some(Some(row)));
        Asked::Got(true)
    }

    /// Deletes a row that this transaction has locked.
    pub fn delete(&mut self, who: Who, at: usize) {
        assert_eq!(self.0[at].holder, Some(who), "only locked rows are deleted");
        self.0[at].written = Some(None);
    }

    pub fn end(&mut self, who: Who, kept: bool) {
        if kept { self.commit(who) } else { self.abort(who) }
    }

    pub fn commit(&mut self, who: Who) {
        for slot in self.0.iter_mut().filter(|slot| slot.holder == Some(who)) {
            slot.holder = None;
            if let Some(written) = slot.written.take() {
                slot.committed = written;
                slot.version += 1;
            }
        }
    }

    pub fn abort(&mut self, who: Who) {
        for slot in self.0.iter_mut().filter(|slot| slot.holder == Some(who)) {
            (slot.holder, slot.written) = (None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_the_server_shows_it() {
        let mut table = Table::new(vec![Some(1), None]);
        assert_eq!(table.lock(0, 0), Asked::Got(Some(1)));
        table.write(0, 0, 2);
        assert_eq!((table.read(0, 0), table.read(1, 0)), (Some(&2), Some(&1)));
        assert_eq!(table.lock(1, 0), Asked::Waits);
        assert!(!table.write_seen(1, 0, 0, 9), "somebody is at it");
        table.commit(0);
        assert!(!table.write_seen(1, 0, 0, 9), "it is another version");
        assert!(table.write_seen(1, 0, 1, 3));
        table.abort(1);
        assert_eq!(table.lock(1, 0), Asked::Got(Some(2)));
    }

    #[test]
    fn a_key_in_flight_is_waited_for() {
        let mut index = Table::new(vec![None]);
        assert_eq!(index.insert(0, 0, 'a'), Asked::Got(true));
        assert_eq!(index.read(1, 0), None);
        assert_eq!(index.insert(1, 0, 'b'), Asked::Waits);
        assert_eq!(index.lock(1, 0), Asked::Got(None), "who only looks for rows does not see it");
        index.commit(0);
        assert_eq!(index.insert(1, 0, 'b'), Asked::Got(false));
        assert_eq!(index.lock(2, 0), Asked::Got(Some('a')));
        assert_eq!(
            index.insert(1, 0, 'b'),
            Asked::Got(false),
            "a lock alone keeps nobody from seeing that it is taken"
        );
        index.delete(2, 0);
        assert_eq!(index.insert(1, 0, 'b'), Asked::Waits);
        index.commit(2);
        assert_eq!(index.insert(1, 0, 'b'), Asked::Got(true));
    }
}
