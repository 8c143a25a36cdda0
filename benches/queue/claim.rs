//! The duration of a claim's transaction in a table with 1,000,000 finished and 100,000 delayed rows, compared with a
//! table that contains only claimable rows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};
use resq::queue::{
    NoHooks, TransactionHooks,
    claim_ids::ClaimIds,
    sql_store::{Claimer, SqlQueueStore},
    store::{Cursor, QueueStore},
};

use resq_test_support::{Server, TestDatabase};

const CLAIMS: usize = 200;
/// Rows of one claim.
const LIMIT: usize = 10;

/// A table, and where the next claim in it continues.
struct Table {
    database: TestDatabase,
    conn: Conn,
    store: SqlQueueStore,
    cursor: Option<Cursor>,
}

impl Table {
    fn new(server: &Server, name: &str) -> Table {
        let database = TestDatabase::new(server, name);
        database.drop_triggers();
        let claimer = Claimer { owner: "bench".into(), workers: 1, skip_locked: database.info.skip_locked };
        let hooks: Arc<dyn TransactionHooks> = Arc::new(NoHooks);
        let store = SqlQueueStore::new(&database.db, &claimer, &hooks);
        Table { conn: database.bare(), database, store, cursor: None }
    }

    fn claim(&mut self, number: usize, full: bool) -> Duration {
        let start = Instant::now();
        let from = if full { None } else { self.cursor };
        let claim_id = 1 + number as u64;
        let claim = self.store.claim(&mut ClaimIds::beginning_with(claim_id), LIMIT, from, &[]).expect("a claim");
        let took = start.elapsed();
        assert_eq!(claim.jobs.len(), LIMIT);
        self.cursor = claim.cursor;
        took
    }
}

/// Median times in (the large table, the small one): of claims that continue after the last, and of full scans.
pub fn measure(server: &Server) -> [(Duration, Duration); 2] {
    let (mut large, mut small) = (Table::new(server, "bench_large"), Table::new(server, "bench_small"));
    for _ in 0..10 {
        large.database.fill(5, ", status", ", 'done'");
    }
    large.database.fill(5, ", run_at", ", NOW(6) + INTERVAL 1 DAY");
    for table in [&mut large, &mut small] {
        table.database.fill(4, "", "");
        table.conn.query_drop("ANALYZE TABLE res_queue").expect("statistics");
    }
    [false, true].map(|full| {
        let (mut in_large, mut in_small) = (Vec::new(), Vec::new());
        for number in 0..CLAIMS {
            in_large.push(large.claim(number, full));
            in_small.push(small.claim(number, full));
        }
        (median(in_large), median(in_small))
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
