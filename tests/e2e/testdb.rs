//! `scripts/testdb.sh` by itself: it reuses a running server, works in deep folders, and ends only its own processes.

use std::fs;
use std::path::Path;

use resq_test_support::{Program, Server, is_alive, signal, wait_until};
use tempfile::TempDir;

/// A folder for one server, removed with it.
struct Folder(TempDir);

impl Folder {
    /// With a space in its path, which is longer than a socket's may be.
    fn deep() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> String {
        let name = "deep ".to_owned() + &"x".repeat(120);
        self.0.path().join(name).display().to_string()
    }

    fn file(&self, below: &str) -> String {
        Path::new(&self.path()).join(below).display().to_string()
    }

    fn testdb<const N: usize>(&self, args: [&str; N]) -> Program {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/testdb.sh");
        let program = Program::new("bash").arg(script).args(args).arg(self.path()).env("FAST", "1");
        ["HOME", "TESTDB_CACHE"].into_iter().fold(program, |program, name| match std::env::var_os(name) {
            Some(value) => program.env(name, value),
            None => program,
        })
    }

    /// `up`; the line that it printed, and the pid in it.
    fn up(&self) -> (String, u32) {
        let kind = match Server::shared().kind() {
            "galera" => "mariadb1011",
            "group" => "mysql97",
            single => single,
        };
        let line = self.testdb(["up", kind]).ok();
        let pid = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        (line, pid)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.testdb(["remove"]).run();
    }
}

#[test]
fn running_server_is_reused_and_a_stopped_one_started_again() {
    let folder = Folder::deep();
    let (line, pid) = folder.up();
    assert_eq!(folder.up().0, line);
    folder.testdb(["down"]).ok();
    assert!(!is_alive(pid), "the server still runs");
    let (_, again) = folder.up();
    assert_ne!(again, pid);
    folder.testdb(["remove"]).ok();
    assert!(!is_alive(again) && !Path::new(&folder.path()).exists(), "something is left");
}

#[test]
fn down_spares_another_process_with_the_servers_pid() {
    let folder = Folder::deep();
    let (_, pid) = folder.up();
    signal(pid, "KILL");
    wait_until("the server to be gone", || !is_alive(pid));
    let mut stranger = Program::new("cat").spawn();
    fs::write(folder.file("n1/pid"), stranger.pid().to_string()).unwrap();
    folder.testdb(["down"]).ok();
    assert!(stranger.is_running());
}

#[test]
fn unknown_kind_is_refused_with_the_known_ones() {
    let folder = Folder::deep();
    let finished = folder.testdb(["up", "oracle"]).expect_code(1);
    assert!(finished.stderr.contains("mariadb1011"), "{finished}");
}
