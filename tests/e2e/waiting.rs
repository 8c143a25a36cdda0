//! A start without a server: waited for as long as `database.wait_s` says, and no longer; a mistake is not waited for.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use resq_test_support::{Instance, Server, wait_until};

#[test]
fn server_that_comes_later_is_waited_for() {
    let server = Server::own();
    let instance = Instance::on(&server, "waits");
    instance.resqctl(["init"]).ok();
    server.kill9(1);
    let resqctl = instance.resqctl(["add", "a", "--db-wait-s", "60"]).spawn();
    let resqd = std::thread::scope(|scope| {
        let resqd = scope.spawn(|| instance.resqd().env("RESQ_DB_WAIT_S", "60").spawn_ready());
        server.restart(1);
        resqd.join().expect("it was ready")
    });
    let added = resqctl.wait();
    assert_eq!(added.code(), Some(0), "{added}");
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn signal_ends_the_wait_for_a_server() {
    let instance = Instance::new("waits_signal");
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    dead.set_nonblocking(true).unwrap();
    let port = dead.local_addr().unwrap().port().to_string();
    let resqd = instance.resqd().env("MYSQL_PORT", port).env("RESQ_DB_WAIT_S", "60").spawn();
    // The second attempt shows that it waits.
    for _ in 0..2 {
        wait_until("an attempt to connect", || dead.accept().is_ok());
    }
    let stopped = resqd.stop();
    assert_eq!(stopped.code(), Some(0), "{stopped}");
}

#[test]
fn only_what_may_pass_is_waited_for() {
    let instance = Instance::ready("waits_not");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let missing = instance.dir().join("mysqld.sock").display().to_string();
    // Settings, and whether the wait of 2 s is used up.
    let table: &[(&[(&str, &str)], bool)] = &[
        (&[("MYSQL_PORT", &free)], true),
        (&[("MYSQL_SOCKET", &missing)], true),
        (&[("MYSQL_HOST", "no-such-host.invalid")], true),
        (&[("MYSQL_PASSWORD", "wrong")], false),
        (&[("MYSQL_USER", "no-such-user")], false),
        (&[("MYSQL_TLS", "verify")], false),
    ];
    const WAIT: Duration = Duration::from_secs(2);
    for (settings, waits) in table {
        for program in [instance.resqctl(["status"]), instance.resqd()] {
            // A wait that is not used may be long; the test's deadline ends it.
            let wait_s = if *waits { "2" } else { "600" };
            let program = settings.iter().fold(program, |program, (name, value)| program.env(name, value));
            let started = Instant::now();
            let finished = program.env("RESQ_DB_WAIT_S", wait_s).expect_code(3);
            assert!(!waits || started.elapsed() >= WAIT, "{settings:?} was not waited for: {finished}");
        }
    }
}
