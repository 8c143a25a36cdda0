//! A network of a test's own, in which `scripts/testdb/partition.sh` cuts a node of a cluster off from the others.

use std::{panic::resume_unwind, process::Command, thread};

use nix::sched::{CloneFlags, unshare};

use crate::server::{Server, kind};

const PARTITION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/testdb/partition.sh");

/// Runs `body` on a thread whose network is a loopback interface of its own, as it is for every process and thread that
/// `body` starts. False: this system does not allow it.
pub fn in_own_network(body: impl FnOnce() + Send) -> bool {
    // From within there is no way out.
    partition(&["fetch", &kind()]);
    let thread = || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            return false;
        }
        partition(&["prepare"]);
        body();
        true
    };
    thread::scope(|scope| scope.spawn(thread).join().unwrap_or_else(|panic| resume_unwind(panic)))
}

/// A node that its cluster has lost, and that clients still reach, until this is dropped.
pub struct Partition(());

impl Partition {
    /// Cuts node `n`, from 1, off from the others; in [`in_own_network`].
    pub fn of(server: &Server, n: usize) -> Partition {
        partition(&["cut", &server.dir().display().to_string(), &n.to_string()]);
        Partition(())
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        partition(&["heal"]);
    }
}

fn partition(args: &[&str]) {
    let status = Command::new("bash").arg(PARTITION).args(args).status();
    assert!(status.expect("bash runs partition.sh").success(), "partition.sh {args:?}; its messages are above");
}
