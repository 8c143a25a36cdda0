//! What must hold when a fault is over: every job has ended, exactly once; every client has exactly the committed events,
//! in order; the daemons' logs are short.

use std::collections::BTreeSet;

use mysql::{Conn, Row, prelude::Queryable};
use resq_test_support::{EventOracle, Instance, RecordingClient, assert_databases_are_exact, wait_or_report, warnings};

use super::{scenario::PATIENCE, workload::UNKNOWN};

/// Warnings and errors in the logs of one fault.
const MOST_LINES: usize = 20;

const OPEN_JOBS: &str = "SELECT CONCAT_WS(' ', res_id, status, attempts, interruptions, run_at, owner, last_error) \
                         FROM res_queue WHERE status IN ('new', 'in_progress')";

/// How the daemons' logs must show a fault.
#[derive(Clone, Copy, Debug)]
pub enum Trace {
    /// It may pass unnoticed.
    Any,
    /// By at least one warning or error that is not about a job of the unknown type.
    Warning,
    /// By a warning or error with this text, which the server or the system has written: an error number, a cause.
    Cause(&'static str),
}

impl Trace {
    pub fn is_in(self, log: &str) -> bool {
        // Jobs of the unknown type fail by design, and their lines name it.
        let by_design = format!("{UNKNOWN:?}");
        let mut lines = warnings(log).into_iter().filter(|line| !line.contains(&by_design));
        match self {
            Trace::Any => true,
            Trace::Warning => lines.next().is_some(),
            Trace::Cause(text) => lines.any(|line| line.contains(text)),
        }
    }
}

/// Waits until no job is new or in progress and every event is numbered and delivered; `log` is for the panic's message.
pub fn wait_until_finished(conn: &mut Conn, clients: &[RecordingClient], log: impl Fn() -> String) {
    let open = "SELECT (SELECT COUNT(*) FROM res_queue WHERE status IN ('new', 'in_progress')), \
                       (SELECT COUNT(*) FROM res_outbox), (SELECT head_seq FROM res_log)";
    wait_or_report(PATIENCE, "every job and event to be finished", || {
        let (jobs, events, head): (u64, u64, u64) = conn.query_first(open).unwrap().unwrap();
        let delivered: Vec<u64> = clients.iter().map(RecordingClient::last_seq).collect();
        if jobs == 0 && events == 0 && delivered.iter().all(|seq| *seq >= head) {
            return Ok(());
        }
        let open: Vec<String> = conn.query(OPEN_JOBS).unwrap();
        let sessions = sessions(conn);
        Err(format!(
            "{jobs} jobs open, {events} events unnumbered, {delivered:?} of {head} delivered\n{}\n{}\n{}",
            open.join("\n"),
            sessions.join("\n"),
            log()
        ))
    });
}

/// What the server's sessions do. MySQL's information_schema fails where the text of a statement cannot be converted.
fn sessions(conn: &mut Conn) -> Vec<String> {
    let rows: Vec<Row> = conn.query("SHOW FULL PROCESSLIST").unwrap();
    let text = |row: Row| row.unwrap().iter().map(|value| value.as_sql(false)).collect::<Vec<_>>().join(" ");
    rows.into_iter().map(text).filter(|session| !session.contains("'Sleep'")).collect()
}

/// Every committed job is there and has the end that it must have, by one counted attempt, and the databases are those of
/// the jobs. An error that `counted`, a regular expression, describes has cost an attempt.
pub fn jobs(instance: &Instance, conn: &mut Conn, counted: Option<&str>) {
    let wrong: Vec<(u64, String, u32, String)> = conn
        .exec(
            format!(
                "SELECT res_id, status, attempts, COALESCE((SELECT GROUP_CONCAT(message SEPARATOR ' | ') FROM res_error e \
                 WHERE e.res_id = q.res_id), '') FROM res_queue q \
                 WHERE status <> IF(res_type = '{UNKNOWN}', 'error', 'done') OR attempts <> 1 + \
                 (SELECT COUNT(*) FROM res_error e WHERE e.res_id = q.res_id AND message REGEXP ?)"
            ),
            (counted,),
        )
        .unwrap();
    assert!(wrong.is_empty(), "jobs that did not end as they must: {wrong:?}");
    let missing =
        "SELECT token FROM truth WHERE is_job AND NOT EXISTS (SELECT 1 FROM res_queue WHERE res_name = token)";
    let missing: Vec<String> = conn.query(missing).unwrap();
    assert!(missing.is_empty(), "jobs that are lost: {missing:?}");
    assert_databases_are_exact(instance, conn);
}

/// The client has exactly the committed events, and of each job those that its row implies.
pub fn events(conn: &mut Conn, client: &RecordingClient) {
    let committed: BTreeSet<String> =
        conn.query("SELECT token FROM truth WHERE NOT is_job").unwrap().into_iter().collect();
    let mut oracle = EventOracle::new(committed);
    client.for_each(|event| oracle.observe(event));
    oracle.finish(conn);
}

/// Few lines, and the trace that the fault must leave.
pub fn log(log: &str, trace: Trace) {
    let lines = warnings(log);
    assert!(lines.len() <= MOST_LINES, "{} warnings:\n{}", lines.len(), lines.join("\n"));
    assert!(trace.is_in(log), "no trace {trace:?} in the log:\n{log}");
    println!("{}", lines.join("\n"));
}
