//! How the sequencer works, and whom it wakes.

use std::time::Duration;

use crossbeam_channel::Receiver;

use super::{
    numbered::Numbered,
    updates::{LogHead, PageRequest},
};
use crate::base::wakeup::Wakeup;

/// How the sequencer works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Between two polls when no wakeup arrives.
    pub poll: Duration,
    /// Events numbered more days ago are deleted.
    pub retention_days: u32,
    /// No event is deleted before that.
    pub prune_after: Duration,
    /// Events numbered in one transaction or read in one page; `BATCH` in a daemon.
    pub batch: usize,
    /// The server is a node of a cluster, so that transactions open on other nodes cannot be seen.
    pub is_cluster: bool,
    /// Where the log stood when the broker was started; delivery begins after it.
    pub head: LogHead,
}

/// Notifies `wakeup` of each event with this state once it is numbered.
#[derive(Clone, Debug)]
pub struct StateWatch {
    /// The state, in full.
    pub state: &'static str,
    /// Wakes the role that acts on such events.
    pub wakeup: Wakeup,
}

/// What the sequencer's thread waits for.
#[derive(Debug)]
pub struct Inputs {
    /// There may be events to number.
    pub wakeups: Receiver<()>,
    /// Events that another thread of this daemon has numbered.
    pub numbered: Receiver<Numbered>,
    /// The broker asks for pages.
    pub page_requests: Receiver<PageRequest>,
}
