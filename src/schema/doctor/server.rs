//! The checks of the server itself: how it is reached, what it is, and how it is configured.

use std::time::{SystemTime, UNIX_EPOCH};

use mysql::Conn;

use super::verdict::{AGAIN, Verdict, failed, good, warning};
use crate::{config::Config, db::ReadRows, db::ServerInfo, schema::install};

pub fn version(server: &ServerInfo) -> Verdict {
    if server.skip_locked {
        good(server.version.clone())
    } else {
        warning(
            format!("{} has no SKIP LOCKED", server.version),
            "jobs are claimed by token, which is slower with many daemons; MySQL 8.0 and MariaDB 10.6 have it",
        )
    }
}

pub fn binary_log(server: &ServerInfo) -> Verdict {
    match install::check_server(server) {
        Err(failure) => failed(failure.message, AGAIN),
        Ok(()) => good(if server.binary_log { "on, in a format that resq works with" } else { "off" }),
    }
}

pub fn encryption(conn: &mut Conn, config: &Config) -> Verdict {
    match conn.read_first::<(String, String)>("SHOW STATUS LIKE 'Ssl_version'") {
        Ok(Some((_, version))) if !version.is_empty() => good(version),
        _ if config.database.socket.is_some() => good("none, on a Unix socket"),
        _ => warning(
            "none: the traffic with the server can be read on the network",
            "if the server is another machine, set up TLS on it and set database.tls to required or verify",
        ),
    }
}

pub fn connections(conn: &mut Conn, needed: u32) -> Verdict {
    /// Connections left for applications and administrators.
    const SPARE: u64 = 10;
    match conn.read_first::<u64>("SELECT @@max_connections") {
        Ok(Some(max)) => {
            let what = format!("a daemon takes {needed} of the server's {max}");
            if max >= u64::from(needed) + SPARE {
                good(what)
            } else {
                failed(what, "raise max_connections or lower queue.workers")
            }
        }
        other => warning(format!("{other:?}"), "cannot read max_connections"),
    }
}

pub fn clock(conn: &mut Conn) -> Verdict {
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    match conn.read_first::<f64>("SELECT UNIX_TIMESTAMP(NOW(6)) + 0e0") {
        Ok(Some(theirs)) if (theirs - ours).abs() < 5.0 => good(format!("{:+.3} s from the server's", ours - theirs)),
        Ok(Some(theirs)) => warning(
            format!("{:+.1} s from the server's", ours - theirs),
            "resq uses the server's clock only, but the times in logs differ: set up NTP on both machines",
        ),
        other => warning(format!("{other:?}"), "cannot read the server's clock"),
    }
}
