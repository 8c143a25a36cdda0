//! A job as its handler sees it, and the values of its status. Plain data; what follows an attempt is decided in
//! [`super::outcome`].

/// The column `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for a worker, perhaps until its `run_at`.
    New,
    /// Claimed by a daemon, whose lease protects it.
    InProgress,
    /// Finished successfully.
    Done,
    /// Failed for good, or cancelled.
    Error,
}

impl Status {
    /// Every status, in the order of a job's life.
    pub const ALL: [Status; 4] = [Status::New, Status::InProgress, Status::Done, Status::Error];

    /// The column's value: `new`, `in_progress`, `done` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::New => "new",
            Status::InProgress => "in_progress",
            Status::Done => "done",
            Status::Error => "error",
        }
    }

    /// The status with this column value, if there is one.
    pub fn parse(text: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A claimed row of `res_queue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The column `res_id`, at least 1.
    pub id: u64,
    /// The column `res_name`.
    pub name: String,
    /// The column `res_type`; `default` unless the application chose another.
    pub res_type: String,
    /// The column `res_url`: free for the application's use.
    pub url: Option<String>,
    /// This attempt's number, from 1.
    pub attempt: u32,
    /// The row's own limit of attempts; None: the setting `queue.max_attempts` applies.
    pub max_attempts: Option<u32>,
    /// How many earlier attempts lost their worker before they ended. Those do not count as attempts.
    pub interruptions: u32,
    /// Random and new for every claim: the fencing token. A row that carries another one belongs to another attempt.
    pub claim_id: u64,
}
