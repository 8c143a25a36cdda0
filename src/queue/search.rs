//! Finding jobs, page by page. Each page reads a bounded number of rows, whatever it looks for and however many jobs there
//! are, and it needs no index beside those of the claim: each further index would make every change of a job slower.

use mysql::Conn;

use super::{
    admin::{COLUMNS, Queue, Row, row},
    audit::Entry,
    filter::{Filter, job_of_database},
    job::Status,
};
use crate::db::{Capped, Error, id_list, limited};

/// Rows of a status that are looked at one by one. If there are more, the table is read instead.
const FEW: u64 = 10_000;
/// Rows of the table that one page reads.
const WINDOW: u64 = 10_000;
/// The greatest number of rows on a page.
pub const LARGEST_PAGE: u32 = 1_000;

/// Part of a list, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// Up to as many as were asked for. There may be fewer, even none, before the end of the list.
    pub items: Vec<T>,
    /// The list goes on after this id; None: this is its end.
    pub next: Option<u64>,
}

impl<T> Page<T> {
    /// Of rows that were read with a limit of `limit` + 1. `read_to`: where the rows end that were searched, if not at the
    /// end of the list.
    fn of(mut items: Vec<T>, limit: u32, id: impl Fn(&T) -> u64, read_to: Option<u64>) -> Page<T> {
        let next = if items.len() > limit as usize {
            items.truncate(limit as usize);
            items.last().map(id)
        } else {
            read_to
        };
        Page { items, next }
    }
}

impl Queue {
    /// The jobs that match, newest first: up to `limit` (at most 1,000) of those with ids below `after`.
    ///
    /// # Errors
    /// Those of the database, which stops a read after 5 seconds.
    pub fn find(&mut self, filter: &Filter, after: Option<u64>, limit: u32) -> Result<Page<Row>, Error> {
        let limit = limit.clamp(1, LARGEST_PAGE);
        self.link.run(|conn| find(conn, filter, after, limit))
    }

    /// The newest actions: up to `limit` (at most 1,000) of those with ids below `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn audit(&mut self, after: Option<u64>, limit: u32) -> Result<Page<Entry>, Error> {
        let limit = limit.clamp(1, LARGEST_PAGE);
        let entries = self.link.run(|conn| super::audit::newest(conn, after, limit + 1))?;
        Ok(Page::of(entries, limit, |entry| entry.id, None))
    }
}

fn find(conn: &mut Conn, filter: &Filter, after: Option<u64>, limit: u32) -> Result<Page<Row>, Error> {
    let id = |row: &Row| row.id;
    let nothing = || Ok(Page { items: Vec::new(), next: None });
    if filter.is_empty() {
        return Ok(Page::of(read(conn, &in_window(filter, 0, after, limit))?, limit, id, None));
    }
    if let Some(database) = &filter.database {
        let Some(job) = job_of_database(conn, database)? else { return nothing() };
        let sql = format!("SELECT {COLUMNS} FROM res_queue WHERE res_id = {job} AND {}", matching(filter, after));
        return Ok(Page::of(read(conn, &sql)?, limit, id, None));
    }
    if let Some(status) = filter.status
        && !Capped::new(limited::read_first(conn, &of_status(status))?.unwrap_or_default(), FEW).is_more
    {
        let ids: Vec<u64> = limited::read(conn, &ids_of_status(status, filter, after, limit))?;
        if ids.is_empty() {
            return nothing();
        }
        let of_these = format!("WHERE res_id IN ({}) ORDER BY res_id DESC", id_list(&ids));
        let rows = read(conn, &format!("SELECT {COLUMNS} FROM res_queue FORCE INDEX (PRIMARY) {of_these}"))?;
        return Ok(Page::of(rows, limit, id, None));
    }
    let window: Option<(Option<u64>, u64)> = limited::read_first(conn, &window(after))?;
    let Some((Some(low), read_rows)) = window else { return nothing() };
    let rows = read(conn, &in_window(filter, low, after, limit))?;
    Ok(Page::of(rows, limit, id, (read_rows == WINDOW).then_some(low)))
}

fn read(conn: &mut Conn, sql: &str) -> Result<Vec<Row>, Error> {
    Ok(limited::read(conn, sql)?.into_iter().map(row).collect())
}

/// A condition on the rows of a page. An older table's signed id may be below 1, which is no id here.
fn matching(filter: &Filter, after: Option<u64>) -> String {
    let status = filter.status.map_or_else(String::new, |status| format!("AND status = '{}'", status.as_str()));
    let after = after.map_or_else(String::new, |after| format!("AND res_id < {after}"));
    format!("res_id > 0 AND {} {status} {after}", filter.condition())
}

/// Counts the rows of a status, to one more than a few.
#[doc(hidden)]
pub fn of_status(status: Status) -> String {
    format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM res_queue FORCE INDEX (res_queue_claim) WHERE status = '{}' LIMIT {}) z",
        status.as_str(),
        FEW + 1
    )
}

/// The ids of a page, of a status that few rows have: sorted by what the index holds.
#[doc(hidden)]
pub fn ids_of_status(status: Status, filter: &Filter, after: Option<u64>, limit: u32) -> String {
    let filter = Filter { status: Some(status), ..filter.clone() };
    format!(
        "SELECT res_id FROM res_queue FORCE INDEX (res_queue_claim) WHERE {} ORDER BY res_id DESC LIMIT {}",
        matching(&filter, after),
        limit + 1
    )
}

/// The least id of the rows that a page reads, and how many these are.
#[doc(hidden)]
pub fn window(after: Option<u64>) -> String {
    let all = matching(&Filter::default(), after);
    format!(
        "SELECT MIN(res_id), COUNT(*) FROM (SELECT res_id FROM res_queue FORCE INDEX (PRIMARY) \
         WHERE {all} ORDER BY res_id DESC LIMIT {WINDOW}) w"
    )
}

/// The rows of a page, from the id `low` on.
#[doc(hidden)]
pub fn in_window(filter: &Filter, low: u64, after: Option<u64>, limit: u32) -> String {
    format!(
        "SELECT {COLUMNS} FROM res_queue FORCE INDEX (PRIMARY) WHERE res_id >= {low} AND {} \
         ORDER BY res_id DESC LIMIT {}",
        matching(filter, after),
        limit + 1
    )
}

/// How many rows of the queue there are, up to `limit`; `tail` follows the table's name.
pub(crate) fn count(conn: &mut Conn, tail: &str, limit: u64) -> Result<Capped, Error> {
    let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM res_queue {tail} LIMIT {}) z", limit + 1);
    Ok(Capped::new(limited::read_first(conn, &sql)?.unwrap_or_default(), limit))
}
