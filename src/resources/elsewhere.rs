//! What an earlier attempt may have left running on another node of a cluster, where this node's lock of the name says
//! nothing. It is ended before its work is repeated: the server goes on with what it was sent, and two nodes that change
//! one table at a time can break a MySQL group.

use crate::{
    db::{Error, OtherHosts},
    resources::resource_server,
};

/// Ends the session that holds the lock of `db_name` on one of the other nodes, and waits until this node has applied what
/// it had committed. Returns the node whose session does not end within `wait_s` seconds.
///
/// # Errors
/// This node is too far behind, or has lost the others.
pub fn end<'a>(others: &'a OtherHosts, db_name: &str, wait_s: u32) -> Result<Option<&'a str>, Error> {
    for (node, ended) in others.each(|conn| resource_server::end_holder(conn, db_name, wait_s)) {
        match ended {
            Ok(true) => {}
            Ok(false) => return Ok(Some(node)),
            // One that is down runs nothing, and one that is cut off commits nothing.
            Err(error) => {
                log::info!("resources: node {node} was not asked for an earlier attempt ({error}) database={db_name}");
            }
        }
    }
    others.catch_up().map(|()| None)
}
