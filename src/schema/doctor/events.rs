//! The checks of the event log: its triggers and `publish` are there, and clients reach the broker.

use mysql::{Conn, prelude::Queryable};

use super::{Verdict, bad, good, unsure};
use crate::{
    client::{Peer, Publisher},
    config::Config,
    db::{Error, codes::*},
};

/// What `init` makes on the queue.
const TRIGGERS: [&str; 2] = ["res_queue_inserted", "res_queue_updated"];

/// By SHOW CREATE TRIGGER, since a list of triggers is empty for who may not see them as well.
pub fn triggers(conn: &mut Conn) -> Verdict {
    for name in TRIGGERS {
        if let Err(error) = conn.query_drop(format!("SHOW CREATE TRIGGER {name}")).map_err(Error::from) {
            match error.code() {
                Some(ER_SPECIFIC_ACCESS_DENIED_ERROR) => {} // it exists, and this account may not read it
                Some(ER_TRG_DOES_NOT_EXIST) => {
                    return bad(
                        format!("there is no trigger {name}: changes of status are told to nobody"),
                        "`resqctl init` makes it again",
                    );
                }
                _ => return unsure(error.to_string(), "the triggers could not be looked at"),
            }
        }
    }
    good(TRIGGERS.join(", "))
}

/// By a call that it must refuse.
pub fn publish(conn: &mut Conn, user: &str, global_db: &str) -> Verdict {
    match conn.query_drop("CALL publish(NULL, NULL)").map_err(Error::from) {
        Err(error) if error.code() == Some(ER_SIGNAL_EXCEPTION) => {
            good(format!("{user} may call `{global_db}`.publish"))
        }
        Err(error) if error.code() == Some(ER_PROCACCESS_DENIED_ERROR) => {
            unsure(error.to_string(), format!("GRANT EXECUTE ON PROCEDURE `{global_db}`.publish TO {user}"))
        }
        Err(error) => bad(error.to_string(), "`resqctl init` makes it again"),
        Ok(()) => bad("`publish` takes an event without a state", "`resqctl init` makes it again"),
    }
}

/// As a client: with the settings of `client` and the token.
pub fn broker(config: &Config) -> Verdict {
    let peer = Peer::from_config(config, "resqctl doctor");
    let address = peer.address.to_string();
    match Publisher::connect(&peer) {
        Ok(_) => good(format!("clients reach it at {address}")),
        Err(error) if error.is_final() => {
            unsure(error.to_string(), "clients need the daemon's token: broker.token, RESQ_TOKEN or --token-file")
        }
        Err(error) => unsure(
            error.to_string(),
            "start resqd, or set client.host and client.port, or client.socket, to where it listens",
        ),
    }
}
