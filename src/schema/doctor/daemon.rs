//! The checks of what runs beside the server: the daemons, and the broker as a client reaches it.

use mysql::Conn;

use super::verdict::{Verdict, failed, good, warning};
use crate::{
    client::{Peer, Publisher},
    config::Config,
    db::ReadRows,
    events::chosen_rows::{self, SetAside},
    queue::set_aside,
    wire::Code,
};

pub fn daemons(conn: &mut Conn) -> Verdict {
    match conn.read_rows::<String>("SELECT owner FROM res_daemon WHERE lease_until >= NOW(6) ORDER BY owner") {
        Ok(owners) if owners.is_empty() => warning("no resqd serves this queue", "start one"),
        Ok(owners) => good(owners.join(", ")),
        Err(error) => failed(error.to_string(), "see the check `access`"),
    }
}

/// The jobs and rows of the event log that daemons have set aside: the first ones, with the server's message for each kind.
pub fn set_aside(conn: &mut Conn) -> Verdict {
    const FIX: &str = "mend what the error names (a trigger, a constraint, a value); resqd tries them again by itself";
    let found = set_aside::set_aside(conn).and_then(|jobs| Ok((jobs, chosen_rows::set_aside(conn)?)));
    let (jobs, events) = match found {
        Ok(found) => found,
        Err(error) => return failed(error.to_string(), "see the check `access`"),
    };
    let mut parts = Vec::new();
    if let Some(first) = jobs.first() {
        let ids = first_of(jobs.iter().map(|job| job.id.to_string()));
        parts.push(format!(
            "the server refuses to change jobs {ids}; job {}, {}: {}",
            first.id, first.change, first.message
        ));
    }
    if let Some(first) = events.first() {
        let names = first_of(events.iter().map(SetAside::name));
        parts.push(format!(
            "the server refuses to number or delete {names}; {}, {}: {}",
            first.name(),
            first.what,
            first.message
        ));
    }
    if parts.is_empty() { good("no jobs, no events") } else { warning(parts.join("; "), FIX) }
}

/// The first few, and how many more there are.
fn first_of(names: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Connects as a client does: with the settings of `client` and the token.
pub fn broker(config: &Config) -> Verdict {
    let peer = Peer::from_config(config, "resqctl doctor");
    let address = peer.address.to_string();
    match Publisher::connect(&peer) {
        Ok(_) => good(format!("clients reach it at {address}")),
        Err(error) if error.is_refusal(Code::Token) => {
            warning(error.to_string(), "clients need the daemon's token: broker.token, RESQ_TOKEN or --token-file")
        }
        Err(error) => warning(
            error.to_string(),
            "start resqd, or set client.host and client.port, or client.socket, and client.tls to where and how it listens",
        ),
    }
}
