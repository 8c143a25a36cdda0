//! What the daemon does about an event log that was restored from a dump: before it serves, and while it does.

use crossbeam_channel::RecvError;

use crate::{
    base::failure::{Exit, Failure},
    events::{self, LogReplaced},
};

/// Gives an event log that was restored from a dump a new identity, so that clients do not go on by its numbers. Not on
/// clusters, whose nodes are made from each other.
pub fn notice(conn: &mut mysql::Conn) -> Result<(), Failure> {
    let head = events::store::head(conn)?;
    if events::store::is_restored(conn)? && events::store::renew_log_id(conn, head.log_id, None)? {
        log::warn!(
            "event log: its tables are newer than their rows, as after a restore; gave it a new identity, so clients read \
             it from its beginning head={}",
            head.head_seq
        );
    }
    Ok(events::store::record_made(conn)?)
}

/// The failure with which the daemon ends if that happens while it serves.
pub fn replaced(found: Result<LogReplaced, RecvError>) -> Failure {
    let found = found.map_or_else(|_| "the thread that serves it ended".into(), |replaced| replaced.found);
    Failure::new(
        Exit::Failed,
        format!(
            "the event log was restored, emptied or replaced while resqd served it ({found}); it has a new identity now, by \
             which clients notice; start resqd again"
        ),
    )
}
