//! Claims, outcomes, retries and reclaims on a real server, through the library: its statements one by one (`plan`,
//! `guards`), and whole services with a handler that records its jobs (`service`, `faults`).

mod faults;
mod guards;
pub mod plan;
pub mod recording_handler;
mod service;

use std::sync::Arc;

use resq::queue::TransactionHooks;
use resq::queue::sql_store::{Claimer, SqlQueueStore};

use resq_test_support::TestDatabase;

/// One daemon's access to the tables of `database`.
fn store(database: &TestDatabase, owner: &str, hooks: Arc<dyn TransactionHooks>) -> SqlQueueStore {
    let claimer = Claimer { owner: owner.into(), workers: 1, skip_locked: database.info.skip_locked };
    SqlQueueStore::new(&database.db, &claimer, &hooks)
}
