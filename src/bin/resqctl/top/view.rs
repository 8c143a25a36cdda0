//! What `resqctl top` shows: the state of the queue, and rates since it was read before.

use std::{collections::HashMap, time::Instant};

use mysql::Conn;
use resq::{
    db::{Db, Error, ServerInfo, limited},
    events::store,
    queue::{
        Queue,
        admin::Running,
        overview::{self, Daemon, Overview},
    },
};

/// Events counted per interval; more of them count as so many.
const COUNTED: u32 = 100_000;

/// What is shown.
pub struct View {
    /// The node that answered.
    pub server: ServerInfo,
    /// Depth and age.
    pub overview: Overview,
    /// Those that serve the queue.
    pub daemons: Vec<Daemon>,
    /// Jobs in progress, at most 1,000.
    pub running: Vec<Running>,
    /// The last number given to an event.
    pub head_seq: u64,
    /// Per second, since the view before; None in the first one.
    pub rates: Option<Rates>,
}

/// Per second.
pub struct Rates {
    /// Jobs that ended with success.
    pub done: f64,
    /// Jobs that ended in error.
    pub failed: f64,
    /// Durable events.
    pub events: f64,
}

/// Where the log ended at the last view.
pub struct Mark {
    at: Instant,
    head_seq: u64,
}

/// Reads the queue; `mark` is where the log ended before, and becomes where it ends now.
///
/// # Errors
/// The server's.
pub fn read(db: &Db, mark: &mut Option<Mark>) -> Result<View, Error> {
    let mut conn = db.global()?;
    let server = ServerInfo::query(&mut conn)?;
    let overview = overview::overview(&mut conn)?;
    let daemons = overview::daemons(&mut conn)?;
    let head_seq = store::head(&mut conn)?.head_seq;
    let now = Instant::now();
    let before = mark.replace(Mark { at: now, head_seq });
    let rates = before.map(|before| rates(&mut conn, &before, now)).transpose()?;
    drop(conn);
    let running = Queue::on(db).running()?;
    Ok(View { server, overview, daemons, running, head_seq, rates })
}

/// From the events that were numbered since `before`.
fn rates(conn: &mut Conn, before: &Mark, now: Instant) -> Result<Rates, Error> {
    let rows: Vec<(String, u64)> = limited::read(
        conn,
        &format!(
            "SELECT state, COUNT(*) FROM (SELECT state FROM res_event WHERE seq > {} ORDER BY seq LIMIT {COUNTED}) z \
             GROUP BY state",
            before.head_seq
        ),
    )?;
    let counts: HashMap<String, u64> = rows.into_iter().collect();
    let seconds = now.duration_since(before.at).as_secs_f64().max(0.001);
    let rate = |count: u64| count as f64 / seconds;
    let of = |state: &str| rate(counts.get(state).copied().unwrap_or(0));
    Ok(Rates { done: of("Completed"), failed: of("Error"), events: rate(counts.values().sum()) })
}
