//! The event log's SQL: numbering committed events and reading pages. Expects the global database as the current
//! one. The only place where stored events are checked against what a frame can carry.

use mysql::{Conn, Row, prelude::Queryable};

use crate::{
    db::{Error, ReadRows, except, limited, literal},
    events::{event::Event, trace::Unreadable, updates::LogHead},
    wire::{MAX_PAYLOAD, Pattern, State},
};

/// Payload bytes that fill a page. It ends with the event that exceeds them, so that an event of any size fits. As
/// much as one subscriber's send queue takes.
const PAGE_BYTES: usize = 1 << 20;

/// When the event `e` was written, in µs since 1970.
pub(super) const WRITTEN_US: &str = "CAST(UNIX_TIMESTAMP(e.at) * 1000000 AS UNSIGNED)";
/// The state of an event that cannot be delivered.
const UNREADABLE: &str = "resq.unreadable";

/// An event `e` as it is read: number, time, state, payload. One that no frame can carry may be larger than any answer, too.
pub(super) fn columns() -> String {
    columns_unless("FALSE")
}

/// The same, without the payload where `condition` is true.
fn columns_unless(condition: &str) -> String {
    format!("e.seq, {WRITTEN_US}, e.state, IF({condition} OR LENGTH(e.payload) > {MAX_PAYLOAD}, NULL, e.payload)")
}

/// Gives the log a new identity: it was restored, emptied or replaced, so its numbers mean other events than before. With
/// `unless_reached`, only if its head lies before that number. False: it has another identity than `log_id` already, or
/// reaches that number after all.
///
/// # Errors
/// The server's.
pub fn renew_log_id(conn: &mut Conn, log_id: u64, unless_reached: Option<u64>) -> Result<bool, Error> {
    let behind = unless_reached.map_or_else(String::new, |seq| format!(" AND head_seq < {seq}"));
    conn.query_drop(format!("UPDATE res_log SET log_id = {NEW_LOG_ID} WHERE id = 1 AND log_id = {log_id}{behind}"))?;
    Ok(conn.affected_rows() == 1)
}

/// Which server this is, and when the table of the log's head was created on it.
const MADE: &str = "SELECT CONCAT(LEFT(@@hostname, 100), ':', @@port, ':', LEFT(@@datadir, 100)) AS server, \
                    UNIX_TIMESTAMP(CREATE_TIME) AS at FROM information_schema.TABLES \
                    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'res_log'";

/// Whether the log's tables were created anew on this server since [`record_made`]: by restoring a dump.
///
/// # Errors
/// The server's; an older installation lacks the columns.
pub fn is_restored(conn: &mut Conn) -> Result<bool, Error> {
    let differs = format!(
        "SELECT COALESCE(made_on = CONVERT(m.server USING utf8mb4) COLLATE utf8mb4_bin AND made_at <> m.at, FALSE) \
         FROM res_log JOIN ({MADE}) m WHERE id = 1"
    );
    Ok(conn.read_first(differs)?.unwrap_or(false))
}

/// Records where and when the log's tables were created, for [`is_restored`].
///
/// # Errors
/// The server's.
pub fn record_made(conn: &mut Conn) -> Result<(), Error> {
    let made: Option<(String, Option<i64>)> = conn.read_first(MADE)?;
    let Some((server, at)) = made else { return Ok(()) };
    let (server, at) = (literal(&server), at.map_or("NULL".into(), |at| at.to_string()));
    Ok(conn.query_drop(format!(
        "UPDATE res_log SET made_on = {server}, made_at = {at} \
         WHERE id = 1 AND NOT (made_on <=> {server} AND made_at <=> {at})"
    ))?)
}

/// As in `init_tables/040_events.sql`.
const NEW_LOG_ID: &str = "CONV(LEFT(SHA2(CONCAT(UUID(), RAND(), NOW(6)), 256), 16), 16, 10)";

/// Whether the log was last numbered more than an hour ago: no daemon may have served it since.
///
/// # Errors
/// The server's.
pub fn stood_still(conn: &mut Conn) -> Result<bool, Error> {
    let old = "SELECT COALESCE(moved_at < NOW(6) - INTERVAL 1 HOUR, FALSE) FROM res_log WHERE id = 1";
    Ok(conn.read_first(old)?.unwrap_or(false))
}

/// Where the log begins and ends.
///
/// # Errors
/// The server's; [`Error::Corrupt`] if the log has no head.
pub fn head(conn: &mut Conn) -> Result<LogHead, Error> {
    log_head(conn.read_first(HEAD)?)
}

/// The same for operators, who wait no longer than the limit on reads.
///
/// # Errors
/// As for [`head`]; it took too long.
pub fn head_soon(conn: &mut Conn) -> Result<LogHead, Error> {
    log_head(limited::read_first(conn, HEAD)?)
}

const HEAD: &str = "SELECT log_id, first_seq, head_seq FROM res_log WHERE id = 1";

fn log_head(row: Option<(u64, u64, u64)>) -> Result<LogHead, Error> {
    let (log_id, first_seq, head_seq) = row.ok_or(Error::Corrupt("res_log has no row"))?;
    Ok(LogHead { log_id, first_seq, head_seq })
}

/// What a poll of the log returned.
pub struct Polled {
    /// The greatest outbox id that was numbered; None: there was nothing to number.
    pub numbered_up_to: Option<u64>,
    /// When the event `after_seq` was written, in µs since 1970; None: the log has no such event (any more).
    pub after_at: Option<u64>,
    /// Identifies the log; see [`LogHead`]. None: the log has no head, and nothing is known of what was numbered.
    pub log_id: Option<u64>,
    /// The next page of the log, whichever daemon numbered it.
    pub events: Vec<Event<'static>>,
}

/// Numbers up to `limit` committed events whose outbox id is above `floor`, then reads the page after `after_seq`. One
/// round trip: the procedure commits by itself.
///
/// # Errors
/// The server's.
pub fn poll(
    conn: &mut Conn,
    floor: u64,
    after_seq: u64,
    limit: usize,
    unreadable: &mut Unreadable,
) -> Result<Polled, Error> {
    let page = page(after_seq, limit);
    let mut results = conn.query_iter(format!(
        "CALL res_number({floor}, {limit}, @res_last); SELECT @res_last, log_id FROM res_log WHERE id = 1; {page}"
    ))?;
    let mut polled = Polled { numbered_up_to: None, after_at: None, log_id: None, events: Vec::new() };
    while let Some(rows) = results.iter() {
        for row in rows {
            let mut row = row?;
            match row.len() {
                2 => {
                    polled.numbered_up_to = number(&mut row, 0);
                    polled.log_id = number(&mut row, 1);
                }
                _ => match stored(row) {
                    (seq, at, ..) if seq == after_seq => polled.after_at = Some(at),
                    row => polled.events.push(event(row, unreadable)),
                },
            }
        }
    }
    polled.events.truncate(limit);
    Ok(polled)
}

/// The first events after `after_seq`, in order: at most `limit`, and about 1 MiB of payload.
///
/// # Errors
/// The server's.
pub fn read(
    conn: &mut Conn,
    after_seq: u64,
    limit: usize,
    unreadable: &mut Unreadable,
) -> Result<Vec<Event<'static>>, Error> {
    let rows: Vec<Row> = conn.read_rows(page(after_seq, limit))?;
    let after = rows.into_iter().map(stored).filter(|row| row.0 != after_seq);
    Ok(after.take(limit).map(|row| event(row, unreadable)).collect())
}

/// The event `after_seq` itself, without its payload, and those after it: reading its time here costs a poll, which is
/// part of every delivery, no table more.
fn page(after_seq: u64, limit: usize) -> String {
    let rows = limit + 1;
    // The sizes are summed before any payload is read.
    format!(
        "SELECT {} \
         FROM (SELECT seq, SUM(bytes) OVER (ORDER BY seq) - bytes AS before_it FROM \
               (SELECT seq, IF(seq = {after_seq}, 0, COALESCE(bytes, 0)) AS bytes FROM res_event \
                WHERE seq >= {after_seq} ORDER BY seq LIMIT {rows}) page) z \
         STRAIGHT_JOIN res_event e ON e.seq = z.seq WHERE z.before_it < {PAGE_BYTES} ORDER BY e.seq",
        columns_unless(&format!("e.seq = {after_seq}"))
    )
}

/// The least id in the outbox, committed or not, but for `excluded` ones. Once all committed events are numbered, it
/// belongs to a transaction of this node that wrote events and is still open.
///
/// # Errors
/// The server's.
pub fn oldest_unmoved(conn: &mut Conn, excluded: &[u64]) -> Result<Option<u64>, Error> {
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")?;
    let except = except("id", excluded);
    Ok(conn.read_first(format!("SELECT MIN(id) FROM res_outbox WHERE TRUE {except}"))?.flatten())
}

/// Whether a page of at most `limit` events was ended by a limit, so that more may follow.
pub fn is_full(page: &[Event<'static>], limit: usize) -> bool {
    // A substitute is smaller than what it stands for.
    let has_substitute = page.iter().any(|event| event.state == UNREADABLE);
    page.len() == limit || has_substitute || page.iter().map(|event| event.bytes()).sum::<usize>() >= PAGE_BYTES
}

fn event((seq, at, state, payload): Columns, unreadable: &mut Unreadable) -> Event<'static> {
    // A client that writes to the outbox without `publish` may write what no frame can carry, and another hand may change
    // the columns. The number stays taken, so a substitute is delivered instead of stopping the log.
    let why = match (&state, &payload) {
        (Some(state), Some(_)) => State::new(state).err().map(|error| error.to_string()),
        (None, _) => Some("its state is not UTF-8".into()),
        (_, None) => Some(format!("its payload is NULL or has over {MAX_PAYLOAD} bytes")),
    };
    let (state, payload) = (state.unwrap_or_default(), payload.unwrap_or_default());
    match why {
        None => Event::new(seq, at, state, payload),
        Some(why) => {
            unreadable.log(seq, &why, &state);
            Event::new(seq, at, UNREADABLE, &b"null"[..])
        }
    }
}

/// An event as it is stored, for operators, from [`columns`].
pub(super) fn printed(row: Row) -> Stored {
    let (seq, at, state, payload) = stored(row);
    (seq, at, state.unwrap_or_default(), payload.unwrap_or_else(|| b"null".to_vec()))
}

/// A column of a row; None: it is NULL, or no number of this size.
fn number(row: &mut Row, column: usize) -> Option<u64> {
    row.take_opt::<Option<u64>, _>(column).and_then(Result::ok).flatten()
}

/// The values of [`columns`]. None: a state that is NULL or not UTF-8, a payload that is NULL.
type Columns = (u64, u64, Option<String>, Option<Vec<u8>>);

fn stored(mut row: Row) -> Columns {
    let (seq, at) = (number(&mut row, 0).unwrap_or_default(), number(&mut row, 1).unwrap_or_default());
    let mut bytes = |column| row.take_opt::<Option<Vec<u8>>, _>(column).and_then(Result::ok).flatten();
    let (state, payload) = (bytes(2), bytes(3));
    (seq, at, state.and_then(|state| String::from_utf8(state).ok()), payload)
}

/// An event as it is stored: number, microseconds since 1970, state (empty: it is not UTF-8), payload (`null`: it has none,
/// or one that is too large to be delivered).
pub type Stored = (u64, u64, String, Vec<u8>);

/// Passes events to `take` in their order, as they arrive from the server, until it returns false: the first `limit`
/// after `since` that match, or the newest `limit` if `since` is None.
///
/// # Errors
/// The server's.
pub fn each(
    conn: &mut Conn,
    since: Option<u64>,
    pattern: Option<Pattern<'_>>,
    limit: u32,
    mut take: impl FnMut(Stored) -> bool,
) -> Result<(), Error> {
    let wanted = matching(pattern);
    let chosen = match since {
        Some(since) => format!("seq > {since} AND {wanted} ORDER BY seq"),
        None => format!("{wanted} ORDER BY seq DESC"),
    };
    let mut rows = conn.query_iter(format!(
        "SELECT {} \
         FROM (SELECT seq FROM res_event WHERE {chosen} LIMIT {limit}) z \
         STRAIGHT_JOIN res_event e ON e.seq = z.seq ORDER BY z.seq",
        columns()
    ))?;
    for row in rows.by_ref() {
        if !take(printed(row?)) {
            break;
        }
    }
    Ok(())
}

/// A condition on the states of events.
pub(super) fn matching(pattern: Option<Pattern<'_>>) -> String {
    // A state has no character that means anything in a literal.
    match pattern {
        Some(Pattern::Exact(state)) => format!("state = '{state}'"),
        Some(Pattern::Prefix(prefix)) => format!("LEFT(state, {}) = '{prefix}'", prefix.len()),
        None => "TRUE".into(),
    }
}

/// Writes a durable event; part of the caller's transaction. `payload` is JSON of at most 1,000,000 bytes.
///
/// # Errors
/// The server's.
pub fn write(conn: &mut Conn, state: &str, payload: &str) -> Result<(), Error> {
    let (state, payload) = (literal(state), literal(payload));
    Ok(conn.query_drop(format!("INSERT INTO res_outbox (state, payload) VALUES ({state}, {payload})"))?)
}

/// How many committed events have no number yet.
///
/// # Errors
/// The server's.
pub fn waiting(conn: &mut Conn) -> Result<u64, Error> {
    Ok(conn.read_first("SELECT COUNT(*) FROM res_outbox")?.unwrap_or(0))
}

/// The same, counted up to `limit` and for a limited time.
///
/// # Errors
/// The server's.
pub fn waiting_up_to(conn: &mut Conn, limit: u64) -> Result<u64, Error> {
    let counted = format!("SELECT COUNT(*) FROM (SELECT 1 FROM res_outbox LIMIT {limit}) z");
    Ok(limited::read_first(conn, &counted)?.unwrap_or(0))
}
