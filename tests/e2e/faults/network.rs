//! The network between the daemon and the database server, and between subscribers and the daemon: cut, dead without
//! a word, slow.

use std::time::Duration;

use mysql::prelude::Queryable;

use crate::{
    clients::daemon::own_port,
    instance::Instance,
    program::{wait_at_most, wait_until},
};

use super::{
    relay::Relay,
    trial::{PATIENCE, Setup},
    workload::add_jobs,
};

/// A trial whose one daemon reaches the database server over `relay`.
fn over<'a>(instance: &'a Instance<'a>, relay: &Relay) -> Setup<'a> {
    Setup { daemon_env: vec![("MYSQL_PORT", relay.port.to_string())], ..Setup::new(instance, 1) }
}

#[test]
fn network_to_the_server_is_cut() {
    let instance = Instance::ready("net_cut");
    let relay = Relay::to(instance.server.port());
    over(&instance, &relay).rounds(|trial| {
        relay.cut();
        trial.wait_for_log("the database server is lost");
        relay.mend();
        "the database server is back"
    });
}

#[test]
fn network_to_the_server_swallows_everything() {
    let instance = Instance::ready("net_dead");
    let relay = Relay::to(instance.server.port());
    over(&instance, &relay).rounds(|_| {
        relay.swallow();
        "which a broken connection had left behind"
    });
}

#[test]
fn network_to_the_server_is_slow() {
    let instance = Instance::ready("net_slow");
    let relay = Relay::to(instance.server.port());
    over(&instance, &relay).rounds(|trial| {
        relay.slow(Duration::from_millis(20), 50_000);
        let mut conn = instance.conn();
        let job = add_jobs(&mut conn, 3, &mut trial.random);
        let done = format!("SELECT 1 FROM res_queue WHERE res_name = '{job}' AND status = 'done'");
        wait_at_most(PATIENCE, "jobs over the slow network", || conn.query_first(&done).unwrap() == Some(1));
        relay.mend();
        ""
    });
}

/// A trial whose listeners reach the broker over a relay, and hear its PINGs often.
fn heard_over(name: &str, fault: impl Fn(&Relay)) {
    let instance = Instance::ready(name);
    let settings = instance.dir().join("resq.toml");
    std::fs::write(&settings, "[broker]\nping_s = 1\n").expect("a file");
    let port = own_port();
    let relay = Relay::to(port);
    let setup = Setup {
        daemon_env: vec![("RESQ_CONFIG", settings.display().to_string()), ("RESQ_LISTEN", format!("127.0.0.1:{port}"))],
        listener_env: vec![("RESQ_SOCKET", String::new()), ("RESQ_PORT", relay.port.to_string())],
        ..Setup::new(&instance, 1)
    };
    setup.rounds(|_| {
        fault(&relay);
        ""
    });
}

#[test]
fn network_to_a_subscriber_is_cut() {
    heard_over("net_heard_cut", |relay| {
        relay.cut();
        relay.mend();
    });
}

#[test]
fn network_to_a_subscriber_swallows_everything() {
    heard_over("net_heard_dead", Relay::swallow);
}

#[test]
fn network_to_a_subscriber_is_slow() {
    heard_over("net_heard_slow", |relay| relay.slow(Duration::from_millis(20), 50_000));
}

#[test]
fn relay_swallows_without_a_word() {
    use std::io::{ErrorKind, Read, Write};
    let echo = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::to(echo.local_addr().unwrap().port());
    let mut client = std::net::TcpStream::connect(("127.0.0.1", relay.port)).unwrap();
    let (mut server, _) = echo.accept().unwrap();
    client.write_all(b"a").unwrap();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
    relay.swallow();
    client.write_all(b"b").unwrap();
    server.write_all(b"c").unwrap();
    for stream in [&mut client, &mut server] {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // A new one passes; a cut one is reset.
    let mut client = std::net::TcpStream::connect(("127.0.0.1", relay.port)).unwrap();
    let (mut server, _) = echo.accept().unwrap();
    client.write_all(b"d").unwrap();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
    relay.cut();
    wait_until("the end", || client.write_all(b"e").is_err());
}
