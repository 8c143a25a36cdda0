//! TLS: which peers are let in, which reasons the others get on both sides, and bytes that are no TLS.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use resq::{
    base::tls::BadFile,
    client::{self, ClientTls, Publisher, Subscriber, Subscription},
    config,
    events::updates::LogHead,
    net::{Limits, StartError},
};
use resq_test_support::{Certificates, DEADLINE, MemoryBroker, MemoryConsumers, TlsClient, tls_connect};

use super::{
    bad_input::{serves, survive_tls},
    peer::{self, Address},
};

const EMPTY: LogHead = LogHead { log_id: 1, first_seq: 1, head_seq: 0 };

fn start(config: &config::Broker) -> Result<MemoryBroker, StartError> {
    MemoryBroker::start(config, Limits::default(), EMPTY, Vec::new(), &MemoryConsumers::default())
}

fn address(broker: &MemoryBroker, at: usize) -> SocketAddr {
    broker.broker().local_addrs()[at]
}

fn peer(address: SocketAddr, host: &str, tls: Option<ClientTls>) -> client::Peer {
    let address = client::Address::Tcp { host: host.into(), port: address.port() };
    client::Peer { tls, ..client::Peer::new(address, "t") }
}

/// The error of a publisher that connects and waits for an answer; empty: there is none.
fn outcome(peer: &client::Peer) -> String {
    let answered = Publisher::connect(peer).and_then(|mut publisher| publisher.confirm(DEADLINE));
    answered.err().map_or_else(String::new, |error| error.to_string())
}

#[test]
fn large_and_many_events_cross_in_both_directions_in_order() {
    let certificates = Certificates::shared();
    let broker = start(&certificates.broker(&["tls://127.0.0.1:0"])).unwrap();
    let peer = peer(address(&broker, 0), "localhost", Some(certificates.client()));
    let mut subscriber = Subscriber::connect(peer.clone(), Subscription::to(["A", "Big"])).unwrap();
    let mut publisher = Publisher::connect(&peer).unwrap();
    let big = vec![b'x'; 1_000_000];
    let sending = thread::spawn(move || {
        for number in 0..2_000 {
            publisher.publish("A", format!("{number}").as_bytes()).unwrap();
            if number % 400 == 0 {
                publisher.publish("Big", &vec![b'x'; 1_000_000]).unwrap();
                // A subscriber that has 1 MiB waiting would miss the next.
                publisher.confirm(DEADLINE).unwrap();
                thread::park();
            }
        }
        publisher.confirm(DEADLINE).unwrap();
    });
    let (mut expected, mut bigs) = (0, 0);
    while expected < 2_000 || bigs < 5 {
        match subscriber.recv_timeout(DEADLINE).unwrap() {
            Some(client::Delivery::Event(event)) if event.state == "Big" => {
                assert!(event.payload == big);
                bigs += 1;
                sending.thread().unpark();
            }
            Some(client::Delivery::Event(event)) => {
                assert_eq!(event.payload, expected.to_string().as_bytes());
                expected += 1;
            }
            other => panic!("{other:?} after {expected}"),
        }
    }
    sending.join().unwrap();
}

#[test]
fn trusted_peers_are_let_in_and_others_get_the_reason() {
    let (ours, others) = (Certificates::shared(), Certificates::new(&["127.0.0.1"]));
    ours.make("client", &["alice"], 825);
    ours.make("client", &["former"], -1);
    others.make("client", &["mallory"], 825);
    let open = start(&ours.broker(&["127.0.0.1:0", "tls://127.0.0.1:0", "tls://127.0.0.2:0"])).unwrap();
    let closed = config::Broker { tls_client_ca: Some(ours.file("ca.pem")), ..ours.broker(&["tls://127.0.0.1:0"]) };
    let closed = start(&closed).unwrap();
    let (plain, tls, mutual) = (address(&open, 0), address(&open, 1), address(&closed, 0));
    let unverified = ClientTls::default();
    let with_alice = |tls: ClientTls| ClientTls { certificate: ours.client_with("alice").certificate, ..tls };
    let stranger = ClientTls { certificate: others.client_with("mallory").certificate, ..ours.client() };
    for (at, host, client, reason) in [
        (tls, "127.0.0.1", Some(ours.client()), ""),
        (tls, "localhost", Some(ours.client()), ""),
        (tls, "127.0.0.1", Some(unverified.clone()), ""),
        (tls, "127.0.0.1", Some(with_alice(ours.client())), ""),
        (mutual, "127.0.0.1", Some(with_alice(ours.client())), ""),
        (mutual, "127.0.0.1", Some(with_alice(unverified.clone())), ""),
        (tls, "127.0.0.1", Some(others.client()), "from an authority that is not trusted here"),
        (tls, "127.0.0.1", Some(ClientTls { verify: true, ..unverified.clone() }), "not trusted here"),
        // Another address of the same host.
        (address(&open, 2), "127.0.0.2", Some(ours.client()), "for another host"),
        (plain, "127.0.0.1", Some(ours.client()), "it sent something else than TLS"),
        (tls, "127.0.0.1", None, "this address expects TLS; connect with --tls"),
        (mutual, "127.0.0.1", Some(ours.client()), "it requires a certificate of this side"),
        (mutual, "127.0.0.1", Some(stranger), "it refused the certificate of this side"),
        (mutual, "127.0.0.1", Some(ours.client_with("former")), "it refused the certificate of this side"),
        (mutual, "127.0.0.1", None, "this address expects TLS"),
        (tls, "127.0.0.1", Some(ours.client_with("missing")), "missing.pem: cannot read it"),
    ] {
        let outcome = outcome(&peer(at, host, client.clone()));
        assert!(if reason.is_empty() { outcome.is_empty() } else { outcome.contains(reason) }, "{client:?}: {outcome}");
    }
    // The answer of resqd to a client that speaks TLS where it does not expect that.
    let mut stream = TcpStream::connect(plain).unwrap();
    stream.write_all(&CLIENT_HELLO[..40]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("expects RSQ/1 without TLS"));
}

#[test]
fn expired_certificate_is_refused_by_the_client() {
    let certificates = Certificates::new(&["127.0.0.1"]);
    certificates.make("server", &["127.0.0.1"], -1);
    let chain = resq::base::tls::certificates(&certificates.file("server.pem")).unwrap();
    let key = resq::base::tls::private_key(&certificates.file("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(resq::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = peer(listener.local_addr().unwrap(), "127.0.0.1", Some(certificates.client()));
    let client = thread::spawn(move || outcome(&peer));
    let (mut socket, _) = listener.accept().unwrap();
    let mut session = rustls::ServerConnection::new(config.into()).unwrap();
    let _ = session.complete_io(&mut socket);
    let reason = client.join().unwrap();
    assert!(reason.contains("its certificate has expired; renew it"), "{reason}");
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let (good, other, old) = (Certificates::shared(), Certificates::new(&["a"]), Certificates::new(&["a"]));
    old.make("server", &["a"], -1);
    let config = good.broker(&["tls://127.0.0.1:0"]);
    let empty = other.file("empty");
    std::fs::write(&empty, "").unwrap();
    let broken = other.file("broken");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let cert = |path: &Path| config::Broker { tls_cert: Some(path.into()), ..config.clone() };
    let key = |path: &Path| config::Broker { tls_key: Some(path.into()), ..config.clone() };
    let client_ca = |path: &Path| config::Broker { tls_client_ca: Some(path.into()), ..config.clone() };
    for (config, file, why) in [
        (key(&other.file("server.key")), "server.key", "is not the key of the certificate"),
        (cert(&old.file("server.pem")), "server.pem", "has expired"),
        (cert(&empty), "empty", "contains no certificate"),
        (cert(&broken), "broken", "its certificate is refused"),
        (cert(&good.file("server.key")), "server.key", "contains no certificate"),
        (cert(Path::new("/nonexistent/cert")), "/nonexistent/cert", "cannot read it"),
        (cert(Path::new("/dev/zero")), "/dev/zero", "larger than"),
        (key(&empty), "empty", "contains no private key"),
        (key(&good.file("server.pem")), "server.pem", "contains no private key"),
        (client_ca(&empty), "empty", "contains no certificate"),
        (client_ca(&broken), "broken", "contains no certificate that can be read"),
    ] {
        match start(&config).err() {
            Some(StartError::Tls(BadFile { path, why: found })) => {
                assert!(path.ends_with(file) && found.contains(why), "{}: {found}, expected {why}", path.display());
            }
            other => panic!("{file}, {why}: {other:?}"),
        }
    }
}

/// The first record of a client, as recorded: a ClientHello for TLS 1.3.
const CLIENT_HELLO: &[u8] = include_bytes!("client_hello.bin");

fn socket(address: &Address) -> TcpStream {
    let Address::Tls(address, _) = address else { unreachable!() };
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Waits until the broker has closed.
fn until_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

#[test]
fn bytes_that_are_no_handshake_end_their_own_connection_only() {
    survive_tls(|address| {
        let record = |kind: u8, length: u16, body: &[u8]| [&[kind, 3, 1][..], &length.to_be_bytes(), body].concat();
        let zeros = [0; 40_000];
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            peer::hello(3, "x", ""),
            vec![0xff; 100],
            record(0x16, 0xffff, &zeros),            // A record longer than one may be.
            record(0x16, 4, &[1, 0xff, 0xff, 0xff]), // A message of 16 MB.
            record(0x16, 5, &[2, 0, 0, 1, 0]),       // A server's message.
            record(0x16, 0, &[]).repeat(1_000),      // Records without anything.
            [record(0x16, 4, &[1, 0, 0x80, 0]), zeros.to_vec()].concat(), // A ClientHello of zeros.
            record(0x17, 5, &[0; 5]),                // Data before a handshake.
            record(0x15, 2, &[1, 0]).repeat(100),    // Alerts.
            [CLIENT_HELLO, CLIENT_HELLO].concat(),
            [CLIENT_HELLO, &record(0x17, 100, &[7; 100])[..]].concat(),
        ] {
            let mut stream = socket(address);
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            until_closed(stream);
        }
    });
}

/// A client's handshake up to so many of its records, of which there are three.
fn shake_hands(address: &Address, records: usize) -> TcpStream {
    let Address::Tls(_, trust) = address else { unreachable!() };
    let mut session =
        rustls::ClientConnection::new(trust.clone(), resq::base::tls::server_name("127.0.0.1").unwrap()).unwrap();
    let mut stream = socket(address);
    let mut left = records;
    loop {
        let mut bytes = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while let [_, _, _, high, low, ..] = *rest {
            let (record, next) = rest.split_at(5 + usize::from(u16::from_be_bytes([high, low])));
            stream.write_all(record).unwrap();
            (rest, left) = (next, left - 1);
            if left == 0 {
                return stream;
            }
        }
        session.read_tls(&mut stream).unwrap();
        session.process_new_packets().unwrap();
    }
}

#[test]
fn handshake_that_stalls_ends_after_the_time_for_hello() {
    let limits = Limits { hello_timeout: Duration::from_millis(300), ..Limits::default() };
    let config = Certificates::shared().broker(&["tls://127.0.0.1:0"]);
    let broker = MemoryBroker::start(&config, limits, EMPTY, Vec::new(), &MemoryConsumers::default()).unwrap();
    let trust = Certificates::shared().client().load().unwrap();
    let address = Address::Tls(address(&broker, 0), trust.clone());
    // Each peer stops at another place; none of them sends a byte more.
    let mut stalled: Vec<TcpStream> = (0..CLIENT_HELLO.len())
        .step_by(20)
        .map(|bytes| {
            let mut stream = socket(&address);
            stream.write_all(&CLIENT_HELLO[..bytes]).unwrap();
            stream
        })
        .collect();
    // Two others after a whole record: the ClientHello, and what comes before the end of the handshake.
    stalled.extend([1, 2].map(|records| shake_hands(&address, records)));
    // One sends a byte now and then, until the broker has closed.
    let mut drip = socket(&address);
    drip.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let dripping = CLIENT_HELLO.iter().take_while(|byte| {
        let sent = drip.write_all(&[**byte]);
        sent.is_ok() && drip.read(&mut [0; 16]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    assert!(dripping.count() < CLIENT_HELLO.len() / 2, "the time counts from the first byte");
    stalled.drain(..).for_each(until_closed);
    // One finishes the handshake and says nothing.
    let Address::Tls(to, _) = address else { unreachable!() };
    let mut silent: TlsClient = tls_connect(to, trust);
    silent.sock.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut reason = Vec::new();
    silent.read_to_end(&mut reason).unwrap();
    assert!(String::from_utf8_lossy(&reason).contains("no HELLO within"), "{reason:?}");
}

#[test]
fn records_without_data_and_renegotiation_do_not_keep_the_broker_busy() {
    survive_tls(|address| {
        let Address::Tls(to, trust) = address else { unreachable!() };
        let mut peer = tls_connect(*to, trust.clone());
        peer.write_all(&peer::hello(1, "x", "")).unwrap();
        // Requests for new keys, as many as there may be and more.
        for _ in 0..200 {
            if peer.conn.refresh_traffic_keys().is_err() || peer.flush().is_err() {
                break;
            }
        }
        // Renegotiation, which only TLS 1.2 has: `R` makes openssl ask for it.
        let mut openssl = Command::new("openssl")
            .args(["s_client", "-tls1_2", "-connect", &to.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = openssl.stdin.take().unwrap().write_all(b"R\nR\nR\n");
        let _ = openssl.wait();
        serves(address);
    });
}

#[test]
fn fifteen_hundred_connections_of_random_bytes_by_tls() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    survive_tls(|address| {
        let mut random = fastrand::Rng::with_seed(seed);
        for number in 0..1_500 {
            let mut stream = socket(address);
            let mut bytes = vec![0; random.usize(0..600)];
            random.fill(&mut bytes);
            if number % 2 == 0 {
                // What begins as TLS does.
                let start = CLIENT_HELLO[..random.usize(1..CLIENT_HELLO.len())].to_vec();
                bytes = [start, bytes].concat();
            }
            let _ = stream.write_all(&bytes);
        }
    });
}
