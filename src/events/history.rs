//! The event log as operators read it: from a number on, by state, or all of one job. Every query reads a bounded number of
//! rows: the log has no index but its numbers.

use mysql::{Conn, Row};

use super::{event::Event, store, times::numbered_since, updates::LogHead};
use crate::{
    db::{Error, id_list, limited, literal},
    wire::Pattern,
};

/// Rows of the log that one query reads.
const WINDOW: u64 = 20_000;
/// Payload bytes after which a page ends.
const PAGE_BYTES: u64 = 1 << 20;
/// Events of one job that are shown.
const OF_JOB: usize = 200;

/// Part of the log.
#[derive(Debug)]
pub struct Section {
    /// In the order of their numbers.
    pub events: Vec<Event<'static>>,
    /// The next section begins after this number.
    pub next: u64,
    /// Where the log begins and ends.
    pub head: LogHead,
}

/// Events that match, in their order: up to `limit` after `since`, or without it the newest. There may be fewer, even none,
/// before the end of the log.
///
/// # Errors
/// The server's, which stops a read after 5 seconds.
pub fn section(
    conn: &mut Conn,
    since: Option<u64>,
    pattern: Option<Pattern<'_>>,
    limit: u32,
) -> Result<Section, Error> {
    let head = store::head_soon(conn)?;
    let matches = store::matching(pattern);
    let (from, to, order) = match since {
        Some(since) => (since, head.head_seq.min(since.saturating_add(WINDOW)), "ASC"),
        None => (head.head_seq.saturating_sub(WINDOW), head.head_seq, "DESC"),
    };
    let mut sizes: Vec<(u64, u64)> = limited::read(
        conn,
        &format!(
            "SELECT seq, COALESCE(bytes, 0) FROM res_event WHERE seq > {from} AND seq <= {to} AND {matches} \
             ORDER BY seq {order} LIMIT {limit}"
        ),
    )?;
    let is_cut = cut(&mut sizes) || sizes.len() == limit as usize;
    let next = match (since, sizes.last()) {
        (Some(_), Some((last, _))) if is_cut => *last,
        (Some(since), _) => to.max(since),
        (None, _) => head.head_seq,
    };
    let seqs: Vec<u64> = sizes.into_iter().map(|(seq, _)| seq).collect();
    Ok(Section { events: read(conn, &seqs)?, next, head })
}

/// Keeps the first rows, up to a page's bytes and at least one. True: some were left out.
fn cut(sizes: &mut Vec<(u64, u64)>) -> bool {
    let mut sum = 0;
    let kept = sizes.iter().take_while(|(_, bytes)| {
        let fits = sum < PAGE_BYTES;
        sum += bytes;
        fits
    });
    let (kept, all) = (kept.count(), sizes.len());
    sizes.truncate(kept);
    kept < all
}

fn read(conn: &mut Conn, seqs: &[u64]) -> Result<Vec<Event<'static>>, Error> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = limited::read(
        conn,
        &format!(
            "SELECT {} FROM res_event e FORCE INDEX (PRIMARY) WHERE e.seq IN ({}) ORDER BY e.seq",
            store::columns(),
            id_list(seqs)
        ),
    )?;
    let events = rows.into_iter().map(store::printed);
    Ok(events.map(|(seq, at, state, payload)| Event::new(seq, at, state, payload)).collect())
}

/// The queue's events of one job, in their order, and whether these are surely all that the log still has: only what was
/// numbered shortly after it was inserted and shortly before it last changed is searched. The times are the row's.
///
/// # Errors
/// As for [`section`].
pub fn of_job(
    conn: &mut Conn,
    id: u64,
    created_at: &str,
    updated_at: &str,
) -> Result<(Vec<Event<'static>>, bool), Error> {
    let head = store::head_soon(conn)?;
    let from = numbered_since(conn, head, &format!("{} - INTERVAL 5 SECOND", literal(created_at)))?;
    let to = numbered_since(conn, head, &format!("{} + INTERVAL 60 SECOND", literal(updated_at)))?;
    let is_complete = to.saturating_sub(from) <= WINDOW;
    let searched = match is_complete {
        true => format!("seq >= {from} AND seq < {to}"),
        false => {
            let half = WINDOW / 2;
            format!("(seq >= {from} AND seq < {} OR seq >= {} AND seq < {to})", from + half, to - half)
        }
    };
    let mut seqs: Vec<u64> = limited::read(
        conn,
        &format!(
            "SELECT seq FROM res_event FORCE INDEX (PRIMARY) WHERE {searched} \
         AND state IN ('New', 'InProgress', 'Completed', 'Error') \
         AND (payload LIKE '%\"res_id\": {id},%' OR payload LIKE '%\"res_id\": {id}}}%') ORDER BY seq DESC LIMIT {}",
            OF_JOB + 1
        ),
    )?;
    let fits = seqs.len() <= OF_JOB;
    seqs.truncate(OF_JOB);
    Ok((read(conn, &seqs)?, is_complete && fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_ends_after_its_bytes_and_has_at_least_one_event() {
        for (sizes, kept) in [
            (&[][..], 0),
            (&[PAGE_BYTES * 2], 1),
            (&[PAGE_BYTES * 2, 1], 1),
            (&[PAGE_BYTES - 1, PAGE_BYTES, 1], 2),
            (&[1, 1, 1], 3),
        ] {
            let mut rows: Vec<(u64, u64)> = sizes.iter().map(|bytes| (7, *bytes)).collect();
            assert_eq!((cut(&mut rows), rows.len()), (kept < sizes.len(), kept), "{sizes:?}");
        }
    }
}
