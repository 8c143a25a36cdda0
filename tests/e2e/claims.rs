//! Claims, outcomes, retries and rescues on a real server, through the library: its statements one by one (`plan`,
//! `guards`), and whole services with a handler that records what it is given (`service`, `faults`).

mod faults;
mod guards;
mod plan;
mod recording_handler;
mod service;
