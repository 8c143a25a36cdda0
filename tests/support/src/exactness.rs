//! The oracles of exactness: nothing lost, nothing repeated, nothing invented, nothing out of order. `EventOracle` checks
//! what a client received against what was committed, the functions check the queue and the databases that it made.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use mysql::{Conn, prelude::Queryable};
use serde_json::Value as Json;

use crate::{instance::Instance, wait::wait_or_report};

/// Streams of numbers of which each must be 0, 1, 2, …
#[derive(Clone, Debug)]
pub struct InOrder(Vec<u64>);

impl InOrder {
    /// This many streams, of which nothing has arrived yet.
    pub fn new(streams: usize) -> InOrder {
        InOrder(vec![0; streams])
    }

    /// The next number of `stream`; panics if another one was due.
    pub fn observe(&mut self, stream: usize, number: u64) {
        assert_eq!(number, self.0[stream], "a number of stream {stream} is missing, repeated or out of order");
        self.0[stream] += 1;
    }

    /// How many numbers of `stream` have arrived.
    pub fn count(&self, stream: usize) -> u64 {
        self.0[stream]
    }
}

/// Checks all events of one log, in the order in which a client received them. The events of a test's writers have a
/// state that begins with [`OWN`](Self::OWN) and a payload `{"token": …}`; the others are the queue's.
#[derive(Clone, Debug)]
pub struct EventOracle {
    seq: InOrder,
    in_any_order: BTreeSet<String>,
    /// By state.
    in_order: BTreeMap<String, VecDeque<String>>,
    /// How often each state arrived, by res_id.
    jobs: BTreeMap<u64, BTreeMap<String, usize>>,
}

impl EventOracle {
    pub const OWN: &str = "Own";

    /// `committed`: the tokens of the committed events, whose order is not known.
    pub fn new(committed: BTreeSet<String>) -> EventOracle {
        let (in_order, jobs) = (BTreeMap::new(), BTreeMap::new());
        EventOracle { seq: InOrder::new(1), in_any_order: committed, in_order, jobs }
    }

    /// Adds the tokens of the committed events of one writer, the only one with this state, in the order of its commits.
    pub fn with_writer(mut self, state: String, committed: Vec<String>) -> EventOracle {
        self.in_order.insert(state, committed.into());
        self
    }

    /// The next event, as resq-client's JSON.
    pub fn observe(&mut self, event: &Json) {
        self.seq.observe(0, event["seq"].as_u64().expect("a number").wrapping_sub(1));
        let (state, payload) = (event["state"].as_str().expect("a state"), &event["payload"]);
        if state.starts_with(Self::OWN) {
            let token = payload["token"].as_str().expect("a token");
            match self.in_order.get_mut(state) {
                Some(left) => assert_eq!(
                    Some(token),
                    left.pop_front().as_deref(),
                    "an event was invented, is missing or out of order: {event}"
                ),
                None => assert!(self.in_any_order.remove(token), "it was not committed, or arrived twice: {event}"),
            }
        } else {
            let id =
                payload["res_id"].as_u64().unwrap_or_else(|| panic!("neither a writer's event nor a job's: {event}"));
            *self.jobs.entry(id).or_default().entry(state.into()).or_default() += 1;
        }
    }

    /// After the last event: everything committed has arrived, and every row of the queue has ended once, in the state of
    /// the row, with one claim for each time that it was new.
    pub fn finish(self, conn: &mut Conn) {
        assert!(self.in_any_order.is_empty(), "committed events that did not arrive: {:?}", self.in_any_order);
        let missing: Vec<_> = self.in_order.iter().filter(|(_, left)| !left.is_empty()).collect();
        assert!(missing.is_empty(), "committed events that did not arrive: {missing:?}");
        let rows: Vec<(u64, String)> =
            conn.query("SELECT res_id, IF(status = 'done', 'Completed', 'Error') FROM res_queue").expect("the queue");
        assert_eq!(self.jobs.len(), rows.len(), "jobs with events and jobs in the queue");
        for (id, end) in rows {
            let states = &self.jobs[&id];
            let count = |state: &str| states.get(state).copied().unwrap_or_default();
            assert_eq!((count(&end), count("Completed") + count("Error")), (1, 1), "job {id} ended once: {states:?}");
            assert_eq!(
                count("New"),
                count("InProgress"),
                "job {id} was claimed once each time that it was new: {states:?}"
            );
        }
    }
}

/// Waits until the queue has this many rows and all are done.
pub fn wait_until_all_done(conn: &mut Conn, jobs: u64, deadline: Duration) {
    const OPEN: &str = "SELECT CONCAT_WS(' ', res_id, res_name, status, attempts, interruptions, owner, claim_id, run_at, \
                        last_error) FROM res_queue WHERE status <> 'done'";
    wait_or_report(deadline, "every job to be done", || {
        let done: Option<u64> =
            conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status = 'done'").expect("a count");
        let open: Vec<String> = conn.query(OPEN).expect("the open jobs");
        if done == Some(jobs) && open.is_empty() { Ok(()) } else { Err(open.join("\n")) }
    });
}

/// Every row of the queue is done, at its first attempt.
pub fn assert_done_by_one_attempt_each(conn: &mut Conn) {
    let wrong: Vec<(u64, String, u32)> = conn
        .query("SELECT res_id, status, attempts FROM res_queue WHERE status <> 'done' OR attempts <> 1 LIMIT 20")
        .expect("the queue");
    assert!(wrong.is_empty(), "not done by one attempt: {wrong:?}");
}

/// The databases on the server are those of the jobs that are done, so are the registry's rows, and each database was
/// built by one attempt alone. Needs the templates [`COUNTING`](crate::templates::COUNTING).
pub fn assert_databases_are_exact(instance: &Instance, conn: &mut Conn) {
    let mut names = |sql: &str| -> BTreeSet<String> { conn.query(sql).expect(sql).into_iter().collect() };
    let made = names("SELECT db_name FROM res_queue WHERE status = 'done'");
    let there = names(&format!("SHOW DATABASES LIKE '{}%'", instance.db_prefix.replace('_', "\\_")));
    assert_eq!(there, made, "the databases on the server are those of the jobs that are done");
    assert_eq!(names("SELECT db_name FROM res_database"), made, "and so are the registry's rows");
    assert_eq!(names("SELECT db_name FROM res_database WHERE state = 'ready'"), made, "which are all ready");
    for db_name in made {
        let built: Option<u64> =
            conn.query_first(format!("SELECT COUNT(*) FROM `{db_name}`.built")).expect("its table");
        assert_eq!(built, Some(1), "{db_name} was built by one attempt alone");
    }
}
