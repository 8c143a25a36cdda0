//! What must hold when a fault is over: every job finished, exactly once; every client has exactly the committed
//! events, in order; the daemons' logs are short.

use std::collections::{BTreeMap, BTreeSet};

use mysql::{Conn, prelude::Queryable};

use crate::{instance::Instance, program::wait_or_tell};

use super::{
    listener::{Listener, seq},
    trial::PATIENCE,
    workload::{STATE, UNKNOWN},
};

/// Warnings and errors in the log of one fault.
const MOST_LINES: usize = 20;

const OPEN_JOBS: &str = "SELECT CONCAT_WS(' ', res_id, status, attempts, interruptions, run_at, owner, last_error) \
                         FROM res_queue WHERE status IN ('new', 'in_progress')";
const SESSIONS: &str = "SELECT CONCAT_WS(' ', ID, USER, DB, COMMAND, TIME, STATE, LEFT(INFO, 200)) \
                        FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Sleep'";

/// Waits until nothing is new, in progress, unnumbered or untold; `log` is for people, if it never comes to that.
pub fn wait_until_finished(conn: &mut Conn, listeners: &[Listener], log: impl Fn() -> String) {
    let open = "SELECT (SELECT COUNT(*) FROM res_queue WHERE status IN ('new', 'in_progress')), \
                       (SELECT COUNT(*) FROM res_outbox), (SELECT head_seq FROM res_log)";
    wait_or_tell(PATIENCE, "the end", || {
        let (jobs, events, head): (u64, u64, u64) = conn.query_first(open).unwrap().unwrap();
        let told: Vec<u64> = listeners.iter().map(Listener::last_seq).collect();
        let is_finished = jobs == 0 && events == 0 && told.iter().all(|seq| *seq >= head);
        if is_finished {
            return Ok(());
        }
        let open: Vec<String> = conn.query(OPEN_JOBS).unwrap();
        let sessions: Vec<String> = conn.query(SESSIONS).unwrap();
        Err(format!(
            "{jobs} jobs, {events} events unnumbered, {told:?} of {head} told\n{}\n{}\n{}",
            open.join("\n"),
            sessions.join("\n"),
            log()
        ))
    });
}

/// Every job has the end that it must have, by one counted attempt, and the databases are those of the jobs. An error
/// that `counted` describes has cost an attempt.
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

    let made: BTreeSet<String> =
        conn.query("SELECT db_name FROM res_queue WHERE status = 'done'").unwrap().into_iter().collect();
    let there = format!("SHOW DATABASES LIKE '{}%'", instance.db_prefix.replace('_', "\\_"));
    let there: BTreeSet<String> = conn.query(there).unwrap().into_iter().collect();
    assert_eq!(there, made, "the databases on the server are those of the jobs that are done");
    let ready: BTreeSet<String> =
        conn.query("SELECT db_name FROM res_database WHERE state = 'ready'").unwrap().into_iter().collect();
    assert_eq!(ready, made, "and so is the registry");
    for db_name in made {
        let built: Option<u64> = conn.query_first(format!("SELECT COUNT(*) FROM `{db_name}`.built")).unwrap();
        assert_eq!(built, Some(1), "{db_name} was built by one attempt alone");
    }
}

/// The client has each number once and in order; of the writers' events exactly those that were committed; of each
/// job one end, and as many returns as claims.
pub fn events(conn: &mut Conn, listener: &Listener) {
    let committed: BTreeSet<String> =
        conn.query("SELECT token FROM truth WHERE NOT is_job").unwrap().into_iter().collect();
    let mut heard = BTreeSet::new();
    let mut jobs: BTreeMap<u64, BTreeMap<String, usize>> = BTreeMap::new();
    for (event, number) in listener.events().iter().zip(1..) {
        assert_eq!(seq(event), number, "a number is missing or comes twice: {event}");
        let (state, payload) = (event["state"].as_str().unwrap(), &event["payload"]);
        if state.starts_with(STATE) {
            let token = payload["token"].as_str().unwrap();
            assert!(committed.contains(token), "it was not committed: {event}");
            assert!(heard.insert(token.to_string()), "it comes twice: {event}");
        } else {
            *jobs.entry(payload["res_id"].as_u64().unwrap()).or_default().entry(state.into()).or_default() += 1;
        }
    }
    assert_eq!(heard.len(), committed.len(), "committed events that the client does not have");
    let ended: Vec<(u64, String)> =
        conn.query("SELECT res_id, IF(status = 'done', 'Completed', 'Error') FROM res_queue").unwrap();
    assert_eq!(jobs.len(), ended.len(), "jobs that the client knows of");
    for (res_id, end) in ended {
        let states = &jobs[&res_id];
        let count = |state: &str| states.get(state).copied().unwrap_or_default();
        assert_eq!(count(&end), 1, "job {res_id} ends once: {states:?}");
        assert_eq!(count("Completed") + count("Error"), 1, "and in one way: {states:?}");
        assert_eq!(count("New"), count("InProgress"), "each time of being new ends in one claim: {states:?}");
    }
}

/// Whether `log` has one of the texts in it that `|` parts. Of an error that comes often only events tell.
pub fn says(log: &str, texts: &str) -> bool {
    texts.split('|').any(|text| log.contains(text))
}

/// No panic, few lines, and one of them says `told`.
pub fn log(log: &str, told: &str) {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("[WARN") || line.contains("[ERROR")).collect();
    assert!(!log.contains("panicked") && !log.contains("has died"), "a thread panicked:\n{log}");
    assert!(lines.len() <= MOST_LINES, "{} warnings:\n{}", lines.len(), lines.join("\n"));
    assert!(says(log, told), "nothing says {told:?}:\n{log}");
    println!("{}", lines.join("\n"));
}
