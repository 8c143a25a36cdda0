//! The network between the daemon and the database server, and between subscribers and the daemon: cut, silently dead,
//! slow.

use std::{collections::BTreeSet, time::Duration};

use mysql::prelude::Queryable;

use resq_test_support::{FaultProxy, Instance, own_port, sessions, wait_at_most};

use super::{checks::Trace, scenario::PATIENCE, scenario::Scenario, workload::add_jobs};

/// One daemon, which reaches the database server through `proxy`.
fn over<'a>(instance: &'a Instance<'a>, proxy: &FaultProxy) -> Scenario<'a> {
    Scenario { daemon_env: vec![("MYSQL_PORT", proxy.port.to_string())], ..Scenario::new(instance, 1) }
}

#[test]
fn network_to_the_server_is_cut() {
    let instance = Instance::ready("net_cut");
    let proxy = FaultProxy::to(instance.server.port());
    over(&instance, &proxy).rounds(|system| {
        proxy.cut();
        system.wait_for(Trace::Warning);
        assert!(proxy.refused() > 0, "the daemon noticed without an attempt to connect");
        proxy.restore();
        Trace::Warning
    });
}

#[test]
fn network_to_the_server_is_silently_dead() {
    let instance = Instance::ready("net_dead");
    let proxy = FaultProxy::to(instance.server.port());
    let mut conn = instance.conn();
    let mut daemons = || -> BTreeSet<u64> {
        let sql = format!("SELECT id FROM {} WHERE user = ?", sessions());
        conn.exec(sql, (&instance.daemon.user,)).unwrap().into_iter().collect()
    };
    over(&instance, &proxy).rounds(|_| {
        let orphaned = daemons();
        proxy.drop_silently();
        // The server does not notice that these connections are dead, and their sessions may hold locks: the daemon ends
        // each one that it finds broken. One that stays idle in its pool is not found.
        wait_at_most(PATIENCE, "orphaned sessions to be ended", || !orphaned.is_subset(&daemons()));
        Trace::Warning
    });
}

#[test]
fn network_to_the_server_is_slow() {
    let instance = Instance::ready("net_slow");
    let proxy = FaultProxy::to(instance.server.port());
    over(&instance, &proxy).rounds(|system| {
        proxy.slow(Duration::from_millis(20), 50_000);
        let mut conn = instance.conn();
        let job = add_jobs(&mut conn, 3, &mut system.random);
        let done = format!("SELECT 1 FROM res_queue WHERE res_name = '{job}' AND status = 'done'");
        wait_at_most(PATIENCE, "jobs over the slow network", || conn.query_first(&done).unwrap() == Some(1));
        proxy.restore();
        Trace::Any
    });
}

/// Clients that reach the broker through a proxy, and receive its PINGs often.
fn with_clients_behind_a_proxy(name: &str, fault: impl Fn(&FaultProxy)) {
    let instance = Instance::ready(name);
    let settings = instance.dir().join("resq.toml");
    std::fs::write(&settings, "[broker]\nping_s = 1\n").expect("a file");
    let port = own_port();
    let proxy = FaultProxy::to(port);
    let scenario = Scenario {
        daemon_env: vec![("RESQ_CONFIG", settings.display().to_string()), ("RESQ_LISTEN", format!("127.0.0.1:{port}"))],
        client_env: vec![("RESQ_SOCKET", String::new()), ("RESQ_PORT", proxy.port.to_string())],
        ..Scenario::new(&instance, 1)
    };
    scenario.rounds(|_| {
        fault(&proxy);
        Trace::Any
    });
}

#[test]
fn network_to_a_subscriber_is_cut() {
    with_clients_behind_a_proxy("net_heard_cut", |proxy| {
        proxy.cut();
        proxy.restore();
    });
}

#[test]
fn network_to_a_subscriber_is_silently_dead() {
    with_clients_behind_a_proxy("net_heard_dead", FaultProxy::drop_silently);
}

#[test]
fn network_to_a_subscriber_is_slow() {
    with_clients_behind_a_proxy("net_heard_slow", |proxy| proxy.slow(Duration::from_millis(20), 50_000));
}
