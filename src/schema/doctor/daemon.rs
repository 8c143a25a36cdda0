//! The checks of what runs beside the server: the daemons, and the broker as a client reaches it.

use mysql::{Conn, prelude::Queryable};

use super::verdict::{Verdict, failed, good, warning};
use crate::{
    client::{Peer, Publisher},
    config::Config,
    queue::set_aside,
};

pub fn daemons(conn: &mut Conn) -> Verdict {
    match conn.query::<String, _>("SELECT owner FROM res_daemon WHERE lease_until >= NOW(6) ORDER BY owner") {
        Ok(owners) if owners.is_empty() => warning("no resqd serves this queue", "start one"),
        Ok(owners) => good(owners.join(", ")),
        Err(error) => failed(error.to_string(), "see the check `access`"),
    }
}

/// The jobs that daemons have set aside: the first ones by their numbers, with the server's message for the first.
pub fn set_aside(conn: &mut Conn) -> Verdict {
    const SHOWN: usize = 5;
    let jobs = match set_aside::set_aside(conn) {
        Ok(jobs) => jobs,
        Err(error) => return failed(error.to_string(), "see the check `access`"),
    };
    let Some(first) = jobs.first() else { return good("no jobs") };
    let ids: Vec<String> = jobs.iter().take(SHOWN).map(|job| job.id.to_string()).collect();
    let more = if jobs.len() > SHOWN { format!(" and {} more", jobs.len() - SHOWN) } else { String::new() };
    let what = format!(
        "the server refuses to change jobs {}{more}; job {}, {}: {}",
        ids.join(", "),
        first.id,
        first.change,
        first.message
    );
    warning(what, "mend what the error names (a trigger, a constraint, a value); resqd tries them again by itself")
}

/// Connects as a client does: with the settings of `client` and the token.
pub fn broker(config: &Config) -> Verdict {
    let peer = Peer::from_config(config, "resqctl doctor");
    let address = peer.address.to_string();
    match Publisher::connect(&peer) {
        Ok(_) => good(format!("clients reach it at {address}")),
        Err(error) if error.is_final() => {
            warning(error.to_string(), "clients need the daemon's token: broker.token, RESQ_TOKEN or --token-file")
        }
        Err(error) => warning(
            error.to_string(),
            "start resqd, or set client.host and client.port, or client.socket, to where it listens",
        ),
    }
}
