//! How the sequencer works, and whom it wakes.

use std::time::Duration;

use crossbeam_channel::Receiver;

use super::{
    numbered::Numbered,
    updates::{LogHead, PageRequest},
};
use crate::base::wakeup::Wakeup;

/// Between two polls while a transaction that wrote events stays open; its wakeup was sent long before its commit.
pub const OPEN_WRITERS_PAUSE: Duration = Duration::from_millis(250);
/// The least time between two full polls that raise the floor; longer than any transaction takes from drawing an id to writing its row.
pub const FLOOR_LAG: Duration = Duration::from_millis(200);
/// Before it is tried again whether the log reaches as far as a client has read, while that cannot be found out.
pub const AHEAD_PAUSE: Duration = Duration::from_secs(1);
/// Between two rounds of pruning.
pub const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Events deleted in one transaction.
pub const PRUNE_BATCH: usize = 1000;

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
