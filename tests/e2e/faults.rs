//! What is promised when things break. Each test here lets one fault happen at a random moment while applications
//! write jobs and events and two clients listen, some rounds long (`FAULT_ROUNDS`, 1), and then looks whether
//! everything is finished, nothing lost, nothing doubled, and told in a few lines of the log. `trial` is that frame,
//! the other modules name the faults. The seed is printed; `RESQ_SEED` repeats it.

mod check;
mod cluster;
mod disk;
mod hangs;
mod listener;
mod locks;
mod network;
mod processes;
mod relay;
mod shortages;
mod subscribers;
mod trial;
mod workload;
