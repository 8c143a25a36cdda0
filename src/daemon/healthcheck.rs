//! What `resqd healthcheck` does: asks the daemon that runs with the same settings whether it answers. Touches no database.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    base::{
        address::Address,
        failure::{Exit, Failure},
    },
    client::{Peer, Publisher},
    config::{Broker, Config},
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
    let address = address(broker).ok_or_else(|| {
        let message =
            "broker.listen has no fixed port and broker.socket is not set, so this resqd cannot be found; set one";
        Failure::new(Exit::Usage, message)
    })?;
    let peer = Peer { token: broker.token.clone(), ..Peer::new(address, "healthcheck") };
    match Publisher::connect(&peer).and_then(|mut publisher| publisher.confirm(ANSWER)) {
        // Busy, but it answers.
        Err(refused) if refused.is_refusal(Code::TooManyConnections) => {}
        answered => answered?,
    }
    let path = if ready { "/readyz" } else { "/healthz" };
    let Some(http) = local(&config.http.listen) else {
        return match ready {
            true => Err(Failure::new(Exit::Usage, "--ready needs http.listen with a fixed port; set it")),
            false => Ok(()),
        };
    };
    match get(http, path) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => Ok(()),
        Ok(answer) => {
            let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
            Err(Failure::new(Exit::Failed, format!("resqd at http://{http}{path} is not well: {body}")))
        }
        // The default port may be taken by another program; the broker has answered.
        Err(_) if !ready && config.http.is_default => Ok(()),
        Err(error) => {
            let message = format!("no answer from http://{http}{path}: {error}; is it the http.listen of this resqd?");
            Err(Failure::new(Exit::Unreachable, message))
        }
    }
}

/// The answer to one request.
fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where a broker with these settings can be reached from its own host.
fn address(broker: &Broker) -> Option<Address> {
    if let Some(socket) = &broker.socket {
        return Some(Address::Unix(socket.clone()));
    }
    local(&broker.listen).map(|address| Address::Tcp { host: address.ip().to_string(), port: address.port() })
}

/// The first of these addresses with a fixed port, as its own host reaches it.
fn local(listen: &[SocketAddr]) -> Option<SocketAddr> {
    let listener = listen.iter().find(|address| address.port() != 0)?;
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, listener.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_one_that_this_host_can_reach() {
        let address = |listen: &[&str], socket: Option<&str>| {
            let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
            let broker = Broker { listen, socket: socket.map(Into::into), ..Broker::default() };
            address(&broker).map(|address| address.to_string())
        };
        assert_eq!(address(&["127.0.0.1:1300"], None).as_deref(), Some("127.0.0.1:1300"));
        assert_eq!(address(&["127.0.0.1:0", "0.0.0.0:1300"], None).as_deref(), Some("127.0.0.1:1300"));
        assert_eq!(address(&["[::]:1300"], None).as_deref(), Some("[::1]:1300"));
        assert_eq!(address(&["10.0.0.7:1300"], Some("/run/s")).as_deref(), Some("unix:/run/s"));
        assert_eq!(address(&["127.0.0.1:0"], None), None);
    }
}
