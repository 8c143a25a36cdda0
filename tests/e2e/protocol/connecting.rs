//! Connecting: which listeners are allowed, what happens to their sockets, and how the broker starts and stops.

use super::{
    fixture::{Fixture, Settings},
    peer::{self, Peer, Received},
};
use resq::{
    base::threads::alarm,
    config,
    events::updates::{LogHead, LogPublisher, PageRequest},
    net::{Broker, Http, Limits, StartError},
};
use std::{os::unix::fs::PermissionsExt, path::Path};

const EMPTY: LogHead = LogHead { log_id: 1, first_seq: 1, head_seq: 0 };

fn start(config: &config::Broker, insecure: bool) -> Result<Broker, StartError> {
    let started: (Broker, LogPublisher, crossbeam_channel::Receiver<PageRequest>) =
        Broker::start(config, insecure, EMPTY, Vec::new(), Http::default(), &alarm().0)?;
    Ok(started.0)
}

fn end(broker: Broker) {
    broker.stop();
    assert!(broker.join(), "the broker panicked");
}

fn on_socket(path: &Path) -> config::Broker {
    config::Broker { listen: Vec::new(), socket: Some(path.into()), ..config::Broker::default() }
}

#[test]
fn open_port_needs_a_token_or_insecure() {
    let open = config::Broker { listen: vec!["0.0.0.0:0".parse().unwrap()], ..config::Broker::default() };
    let with_token = |token: &str| config::Broker { token: Some(config::Secret(token.into())), ..open.clone() };
    assert!(matches!(start(&open, false), Err(StartError::Exposed(_))));
    assert!(matches!(start(&with_token(""), false), Err(StartError::Exposed(_))), "an empty token is none");
    end(start(&open, true).unwrap());
    end(start(&with_token("secret"), false).unwrap());
}

#[test]
fn several_ports_are_chosen_by_the_system() {
    let any = "127.0.0.1:0".parse().unwrap();
    let broker = start(&config::Broker { listen: vec![any; 3], ..config::Broker::default() }, false).unwrap();
    assert_eq!(broker.local_addrs().len(), 3);
    for address in broker.local_addrs() {
        assert_ne!(address.port(), 0);
        Peer::greeted(&peer::Address::Tcp(*address), 1).sync();
    }
    end(broker);
}

#[test]
fn port_in_use_is_named_by_its_address() {
    let any = config::Broker { listen: vec!["127.0.0.1:0".parse().unwrap()], ..config::Broker::default() };
    let first = start(&any, false).unwrap();
    let taken = first.local_addrs()[0];
    let error = start(&config::Broker { listen: vec![taken.into()], ..any }, false).err().expect("refused");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    end(first);
}

#[test]
fn unix_socket_is_for_owner_and_group() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resq.sock");
    let broker = start(&on_socket(&path), false).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    end(broker);
    assert!(!path.exists(), "the broker removes it");
}

#[test]
fn unix_socket_has_the_configured_group() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resq.sock");
    let own = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().expect("a group").name;
    let with_group = |group: &str| config::Broker { socket_group: Some(group.into()), ..on_socket(&path) };
    assert!(matches!(start(&with_group("no-such-group"), false), Err(StartError::NoGroup(_))));
    end(start(&with_group(&own), false).unwrap());
}

#[test]
fn abandoned_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resq.sock");
    // A listener that is dropped leaves its file, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let broker = start(&on_socket(&path), false).unwrap();
    assert!(matches!(start(&on_socket(&path), false), Err(StartError::Listen { .. })));
    Peer::greeted(&peer::Address::Unix(path), 1).sync();
    end(broker);
}

#[test]
fn file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    assert!(matches!(start(&on_socket(&path), false), Err(StartError::Listen { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn stopping_twice_is_harmless() {
    let fixture = Fixture::with_defaults();
    let broker = fixture.running.broker();
    broker.stop();
    broker.stop();
}

#[test]
fn full_broker_accepts_again_when_a_peer_leaves() {
    let limits = Limits { max_connections: 2, ..Limits::default() };
    let fixture = Fixture::start(Settings { limits, ..Settings::default() });
    let first = Peer::greeted(&fixture.tcp, 1);
    let _second = Peer::greeted(&fixture.unix, 1);
    let refused = Peer::connect(&fixture.tcp).receive();
    assert!(matches!(refused, Received::Error(9, _)), "{refused:?}");
    drop(first);
    resq_test_support::wait_until("room again", || {
        let mut peer = Peer::connect(&fixture.tcp);
        let _ = peer.try_send(&peer::hello(1, "third", ""));
        matches!(peer.receive(), Received::Welcome { .. })
    });
}
