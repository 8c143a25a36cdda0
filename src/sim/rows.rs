//! One table of the simulated server: committed rows, and the locks and changes of open transactions. READ COMMITTED; a
//! row has at most one holder on each node, and between nodes the first commit wins, as in a Galera cluster or a MySQL
//! group.

use std::collections::BTreeMap;

/// A transaction and its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tx {
    pub number: u64,
    pub node: usize,
}

/// Another transaction on this node holds the row.
#[derive(Debug)]
pub struct Blocked;

#[derive(Debug)]
pub struct Rows<T> {
    rows: BTreeMap<u64, Row<T>>,
}

#[derive(Debug)]
struct Row<T> {
    committed: Option<T>,
    holders: Vec<Holder<T>>,
}

#[derive(Debug)]
struct Holder<T> {
    tx: Tx,
    /// None: the row is locked and unchanged. Some(None): it is deleted.
    change: Option<Option<T>>,
}

/// A row before and after a commit.
#[derive(Clone, Debug)]
pub struct Change<T> {
    pub id: u64,
    pub old: Option<T>,
    pub new: Option<T>,
}

impl<T: Clone> Rows<T> {
    pub fn new() -> Rows<T> {
        Rows { rows: BTreeMap::new() }
    }

    /// Whether `tx` could lock the row without waiting.
    pub fn is_free(&self, tx: Tx, id: u64) -> bool {
        let holders = self.rows.get(&id).map_or(&[][..], |row| &row.holders);
        !holders.iter().any(|holder| holder.tx.node == tx.node && holder.tx != tx)
    }

    pub fn lock(&mut self, tx: Tx, id: u64) -> Result<(), Blocked> {
        if !self.is_free(tx, id) {
            return Err(Blocked);
        }
        let row = self.rows.entry(id).or_insert(Row { committed: None, holders: Vec::new() });
        if !row.holders.iter().any(|holder| holder.tx == tx) {
            row.holders.push(Holder { tx, change: None });
        }
        Ok(())
    }

    /// Inserts, changes or (None) deletes a row that `tx` has locked.
    pub fn set(&mut self, tx: Tx, id: u64, new: Option<T>) {
        let row = self.rows.get_mut(&id).expect("a row that `tx` has locked");
        let own = row.holders.iter_mut().find(|holder| holder.tx == tx);
        own.expect("a row that `tx` has locked").change = Some(new);
    }

    /// Whether a locking statement meets the row, committed or not.
    pub fn is_there(&self, tx: Tx, id: u64) -> bool {
        self.get(tx, id).is_some() || !self.is_free(tx, id)
    }

    /// The row as `tx` sees it.
    pub fn get(&self, tx: Tx, id: u64) -> Option<&T> {
        self.rows.get(&id).and_then(|row| row.seen_by(tx))
    }

    pub fn committed(&self, id: u64) -> Option<&T> {
        self.rows.get(&id).and_then(|row| row.committed.as_ref())
    }

    /// The rows that `tx` sees, by id.
    pub fn seen_by(&self, tx: Tx) -> impl Iterator<Item = (u64, &T)> {
        self.rows.iter().filter_map(move |(id, row)| Some((*id, row.seen_by(tx)?)))
    }

    /// The committed rows, by id.
    pub fn all_committed(&self) -> impl Iterator<Item = (u64, &T)> {
        self.rows.iter().filter_map(|(id, row)| Some((*id, row.committed.as_ref()?)))
    }

    /// The ids of rows that are `is_wanted` as `tx` sees them, or as another transaction on its node has changed them.
    pub fn touched(&self, tx: Tx, is_wanted: impl Fn(&T) -> bool) -> Vec<u64> {
        let pending = |row: &Row<T>| {
            let here = row.holders.iter().filter(|holder| holder.tx.node == tx.node);
            here.filter_map(|holder| holder.change.as_ref()?.as_ref()).any(&is_wanted)
        };
        let wanted = self.rows.iter().filter(|(_, row)| row.seen_by(tx).is_some_and(&is_wanted) || pending(row));
        wanted.map(|(id, _)| *id).collect()
    }

    /// READ UNCOMMITTED: the smallest id on `node`, committed or not, but for `excluded` ones.
    pub fn least_uncommitted(&self, node: usize, excluded: &[u64]) -> Option<u64> {
        let is_there = |row: &Row<T>| match row.holders.iter().find(|holder| holder.tx.node == node) {
            Some(Holder { change: Some(change), .. }) => change.is_some(),
            _ => row.committed.is_some(),
        };
        self.rows.iter().find(|(id, row)| !excluded.contains(id) && is_there(row)).map(|(id, _)| *id)
    }

    /// Commits the changes of `tx`. Adds to `losers` the transactions of other nodes that had changed the same rows;
    /// those that had only locked them do not notice.
    pub fn commit(&mut self, tx: Tx, losers: &mut Vec<Tx>) -> Vec<Change<T>> {
        let mut changes = Vec::new();
        self.rows.retain(|id, row| {
            if let Some(at) = row.holders.iter().position(|holder| holder.tx == tx)
                && let Some(new) = row.holders.swap_remove(at).change
            {
                losers.extend(row.holders.iter().filter(|holder| holder.change.is_some()).map(|holder| holder.tx));
                row.holders.clear();
                changes.push(Change { id: *id, old: row.committed.take(), new: new.clone() });
                row.committed = new;
            }
            row.committed.is_some() || !row.holders.is_empty()
        });
        changes
    }

    pub fn roll_back(&mut self, tx: Tx) {
        self.rows.retain(|_, row| {
            row.holders.retain(|holder| holder.tx != tx);
            row.committed.is_some() || !row.holders.is_empty()
        });
    }
}

impl<T> Row<T> {
    fn seen_by(&self, tx: Tx) -> Option<&T> {
        match self.holders.iter().find(|holder| holder.tx == tx) {
            Some(Holder { change: Some(change), .. }) => change.as_ref(),
            _ => self.committed.as_ref(),
        }
    }
}

/// The ids of rows that exist after the change (`is_new`), or no longer exist.
pub fn ids<T>(changes: &[Change<T>], is_new: bool) -> impl Iterator<Item = u64> {
    changes.iter().filter(move |change| change.new.is_some() == is_new).map(|change| change.id)
}
