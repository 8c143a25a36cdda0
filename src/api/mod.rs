//! What operators ask and do beside single commands: the JSON interface, and actions on many jobs. It works with the queue,
//! the event log and the registry; it knows no socket and decides no right.
//!
//! [`call`] checks what a request asks for, [`answer`] carries it out, [`threads`] do both for HTTP; `openapi.json` describes
//! all of it. [`batch`] is an action on all jobs that match a filter; [`batch_runner`] does it, in this process or in
//! [`batch_thread`]. [`sampler`] keeps those metrics that only the database knows.

pub mod answer;
pub mod batch;
pub mod batch_runner;
pub mod batch_thread;
pub mod call;
pub mod document;
mod rollouts;
pub mod sampler;
mod surroundings;
pub mod threads;
