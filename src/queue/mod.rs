//! The work queue: rows of `res_queue` become jobs, jobs run on a fixed pool of threads, and their outcomes are written
//! back. It does not know what a job is for: a [`Handler`] runs it and may return a short result, which is stored as it
//! is. It never touches a resource's database or the event log.
//!
//! [`Queue`] is for applications and operators: enqueue, inspect, retry, cancel, pause. [`Service`] runs the jobs.

pub mod actions;
pub mod admin;
pub mod audit;
pub mod change;
#[doc(hidden)]
pub mod claim_ids;
pub(crate) mod completer;
pub(crate) mod dispatcher;
pub(crate) mod expired;
pub mod filter;
mod handler;
mod hooks;
mod isolated_store;
pub mod job;
pub(crate) mod lease;
mod load;
pub mod outcome;
pub mod overview;
mod postponed;
pub(crate) mod prefetch;
pub(crate) mod probing;
mod progress;
pub mod search;
mod service;
mod session;
pub mod set_aside;
mod side_task;
#[doc(hidden)]
pub mod sql_store;
#[doc(hidden)]
pub mod store;
mod telemetry;
pub(crate) mod validity;
pub mod waiting;
pub(crate) mod worker;

pub use admin::{Attempt, NewJob, Queue, Row, Running};
pub use filter::Filter;
pub use handler::Handler;
pub use hooks::{NoHooks, TransactionHooks};
pub use job::{Job, Status};
pub use load::Load;
pub use outcome::{JobError, JobResult, Outcome};
pub use search::Page;
pub use service::{FIXED_CONNECTIONS, Parts, Servers, Service, Wakeups, owner};
pub use session::Session;
pub use set_aside::SetAside;
pub use side_task::SideTask;
pub use telemetry::{SetAsideJobs, Telemetry};
pub(crate) use validity::Validity;
pub use waiting::Waiting;

/// The state of the event that the triggers of `res_queue` write when a job becomes `new`: it was inserted, is retried,
/// or was released or reclaimed unfinished (`sql/init_tables/050_triggers.sql`).
pub const QUEUE_STATE_NEW: &str = "New";
