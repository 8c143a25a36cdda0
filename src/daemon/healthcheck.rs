//! What `resqd healthcheck` does: asks the daemon that runs with the same settings whether it answers. Touches no database.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{
    base::{
        address::Address,
        failure::{Exit, Failure},
    },
    client::{Peer, Publisher},
    config::Broker,
    wire::Code,
};

/// How long the daemon may take to answer on an open connection.
const ANSWER: Duration = Duration::from_secs(5);

/// Logs in to the broker and waits for the answer to a PING, which shows that its event loop turns.
///
/// # Errors
/// No address is known, or no answer came.
pub fn run(broker: &Broker) -> Result<(), Failure> {
    let address = address(broker).ok_or_else(|| {
        let message =
            "broker.listen has no fixed port and broker.socket is not set, so this resqd cannot be found; set one";
        Failure::new(Exit::Usage, message)
    })?;
    let peer = Peer { token: broker.token.clone(), ..Peer::new(address, "healthcheck") };
    match Publisher::connect(&peer).and_then(|mut publisher| publisher.confirm(ANSWER)) {
        // Busy, but it answers.
        Err(refused) if refused.is_refusal(Code::TooManyConnections) => Ok(()),
        answered => Ok(answered?),
    }
}

/// Where a broker with these settings can be reached from its own host.
fn address(broker: &Broker) -> Option<Address> {
    if let Some(socket) = &broker.socket {
        return Some(Address::Unix(socket.clone()));
    }
    let listener = broker.listen.iter().find(|address| address.port() != 0)?;
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(Address::Tcp { host: ip.to_string(), port: listener.port() })
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
