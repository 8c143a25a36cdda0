//! Quarantine: rows that the server refuses to change are found, set aside and tried again with growing pauses, so that
//! one row never stops the others. Pure rules: errors, time and chance in, decisions out; no SQL and no clock.
//!
//! Whatever makes one row impossible to change (a trigger that signals, a CHECK constraint, a foreign key, a value that
//! cannot be read) looks the same from here: the statement fails for good, and succeeds without that row.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Error, ErrorClass, codes::*};
use crate::base::backoff::Backoff;

/// How many rows a thread sets aside at most, since every statement that looks for rows names them. Rows beyond are met
/// again at each scan of the queue, one by one.
pub const LIMIT: usize = 1_000;
/// The pauses between two attempts at a row that was set aside. Half of each is left to chance, to spread the attempts.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300), 0.5);
/// So many rows in a row that fail for what is rarely one row's fault, while none has succeeded, end the search.
const SUSPECTS: usize = 8;

/// A row that was set aside; `C` says which change of it was refused, `T` is what it takes to try that again.
#[derive(Clone, Debug)]
pub struct SetAside<C, T> {
    /// Its primary key.
    pub id: u64,
    /// What the server refused.
    pub change: C,
    /// What it takes to try again.
    pub item: T,
    /// The server's message.
    pub message: String,
    code: Option<u16>,
    failures: u32,
    until: Instant,
}

/// What is to be reported of a row that was just set aside, for the first time or again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<C> {
    /// Its primary key.
    pub id: u64,
    /// What the server refused.
    pub change: C,
    /// The server's message.
    pub message: String,
    /// The pause until the next attempt.
    pub pause: Duration,
}

/// The rows that one thread has set aside.
#[derive(Debug)]
pub struct Quarantine<C, T> {
    rows: BTreeMap<u64, SetAside<C, T>>,
    /// Not reported yet: rows that were set aside, and rows that came back.
    added: Vec<Report<C>>,
    removed: Vec<u64>,
}

impl<C: Copy + PartialEq, T> Default for Quarantine<C, T> {
    fn default() -> Self {
        Quarantine::new()
    }
}

impl<C: Copy + PartialEq, T> Quarantine<C, T> {
    /// Without a row.
    pub fn new() -> Quarantine<C, T> {
        Quarantine { rows: BTreeMap::new(), added: Vec::new(), removed: Vec::new() }
    }

    /// The ids of all rows that are set aside, in ascending order: what to leave out of a search.
    pub fn ids(&self) -> Vec<u64> {
        self.rows.keys().copied().collect()
    }

    /// Whether no row is set aside.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether this row is set aside.
    pub fn contains(&self, id: u64) -> bool {
        self.rows.contains_key(&id)
    }

    /// When the next row is to be tried again.
    pub fn retry_at(&self) -> Option<Instant> {
        self.rows.values().map(|row| row.until).min()
    }

    /// Sets a row aside after its first failure. False if there is no room: it will be met again.
    pub fn set_aside(&mut self, id: u64, change: C, item: T, error: &Error, now: Instant) -> bool {
        let failures = self.rows.get(&id).map_or(0, |row| row.failures);
        let has_room = failures > 0 || self.rows.len() < LIMIT;
        if has_room {
            self.add(id, change, item, failures + 1, error, now);
        }
        has_room
    }

    /// Sets a row aside again after one more failure.
    pub fn set_aside_again(&mut self, row: SetAside<C, T>, error: &Error, now: Instant) {
        self.add(row.id, row.change, row.item, row.failures.saturating_add(1), error, now);
    }

    fn add(&mut self, id: u64, change: C, item: T, failures: u32, error: &Error, now: Instant) {
        let pause = RETRY.pause(failures, fastrand::f64());
        let message = error.to_string();
        self.added.push(Report { id, change, message: message.clone(), pause });
        let row = SetAside { id, change, item, message, code: error.code(), failures, until: now + pause };
        self.rows.insert(id, row);
    }

    /// Takes out the rows of this kind that are to be tried again, at most `most` and the longest due first.
    pub fn take_due(&mut self, change: C, most: usize, now: Instant) -> Vec<SetAside<C, T>> {
        let is_due = |row: &&SetAside<C, T>| row.change == change && row.until <= now;
        let mut due: Vec<(Instant, u64)> = self.rows.values().filter(is_due).map(|row| (row.until, row.id)).collect();
        due.sort_unstable();
        due.truncate(most);
        due.into_iter().filter_map(|(_, id)| self.rows.remove(&id)).collect()
    }

    /// Takes out every row.
    pub fn take_all(&mut self) -> Vec<SetAside<C, T>> {
        std::mem::take(&mut self.rows).into_values().collect()
    }

    /// Returns rows that could not be tried.
    pub fn put_back(&mut self, rows: Vec<SetAside<C, T>>) {
        self.rows.extend(rows.into_iter().map(|row| (row.id, row)));
    }

    /// A row that was taken out has succeeded. Others that failed with the same error are tried at once: its cause may
    /// be gone.
    pub fn passed(&mut self, row: &SetAside<C, T>, now: Instant) {
        self.removed.push(row.id);
        for other in self.rows.values_mut().filter(|other| other.change == row.change && other.code == row.code) {
            other.until = now;
        }
    }

    /// Returns rows that were tried again, of which the server `refused` those at these places, in ascending order. Returns
    /// how many succeeded.
    pub fn tried(&mut self, rows: Vec<SetAside<C, T>>, refused: Vec<(usize, Error)>, now: Instant) -> usize {
        let mut refused = refused.into_iter().peekable();
        let mut passed = 0;
        for (at, row) in rows.into_iter().enumerate() {
            match refused.next_if(|(refused, _)| *refused == at) {
                Some((_, error)) => self.set_aside_again(row, &error, now),
                None => {
                    self.passed(&row, now);
                    passed += 1;
                }
            }
        }
        passed
    }

    /// What has changed since the last call: rows set aside, and ids that came back.
    pub fn take_changes(&mut self) -> (Vec<Report<C>>, Vec<u64>) {
        (std::mem::take(&mut self.added), std::mem::take(&mut self.removed))
    }
}

/// Applies `call` to all of `rows`, and where the server refuses that for good, to each half, down to single rows. Returns
/// the places of the rows that it refuses by themselves, in ascending order; all others went through. `are_known`: the
/// rows have failed by themselves before.
///
/// # Errors
/// An error of another class than [`ErrorClass::Permanent`]; or one that is no row's fault: nothing went through, and
/// what failed is a table, a procedure or a privilege.
pub fn isolate<T>(
    rows: &[T],
    are_known: bool,
    call: &mut dyn FnMut(&[T]) -> Result<(), Error>,
) -> Result<Vec<(usize, Error)>, Error> {
    let mut search = Search { call, has_passed: are_known, refused: Vec::new() };
    search.run(0, rows)?;
    let Search { has_passed, mut refused, .. } = search;
    match is_everyones(has_passed, &refused) {
        true => Err(refused.swap_remove(0).1),
        false => Ok(refused),
    }
}

/// Whether these failures show that something is missing that every row needs.
pub fn is_everyones<R>(has_passed: bool, refused: &[(R, Error)]) -> bool {
    !has_passed && !refused.is_empty() && refused.iter().all(|(_, error)| is_rarely_one_rows(error))
}

/// A missing table, column, procedure, privilege or definer: every row meets it, unless a trigger reaches it for some
/// rows only.
fn is_rarely_one_rows(error: &Error) -> bool {
    const NEEDED_BY_ALL: [u16; 5] =
        [ER_BAD_FIELD_ERROR, ER_PARSE_ERROR, ER_SYNTAX_ERROR, ER_SP_DOES_NOT_EXIST, ER_NO_SUCH_USER];
    error.is_missing_table() || error.is_denied() || error.code().is_some_and(|code| NEEDED_BY_ALL.contains(&code))
}

struct Search<'a, T> {
    call: &'a mut dyn FnMut(&[T]) -> Result<(), Error>,
    has_passed: bool,
    refused: Vec<(usize, Error)>,
}

impl<T> Search<'_, T> {
    /// `at`: where `rows` begin among all rows.
    fn run(&mut self, at: usize, rows: &[T]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        match (self.call)(rows) {
            Ok(()) => self.has_passed = true,
            Err(error) if error.class() != ErrorClass::Permanent => return Err(error),
            Err(error) if rows.len() == 1 => {
                self.refused.push((at, error));
                if self.refused.len() >= SUSPECTS && is_everyones(self.has_passed, &self.refused) {
                    return Err(self.refused.swap_remove(0).1);
                }
            }
            Err(_) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.run(at, first)?;
                self.run(at + first.len(), second)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Change {
        Claim,
        Promotion,
    }

    fn error(code: u16) -> Error {
        Error::Server { code, state: "45000".into(), message: "no".into() }
    }

    /// The places that are refused of `rows`, each the error that it causes or 0, and the number of calls.
    fn search(rows: &[u16], are_known: bool) -> (Result<Vec<usize>, Error>, usize) {
        let mut calls = 0;
        let found = isolate(rows, are_known, &mut |rows| {
            calls += 1;
            rows.iter().find(|code| **code != 0).map_or(Ok(()), |code| Err(error(*code)))
        });
        (found.map(|refused| refused.into_iter().map(|(at, _)| at).collect()), calls)
    }

    #[test]
    fn refused_rows_are_found_and_what_every_row_needs_is_no_rows_fault() {
        const SIGNAL: u16 = ER_SIGNAL_EXCEPTION;
        const TABLE: u16 = ER_NO_SUCH_TABLE;
        type Row<'a> = (&'a [u16], bool, Option<&'a [usize]>);
        let table: [Row<'_>; 10] = [
            (&[], false, Some(&[])),
            (&[0, 0, 0], false, Some(&[])),
            (&[0, SIGNAL, 0, 0, SIGNAL], false, Some(&[1, 4])),
            (&[SIGNAL], false, Some(&[0])),
            (&[SIGNAL; 20], false, Some(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19])),
            (&[TABLE], false, None),
            (&[TABLE], true, Some(&[0])),
            (&[TABLE, TABLE, 0], false, Some(&[0, 1])),
            (&[TABLE; 500], false, None),
            (&[0, 0, ER_LOCK_DEADLOCK], false, None),
        ];
        for (rows, are_known, expected) in table {
            let (found, calls) = search(rows, are_known);
            assert_eq!(found.as_deref().ok(), expected, "{rows:?}");
            assert!(expected.is_some() || calls < 30, "{calls} calls for {rows:?}");
        }
    }

    proptest! {
        #[test]
        fn isolation_finds_exactly_the_bad_rows(bad in proptest::collection::btree_set(0usize..512, 0..9)) {
            let rows: Vec<u16> = (0..512).map(|at| if bad.contains(&at) { ER_SIGNAL_EXCEPTION } else { 0 }).collect();
            let (found, calls) = search(&rows, false);
            prop_assert_eq!(found.unwrap(), bad.iter().copied().collect::<Vec<_>>());
            prop_assert!(calls <= 1 + 18 * bad.len(), "{} calls for {} rows", calls, bad.len());
        }
    }

    #[test]
    fn pauses_grow_and_end_when_another_row_with_the_same_error_succeeds() {
        let (mut quarantine, start) = (Quarantine::new(), Instant::now());
        for id in [1, 2] {
            assert!(quarantine.set_aside(id, Change::Claim, (), &error(1644), start));
        }
        assert!(quarantine.set_aside(3, Change::Claim, (), &error(4025), start));
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let due = quarantine.retry_at().unwrap();
            now = now.max(due);
            for row in quarantine.take_due(Change::Claim, 10, now) {
                quarantine.set_aside_again(row, &error(1644), now);
            }
            pauses.push(quarantine.take_changes().0.last().unwrap().pause);
        }
        assert!(pauses[0] < Duration::from_secs(4) && *pauses.last().unwrap() > Duration::from_secs(8), "{pauses:?}");
        assert!(quarantine.take_due(Change::Promotion, 10, now + Duration::from_secs(999)).is_empty());
        let one = quarantine.take_due(Change::Claim, 1, now + Duration::from_secs(301)).remove(0);
        quarantine.passed(&one, now);
        assert_eq!(quarantine.retry_at(), Some(now));
        assert_eq!(quarantine.take_changes().1, [one.id]);
    }

    #[test]
    fn number_of_rows_is_bounded() {
        let (mut quarantine, now) = (Quarantine::new(), Instant::now());
        let kept = (0..2_000).filter(|id| quarantine.set_aside(*id, Change::Claim, (), &error(1644), now)).count();
        assert_eq!((kept, quarantine.ids().len()), (LIMIT, LIMIT));
        assert!(quarantine.set_aside(1, Change::Claim, (), &error(1644), now), "it has its place");
    }
}
