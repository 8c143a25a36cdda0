//! The rows of the simulated tables. Plain data, without the columns that no rule depends on.

use crate::queue::Status;

/// A row of `res_queue`. Times are the server's, in µs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    pub status: Status,
    pub priority: i64,
    pub run_at: Option<u64>,
    pub attempts: u32,
    pub max_attempts: Option<u32>,
    pub interruptions: u32,
    pub owner: Option<u64>,
    pub claim_id: Option<u64>,
    /// When it was claimed last; 0: never.
    pub started_at: u64,
}

impl JobRow {
    pub fn is_ready(&self) -> bool {
        self.status == Status::New && self.run_at.is_none()
    }
}

/// A row of `res_daemon`.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseRow {
    pub until_us: u64,
    pub workers: u32,
}

/// A row of `res_outbox`, and later of `res_event`. Its payload identifies it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub outbox_id: u64,
    pub state: &'static str,
    /// The job whose status changed, if it is an event of the queue.
    pub job: Option<u64>,
    pub at: u64,
    /// None: it is still in the outbox.
    pub numbered_at: Option<u64>,
}

/// The row of `res_log`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRow {
    pub head_seq: u64,
    pub first_seq: u64,
    /// The session that numbered events last, and when.
    pub moved: Option<(u64, u64)>,
}

/// A row of `res_consumer`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerRow {
    pub holder: u64,
    pub position: u64,
}

/// The id of the only row of `res_log` and of `res_consumer`, and of the pause flag.
pub const ONE: u64 = 1;
pub const LOG_ID: u64 = 7;
/// The state of events that were in no outbox.
pub const WATCHED: &str = "Watched";
