//! The guarantees when things break. Each test causes one fault at a random moment while applications write jobs and
//! events and two clients record them, for `FAULT_ROUNDS` rounds (1), and then checks that everything is finished,
//! nothing lost, nothing repeated, and that the log stayed short. `scenario` is that frame, the other modules cause the
//! faults. The seed is printed; `RESQ_SEED` repeats it.

mod checks;
mod cluster;
pub mod disk;
mod hangs;
mod locks;
mod network;
mod processes;
pub mod scenario;
mod shortages;
mod subscribers;
mod workload;
