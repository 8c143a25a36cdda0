//! What `resqd healthcheck` does: asks the daemon that runs with the same settings whether it answers. Touches no database.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde_json::Value as Json;

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
/// by HTTP, if that listens. `ready`: for the readiness, which HTTP is needed for. Where the settings name no address of the
/// broker, HTTP is asked alone.
///
/// # Errors
/// No address is known, no answer came, or the answer is no.
pub fn run(config: &Config, ready: bool) -> Result<(), Failure> {
    let (broker, http) = (Target::of(&config.broker), fixed(&config.http.listen));
    if ready && http.is_none() {
        return Err(Failure::new(Exit::Usage, "--ready needs http.listen with a fixed port; set it"));
    }
    // Its default address may be another resqd's; only together with the broker's can that be known.
    if broker.is_none() && (http.is_none() || config.http.is_default) {
        let message = "none of broker.listen, broker.socket and http.listen is set to a fixed address, so this resqd cannot \
                       be found; set one";
        return Err(Failure::new(Exit::Usage, message));
    }
    if let Some(target) = &broker {
        target.ask(config)?;
    }
    let broker = broker.as_ref().map(|target| target.name.as_str());
    http.map_or(Ok(()), |http| ask_http(http, config.http.is_default, ready, broker))
}

/// A listener of the broker.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// Where its own host reaches it.
    address: Address,
    tls: bool,
    /// As the settings write it.
    name: String,
}

impl Target {
    /// Of a broker with these settings; None: they name no fixed address.
    fn of(broker: &Broker) -> Option<Target> {
        if let Some(socket) = &broker.socket {
            let name = socket.display().to_string();
            return Some(Target { address: Address::Unix(socket.clone()), tls: false, name });
        }
        let listen = fixed(&broker.listen)?;
        Some(Target { address: tcp(local(listen)), tls: listen.tls, name: listen.to_string() })
    }

    fn ask(&self, config: &Config) -> Result<(), Failure> {
        let broker = &config.broker;
        // Its own host needs no proof.
        let tls =
            self.tls.then(|| ClientTls { verify: false, ..Peer::tls_from_config(&config.client).unwrap_or_default() });
        let token = broker.token.clone().or_else(|| broker.access.first().map(|entry| entry.token.clone()));
        let peer = Peer { token, tls, ..Peer::new(self.address.clone(), "healthcheck") };
        match Publisher::connect(&peer).and_then(|mut publisher| publisher.confirm(ANSWER)) {
            // Busy, but it answers.
            Err(refused) if refused.is_refusal(Code::TooManyConnections) => Ok(()),
            answered => Ok(answered?),
        }
    }
}

/// Asks for the health by HTTP, of the daemon that has this listener of the broker, too.
fn ask_http(listen: Listen, is_default: bool, ready: bool, broker: Option<&str>) -> Result<(), Failure> {
    let (path, key) = if ready { ("/readyz", "ready") } else { ("/healthz", "alive") };
    let at = format!("{}://{}{path}", if listen.tls { "https" } else { "http" }, local(listen));
    let query = broker.map_or_else(String::new, |name| format!("?broker={}", escaped(name)));
    // A resqd that finds the default port taken serves no HTTP, and the broker has answered.
    let is_optional = is_default && !ready && broker.is_some();
    let answer = get(local(listen), listen.tls, &format!("{path}{query}"));
    let body = answer.as_ref().map_or("", |answer| answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim()));
    let is_well = serde_json::from_str(body).ok().and_then(|body: Json| body[key].as_bool());
    match (answer.is_ok(), is_well) {
        (_, Some(true)) => Ok(()),
        (_, Some(false)) => Err(Failure::new(Exit::Failed, format!("resqd at {at} is not well: {body}"))),
        _ if is_optional => Ok(()),
        (true, None) => {
            let message = format!(
                "{at} was answered by another program than the resqd of these settings; set http.listen to an address \
                 of its own"
            );
            Err(Failure::new(Exit::Unreachable, message))
        }
        (false, None) => {
            let error = answer.err().map_or_else(String::new, |error| error.to_string());
            let message = format!("no answer from {at}: {error}; is it the http.listen of this resqd?");
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

fn tcp(address: SocketAddr) -> Address {
    Address::Tcp { host: address.ip().to_string(), port: address.port() }
}

/// The first of these with a fixed port, one without TLS if there is one.
fn fixed(listen: &[Listen]) -> Option<Listen> {
    listen.iter().filter(|listen| listen.address.port() != 0).min_by_key(|one| one.tls).copied()
}

/// The address at which its own host reaches it.
fn local(listen: Listen) -> SocketAddr {
    let ip = match listen.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.address.port())
}

/// A value of a parameter, percent-encoded.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use std::{io::BufRead, io::BufReader, net::TcpListener, thread};

    use super::*;

    #[test]
    fn address_is_one_that_this_host_can_reach() {
        let address = |listen: &[&str], socket: Option<&str>| {
            let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
            let broker = Broker { listen, socket: socket.map(Into::into), ..Broker::default() };
            Target::of(&broker).map(|Target { address, tls, name }| {
                format!("{address}{} named {name}", if tls { " by TLS" } else { "" })
            })
        };
        for (listen, socket, expected) in [
            (&["127.0.0.1:1300"][..], None, Some("127.0.0.1:1300 named 127.0.0.1:1300")),
            (&["127.0.0.1:0", "0.0.0.0:1300"], None, Some("127.0.0.1:1300 named 0.0.0.0:1300")),
            (&["[::]:1300"], None, Some("[::1]:1300 named [::]:1300")),
            (&["10.0.0.7:1300"], Some("/run/s"), Some("unix:/run/s named /run/s")),
            (&["tls://0.0.0.0:1300", "127.0.0.1:1"], None, Some("127.0.0.1:1 named 127.0.0.1:1")),
            (&["tls://0.0.0.0:1300"], None, Some("127.0.0.1:1300 by TLS named tls://0.0.0.0:1300")),
            (&["127.0.0.1:0"], None, None),
            (&[], None, None),
        ] {
            assert_eq!(address(listen, socket).as_deref(), expected, "{listen:?} {socket:?}");
        }
    }

    /// Answers one request with this; the address, and what was asked for.
    fn server(answer: &'static str) -> (Listen, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let target = lines.next().unwrap();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            stream.write_all(answer.as_bytes()).unwrap();
            target
        };
        (address.into(), thread::spawn(serve))
    }

    #[test]
    fn only_the_daemon_of_the_settings_counts_and_a_default_address_may_be_of_another() {
        let alive = "HTTP/1.1 200 OK\r\n\r\n{\"alive\":true}\n";
        let ready = "HTTP/1.1 200 OK\r\n\r\n{\"ready\":true}\n";
        let stalled = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"alive\":false,\"stalled\":[]}\n";
        let not_ready = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ready\":false}\n";
        let other_resqd = "HTTP/1.1 421 Misdirected Request\r\n\r\n{\"error\":\"not here\"}\n";
        let other_program = "HTTP/1.1 200 OK\r\n\r\n<h1>It works!</h1>";
        let (failed, unreachable) = (Some(Exit::Failed), Some(Exit::Unreachable));
        // The answer; whether the readiness is asked for; how the check ends at a default address, and at one that is set.
        for (answer, is_for_ready, by_default, as_set) in [
            (alive, false, None, None),
            (ready, true, None, None),
            (stalled, false, failed, failed),
            (not_ready, true, failed, failed),
            (other_resqd, false, None, unreachable),
            (other_resqd, true, unreachable, unreachable),
            (other_program, false, None, unreachable),
            (other_program, true, unreachable, unreachable),
            ("", false, None, unreachable),
            ("", true, unreachable, unreachable),
        ] {
            for (is_default, expected) in [(true, by_default), (false, as_set)] {
                let (listen, asked) = server(answer);
                let checked = ask_http(listen, is_default, is_for_ready, Some("tls://[::]:1300"));
                assert_eq!(
                    checked.err().map(|failure| failure.exit),
                    expected,
                    "{answer:?} {is_for_ready} {is_default}"
                );
                let asked = asked.join().unwrap();
                assert!(asked.contains("z?broker=tls://%5B::%5D:1300 "), "{asked}");
            }
        }
        let (listen, asked) = server(alive);
        assert!(ask_http(listen, false, false, None).is_ok());
        assert_eq!(asked.join().unwrap(), "GET /healthz HTTP/1.1");
    }
}
