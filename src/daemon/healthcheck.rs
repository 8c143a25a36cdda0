//! What `resqd healthcheck` does: asks the daemon that runs with the same settings whether it answers. Touches no database.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::{
    base::{
        address::Address,
        failure::{Exit, Failure},
    },
    client::{ClientTls, Peer, Publisher, Stream},
    config::{Broker, Config, Listen},
    wire::Code,
};

/// How long the daemon may take to answer on an open connection.
const ANSWER: Duration = Duration::from_secs(5);

/// More than an answer by HTTP has.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Logs in to the broker and waits for the answer to a PING, which shows that its event loop turns; then asks for the health
/// by HTTP, if that listens. `ready`: for the readiness, which HTTP is needed for.
///
/// # Errors
/// No address is known, no answer came, or the answer is no.
pub fn run(config: &Config, ready: bool) -> Result<(), Failure> {
    let broker = &config.broker;
    let (address, tls) = address(broker).ok_or_else(|| {
        let message =
            "broker.listen has no fixed port and broker.socket is not set, so this resqd cannot be found; set one";
        Failure::new(Exit::Usage, message)
    })?;
    // Its own host needs no proof.
    let tls = tls.then(|| ClientTls { verify: false, ..Peer::tls_from_config(&config.client).unwrap_or_default() });
    let token = broker.token.clone().or_else(|| broker.access.first().map(|entry| entry.token.clone()));
    let peer = Peer { token, tls, ..Peer::new(address, "healthcheck") };
    match Publisher::connect(&peer).and_then(|mut publisher| publisher.confirm(ANSWER)) {
        // Busy, but it answers.
        Err(refused) if refused.is_refusal(Code::TooManyConnections) => {}
        answered => answered?,
    }
    let path = if ready { "/readyz" } else { "/healthz" };
    let Some((http, is_https)) = local(&config.http.listen) else {
        return match ready {
            true => Err(Failure::new(Exit::Usage, "--ready needs http.listen with a fixed port; set it")),
            false => Ok(()),
        };
    };
    let scheme = if is_https { "https" } else { "http" };
    match get(http, is_https, path) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => Ok(()),
        Ok(answer) => {
            let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
            Err(Failure::new(Exit::Failed, format!("resqd at {scheme}://{http}{path} is not well: {body}")))
        }
        // The default port may be taken by another program; the broker has answered.
        Err(_) if !ready && config.http.is_default => Ok(()),
        Err(error) => {
            let message =
                format!("no answer from {scheme}://{http}{path}: {error}; is it the http.listen of this resqd?");
            Err(Failure::new(Exit::Unreachable, message))
        }
    }
}

/// The answer to one request.
fn get(address: SocketAddr, is_https: bool, path: &str) -> io::Result<String> {
    // Its own host needs no proof.
    let tls = is_https.then(ClientTls::default);
    let mut stream = Stream::connect(&tcp(address), tls.as_ref(), ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(ANSWER)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where a broker with these settings can be reached from its own host, and whether by TLS.
fn address(broker: &Broker) -> Option<(Address, bool)> {
    if let Some(socket) = &broker.socket {
        return Some((Address::Unix(socket.clone()), false));
    }
    local(&broker.listen).map(|(address, tls)| (tcp(address), tls))
}

fn tcp(address: SocketAddr) -> Address {
    Address::Tcp { host: address.ip().to_string(), port: address.port() }
}

/// The first of these addresses with a fixed port, one without TLS if there is one, as its own host reaches it; and whether
/// by TLS.
fn local(listen: &[Listen]) -> Option<(SocketAddr, bool)> {
    let Listen { address, tls } =
        *listen.iter().filter(|listen| listen.address.port() != 0).min_by_key(|one| one.tls)?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some((SocketAddr::new(ip, address.port()), tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_one_that_this_host_can_reach() {
        let address = |listen: &[&str], socket: Option<&str>| {
            let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
            let broker = Broker { listen, socket: socket.map(Into::into), ..Broker::default() };
            address(&broker).map(|(address, tls)| format!("{address}{}", if tls { " by TLS" } else { "" }))
        };
        assert_eq!(address(&["127.0.0.1:1300"], None).as_deref(), Some("127.0.0.1:1300"));
        assert_eq!(address(&["127.0.0.1:0", "0.0.0.0:1300"], None).as_deref(), Some("127.0.0.1:1300"));
        assert_eq!(address(&["[::]:1300"], None).as_deref(), Some("[::1]:1300"));
        assert_eq!(address(&["10.0.0.7:1300"], Some("/run/s")).as_deref(), Some("unix:/run/s"));
        assert_eq!(address(&["tls://0.0.0.0:1300", "127.0.0.1:1"], None).as_deref(), Some("127.0.0.1:1"));
        assert_eq!(address(&["tls://0.0.0.0:1300"], None).as_deref(), Some("127.0.0.1:1300 by TLS"));
        assert_eq!(address(&["127.0.0.1:0"], None), None);
    }
}
