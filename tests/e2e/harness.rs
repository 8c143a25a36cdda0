//! The test support itself, on which every other test relies.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use mysql::prelude::Queryable;
use resq_test_support::{FaultProxy, Instance, Program, Server, is_alive, wait_until};

#[test]
fn shared_server_is_the_kind_that_was_asked_for() {
    let version: String = Server::shared().conn().query_first("SELECT VERSION()").unwrap().unwrap();
    let expected = match Server::shared().kind() {
        "mysql97" | "group" => "9.",
        "mariadb105" => "10.5.",
        "mariadb1011" | "galera" => "10.11.",
        _ => "",
    };
    assert!(version.starts_with(expected), "{version}");
}

#[test]
fn killed_server_comes_back_with_its_data_on_the_same_port() {
    let server = Server::own();
    let port = server.port();
    server.conn().query_drop("CREATE DATABASE kept").unwrap();
    server.kill9(1);
    assert!(server.try_conn(1).is_err(), "a killed server answers");
    server.restart(1);
    assert_eq!(server.port(), port);
    let kept: Option<String> = server.conn().query_first("SHOW DATABASES LIKE 'kept'").unwrap();
    assert_eq!(kept.as_deref(), Some("kept"));
}

#[test]
fn own_server_ends_with_its_value() {
    let server = Server::own();
    let (pid, plugins) = (server.node(1).pid, server.plugin_dir());
    assert!(plugins.is_dir());
    drop(server);
    assert!(!plugins.exists(), "its folder is still there");
    assert!(!is_alive(pid), "its process is still there");
}

#[test]
fn programs_see_the_settings_of_the_test_and_no_others() {
    let instance = Instance::new("harness_env");
    let env = instance.program("env").ok();
    let mut names: Vec<_> = env.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort();
    let mut expected: Vec<_> = instance.settings().iter().map(|(name, _)| *name).collect();
    expected.push("PATH");
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn dropped_program_is_killed() {
    let mut running = Program::new("cat").spawn();
    running.write("hello\n").unwrap();
    running.wait_for_output("hello");
    let pid = running.pid();
    drop(running);
    wait_until("the process to be gone", || !is_alive(pid));
}

#[test]
fn failing_program_shows_its_code_and_output() {
    let finished = Program::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).expect_code(3);
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn proxy_can_drop_bytes_silently() {
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = FaultProxy::to(echo.local_addr().unwrap().port());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    let (mut server, _) = echo.accept().unwrap();
    client.write_all(b"a").unwrap();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
    proxy.drop_silently();
    client.write_all(b"b").unwrap();
    server.write_all(b"c").unwrap();
    for stream in [&mut client, &mut server] {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // New connections pass; those that are cut are reset.
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    let (mut server, _) = echo.accept().unwrap();
    client.write_all(b"d").unwrap();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
    proxy.cut();
    wait_until("the end", || client.write_all(b"e").is_err());
}
