//! SIGHUP: certificates and tokens that are exchanged while resqd runs.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use resq::{
    client::{Address, Delivery, Peer, Publisher, Subscriber, Subscription},
    config::Secret,
};
use resq_test_support::{
    Certificates, DEADLINE, Doctor, Instance, Program, Verdict, own_port, tls_connect, wait_until,
};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn certificates_and_tokens_are_exchanged_without_ending_a_connection() {
    let instance = Instance::ready("reload");
    let (old, new) = (Certificates::new(&["127.0.0.1"]), Certificates::new(&["127.0.0.1"]));
    let log = instance.dir().join("resqd.log");
    let token = instance.dir().join("token");
    fs::write(&token, "first").unwrap();
    let (port, https) = (own_port(), own_port());
    let resqd = instance
        .resqd()
        .arg("--log-file")
        .arg(&log)
        .env("RESQ_LISTEN", format!("tls://127.0.0.1:{port}"))
        .env("RESQ_TLS_CERT", old.file("server.pem"))
        .env("RESQ_TLS_KEY", old.file("server.key"))
        .env("RESQ_TOKEN_FILE", &token)
        .env("RESQ_HTTP", format!("tls://127.0.0.1:{https}"))
        .spawn_ready();
    let peer = |certificates: &Certificates, token: &str| {
        let address = Address::Tcp { host: "127.0.0.1".into(), port };
        let (token, tls) = (Some(Secret(token.into())), Some(certificates.client()));
        Peer { token, tls, ..Peer::new(address, "t") }
    };
    let mut subscriber = Subscriber::connect(peer(&old, "first"), Subscription::to(["A"])).unwrap();
    // An ephemeral event would be lost if the subscriber had to connect again.
    let mut reaches = |number: &str, publisher: Peer| {
        let mut publisher = Publisher::connect(&publisher).unwrap();
        publisher.publish("A", number.as_bytes()).unwrap();
        publisher.confirm(DEADLINE).unwrap();
        match subscriber.recv_timeout(DEADLINE).unwrap() {
            Some(Delivery::Event(event)) => assert_eq!(event.payload, number.as_bytes()),
            other => panic!("{other:?} instead of {number}"),
        }
    };
    reaches("1", peer(&old, "first"));

    for file in ["server.pem", "server.key"] {
        fs::copy(new.file(file), old.file(file)).unwrap();
    }
    fs::write(&token, "second").unwrap();
    resqd.signal("HUP");
    wait_until("the new certificate", || Publisher::connect(&peer(&new, "second")).is_ok());
    assert!(Publisher::connect(&peer(&old, "second")).is_err(), "the old authority");
    assert!(Publisher::connect(&peer(&new, "first")).is_err(), "the old token");
    reaches("2", peer(&new, "second"));

    // HTTPS shows the same certificate, and the programs beside resqd find it.
    let mut secure = tls_connect(([127, 0, 0, 1], https).into(), new.client().load().unwrap());
    let (mut plain, request) = (TcpStream::connect(("127.0.0.1", https)).unwrap(), HEALTH.as_bytes());
    let mut answers = [String::new(), String::new()];
    secure.write_all(request).and_then(|()| secure.read_to_string(&mut answers[0])).unwrap();
    plain.write_all(request).and_then(|()| plain.read_to_string(&mut answers[1])).unwrap();
    assert!(answers[0].starts_with("HTTP/1.1 200 "), "{answers:?}");
    assert!(answers[1].starts_with("HTTP/1.1 400 ") && answers[1].contains("HTTPS"), "{answers:?}");
    let logout = "POST /logout HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut secure = tls_connect(([127, 0, 0, 1], https).into(), new.client().load().unwrap());
    let mut answer = String::new();
    secure.write_all(logout.as_bytes()).and_then(|()| secure.read_to_string(&mut answer)).unwrap();
    assert!(answer.contains("SameSite=Strict; Secure\r\n"), "{answer}");
    let beside = |program: Program| {
        let program = program.env("RESQ_LISTEN", format!("tls://127.0.0.1:{port}")).env("RESQ_TOKEN_FILE", &token);
        let program = program.env("RESQ_TLS_CERT", old.file("server.pem")).env("RESQ_TLS_KEY", old.file("server.key"));
        program.env("RESQ_HTTP", format!("tls://127.0.0.1:{https}")).env("RESQ_SOCKET", "").envs(&new.env())
    };
    beside(instance.resqd().args(["healthcheck", "--ready"])).ok();
    let doctor = Doctor::of(beside(instance.resqctl(["doctor"])).env("RESQ_PORT", port.to_string()).run());
    assert!(doctor.verdict("broker") == Verdict::Good, "{}", doctor.text("broker"));

    // What cannot be used is reported, and nothing changes: neither the file nor what is exchanged with it.
    for (broken, text) in [(old.file("server.pem"), "broken"), (old.file("server.key"), ""), (token.clone(), "")] {
        let good = fs::read(&broken).unwrap();
        fs::write(&broken, text).unwrap();
        let rotated = log.with_extension("old");
        fs::rename(&log, &rotated).unwrap();
        resqd.signal("HUP");
        wait_until("the report", || fs::metadata(&log).is_ok_and(|file| file.len() > 0));
        let report = fs::read_to_string(&log).unwrap();
        assert!(report.contains("keeping all certificates and tokens as they were"), "{report}");
        reaches(&broken.display().to_string(), peer(&new, "second"));
        fs::write(&broken, good).unwrap();
    }
    assert_eq!(resqd.stop().code(), Some(0));
}
