//! The comparison after each call: all rows of both servers.

use std::collections::BTreeMap;

use mysql::prelude::Queryable;

use super::{
    super::{
        simulation::with,
        tables::{LogRow, ONE},
    },
    DAEMONS, DAY_US, Fidelity, READER, same, same_time, set_clock,
};

impl Fidelity {
    /// Compares all rows.
    pub fn compare(&mut self) {
        type Columns = (u64, String, i64, u32, Option<u32>, u32, Option<String>, Option<u64>);
        const US: &str = "TIMESTAMPDIFF(MICROSECOND, NOW(6), ";
        set_clock(&mut self.conn, self.now_us).unwrap();
        let from_now = |us: u64| us as i64 - self.now_us as i64;
        let server: Vec<(Columns, Option<i64>)> = self
            .conn
            .query_map(
                format!(
                    "SELECT res_id, status, priority, attempts, max_attempts, interruptions, owner, claim_id, {US} run_at) \
                     FROM res_queue ORDER BY res_id"
                ),
                |(a, b, c, d, e, f, g, h, due)| ((a, b, c, d, e, f, g, h), due),
            )
            .unwrap();
        let memory: Vec<(Columns, Option<i64>)> = with(|sim| {
            let jobs = sim.server.jobs.all_committed().map(|(id, row)| {
                let owner = row.owner.map(|owner| owner.to_string());
                let (status, counted) = (row.status.as_str().to_string(), (row.attempts, row.max_attempts));
                let columns = (id, status, row.priority, counted.0, counted.1, row.interruptions, owner, row.claim_id);
                (columns, row.run_at.map(from_now))
            });
            jobs.collect()
        });
        same("jobs", &memory.len(), &server.len());
        for ((memory, memory_due), (server, server_due)) in memory.into_iter().zip(server) {
            same("a job", &memory, &server);
            same_time(&format!("run_at of {server:?}"), memory_due, server_due);
        }

        // Leases that ended long ago may have been deleted.
        let leases =
            format!("SELECT owner, {US} lease_until) FROM res_daemon WHERE lease_until >= NOW(6) - INTERVAL 1 DAY");
        let server: BTreeMap<u64, i64> = self.conn.query(leases).unwrap().into_iter().collect();
        let memory: BTreeMap<u64, i64> = with(|sim| {
            let leases = sim.server.leases.all_committed().map(|(owner, lease)| (owner, from_now(lease.until_us)));
            leases.filter(|(_, until)| *until >= -(DAY_US as i64)).collect()
        });
        for owner in 1..=DAEMONS as u64 {
            same_time(&format!("the lease of {owner}"), memory.get(&owner).copied(), server.get(&owner).copied());
        }

        let server: (u64, u64) = self.conn.query_first("SELECT head_seq, first_seq FROM res_log").unwrap().unwrap();
        let memory = with(|sim| {
            let LogRow { head_seq, first_seq, .. } = sim.server.log.committed(ONE).expect("the only row").clone();
            (head_seq, first_seq)
        });
        same("the log", &memory, &server);
        const JOB: &str = "CAST(JSON_VALUE(payload, '$.res_id') AS UNSIGNED)";
        let events = format!("SELECT seq, state, {JOB} FROM res_event ORDER BY seq");
        let server: Vec<(u64, String, Option<u64>)> = self.conn.query(events).unwrap();
        let memory: Vec<(u64, String, Option<u64>)> = with(|sim| {
            let events = sim.server.events.all_committed();
            events.map(|(seq, entry)| (seq, entry.state.to_string(), entry.job)).collect()
        });
        same("events", &memory, &server);

        // With the uncommitted ones, whose order tells which simulated id is which real one.
        self.conn.query_drop("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").unwrap();
        let server: Vec<u64> = self.conn.query("SELECT id FROM res_outbox ORDER BY id").unwrap();
        let memory = with(|sim| sim.server.outbox.touched(READER, |_| true));
        same("ids in the outbox", &memory.len(), &server.len());
        self.ids.extend(server.into_iter().zip(memory));
        let outbox = format!("SELECT id, state, {JOB} FROM res_outbox ORDER BY id");
        let server: Vec<(u64, String, Option<u64>)> = self.conn.query(outbox).unwrap();
        let server: Vec<_> = server.into_iter().map(|(id, state, job)| (self.ids[&id], state, job)).collect();
        let memory: Vec<_> = with(|sim| {
            let outbox = sim.server.outbox.all_committed();
            outbox.map(|(id, entry)| (id, entry.state.to_string(), entry.job)).collect()
        });
        same("the outbox", &memory, &server);
    }
}
